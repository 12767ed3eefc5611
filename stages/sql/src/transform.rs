//! The running stage.

use alluvium_engine::arrow::array::RecordBatch;
use alluvium_engine::arrow::json::WriterBuilder;
use alluvium_engine::arrow::json::writer::LineDelimited;
use alluvium_engine::stage::{Output, Reject, StageError, Transform};
use datafusion::error::DataFusionError;

use crate::config::OnBadRow;
use crate::query::Query;

pub(crate) struct SqlTransform {
    query: Query,
    on_bad_row: OnBadRow,
    stage: String,
}

impl SqlTransform {
    pub(crate) fn new(query: Query, on_bad_row: OnBadRow, stage: String) -> Self {
        Self { query, on_bad_row, stage }
    }

    /// An expression fails for a batch as a whole, so halves are tried until the bad rows stand alone: with `k` bad
    /// rows among `n` about `k log n` runs more.
    fn run(&mut self, batch: &RecordBatch, output: &mut Output, dropped: &mut u64) -> Result<(), StageError> {
        let error = match self.query.run(batch.clone()) {
            Ok(batches) => {
                batches.into_iter().for_each(|b| output.emit(b));
                return Ok(());
            }
            Err(error) => error,
        };
        let root = error.find_root();
        if matches!(
            root,
            DataFusionError::Internal(_) | DataFusionError::NotImplemented(_) | DataFusionError::ResourcesExhausted(_)
        ) {
            // Not for a row's values: as a bad row it would be hidden among those that can be put right.
            return Err(StageError::internal("the query cannot be run").because(root.strip_backtrace()));
        }
        if batch.num_rows() > 1 {
            let half = batch.num_rows() / 2;
            self.run(&batch.slice(0, half), output, dropped)?;
            return self.run(&batch.slice(half, batch.num_rows() - half), output, dropped);
        }
        let reason = reason(&error);
        match self.on_bad_row {
            OnBadRow::Drop => *dropped += 1,
            OnBadRow::Quarantine => output.reject(Reject { object: None, line: None, raw: as_json(batch), reason }),
            OnBadRow::Fail => {
                return Err(StageError::user(format!(
                    "the query fails for a row: {reason}\n  row: {}",
                    as_json(batch)
                ))
                .hint("change the query, or set `on_bad_row:` to `quarantine` or `drop`"));
            }
        }
        Ok(())
    }
}

impl Transform for SqlTransform {
    fn batch(&mut self, batch: RecordBatch, output: &mut Output) -> Result<(), StageError> {
        let mut dropped = 0;
        self.run(&batch, output, &mut dropped)?;
        if dropped > 0 {
            tracing::warn!(stage = %self.stage, rows = dropped, "bad rows were dropped");
        }
        Ok(())
    }
}

/// What went wrong, without the names of the layers that it went through.
fn reason(error: &DataFusionError) -> String {
    const LAYERS: [&str; 6] =
        ["Execution error: ", "Arrow error: ", "External error: ", "Cast error: ", "Parser error: ", "Compute error: "];
    let text = error.find_root().strip_backtrace();
    let mut rest = text.as_str();
    while let Some(inner) = LAYERS.iter().find_map(|layer| rest.strip_prefix(layer)) {
        rest = inner;
    }
    rest.to_owned()
}

/// One row as a JSON object, NULLs included.
pub fn as_json(row: &RecordBatch) -> String {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    let written = writer.write(row).and_then(|()| writer.finish());
    match written {
        Ok(()) => String::from_utf8_lossy(&writer.into_inner()).trim_end().to_owned(),
        Err(error) => format!("(cannot be shown: {error})"),
    }
}
