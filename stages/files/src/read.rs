//! The running source.

use alluvium_engine::async_trait;
use alluvium_engine::stage::{Read, ReadContext, Source, Split, StageError};
use alluvium_engine::storage::Location;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;

use crate::config::{Files, Format};
use crate::rows::{Out, Rows};
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
        let rows = Rows::new(&config, split.id.clone(), context);
        let opened = async move {
            match config.format {
                Format::Parquet => parquet::open(&location, &split, config.read_schema(), rows).await,
                Format::Json | Format::Csv => text(config, location, split, rows).await,
            }
        };
        stream::once(opened).try_flatten().boxed()
    }
}

async fn text(
    config: Files,
    location: Location,
    split: Split,
    rows: Rows,
) -> Result<BoxStream<'static, Result<Read, StageError>>, StageError> {
    let reader = bytes::fetch(&location, &split).await?;
    let object = split.id;
    let (sender, receiver) = mpsc::channel(AHEAD);
    let decoding = tokio::task::spawn_blocking(move || {
        let mut out = Out { rows, sender };
        let schema = config.read_schema();
        let outcome = match config.format {
            Format::Csv => csv::decode(reader, &schema, u8::try_from(config.delimiter).unwrap_or(b','), &mut out),
            _ => json::decode(reader, &schema, &mut out),
        };
        out.end(outcome);
    });
    let pieces =
        stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|piece| (piece, receiver)) });
    // A decoder that dies must not look like the end of the object.
    let died = stream::once(decoding).filter_map(move |ended| {
        let error = ended.err().map(|e| StageError::internal("the decoder panicked").object(&object).because(e));
        async move { error.map(Err) }
    });
    Ok(pieces.chain(died).boxed())
}
