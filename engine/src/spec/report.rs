//! What a report shows: plain data.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What `alluvium report` and `alluvium plot` show.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The heading; without it the pipeline's name.
    #[serde(default)]
    pub title: Option<String>,
    /// What is said below the heading; without it the pipeline's description.
    #[serde(default)]
    pub description: Option<String>,
    /// The panels by name, in the order in which they are shown.
    #[schemars(length(min = 1))]
    pub panels: IndexMap<String, Panel>,
}

/// One thing to look at: the rows of a table or of a query, and how they are shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Panel {
    /// The heading; without it the panel's name.
    #[serde(default)]
    pub title: Option<String>,
    /// What there is to see, in a sentence; it is also read to those who do not see the picture.
    #[serde(default)]
    pub description: Option<String>,
    /// The stage whose table is shown. Give this or `query`.
    #[serde(default)]
    pub table: Option<String>,
    /// SQL (DataFusion) over the pipeline's tables by their stage names, and over `alluvium.ledger`, the objects that were
    /// read, and `alluvium.events`, what happened. Give this or `table`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub query: Option<String>,
    /// For `table`: how its rows are sorted, as SQL has it: `total DESC, mention`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub order: Option<String>,
    /// At most so many rows are shown, the first ones; without it 30 bars, 100 rows of a table and 10,000 points.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000))]
    pub limit: Option<usize>,
    /// How the rows are shown.
    pub chart: Chart,
    /// The column of names (bars, columns of a heatmap), of times or numbers (lines, areas), or of the numbers that are
    /// counted (histogram).
    #[serde(default)]
    pub x: Option<String>,
    /// The column of numbers; a list of columns makes a series of each. Of a heatmap the column of its rows' names. A
    /// `number` needs it where there are several columns.
    #[serde(default)]
    pub y: Option<Names>,
    /// For bars, lines and areas: the column that says which series a row belongs to.
    #[serde(default)]
    pub series: Option<String>,
    /// For a heatmap: the column of numbers.
    #[serde(default)]
    pub value: Option<String>,
}

/// One name or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Names {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Names {
    /// Each of them.
    pub fn list(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

/// How rows are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Chart {
    /// A number of the first row, large. Neighbours stand side by side.
    Number,
    /// A bar for each row, with its name and its number; series are stacked.
    Bar,
    /// A line over times or numbers, for each series.
    Line,
    /// The same, filled; series are stacked.
    Area,
    /// How often the numbers of a column fall into each of about 20 ranges.
    Histogram,
    /// A number for each pair of names, such as a confusion matrix.
    Heatmap,
    /// The rows as they are.
    Table,
}

impl Chart {
    /// The word in a spec.
    pub fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Bar => "bar",
            Self::Line => "line",
            Self::Area => "area",
            Self::Histogram => "histogram",
            Self::Heatmap => "heatmap",
            Self::Table => "table",
        }
    }

    /// Of `x`, `y`, `series` and `value` those that it must have, and those that it may have.
    pub(crate) fn columns(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Number => (&[], &["y"]),
            Self::Bar | Self::Line | Self::Area => (&["x", "y"], &["series"]),
            Self::Histogram => (&["x"], &[]),
            Self::Heatmap => (&["x", "y", "value"], &[]),
            Self::Table => (&[], &[]),
        }
    }
}

impl Panel {
    /// Shows the answer of a query.
    pub fn of_query(title: impl Into<String>, chart: Chart, query: impl Into<String>) -> Self {
        Self {
            title: Some(title.into()),
            description: None,
            table: None,
            query: Some(query.into()),
            order: None,
            limit: None,
            chart,
            x: None,
            y: None,
            series: None,
            value: None,
        }
    }

    /// The query that gives its rows, without an end.
    pub fn sql(&self) -> String {
        match (&self.query, &self.table) {
            (Some(query), _) => query.trim().trim_end_matches(';').to_owned(),
            (None, Some(table)) => {
                let order = self.order.as_ref().map(|o| format!(" ORDER BY {o}")).unwrap_or_default();
                format!("SELECT * FROM \"{table}\"{order}")
            }
            (None, None) => String::new(),
        }
    }
}
