//! `alluvium report SPEC -o FILE`: the tables of a pipeline as one file for people, or as pictures.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alluvium_engine::cli::{Cli, Command, DONE, FAILED, SpecArguments, USAGE, say, say_error};
use alluvium_engine::plan::Plan;
use alluvium_engine::secret;
use alluvium_engine::spec::{Panel, Report, closest};
use alluvium_engine::tables::Snapshot;
use clap::{ArgMatches, Args, FromArgMatches, ValueEnum};

use crate::chart::picture;
use crate::content::Shown;
use crate::page::{Provenance, page};
use crate::png::Painter;
use crate::{defaults, load};

/// Pixels of a picture's width, before a PNG is made twice as large.
const WIDTH: i32 = 720;

/// The command.
pub struct ReportCommand;

/// Show the pipeline's tables to people: one HTML file, or pictures.
///
/// What is shown is said by `report:` in the spec; without it, by the columns of the tables. All panels show the same
/// epoch, also while the pipeline runs.
#[derive(Args)]
struct ReportArguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// The file to write; for pictures the folder. `-` is standard output.
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    /// What to write.
    #[arg(long, value_enum, default_value_t = Format::Html)]
    format: Format,
    /// Only this panel; may be given several times.
    #[arg(long = "panel", value_name = "PANEL")]
    panels: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One page with all panels.
    Html,
    /// A file for each panel.
    Svg,
    /// A file for each panel, as pixels.
    Png,
}

/// A spec with its tables as of one epoch, and what is to be shown of them.
pub(crate) struct Opened {
    runtime: tokio::runtime::Runtime,
    plan: Arc<Plan>,
    tables: Box<dyn Snapshot>,
    provenance: Provenance,
    pub(crate) report: Report,
}

impl Opened {
    /// # Errors
    /// The exit code, after it was said what is wrong.
    pub(crate) fn new(cli: &Cli<'_>, spec: &SpecArguments) -> Result<Self, u8> {
        let runtime = cli.runtime(2)?;
        let plan = cli.compile(&spec.spec, &spec.set, runtime.handle())?;
        let reader = cli.registry.tables().ok_or_else(|| failed("this program cannot read tables"))?;
        let tables = runtime.block_on(reader.open(&plan)).map_err(|e| failed(&e.text()))?;
        let Some(provenance) = Provenance::new(&plan, tables.as_ref()) else {
            return Err(failed(&format!(
                "there is nothing to show: no epoch of `{}` is complete; `alluvium run {}` writes its tables",
                plan.pipeline,
                spec.spec.display()
            )));
        };
        let report = match &plan.report {
            Some(report) => report.clone(),
            None => runtime.block_on(defaults::report(&plan, tables.as_ref())).map_err(|e| failed(&e))?,
        };
        Ok(Self { runtime, plan, tables, provenance, report })
    }

    /// The panels of these names, or all.
    ///
    /// # Errors
    /// The exit code, after it was said which one is not there.
    pub(crate) fn panels(&self, names: &[String]) -> Result<Vec<(&String, &Panel)>, u8> {
        let all = &self.report.panels;
        if let Some(unknown) = names.iter().find(|n| !all.contains_key(n.as_str())) {
            let known: Vec<&str> = all.keys().map(String::as_str).collect();
            let near = closest(unknown, &known).map(|n| format!("did you mean `{n}`? ")).unwrap_or_default();
            say_error(&format!("error: there is no panel `{unknown}`\n  {near}panels: {}\n", known.join(", ")));
            return Err(USAGE);
        }
        Ok(all.iter().filter(|(name, _)| names.is_empty() || names.contains(name)).collect())
    }

    /// Runs the queries of panels.
    ///
    /// # Errors
    /// What is wrong with the first one that fails.
    pub(crate) fn load(&self, panels: &[(&String, &Panel)]) -> Result<Vec<Shown>, String> {
        let one =
            |(name, panel): &(&String, &Panel)| self.runtime.block_on(load::load(name, panel, self.tables.as_ref()));
        panels.iter().map(one).collect()
    }

    fn html(&self, shown: &[Shown]) -> Result<String, String> {
        let title = self.report.title.as_ref().unwrap_or(&self.plan.pipeline);
        let description = self.report.description.as_ref().or(self.plan.description.as_ref());
        Ok(secret::redact(&page(title, description.map(String::as_str), shown, &self.provenance)?))
    }
}

/// Says what is wrong; gives the exit code.
pub(crate) fn failed(message: &str) -> u8 {
    say_error(&format!("error: {message}\n"));
    FAILED
}

impl Command for ReportCommand {
    fn describe(&self) -> clap::Command {
        ReportArguments::augment_args(clap::Command::new("report"))
    }

    fn run(&self, cli: &Cli<'_>, arguments: &ArgMatches) -> u8 {
        let arguments = match ReportArguments::from_arg_matches(arguments) {
            Ok(arguments) => arguments,
            Err(error) => {
                let _ = error.print();
                return USAGE;
            }
        };
        let opened = match Opened::new(cli, &arguments.spec) {
            Ok(opened) => opened,
            Err(code) => return code,
        };
        let panels = match opened.panels(&arguments.panels) {
            Ok(panels) => panels,
            Err(code) => return code,
        };
        if arguments.format != Format::Html && arguments.output == Path::new("-") && panels.len() != 1 {
            say_error("error: standard output takes one picture: name it with `--panel`, or give a folder\n");
            return USAGE;
        }
        match opened.load(&panels).and_then(|shown| write(&opened, &shown, &arguments)) {
            Ok(()) => DONE,
            Err(message) => failed(&message),
        }
    }
}

fn write(opened: &Opened, shown: &[Shown], arguments: &ReportArguments) -> Result<(), String> {
    let output = &arguments.output;
    if arguments.format == Format::Html {
        return put(output, opened.html(shown)?.as_bytes());
    }
    let painter = (arguments.format == Format::Png).then(Painter::new);
    for panel in shown {
        let svg = secret::redact(&picture(panel, WIDTH)?.alone(panel, painter.is_none()));
        let (bytes, extension) = match &painter {
            Some(painter) => (painter.paint(&svg).map_err(|e| format!("panel `{}`: {e}", panel.name))?, "png"),
            None => (svg.into_bytes(), "svg"),
        };
        let path =
            if output == Path::new("-") { output.clone() } else { output.join(format!("{}.{extension}", panel.name)) };
        put(&path, &bytes)?;
    }
    Ok(())
}

/// Writes a file, with the folders that it is in, and says so; or to standard output.
fn put(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if path == Path::new("-") {
        // A closed pipe is the reader's choice, not an error.
        let _ = std::io::stdout().write_all(bytes);
        return Ok(());
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let written = folder.map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(path, bytes));
    written.map_err(|e| format!("{} cannot be written: {e}", path.display()))?;
    say(&format!("{}\n", path.display()));
    Ok(())
}
