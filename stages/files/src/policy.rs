//! What is done with columns that the schema lacks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use alluvium_engine::arrow::datatypes::{DataType, SchemaRef};
use alluvium_engine::spec::{ColumnType, type_name};
use alluvium_engine::stage::StageError;
use alluvium_engine::storage::Location;
use indexmap::IndexMap;

use crate::config::Files;
use crate::fields::is_nested;
use crate::infer::{self, Choice, MOST_COLUMNS, Seen, see};
use crate::list::Wanted;
use crate::reason::fits;
use crate::schema::twins;

/// What is done with columns of the objects that the schema lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Evolution {
    /// The run stops and names the object and the columns.
    Fail,
    /// Only with `schema: infer`: they are recorded, the run starts again by itself with them, and tables get them; in
    /// rows of earlier epochs they are NULL. Types of known columns stay as they are.
    Add,
    /// They go into the column `rescue_column` as JSON, like values that do not fit their type, which are NULL in their own
    /// column then instead of making a bad row; `_file_path` in it is the object's URL. It is NULL where everything fits.
    Rescue,
    /// They are left out.
    Ignore,
}

/// The policy for one object.
pub(crate) struct Policy {
    pub(crate) evolution: Evolution,
    config: Files,
    schema: SchemaRef,
    places: HashMap<String, usize>,
    /// Columns that the object has and that are to be added.
    come: Mutex<Seen>,
}

/// What becomes of a field.
pub(crate) enum Verdict {
    /// It is read as it is.
    Keep,
    /// It is nested, and is read as its text.
    Text,
    /// Nobody misses it.
    Leave,
    /// It does not fit its column, and is rescued.
    Rescue,
    /// The schema lacks it.
    Unknown,
}

impl Policy {
    /// `fixed`: some table holds rows of the object already, without what the schema lacked then.
    pub(crate) fn new(config: &Files, fixed: bool) -> Arc<Self> {
        let schema = config.read_schema();
        let evolution = match config.evolution() {
            Evolution::Add if fixed => Evolution::Ignore,
            other => other,
        };
        let places = schema.fields().iter().enumerate().map(|(place, f)| (f.name().clone(), place)).collect();
        Arc::new(Self { evolution, config: config.clone(), schema, places, come: Mutex::default() })
    }

    /// Rows are read by the schema alone.
    pub(crate) fn is_plain(&self) -> bool {
        self.evolution == Evolution::Ignore && !self.infers()
    }

    /// Columns were not chosen one by one: an object may lack some, and nested values are kept as text.
    pub(crate) fn infers(&self) -> bool {
        self.config.infers()
    }

    pub(crate) fn rescues(&self) -> bool {
        self.evolution == Evolution::Rescue
    }

    /// Whether the schema lacks a column that an object has. A column of the path or an added one is not read.
    pub(crate) fn lacks(&self, name: &str) -> bool {
        !self.places.contains_key(name) && !self.config.takes(name) && !name.is_empty()
    }

    /// What becomes of a JSON field. One that is null is as good as none.
    pub(crate) fn judge(&self, name: &str, raw: &str) -> Verdict {
        let Some(field) = self.places.get(name).and_then(|place| self.schema.fields().get(*place)) else {
            return if raw == "null" || !self.lacks(name) { Verdict::Leave } else { Verdict::Unknown };
        };
        if self.infers() && field.data_type() == &DataType::Utf8 && is_nested(raw) {
            return Verdict::Text;
        }
        if self.rescues() && raw != "null" && !fits(field, raw) { Verdict::Rescue } else { Verdict::Keep }
    }

    /// The fault of `evolution: fail`.
    pub(crate) fn refused<'a>(&self, object: &str, names: impl IntoIterator<Item = &'a str>) -> StageError {
        let names: Vec<String> = names.into_iter().map(|n| format!("`{n}`")).collect();
        StageError::user(format!("the object has columns that the schema lacks: {}", names.join(", ")))
            .object(object)
            .hint("add them to `schema:`, or set `evolution:` to `rescue` or `ignore`")
    }

    /// The same error with types that suit the newest objects as well, and with their columns: each start costs time, and
    /// which object is the first to have a column is a matter of chance.
    pub(crate) async fn widened(
        &self,
        object: &str,
        location: &Location,
        wanted: &Wanted,
        error: StageError,
    ) -> StageError {
        if error.to_resolve().is_none() {
            return error;
        }
        // Should one of them be damaged, this object must do.
        let Ok(mut seen) = infer::sample(&self.config, location, wanted, Choice::Newest).await else { return error };
        seen.retain(|name, of| of.is_some() && self.lacks(name));
        let own = self.come.lock().unwrap_or_else(PoisonError::into_inner).clone();
        own.iter().for_each(|(name, of)| see(&mut seen, name, *of));
        self.evolve(object, &seen)
    }

    /// Stops the run, to go on with the columns that have come.
    pub(crate) fn evolve(&self, object: &str, new: &Seen) -> StageError {
        self.come.lock().unwrap_or_else(PoisonError::into_inner).clone_from(new);
        let known = self.config.found.clone().unwrap_or_default();
        let new: IndexMap<String, ColumnType> =
            new.iter().map(|(name, of)| (name.clone(), of.unwrap_or(ColumnType::String))).collect();
        if known.columns.len() + new.len() > MOST_COLUMNS {
            return StageError::user(format!("the objects have more than {MOST_COLUMNS} columns"))
                .object(object)
                .hint("if names of fields are data, such as user ids, set `evolution:` to `rescue`");
        }
        let given = self.config.full_schema();
        if let Some((one, other)) = twins(given.fields().iter().map(|f| f.name()).chain(new.keys()).map(String::as_str))
        {
            let what = format!("the columns `{one}` and `{other}` differ in case only, and a table cannot hold both");
            return StageError::user(what).object(object).hint("set `evolution:` to `rescue` or `ignore`");
        }
        let names: Vec<String> = new.iter().map(|(n, of)| format!("`{n}` {}", type_name(&of.arrow()))).collect();
        match known.and(new).record() {
            Ok(record) => StageError::user(format!("new columns are added: {}", names.join(", ")))
                .object(object)
                .hint("run again to go on with them")
                .resolved(record),
            Err(error) => StageError::internal("columns cannot be recorded").because(error),
        }
    }
}

/// What is rescued of a row: names with their JSON.
pub(crate) fn rescued(object: &str, fields: &[(&str, &str)]) -> Option<String> {
    if fields.is_empty() {
        return None;
    }
    let most = fields.iter().map(|(name, raw)| name.len() + raw.len() + 8).sum::<usize>();
    let mut text = String::with_capacity(most + object.len() + 32);
    text.push('{');
    for (name, raw) in fields {
        text.extend([quoted(name).as_str(), ":", raw, ","]);
    }
    text.extend(["\"_file_path\":", &quoted(object), "}"]);
    Some(text)
}

/// A text as JSON.
pub(crate) fn quoted(text: &str) -> String {
    // A text can always be written.
    serde_json::to_string(text).unwrap_or_default()
}
