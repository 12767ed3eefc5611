//! JSON lines, block by block; line by line only where a block has a bad one.

use std::io::Read;

use alluvium_engine::arrow::array::RecordBatch;
use alluvium_engine::arrow::datatypes::SchemaRef;
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::arrow::json::reader::{Decoder, ReaderBuilder};
use memchr::{memchr_iter, memrchr};

use crate::rows::{Rows, Stop};

/// Text that is decoded at once: some thousand rows.
const BLOCK: usize = 1 << 20;
/// A longer line is taken for damage: nothing else bounds memory.
const LONGEST_LINE: usize = 64 << 20;

/// Decodes a whole object.
pub(crate) fn decode(mut reader: Box<dyn Read + Send>, schema: &SchemaRef, rows: &mut Rows) -> Result<(), Stop> {
    let mut block = Vec::with_capacity(BLOCK + 1);
    let mut line = 1;
    loop {
        let room = (BLOCK - block.len().min(BLOCK)).max(BLOCK / 4);
        let read = reader.by_ref().take(room as u64).read_to_end(&mut block).map_err(|e| rows.broken("the object cannot be read or unpacked to its end", e))?;
        if read == 0 {
            break;
        }
        match memrchr(b'\n', &block) {
            Some(end) => {
                line += lines(&block[..=end], line, schema, rows)?;
                block.drain(..=end);
            }
            None if block.len() > LONGEST_LINE => {
                let error = format!("line {line} is longer than {LONGEST_LINE} bytes");
                return Err(rows.broken("this is not a file of JSON lines", error));
            }
            None => {}
        }
    }
    // The last line may lack its end.
    lines(&block, line, schema, rows)?;
    Ok(())
}

/// Decodes whole lines; returns how many there were.
fn lines(block: &[u8], first: u64, schema: &SchemaRef, rows: &mut Rows) -> Result<u64, Stop> {
    let (count, filled) = count(block);
    if filled == 0 {
        return Ok(count);
    }
    match together(block, filled, schema) {
        // A row for each line, or else something was read across lines.
        Ok(Some(batch)) if batch.num_rows() == filled => rows.rows(&batch)?,
        _ => one_by_one(block, first, schema, rows)?,
    }
    Ok(count)
}

/// Lines, and lines that are not blank.
fn count(block: &[u8]) -> (u64, usize) {
    let (mut start, mut lines, mut filled) = (0, 0, 0);
    for end in memchr_iter(b'\n', block).chain(std::iter::once(block.len())) {
        let line = block.get(start..end).unwrap_or_default();
        if end < block.len() || !line.is_empty() {
            lines += 1;
        }
        if !line.iter().all(u8::is_ascii_whitespace) {
            filled += 1;
        }
        start = end + 1;
    }
    (lines, filled)
}

fn decoder(rows: usize, schema: &SchemaRef) -> Result<Decoder, ArrowError> {
    ReaderBuilder::new(schema.clone()).with_batch_size(rows + 1).with_coerce_primitive(true).build_decoder()
}

fn together(block: &[u8], filled: usize, schema: &SchemaRef) -> Result<Option<RecordBatch>, ArrowError> {
    let mut decoder = decoder(filled, schema)?;
    let used = decoder.decode(block)?;
    if used < block.len() || decoder.has_partial_record() {
        return Ok(None);
    }
    decoder.flush()
}

/// Good lines are collected and decoded together again, bad ones are told with their number.
fn one_by_one(block: &[u8], first: u64, schema: &SchemaRef, rows: &mut Rows) -> Result<(), Stop> {
    let (mut good, mut filled, mut bad) = (Vec::with_capacity(block.len()), 0, Vec::new());
    for (number, line) in (first..).zip(block.split(|b| *b == b'\n')) {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match together(line, 1, schema) {
            Ok(Some(batch)) if batch.num_rows() == 1 => {
                good.extend_from_slice(line);
                good.push(b'\n');
                filled += 1;
            }
            outcome => bad.push((number, String::from_utf8_lossy(line).trim_end().to_owned(), reason(line, outcome))),
        }
    }
    rows.bad(bad)?;
    match together(&good, filled, schema) {
        Ok(Some(batch)) => rows.rows(&batch),
        Ok(None) => Ok(()),
        Err(error) => Err(rows.broken("rows cannot be decoded", error)),
    }
}

fn reason(line: &[u8], outcome: Result<Option<RecordBatch>, ArrowError>) -> String {
    match outcome {
        _ if std::str::from_utf8(line).is_err() => "the line is not UTF-8".into(),
        Err(ArrowError::JsonError(text)) => text,
        Err(error) => error.to_string(),
        Ok(Some(batch)) if batch.num_rows() > 1 => "several JSON values on one line".into(),
        Ok(_) => "the JSON object is not complete".into(),
    }
}
