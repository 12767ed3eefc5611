//! `history`: what every epoch has read and written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, Utc};
use clap::Args;

use super::{Cli, FAILED, Format, SpecArguments, say_error, show_rows};
use crate::checkpoint::{self, PastEpoch, PastSource};
use crate::plan::Plan;
use crate::stage::{Role, StageError};

#[derive(Args)]
pub(super) struct HistoryArguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// So many epochs, the newest ones.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// How rows are shown.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(super) fn history(cli: &Cli<'_>, arguments: &HistoryArguments) -> u8 {
    let compiled = cli.runtime(2).and_then(|runtime| {
        let plan = cli.compile(&arguments.spec.spec, &arguments.spec.set, runtime.handle())?;
        Ok((runtime, plan))
    });
    let (runtime, plan) = match compiled {
        Ok(compiled) => compiled,
        Err(code) => return code,
    };
    let rows = cli.tables().and_then(|tables| {
        let epochs = runtime.block_on(checkpoint::epochs(&plan, tables, arguments.limit))?;
        rows(&plan, &epochs).map_err(|e| StageError::internal("the epochs cannot be shown").because(e))
    });
    match rows {
        Ok(rows) => show_rows(&[rows], arguments.format),
        Err(error) => {
            say_error(&format!("error: {}\n", error.text()));
            FAILED
        }
    }
}

/// One row per epoch. What there are several of has a column each: `SOURCE.objects`, `TABLE.version`.
fn rows(plan: &Plan, epochs: &[PastEpoch]) -> Result<RecordBatch, ArrowError> {
    let of = |f: &dyn Fn(&PastEpoch) -> Option<u64>| -> ArrayRef {
        let numbers = epochs.iter().map(|e| f(e).map(|n| i64::try_from(n).unwrap_or(i64::MAX)));
        Arc::new(numbers.collect::<Int64Array>())
    };
    let time = |f: &dyn Fn(&PastEpoch) -> Option<DateTime<Utc>>| -> ArrayRef {
        let micros = epochs.iter().map(|e| f(e).map(|t| t.timestamp_micros()));
        Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("epoch".into(), of(&|e| Some(e.epoch))),
        ("bound".into(), time(&|e| e.bound)),
        ("committed".into(), time(&|e| e.committed)),
    ];
    let planned = plan.stages.iter().filter(|s| s.role == Role::Source).map(|s| s.name.as_str());
    let sources: BTreeSet<&str> =
        planned.chain(epochs.iter().flat_map(|e| e.sources.keys().map(String::as_str))).collect();
    for source in sources {
        let read = |f: &dyn Fn(&PastSource) -> Option<u64>| of(&|e: &PastEpoch| f(e.sources.get(source)?));
        columns.push((format!("{source}.objects"), read(&|s| Some(s.objects))));
        columns.push((format!("{source}.bytes"), read(&|s| Some(s.bytes))));
        columns.push((format!("{source}.rows"), read(&|s| s.rows)));
    }
    for stage in plan.stages.iter().filter(|s| s.outputs.table.is_some()) {
        columns.push((format!("{}.version", stage.name), of(&|e| e.tables.get(&stage.name).copied())));
    }
    let plans: StringArray = epochs.iter().map(|e| e.plan.as_deref()).collect();
    columns.push(("plan".into(), Arc::new(plans)));
    let lineage: StringArray = epochs.iter().map(|e| facts(&e.lineage)).collect();
    columns.push(("lineage".into(), Arc::new(lineage)));
    let fields = columns.iter().map(|(name, column)| Field::new(name, column.data_type().clone(), true));
    let schema = Schema::new(fields.collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, column)| column).collect())
}

/// As one text, nothing if there are none.
fn facts(lineage: &BTreeMap<String, String>) -> Option<String> {
    let facts: Vec<String> = lineage.iter().map(|(name, value)| format!("{name}={value}")).collect();
    (!facts.is_empty()).then(|| facts.join(" "))
}
