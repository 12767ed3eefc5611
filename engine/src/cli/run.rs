//! `run`: everything that is there is processed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::cluster::ClusterArguments;
use super::http::HttpArguments;
use super::{Cli, DONE, FAILED, INTERRUPTED, SpecArguments, say, say_error};
use crate::Epoch;
use crate::checkpoint::resolve_anew;
use crate::monitor::Watching;
use crate::plan::Plan;
use crate::progress::{EpochProgress, Progress, Terminal, summary};
use crate::runtime::{Ended, RunHandle, RunOptions, Stop, run as run_plan};

/// In a cluster whoever looks at a run that has failed is told of the end for so long: the others wait for this process.
const LONGEST_LAST_LOOK: Duration = Duration::from_millis(300);

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
    /// How progress is shown.
    #[arg(long, value_enum, default_value_t = Show::Text, value_name = "HOW")]
    progress: Show,
    #[command(flatten)]
    http: HttpArguments,
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
    let code = go(cli, &arguments.spec, &runtime, &options, &stop, arguments.progress, &arguments.http);
    // After a fault a task may be at work that nobody waits for. It ends with the process: cancelled before, it would take
    // along the thread that waits for it, which tells everybody.
    std::mem::forget(runtime);
    code
}

/// Compiles and runs; gives the exit code.
pub(super) fn go(
    cli: &Cli<'_>,
    spec: &SpecArguments,
    runtime: &tokio::runtime::Runtime,
    options: &RunOptions,
    stop: &Stop,
    show: Show,
    http: &HttpArguments,
) -> u8 {
    let mut shown: Option<(RunHandle, Option<Box<dyn Watching>>)> = None;
    let code = loop {
        let plan = match cli.compile(&spec.spec, &spec.set, runtime.handle()) {
            Ok(plan) => plan,
            Err(code) => break code,
        };
        let progress = Arc::new(Progress::new(&plan));
        let handle = match &shown {
            Some((handle, _)) => {
                handle.replace(progress);
                handle.clone()
            }
            None => {
                let handle = RunHandle::new(progress, stop.clone(), options.watch, cli.registry.tables.clone());
                let watching = match runtime.block_on(http.watch(cli, &handle, &spec.spec)) {
                    Ok(watching) => watching,
                    Err(code) => break code,
                };
                shown = Some((handle.clone(), watching));
                handle
            }
        };
        // Without a code a stage has found out something new, and the plan is another one.
        if let Some(code) = run_compiled(&plan, runtime, options, &handle, stop, show) {
            break code;
        }
    };
    if let Some((_, Some(watching))) = shown {
        let longest = if options.cluster.is_some() && code == FAILED { LONGEST_LAST_LOOK } else { Duration::MAX };
        // Who has not looked by then sees that the connection is closed.
        let _ = runtime.block_on(async { tokio::time::timeout(longest, watching.end()).await });
    }
    code
}

fn run_compiled(
    plan: &Arc<Plan>,
    runtime: &tokio::runtime::Runtime,
    options: &RunOptions,
    handle: &RunHandle,
    stop: &Stop,
    show: Show,
) -> Option<u8> {
    let mut shown = Shown::new(show, handle.progress());
    let started = Instant::now();
    let ended = run_plan(plan, options, runtime, handle, stop, |fault| match fault {
        None => {
            handle.tick();
            shown.show(handle);
        }
        // What is to be resolved is not what a person has to do something about.
        Some(fault) if fault.error.to_resolve().is_some() => {}
        Some(fault) => {
            shown.end();
            handle.ended(Some(fault));
            say_error(&format!("error: {fault}\n"));
        }
    });
    let told = shown.end();
    let done = || {
        if !told {
            say(&summary(&handle.status(), started.elapsed()));
        }
    };
    match ended {
        Ok(ended) => {
            handle.ended(None);
            done();
            Some(if ended == Ended::Drained { INTERRUPTED } else { DONE })
        }
        Err(fault) => {
            if let Some(resolved) = fault.error.to_resolve() {
                let Err(error) = runtime.block_on(resolve_anew(plan, &fault.stage, resolved)) else {
                    if handle.progress().epochs() > 0 {
                        done();
                    }
                    let text = format!("{}: stage `{}`: {}\n", plan.pipeline, fault.stage, fault.error);
                    if told {
                        say_error(&text)
                    } else {
                        say(&text)
                    }
                    return stop.is_asked().then_some(INTERRUPTED);
                };
                handle.ended(Some(&fault));
                say_error(&format!("error: {}\nerror: {fault}\n", error.text()));
            }
            let kept = match handle.progress().completed() {
                0 => "no epoch was completed".to_owned(),
                epoch => format!("complete up to epoch {epoch}"),
            };
            say_error(&format!("  tables: {kept}; run again to go on from there\n"));
            Some(FAILED)
        }
    }
}

/// How a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Show {
    /// For people: live on a terminal, a line now and then in a pipe.
    Text,
    /// One JSON object for each epoch on standard output, with the fields of Spark's StreamingQueryProgress.
    Json,
}

/// Shows a run while it goes on.
enum Shown {
    Text(Terminal),
    Json { progress: Arc<Progress>, last: Epoch },
}

impl Shown {
    fn new(show: Show, progress: Arc<Progress>) -> Self {
        match show {
            Show::Text => Self::Text(Terminal::new()),
            Show::Json => Self::Json { progress, last: 0 },
        }
    }

    fn show(&mut self, handle: &RunHandle) {
        match self {
            Self::Text(terminal) => terminal.show(|| handle.status()),
            Self::Json { progress, last } => tell(&progress.told_after(*last), last),
        }
    }

    /// Says the rest, and whether that is everything there is to say.
    fn end(&mut self) -> bool {
        match self {
            Self::Text(terminal) => {
                terminal.end();
                false
            }
            Self::Json { progress, last } => {
                let rest: Vec<_> = progress.recent().into_iter().filter(|e| e.batch_id > *last).collect();
                tell(&rest, last);
                true
            }
        }
    }
}

fn tell(epochs: &[EpochProgress], last: &mut Epoch) {
    for epoch in epochs {
        *last = epoch.batch_id;
        match serde_json::to_string(epoch) {
            Ok(json) => say(&format!("{json}\n")),
            Err(error) => say_error(&format!("error: epoch {last} cannot be told: {error}\n")),
        }
    }
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
pub(crate) fn end_now() -> ! {
    std::process::exit(i32::from(INTERRUPTED))
}
