//! Rows as the answer of a command.

use arrow::csv::WriterBuilder;
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use arrow::record_batch::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use clap::ValueEnum;

use super::{DONE, FAILED, say, say_error};

/// How rows are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Columns side by side.
    #[default]
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Json,
}

/// Shows rows on standard output; returns the exit code.
pub fn show_rows(batches: &[RecordBatch], format: Format) -> u8 {
    match text(batches, format) {
        Ok(text) => {
            say(&text);
            DONE
        }
        Err(error) => {
            say_error(&format!("error: the rows cannot be shown: {error}\n"));
            FAILED
        }
    }
}

fn text(batches: &[RecordBatch], format: Format) -> Result<String, ArrowError> {
    if format == Format::Table {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let s = if rows == 1 { "" } else { "s" };
        return Ok(format!("{}\n{rows} row{s}\n", pretty_format_batches(batches)?));
    }
    lines(batches, format, true)
}

/// Rows as lines of CSV, with a header if asked, or of JSON: what comes in parts can be put together.
pub(super) fn lines(batches: &[RecordBatch], format: Format, header: bool) -> Result<String, ArrowError> {
    let mut bytes = Vec::new();
    if format == Format::Json {
        let mut writer = LineDelimitedWriter::new(&mut bytes);
        writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
        writer.finish()?;
    } else {
        let mut writer = WriterBuilder::new().with_header(header).build(&mut bytes);
        batches.iter().try_for_each(|batch| writer.write(batch))?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
