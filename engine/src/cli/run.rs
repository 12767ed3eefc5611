//! `run`: everything that is there is processed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use super::cluster::ClusterArguments;
use super::{Cli, DONE, FAILED, INTERRUPTED, SpecArguments, say, say_error};
use crate::checkpoint::resolve_anew;
use crate::plan::Plan;
use crate::progress::{Progress, Terminal, summary};
use crate::runtime::{Ended, RunOptions, Stop, run as run_plan};
use crate::secret;

#[derive(Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// Worker threads, the same in each process of a cluster. The tables are the same with any number.
    #[arg(long, default_value_t = 1, value_name = "N", env = "ALLUVIUM_WORKERS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
    /// Go on with what arrives, until it is stopped.
    #[arg(long)]
    watch: bool,
    /// How often to look for new objects, such as `500ms`, `5s` or `2m`.
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = humantime::parse_duration, requires = "watch")]
    interval: Duration,
    #[command(flatten)]
    cluster: ClusterArguments,
}

pub(super) fn run(cli: &Cli<'_>, arguments: &RunArguments) -> u8 {
    let workers = usize::from(arguments.workers);
    let cluster = match arguments.cluster.options() {
        Ok(cluster) => cluster,
        Err(code) => return code,
    };
    let runtime = match cli.runtime(workers) {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let stop = Stop::default();
    listen(&runtime, &stop);
    let watch = arguments.watch.then_some(arguments.interval);
    let options = RunOptions { workers, watch, cluster, ..RunOptions::default() };
    let code = go(cli, &arguments.spec, &runtime, &options, &stop);
    // After a fault a task may be at work that nobody waits for.
    runtime.shutdown_background();
    code
}

/// Compiles and runs; gives the exit code.
pub(super) fn go(
    cli: &Cli<'_>,
    spec: &SpecArguments,
    runtime: &tokio::runtime::Runtime,
    options: &RunOptions,
    stop: &Stop,
) -> u8 {
    loop {
        let plan = match cli.compile(&spec.spec, &spec.set, runtime.handle()) {
            Ok(plan) => plan,
            Err(code) => return code,
        };
        // Without a code a stage has found out something new, and the plan is another one.
        if let Some(code) = run_compiled(&plan, runtime, options, stop) {
            return code;
        }
    }
}

fn run_compiled(plan: &Arc<Plan>, runtime: &tokio::runtime::Runtime, options: &RunOptions, stop: &Stop) -> Option<u8> {
    let progress = Arc::new(Progress::new(plan));
    let mut terminal = Terminal::new(plan);
    let started = Instant::now();
    let ended = run_plan(plan, options, runtime, &progress, stop, || terminal.show(plan, &progress));
    terminal.end();
    match ended {
        Ok(ended) => {
            say(&summary(plan, &progress, started.elapsed(), &table_urls(plan)));
            Some(if ended == Ended::Drained { INTERRUPTED } else { DONE })
        }
        Err(fault) => {
            let recorded = fault.error.to_resolve().map(|r| runtime.block_on(resolve_anew(plan, &fault.stage, r)));
            if let Some(Ok(())) = recorded {
                if progress.epochs() > 0 {
                    say(&summary(plan, &progress, started.elapsed(), &table_urls(plan)));
                }
                say(&format!("{}: stage `{}`: {}\n", plan.pipeline, fault.stage, fault.error));
                return stop.is_asked().then_some(INTERRUPTED);
            }
            if let Some(Err(error)) = recorded {
                say_error(&format!("error: {}\n", error.text()));
            }
            let kept = match progress.completed() {
                0 => "no epoch was completed".to_owned(),
                epoch => format!("complete up to epoch {epoch}"),
            };
            say_error(&format!("error: {fault}\n  tables: {kept}; run again to go on from there\n"));
            Some(FAILED)
        }
    }
}

fn table_urls(plan: &Plan) -> BTreeMap<String, String> {
    let tables =
        plan.stages.iter().filter_map(|s| Some((s.name.clone(), secret::public_url(&s.outputs.table.as_ref()?.url))));
    tables.collect()
}

/// The first Ctrl-C drains, the second ends at once; both are safe.
pub(super) fn listen(runtime: &tokio::runtime::Runtime, stop: &Stop) {
    let stop = stop.clone();
    runtime.spawn(async move {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok();
        loop {
            let terminated = async {
                match terminate.as_mut() {
                    Some(signal) => signal.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                interrupted = tokio::signal::ctrl_c() => if interrupted.is_err() { return },
                _ = terminated => {}
            }
            if stop.is_asked() {
                say_error("stopped at once; the next run completes what was open\n");
                end_now();
            }
            stop.drain();
            say_error("finishing the open epochs; once more to stop at once\n");
        }
    });
}

#[expect(clippy::exit, reason = "a person has asked twice; bindings and commits make this safe at any moment")]
fn end_now() -> ! {
    std::process::exit(i32::from(INTERRUPTED))
}
