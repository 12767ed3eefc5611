//! What is asked of a column: aggregates by its type.

use alluvium_engine::arrow::datatypes::{DataType, Field};
use alluvium_engine::spec::type_name;
use alluvium_sql::quote;
use indexmap::IndexMap;

use crate::aggregate::Definition;

/// The quantiles that are told.
pub(super) const QUANTILES: [(&str, f64); 5] =
    [("p05", 0.05), ("p25", 0.25), ("p50", 0.5), ("p75", 0.75), ("p95", 0.95)];

/// What texts may look like, from narrow to wide, and the condition for it; `{}` is the text without surrounding blanks.
pub(super) const LOOKS: [(&str, &str); 4] = [
    ("boolean", "lower({}) IN ('true', 'false', 'yes', 'no')"),
    ("integer", r"{} ~ '^[+-]?[0-9]{1,18}$'"),
    ("number", r"{} ~ '^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$'"),
    ("timestamp", "TRY_CAST({} AS TIMESTAMP(6)) IS NOT NULL"),
];

/// A column that is described.
pub(super) struct Asked {
    pub(super) name: String,
    /// In the words of specs.
    pub(super) shown: String,
    class: Class,
}

/// What can be asked of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Text,
    Binary,
    Number {
        floating: bool,
    },
    /// Only order and equality.
    Plain,
    List,
    Opaque,
}

impl Asked {
    pub(super) fn new(field: &Field) -> Self {
        use DataType as D;
        let class = match field.data_type() {
            D::Utf8 | D::LargeUtf8 | D::Utf8View => Class::Text,
            D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => Class::Binary,
            number if number.is_numeric() => Class::Number { floating: number.is_floating() },
            D::Boolean | D::Date32 | D::Date64 | D::Time32(_) | D::Time64(_) | D::Timestamp(..) => Class::Plain,
            D::List(_) | D::LargeList(_) | D::FixedSizeList(..) => Class::List,
            _ => Class::Opaque,
        };
        Self { name: field.name().clone(), shown: type_name(field.data_type()), class }
    }

    fn definitions(&self, top: u32, approximate: bool) -> Vec<(&'static str, Definition)> {
        let column = quote(&self.name);
        let none = Definition::default;
        let mut asked = vec![("count", Definition { count: Some(column.clone()), ..none() })];
        if !matches!(self.class, Class::List | Class::Opaque) {
            let distinct = Some(column.clone());
            asked.push(("distinct", Definition { count_distinct: distinct, approximate, ..none() }));
            let shown = if self.class == Class::Binary { format!("encode({column}, 'hex')") } else { column.clone() };
            let most_frequent = Some(shown.clone());
            asked.push(("top", Definition { most_frequent, k: Some(top), approximate, ..none() }));
            let filter = self.finite(&column);
            asked.push(("min", Definition { min: Some(shown.clone()), filter: filter.clone(), ..none() }));
            asked.push(("max", Definition { max: Some(shown), filter, ..none() }));
        }
        match self.class {
            Class::Text => {
                asked.extend(lengths(&format!("character_length({column})")));
                asked.extend(looks(&column));
            }
            Class::Binary => asked.extend(lengths(&format!("character_length(encode({column}, 'hex')) / 2"))),
            Class::List => {
                let length = format!("CASE WHEN {column} IS NOT NULL THEN coalesce(array_length({column}), 0) END");
                asked.extend(lengths(&length));
            }
            Class::Number { .. } => {
                let filter = self.finite(&column);
                let number = || Definition { filter: filter.clone(), ..none() };
                asked.push(("mean", Definition { avg: Some(column.clone()), ..number() }));
                asked.push(("stddev", Definition { stddev: Some(column.clone()), ..number() }));
                asked.extend(QUANTILES.map(|(name, at)| {
                    (name, Definition { quantile: Some(column.clone()), at: Some(at), approximate, ..number() })
                }));
                asked.extend(filter.as_ref().map(|finite| {
                    let others = Some(format!("NOT ({finite})"));
                    ("not_finite", Definition { count: Some(column.clone()), filter: others, ..none() })
                }));
            }
            Class::Plain | Class::Opaque => {}
        }
        asked
    }

    /// The condition for numbers with which can be computed, if there are others. NaN is greater than everything.
    fn finite(&self, column: &str) -> Option<String> {
        let floating = self.class == Class::Number { floating: true };
        floating.then(|| format!("abs({column}) < CAST('Infinity' AS DOUBLE)"))
    }
}

fn lengths(length: &str) -> [(&'static str, Definition); 3] {
    let length = || Some(length.to_owned());
    [
        ("min_length", Definition { min: length(), ..Definition::default() }),
        ("mean_length", Definition { avg: length(), ..Definition::default() }),
        ("max_length", Definition { max: length(), ..Definition::default() }),
    ]
}

fn looks(column: &str) -> Vec<(&'static str, Definition)> {
    let trimmed = format!(r"regexp_replace({column}, '^\s+|\s+$', '', 'g')");
    let count =
        |condition: String| Definition { count: Some("*".into()), filter: Some(condition), ..Definition::default() };
    let mut asked = vec![("empty", count(format!(r"{column} !~ '\S'")))];
    asked.extend(LOOKS.map(|(name, condition)| (name, count(condition.replacen("{}", &trimmed, 1)))));
    asked
}

/// Names under which an aggregate of all rows has what was asked: the place of the column, and what it is.
pub(super) fn place(column: usize, what: &str) -> String {
    format!("{column} {what}")
}

/// The aggregates of all columns, and the number of rows.
pub(super) fn definitions(asked: &[Asked], top: u32, approximate: bool) -> IndexMap<String, Definition> {
    let rows = ("rows".to_owned(), Definition { count: Some("*".into()), ..Definition::default() });
    let columns = asked.iter().enumerate().flat_map(|(at, column)| {
        column.definitions(top, approximate).into_iter().map(move |(what, definition)| (place(at, what), definition))
    });
    std::iter::once(rows).chain(columns).collect()
}
