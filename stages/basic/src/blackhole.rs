//! A sink that does nothing.

use alluvium_engine::{Epoch, arrow::array::RecordBatch, async_trait, spec::Problem, stage::*};

/// Takes rows and forgets them; for measurements, and where only the way there matters.
///
/// ```yaml
/// gone: { kind: blackhole, input: clean }
/// ```
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
        Ok(Stage::sink(Self {}))
    }
}

impl Sink for Blackhole {
    fn writer(&self) -> Box<dyn Writer> {
        Box::new(Self {})
    }
}

#[async_trait]
impl Writer for Blackhole {
    async fn write(&mut self, _epoch: Epoch, _batch: RecordBatch) -> Result<(), StageError> {
        Ok(())
    }
}
