//! What the stage's YAML says of aggregates and keys.

use alluvium_engine::spec::Problem;
use indexmap::IndexMap;

/// One aggregate: exactly one of the functions, and optionally a condition.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Definition {
    /// Number of rows (`"*"`), or of rows where this SQL expression is not NULL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<String>,
    /// Number of different values of a SQL expression, NULL left out. Exact, with every value kept as state; with
    /// `approximate` estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) count_distinct: Option<String>,
    /// Sum of a numeric SQL expression; NULL when there was no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sum: Option<String>,
    /// Mean of a numeric SQL expression; NULL when there was no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) avg: Option<String>,
    /// Sample variance of a numeric SQL expression; NULL when there were less than two values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variance: Option<String>,
    /// Sample standard deviation of a numeric SQL expression; NULL when there were less than two values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stddev: Option<String>,
    /// Least value of a SQL expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min: Option<String>,
    /// Greatest value of a SQL expression. NaN is greater than every number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<String>,
    /// The value of a numeric SQL expression below which the share `at` of all values lies, interpolated between the two
    /// nearest. Exact, with every value kept as state and looked at whenever the group changes; with `approximate` estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) quantile: Option<String>,
    /// The most frequent value of a SQL expression; of equally frequent ones the least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<String>,
    /// The `k` most frequent values of a SQL expression: a list of `value` and `rows`, the most frequent first; of equally
    /// frequent ones the least first. Exact, with every value kept as state; with `approximate` only while there are few.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) most_frequent: Option<String>,
    /// The `k` greatest values of a SQL expression, as a list; with `with`, a list of the values and these columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) top_k: Option<String>,
    /// The `k` least values of a SQL expression, as a list; with `with`, a list of the values and these columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bottom_k: Option<String>,
    /// How many values of a numeric SQL expression lie between neighbouring `bounds`: a list of `from`, `to` and `count`,
    /// where `to` itself belongs to the next one. What lies below and above is counted too, with `from` or `to` NULL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) histogram: Option<String>,
    /// For `quantile`: the share, from 0 to 1; one half, the median, if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub(crate) at: Option<f64>,
    /// For `most_frequent`, `top_k` and `bottom_k`: how many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub(crate) k: Option<u32>,
    /// For `top_k` and `bottom_k`: columns that tell more of the row a value comes from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) with: Vec<String>,
    /// For `histogram`: ascending numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) bounds: Vec<f64>,
    /// For `count_distinct` (HyperLogLog, error about 1.6 %, at most 4 KiB a group, only of rows that are never taken away)
    /// and `quantile` (within 1 % of the value): little state, and an estimate. For `most_frequent` (only of rows that are
    /// never taken away): exact up to 4,096 different values a group, and NULL from then on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) approximate: bool,
    /// SQL condition: only these rows count.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub(crate) filter: Option<String>,
}

/// The function of an aggregate.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Function {
    Count,
    CountDistinct { approximate: bool },
    Sum,
    Avg,
    Variance,
    Stddev,
    Min,
    Max,
    Quantile { at: f64, approximate: bool },
    Mode,
    MostFrequent { k: u32, approximate: bool },
    Best { k: u32, greatest: bool },
    Histogram { bounds: Vec<f64> },
}

impl Definition {
    /// The function, its argument and its name in the spec.
    pub(crate) fn function(&self) -> Result<(Function, &str, &'static str), Vec<Problem>> {
        let approximate = self.approximate;
        let best = |greatest| Function::Best { k: self.k.unwrap_or(0), greatest };
        let given: Vec<(Function, &str, &'static str)> = [
            (Function::Count, &self.count, "count"),
            (Function::CountDistinct { approximate }, &self.count_distinct, "count_distinct"),
            (Function::Sum, &self.sum, "sum"),
            (Function::Avg, &self.avg, "avg"),
            (Function::Variance, &self.variance, "variance"),
            (Function::Stddev, &self.stddev, "stddev"),
            (Function::Min, &self.min, "min"),
            (Function::Max, &self.max, "max"),
            (Function::Quantile { at: self.at.unwrap_or(0.5), approximate }, &self.quantile, "quantile"),
            (Function::Mode, &self.mode, "mode"),
            (Function::MostFrequent { k: self.k.unwrap_or(0), approximate }, &self.most_frequent, "most_frequent"),
            (best(true), &self.top_k, "top_k"),
            (best(false), &self.bottom_k, "bottom_k"),
            (Function::Histogram { bounds: self.bounds.clone() }, &self.histogram, "histogram"),
        ]
        .into_iter()
        .filter_map(|(function, expression, name)| Some((function, expression.as_deref()?, name)))
        .collect();
        match given.as_slice() {
            [one] => {
                let problems = self.fitting(one.2);
                if problems.is_empty() { Ok(one.clone()) } else { Err(problems) }
            }
            [] => Err(vec![Problem::new("an aggregate needs a function").label("no function").help(
                "one of count, count_distinct, sum, avg, variance, stddev, min, max, quantile, mode, most_frequent, \
                     top_k, bottom_k, histogram; for example `{ count: \"*\" }`",
            )]),
            _ => Err(vec![
                Problem::new("an aggregate has one function").label("several functions").help("make a column of each"),
            ]),
        }
    }

    /// Fields that belong to another function, or are missing.
    fn fitting(&self, name: &str) -> Vec<Problem> {
        let best = matches!(name, "top_k" | "bottom_k");
        let several = best || name == "most_frequent";
        let mut problems: Vec<Problem> = [
            ("at", self.at.is_some(), name == "quantile", "quantile"),
            ("k", self.k.is_some(), several, "most_frequent, top_k and bottom_k"),
            ("with", !self.with.is_empty(), best, "top_k and bottom_k"),
            ("bounds", !self.bounds.is_empty(), name == "histogram", "histogram"),
            (
                "approximate",
                self.approximate,
                matches!(name, "quantile" | "count_distinct" | "most_frequent"),
                "count_distinct, quantile and most_frequent",
            ),
        ]
        .into_iter()
        .filter(|(_, given, fits, _)| *given && !fits)
        .map(|(field, .., of)| {
            Problem::field(field, format!("`{field}` is for {of}")).label("no effect here").help("remove it")
        })
        .collect();
        if several && self.k.is_none() {
            problems.push(Problem::field(name, format!("`{name}` needs `k`")).label("how many?").help("add `k: 10`"));
        }
        if name == "histogram" && (self.bounds.len() < 2 || !self.bounds.is_sorted_by(|a, b| a < b)) {
            let missing = self.bounds.is_empty();
            problems.push(
                Problem::field(
                    if missing { name } else { "bounds" },
                    "a histogram needs two bounds or more, ascending",
                )
                .label(if missing { "needs `bounds`" } else { "not ascending" })
                .help("for example `bounds: [0, 25, 50, 75, 100]`"),
            );
        }
        problems
    }
}

/// A part of the key: a column, or a SQL expression with a name.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub(crate) enum Key {
    /// A column.
    Column(String),
    /// `name: SQL expression`.
    Expression(#[schemars(length(min = 1, max = 1))] IndexMap<String, String>),
}

impl Key {
    /// Its name in the output.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Column(name) => name,
            Self::Expression(map) => map.keys().next().map_or("", String::as_str),
        }
    }

    /// Its expression, if it is not a column.
    pub(crate) fn expression(&self) -> Option<&str> {
        match self {
            Self::Column(_) => None,
            Self::Expression(map) => map.values().next().map(String::as_str),
        }
    }
}
