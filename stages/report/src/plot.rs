//! `alluvium plot SPEC PANEL`: a panel on the terminal.

use std::io::IsTerminal;

use alluvium_engine::cli::{Cli, Command, DONE, SpecArguments, USAGE, say};
use clap::{ArgMatches, Args, FromArgMatches};

use crate::format::cells;
use crate::report::{Opened, failed};
use crate::terminal::Terminal;

/// The command.
pub struct PlotCommand;

/// Draw a panel of the pipeline's report on the terminal.
#[derive(Args)]
struct PlotArguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// The panel; without it all panels are listed.
    #[arg(value_name = "PANEL")]
    panel: Option<String>,
    /// Cells in a line; without it those of the terminal, or 80.
    #[arg(long, value_name = "CELLS", value_parser = clap::value_parser!(u16).range(40..=400))]
    width: Option<u16>,
}

impl Command for PlotCommand {
    fn describe(&self) -> clap::Command {
        PlotArguments::augment_args(clap::Command::new("plot"))
    }

    fn run(&self, cli: &Cli<'_>, arguments: &ArgMatches) -> u8 {
        let arguments = match PlotArguments::from_arg_matches(arguments) {
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
        let Some(panel) = &arguments.panel else {
            say(&list(&opened));
            return DONE;
        };
        let panels = match opened.panels(std::slice::from_ref(panel)) {
            Ok(panels) => panels,
            Err(code) => return code,
        };
        match opened.load(&panels) {
            Ok(shown) => {
                shown.iter().for_each(|s| say(&terminal(arguments.width).draw(s)));
                DONE
            }
            Err(message) => failed(&message),
        }
    }
}

fn terminal(width: Option<u16>) -> Terminal {
    let output = std::io::stdout();
    let found = terminal_size::terminal_size_of(&output).map(|(width, _)| width.0);
    let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    Terminal { width: usize::from(width.or(found).unwrap_or(80).max(40)), color: output.is_terminal() && !plain }
}

/// Each panel in a line.
fn list(opened: &Opened) -> String {
    let panels = &opened.report.panels;
    let width = panels.keys().map(|name| cells(name)).max().unwrap_or(0);
    let line = |(name, panel): (&String, &alluvium_engine::spec::Panel)| {
        let title = panel.title.as_deref().unwrap_or(name);
        format!("{name:<width$}  {:<9}  {title}\n", panel.chart.name())
    };
    panels.iter().map(line).collect()
}
