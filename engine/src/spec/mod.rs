//! The text of a pipeline: YAML with places, variables substituted, its outer shape checked.
//!
//! What stands inside a stage is the business of its kind; see [`plan`](crate::plan).

mod choice;
mod columns;
mod env;
mod load;
mod node;
mod problem;
mod report;
mod units;
mod validate;
mod yaml;

pub use columns::{ColumnType, Columns, in_words, timestamp, type_name};
pub use env::Vars;
pub(crate) use load::{deserialize, place};
pub use load::{load, load_file};
pub use node::{Key, Node, Value};
pub use problem::{Problem, Problems, closest};
pub use report::{Chart, Names, Panel, Report};
pub use units::{ByteSize, Span};
pub(crate) use validate::help;
pub use validate::validate;

use std::collections::BTreeMap;
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What every spec says besides its stages.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The pipeline's name. It is part of the identity under which tables remember what they hold, so do not change it
    /// once tables exist.
    #[schemars(
        regex(pattern = r"^[A-Za-z][A-Za-z0-9_-]*$"),
        extend("x-expected" = "a name of letters, digits, `_` and `-` that begins with a letter")
    )]
    pub pipeline: String,
    /// What the pipeline is for.
    #[serde(default)]
    pub description: Option<String>,
    /// Where bindings, ledger and operator state are kept: a folder or a URL of the pipeline's own.
    #[schemars(length(min = 1))]
    pub state: String,
    /// How much goes into one epoch, the unit of atomic commit.
    #[serde(default)]
    pub epoch: EpochLimits,
    /// Options of the object store for every URL of the spec, such as `aws_endpoint_url` or `aws_region`. `AWS_…`
    /// variables of the environment are read as well.
    #[serde(default)]
    pub storage: BTreeMap<String, String>,
    /// What `alluvium report` and `alluvium plot` show; without it the tables are shown as far as their columns suggest.
    /// It changes nothing of what the pipeline does.
    #[serde(default)]
    pub report: Option<Report>,
}

/// How much goes into one epoch.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EpochLimits {
    /// An epoch is closed before the split that would make it larger than this.
    pub bytes: ByteSize,
    /// An epoch has at most this many splits (objects).
    #[schemars(range(min = 1))]
    pub splits: usize,
    /// An epoch is closed when its splits hold about this many rows. How large a row is, is measured while the pipeline
    /// runs, so the first epoch has one split. Without it only bytes and splits count.
    #[schemars(range(min = 1))]
    pub rows: Option<u64>,
    /// Epochs that may be open at once: reading goes on while earlier epochs are being committed.
    #[schemars(range(min = 1))]
    pub open: u64,
}

impl Default for EpochLimits {
    fn default() -> Self {
        Self { bytes: ByteSize(64_000_000), splits: 1_000, rows: None, open: 2 }
    }
}

/// A spec as written, as far as it could be understood.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The file's name, for messages.
    pub file: String,
    /// The text as written.
    pub text: String,
    /// Everything besides the stages; missing if something is wrong with it.
    pub header: Option<Header>,
    /// The stages, in the order of the text.
    pub stages: Vec<StageSpec>,
    /// Place of `state`.
    pub state_span: Range<usize>,
    /// `report` as written, with places.
    pub report: Option<Node>,
    /// What is wrong so far: compiling goes on and adds to it, so that all problems are shown at once.
    pub problems: Vec<Problem>,
    /// Places of values that are not known, because a variable in them is not defined.
    pub unknown: Vec<Range<usize>>,
}

impl Spec {
    /// Whether a problem only says that an unknown value does not fit.
    pub(crate) fn is_consequence(&self, problem: &Problem) -> bool {
        let Some(span) = &problem.span else { return false };
        self.unknown.iter().any(|place| place.start <= span.start && span.start < place.end)
    }
}

/// One stage as written.
#[derive(Debug, Clone)]
pub struct StageSpec {
    /// Its name and place.
    pub name: Key,
    /// Its kind and place; missing if it cannot be read.
    pub kind: Option<Key>,
    /// What it reads, in order.
    pub inputs: Vec<InputSpec>,
    /// It has an `input` that cannot be read.
    pub inputs_unclear: bool,
    /// The whole mapping, with places.
    pub node: Node,
}

/// One input as written: `stage` or `stage.rejects`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSpec {
    /// The stage's name.
    pub stage: String,
    /// The rejects port is meant, not the rows.
    pub rejects: bool,
    /// Place of the reference.
    pub span: Range<usize>,
}

impl InputSpec {
    /// As written in a spec.
    pub fn text(&self) -> String {
        if self.rejects { format!("{}.rejects", self.stage) } else { self.stage.clone() }
    }
}

/// Keys of a stage that belong to the engine and not to the kind.
pub const STAGE_KEYS: [&str; 3] = ["kind", "input", "description"];
