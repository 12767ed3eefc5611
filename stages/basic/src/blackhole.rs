//! A sink that does nothing.

use alluvium_engine::arrow::record_batch::RecordBatch;
use alluvium_engine::spec::Problem;
use alluvium_engine::stage::{Input, Outputs, Role, Sink, Stage, StageConfig, StageContext, StageError, Writer};
use alluvium_engine::{Epoch, async_trait};

/// Takes rows and forgets them; for measurements, and where only the way there matters.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Blackhole {}

impl StageConfig for Blackhole {
    const KIND: &'static str = "blackhole";
    const ROLE: Role = Role::Sink;

    fn check(&self, inputs: &[Input]) -> Result<Outputs, Vec<Problem>> {
        Ok(Outputs::passing(inputs))
    }

    fn build(&self, _context: &StageContext) -> Result<Stage, StageError> {
        Ok(Stage::sink(Forget))
    }
}

struct Forget;

impl Sink for Forget {
    fn writer(&self) -> Box<dyn Writer> {
        Box::new(Forget)
    }
}

#[async_trait]
impl Writer for Forget {
    async fn write(&mut self, _epoch: Epoch, _batch: RecordBatch) -> Result<(), StageError> {
        Ok(())
    }
}
