//! Which columns are read: those that are listed, or those that were found in the objects before the first run.

use std::collections::HashMap;

use alluvium_engine::spec::{ColumnType, Columns, Problem, type_name};
use alluvium_engine::stage::{ResolveContext, Resolved, StageError};
use indexmap::IndexMap;
use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Serialize};

use crate::config::Files;
use crate::infer::{self, Choice};
use crate::list::Wanted;
use crate::policy::Evolution;

/// What the spec says of the columns.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    /// Find them out.
    Infer,
    /// These.
    Listed(Columns),
}

impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Asked;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a mapping of column names to types, or `infer`")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Asked, E> {
                if text == "infer" { Ok(Asked::Infer) } else { Err(E::unknown_variant(text, &["infer"])) }
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Asked, A::Error> {
                Columns::deserialize(MapAccessDeserializer::new(map)).map(Asked::Listed)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl schemars::JsonSchema for Asked {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ColumnsOrInfer".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let listed = generator.subschema_for::<Columns>();
        schemars::json_schema!({ "anyOf": [listed, { "enum": ["infer"] }] })
    }
}

/// Columns that were found out, as they are recorded.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) columns: IndexMap<String, ColumnType>,
    /// Those that have come since the first run.
    pub(crate) added: Vec<String>,
    #[serde(skip)]
    generation: u64,
}

impl Found {
    /// The form in which it is recorded.
    ///
    /// # Errors
    /// Never: names and words can be written.
    pub(crate) fn record(&self) -> Result<Resolved, serde_json::Error> {
        Ok(Resolved { generation: self.generation, value: serde_json::to_value(self)? })
    }

    /// With columns that have come.
    pub(crate) fn and(&self, new: impl IntoIterator<Item = (String, ColumnType)>) -> Self {
        let mut next = Self { generation: self.generation + 1, ..self.clone() };
        for (name, of) in new {
            next.added.push(name.clone());
            next.columns.insert(name, of);
        }
        next
    }
}

/// The columns of a stage that does not list them: as recorded, or as they are found now.
pub(crate) fn resolve(config: &Files, context: &ResolveContext) -> Result<Found, Vec<Problem>> {
    let problem = |what: &str, error: StageError| {
        let text = error.text().replace("\n  ", "; ");
        vec![Problem::field("schema", format!("{what}: {text}")).label("cannot be resolved")]
    };
    let recorded = context.recorded().map_err(|e| problem("the recorded columns cannot be read", e))?;
    if let Some(Resolved { generation, value }) = recorded {
        let found: Found = serde_json::from_value(value).map_err(|e| {
            let error = StageError::user("they were changed by hand, or written by another version of alluvium");
            problem("the recorded columns cannot be understood", error.because(e))
        })?;
        return hinted(config, Found { generation, ..found });
    }
    let location = context.storage.open(&config.url).map_err(|e| problem("`url:` cannot be opened", e))?;
    // What is wrong with a pattern is said by `check`.
    let Ok(wanted) = Wanted::new(config) else { return Ok(Found::default()) };
    let seen = context.runtime.block_on(infer::sample(config, &location, &wanted, Choice::First));
    let seen = seen.map_err(|e| problem("the columns cannot be inferred", e))?;
    let mut columns: IndexMap<String, ColumnType> =
        seen.into_iter().map(|(name, of)| (name, of.unwrap_or(ColumnType::String))).collect();
    columns.retain(|name, _| !config.takes(name) && !name.is_empty());
    if columns.is_empty() {
        let message = "there is no object with a row from which columns could be inferred";
        return Err(vec![
            Problem::field("schema", message)
                .label("nothing to infer from")
                .help("put objects at `url:` first, look at `include:` and `exclude:`, or list the columns: `schema: { id: bigint }`"),
        ]);
    }
    columns.extend(config.hints.0.iter().cloned());
    if columns.len() > infer::MOST_COLUMNS {
        return Err(vec![
            Problem::field(
                "schema",
                format!("the objects have {} columns, more than {}", columns.len(), infer::MOST_COLUMNS),
            )
            .label("too many")
            .help("if names of fields are data, such as user ids, list the columns that are wanted"),
        ]);
    }
    let found = Found { columns, added: Vec::new(), generation: 1 };
    let given = Files { found: Some(found.clone()), ..config.clone() }.full_schema();
    match twins(given.fields().iter().map(|f| f.name().as_str())) {
        None => Ok(found),
        Some((one, other)) => Err(vec![
            Problem::field(
                "schema",
                format!("the columns `{one}` and `{other}` differ in case only, and a table cannot hold both"),
            )
            .label("gives both")
            .help("list the columns that are wanted"),
        ]),
    }
}

/// Two names that are one to a table.
pub(crate) fn twins<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<(String, String)> {
    let mut seen = HashMap::new();
    let twin = |name: &'a str| Some((seen.insert(name.to_lowercase(), name)?.to_owned(), name.to_owned()));
    names.into_iter().find_map(twin)
}

/// Hints cannot change what is recorded, but may tell of columns that are still to come.
fn hinted(config: &Files, found: Found) -> Result<Found, Vec<Problem>> {
    let (mut problems, mut new) = (Vec::new(), Vec::new());
    for (name, of) in &config.hints.0 {
        let at = |message| Problem::field(&format!("hints.{name}"), message);
        match found.columns.get(name) {
            Some(recorded) if recorded == of => {}
            Some(recorded) => problems.push(
                at(format!("`{name}` was recorded as {} by the first run", type_name(&recorded.arrow())))
                    .label("comes too late")
                    .help("put the hint back as it was and CAST the column in a `sql` stage; or start anew, with a new `state:` and new tables"),
            ),
            None if config.evolution() == Evolution::Add => new.push((name.clone(), *of)),
            None => problems.push(
                at(format!("the columns were recorded by the first run, without `{name}`"))
                    .label("comes too late")
                    .help("set `evolution: add`, remove the hint, or start anew with a new `state:` and new tables"),
            ),
        }
    }
    match (problems.is_empty(), new.is_empty()) {
        (false, _) => Err(problems),
        (true, true) => Ok(found),
        (true, false) => Ok(found.and(new)),
    }
}
