//! The running source.

use std::sync::Arc;

use alluvium_engine::async_trait;
use alluvium_engine::stage::{OnChange, Read, ReadContext, Source, Split, StageError};
use alluvium_engine::storage::Location;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;

use crate::config::{Files, Format, OnMissing};
use crate::list::Wanted;
use crate::policy::{Evolution, Policy};
use crate::rows::{Out, Rows};
use crate::{bytes, csv, json, list, parquet, passed};

/// Batches that are decoded ahead of the dataflow, for each object that is being read.
const AHEAD: usize = 2;

/// Reads objects below a location.
pub(crate) struct FilesSource {
    config: Files,
    location: Location,
    wanted: Wanted,
}

impl FilesSource {
    pub(crate) fn new(config: Files, location: Location, wanted: Wanted) -> Self {
        Self { config, location, wanted }
    }
}

#[async_trait]
impl Source for FilesSource {
    fn list(&self, after: Option<&str>) -> BoxStream<'static, Result<Split, StageError>> {
        list::list(&self.location, &self.wanted, &self.config.partitions, after)
    }

    fn read(&self, split: Split, context: ReadContext) -> BoxStream<'static, Result<Read, StageError>> {
        let (config, location) = (self.config.clone(), self.location.clone());
        let policy = Policy::new(&config, context.fixed);
        let watch = (policy.clone(), split.id.clone(), self.location.clone(), self.wanted.clone());
        let opened = async move {
            let rows = Rows::new(&config, split.id.clone(), context)?;
            let opened = match config.format {
                _ if split.bytes == 0 => bytes::empty(&location, &split).await,
                Format::Parquet => parquet::open(&location, &split, config.read_schema(), policy, rows).await,
                Format::Json | Format::Csv => text(&config, &location, &split, policy, rows).await,
            };
            opened.or_else(|unopened| unopened.judge(&split, context, config.on_missing))
        };
        let pieces = stream::once(opened).try_flatten();
        if watch.0.evolution != Evolution::Add {
            return pieces.boxed();
        }
        let watch = Arc::new(watch);
        let widened = move |error| {
            let watch = watch.clone();
            async move { Err(watch.0.widened(&watch.1, &watch.2, &watch.3, error).await) }
        };
        pieces.or_else(widened).boxed()
    }

    fn reads_at_once(&self) -> usize {
        if self.location.is_local() { 1 } else { 2 }
    }

    fn on_change(&self) -> OnChange {
        self.config.on_change
    }
}

/// The pieces of an object.
pub(crate) type Pieces = BoxStream<'static, Result<Read, StageError>>;

/// Why nothing came of an object.
pub(crate) enum Unopened {
    /// It is not there any more.
    Missing,
    /// It is not the one that was bound.
    Changed(String),
    Failed(StageError),
}

impl From<StageError> for Unopened {
    fn from(error: StageError) -> Self {
        Self::Failed(error)
    }
}

impl Unopened {
    fn judge(self, split: &Split, context: ReadContext, on_missing: OnMissing) -> Result<Pieces, StageError> {
        let dropped = |why: String| Ok(stream::once(async { Ok(Read::Dropped(why)) }).boxed());
        match self {
            // No table has anything of it, so it can be read later as it is then, as a whole.
            Self::Changed(how) if !context.fixed => {
                dropped(format!("the object has changed since it was bound to the epoch: {how}"))
            }
            // Nothing is lost with it.
            Self::Missing if split.bytes == 0 => Ok(stream::empty().boxed()),
            Self::Missing if on_missing == OnMissing::Skip => {
                dropped("the object has vanished since it was bound to the epoch".into())
            }
            Self::Changed(how) => Err(bytes::changed(split, &how)),
            Self::Missing => Err(bytes::missing(split)),
            Self::Failed(error) => Err(error),
        }
    }
}

async fn text(
    config: &Files,
    location: &Location,
    split: &Split,
    policy: Arc<Policy>,
    rows: Rows,
) -> Result<Pieces, Unopened> {
    let bytes::Opened { reader, behind, passed } = bytes::fetch(location, split).await?;
    let (config, object) = (config.clone(), split.id.clone());
    let (sender, receiver) = mpsc::channel(AHEAD);
    let span = tracing::Span::current();
    let decoding = tokio::task::spawn_blocking(move || {
        let _span = span.entered();
        let mut out = Out { rows, sender };
        let schema = config.read_schema();
        let outcome = match config.format {
            Format::Csv => csv::decode(reader, &schema, &policy, config.delimiter(), &mut out),
            _ => json::decode(reader, &schema, policy, &mut out),
        };
        // What the decoder makes of bytes that end in the middle does not matter.
        out.end(behind.fault().map_or(outcome, |fault| Err(fault.into())));
    });
    let pieces =
        stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|piece| (piece, receiver)) });
    // A decoder that dies must not look like the end of the object.
    let died = stream::once(decoding).filter_map(move |ended| {
        let error = ended.err().map(|e| StageError::internal("the decoder panicked").object(&object).because(e));
        async move { error.map(Err) }
    });
    let still_there = {
        let (location, split) = (location.clone(), split.clone());
        move || passed::still_there(location.clone(), split.clone(), passed.clone())
    };
    let same = stream::once(still_there()).filter_map(|checked| async move { checked.err().map(Err) });
    // A file that is being rewritten looks damaged.
    let judged = pieces.chain(died).or_else(move |error| {
        let checked = still_there();
        async move { Err(checked.await.err().unwrap_or(error)) }
    });
    Ok(judged.chain(same).boxed())
}
