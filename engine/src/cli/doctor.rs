//! `doctor`: tries what a run would need, and says of each thing that it is well or what to do.

use std::fmt::Write;

use clap::Args;

use super::cluster::ClusterArguments;
use super::http::HttpArguments;
use super::{Cli, DONE, FAILED, SpecArguments, say};
use crate::checkpoint;
use crate::plan::Attempt;
use crate::spec::Problem;
use crate::stage::ResolveContext;
use crate::storage::Finding;

#[derive(Args)]
pub(super) struct DoctorArguments {
    #[command(flatten)]
    spec: SpecArguments,
    #[command(flatten)]
    http: HttpArguments,
    #[command(flatten)]
    cluster: ClusterArguments,
}

pub(super) fn doctor(cli: &Cli<'_>, arguments: &DoctorArguments) -> u8 {
    let compiled = arguments.cluster.options().and_then(|cluster| {
        let runtime = cli.runtime(2)?;
        let attempt = cli.attempt(&arguments.spec, runtime.handle())?;
        Ok((runtime, attempt, cluster))
    });
    let (runtime, attempt, cluster) = match compiled {
        Ok(compiled) => compiled,
        Err(code) => return code,
    };
    let mut findings = examine(cli, &attempt, &runtime);
    findings.extend(runtime.block_on(arguments.http.examine(cli)));
    if let Some(cluster) = cluster {
        findings.extend(runtime.block_on(cluster.examine()));
    }
    let width = findings.iter().map(|f| f.what.len()).max().unwrap_or(0);
    let mut text = String::new();
    for finding in &findings {
        let (mark, said) = match &finding.outcome {
            Ok(so) => ("ok  ", so),
            Err(wrong) => ("FAIL", wrong),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{mark}  {:<width$}  {said}", finding.what);
    }
    let wrong = findings.iter().filter(|f| f.outcome.is_err()).count();
    let verdict = match wrong {
        0 => format!("{}: a run would find what it needs", attempt.plan.pipeline),
        1 => "1 thing is wrong".to_owned(),
        n => format!("{n} things are wrong"),
    };
    say(&format!("{text}{verdict}\n"));
    if wrong == 0 { DONE } else { FAILED }
}

fn examine(cli: &Cli<'_>, attempt: &Attempt, runtime: &tokio::runtime::Runtime) -> Vec<Finding> {
    let Attempt { plan, unresolved, unchecked } = attempt;
    // Compiling opens models and whatever else stages must know beforehand.
    let mut found = if unresolved.is_empty() {
        vec![Finding::good("spec", format!("{} stages, plan {}", plan.stages.len(), plan.hash))]
    } else {
        unresolved.iter().map(|(stage, problem)| Finding::bad(stage, told(problem))).collect()
    };
    let storage = plan.storage.impatient();
    found.extend(runtime.block_on(checkpoint::examine(plan, &storage)));
    let context = ResolveContext {
        storage,
        runtime: runtime.handle().clone(),
        stage: String::new(),
        tables: cli.registry.tables.clone(),
        state: Some(plan.state.clone()),
    };
    let planned = plan.stages.iter().map(|stage| (&stage.name, &stage.settings));
    for (stage, settings) in planned.chain(unchecked.iter().map(|(stage, settings)| (stage, settings))) {
        let mut of_stage = settings.0.examine(&context);
        of_stage.iter_mut().for_each(|f| f.what = format!("{stage} {}", f.what).trim_end().to_owned());
        found.extend(of_stage);
    }
    found
}

/// What is wrong and what to do, in one line.
fn told(problem: &Problem) -> String {
    let place = problem.path.first().map(|field| format!("{field}: ")).unwrap_or_default();
    let help = problem.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
    format!("{place}{}{help}", problem.message)
}
