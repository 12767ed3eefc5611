//! Rows that belong to no epoch, appended in a commit of their own.

use std::time::Duration;

use alluvium_engine::arrow::array::RecordBatch;
use alluvium_engine::stage::StageError;
use deltalake::kernel::transaction::CommitProperties;
use deltalake::parquet::basic::{Compression, ZstdLevel};
use deltalake::parquet::file::properties::WriterProperties;
use deltalake::{DeltaTable, DeltaTableError};

use crate::place::Place;
use crate::upkeep::{checkpoint, clean_log, optimize, vacuum};

/// Every so many versions small files are merged and a checkpoint is written.
const UPKEEP: u64 = 100;
/// What is replaced is kept so long.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Appends rows; creates the table if there is none.
pub(crate) async fn append(place: &Place, rows: RecordBatch) -> Result<(), StageError> {
    place.ensure_folder()?;
    let table = match place.load().await? {
        Some(table) => table,
        None => place.blank()?,
    };
    let failed = |e: DeltaTableError| place.failed("written", e);
    let zstd = ZstdLevel::try_new(1).map_err(|e| failed(e.into()))?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(zstd)).build();
    // Work after the commit must not make a landed commit look failed.
    let commit = CommitProperties::default().with_create_checkpoint(false).with_cleanup_expired_logs(Some(false));
    let write = table.write([rows]).with_writer_properties(properties).with_commit_properties(commit);
    let table = write.await.map_err(failed)?;
    let version = table.version();
    if version.is_some_and(|version| version > 0 && version % UPKEEP == 0)
        && let Err(error) = upkeep(place, table).await
    {
        tracing::warn!(table = %place.shown(), %error, "upkeep of the table has failed; trying again later");
    }
    Ok(())
}

async fn upkeep(place: &Place, table: DeltaTable) -> Result<(), DeltaTableError> {
    optimize(table).await?;
    let Some(table) = place.load().await.map_err(|e| DeltaTableError::Generic(e.to_string()))? else { return Ok(()) };
    checkpoint(table.clone()).await?;
    clean_log(table.clone(), KEPT).await?;
    vacuum(table, KEPT, false).await.map(drop)
}
