//! The running source.

use alluvium_engine::async_trait;
use alluvium_engine::stage::{Read, ReadContext, Source, Split, StageError};
use alluvium_engine::storage::Location;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;

use crate::config::{Files, Format};
use crate::rows::Rows;
use crate::{bytes, csv, json, list, parquet};

/// Batches that are decoded ahead of the dataflow, for each object that is being read.
const AHEAD: usize = 2;

/// Reads objects below a location.
pub(crate) struct FilesSource {
    config: Files,
    location: Location,
}

impl FilesSource {
    pub(crate) fn new(config: Files, location: Location) -> Self {
        Self { config, location }
    }
}

#[async_trait]
impl Source for FilesSource {
    fn list(&self) -> BoxStream<'static, Result<Split, StageError>> {
        let location = self.location.clone();
        let all = async move { list::list(&location).await.map(|splits| stream::iter(splits.into_iter().map(Ok))) };
        stream::once(all).try_flatten().boxed()
    }

    fn read(&self, split: Split, context: ReadContext) -> BoxStream<'static, Result<Read, StageError>> {
        let (config, location) = (self.config.clone(), self.location.clone());
        let (sender, receiver) = mpsc::channel(AHEAD);
        let rows = Rows::new(&config, split.id.clone(), context, sender.clone());
        let opened = async move {
            match config.format {
                Format::Parquet => by_row_group(config, location, split, rows).await,
                Format::Json | Format::Csv => by_text(config, location, split, rows, sender, receiver).await,
            }
        };
        stream::once(opened).try_flatten().boxed()
    }
}

type Pieces = BoxStream<'static, Result<Read, StageError>>;

async fn by_text(
    config: Files,
    location: Location,
    split: Split,
    mut rows: Rows,
    sender: mpsc::Sender<Result<Read, StageError>>,
    receiver: mpsc::Receiver<Result<Read, StageError>>,
) -> Result<Pieces, StageError> {
    // The decoder's sender must be the last one, or the stream would never end.
    drop(sender);
    let reader = bytes::fetch(&location, &split).await?;
    let object = split.id;
    let decoding = tokio::task::spawn_blocking(move || {
        let schema = config.read_schema();
        let outcome = match config.format {
            Format::Csv => csv::decode(reader, &schema, u8::try_from(config.delimiter).unwrap_or(b','), &mut rows),
            _ => json::decode(reader, &schema, &mut rows),
        };
        rows.end(outcome);
    });
    let pieces = stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|piece| (piece, receiver)) });
    // A decoder that dies must not look like the end of the object.
    let died = stream::once(decoding).filter_map(move |ended| {
        let error = ended.err().map(|e| StageError::internal("the decoder panicked").object(&object).because(e));
        async move { error.map(Err) }
    });
    Ok(pieces.chain(died).boxed())
}

async fn by_row_group(config: Files, location: Location, split: Split, rows: Rows) -> Result<Pieces, StageError> {
    let batches = parquet::open(&location, &split, config.read_schema()).await?;
    let complete = move |batch| {
        rows.complete(&batch).map(Read::Rows).map_err(|e| StageError::internal("columns cannot be added").object(&split.id).because(e))
    };
    Ok(batches.map(move |batch| batch.and_then(&complete)).boxed())
}
