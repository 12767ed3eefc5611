//! `tap`: sample rows of an edge while the pipeline runs.

use alluvium_engine::cli::{Cli, Command, DONE, SpecArguments, say, say_error};
use clap::{ArgMatches, Args};
use serde::Deserialize;

use super::find::running;
use super::{failed, parsed};
use crate::client;
use hyper::Method;

/// The command.
pub struct Tap;

/// Show sample rows of a running pipeline, as they leave a stage.
///
/// Each is one JSON object a line. The rows are of an epoch that is open: they are in no table yet.
#[derive(Args)]
struct TapArguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// The stage; `STAGE.rejects` for what it rejects.
    #[arg(value_name = "STAGE")]
    stage: String,
    /// How many rows.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    rows: u16,
}

#[derive(Deserialize)]
struct Rows {
    columns: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
}

impl Command for Tap {
    fn describe(&self) -> clap::Command {
        TapArguments::augment_args(clap::Command::new("tap"))
    }

    fn run(&self, cli: &Cli<'_>, arguments: &ArgMatches) -> u8 {
        parsed(arguments).and_then(|arguments: TapArguments| tap(cli, &arguments)).unwrap_or_else(|code| code)
    }
}

fn tap(cli: &Cli<'_>, arguments: &TapArguments) -> Result<u8, u8> {
    let found = running(cli, &arguments.spec)?;
    let (stage, rejects) = match arguments.stage.strip_suffix(".rejects") {
        Some(stage) => (stage, true),
        None => (arguments.stage.as_str(), false),
    };
    let mut left = usize::from(arguments.rows);
    while left > 0 {
        let path = format!("/api/tap?stage={stage}&rejects={rejects}&rows={left}");
        let answer = found.runtime.block_on(client::ask(&found.socket, Method::GET, &path)).map_err(|e| failed(&e))?;
        match answer.status {
            204 => {
                say_error("no rows pass there now; waiting\n");
                continue;
            }
            200 => {}
            _ => return Err(failed(String::from_utf8_lossy(&answer.body).trim())),
        }
        let rows: Rows = serde_json::from_slice(&answer.body).map_err(|e| failed(&e.to_string()))?;
        left = left.saturating_sub(rows.rows.len());
        for row in rows.rows {
            let object: serde_json::Map<_, _> =
                rows.columns.iter().cloned().zip(row.into_iter().map(serde_json::Value::from)).collect();
            say(&format!("{}\n", serde_json::Value::from(object)));
        }
    }
    Ok(DONE)
}
