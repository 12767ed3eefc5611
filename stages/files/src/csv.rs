//! CSV with a header: records are split by the `csv` crate, columns are cast all at once, cells that do not fit are
//! rejects.

use std::io::Read;
use std::sync::Arc;

use alluvium_engine::arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray, StringBuilder};
use alluvium_engine::arrow::compute::kernels::cmp::neq;
use alluvium_engine::arrow::compute::{CastOptions, cast_with_options, filter_record_batch, is_not_null, or_kleene};
use alluvium_engine::arrow::datatypes::{DataType, SchemaRef};
use alluvium_engine::arrow::error::ArrowError;
use csv::{ByteRecord, ReaderBuilder};

use crate::rows::{Rows, Stop};

const BATCH: usize = 8_192;

/// Decodes a whole object.
pub(crate) fn decode(reader: Box<dyn Read + Send>, schema: &SchemaRef, delimiter: u8, rows: &mut Rows) -> Result<(), Stop> {
    let mut reader = ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(reader);
    let header = reader.byte_headers().map_err(|e| rows.broken("the header cannot be read", e))?.clone();
    if header.is_empty() {
        return Ok(());
    }
    let places = places(&header, schema).map_err(|missing| rows.broken("the header does not have the columns of `schema:`", missing))?;
    let mut pending = Pending::new(schema.fields().len());
    let mut record = ByteRecord::new();
    loop {
        let more = reader.read_byte_record(&mut record).map_err(|e| rows.broken("the object cannot be read or unpacked to its end", e))?;
        if more {
            pending.push(&record, header.len(), &places, delimiter);
        }
        if !more || pending.lines.len() >= BATCH || pending.bad.len() >= BATCH {
            std::mem::replace(&mut pending, Pending::new(places.len())).decode(schema, rows)?;
        }
        if !more {
            return Ok(());
        }
    }
}

/// Where each column of the schema stands in the record.
fn places(header: &ByteRecord, schema: &SchemaRef) -> Result<Vec<usize>, String> {
    let names: Vec<String> = header.iter().map(|n| String::from_utf8_lossy(n).trim_start_matches('\u{feff}').trim().to_owned()).collect();
    let find = |f: &Arc<alluvium_engine::arrow::datatypes::Field>| {
        names.iter().position(|n| n == f.name()).ok_or_else(|| format!("there is no column `{}`; there are: {}", f.name(), names.join(", ")))
    };
    schema.fields().iter().map(find).collect()
}

/// Records as text, column by column.
struct Pending {
    columns: Vec<StringBuilder>,
    lines: Vec<u64>,
    raw: Vec<String>,
    bad: Vec<(u64, String, String)>,
}

impl Pending {
    fn new(columns: usize) -> Self {
        Self { columns: (0..columns).map(|_| StringBuilder::new()).collect(), lines: Vec::new(), raw: Vec::new(), bad: Vec::new() }
    }

    fn push(&mut self, record: &ByteRecord, width: usize, places: &[usize], delimiter: u8) {
        let line = record.position().map_or(0, csv::Position::line);
        let raw = || {
            let cells: Vec<_> = record.iter().map(String::from_utf8_lossy).collect();
            cells.join(&char::from(delimiter).to_string())
        };
        if record.len() != width {
            return self.bad.push((line, raw(), format!("{} fields where the header has {width}", record.len())));
        }
        let cells: Result<Vec<&str>, _> = places.iter().map(|&p| std::str::from_utf8(record.get(p).unwrap_or_default())).collect();
        let Ok(cells) = cells else { return self.bad.push((line, raw(), "the line is not UTF-8".into())) };
        for (builder, cell) in self.columns.iter_mut().zip(cells) {
            builder.append_option(Some(cell).filter(|c| !c.is_empty()));
        }
        self.lines.push(line);
        self.raw.push(raw());
    }

    fn decode(mut self, schema: &SchemaRef, rows: &mut Rows) -> Result<(), Stop> {
        let text: Vec<StringArray> = self.columns.iter_mut().map(StringBuilder::finish).collect();
        let decoded = cast(&text, schema).map_err(|e| rows.broken("columns cannot be decoded", e))?;
        for row in 0..self.lines.len() {
            let Some(column) = decoded.wrong.iter().position(|w| w.value(row)) else { continue };
            let (field, cell) = (schema.field(column), text[column].value(row));
            let type_name = type_name(field.data_type());
            self.bad.push((self.lines[row], std::mem::take(&mut self.raw[row]), format!("column `{}`: `{cell}` is not a {type_name}", field.name())));
        }
        self.bad.sort_by_key(|(line, ..)| *line);
        rows.bad(self.bad)?;
        rows.rows(&decoded.good)
    }
}

fn type_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "boolean",
        DataType::Date32 => "date",
        DataType::Timestamp(..) => "timestamp with offset",
        DataType::Float32 | DataType::Float64 => "number",
        _ => "whole number of this size",
    }
}

struct Decoded {
    good: RecordBatch,
    /// By column: the cell has text that does not fit.
    wrong: Vec<BooleanArray>,
}

fn cast(text: &[StringArray], schema: &SchemaRef) -> Result<Decoded, ArrowError> {
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(text.len());
    let mut wrong = Vec::with_capacity(text.len());
    for (column, field) in text.iter().zip(schema.fields()) {
        let cast = cast_with_options(column, field.data_type(), &options)?;
        // Text before, nothing after.
        wrong.push(neq(&is_not_null(column)?, &is_not_null(&cast)?)?);
        columns.push(cast);
    }
    let rows = text.first().map_or(0, Array::len);
    let none = BooleanArray::from(vec![false; rows]);
    let any = wrong.iter().try_fold(none, |any, column| or_kleene(&any, column))?;
    let batch = RecordBatch::try_new(schema.clone(), columns)?;
    let good = filter_record_batch(&batch, &alluvium_engine::arrow::compute::not(&any)?)?;
    Ok(Decoded { good, wrong })
}
