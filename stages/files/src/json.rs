//! JSON lines. Whole lines are decoded some thousands at a time; where that fails, ever smaller parts of them are
//! tried until the bad lines stand alone.

use std::io::Read;
use std::sync::Arc;

use alluvium_engine::arrow::array::RecordBatch;
use alluvium_engine::arrow::compute::concat_batches;
use alluvium_engine::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::arrow::json::reader::{Decoder, ReaderBuilder};
use memchr::{memchr_iter, memchr2_iter, memrchr};

use crate::cells::fit;
use crate::infer::Seen;
use crate::policy::{Evolution, Policy};
use crate::reason::reason;
use crate::rows::{Bad, Out, Stop};

/// Text that is held at once.
const BLOCK: usize = 1 << 20;
/// Lines that are decoded together.
const BATCH: usize = 8_192;
/// Parts of those lines that are tried when they cannot be decoded: with few bad lines the work is about doubled.
pub(crate) const PARTS: usize = 16;
/// A longer line is taken for damage: nothing else bounds memory.
const LONGEST_LINE: usize = 64 << 20;
/// The decoder describes a value that does not fit by recursion, so depth must be bounded before.
const DEEPEST: usize = 100;

/// Decodes a whole object.
pub(crate) fn decode(
    mut reader: Box<dyn Read + Send>,
    schema: &SchemaRef,
    policy: Arc<Policy>,
    out: &mut Out,
) -> Result<(), Stop> {
    let mut lines = Lines {
        text: as_text(schema),
        schema: schema.clone(),
        policy,
        decoder: None,
        rewritten: false,
        come: Seen::new(),
    };
    let mut block = Vec::with_capacity(BLOCK + 1);
    let mut line = 1;
    let mut begun = false;
    loop {
        let known = block.len();
        let room = BLOCK.saturating_sub(known).max(BLOCK / 4);
        let read = reader.by_ref().take(room as u64).read_to_end(&mut block).map_err(|e| out.unreadable(e))?;
        if !begun && block.starts_with(b"\xEF\xBB\xBF") {
            // The mark of a UTF-8 file counts as blank.
            block[..3].fill(b' ');
        }
        begun = true;
        if read == 0 {
            break;
        }
        match memrchr(b'\n', &block[known.min(block.len())..]) {
            Some(end) => {
                let end = known + end;
                line += lines.block(&block[..=end], line, out)?;
                block.drain(..=end);
            }
            None if block.len() > LONGEST_LINE => {
                let why = format!("line {line} is longer than {} MiB", LONGEST_LINE >> 20);
                return Err(out
                    .broken(why)
                    .hint("the format is one JSON object a line; is this another format?")
                    .into());
            }
            None => {}
        }
    }
    // The last line may lack its end.
    lines.block(&block, line, out)?;
    if lines.come.is_empty() { Ok(()) } else { Err(lines.policy.evolve(out.object(), &lines.come).into()) }
}

/// The decoder would round numbers, and take any number for a moment; these columns are cast from text like those of
/// other formats.
fn as_text(schema: &SchemaRef) -> SchemaRef {
    let field = |f: &Arc<Field>| match f.data_type() {
        DataType::Int32 | DataType::Int64 | DataType::Date32 | DataType::Timestamp(..) => {
            Field::new(f.name(), DataType::Utf8, true)
        }
        other => Field::new(f.name(), other.clone(), true),
    };
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

pub(crate) type Line<'b> = (u64, &'b [u8]);

pub(crate) struct Lines {
    text: SchemaRef,
    pub(crate) schema: SchemaRef,
    pub(crate) policy: Arc<Policy>,
    /// Kept while it is clean.
    decoder: Option<Decoder>,
    /// Most of the last lines had to be written anew before they could be decoded.
    pub(crate) rewritten: bool,
    /// Columns that are to be added to the schema.
    pub(crate) come: Seen,
}

#[derive(Default)]
struct Found {
    good: Vec<RecordBatch>,
    bad: Vec<Bad>,
}

impl Lines {
    /// Decodes whole lines; returns how many there were.
    fn block(&mut self, block: &[u8], first: u64, out: &mut Out) -> Result<u64, Stop> {
        let (mut number, mut start, mut lines) = (first, 0, Vec::new());
        for end in memchr_iter(b'\n', block).chain(std::iter::once(block.len())) {
            let line = block.get(start..end).unwrap_or_default();
            if !line.iter().all(u8::is_ascii_whitespace) {
                lines.push((number, line));
            }
            start = end + 1;
            number += 1;
        }
        for lines in lines.chunks(BATCH) {
            if !self.policy.is_plain() {
                self.watched(lines, out)?;
                continue;
            }
            let mut found = Found::default();
            self.part(lines, &mut found).map_err(|e| out.broken("rows cannot be decoded").because(e))?;
            let good = match found.good.as_slice() {
                [one] => one.clone(),
                many => {
                    concat_batches(&self.schema, many).map_err(|e| out.broken("rows cannot be decoded").because(e))?
                }
            };
            out.give(found.bad, &good, None)?;
        }
        Ok(number - first - 1)
    }

    fn part(&mut self, lines: &[Line<'_>], found: &mut Found) -> Result<(), ArrowError> {
        match self.together(lines) {
            Ok(batch) => {
                let fitted = fit(batch.columns(), &self.schema)?;
                let wrong =
                    fitted.wrong.into_iter().filter_map(|(row, reason)| lines.get(row).map(|line| bad(line, reason)));
                found.bad.extend(wrong);
                found.good.push(fitted.good);
            }
            Err(why) => match lines {
                [line] => found.bad.push(bad(line, reason(line.1, &self.schema, why))),
                _ => {
                    for part in lines.chunks(lines.len().div_ceil(PARTS)) {
                        self.part(part, found)?;
                    }
                }
            },
        }
        Ok(())
    }

    /// A row for each line; `None` as error means that some line is not exactly one value.
    pub(crate) fn together(&mut self, lines: &[Line<'_>]) -> Result<RecordBatch, Option<ArrowError>> {
        let mut decoder = match self.decoder.take() {
            Some(clean) => clean,
            None => ReaderBuilder::new(self.text.clone())
                .with_batch_size(BATCH)
                .with_coerce_primitive(true)
                .with_strict_mode(self.policy.evolution != Evolution::Ignore)
                .build_decoder()?,
        };
        for (place, (_, line)) in lines.iter().enumerate() {
            if too_deep(line) {
                return Err(Some(ArrowError::JsonError(format!("values are nested deeper than {DEEPEST} levels"))));
            }
            let used = decoder.decode(line)?;
            if used < line.len() || decoder.has_partial_record() || decoder.len() != place + 1 {
                return Err(None);
            }
        }
        let batch = decoder.flush()?.ok_or(None)?;
        self.decoder = Some(decoder);
        Ok(batch)
    }
}

fn bad((number, line): &Line<'_>, reason: String) -> Bad {
    Bad { line: *number, raw: String::from_utf8_lossy(line).trim_end().to_owned(), reason }
}

pub(crate) fn too_deep(line: &[u8]) -> bool {
    // Seldom more than a glance: only a line with many brackets can be deep.
    if memchr2_iter(b'{', b'[', line).count() <= DEEPEST {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in line {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return true;
        }
    }
    false
}
