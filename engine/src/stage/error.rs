//! Failures of a running stage: faults stop the run, rejects (see `transform`) do not.

use std::fmt;

use super::Resolved;
use crate::Epoch;

/// Who can do something about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// The pipeline's author: a wrong value, a table that does not fit.
    User,
    /// The world around: storage, network, rights.
    External,
    /// Us: a bug.
    Internal,
}

type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why a stage cannot go on. The engine adds the stage's name and the epoch.
#[derive(Debug)]
pub struct StageError {
    domain: Domain,
    message: String,
    object: Option<String>,
    row: Option<u64>,
    hint: Option<String>,
    cause: Option<Cause>,
    resolved: Option<Box<Resolved>>,
}

impl StageError {
    fn new(domain: Domain, message: impl Into<String>) -> Self {
        Self { domain, message: message.into(), object: None, row: None, hint: None, cause: None, resolved: None }
    }

    /// Something that the pipeline's author can put right.
    pub fn user(message: impl Into<String>) -> Self {
        Self::new(Domain::User, message)
    }

    /// Something that storage, network or rights have caused.
    pub fn external(message: impl Into<String>) -> Self {
        Self::new(Domain::External, message)
    }

    /// Something that must not happen.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Domain::Internal, message).hint("this is a bug in the stage: please report it with the spec")
    }

    /// The object (file, table) it happened at.
    #[must_use]
    pub fn object(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }

    /// The row (for text formats: the line, counted from 1) it happened at.
    #[must_use]
    pub fn row(mut self, row: u64) -> Self {
        self.row = Some(row);
        self
    }

    /// What to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The error behind it.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// What the stage must be resolved with from now on: it is recorded, and the run starts again with it.
    #[must_use]
    pub fn resolved(mut self, resolved: Resolved) -> Self {
        self.resolved = Some(Box::new(resolved));
        self
    }

    /// See [`StageError::resolved`].
    pub fn to_resolve(&self) -> Option<&Resolved> {
        self.resolved.as_deref()
    }

    /// Several lines: what happened, the chain of causes, the place, the hint last.
    pub fn text(&self) -> String {
        let mut text = self.message.clone();
        let mut said = self.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let line = error.to_string();
            // Wrappers often repeat the words of what they wrap.
            if !said.contains(&line) {
                text.push_str(&format!("\n  cause: {}", line.replace('\n', "\n         ")));
            }
            said.push_str(&line);
            cause = error.source();
        }
        if let Some(object) = &self.object {
            text.push_str(&format!("\n  object: {object}"));
        }
        if let Some(row) = self.row {
            text.push_str(&format!("\n  row: {row}"));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("\n  hint: {hint}"));
        }
        text
    }

    /// Who can do something about it.
    pub fn domain(&self) -> Domain {
        self.domain
    }
}

impl fmt::Display for StageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|c| c as _)
    }
}

/// What stops a run: a stage's error with its place in the run.
#[derive(Debug)]
pub struct Fault {
    /// The stage's name in the spec, or a part of the engine such as `checkpoint`.
    pub stage: String,
    /// The epoch that could not be finished.
    pub epoch: Option<Epoch>,
    /// What happened.
    pub error: StageError,
}

impl fmt::Display for Fault {
    /// What failed where, then as [`StageError::text`]. Secrets are masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epoch = self.epoch.map(|epoch| format!(" at epoch {epoch}")).unwrap_or_default();
        let text = format!("stage `{}` failed{epoch}: {}", self.stage, self.error.text());
        f.write_str(&crate::secret::redact(&text))
    }
}

impl std::error::Error for Fault {}
