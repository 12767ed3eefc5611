//! `kind: drift`: how far rows are from a stored baseline.
//!
//! ```text
//! once     baseline table ─> values of each expression ─> bins, recorded with the table's version
//! rows ─> aggregate: rows of each bin, by window ─> one row per column: distances between the two distributions
//! ```

mod baseline;
mod bins;
mod measure;
mod tell;

use alluvium_engine::spec::Problem;
use alluvium_engine::stage::{
    BatchStream, Changes, Input, Operator, OperatorContext, Outputs, Rendered, ResolveContext, Role, Stage,
    StageConfig, StageContext, StageError, with_diff,
};
use indexmap::IndexMap;

use crate::aggregate::{Aggregate, AggregateOperator, Definition, WINDOW, Window};
use crate::unfold::unfold;
use baseline::{Found, find, of};
use tell::{Teller, place, schema};

/// Compares rows with a stored baseline, kept current epoch by epoch: whether labels are mixed as they were, whether texts
/// are as long, whether a model is as sure.
///
/// Both sides are counted in the same bins, which the baseline decides: of texts and booleans the 20 most frequent values and
/// one bin for all others, of numbers its tenths (equal bounds are one; NaN counts as NULL), and a bin for NULL. Rows that
/// are taken away from the input are taken away from the counts. Its rows are changes, one for each `column` (and window):
///
/// | column | what |
/// |---|---|
/// | `window_start`, `window_end` | the window, if there are windows |
/// | `column` | the name that `columns` gives |
/// | `rows`, `baseline_rows` | rows that are compared |
/// | `psi` | population stability index: the sum over bins of (a - b) ln(a / b), where a and b are the shares of the bin now and in the baseline, taken for at least 0.0001 |
/// | `js_distance` | Jensen-Shannon distance: the root of the divergence to base 2; 0 is equal, 1 has nothing in common |
/// | `largest` | the bin whose share has moved most: `bin`, `share`, `baseline_share` |
/// | `drifted` | whether `psi` is above `threshold` |
/// | `baseline_version` | the version of the baseline's table |
///
/// The measures are those of Siddiqi, Credit Risk Scorecards, Wiley 2006 (stability index; 0.1 is often taken for a small
/// change and 0.25 for a large one), and of Endres and Schindelin, A new metric for probability distributions, IEEE
/// Transactions on Information Theory 49 (2003), after Lin, the same 37 (1991).
///
/// The baseline is read once, before the first run, all its values of the named expressions in memory; its bins and the
/// table's version are recorded with the state. Whatever is written to the table later changes nothing.
///
/// ```yaml
/// drift:
///   kind: drift
///   input: gold
///   columns: { sentiment: predicted_sentiment, length: character_length(text), confidence: predicted_score }
///   baseline: { table: "${LAKE:-./lake}/gold_of_may", where: timestamp < '2009-05-15' }
///   window: { time: timestamp, tumbling: 1d }
/// ```
#[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drift {
    /// What is compared: name, and SQL expression of a text, a boolean or a number. It must fit the columns of the input and
    /// those of the baseline.
    #[schemars(length(min = 1))]
    columns: IndexMap<String, String>,
    /// With what it is compared.
    baseline: BaselineTable,
    /// Compares the rows of each window by themselves. Without it all rows so far are compared.
    #[serde(default)]
    window: Option<Window>,
    /// The `psi` above which a column has drifted.
    #[serde(default = "a_fifth")]
    #[schemars(range(min = 0))]
    threshold: f64,
    #[serde(skip)]
    found: Option<Result<Found, Vec<Problem>>>,
}

/// The rows that others are compared with.
#[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct BaselineTable {
    /// Path or URL of a Delta table.
    table: String,
    /// Its version; the newest one at the first run if it is not given.
    #[serde(default)]
    version: Option<u64>,
    /// SQL condition; other rows are left out.
    #[serde(default, rename = "where")]
    filter: Option<String>,
}

fn a_fifth() -> f64 {
    0.2
}

impl StageConfig for Drift {
    const KIND: &'static str = "drift";
    const ROLE: Role = Role::Operator;

    /// Problems are kept for `check`, which may find more.
    fn resolve(&mut self, context: &ResolveContext) -> Result<(), Vec<Problem>> {
        self.found = Some(find(self, context));
        Ok(())
    }

    fn check(&self, inputs: &[Input]) -> Result<Outputs, Vec<Problem>> {
        let [input] = inputs else {
            return Err(vec![
                Problem::field("input", "a comparison has one input")
                    .label("here")
                    .help("compare each by itself, or merge them with a `sql` stage before"),
            ]);
        };
        if self.columns.is_empty() {
            return Err(vec![
                Problem::field("columns", "nothing is compared")
                    .label("empty")
                    .help("give what is compared a name, for example `columns: { length: character_length(text) }`"),
            ]);
        }
        let found = self.found.as_ref().ok_or_else(|| vec![Problem::new("the baseline was not looked at")])?;
        let mut problems = self.fitting(input, found.as_ref().ok());
        if let Err(more) = found {
            // An expression that fits neither side is wrong once.
            let told: Vec<_> = problems.iter().map(|p| p.path.clone()).collect();
            problems.extend(more.iter().filter(|p| !told.contains(&p.path)).cloned());
        }
        // With expressions that do not fit, only the window is looked at.
        let checked = self.aggregate(found.as_ref().ok().filter(|_| problems.is_empty())).check(inputs);
        match (checked, found) {
            (Ok(checked), Ok(found)) if problems.is_empty() => Ok(self.outputs(checked, found)),
            (checked, _) => {
                problems.extend(checked.err().into_iter().flatten());
                Err(problems)
            }
        }
    }

    fn build(&self, context: &StageContext) -> Result<Stage, StageError> {
        let Some(Ok(found)) = &self.found else { return Err(StageError::internal("the baseline was not looked at")) };
        let (baseline, windowed) = (found.baseline.clone(), self.window.is_some());
        let aggregate = self.aggregate(Some(found)).operator(context, false)?;
        Ok(Stage::operator(Comparison { aggregate, teller: Teller { baseline, threshold: self.threshold, windowed } }))
    }
}

impl Drift {
    /// What is wrong with the expressions on the input.
    fn fitting(&self, input: &Input, found: Option<&Found>) -> Vec<Problem> {
        let wrong = |(at, (name, text)): (usize, (&String, &String))| {
            let path = format!("columns.{name}");
            let (found_type, measured) = match of(text, &input.schema, &path) {
                Ok(found) => found,
                Err(problem) => return Some(problem),
            };
            let before = found?.baseline.columns.get(at)?.bins.measured();
            (before != measured).then(|| {
                let message = format!("`{name}` is {found_type} here, and the baseline has {}", before.name());
                Problem::field(&path, message)
                    .label("not comparable")
                    .help("CAST it to the same type on both sides, or compare with a table that has the same columns")
            })
        };
        self.columns.iter().enumerate().filter_map(wrong).collect()
    }

    fn aggregate(&self, found: Option<&Found>) -> Aggregate {
        let rows = ("rows".to_owned(), Definition { count: Some("*".into()), ..Definition::default() });
        let binned = found.map(|f| &f.baseline.columns);
        let counting = |(at, text): (usize, &String)| Some((place(at), binned?.get(at)?.bins.counting(text)));
        let columns = std::iter::once(rows).chain(self.columns.values().enumerate().filter_map(counting)).collect();
        Aggregate::of_all(columns, self.window.clone())
    }

    fn outputs(&self, checked: Outputs, found: &Found) -> Outputs {
        let mut outputs = Outputs::rows(with_diff(&schema(self.window.is_some())));
        let window = self.window.iter().map(|_| WINDOW[0].to_owned());
        outputs.changes = Some(Changes { keys: window.chain(["column".to_owned()]).collect() });
        outputs.rejects = checked.rejects;
        outputs.resolved = Some(found.record.clone());
        outputs.state = checked.state.map(|mut state| {
            // What was given must be taken away as it was: compared with the same.
            let baseline = serde_json::to_string(&found.baseline).unwrap_or_default();
            state.fingerprint = format!("{} {baseline} {}", state.fingerprint, self.threshold);
            state
        });
        outputs
    }
}

struct Comparison {
    aggregate: AggregateOperator,
    teller: Teller,
}

impl Operator for Comparison {
    fn render<'scope>(
        self: Box<Self>,
        context: &OperatorContext<'scope>,
        inputs: Vec<BatchStream<'scope>>,
    ) -> Result<Rendered<'scope>, StageError> {
        let Self { aggregate, teller } = *self;
        let wide = Box::new(aggregate).render(context, inputs)?;
        let output = unfold(context, wide.output, move |batch| teller.tell(batch));
        Ok(Rendered { output, rejects: wide.rejects, state: wide.state })
    }
}
