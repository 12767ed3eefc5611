//! A second look at JSON lines, for what the decoder cannot do: fields that the schema lacks, nested values as text,
//! values that do not fit and are rescued.
//!
//! The decoder is told to fail at a field that it does not know, so lines with nothing of this kind cost what they always
//! cost. Where it fails, parts of [`FEW`] lines are tried, and the lines of a part that fails are checked, cut into
//! fields and written anew: five to ten times the work for these lines. When most lines need it, the first try is left
//! out until they no longer do.

use std::borrow::Cow;
use std::sync::Arc;

use alluvium_engine::arrow::array::{ArrayRef, RecordBatch, StringArray};
use alluvium_engine::arrow::compute::concat_batches;
use alluvium_engine::arrow::error::ArrowError;

use crate::cells::fit;
use crate::fields::{fields, type_of};
use crate::infer::see;
use crate::json::{Line, Lines, PARTS};
use crate::policy::{Evolution, Verdict, quoted, rescued};
use crate::reason::reason;
use crate::rows::{Bad, Out, Stop};

/// Lines that are looked at again together.
const FEW: usize = 512;

/// A line as it is to be decoded.
struct Looked<'b> {
    number: u64,
    raw: &'b [u8],
    text: Cow<'b, [u8]>,
    rescued: Option<String>,
}

#[derive(Default)]
struct Kept {
    good: Vec<RecordBatch>,
    /// For each good row.
    rescued: Vec<Option<String>>,
    bad: Vec<Bad>,
}

impl Kept {
    fn rows(&mut self, batch: RecordBatch, rescued: impl IntoIterator<Item = Option<String>>) {
        self.good.push(batch);
        self.rescued.extend(rescued);
    }
}

impl Lines {
    /// Decodes some lines and gives their rows. Once a column has come that is to be added nothing more is given: the
    /// rest of the object is only looked through for others.
    pub(crate) fn watched(&mut self, lines: &[Line<'_>], out: &mut Out) -> Result<(), Stop> {
        let mut kept = Kept::default();
        if self.come.is_empty() {
            self.watch(lines, &mut kept, out)?;
        } else {
            lines.iter().for_each(|line| self.note(line.1));
        }
        if !self.come.is_empty() {
            return Ok(());
        }
        let good = match kept.good.as_slice() {
            [one] => one.clone(),
            many => concat_batches(&self.schema, many).map_err(|e| broken(out, e))?,
        };
        let rescued = self.policy.rescues().then(|| Arc::new(StringArray::from(kept.rescued)) as ArrayRef);
        out.give(kept.bad, &good, rescued)
    }

    fn watch(&mut self, lines: &[Line<'_>], kept: &mut Kept, out: &Out) -> Result<(), Stop> {
        if !self.rewritten {
            match self.together(lines) {
                Ok(batch) => {
                    let fitted = fit(batch.columns(), &self.schema).map_err(|e| broken(out, e))?;
                    if fitted.wrong.is_empty() || !self.policy.rescues() {
                        let bad = |(row, reason)| lines.get(row).map(|line: &Line<'_>| wrong(line.0, line.1, reason));
                        kept.bad.extend(fitted.wrong.into_iter().filter_map(bad));
                        let rows = fitted.good.num_rows();
                        kept.rows(fitted.good, std::iter::repeat_n(None, rows));
                        return Ok(());
                    }
                    return self.look(lines, |row| fitted.wrong.contains_key(&row), kept, out);
                }
                Err(_) if lines.len() > FEW => {
                    for part in lines.chunks(FEW) {
                        self.watch(part, kept, out)?;
                    }
                    return Ok(());
                }
                Err(_) => {}
            }
        }
        self.look(lines, |_| true, kept, out)
    }

    fn look(
        &mut self,
        lines: &[Line<'_>],
        doubtful: impl Fn(usize) -> bool,
        kept: &mut Kept,
        out: &Out,
    ) -> Result<(), Stop> {
        let mut looked = Vec::with_capacity(lines.len());
        for (row, (number, raw)) in lines.iter().enumerate() {
            let as_it_is = Looked { number: *number, raw, text: Cow::Borrowed(raw), rescued: None };
            looked.push(if doubtful(row) { self.again(as_it_is, out)? } else { as_it_is });
        }
        let anew = looked.iter().filter(|l| matches!(l.text, Cow::Owned(_))).count();
        self.rewritten = anew * 2 > looked.len();
        if self.come.is_empty() { self.settle(&looked, kept).map_err(|e| broken(out, e)) } else { Ok(()) }
    }

    /// Writes a line anew, if that is needed.
    fn again<'b>(&mut self, mut line: Looked<'b>, out: &Out) -> Result<Looked<'b>, Stop> {
        // What is no JSON object stays as it is, and fails once more.
        let Some(fields) = fields(line.raw) else { return Ok(line) };
        let (mut text, mut changed) = (Vec::with_capacity(line.raw.len() + 16), false);
        text.push(b'{');
        let (mut rescue, mut unknown) = (Vec::new(), Vec::new());
        for (name, raw) in &fields {
            let verdict = self.policy.judge(name, raw);
            changed |= !matches!(verdict, Verdict::Keep);
            let written = match verdict {
                Verdict::Keep => Cow::Borrowed(*raw),
                Verdict::Text => Cow::Owned(quoted(raw)),
                Verdict::Leave => continue,
                Verdict::Rescue => {
                    rescue.push((name.as_ref(), *raw));
                    continue;
                }
                Verdict::Unknown => {
                    unknown.push((name.as_ref(), *raw));
                    continue;
                }
            };
            if text.len() > 1 {
                text.push(b',');
            }
            text.extend_from_slice(quoted(name).as_bytes());
            text.push(b':');
            text.extend_from_slice(written.as_bytes());
        }
        if !unknown.is_empty() {
            match self.policy.evolution {
                Evolution::Ignore => {}
                Evolution::Rescue => rescue.extend(unknown),
                Evolution::Add => unknown.iter().for_each(|(name, raw)| see(&mut self.come, name, type_of(raw))),
                Evolution::Fail => {
                    let error = self.policy.refused(out.object(), unknown.iter().map(|u| u.0));
                    return Err(error.row(line.number).into());
                }
            }
        }
        if changed {
            text.push(b'}');
            line.text = Cow::Owned(text);
        }
        line.rescued = rescued(out.object(), &rescue);
        Ok(line)
    }

    /// Notes columns that have come.
    fn note(&mut self, line: &[u8]) {
        for (name, raw) in fields(line).into_iter().flatten() {
            if matches!(self.policy.judge(&name, raw), Verdict::Unknown) {
                see(&mut self.come, &name, type_of(raw));
            }
        }
    }

    /// Decodes lines after the second look; where that fails, ever smaller parts of them.
    fn settle(&mut self, lines: &[Looked<'_>], kept: &mut Kept) -> Result<(), ArrowError> {
        let texts: Vec<Line<'_>> = lines.iter().map(|l| (l.number, l.text.as_ref())).collect();
        match self.together(&texts) {
            Ok(batch) => {
                let fitted = fit(batch.columns(), &self.schema)?;
                let good = lines.iter().enumerate().filter(|(row, _)| !fitted.wrong.contains_key(row));
                kept.rows(fitted.good, good.map(|(_, l)| l.rescued.clone()));
                let bad = |(row, reason)| lines.get(row).map(|l: &Looked<'_>| wrong(l.number, l.raw, reason));
                kept.bad.extend(fitted.wrong.into_iter().filter_map(bad));
            }
            Err(why) => match lines {
                [line] => kept.bad.push(wrong(line.number, line.raw, reason(&line.text, &self.schema, why))),
                _ => {
                    for part in lines.chunks(lines.len().div_ceil(PARTS)) {
                        self.settle(part, kept)?;
                    }
                }
            },
        }
        Ok(())
    }
}

fn wrong(line: u64, raw: &[u8], reason: String) -> Bad {
    Bad { line, raw: String::from_utf8_lossy(raw).trim_end().to_owned(), reason }
}

fn broken(out: &Out, error: ArrowError) -> Stop {
    out.broken("rows cannot be decoded").because(error).into()
}
