//! The stage contract: what a plugin writes, and all that it writes.
//!
//! A kind is a [`StageConfig`]: a struct that the stage's YAML deserialises into. Its [`check`](StageConfig::check)
//! turns input schemas into output schemas at plan time; its [`build`](StageConfig::build) makes the running
//! [`Stage`], once per worker. There are four roles; use the weakest that works:
//!
//! | role | writes | sees |
//! |---|---|---|
//! | [`Source`] | list splits, read a split | async, no Timely |
//! | [`Transform`] | batch in, batches out | neither async nor Timely |
//! | [`Sink`] | a writer per worker, at most one committer | async, no Timely |
//! | [`Operator`] | a piece of dataflow | Timely and differential |
//!
//! Progress, backpressure, faults, rejects, exactly-once and metrics come from the engine.

mod changes;
mod config;
mod context;
mod error;
mod operator;
mod sink;
mod source;
mod transform;

pub use changes::{Changes, DIFF, diffs, with_diff, without_diff};
pub use config::{Input, Outputs, Resolved, Role, Route, StageConfig, StateSchema, Table};
pub use context::{ResolveContext, Shared, StageContext};
pub use error::{Domain, Fault, StageError};
pub use operator::{BatchStream, Operator, OperatorContext, Rendered, reject_batch};
pub use sink::{Commit, Committed, Committer, Fence, Sink, Staged, Writer};
pub use source::{OnChange, Read, ReadContext, Source, Split};
pub use transform::{Output, Reject, Transform};

use std::sync::Arc;

/// A running stage, as built on one worker.
pub enum Stage {
    /// Brings rows in.
    Source(Arc<dyn Source>),
    /// Batch in, batches out.
    Transform(Box<dyn Transform>),
    /// Writes rows, and passes them on.
    Sink(Box<dyn Sink>),
    /// A piece of dataflow.
    Operator(Box<dyn Operator>),
}

impl Stage {
    /// A source.
    pub fn source(source: impl Source) -> Self {
        Self::Source(Arc::new(source))
    }

    /// A transform.
    pub fn transform(transform: impl Transform) -> Self {
        Self::Transform(Box::new(transform))
    }

    /// A sink.
    pub fn sink(sink: impl Sink) -> Self {
        Self::Sink(Box::new(sink))
    }

    /// An operator.
    pub fn operator(operator: impl Operator) -> Self {
        Self::Operator(Box::new(operator))
    }
}
