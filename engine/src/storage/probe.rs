//! Whether a place is fit for a run: tried, not believed.

use chrono::{TimeDelta, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::Location;
use crate::stage::StageError;

/// Clocks that differ by more make requests to S3 fail (it accepts 15 minutes) and times in tables wrong.
const SKEW: TimeDelta = TimeDelta::minutes(1);

/// Something that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub what: String,
    /// What is so, or what is wrong and what to do.
    pub outcome: Result<String, String>,
}

impl Finding {
    /// All is well.
    pub fn good(what: impl Into<String>, so: impl Into<String>) -> Self {
        Self { what: what.into(), outcome: Ok(so.into()) }
    }

    /// Something is wrong.
    pub fn bad(what: impl Into<String>, wrong: impl Into<String>) -> Self {
        Self { what: what.into(), outcome: Err(wrong.into()) }
    }
}

/// What became of creating one object twice.
enum Twice {
    /// The second was refused, as it must be.
    Refused,
    Overwritten,
    Failed(object_store::Error),
}

impl Location {
    fn probe(&self) -> Path {
        self.path.clone().join(format!("_alluvium-probe-{}", uuid::Uuid::new_v4().simple()))
    }

    /// A key that comes just before that of an object here.
    fn before(&self, object: &Path) -> Path {
        let mut name = object.filename().unwrap_or_default().to_owned();
        name.pop();
        self.path.clone().join(name)
    }

    fn url(&self) -> String {
        format!("{}/{}", self.root, self.path)
    }

    async fn create_twice(&self, path: &Path) -> Twice {
        let create = || self.store.put_opts(path, "probe".into(), PutOptions::from(PutMode::Create));
        // An answer that was lost looks as if the object were there already.
        match create().await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(error) => return Twice::Failed(error),
        }
        match create().await {
            Ok(_) => Twice::Overwritten,
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Twice::Refused,
            Err(error) => Twice::Failed(error),
        }
    }

    /// That the store lets nobody create what is there: commits and bindings stand on it. Local file systems do.
    ///
    /// # Errors
    /// A store that overwrites, or that cannot be written.
    pub async fn require_exclusive(&self) -> Result<(), StageError> {
        if matches!(self.root.as_str(), "file://" | "memory://") {
            return Ok(());
        }
        let path = self.probe();
        let twice = self.create_twice(&path).await;
        // Whatever it was: it is not needed any more.
        let _ = self.store.delete(&path).await;
        match twice {
            Twice::Refused => Ok(()),
            Twice::Overwritten => Err(StageError::user(OVERWRITES).object(self.url()).hint(EXCLUSIVE)),
            Twice::Failed(error) => Err(StageError::external("the place cannot be written")
                .object(self.url())
                .hint("`alluvium doctor` tells what is missing")
                .because(error)),
        }
    }

    /// Creates an object, twice, reads, lists and deletes it: everything that a run does.
    pub async fn try_writing(&self, what: &str) -> Finding {
        let path = self.probe();
        let tried = self.all_of_it(&path).await;
        let deleted = self.store.delete(&path).await;
        match (tried, deleted) {
            (Err(wrong), _) => Finding::bad(what, format!("{}: {wrong}", self.url())),
            (Ok(()), Err(error)) => {
                let error = short(&error);
                Finding::bad(
                    what,
                    format!("{path} cannot be deleted: {error}; upkeep needs the right to delete objects"),
                )
            }
            (Ok(()), Ok(())) => {
                let so = "can be written (nothing twice), read, listed and deleted; clocks agree";
                Finding::good(what, format!("{} {so}", self.url()))
            }
        }
    }

    async fn all_of_it(&self, path: &Path) -> Result<(), String> {
        let may = |what: &'static str| {
            move |error| {
                let short = short(&error);
                format!("cannot {what} objects: {short}; {}", advice(&error, &short))
            }
        };
        match self.create_twice(path).await {
            Twice::Refused => {}
            Twice::Overwritten => return Err(format!("{OVERWRITES}; {EXCLUSIVE}")),
            Twice::Failed(error) => return Err(may("write")(error)),
        }
        let read = self.store.get(path).await.map_err(may("read"))?;
        let skew = Utc::now() - read.meta.last_modified;
        read.bytes().await.map_err(may("read"))?;
        // Not from the beginning: the place may be full of objects.
        let mut listed = self.store.list_with_offset(Some(&self.path), &self.before(path));
        let mut there = false;
        while let Some(meta) = listed.try_next().await.map_err(may("list"))? {
            if meta.location == *path {
                there = true;
                break;
            }
        }
        if !there {
            return Err("a listing lacks what was just written; take a store whose listings are consistent".into());
        }
        if skew.abs() >= SKEW {
            let seconds = skew.num_seconds();
            return Err(format!("its clock and this machine's differ by {seconds} s; set this machine's clock"));
        }
        Ok(())
    }
}

/// What to do about an error, which [`short`] has shortened.
fn advice(error: &object_store::Error, short: &str) -> &'static str {
    match error {
        // An object need not be there to be written, or a folder to be listed.
        object_store::Error::NotFound { .. } => "create the bucket, or correct the URL",
        _ if short.starts_with("RequestTimeTooSkewed") => "set this machine's clock",
        _ => "check credentials and rights",
    }
}

/// An error without the XML of S3.
fn short(error: &object_store::Error) -> String {
    let text = error.to_string();
    let tag = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once("</").map(|(inner, _)| inner)
    };
    match (tag("Code"), tag("Message")) {
        (Some(code), Some(message)) => format!("{code}, {message}"),
        _ => text,
    }
}

const OVERWRITES: &str = "the store overwrites an object although it was asked to create a new one: two writers could destroy each other's commits";
const EXCLUSIVE: &str =
    "use a store with conditional writes (If-None-Match), such as Amazon S3, R2, MinIO or SeaweedFS";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_not_a_matter_of_rights() {
        let answer = |code: &str| {
            let source = format!("403: <?xml?><Error><Code>{code}</Code><Message>so it is</Message></Error>").into();
            let error = object_store::Error::PermissionDenied { path: "a".into(), source };
            (short(&error), advice(&error, &short(&error)))
        };
        let skewed = ("RequestTimeTooSkewed, so it is".to_owned(), "set this machine's clock");
        assert_eq!(answer("RequestTimeTooSkewed"), skewed);
        assert_eq!(answer("AccessDenied").1, "check credentials and rights");
    }

    #[tokio::test]
    async fn what_was_written_is_found_among_other_objects() {
        let place = crate::storage::Storage::default().open("memory:///probe").unwrap();
        for name in ["a", "_alluvium-probe-0", "_alluvium-probe-zzzz", "zz"] {
            place.store.put(&place.path.clone().join(name), "x".into()).await.unwrap();
        }
        assert_eq!(place.all_of_it(&place.probe()).await, Ok(()));
        let path = place.probe();
        assert!(path.as_ref().starts_with(place.before(&path).as_ref()) && place.before(&path) < path);
    }
}
