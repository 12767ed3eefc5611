//! The kinds that specs can use: the only place where types are erased.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value as Json;
use timely::WorkerConfig;
use tracing_subscriber::layer::Layer;

use crate::cli::Command;
use crate::monitor::{Monitor, Reporter};
use crate::spec::Problem;
use crate::stage::{Input, Outputs, ResolveContext, Role, Stage, StageConfig, StageContext, StageError};
use crate::storage::Finding;
use crate::tables::Tables;

/// Kinds by name, and the commands that stage crates bring along.
///
/// ```ignore
/// fn main() -> std::process::ExitCode {
///     alluvium::registry().with::<MyStage>().main()
/// }
/// ```
#[derive(Default)]
pub struct Registry {
    /// By name, and whether they have an input: of one name there may be a source and one other kind.
    kinds: BTreeMap<(&'static str, bool), Kind>,
    commands: Vec<Box<dyn Command>>,
    pub(crate) tables: Option<Arc<dyn Tables>>,
    pub(crate) monitor: Option<Arc<dyn Monitor>>,
    pub(crate) reporter: Option<Arc<dyn Reporter>>,
    pub(crate) workers: WorkerConfig,
    log_layer: Mutex<Option<LogLayer>>,
}

/// Takes what the log shows, too.
pub type LogLayer = Box<dyn Layer<tracing_subscriber::Registry> + Send + Sync>;

/// One kind.
pub struct Kind {
    /// The name in `kind:`.
    pub name: &'static str,
    /// What it does with rows.
    pub role: Role,
    /// JSON Schema of the configuration, from its doc comments.
    pub schema: Json,
    parse: fn(&Json) -> Result<Box<dyn Config>, Problem>,
}

/// A [`StageConfig`] whose type is forgotten.
pub(crate) trait Config: Send + Sync {
    fn resolve(&mut self, context: &ResolveContext) -> Result<(), Vec<Problem>>;
    fn examine(&self, context: &ResolveContext) -> Vec<Finding>;
    fn check(&self, inputs: &[Input]) -> Result<Outputs, Vec<Problem>>;
    fn build(&self, context: &StageContext) -> Result<Stage, StageError>;
    fn any(&self) -> &dyn Any;
}

struct Typed<C>(C);

impl<C: StageConfig> Config for Typed<C> {
    fn resolve(&mut self, context: &ResolveContext) -> Result<(), Vec<Problem>> {
        self.0.resolve(context)
    }

    fn examine(&self, context: &ResolveContext) -> Vec<Finding> {
        self.0.examine(context)
    }

    fn check(&self, inputs: &[Input]) -> Result<Outputs, Vec<Problem>> {
        self.0.check(inputs)
    }

    fn build(&self, context: &StageContext) -> Result<Stage, StageError> {
        self.0.build(context)
    }

    fn any(&self) -> &dyn Any {
        &self.0
    }
}

impl Kind {
    fn of<C: StageConfig>() -> Self {
        Self {
            name: C::KIND,
            role: C::ROLE,
            schema: schemars::schema_for!(C).to_value(),
            parse: |json| Ok(Box::new(Typed(crate::spec::deserialize::<C>(json)?))),
        }
    }

    /// The doc comment of the configuration.
    pub fn description(&self) -> &str {
        self.schema.get("description").and_then(Json::as_str).unwrap_or_default()
    }

    /// Every problem of a configuration, or the configuration.
    pub(crate) fn config(&self, json: &Json) -> Result<Box<dyn Config>, Vec<Problem>> {
        let problems = crate::spec::validate(&self.schema, json);
        if problems.is_empty() { (self.parse)(json).map_err(|p| vec![p]) } else { Err(problems) }
    }
}

impl Registry {
    /// No kinds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind. One of the same name is replaced, so that a distribution can bring its own; but a source and a kind
    /// that is none live beside each other, and a stage without `input` is the source.
    #[must_use]
    pub fn with<C: StageConfig>(mut self) -> Self {
        self.kinds.insert((C::KIND, C::ROLE != Role::Source), Kind::of::<C>());
        self
    }

    /// Adds a command to the command line.
    #[must_use]
    pub fn with_command(mut self, command: impl Command) -> Self {
        self.commands.push(Box::new(command));
        self
    }

    /// Says how a pipeline's tables are read.
    #[must_use]
    pub fn with_tables(mut self, tables: impl Tables) -> Self {
        self.tables = Some(Arc::new(tables));
        self
    }

    /// Says how runs are shown to others.
    #[must_use]
    pub fn with_monitor(mut self, monitor: impl Monitor) -> Self {
        self.monitor = Some(Arc::new(monitor));
        self
    }

    /// Says how tables are shown to people where a run is shown.
    #[must_use]
    pub fn with_reporter(mut self, reporter: impl Reporter) -> Self {
        self.reporter = Some(Arc::new(reporter));
        self
    }

    /// Changes what Timely's workers are told, where libraries that operators are made with look for options of their own.
    #[must_use]
    pub fn with_workers(mut self, configure: impl FnOnce(&mut WorkerConfig)) -> Self {
        configure(&mut self.workers);
        self
    }

    /// Sends the log to another place as well.
    #[must_use]
    pub fn with_log_layer(self, layer: Option<LogLayer>) -> Self {
        *self.log_layer.lock().unwrap_or_else(PoisonError::into_inner) = layer;
        self
    }

    /// The first who asks gets it.
    pub(crate) fn log_layer(&self) -> Option<LogLayer> {
        self.log_layer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// How a pipeline's tables are read.
    pub fn tables(&self) -> Option<&dyn Tables> {
        self.tables.as_deref()
    }

    /// The kind of this name for a stage with or without input; where there is only one, it is that one.
    pub fn kind(&self, name: &str, input: bool) -> Option<&Kind> {
        let mut of_name = self.kinds().filter(|k| k.name == name);
        let first = of_name.next()?;
        Some(of_name.find(|_| input).unwrap_or(first))
    }

    /// The other kind of the same name, if there are two.
    pub fn twin(&self, kind: &Kind) -> Option<&Kind> {
        self.kinds.get(&(kind.name, kind.role == Role::Source))
    }

    /// All kinds, by name; of two of one name the source first.
    pub fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.kinds.values()
    }

    /// The names of all kinds, each once.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<&str> = self.kinds().map(|k| k.name).collect();
        names.dedup();
        names
    }

    /// The commands that stage crates brought along.
    pub fn commands(&self) -> &[Box<dyn Command>] {
        &self.commands
    }

    /// Runs the command line of this process.
    pub fn main(self) -> std::process::ExitCode {
        crate::cli::main(&self)
    }
}

/// A stage's configuration in a plan.
#[derive(Clone)]
pub struct StageSettings(pub(crate) Arc<dyn Config>);

impl StageSettings {
    /// The configuration, if it is of this type.
    pub fn get<C: StageConfig>(&self) -> Option<&C> {
        self.0.any().downcast_ref()
    }
}
