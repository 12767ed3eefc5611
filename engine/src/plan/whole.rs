//! What can only be judged when all stages are known.

use std::collections::BTreeMap;

use super::PlannedStage;
use crate::spec::{Problem, Spec, StageSpec};
use crate::stage::{Input, Role};
use crate::storage::absolute;

/// Rows that are changes, for a kind that would take each of them for one more row.
pub(super) fn unfit_changes(stage: &StageSpec, kind: &str, inputs: &[Input]) -> Option<Problem> {
    let at = inputs.iter().position(|i| i.changes.is_some())?;
    let reference = stage.inputs.get(at)?;
    let problem = Problem::new(format!(
        "`{}` gives changes, rows that come and go, and kind `{kind}` knows only rows that come",
        reference.stage
    ));
    Some(
        problem
            .at(reference.span.clone())
            .label("gives changes")
            .help("put this stage before the one that gives changes, or use a kind that takes them, such as `sql`"),
    )
}

/// Two stages must not write one table, and none must read what another one writes: it would never come to an end.
pub(super) fn tables(spec: &Spec, done: &BTreeMap<usize, PlannedStage>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (&index, stage) in done {
        let Some(table) = &stage.outputs.table else { continue };
        let url = place(&table.url);
        let Some(&first) = seen.get(&url) else {
            seen.insert(url, index);
            continue;
        };
        let (first, second) = (&spec.stages[first], &spec.stages[index]);
        let path = ["table".to_owned()];
        problems.push(
            Problem::new(format!("`{}` and `{}` write the same table", first.name.name, second.name.name))
                .at(second.node.locate(&path, false))
                .label("second writer")
                .also(first.node.locate(&path, false), "first writer")
                .help(
                    "give each stage a table of its own; to merge rows, list both inputs on one stage: `input: [a, b]`",
                ),
        );
    }
    for (&index, stage) in done {
        let written = stage.outputs.reads.as_ref().and_then(|url| seen.get(&place(url)));
        let Some(&writer) = written else { continue };
        let (reader, writer) = (&spec.stages[index], &spec.stages[writer]);
        let path = ["table".to_owned()];
        problems.push(
            Problem::new(format!("`{}` reads the table that `{}` writes", reader.name.name, writer.name.name))
                .at(reader.node.locate(&path, false))
                .label("reader")
                .also(writer.node.locate(&path, false), "writer")
                .help(format!("remove `{}` and read from the stage that writes: `input: {}`; or read the table in a pipeline of its own", reader.name.name, writer.name.name)),
        );
    }
    problems
}

/// A table's URL in one spelling.
fn place(url: &str) -> String {
    absolute(url).map_or_else(|_| url.to_owned(), |u| u.to_string()).trim_end_matches('/').to_owned()
}

/// Rows that would silently go nowhere.
pub(super) fn loose_ends(spec: &Spec, done: &BTreeMap<usize, PlannedStage>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (&index, stage) in done {
        let written = &spec.stages[index];
        let read = |rejects: bool| {
            spec.stages.iter().flat_map(|s| &s.inputs).any(|i| i.stage == stage.name && i.rejects == rejects)
        };
        if stage.outputs.rejects && !read(true) {
            problems.push(
                Problem::new(format!("rows that `{}` rejects go nowhere", stage.name))
                    .at(written.node.locate(&["on_bad_row".into()], false))
                    .label("rejects rows")
                    .help(format!("add a table for them: `quarantine: {{ kind: delta, input: {}.rejects, table: … }}`, or let bad rows `fail` or `drop`", stage.name)),
            );
        }
        if stage.role != Role::Sink && !read(false) {
            problems.push(
                Problem::new(format!("the rows of `{}` go nowhere", stage.name))
                    .at(written.name.span.clone())
                    .label("nothing reads from this stage")
                    .help(format!(
                        "let a stage read from it (`input: {}`), send it to a `blackhole`, or remove it",
                        stage.name
                    )),
            );
        }
    }
    problems
}
