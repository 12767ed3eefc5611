//! The baseline: read once, cut into bins, and recorded.

use std::sync::Arc;

use alluvium_engine::arrow::datatypes::SchemaRef;
use alluvium_engine::secret::public_url;
use alluvium_engine::spec::{Problem, type_name};
use alluvium_engine::stage::{DIFF, Domain, ResolveContext, Resolved, StageError};
use alluvium_engine::tables::{Rows, Tables};
use alluvium_sql::{Query, quote};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::Drift;
use super::bins::{Bins, Measured, Values};
use crate::aggregate::expression;

/// A baseline in bins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Baseline {
    /// What the spec said when it was read: with another definition another baseline is read.
    definition: Json,
    /// Of the table.
    pub(super) version: u64,
    pub(super) rows: i64,
    /// In the order of the spec.
    pub(super) columns: Vec<Binned>,
}

/// A column of the baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Binned {
    pub(super) name: String,
    pub(super) bins: Bins,
    /// Rows of each bin, those with NULL last.
    pub(super) counts: Vec<i64>,
}

/// What is recorded: a baseline for each definition that the spec has had, so that a spec that is changed back finds its own.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Record {
    baselines: Vec<Baseline>,
}

/// The baseline of a stage, and the record that it is in.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) baseline: Baseline,
    pub(super) record: Resolved,
}

fn problem(path: &str, message: impl Into<String>) -> Problem {
    Problem::field(path, message).label("cannot be read").help("a baseline is a Delta table that this process can read")
}

/// A problem without an own way out gets this one.
fn failed(path: &str, error: &StageError) -> Problem {
    problem(path, error.text().replace("\n  ", "; "))
}

/// The recorded baseline; before the first run with this definition, the table as it is.
pub(super) fn find(config: &Drift, context: &ResolveContext) -> Result<Found, Vec<Problem>> {
    let one = |p: Problem| vec![p];
    context.openable("baseline.table", &config.baseline.table)?;
    let before = context.recorded().map_err(|e| one(failed("baseline", &e)))?;
    let (generation, mut record) = match before {
        None => (0, Record::default()),
        Some(Resolved { generation, value }) => (
            generation,
            serde_json::from_value(value).map_err(|e| {
                let text = "what the first run has recorded of the baseline cannot be understood";
                one(problem("baseline", format!("{text}: {e}; was it changed by hand?")))
            })?,
        ),
    };
    let definition = json!({
        "table": public_url(&config.baseline.table), "version": config.baseline.version,
        "where": config.baseline.filter, "columns": config.columns.iter().collect::<Vec<_>>(),
    });
    let known = record.baselines.iter().find(|b| b.definition == definition).cloned();
    let (generation, baseline) = match known {
        Some(baseline) => (generation, baseline),
        None => {
            let baseline = Baseline { definition, ..read(config, context)? };
            record.baselines.push(baseline.clone());
            (generation + 1, baseline)
        }
    };
    let value = serde_json::to_value(&record).map_err(|e| one(problem("baseline", e.to_string())))?;
    Ok(Found { baseline, record: Resolved { generation, value } })
}

/// Reads the table.
fn read(config: &Drift, context: &ResolveContext) -> Result<Baseline, Vec<Problem>> {
    let one = |p: Problem| vec![p];
    let wanted = &config.baseline;
    let tables = context.tables.clone();
    let tables: Arc<dyn Tables> =
        tables.ok_or_else(|| one(problem("baseline", "this program brings nothing that reads tables")))?;
    let opened = tables.table(&context.storage, &wanted.table).map_err(|e| one(failed("baseline.table", &e)))?;
    let ask = |version: Option<u64>, query: &str| {
        context.runtime.block_on(opened.read(version, query)).map_err(|e| match e.domain() {
            Domain::User if wanted.version.is_some() => one(failed("baseline.version", &e).label("not there")),
            _ => one(failed("baseline.table", &e)),
        })
    };
    let Some(table) = ask(wanted.version, "SELECT * FROM input LIMIT 0")? else {
        let message = format!("there is no table at {}", public_url(&wanted.table));
        return Err(vec![Problem::field("baseline.table", message).label("no table").help(
            "the baseline is a Delta table that is there before the first run: have it written first, by another \
             pipeline for example, or look at the place",
        )]);
    };
    let measured = measured(config, &table.schema)?;
    let parts = config.columns.values().zip(&measured).enumerate();
    let parts: Vec<String> = parts.map(|(at, (text, m))| format!("{} AS _c{at}", m.cast(text))).collect();
    let condition = wanted.filter.as_ref().map(|f| format!(" WHERE {f}")).unwrap_or_default();
    let sql = format!("SELECT {} FROM input{condition}", parts.join(", "));
    let plan = |schema: &SchemaRef| Query::plan(&sql, schema).map_err(|r| one(r.problem("columns")));
    // Only the columns that matter are read, and one if none does: rows are counted.
    let mut needed = plan(&table.schema)?.reads();
    if needed.is_empty() {
        needed.extend(table.schema.fields().first().map(|f| f.name().clone()));
    }
    let needed: Vec<String> = needed.iter().map(|name| quote(name)).collect();
    let select = format!("SELECT {} FROM input", needed.join(", "));
    let Some(rows) = ask(Some(table.version), &select)? else {
        return Err(one(problem("baseline.table", "the table has gone while it was read")));
    };
    let mut query = plan(&rows.schema)?;
    let (count, values) =
        context.runtime.block_on(gather(&mut query, rows, &measured)).map_err(|e| one(failed("baseline", &e)))?;
    if count == 0 {
        let message = format!("the baseline has no rows in version {} of the table", table.version);
        let help = "compare with another version, or with other rows: see `version` and `where`";
        return Err(one(Problem::field("baseline", message).label("no rows").help(help)));
    }
    let columns = config.columns.keys().zip(values).map(|(name, values)| {
        let (bins, counts) = values.binned(count);
        Binned { name: name.clone(), bins, counts }
    });
    let columns = columns.collect();
    Ok(Baseline { definition: Json::Null, version: table.version, rows: count, columns })
}

/// As what each column is compared, judged by the baseline.
fn measured(config: &Drift, schema: &SchemaRef) -> Result<Vec<Measured>, Vec<Problem>> {
    if schema.index_of(DIFF).is_ok() {
        let message = format!("the table has a column `{DIFF}`: it is a log of changes");
        return Err(vec![Problem::field("baseline.table", message).label("cannot be a baseline").help(
            "let the stage that writes it keep a table of what holds as well (`mode: upsert`), and compare with that one",
        )]);
    }
    let of_baseline = |p: Problem| Problem { message: format!("in the baseline: {}", p.message), ..p };
    let mut problems = Vec::new();
    let mut measured = Vec::new();
    for (name, text) in &config.columns {
        match of(text, schema, &format!("columns.{name}")) {
            Ok((_, m)) => measured.push(m),
            Err(p) => problems.push(of_baseline(p)),
        }
    }
    let filter = config.baseline.filter.as_ref();
    problems.extend(filter.and_then(|f| expression(f, schema, "baseline.where", true).err()).map(of_baseline));
    if problems.is_empty() { Ok(measured) } else { Err(problems) }
}

/// The type of an expression in the words of specs, and as what it is compared.
pub(super) fn of(text: &str, schema: &SchemaRef, path: &str) -> Result<(String, Measured), Problem> {
    let found = expression(text, schema, path, false).map_err(|p| match &p.help {
        Some(_) => p,
        None => p.help("an expression of one row, as `kind: sql` has them"),
    })?;
    match Measured::of(&found) {
        Some(measured) => Ok((type_name(&found), measured)),
        None => Err(Problem::field(path, format!("a value of type {} is neither text nor number", type_name(&found)))
            .label("not comparable")
            .help("compare something of it: a length, a part of a date, or CAST it to text")),
    }
}

/// All rows, and the values of each column.
async fn gather(query: &mut Query, mut rows: Rows, measured: &[Measured]) -> Result<(i64, Vec<Values>), StageError> {
    let mut values: Vec<Values> = measured.iter().map(|m| Values::new(*m)).collect();
    let mut count = 0_i64;
    while let Some(batch) = rows.batches.next().await {
        let answer = query
            .run(batch?)
            .map_err(|e| StageError::user("an expression fails for a row of the baseline").because(e))?;
        for batch in answer {
            count += i64::try_from(batch.num_rows()).unwrap_or(i64::MAX);
            values.iter_mut().zip(batch.columns()).for_each(|(values, column)| values.add(column));
        }
    }
    Ok((count, values))
}
