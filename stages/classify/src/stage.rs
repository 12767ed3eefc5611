//! The running stage.

use std::sync::Arc;

use alluvium_engine::arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use alluvium_engine::arrow::datatypes::SchemaRef;
use alluvium_engine::stage::{Output, StageError, Transform};

use crate::{Model, ModelError, Prediction, Usage};

/// Adds predictions to batches.
pub(crate) struct Classifying {
    stage: String,
    model: Arc<Model>,
    /// The column with the text.
    text: String,
    /// Labels whose probabilities are added.
    scores: Vec<usize>,
    schema: SchemaRef,
    used: Usage,
}

impl Classifying {
    pub(crate) fn new(stage: &str, model: Arc<Model>, text: String, scores: Vec<usize>, schema: SchemaRef) -> Self {
        Self { stage: stage.to_owned(), model, text, scores, schema, used: Usage::default() }
    }

    /// What is known of the work as metrics, by stage.
    fn measure(&mut self, usage: Usage) {
        self.used += usage;
        let stage = || [("stage", self.stage.clone())];
        let count = |name: &'static str, value: usize| metrics::counter!(name, &stage()).increment(value as u64);
        count("alluvium_classify_texts_total", usage.texts);
        count("alluvium_classify_truncated_total", usage.truncated);
        count("alluvium_classify_cached_total", usage.cached);
        count("alluvium_classify_computed_total", usage.computed);
        count("alluvium_classify_tokens_total", usage.tokens);
        count("alluvium_classify_padding_tokens_total", usage.padding);
        count("alluvium_classify_batches_total", usage.batches);
        if usage.batches > 0 {
            let tokens = usage.tokens as f64 / usage.batches as f64;
            metrics::histogram!("alluvium_classify_batch_tokens", &stage()).record(tokens);
        }
        let seconds = |name: &'static str, value: f64| metrics::histogram!(name, &stage()).record(value);
        seconds("alluvium_classify_tokenizer_seconds", usage.tokenizing.as_secs_f64());
        seconds("alluvium_classify_model_seconds", usage.computing.as_secs_f64());
    }
}

impl Transform for Classifying {
    fn batch(&mut self, batch: RecordBatch, output: &mut Output) -> Result<(), StageError> {
        let column = batch.column_by_name(&self.text).ok_or_else(|| StageError::internal("the text column is gone"))?;
        let texts: Vec<Option<&str>> = column.as_string::<i32>().iter().collect();
        let (predictions, usage) = self.model.classify(&texts).map_err(|error| failed(error, &texts))?;
        self.measure(usage);
        let labels = &self.model.info.labels;
        let label = |p: &Option<Prediction>| p.as_ref().and_then(|p| labels.get(p.label)).map(String::as_str);
        let percent = |p: &Prediction, label: usize| p.probabilities.get(label).map(|share| f64::from(*share) * 100.0);
        let best = |p: &Option<Prediction>| p.as_ref().and_then(|p| percent(p, p.label));
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(predictions.iter().map(label).collect::<StringArray>()) as ArrayRef);
        columns.push(Arc::new(predictions.iter().map(best).collect::<Float64Array>()));
        for index in &self.scores {
            let score = |p: &Option<Prediction>| p.as_ref().and_then(|p| percent(p, *index));
            columns.push(Arc::new(predictions.iter().map(score).collect::<Float64Array>()));
        }
        let batch = RecordBatch::try_new(self.schema.clone(), columns)
            .map_err(|e| StageError::internal("predictions do not fit").because(e))?;
        output.emit(batch);
        Ok(())
    }
}

impl Drop for Classifying {
    fn drop(&mut self) {
        let Usage { texts, truncated, cached, computed, tokens, batches, tokenizing, computing, .. } = self.used;
        if texts > 0 {
            tracing::info!(
                stage = self.stage,
                texts,
                truncated,
                cached,
                computed,
                tokens,
                batches,
                ?tokenizing,
                ?computing,
                "classified"
            );
        }
    }
}

fn failed(error: ModelError, texts: &[Option<&str>]) -> StageError {
    let (ModelError::Tokenize { text, .. } | ModelError::Tokens { text, .. } | ModelError::NotFinite { text, .. }) =
        &error
    else {
        return StageError::internal("texts cannot be classified").because(error);
    };
    const SHOWN: usize = 60;
    let start: String = texts.get(*text).copied().flatten().unwrap_or_default().chars().take(SHOWN).collect();
    StageError::user(format!("the text that begins with {start:?} cannot be classified"))
        .hint("filter such a text with a `sql` stage before, or use another model")
        .because(error)
}
