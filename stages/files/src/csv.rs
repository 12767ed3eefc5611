//! CSV with a header: records are split by the `csv` crate, columns are cast all at once, cells that do not fit make
//! bad rows.

use std::cell::RefCell;
use std::io::{self, Read};
use std::rc::Rc;
use std::sync::Arc;

use alluvium_engine::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, StringBuilder};
use alluvium_engine::arrow::datatypes::SchemaRef;
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::stage::StageError;
use csv::{ByteRecord, Position, Reader, ReaderBuilder};
use memchr::memchr_iter;

use crate::cells::{fit, fit_or_null};
use crate::infer::{self, Seen};
use crate::policy::{Evolution, Policy, quoted, rescued};
use crate::rows::{Bad, Out, Stop};

/// Rows that are cast together, and the text that is held for them.
const BATCH: usize = 8_192;
const BLOCK: usize = 1 << 20;
/// A longer record is taken for damage, mostly a quote that is never closed: nothing else bounds memory.
const LONGEST_RECORD: usize = 64 << 20;
const BUFFER: usize = 64 << 10;

/// Decodes a whole object.
pub(crate) fn decode(
    reader: Box<dyn Read + Send>,
    schema: &SchemaRef,
    policy: &Policy,
    delimiter: u8,
    out: &mut Out,
) -> Result<(), Stop> {
    let kept = Rc::new(RefCell::new(Vec::new()));
    let tape = Tape { reader, kept: kept.clone() };
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .has_headers(false)
        .buffer_capacity(BUFFER)
        .from_reader(tape);
    let mut text = Text { kept, base: 0, line: 1 };
    let mut record = ByteRecord::new();
    if !text.next(&mut reader, &mut record, out)? {
        return Ok(());
    }
    let (width, mut places) = (record.len(), places(&record, schema, policy, out)?);
    let others = others(&record, policy);
    match policy.evolution {
        _ if others.is_empty() => {}
        Evolution::Ignore => {}
        Evolution::Fail => {
            return Err(policy.refused(out.object(), others.iter().map(|o| o.0.as_str())).row(text.line).into());
        }
        Evolution::Add => return Err(policy.evolve(out.object(), &come(reader, others, delimiter)).into()),
        // Read as further columns of text.
        Evolution::Rescue => places.extend(others.iter().map(|o| Some(o.1))),
    }
    text.skip(&reader, &record);
    let mut pending = Pending::new(places.len());
    loop {
        let more = text.next(&mut reader, &mut record, out)?;
        if more {
            pending.push(&record, text.span(&reader, &record), width, &places);
        }
        if !more || pending.spans.len() >= BATCH || text.length(&reader) >= BLOCK {
            std::mem::replace(&mut pending, Pending::new(places.len())).decode(&text, schema, policy, &others, out)?;
            text.forget(&reader);
        }
        if !more {
            return Ok(());
        }
    }
}

/// Where each column of the schema stands in a record.
fn places(
    header: &ByteRecord,
    schema: &SchemaRef,
    policy: &Policy,
    out: &Out,
) -> Result<Vec<Option<usize>>, StageError> {
    let names = names(header);
    let complain = |what: String| {
        let there = format!("the header has: {}", names.join(", "));
        out.broken(what).because(there).hint("correct the object, or `schema:` and `delimiter:`")
    };
    let find = |name: &String| {
        let mut found = names.iter().enumerate().filter(|(_, n)| *n == name);
        match (found.next(), found.next()) {
            (Some((place, _)), None) => Ok(Some(place)),
            (None, _) if policy.infers() => Ok(None),
            (None, _) => Err(complain(format!("the object has no column `{name}`"))),
            (Some(_), Some(_)) => Err(complain(format!("the object has several columns `{name}`"))),
        }
    };
    let places: Vec<Option<usize>> = schema.fields().iter().map(|f| find(f.name())).collect::<Result<_, _>>()?;
    if places.iter().all(Option::is_none) {
        // Missing columns are NULL, but an object of nothing but NULLs is a wrong one.
        return Err(complain("the object has none of the columns of the schema".into()));
    }
    Ok(places)
}

fn names(header: &ByteRecord) -> Vec<String> {
    header.iter().map(|n| String::from_utf8_lossy(n).trim().to_owned()).collect()
}

/// Columns that the schema lacks, with their places.
fn others(header: &ByteRecord, policy: &Policy) -> Vec<(String, usize)> {
    let names = names(header).into_iter().zip(0..);
    names.filter(|(name, _)| policy.lacks(name)).collect()
}

/// The types of columns that have come, by what stands at the beginning of the object.
fn come(reader: Reader<Tape>, others: Vec<(String, usize)>, delimiter: u8) -> Seen {
    let Tape { reader, kept } = reader.into_inner();
    let mut sample = kept.take();
    // What is before a damaged place is looked at; the damage is told when the object is read.
    let _ = reader.take(infer::OBJECT_BYTES as u64).read_to_end(&mut sample);
    let seen = infer::csv(&sample, delimiter);
    others.into_iter().map(|(name, _)| (name.clone(), seen.get(&name).copied().flatten())).collect()
}

/// Keeps what the splitter has read, so that a bad record can be shown as it was.
struct Tape {
    reader: Box<dyn Read + Send>,
    kept: Rc<RefCell<Vec<u8>>>,
}

impl Read for Tape {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut kept = self.kept.borrow_mut();
        if kept.len() > LONGEST_RECORD {
            return Err(io::Error::other(format!(
                "the record is longer than {} MiB; is a quote never closed?",
                LONGEST_RECORD >> 20
            )));
        }
        let n = self.reader.read(out)?;
        kept.extend_from_slice(&out[..n]);
        Ok(n)
    }
}

/// A record's text in the kept bytes, and its line.
struct Span {
    start: usize,
    end: usize,
    line: u64,
}

/// The kept bytes: where they begin, and which line comes next.
struct Text {
    kept: Rc<RefCell<Vec<u8>>>,
    base: u64,
    line: u64,
}

impl Text {
    fn next(&self, reader: &mut Reader<Tape>, record: &mut ByteRecord, out: &Out) -> Result<bool, StageError> {
        reader.read_byte_record(record).map_err(|e| out.unreadable(e).row(self.line))
    }

    /// The record that was just read. Lines are counted here, because the splitter counts a line end of two characters
    /// late.
    fn span(&mut self, reader: &Reader<Tape>, record: &ByteRecord) -> Span {
        let kept = self.kept.borrow();
        let (start, end) =
            (self.place(record.position().map_or(0, Position::byte)), self.place(reader.position().byte()));
        let all = kept.get(start..end).unwrap_or_default();
        let before = all.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        let count = |text: &[u8]| memchr_iter(b'\n', text).count() as u64;
        let line = self.line + count(&all[..before]);
        self.line += count(all);
        Span { start: start + before, end, line }
    }

    fn skip(&mut self, reader: &Reader<Tape>, record: &ByteRecord) {
        self.span(reader, record);
    }

    fn place(&self, byte: u64) -> usize {
        usize::try_from(byte - self.base).unwrap_or(usize::MAX)
    }

    /// Bytes of the records since the last `forget`.
    fn length(&self, reader: &Reader<Tape>) -> usize {
        self.place(reader.position().byte())
    }

    fn forget(&mut self, reader: &Reader<Tape>) {
        let done = self.length(reader);
        let mut kept = self.kept.borrow_mut();
        let done = done.min(kept.len());
        kept.drain(..done);
        self.base += done as u64;
    }

    fn raw(&self, span: &Span) -> String {
        let kept = self.kept.borrow();
        let text = String::from_utf8_lossy(kept.get(span.start..span.end).unwrap_or_default());
        text.trim_end_matches(['\r', '\n']).to_owned()
    }
}

/// Records as text, column by column.
struct Pending {
    columns: Vec<StringBuilder>,
    spans: Vec<Span>,
    bad: Vec<(Span, String)>,
}

impl Pending {
    fn new(columns: usize) -> Self {
        Self { columns: (0..columns).map(|_| StringBuilder::new()).collect(), spans: Vec::new(), bad: Vec::new() }
    }

    fn push(&mut self, record: &ByteRecord, span: Span, width: usize, places: &[Option<usize>]) {
        if record.len() != width {
            let blank = record.len() == 1 && record.as_slice().iter().all(u8::is_ascii_whitespace);
            if !blank {
                self.bad.push((span, format!("{} field(s) where the header has {width}", record.len())));
            }
            return;
        }
        let cells = std::str::from_utf8(record.as_slice()).ok();
        let cell = |place: &usize| cells?.get(record.range(*place)?);
        if !places.iter().flatten().all(|p| cell(p).is_some()) {
            self.bad.push((span, "the record is not UTF-8".into()));
            return;
        }
        for (builder, place) in self.columns.iter_mut().zip(places) {
            builder.append_option(place.as_ref().and_then(cell).filter(|c| !c.is_empty()));
        }
        self.spans.push(span);
    }

    fn decode(
        mut self,
        text: &Text,
        schema: &SchemaRef,
        policy: &Policy,
        others: &[(String, usize)],
        out: &mut Out,
    ) -> Result<(), Stop> {
        let columns: Vec<ArrayRef> = self.columns.iter_mut().map(|c| Arc::new(c.finish()) as ArrayRef).collect();
        let broken = |out: &Out, e| out.broken("columns cannot be cast").because(e);
        if policy.rescues() {
            let bad = |(span, reason): (Span, _)| Bad { line: span.line, raw: text.raw(&span), reason };
            let bad = self.bad.into_iter().map(bad).collect();
            let (good, rescued) = rescue(&columns, schema, others, out.object()).map_err(|e| broken(out, e))?;
            return out.give(bad, &good, Some(rescued));
        }
        let fitted = fit(&columns, schema).map_err(|e| broken(out, e))?;
        let mut bad: Vec<Bad> =
            self.bad.into_iter().map(|(span, reason)| Bad { line: span.line, raw: text.raw(&span), reason }).collect();
        bad.extend(fitted.wrong.into_iter().filter_map(|(row, reason)| {
            self.spans.get(row).map(|span| Bad { line: span.line, raw: text.raw(span), reason })
        }));
        bad.sort_by_key(|b| b.line);
        out.give(bad, &fitted.good, None)
    }
}

/// Rows with the columns of the schema, and what did not fit into them: cells of other columns, which follow those of the
/// schema, and cells that do not fit their type.
fn rescue(
    columns: &[ArrayRef],
    schema: &SchemaRef,
    others: &[(String, usize)],
    object: &str,
) -> Result<(RecordBatch, ArrayRef), ArrowError> {
    let (read, other) = columns.split_at(schema.fields().len());
    let (good, wrong) = fit_or_null(read, schema)?;
    let text = |column: &ArrayRef, row| {
        let column = column.as_string::<i32>();
        column.is_valid(row).then(|| quoted(column.value(row)))
    };
    let mut wrong = wrong.into_iter().peekable();
    let rescued = (0..good.num_rows()).map(|row| {
        let mut fields = Vec::new();
        while let Some((_, place)) = wrong.next_if(|(r, _)| *r == row) {
            fields.extend(text(&read[place], row).map(|cell| (schema.field(place).name().as_str(), cell)));
        }
        for ((name, _), column) in others.iter().zip(other) {
            fields.extend(text(column, row).map(|cell| (name.as_str(), cell)));
        }
        rescued(object, &fields.iter().map(|(name, cell)| (*name, cell.as_str())).collect::<Vec<_>>())
    });
    let rescued = Arc::new(rescued.collect::<StringArray>());
    Ok((good, rescued))
}
