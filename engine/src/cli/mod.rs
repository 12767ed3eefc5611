//! The command line. Every command that takes a spec compiles it the same way.

mod check;
mod cluster;
mod doctor;
mod history;
mod http;
mod ledger;
mod log;
mod ls;
mod reference;
mod refresh;
mod rows;
mod run;
mod schema;

pub use rows::{Format, show_rows};
pub(crate) use run::end_now;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{ArgMatches, Args, FromArgMatches, Parser, Subcommand};

use crate::Registry;
use crate::plan::{Attempt, Plan, attempt, compile};
use crate::secret;
use crate::spec::{Problems, Spec, Vars, load_file};
use crate::stage::StageError;
use crate::tables::Tables;

/// Everything went as asked.
pub const DONE: u8 = 0;
/// A run failed.
pub const FAILED: u8 = 1;
/// The spec or the command line is wrong.
pub const USAGE: u8 = 2;
/// The run was interrupted and has stopped in order.
pub const INTERRUPTED: u8 = 130;

/// A command that a stage crate brings along.
pub trait Command: Send + Sync + 'static {
    /// Name and arguments.
    fn describe(&self) -> clap::Command;

    /// Runs it; returns the exit code.
    fn run(&self, cli: &Cli<'_>, arguments: &ArgMatches) -> u8;
}

/// What commands share.
pub struct Cli<'a> {
    /// The kinds there are.
    pub registry: &'a Registry,
}

/// Alluvium: declarative dataflow from a YAML file.
#[derive(Parser)]
#[command(name = "alluvium", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Builtin,
}

#[derive(Subcommand)]
enum Builtin {
    /// Process everything that is there, then end; or go on with what arrives.
    Run(run::RunArguments),
    /// Clear what was computed, all or from some stages on, and compute it again.
    ///
    /// The same epochs come from the same objects, with the same processing times. Tables are deleted as a whole, also what
    /// others have written into them; those of stages that were not chosen keep their versions. Sinks that are no tables see
    /// every epoch again.
    Refresh(refresh::RefreshArguments),
    /// Show all problems of a spec. Touches nothing.
    Check(SpecArguments),
    /// Show the plan: stages in order, columns, routes, guarantees.
    Explain(check::ExplainArguments),
    /// Try what a run would need: rights, storage, clocks, tables, models, ports.
    Doctor(doctor::DoctorArguments),
    /// Show which objects were read, in which epoch.
    Ledger(ledger::LedgerArguments),
    /// List what sources would read, or the objects at a URL.
    Ls(ls::LsArguments),
    /// Show what the newest epochs have read and written, and with which plan.
    History(history::HistoryArguments),
    /// Draw the plan.
    Graph(check::GraphArguments),
    /// List the kinds of stages, or show the reference of one.
    Stages(reference::StagesArguments),
    /// Print the JSON Schema of a spec, for editors.
    Schema,
}

/// A spec and its variables.
#[derive(Args, Debug, Clone)]
pub struct SpecArguments {
    /// The pipeline spec, a YAML file.
    #[arg(value_name = "SPEC")]
    pub spec: PathBuf,
    /// Set a variable of the spec; wins over the environment.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_assignment)]
    pub set: Vec<(String, String)>,
}

/// `KEY=VALUE` of `--set`.
///
/// # Errors
/// It has another form.
pub fn parse_assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs the command line of this process.
pub fn main(registry: &Registry) -> ExitCode {
    let mut command = <Arguments as clap::CommandFactory>::command();
    for extra in registry.commands() {
        command = command.subcommand(extra.describe());
    }
    let matches = match command.try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version are "errors" of clap that belong on standard output.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { DONE });
        }
    };
    log::start(registry);
    crate::metrics::install();
    let cli = Cli { registry };
    if let Some((name, arguments)) = matches.subcommand()
        && let Some(extra) = registry.commands().iter().find(|c| c.describe().get_name() == name)
    {
        return ExitCode::from(extra.run(&cli, arguments));
    }
    let code = match Arguments::from_arg_matches(&matches).map(|a| a.command) {
        Ok(Builtin::Run(arguments)) => run::run(&cli, &arguments),
        Ok(Builtin::Refresh(arguments)) => refresh::refresh(&cli, &arguments),
        Ok(Builtin::Check(arguments)) => check::check(&cli, &arguments),
        Ok(Builtin::Explain(arguments)) => check::explain(&cli, &arguments),
        Ok(Builtin::Ls(arguments)) => ls::ls(&cli, &arguments),
        Ok(Builtin::History(arguments)) => history::history(&cli, &arguments),
        Ok(Builtin::Graph(arguments)) => check::graph(&cli, &arguments),
        Ok(Builtin::Doctor(arguments)) => doctor::doctor(&cli, &arguments),
        Ok(Builtin::Ledger(arguments)) => ledger::ledger(&cli, &arguments),
        Ok(Builtin::Stages(arguments)) => reference::stages(&cli, &arguments),
        Ok(Builtin::Schema) => schema::show(&cli),
        Err(error) => {
            let _ = error.print();
            USAGE
        }
    };
    ExitCode::from(code)
}

impl Cli<'_> {
    /// Compiles a spec; shows its problems and returns the exit code if it has any.
    ///
    /// # Errors
    /// The exit code.
    pub fn compile(
        &self,
        spec: &Path,
        set: &[(String, String)],
        runtime: &tokio::runtime::Handle,
    ) -> Result<Arc<Plan>, u8> {
        self.with_spec(spec, set, |spec| compile(spec, self.registry, runtime)).map(Arc::new)
    }

    /// The same as far as possible, if something that stages need is not there.
    fn attempt(&self, spec: &SpecArguments, runtime: &tokio::runtime::Handle) -> Result<Attempt, u8> {
        self.with_spec(&spec.spec, &spec.set, |spec| attempt(spec, self.registry, runtime))
    }

    fn with_spec<T>(
        &self,
        spec: &Path,
        set: &[(String, String)],
        compile: impl FnOnce(&Spec) -> Result<T, Problems>,
    ) -> Result<T, u8> {
        let vars = Vars::from_env(set.iter().cloned());
        load_file(spec, &vars).and_then(|spec| compile(&spec)).map_err(|problems| {
            let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
            say_error(&problems.render(std::io::stderr().is_terminal() && !plain));
            USAGE
        })
    }

    /// What reads the tables of pipelines.
    ///
    /// # Errors
    /// This program brings nothing that does.
    pub fn tables(&self) -> Result<&dyn Tables, StageError> {
        self.registry.tables().ok_or_else(|| StageError::user("this program brings nothing that reads tables"))
    }

    /// A runtime for a command.
    ///
    /// # Errors
    /// The exit code.
    pub fn runtime(&self, workers: usize) -> Result<tokio::runtime::Runtime, u8> {
        crate::runtime::tokio_runtime(workers).map_err(|e| {
            say_error(&format!("error: threads cannot be started: {e}\n"));
            FAILED
        })
    }
}

/// Writes to standard output, without secrets. A closed pipe is the reader's choice, not an error.
pub fn say(text: &str) {
    let _ = std::io::stdout().write_all(secret::redact(text).as_bytes());
}

/// Writes to standard error, without secrets.
pub fn say_error(text: &str) {
    let _ = std::io::stderr().write_all(secret::redact(text).as_bytes());
}
