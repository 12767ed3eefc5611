//! `kind: evaluate`: how well a column predicts another one.

mod measures;

use std::collections::BTreeMap;

use alluvium_engine::spec::{Problem, type_name};
use alluvium_engine::stage::{
    BatchStream, Changes, Input, Operator, OperatorContext, Outputs, Rendered, Role, Stage, StageConfig, StageContext,
    StageError, with_diff,
};

use crate::aggregate::{Aggregate, AggregateOperator};
use crate::summary::summarise;
use measures::{Measures, schema};

/// Compares predicted labels with true ones: the confusion matrix, accuracy, and precision, recall and F1 of each label,
/// kept current epoch by epoch. Numbers are those of scikit-learn's `classification_report`; what would be divided by zero
/// is 0.
///
/// Its rows are changes; there is one for each `measure`, `label` and `predicted`:
///
/// | measure | label | predicted | value |
/// |---|---|---|---|
/// | `count` | true label | predicted label | rows: a cell of the confusion matrix |
/// | `precision`, `recall`, `f1` | label, or `macro avg`, `weighted avg` | | the measure |
/// | `support` | label | | rows with this true label |
/// | `accuracy` | | | share of the rows with the right label |
/// | `rows` | | | rows that were compared |
/// | `missing` | | | rows without a true or a predicted label, which are left out |
///
/// The columns `model_name` and `model_version` say whose prediction it is, if a `classify` stage made it, and `epoch` up to
/// which epoch the rows go: the versions of all tables at that epoch are in their history.
///
/// ```yaml
/// quality: { kind: evaluate, input: gold, truth: sentiment, predicted: predicted_sentiment }
/// ```
#[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evaluate {
    /// The column with the true label.
    truth: String,
    /// The column with the predicted label.
    predicted: String,
    /// SQL condition; other rows are left out.
    #[serde(default, rename = "where")]
    filter: Option<String>,
}

impl StageConfig for Evaluate {
    const KIND: &'static str = "evaluate";
    const ROLE: Role = Role::Operator;

    fn check(&self, inputs: &[Input]) -> Result<Outputs, Vec<Problem>> {
        let [input] = inputs else {
            return Err(vec![Problem::field("input", "an evaluation has one input").label("here")]);
        };
        let columns = [("truth", &self.truth), ("predicted", &self.predicted)];
        let problems: Vec<Problem> =
            columns.into_iter().filter_map(|(field, name)| label(field, name, input)).collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        let checked = self.counts().check(inputs)?;
        let mut outputs = Outputs::rows(with_diff(&schema()));
        let keys = ["measure", "label", "predicted"].map(String::from).to_vec();
        outputs.changes = Some(Changes { keys });
        outputs.state = checked.state;
        Ok(outputs)
    }

    fn build(&self, context: &StageContext) -> Result<Stage, StageError> {
        Ok(Stage::operator(Evaluator {
            counts: self.counts().operator(context, true)?,
            measures: Measures::new(model(&context.lineage)),
        }))
    }
}

impl Evaluate {
    /// How often each true label meets each predicted one.
    fn counts(&self) -> Aggregate {
        let text = |column: &str| format!("CAST({} AS VARCHAR)", alluvium_sql::quote(column));
        let by = [("truth", text(&self.truth)), ("predicted", text(&self.predicted))];
        Aggregate::counting(&by, self.filter.clone())
    }
}

/// What is wrong with a column of labels.
fn label(field: &str, name: &str, input: &Input) -> Option<Problem> {
    match input.schema.field_with_name(name) {
        Ok(found) if found.data_type().is_nested() || found.data_type().is_floating() => Some(
            Problem::field(
                field,
                format!("column `{name}` is {}, a label is a text or a whole number", type_name(found.data_type())),
            )
            .label("not a label"),
        ),
        Ok(_) => None,
        Err(_) => Some(Problem::field(field, format!("there is no column `{name}`")).label("not a column").suggest(
            name,
            input.schema.fields().iter().map(|f| f.name().as_str()),
            "columns",
        )),
    }
}

/// Name and version of the model that the rows went through.
fn model(lineage: &BTreeMap<String, String>) -> [Option<String>; 2] {
    ["modelName", "modelVersion"].map(|fact| lineage.get(fact).cloned())
}

struct Evaluator {
    counts: AggregateOperator,
    measures: Measures,
}

impl Operator for Evaluator {
    fn render<'scope>(
        self: Box<Self>,
        context: &OperatorContext<'scope>,
        inputs: Vec<BatchStream<'scope>>,
    ) -> Result<Rendered<'scope>, StageError> {
        let groups = self.counts.output();
        let counted = Box::new(self.counts).render(context, inputs)?;
        let output = summarise(context, counted.output, &groups, &schema(), self.measures)?;
        Ok(Rendered { output, rejects: None, state: counted.state })
    }
}
