//! What a refresh would do, and whether it can: looked at before anything is changed.

use std::fmt::Write;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;

use super::known::{Known, Mark, OfSource, known};
use super::refresh::{Refresh, interrupted, require_replayable};
use super::{Completion, Records, StateLog, store};
use crate::plan::Plan;
use crate::progress::grouped;
use crate::secret::public_url;
use crate::stage::{Source, StageError};
use crate::tables::Tables;

/// What a refresh would clear, with what an interrupted one has begun, and the same in words.
///
/// # Errors
/// What was read once is not there any more, so that it cannot be computed again; a table is not this pipeline's; the
/// state cannot be read.
pub(crate) async fn look(
    plan: &Plan,
    tables: &dyn Tables,
    records: &Records,
    asked: Refresh,
) -> Result<(Refresh, String), StageError> {
    let begun = interrupted(records).await?;
    let completed = store::newest_completion(records).await?;
    let mut text = format!("{}: ", plan.pipeline);
    let refresh = match &begun {
        Some(begun) => {
            text.push_str("a refresh that was interrupted is finished; ");
            asked.with(plan, begun.clone())?
        }
        None => asked,
    };
    if !refresh.full {
        require_replayable(records).await?;
        require_same_state(plan, records, completed.as_ref(), &refresh)?;
    }
    let known = known(plan).await?;
    if !refresh.full {
        require_sources(plan, &known).await?;
    }
    let objects: u64 = known.sources().map(|(_, source)| source.len()).sum();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{}",
        match refresh.full {
            true =>
                format!("everything is forgotten, and what is there now is read: {} objects were", grouped(objects)),
            false => format!(
                "the same epochs are computed again, from the same {} objects, and {}",
                grouped(objects),
                kept(plan, &refresh)
            ),
        }
    );
    let width = refresh.tables.keys().map(String::len).max().unwrap_or(0);
    for (stage, url) in &refresh.tables {
        let there = begun.as_ref().is_some_and(|b| b.tables.contains_key(stage));
        let known = there || completed.as_ref().is_some_and(|c| c.tables.contains_key(stage));
        let what = match size(plan, tables, stage, known).await {
            Ok(Some((version, rows))) => format!("deleted: version {version}, {} rows", grouped(rows)),
            Ok(None) => "not there".to_owned(),
            Err(_) if there => "deleted in part".to_owned(),
            Err(error) => return Err(error),
        };
        let _ = writeln!(text, "  table {stage:<width$}  {what}  {url}");
    }
    let states: Vec<&str> = plan.stages.iter().filter(|s| s.outputs.state.is_some()).map(|s| s.name.as_str()).collect();
    if !states.is_empty() {
        let _ = writeln!(text, "  state of {}  deleted", states.join(", "));
    }
    if refresh.full {
        let _ = writeln!(text, "  ledger, bindings, and what stages have resolved  deleted");
    }
    Ok((refresh, text))
}

/// The tables that are not touched.
fn kept(plan: &Plan, refresh: &Refresh) -> String {
    let kept = plan.stages.iter().filter(|s| s.outputs.table.is_some() && !refresh.has(&s.name));
    let kept: Vec<&str> = kept.map(|s| s.name.as_str()).collect();
    if kept.is_empty() { "no table is kept".to_owned() } else { format!("these tables are kept: {}", kept.join(", ")) }
}

/// Version and rows of a table; nothing if it is not there.
async fn size(plan: &Plan, tables: &dyn Tables, stage: &str, known: bool) -> Result<Option<(u64, u64)>, StageError> {
    let Some(of) = plan.stage(stage).and_then(|s| s.outputs.table.as_ref()) else { return Ok(None) };
    let table = tables.table(&plan.storage, &of.url)?;
    let Some(mut counted) = table.read(None, "SELECT count(*) AS n FROM input").await? else { return Ok(None) };
    let mut rows = 0;
    while let Some(batch) = counted.batches.try_next().await? {
        let counts = batch.columns().first().and_then(|c| c.as_primitive_opt::<Int64Type>());
        rows += counts.into_iter().flatten().flatten().sum::<i64>();
    }
    if rows > 0 && !known && table.held(&plan.pipeline, stage).try_next().await?.is_none() {
        return Err(StageError::user(format!("the table of stage `{stage}` holds no epoch of this pipeline"))
            .object(public_url(&of.url))
            .hint("it was written by others, and is not deleted; look at `table:` and at `pipeline:`"));
    }
    Ok(Some((counted.version, u64::try_from(rows).unwrap_or(0))))
}

/// The state of stages whose tables are kept is computed again, too, and must come out as it was.
fn require_same_state(
    plan: &Plan,
    records: &Records,
    completed: Option<&Completion>,
    refresh: &Refresh,
) -> Result<(), StageError> {
    let Some(completed) = completed else { return Ok(()) };
    for stage in plan.stages.iter().filter(|s| !refresh.has(&s.name)) {
        let (Some(schema), Some(manifest)) = (&stage.outputs.state, completed.state.get(&stage.name)) else { continue };
        let log = StateLog::new(&stage.name, schema.clone(), records.location());
        if log.verify(manifest).is_err() {
            let name = &stage.name;
            return Err(StageError::user(format!("stage `{name}` has changed since its state was written"))
                .hint(format!("refresh it as well: `--stage {name}`; or undo the change")));
        }
    }
    Ok(())
}

/// Everything that was read is there as it was.
async fn require_sources(plan: &Plan, known: &Known) -> Result<(), StageError> {
    let sources = plan.sources()?;
    for (name, of) in known.sources().filter(|(_, of)| of.len() > 0) {
        let Some((_, source)) = sources.iter().find(|(source, _)| source == name) else {
            return Err(lost(format!(
                "source `{name}` is not in the spec any more, and has read {} objects",
                of.len()
            )));
        };
        // Its history is not listed again: what cannot be read any more is found when it is read.
        if !source.is_ordered() {
            require_source(name, source.as_ref(), known, of).await?;
        }
    }
    Ok(())
}

async fn require_source(name: &str, source: &dyn Source, known: &Known, of: &OfSource) -> Result<(), StageError> {
    let (mut there, mut changed, mut example) = (0, of.replaced, None);
    let mut splits = source.list(None);
    while let Some(split) = splits.try_next().await? {
        match known.look(name, &split) {
            Mark::New => {}
            Mark::Bound(_) => there += 1,
            Mark::Changed => {
                there += 1;
                changed += 1;
                example.get_or_insert(split.id);
            }
        }
    }
    let gone = of.len().saturating_sub(there);
    if gone == 0 && changed == 0 {
        return Ok(());
    }
    let error = lost(format!(
        "of {} objects that source `{name}` has read, {} are not there any more and {} were written again",
        grouped(of.len()),
        grouped(gone),
        grouped(changed)
    ));
    Err(match example {
        Some(example) => error.object(example),
        None => error,
    })
}

fn lost(what: String) -> StageError {
    StageError::user(format!("{what}: their rows cannot be computed again"))
        .hint("put them back; or compute all tables from what is there now, with `--full`")
}
