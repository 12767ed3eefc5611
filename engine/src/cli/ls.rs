//! `ls`: what sources would read, or what is at a URL. Objects are shown while they are listed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use clap::Args;
use futures::stream::{BoxStream, StreamExt};

use super::rows::{Format, lines};
use super::{Cli, DONE, FAILED, USAGE, parse_assignment, say, say_error};
use crate::checkpoint::{Known, Mark, known};
use crate::plan::{Plan, Sources};
use crate::progress::grouped;
use crate::stage::{OnChange, Split, StageError};
use crate::storage::Storage;

/// Objects that are shown together.
const TOGETHER: usize = 1_000;

#[derive(Args)]
pub(super) struct LsArguments {
    /// The pipeline spec, a file that ends in .yaml or .yml; or else the URL or path of a folder or an object.
    #[arg(value_name = "SPEC|URL")]
    place: String,
    /// Of a spec: only this source.
    #[arg(value_name = "STAGE")]
    stage: Option<String>,
    /// How objects are shown; only a table ends with a line of sums.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Set a variable of the spec; wins over the environment.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_assignment)]
    set: Vec<(String, String)>,
}

pub(super) fn ls(cli: &Cli<'_>, arguments: &LsArguments) -> u8 {
    let runtime = match cli.runtime(1) {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let mut shown = Shown { format: arguments.format, ..Shown::default() };
    let is_spec = [".yaml", ".yml"].iter().any(|end| arguments.place.ends_with(end));
    let listed = if is_spec && !arguments.place.contains("://") {
        let plan = match cli.compile(&PathBuf::from(&arguments.place), &arguments.set, runtime.handle()) {
            Ok(plan) => plan,
            Err(code) => return code,
        };
        let sources = match chosen(&plan, arguments.stage.as_deref()) {
            Ok(sources) => sources,
            Err(message) => {
                say_error(&format!("error: {message}\n"));
                return USAGE;
            }
        };
        runtime.block_on(of_sources(&plan, sources, &mut shown))
    } else if arguments.stage.is_some() {
        say_error("error: only a spec has stages; its file ends in .yaml or .yml\n");
        return USAGE;
    } else {
        runtime.block_on(at_url(&arguments.place, &mut shown))
    };
    match listed.and_then(|()| shown.end()) {
        Ok(()) => DONE,
        Err(error) => {
            say_error(&format!("error: {}\n", error.text()));
            FAILED
        }
    }
}

fn chosen(plan: &Plan, stage: Option<&str>) -> Result<Sources, String> {
    let mut sources = plan.sources().map_err(|e| e.text())?;
    let Some(stage) = stage else { return Ok(sources) };
    let names: Vec<&str> = sources.iter().map(|(name, _)| name.as_str()).collect();
    if !names.contains(&stage) {
        return Err(format!("no source is called `{stage}`; there are: {}", names.join(", ")));
    }
    sources.retain(|(name, _)| name == stage);
    Ok(sources)
}

async fn of_sources(plan: &Plan, sources: Sources, shown: &mut Shown) -> Result<(), StageError> {
    let known = known(plan).await?;
    shown.of_spec = true;
    for (name, source) in sources {
        // As a run does: whatever comes has a greater identity.
        let after = known.last(&name).filter(|_| source.is_ordered());
        shown.all(&name, source.list(after), Some((&known, source.on_change()))).await?;
    }
    Ok(())
}

async fn at_url(url: &str, shown: &mut Shown) -> Result<(), StageError> {
    let location = Storage::new(BTreeMap::new()).open(url)?;
    shown.all("", location.objects(), None).await
}

/// What was shown so far.
#[derive(Default)]
struct Shown {
    format: Format,
    of_spec: bool,
    /// Whether there was a header.
    begun: bool,
    chunk: Vec<(String, Split, Option<Mark>)>,
    objects: u64,
    bytes: u64,
    bound: u64,
    changed: u64,
    /// What a run would read.
    unread: (u64, u64),
    /// A run would stop at a changed object.
    stops: bool,
}

impl Shown {
    async fn all(
        &mut self,
        name: &str,
        mut splits: BoxStream<'static, Result<Split, StageError>>,
        ledger: Option<(&Known, OnChange)>,
    ) -> Result<(), StageError> {
        while let Some(split) = splits.next().await {
            let split = split?;
            let mark = ledger.map(|(known, on_change)| (known.look(name, &split), on_change));
            self.count(&split, mark);
            self.chunk.push((name.to_owned(), split, mark.map(|(mark, _)| mark)));
            if self.chunk.len() >= TOGETHER {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn count(&mut self, split: &Split, mark: Option<(Mark, OnChange)>) {
        self.objects += 1;
        self.bytes += split.bytes;
        let unread = match mark {
            Some((Mark::Bound(_), _)) => {
                self.bound += 1;
                false
            }
            Some((Mark::Changed, on_change)) => {
                self.changed += 1;
                self.stops |= on_change == OnChange::Error;
                on_change == OnChange::Reprocess
            }
            _ => true,
        };
        if unread {
            self.unread.0 += 1;
            self.unread.1 += split.bytes;
        }
    }

    fn flush(&mut self) -> Result<(), StageError> {
        let chunk = std::mem::take(&mut self.chunk);
        let text = match self.format {
            Format::Table => self.table(&chunk),
            format => {
                let batch = self.batch(&chunk);
                let text = batch.and_then(|batch| lines(&[batch], format, !self.begun));
                text.map_err(|e| StageError::internal("the objects cannot be shown").because(e))?
            }
        };
        self.begun = true;
        say(&text);
        Ok(())
    }

    /// The column whose width is not known comes last.
    fn table(&self, chunk: &[(String, Split, Option<Mark>)]) -> String {
        let ledger = |text: &str| if self.of_spec { format!("{text:>9}  ") } else { String::new() };
        let mut out = String::new();
        if !self.begun {
            out.push_str(&format!("{}{:>15}  {:<20}  object\n", ledger("ledger"), "bytes", "modified"));
        }
        for (_, split, mark) in chunk {
            let modified = split.modified.map(|m| m.format("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default();
            let mark = ledger(&mark.map(told).unwrap_or_default());
            out.push_str(&format!("{mark}{:>15}  {modified:<20}  {}\n", grouped(split.bytes), split.id));
        }
        out
    }

    fn batch(&self, chunk: &[(String, Split, Option<Mark>)]) -> Result<RecordBatch, ArrowError> {
        let sources: StringArray = chunk.iter().map(|(source, ..)| Some(source)).collect();
        let objects: StringArray = chunk.iter().map(|(_, split, _)| Some(&split.id)).collect();
        let bytes = chunk.iter().map(|(_, split, _)| i64::try_from(split.bytes).unwrap_or(i64::MAX));
        let modified = chunk.iter().map(|(_, split, _)| split.modified.map(|m| m.timestamp_micros()));
        let marks: StringArray = chunk.iter().map(|(.., mark)| mark.map(told)).collect();
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("object", Arc::new(objects)),
            ("bytes", Arc::new(bytes.collect::<Int64Array>())),
            ("modified", Arc::new(modified.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))),
        ];
        if self.of_spec {
            columns.insert(0, ("source", Arc::new(sources)));
            columns.push(("ledger", Arc::new(marks)));
        }
        RecordBatch::try_from_iter(columns)
    }

    /// What is left, and the sums.
    fn end(mut self) -> Result<(), StageError> {
        if !self.begun || !self.chunk.is_empty() {
            self.flush()?;
        }
        if self.format != Format::Table {
            return Ok(());
        }
        let s = if self.objects == 1 { "" } else { "s" };
        let mut sums = format!("{} object{s}, {} bytes", grouped(self.objects), grouped(self.bytes));
        if self.of_spec {
            sums.push_str(&format!(
                "; {} in the ledger, {} changed; a run would {}",
                grouped(self.bound),
                grouped(self.changed),
                match self.unread {
                    _ if self.stops => "stop at what has changed".to_owned(),
                    (0, _) => "read nothing".to_owned(),
                    (objects, bytes) => format!("read {}, {} bytes", grouped(objects), grouped(bytes)),
                }
            ));
        }
        say(&format!("{sums}\n"));
        Ok(())
    }
}

fn told(mark: Mark) -> String {
    match mark {
        Mark::New => String::new(),
        Mark::Changed => "changed".into(),
        Mark::Bound(epoch) => epoch.to_string(),
    }
}
