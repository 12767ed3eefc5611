//! `doctor`: tries what a run would need, and says of each thing that it is well or what to do.

use std::fmt::Write;
use std::sync::Arc;

use clap::Args;

use super::cluster::ClusterArguments;
use super::{Cli, DONE, FAILED, SpecArguments, say};
use crate::checkpoint;
use crate::plan::Plan;
use crate::stage::ResolveContext;
use crate::storage::Finding;

#[derive(Args)]
pub(super) struct DoctorArguments {
    #[command(flatten)]
    spec: SpecArguments,
    #[command(flatten)]
    cluster: ClusterArguments,
}

pub(super) fn doctor(cli: &Cli<'_>, arguments: &DoctorArguments) -> u8 {
    let compiled = arguments.cluster.options().and_then(|cluster| {
        let runtime = cli.runtime(2)?;
        let plan = cli.compile(&arguments.spec.spec, &arguments.spec.set, runtime.handle())?;
        Ok((runtime, plan, cluster))
    });
    let (runtime, plan, cluster) = match compiled {
        Ok(compiled) => compiled,
        Err(code) => return code,
    };
    let mut findings = examine(cli, &plan, &runtime);
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
        0 => format!("{}: a run would find what it needs", plan.pipeline),
        1 => "1 thing is wrong".to_owned(),
        n => format!("{n} things are wrong"),
    };
    say(&format!("{text}{verdict}\n"));
    if wrong == 0 { DONE } else { FAILED }
}

fn examine(cli: &Cli<'_>, plan: &Arc<Plan>, runtime: &tokio::runtime::Runtime) -> Vec<Finding> {
    // The spec was compiled, and compiling opens models and whatever else stages must know beforehand.
    let mut found = vec![Finding::good("spec", format!("{} stages, plan {}", plan.stages.len(), plan.hash))];
    let storage = plan.storage.impatient();
    found.extend(runtime.block_on(checkpoint::examine(plan, &storage)));
    let context = ResolveContext {
        storage,
        runtime: runtime.handle().clone(),
        stage: String::new(),
        tables: cli.registry.tables.clone(),
        state: Some(plan.state.clone()),
    };
    for stage in &plan.stages {
        let mut of_stage = stage.settings.0.examine(&context);
        of_stage.iter_mut().for_each(|f| f.what = format!("{} {}", stage.name, f.what).trim_end().to_owned());
        found.extend(of_stage);
    }
    found
}
