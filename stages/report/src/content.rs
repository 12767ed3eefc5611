//! What a panel shows, whatever it is drawn on.

use crate::rows::{Kind, Rows};

/// A panel with its rows.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) description: Option<String>,
    pub(crate) content: Content,
    /// The rows behind the picture.
    pub(crate) rows: Rows,
    /// What is not shown.
    pub(crate) note: Option<String>,
}

/// What there is to draw.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// There are no rows, or none with numbers.
    Nothing,
    Number(String),
    Bars {
        names: Vec<String>,
        series: Vec<Series>,
    },
    /// Series over one axis; stacked ones have all the same places.
    Lines {
        x: Kind,
        label: String,
        series: Vec<Line>,
        stacked: bool,
    },
    Histogram(Histogram),
    Heatmap {
        x: String,
        y: String,
        columns: Vec<String>,
        rows: Vec<String>,
        values: Vec<Vec<Option<f64>>>,
    },
    Table,
}

/// A number for each of some names.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) values: Vec<Option<f64>>,
}

/// Points in the order of x.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// How many values lie in each range of the same width.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    pub(crate) label: String,
    pub(crate) start: f64,
    pub(crate) width: f64,
    pub(crate) counts: Vec<u64>,
}

impl Histogram {
    /// The range at a place.
    pub(crate) fn range(&self, at: usize) -> (f64, f64) {
        (self.start + self.width * at as f64, self.start + self.width * (at + 1) as f64)
    }
}

impl Shown {
    /// What it shows in words, for those who do not see it.
    pub(crate) fn words(&self) -> String {
        let picture = match &self.content {
            Content::Nothing => "There are no rows to show.".to_owned(),
            Content::Number(value) => format!("{value}."),
            Content::Table => format!("A table of {} rows.", self.rows.count),
            Content::Bars { names, series } => match names.first() {
                Some(first) => {
                    let sum: f64 = series.iter().filter_map(|s| s.values.first().copied().flatten()).sum();
                    format!("{} bars; the first is {first} with {}.", names.len(), crate::format::number(sum))
                }
                None => String::new(),
            },
            Content::Lines { series, .. } => {
                let names: Vec<&str> = series.iter().map(|s| s.name.as_str()).collect();
                format!("Lines of {}.", names.join(", "))
            }
            Content::Histogram(histogram) => {
                let fullest = histogram.counts.iter().enumerate().max_by_key(|(at, n)| (**n, usize::MAX - at));
                let (at, count) = fullest.map_or((0, 0), |(at, n)| (at, *n));
                let (from, to) = histogram.range(at);
                let number = crate::format::short;
                format!(
                    "{} ranges; most, {count}, lie between {} and {}.",
                    histogram.counts.len(),
                    number(from),
                    number(to)
                )
            }
            Content::Heatmap { x, y, columns, rows, .. } => {
                format!("{} rows ({y}) and {} columns ({x}).", rows.len(), columns.len())
            }
        };
        match &self.description {
            Some(description) => format!("{} {picture}", full_stop(description)),
            None => picture,
        }
    }
}

fn full_stop(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

/// The upper ends of stacked areas, each on those before it; lines that are not stacked as they are.
pub(crate) fn tops(series: &[Line], stacked: bool) -> Vec<Vec<(f64, f64)>> {
    let mut tops: Vec<Vec<(f64, f64)>> = Vec::new();
    for line in series {
        let below = tops.last().filter(|_| stacked);
        let height = |at: usize| below.and_then(|b| b.get(at)).map_or(0.0, |p| p.1);
        tops.push(line.points.iter().enumerate().map(|(at, p)| (p.0, p.1 + height(at))).collect());
    }
    tops
}

/// The smallest and the largest number; zeros without any.
pub(crate) fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (lo, hi) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(v), hi.max(v)));
    if lo <= hi { (lo, hi) } else { (0.0, 0.0) }
}
