//! A stage crate to copy. It has one kind, `mask`: the struct is what the YAML says, `check` looks at columns before
//! anything runs, `build` makes the running stage, `batch` does the work. Everything else comes from the engine:
//! progress, backpressure, commits, metrics, the reference page (`stages mask`) and the schema for editors.

use alluvium::engine::arrow::array::{AsArray, RecordBatch, StringArray};
use alluvium::engine::arrow::datatypes::DataType;
use alluvium::engine::{spec::Problem, stage::*};

/// Hides the text of a column but for its last characters: `4111222233334444` becomes `************4444`.
///
/// ```yaml
/// safe: { kind: mask, input: payments, column: card, keep: 4 }
/// ```
#[derive(Clone, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// The column. It keeps its name; NULL stays NULL.
    column: String,
    /// How many characters at the end can still be read.
    keep: usize,
}

impl StageConfig for Mask {
    const KIND: &'static str = "mask";
    const ROLE: Role = Role::Transform;

    fn check(&self, inputs: &[Input]) -> Result<Outputs, Vec<Problem>> {
        // Among changes the key may be masked as well, and then two keys may become one: rather none of them.
        let fields = inputs.iter().filter(|i| i.changes.is_none()).flat_map(|i| i.schema.fields());
        let texts: Vec<_> = fields.filter(|f| f.data_type() == &DataType::Utf8).map(|f| f.name().as_str()).collect();
        if texts.contains(&self.column.as_str()) {
            return Ok(Outputs::passing(inputs));
        }
        let wrong = format!("there is no text column `{}` outside of changes", self.column);
        Err(vec![Problem::field("column", wrong).label("here").suggest(&self.column, texts, "text columns")])
    }

    fn build(&self, _context: &StageContext) -> Result<Stage, StageError> {
        Ok(Stage::transform(self.clone()))
    }
}

impl Transform for Mask {
    fn batch(&mut self, batch: RecordBatch, output: &mut Output) -> Result<(), StageError> {
        let broken = |e| StageError::internal("the column cannot be masked").because(e);
        let place = batch.schema().index_of(&self.column).map_err(broken)?;
        let mut columns = batch.columns().to_vec();
        let texts = columns[place].as_string::<i32>();
        columns[place] = std::sync::Arc::new(texts.iter().map(|t| Some(mask(t?, self.keep))).collect::<StringArray>());
        output.emit(RecordBatch::try_new(batch.schema(), columns).map_err(broken)?);
        Ok(())
    }
}

fn mask(text: &str, keep: usize) -> String {
    let hidden = text.chars().count().saturating_sub(keep);
    text.chars().enumerate().map(|(at, c)| if at < hidden { '*' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use alluvium::engine::arrow::array::{ArrayRef, Int64Array};

    use super::*;

    #[test]
    fn text_is_hidden_but_for_its_end() {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4]));
        let cards: ArrayRef = Arc::new(StringArray::from(vec![Some("4111222233334444"), None, Some("äöü"), Some("")]));
        let batch = RecordBatch::try_from_iter([("id", ids.clone()), ("card", cards)]).unwrap();
        let mut output = Output::default();
        Mask { column: "card".into(), keep: 2 }.batch(batch, &mut output).unwrap();
        let expected = StringArray::from(vec![Some("**************44"), None, Some("*öü"), Some("")]);
        assert_eq!(output.batches().len(), 1);
        assert_eq!(output.batches()[0].column(0), &ids);
        assert_eq!(output.batches()[0].column(1).as_string(), &expected);
    }
}
