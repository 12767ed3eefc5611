//! Shows rows on standard output.

use std::collections::BTreeMap;
use std::io::Write;

use alluvium_engine::arrow::record_batch::RecordBatch;
use alluvium_engine::arrow::util::pretty::pretty_format_batches;
use alluvium_engine::spec::Problem;
use alluvium_engine::stage::{
    Input, Outputs, Role, Sink, Stage, StageConfig, StageContext, StageError, Staged, Writer,
};
use alluvium_engine::{Epoch, async_trait};

/// Prints the first rows of every epoch as a table, and how many there were; for trying things out.
///
/// ```yaml
/// look: { kind: print, input: clean, rows: 5 }
/// ```
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Print {
    /// Rows to show of each epoch and worker.
    #[serde(default = "ten")]
    #[schemars(range(min = 1))]
    rows: usize,
}

fn ten() -> usize {
    10
}

impl StageConfig for Print {
    const KIND: &'static str = "print";
    const ROLE: Role = Role::Sink;

    fn check(&self, inputs: &[Input]) -> Result<Outputs, Vec<Problem>> {
        Ok(Outputs::passing(inputs))
    }

    fn build(&self, context: &StageContext) -> Result<Stage, StageError> {
        Ok(Stage::sink(Printer { stage: context.stage.clone(), rows: self.rows, open: BTreeMap::new() }))
    }
}

#[derive(Clone)]
struct Printer {
    stage: String,
    rows: usize,
    /// By epoch: the rows to show, and how many there were.
    open: BTreeMap<Epoch, (Vec<RecordBatch>, usize)>,
}

impl Sink for Printer {
    fn writer(&self) -> Box<dyn Writer> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Writer for Printer {
    async fn write(&mut self, epoch: Epoch, batch: RecordBatch) -> Result<(), StageError> {
        let (shown, seen) = self.open.entry(epoch).or_default();
        let room = self.rows.saturating_sub(*seen).min(batch.num_rows());
        *seen += batch.num_rows();
        if room > 0 {
            shown.push(batch.slice(0, room));
        }
        Ok(())
    }

    async fn seal(&mut self, epoch: Epoch) -> Result<Vec<Staged>, StageError> {
        let (shown, seen) = self.open.remove(&epoch).unwrap_or_default();
        let table =
            pretty_format_batches(&shown).map_err(|e| StageError::internal("rows cannot be shown").because(e))?;
        // One write, so that workers do not mix their lines; a closed pipe is the reader's choice.
        let text = format!("{} epoch {epoch}, {seen} row(s)\n{table}\n", self.stage);
        let _ = std::io::stdout().write_all(text.as_bytes());
        Ok(Vec::new())
    }
}
