//! `kind: classify`: what the stage's YAML says.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use alluvium_engine::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use alluvium_engine::spec::{Problem, type_name};
use alluvium_engine::stage::{Input, Outputs, ResolveContext, Role, Stage, StageConfig, StageContext, StageError};
use alluvium_engine::storage::Storage;
use indexmap::IndexMap;

use crate::checkpoint::{cache, fetch};
use crate::stage::Classifying;
use crate::{Device, Model, ModelError, Options, Precision, Preprocess};

/// Classifies a text column with a transformer, in the process. Adds the label and its probability in percent.
///
/// The model is a Hugging Face directory (`config.json`, `tokenizer.json`, `model.safetensors`) of a BERT, RoBERTa,
/// XLM-RoBERTa or DistilBERT sequence classifier, the URL of one, or `builtin`: a small model of tweet sentiment. Its
/// name, version and hash go into the metadata of every commit downstream. A NULL text gives NULLs. A text that is longer
/// than the model takes loses its end.
///
/// ```yaml
/// score: { kind: classify, input: silver, text: cleaned_text, label: sentiment, score: confidence }
/// ```
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Classify {
    /// The column with the text.
    text: String,
    /// `builtin`, the path of a directory, or a URL such as `s3://bucket/models/roberta`, which is fetched once.
    #[serde(default = "builtin")]
    model: String,
    /// Name of the added column with the label (string).
    #[serde(default = "label")]
    label: String,
    /// Name of the added column with the label's probability in percent (double, 0-100).
    #[serde(default = "score")]
    score: String,
    /// More added columns, each with the probability of a label in percent: names of columns by label.
    #[serde(default)]
    scores: IndexMap<String, String>,
    /// Names to use instead of the model's own labels, in the order of its ids.
    #[serde(default)]
    labels: Option<Vec<String>>,
    /// What is done to a text before the tokenizer sees it.
    #[serde(default)]
    preprocess: Preprocess,
    /// How exactly the model is computed. Less than `float32` is faster, and changes some predictions.
    #[serde(default)]
    precision: Precision,
    /// Where the model runs.
    #[serde(default)]
    device: Device,
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

/// Opens a model by what a spec or a command line calls it; one at a URL is fetched first.
pub(crate) fn open(
    model: &str,
    options: Options,
    storage: &Storage,
    runtime: &tokio::runtime::Handle,
) -> Result<Model, ModelError> {
    if model == "builtin" {
        return Model::builtin(options);
    }
    if !model.contains("://") {
        return Model::open(Path::new(model), options);
    }
    let failed = |problem: String| ModelError::Fetch { url: model.to_owned(), problem };
    let location = storage.open(model).map_err(|error| failed(error.to_string()))?;
    if location.root == "file://" {
        return Model::open(&Path::new("/").join(location.path.as_ref()), options);
    }
    let directory = runtime.block_on(fetch(model, &location, &cache()))?;
    Model::open_as(location.path.filename().unwrap_or(model), &directory, options)
}

impl StageConfig for Classify {
    const KIND: &'static str = "classify";
    const ROLE: Role = Role::Transform;

    fn resolve(&mut self, context: &ResolveContext) -> Result<(), Vec<Problem>> {
        if self.model.contains("://") {
            context.openable("model", &self.model)?;
        }
        let options = Options {
            precision: self.precision,
            device: self.device,
            preprocess: self.preprocess,
            labels: self.labels.clone(),
        };
        let opened = open(&self.model, options, &context.storage, &context.runtime).map_err(|error| {
            let field = match error {
                ModelError::Labels { .. } => "labels",
                ModelError::Device { .. } => "device",
                _ => "model",
            };
            vec![Problem::field(field, error.to_string()).label("cannot be used")]
        })?;
        self.loaded = Some(Arc::new(opened));
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
        self.check_labels(&mut problems);
        self.check_names(input, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut outputs = Outputs::rows(self.schema(&input.schema));
        outputs.changes.clone_from(&input.changes);
        outputs.heavy = true;
        outputs.lineage = self.lineage();
        Ok(outputs)
    }

    fn build(&self, context: &StageContext) -> Result<Stage, StageError> {
        let model = self.loaded.clone().ok_or_else(|| StageError::internal("the model is not loaded"))?;
        let labels = &model.info.labels;
        let scores = self.scores.keys().filter_map(|label| labels.iter().position(|l| l == label)).collect();
        let schema = context.outputs.schema.clone();
        Ok(Stage::transform(Classifying::new(&context.stage, model, self.text.clone(), scores, schema)))
    }
}

impl Classify {
    /// That `scores` names labels of the model.
    fn check_labels(&self, problems: &mut Vec<Problem>) {
        let Some(model) = &self.loaded else { return };
        let labels = &model.info.labels;
        for label in self.scores.keys().filter(|label| !labels.contains(label)) {
            problems.push(
                Problem::field(&format!("scores.{label}"), format!("the model has no label `{label}`"))
                    .label("not a label")
                    .suggest(label, labels.iter().map(String::as_str), "labels"),
            );
        }
        if let Some(names) = &self.labels
            && let Some(twice) = names.iter().enumerate().find(|(at, name)| names.iter().take(*at).any(|n| n == *name))
        {
            problems
                .push(Problem::field("labels", format!("`{}` is given twice", twice.1)).label("labels must differ"));
        }
    }

    /// That the added columns have names that are free.
    fn check_names(&self, input: &Input, problems: &mut Vec<Problem>) {
        let scores = self.scores.iter().map(|(label, name)| (format!("scores.{label}"), name));
        let added = [("label".to_owned(), &self.label), ("score".to_owned(), &self.score)].into_iter().chain(scores);
        let mut taken: Vec<&String> = Vec::new();
        for (key, name) in added {
            if input.schema.field_with_name(name).is_ok() || taken.contains(&name) {
                problems.push(
                    Problem::field(&key, format!("there is already a column `{name}`"))
                        .label("the name is taken")
                        .help("choose another name"),
                );
            }
            taken.push(name);
        }
    }

    fn schema(&self, input: &SchemaRef) -> SchemaRef {
        let mut fields: Vec<Field> = input.fields().iter().map(|f| f.as_ref().clone()).collect();
        fields.push(Field::new(&self.label, DataType::Utf8, true));
        let numbers = [&self.score].into_iter().chain(self.scores.values());
        fields.extend(numbers.map(|name| Field::new(name, DataType::Float64, true)));
        Arc::new(Schema::new(fields))
    }

    fn lineage(&self) -> BTreeMap<String, String> {
        let Some(model) = &self.loaded else { return BTreeMap::new() };
        let info = &model.info;
        let mut lineage: BTreeMap<String, String> =
            [("modelName", &info.name), ("modelVersion", &info.version), ("modelHash", &info.hash)]
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.clone()))
                .collect();
        if let (Precision::Int8 | Precision::Bfloat16, Ok(serde_json::Value::String(precision))) =
            (self.precision, serde_json::to_value(self.precision))
        {
            lineage.insert("modelPrecision".to_owned(), precision);
        }
        lineage
    }
}
