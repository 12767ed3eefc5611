//! `kind: profile`: what the columns of a stream look like.

mod ask;
mod tell;

use alluvium_engine::spec::Problem;
use alluvium_engine::stage::{
    BatchStream, Changes, DIFF, Input, Operator, OperatorContext, Outputs, Rendered, Role, Stage, StageConfig,
    StageContext, StageError, with_diff,
};

use crate::aggregate::{Aggregate, AggregateOperator};
use crate::unfold::unfold;
use ask::{Asked, definitions};
use tell::{schema, tell};

/// Aggregates have numbers of 16 bits in the state, and a column has 13 of them at most.
const MOST_COLUMNS: usize = 2_000;

/// Describes each column of its input in one row, kept current epoch by epoch: what a data frame's `describe` tells, and how
/// texts could be read. Its rows are changes, one for each `column`; while the input has no rows there are none.
///
/// | column | what |
/// |---|---|
/// | `column`, `type` | name and type |
/// | `rows`, `nulls` | rows of the input, and how many of them have NULL here |
/// | `distinct` | different values |
/// | `min`, `max` | least and greatest value as text, as CAST gives it; of binary values as hexadecimal digits |
/// | `mean`, `stddev` | of numbers: mean and sample standard deviation |
/// | `p05`, `p25`, `p50`, `p75`, `p95` | of numbers: the values below which 5 %, … of all lie |
/// | `not_finite` | of floating point numbers: NaN and infinite ones, which `min` to `p95` leave out |
/// | `min_length`, `mean_length`, `max_length` | characters of texts, elements of lists, bytes of binary values |
/// | `empty` | texts without a character that is not white space |
/// | `looks_like` | what at least 95 % of the other texts can be read as: `boolean` (true, false, yes, no), `integer` (up to 18 digits), `number`, `timestamp` (ISO 8601); the first that fits |
/// | `type_problems` | values that are not NULL and cannot be read as that |
/// | `top` | the most frequent values as a list of `value` (text) and `rows` |
///
/// What makes no sense for a type is NULL: lists have lengths, and structs only `rows` and `nulls`. Where rows only come,
/// `distinct` is estimated (error about 1.6 %), quantiles are within 1 %, and `top` is exact up to 4,096 different values and
/// NULL from then on: state is some KiB a column. With `exact: true`, and wherever rows may go, they are exact, every
/// different value is kept as state, and all are looked at in each epoch: for inputs that fit into memory.
///
/// Columns that come after the first run are left out, and what is known of the others goes on; name them in `columns`, and
/// start anew, to have them as well.
///
/// ```yaml
/// columns_of_gold: { kind: profile, input: gold, top: 5 }
/// ```
#[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The columns that are described; all if it is not given.
    #[serde(default)]
    #[schemars(length(min = 1))]
    columns: Option<Vec<String>>,
    /// How many of the most frequent values are told.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 1_000))]
    top: u32,
    /// Exact numbers of different values, quantiles and most frequent values, with every value kept as state.
    #[serde(default)]
    exact: bool,
}

fn ten() -> u32 {
    10
}

impl StageConfig for Profile {
    const KIND: &'static str = "profile";
    const ROLE: Role = Role::Operator;

    fn check(&self, inputs: &[Input]) -> Result<Outputs, Vec<Problem>> {
        let [input] = inputs else {
            return Err(vec![
                Problem::field("input", "a profile has one input")
                    .label("here")
                    .help("make a profile of each, or merge them with a `sql` stage before"),
            ]);
        };
        let asked = self.asked(input)?;
        let checked = self.aggregate(&asked, input).check(inputs)?;
        let mut outputs = Outputs::rows(with_diff(&schema()));
        outputs.changes = Some(Changes { keys: vec!["column".into()] });
        outputs.state = checked.state;
        Ok(outputs)
    }

    fn build(&self, context: &StageContext) -> Result<Stage, StageError> {
        let input = context.inputs.first().ok_or_else(|| StageError::internal("the stage has no input"))?;
        let asked = self.asked(input).map_err(|_| StageError::internal("the columns are not those of the plan"))?;
        let aggregate = self.aggregate(&asked, input).operator(context, false)?;
        Ok(Stage::operator(Profiler { aggregate, asked }))
    }
}

impl Profile {
    fn asked(&self, input: &Input) -> Result<Vec<Asked>, Vec<Problem>> {
        let all = || input.schema.fields().iter().map(|f| f.name()).filter(|name| *name != DIFF);
        let names: Vec<&String> = match &self.columns {
            Some(names) => names.iter().collect(),
            None => all().filter(|name| !input.evolved.contains(name)).collect(),
        };
        if names.len() > MOST_COLUMNS {
            let message = format!("`{}` has {} columns, a profile takes {MOST_COLUMNS}", input.from, names.len());
            return Err(vec![Problem::field("columns", message).label("too many").help("name those that matter")]);
        }
        let mut problems = Vec::new();
        let mut asked: Vec<Asked> = Vec::new();
        for (at, name) in names.into_iter().enumerate() {
            let place = format!("columns.{at}");
            match input.schema.field_with_name(name) {
                Ok(_) if asked.iter().any(|a| a.name == *name) => {
                    problems.push(
                        Problem::field(&place, format!("`{name}` is given twice")).label("here").help("remove one"),
                    );
                }
                Ok(field) if name != DIFF => asked.push(Asked::new(field)),
                _ => problems.push(
                    Problem::field(&place, format!("there is no column `{name}`")).label("not a column").suggest(
                        name,
                        all().map(String::as_str),
                        "columns",
                    ),
                ),
            }
        }
        if problems.is_empty() { Ok(asked) } else { Err(problems) }
    }

    fn aggregate(&self, asked: &[Asked], input: &Input) -> Aggregate {
        let approximate = !self.exact && input.changes.is_none();
        Aggregate::of_all(definitions(asked, self.top, approximate), None)
    }
}

struct Profiler {
    aggregate: AggregateOperator,
    asked: Vec<Asked>,
}

impl Operator for Profiler {
    fn render<'scope>(
        self: Box<Self>,
        context: &OperatorContext<'scope>,
        inputs: Vec<BatchStream<'scope>>,
    ) -> Result<Rendered<'scope>, StageError> {
        let Self { aggregate, asked } = *self;
        let wide = Box::new(aggregate).render(context, inputs)?;
        let output = unfold(context, wide.output, move |batch| tell(&asked, batch));
        Ok(Rendered { output, rejects: None, state: wide.state })
    }
}
