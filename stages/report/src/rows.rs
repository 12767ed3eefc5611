//! The answer of a query: each column as text, and as numbers where it has them.

use alluvium_engine::arrow::array::{Array, ArrayRef, AsArray};
use alluvium_engine::arrow::compute::{cast, concat_batches};
use alluvium_engine::arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::arrow::record_batch::RecordBatch;
use alluvium_engine::arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::format::{grouped, moment, number};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    /// Numbers are seconds since 1970.
    Time,
    Text,
}

/// One column.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// As it is shown; nothing for NULL.
    pub(crate) texts: Vec<Option<String>>,
    /// Empty for a column of text.
    pub(crate) numbers: Vec<Option<f64>>,
}

/// Rows, column by column.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    pub(crate) columns: Vec<Column>,
    pub(crate) count: usize,
}

impl Rows {
    /// At most `limit` rows of some batches with the same columns.
    pub(crate) fn new(batches: &[RecordBatch], limit: usize) -> Result<Self, String> {
        let Some(first) = batches.first() else { return Ok(Self::default()) };
        let made = || {
            let all = concat_batches(&first.schema(), batches)?;
            let all = all.slice(0, all.num_rows().min(limit));
            let fields = all.schema();
            let columns = fields.fields().iter().zip(all.columns()).map(|(f, c)| Column::new(f.name(), c));
            Ok(Self { columns: columns.collect::<Result<_, ArrowError>>()?, count: all.num_rows() })
        };
        made().map_err(|e: ArrowError| format!("the rows cannot be shown: {e}"))
    }

    /// The column of this name. The plan has checked that it is there.
    pub(crate) fn column(&self, name: &str) -> Result<&Column, String> {
        let found = self.columns.iter().find(|c| c.name == name);
        found.ok_or_else(|| format!("the rows have no column `{name}`"))
    }
}

impl Column {
    fn new(name: &str, array: &ArrayRef) -> Result<Self, ArrowError> {
        let kind = match array.data_type() {
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Kind::Time,
            t if t.is_numeric() => Kind::Number,
            _ => Kind::Text,
        };
        let numbers: Vec<Option<f64>> = match kind {
            Kind::Text => Vec::new(),
            Kind::Number => cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().iter().map(finite).collect(),
            Kind::Time => {
                let micros = cast(&cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None))?, &DataType::Int64)?;
                micros.as_primitive::<Int64Type>().iter().map(|m| m.map(|m| m as f64 / 1e6)).collect()
            }
        };
        let texts = match kind {
            Kind::Time => numbers.iter().map(|n| n.map(moment)).collect(),
            Kind::Number if array.data_type().is_floating() => numbers.iter().map(|n| n.map(number)).collect(),
            _ => shown(array, kind)?,
        };
        Ok(Self { name: name.to_owned(), kind, texts, numbers })
    }

    /// A cell as it is shown.
    pub(crate) fn text(&self, row: usize) -> &str {
        self.texts.get(row).and_then(Option::as_deref).unwrap_or("–")
    }

    /// A cell as a number.
    pub(crate) fn number(&self, row: usize) -> Option<f64> {
        self.numbers.get(row).copied().flatten()
    }
}

/// Nothing can be drawn at an infinity.
fn finite(value: Option<f64>) -> Option<f64> {
    value.filter(|v| v.is_finite())
}

fn shown(array: &ArrayRef, kind: Kind) -> Result<Vec<Option<String>>, ArrowError> {
    let options = FormatOptions::default();
    let cells = ArrayFormatter::try_new(array.as_ref(), &options)?;
    let text = |row: usize| {
        let text = cells.value(row).try_to_string()?;
        Ok(if kind == Kind::Number { grouped(&text) } else { text })
    };
    (0..array.len()).map(|row| if array.is_null(row) { Ok(None) } else { text(row).map(Some) }).collect()
}
