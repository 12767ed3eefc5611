//! The object of config.json, asked key by key.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::ModelError;

const MOST_LABELS: usize = 100_000;

/// The keys and the file's name in messages.
pub(super) struct Keys<'a> {
    pub(super) file: &'a str,
    pub(super) map: &'a Map<String, Value>,
}

impl Keys<'_> {
    /// A key that may be left out if it has a default, and must otherwise be one of a few strings: which of them.
    pub(super) fn one_of(&self, key: &str, default: Option<&str>, accepted: &[&str]) -> Result<usize, ModelError> {
        let value = self.present(key);
        let text = match value {
            None => default,
            Some(value) => value.as_str(),
        };
        text.and_then(|text| accepted.iter().position(|name| *name == text)).ok_or_else(|| {
            let names: Vec<_> = accepted.iter().map(|name| format!("{name:?}")).collect();
            self.wrong(key, value, names.join(" or "))
        })
    }

    /// A key that must be false if it is there.
    pub(super) fn is_false(&self, key: &str) -> Result<(), ModelError> {
        match self.present(key) {
            None | Some(Value::Bool(false)) => Ok(()),
            other => Err(self.wrong(key, other, "false".to_owned())),
        }
    }

    /// A number of things, one at least.
    pub(super) fn size(&self, key: &str, most: usize) -> Result<usize, ModelError> {
        let value = self.map.get(key);
        let number = value.and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
        match number {
            Some(number) if (1..=most).contains(&number) => Ok(number),
            _ => Err(self.wrong(key, value, format!("a whole number from 1 to {most}"))),
        }
    }

    /// The id of a token.
    pub(super) fn token_id(&self, key: &str, default: u32) -> Result<u32, ModelError> {
        let Some(value) = self.present(key) else { return Ok(default) };
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|id| *id < u32::MAX / 2);
        id.ok_or_else(|| self.wrong(key, Some(value), "the id of a token".to_owned()))
    }

    /// What keeps a layer norm from dividing by zero.
    pub(super) fn epsilon(&self, key: &str, default: f64) -> Result<f64, ModelError> {
        // Zero or less would divide by zero on a constant row.
        match self.present(key) {
            None => Ok(default),
            value => match value.and_then(Value::as_f64) {
                Some(epsilon) if epsilon > 0.0 && epsilon <= 1.0 => Ok(epsilon),
                _ => Err(self.wrong(key, value, "a number above 0 and at most 1".to_owned())),
            },
        }
    }

    /// `id2label` in the order of the ids, or transformers' default labels where a file leaves them out.
    pub(super) fn labels(&self, multi_label: bool) -> Result<Vec<String>, ModelError> {
        let value = self.present("id2label");
        let labels = match value {
            None => {
                let count = if self.map.contains_key("num_labels") { self.size("num_labels", MOST_LABELS)? } else { 2 };
                (0..count).map(|id| format!("LABEL_{id}")).collect()
            }
            Some(Value::Object(names)) => (0..names.len())
                .map(|id| match names.get(&id.to_string()) {
                    Some(Value::String(label)) if !label.is_empty() => Ok(label.clone()),
                    other => Err(self.wrong(
                        &format!("id2label.{id}"),
                        other,
                        "a label: ids count from \"0\" without gaps".to_owned(),
                    )),
                })
                .collect::<Result<Vec<_>, _>>()?,
            other => return Err(self.wrong("id2label", other, "an object from id to label".to_owned())),
        };
        if labels.len() < 2 && !multi_label {
            let expected = "two labels or more: a model with one output is a regression".to_owned();
            return Err(self.wrong("id2label", value, expected));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = labels.iter().find(|label| !seen.insert(label.as_str())) {
            return Err(self.wrong_value(
                "id2label",
                format!("using {twice:?} twice"),
                "labels that differ".to_owned(),
            ));
        }
        Ok(labels)
    }

    /// A key's value; `null` counts as left out, as transformers writes it so.
    fn present(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn wrong(&self, key: &str, found: Option<&Value>, expected: String) -> ModelError {
        self.wrong_value(key, found.map_or_else(|| "missing".to_owned(), Value::to_string), expected)
    }

    pub(super) fn wrong_value(&self, key: &str, found: impl ToString, expected: String) -> ModelError {
        ModelError::Key { file: self.file.to_owned(), key: key.to_owned(), found: found.to_string(), expected }
    }
}
