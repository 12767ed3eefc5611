//! The running stage.

use std::sync::Arc;

use alluvium_engine::arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use alluvium_engine::arrow::datatypes::SchemaRef;
use alluvium_engine::stage::{Output, StageError, Transform};

use crate::{Model, ModelError, Prediction, Usage};

/// What is counted.
const COUNTS: [(&str, &str); 7] = [
    ("alluvium_classify_texts_total", "texts seen"),
    ("alluvium_classify_truncated_total", "texts that were longer than the model takes"),
    ("alluvium_classify_cached_total", "texts whose answer was known"),
    ("alluvium_classify_computed_total", "texts that the model was asked for"),
    ("alluvium_classify_tokens_total", "tokens given to the model"),
    ("alluvium_classify_padding_tokens_total", "tokens that only fill a batch"),
    ("alluvium_classify_batches_total", "batches given to the model"),
];
/// What is measured of each batch.
const BATCH_TOKENS: &str = "alluvium_classify_batch_tokens";
const TOKENIZER_SECONDS: &str = "alluvium_classify_tokenizer_seconds";
const MODEL_SECONDS: &str = "alluvium_classify_model_seconds";

fn describe() {
    for (name, text) in COUNTS {
        metrics::describe_counter!(name, text);
    }
    metrics::describe_histogram!(BATCH_TOKENS, "tokens of a batch");
    metrics::describe_histogram!(TOKENIZER_SECONDS, "time of the tokenizer for a batch of rows");
    metrics::describe_histogram!(MODEL_SECONDS, "time of the model for a batch of rows");
}

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
        describe();
        Self { stage: stage.to_owned(), model, text, scores, schema, used: Usage::default() }
    }

    /// What is known of the work as metrics, by stage.
    fn measure(&mut self, usage: Usage) {
        self.used += usage;
        let stage = || [("stage", self.stage.clone())];
        let Usage { texts, truncated, cached, computed, tokens, padding, batches, .. } = usage;
        let counted = [texts, truncated, cached, computed, tokens, padding, batches];
        for ((name, _), value) in COUNTS.into_iter().zip(counted) {
            metrics::counter!(name, &stage()).increment(value as u64);
        }
        if usage.batches > 0 {
            let tokens = usage.tokens as f64 / usage.batches as f64;
            metrics::histogram!(BATCH_TOKENS, &stage()).record(tokens);
        }
        let seconds = |name: &'static str, value: f64| metrics::histogram!(name, &stage()).record(value);
        seconds(TOKENIZER_SECONDS, usage.tokenizing.as_secs_f64());
        seconds(MODEL_SECONDS, usage.computing.as_secs_f64());
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

#[cfg(test)]
mod tests {
    use alluvium_engine::arrow::datatypes::{DataType, Field, Schema};
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    use super::*;
    use crate::Options;

    /// What the metrics say after some batches of texts.
    fn measured(batches: &[Vec<Option<&str>>]) -> std::collections::BTreeMap<String, f64> {
        let schema = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, true)]));
        let mut fields = schema.fields().to_vec();
        fields.push(Arc::new(Field::new("label", DataType::Utf8, true)));
        fields.push(Arc::new(Field::new("score", DataType::Float64, true)));
        let model = Arc::new(Model::builtin(Options::default()).unwrap());
        let outputs = Arc::new(Schema::new(fields));
        let mut stage = Classifying::new("score", model, "text".to_owned(), vec![], outputs);
        let recorder = DebuggingRecorder::new();
        metrics::with_local_recorder(&recorder, || {
            for texts in batches {
                let column = Arc::new(StringArray::from(texts.clone())) as ArrayRef;
                let mut output = Output::default();
                stage.batch(RecordBatch::try_new(schema.clone(), vec![column]).unwrap(), &mut output).unwrap();
            }
        });
        let value = |value| match value {
            DebugValue::Counter(value) => value as f64,
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(values) => values.iter().map(|value| value.into_inner()).sum(),
        };
        let all = recorder.snapshotter().snapshot().into_vec().into_iter();
        all.map(|(key, _, _, found)| {
            let labels: Vec<_> = key.key().labels().map(|label| (label.key(), label.value())).collect();
            assert_eq!(labels, [("stage", "score")]);
            (key.key().name().to_owned(), value(found))
        })
        .collect()
    }

    #[test]
    fn metrics_count_texts_tokens_and_what_was_known() {
        // A text of its own, so that no other test of this process has put it into the cache.
        let long = "measured ".repeat(200);
        let found = measured(&[
            vec![Some("measured once"), None, Some("measured once"), Some(&long)],
            vec![Some("measured once"), Some("measured twice")],
        ]);
        let at = |name: &str| found[&format!("alluvium_classify_{name}")];
        assert_eq!(at("texts_total"), 5.0);
        assert_eq!(at("computed_total"), 3.0);
        assert_eq!(at("cached_total"), 1.0);
        assert_eq!(at("truncated_total"), 1.0);
        assert_eq!(at("padding_tokens_total"), 0.0);
        // [CLS] and [SEP] with each; the first word is in two pieces.
        assert_eq!(at("tokens_total"), 128.0 + 5.0 + 5.0);
        assert_eq!(at("batches_total"), 2.0);
        assert_eq!(at("batch_tokens"), 133.0 + 5.0);
        assert!(at("tokenizer_seconds") > 0.0 && at("model_seconds") > at("tokenizer_seconds"));
    }
}
