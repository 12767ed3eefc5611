//! Delta tables as sources.
//!
//! ```text
//! first listing   snapshot: the live files of the newest version, each a split
//! then            commit after commit: its added files, each a split; or, if rows go as well, the version as one split
//! ```
//! Every version has a split, if only one without rows, so that the last one that was bound tells where to go on, and no
//! listing needs the log before it.

mod columns;
mod config;
mod list;
mod log;
mod object;
mod point;
mod read;

use std::sync::Arc;

use alluvium_engine::stage::{Read, ReadContext, Source, Split, StageError};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

pub use config::DeltaSource;

use self::columns::Found;
use self::log::Log;

/// The history of a table, as it is read.
#[derive(Clone)]
pub(crate) struct History(Arc<Shared>);

struct Shared {
    config: DeltaSource,
    found: Found,
    log: Log,
}

impl History {
    fn new(config: DeltaSource, found: Found, log: Log) -> Self {
        Self(Arc::new(Shared { config, found, log }))
    }
}

impl Source for History {
    fn list(&self, after: Option<&str>) -> BoxStream<'static, Result<Split, StageError>> {
        let (history, after) = (self.clone(), after.map(str::to_owned));
        stream::once(async move { history.after(after.as_deref()).await }).try_flatten().boxed()
    }

    fn read(&self, split: Split, _context: ReadContext) -> BoxStream<'static, Result<Read, StageError>> {
        let history = self.clone();
        stream::once(async move { history.rows(&split).await }).try_flatten().map_ok(Read::Rows).boxed()
    }

    fn is_ordered(&self) -> bool {
        true
    }
}
