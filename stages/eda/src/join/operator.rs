//! The dataflow of the stage.

use std::rc::Rc;

use alluvium_engine::Epoch;
use alluvium_engine::arrow::datatypes::SchemaRef;
use alluvium_engine::stage::{BatchStream, Operator, OperatorContext, Rendered, StageError};
use differential_dataflow::consolidation::ConsolidatingContainerBuilder;
use differential_dataflow::operators::ThresholdTotal;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent, arrangement::arrange_core};
use differential_dataflow::operators::join::join_traces;
use differential_dataflow::trace::implementations::{KeyBatcher, KeySpine, ValBatcher, ValSpine};
use timely::container::PushInto;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::vec::Map;

use super::codec::{Codec, Joined, Key, Row};
use super::counts::{Rows, counts};
use super::emit::emit;
use super::shape::{Shape, Side};
use super::take::{Pairs, Updates, take};

/// Keys, once each.
type Keys = TraceAgent<KeySpine<Key, Epoch, i64>>;
type PairBuilder = ConsolidatingContainerBuilder<Vec<(Joined, Epoch, i64)>>;

pub(super) struct JoinOperator {
    pub(super) shape: Shape,
    pub(super) state: SchemaRef,
    /// All rows of the left side come out.
    pub(super) all: bool,
    pub(super) worker: usize,
    pub(super) workers: usize,
}

impl Operator for JoinOperator {
    fn render<'scope>(
        self: Box<Self>,
        context: &OperatorContext<'scope>,
        inputs: Vec<BatchStream<'scope>>,
    ) -> Result<Rendered<'scope>, StageError> {
        let Ok([left, right]) = <[BatchStream<'scope>; 2]>::try_from(inputs) else {
            return Err(StageError::internal("the stage has not two inputs"));
        };
        let codec = Rc::new(Codec::new(&self.shape, self.state)?);
        let place = (self.worker, self.workers);
        let restore = |right| {
            let batches = context.state.iter().map(|b| codec.restore(b, &self.shape, right, place));
            Ok::<_, StageError>(batches.collect::<Result<Vec<_>, _>>()?.concat())
        };
        let (old_left, old_right) = (restore(false)?, restore(true)?);
        let changes = self.shape.changes.is_some();
        let side = |input, side: Side, right, old| take(context, input, codec.clone(), side, right, old);
        let (left, unmatched) = side(left, self.shape.left, false, old_left);
        let (right, _) = side(right, self.shape.right, true, old_right);
        let (left, right) = (by_key(left), by_key(right));
        let state = [counts(context, &left, codec.clone(), false), counts(context, &right, codec.clone(), true)];
        let mut pairs = Vec::new();
        if self.all {
            pairs.push(unmatched);
            pairs.extend(alone(left.clone(), &right, &codec));
        }
        pairs.push(join_traces::<_, _, _, _, PairBuilder>(
            left,
            right,
            "join",
            |key, left, right, epoch, a, b, out| {
                // Pairs that were there at the start have been given by an earlier run.
                if epoch > 0 {
                    out.push_into(((key.clone(), left.clone(), right.clone()), epoch, a * b));
                }
            },
        ));
        let output = emit(context, context.scope.concatenate(pairs), codec, changes);
        Ok(Rendered { output, rejects: None, state: Some(context.scope.concatenate(state)) })
    }
}

/// Rows are at the owner of their key already.
fn by_key(updates: Updates<'_>) -> Arranged<'_, Rows> {
    arrange_core::<_, _, ValBatcher<Key, Row, Epoch, i64>, ValSpine<Key, Row, Epoch, i64>>(
        updates,
        Pipeline,
        "arrange",
        ValBatcher::new,
    )
}

fn keys(keys: Stream<'_, Epoch, Vec<(Key, Epoch, i64)>>) -> Arranged<'_, Keys> {
    let updates = keys.map(|(key, epoch, number)| ((key, ()), epoch, number));
    arrange_core::<_, _, KeyBatcher<Key, Epoch, i64>, KeySpine<Key, Epoch, i64>>(
        updates,
        Pipeline,
        "arrange keys",
        KeyBatcher::new,
    )
}

/// Rows of the left side without a match: all of them, and those with a match taken away.
fn alone<'scope>(left: Arranged<'scope, Rows>, right: &Arranged<'scope, Rows>, codec: &Codec) -> [Pairs<'scope>; 2] {
    let nothing = codec.nothing.clone();
    let all = left.clone().as_collection(move |key, row| (key.clone(), row.clone(), nothing.clone())).inner;
    let counted = keys(right.clone().as_collection(|key, _| key.clone()).inner);
    let there = keys(counted.threshold_total(|_, number| i64::from(*number > 0)).inner);
    let nothing = codec.nothing.clone();
    let matched =
        join_traces::<_, _, _, _, PairBuilder>(left, there, "matched", move |key, row, (), epoch, a, b, out| {
            if epoch > 0 {
                out.push_into(((key.clone(), row.clone(), nothing.clone()), epoch, -(a * b)));
            }
        });
    [all, matched]
}
