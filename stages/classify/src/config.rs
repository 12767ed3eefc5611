//! `kind: classify`: what the stage's YAML says, and the running stage.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use alluvium_engine::arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use alluvium_engine::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use alluvium_engine::spec::{Problem, type_name};
use alluvium_engine::stage::{
    Input, Output, Outputs, ResolveContext, Role, Stage, StageConfig, StageContext, StageError, Transform,
};

use crate::{Model, ModelError, Prediction};

/// Classifies a text column with a transformer, in the process. Adds the label and its probability in percent.
///
/// The model is a Hugging Face directory (`config.json`, `tokenizer.json`, `model.safetensors`) of a BERT sequence
/// classifier, or `builtin`: a small model of tweet sentiment. Its name, version and hash go into the metadata of every
/// commit downstream. A NULL text gives a NULL label and score.
///
/// ```yaml
/// score: { kind: classify, input: silver, text: cleaned_text, label: sentiment, score: confidence }
/// ```
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Classify {
    /// The column with the text.
    text: String,
    /// `builtin`, or the path of a directory.
    #[serde(default = "builtin")]
    model: String,
    /// Name of the added column with the label (string).
    #[serde(default = "label")]
    label: String,
    /// Name of the added column with the label's probability in percent (double, 0-100).
    #[serde(default = "score")]
    score: String,
    #[serde(skip)]
    loaded: Option<Arc<Model>>,
}

fn builtin() -> String {
    "builtin".into()
}

fn label() -> String {
    "label".into()
}

fn score() -> String {
    "score".into()
}

impl StageConfig for Classify {
    const KIND: &'static str = "classify";
    const ROLE: Role = Role::Transform;

    fn resolve(&mut self, _context: &ResolveContext) -> Result<(), Vec<Problem>> {
        let loaded = if self.model == "builtin" { Model::builtin() } else { Model::open(Path::new(&self.model)) };
        self.loaded = Some(loaded.map_err(|e| vec![Problem::field("model", e.to_string()).label("cannot be used")])?);
        Ok(())
    }

    fn check(&self, inputs: &[Input]) -> Result<Outputs, Vec<Problem>> {
        let Some(input) = inputs.first() else { return Err(vec![Problem::new("the stage has no input")]) };
        let mut problems = Vec::new();
        match input.schema.field_with_name(&self.text) {
            Err(_) => {
                problems.push(
                    Problem::field("text", format!("there is no column `{}`", self.text))
                        .label("not a column")
                        .suggest(&self.text, input.schema.fields().iter().map(|f| f.name().as_str()), "columns"),
                )
            }
            Ok(field) if field.data_type() != &DataType::Utf8 => {
                problems.push(
                    Problem::field(
                        "text",
                        format!("column `{}` is {}, a text is needed", self.text, type_name(field.data_type())),
                    )
                    .label("not a text"),
                );
            }
            Ok(_) => {}
        }
        for (key, name) in [("label", &self.label), ("score", &self.score)] {
            if input.schema.field_with_name(name).is_ok() || (key == "score" && name == &self.label) {
                problems.push(
                    Problem::field(key, format!("there is already a column `{name}`"))
                        .label("the name is taken")
                        .help("choose another name"),
                );
            }
        }
        if let Some(keys) = &input.keys {
            problems.push(
                Problem::field(
                    "text",
                    format!("`{}` gives upserts by {}, which cannot be classified yet", input.from, keys.join(", ")),
                )
                .label("here"),
            );
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut outputs = Outputs::rows(self.schema(&input.schema));
        outputs.heavy = true;
        outputs.lineage = self.lineage();
        Ok(outputs)
    }

    fn build(&self, context: &StageContext) -> Result<Stage, StageError> {
        let model = self.loaded.clone().ok_or_else(|| StageError::internal("the model is not loaded"))?;
        Ok(Stage::transform(Classifying { model, text: self.text.clone(), schema: context.outputs.schema.clone() }))
    }
}

impl Classify {
    fn schema(&self, input: &SchemaRef) -> SchemaRef {
        let mut fields: Vec<Field> = input.fields().iter().map(|f| f.as_ref().clone()).collect();
        fields.push(Field::new(&self.label, DataType::Utf8, true));
        fields.push(Field::new(&self.score, DataType::Float64, true));
        Arc::new(Schema::new(fields))
    }

    fn lineage(&self) -> BTreeMap<String, String> {
        let Some(model) = &self.loaded else { return BTreeMap::new() };
        let info = &model.info;
        [("modelName", &info.name), ("modelVersion", &info.version), ("modelHash", &info.hash)]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect()
    }
}

struct Classifying {
    model: Arc<Model>,
    text: String,
    schema: SchemaRef,
}

impl Transform for Classifying {
    fn batch(&mut self, batch: RecordBatch, output: &mut Output) -> Result<(), StageError> {
        let column = batch.column_by_name(&self.text).ok_or_else(|| StageError::internal("the text column is gone"))?;
        let texts: Vec<Option<&str>> = column.as_string::<i32>().iter().collect();
        let predictions = self.model.classify(&texts).map_err(failed)?;
        let labels = &self.model.info.labels;
        let label = |p: &Option<Prediction>| p.as_ref().and_then(|p| labels.get(p.label)).cloned();
        let score = |p: &Option<Prediction>| {
            p.as_ref().and_then(|p| p.probabilities.get(p.label)).map(|s| f64::from(*s) * 100.0)
        };
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(predictions.iter().map(label).collect::<StringArray>()) as ArrayRef);
        columns.push(Arc::new(predictions.iter().map(score).collect::<Float64Array>()));
        let batch = RecordBatch::try_new(self.schema.clone(), columns)
            .map_err(|e| StageError::internal("predictions do not fit").because(e))?;
        output.emit(batch);
        Ok(())
    }
}

fn failed(error: ModelError) -> StageError {
    StageError::user("a text cannot be classified")
        .hint("the message names the text; filter it with a `sql` stage before, or use another model")
        .because(error)
}
