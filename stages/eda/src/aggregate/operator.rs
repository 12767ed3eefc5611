//! The dataflow of the stage.

use alluvium_engine::Epoch;
use alluvium_engine::arrow::datatypes::SchemaRef;
use alluvium_engine::arrow::record_batch::RecordBatch;
use alluvium_engine::batch::{hash, owner};
use alluvium_engine::stage::{BatchStream, Operator, OperatorContext, Rendered, StageError, with_diff};
use differential_dataflow::operators::CountTotal;
use differential_dataflow::operators::arrange::TraceAgent;
use differential_dataflow::trace::implementations::KeySpine;
use differential_dataflow::{AsCollection, VecCollection};
use timely::dataflow::Stream;
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::{Concat, ConnectLoop, Feedback};

use super::add::{Adder, GroupValue};
use super::add_up::{Intake, add_up, watch};
use super::arrange::{Route, by_key, by_self, reduce};
use super::column::{Column, Kept};
use super::count::count_changed;
use super::distinct::distinct;
use super::emit::{Emitter, Inputs, emit};
use super::keys::{Group, Key};
use super::late::{Latecomers, Watermarks};
use super::shape::Shape;
use super::state::{Change, Codec};
use super::totals::{Totals, Value};
use super::values::Finder;
use super::window::Windows;

/// Differential's updates: what an epoch adds to a group.
pub(crate) type GroupUpdates<'scope> = Stream<'scope, Epoch, Vec<(Group, Epoch, Totals)>>;
/// How much more often there is a value.
pub(crate) type ValueUpdates<'scope> = Stream<'scope, Epoch, Vec<(GroupValue, Epoch, isize)>>;
/// The latest time in an epoch, less the lateness, of each worker.
pub(crate) type Times<'scope> = Stream<'scope, Epoch, Vec<i64>>;
/// Totals of groups as they were and are.
pub(crate) type Groups<'scope> = VecCollection<'scope, Epoch, (Group, Totals), isize>;
/// What is kept of all groups of this worker.
pub(crate) type GroupTrace = TraceAgent<KeySpine<Group, Epoch, Totals>>;
/// The values of all groups of this worker.
pub(crate) type ValueTrace = TraceAgent<KeySpine<GroupValue, Epoch, isize>>;

pub(crate) struct AggregateOperator {
    pub(crate) shape: Shape,
    pub(crate) state: SchemaRef,
    pub(crate) stage: String,
    /// The column of event times in the input.
    pub(crate) time: Option<usize>,
    /// What is restored comes out as well, at epoch 0.
    pub(crate) retold: bool,
    pub(crate) worker: usize,
    pub(crate) workers: usize,
}

impl Operator for AggregateOperator {
    fn render<'scope>(
        self: Box<Self>,
        context: &OperatorContext<'scope>,
        inputs: Vec<BatchStream<'scope>>,
    ) -> Result<Rendered<'scope>, StageError> {
        let mut input = inputs.into_iter().next().ok_or_else(|| StageError::internal("the stage has no input"))?;
        let codec = Codec::new(&self.shape, self.state.clone())?;
        let (restored, watermark) = self.restored(&codec, &context.state)?;
        let columns = self.shape.columns.clone();
        let (window, retold) = (self.shape.window, self.retold);
        let finder = Finder::new(&columns)?;
        let looks = finder.is_some();
        let emitter = Emitter::new(&self.shape, codec, finder, Watermarks::new(watermark), self.worker, retold)?;
        let mut times = None;
        if let (Some(lateness), Some(column)) = (window.and_then(|w| w.lateness), self.time) {
            let (rows, latest) = watch(context, input, column, lateness);
            (input, times) = (rows, Some(latest));
        }
        let latecomers = window.zip(self.time);
        let intake = Intake {
            adder: Adder::new(&self.shape)?,
            latecomers: latecomers.map(|(window, column)| Latecomers { window, column, stage: self.stage.clone() }),
            watermarks: Watermarks::new(watermark),
            query: self.shape.query,
            restored,
            stage: self.stage,
        };
        let (mut groups, mut values, rejects) = add_up(context, input, times.clone(), intake);

        // What closed windows had is taken away in the next epoch.
        let mut loops = None;
        if times.is_some() {
            let (groups_back, groups_gone) = context.scope.feedback(1);
            let (values_back, values_gone) = context.scope.feedback(1);
            (groups, values) = (groups.concat(groups_gone), values.concat(values_gone));
            loops = Some((groups_back, values_back));
        }

        let counted = columns.iter().any(|c| c.kept == Kept::Apart).then(|| {
            // What is looked at together, or closed, lies on one worker; what is only counted is work for all of them.
            let route: Route<GroupValue> = if looks || times.is_some() {
                |value| by_key(&value.0.0)
            } else {
                |value| by_key(&value.0.0).wrapping_add(by_key(&value.2))
            };
            by_self(values.as_collection(), "values", route)
        });
        let value_trace = counted.as_ref().map(|c| c.trace.clone());
        let counted = counted.map(|values| count_changed(values, context.faults.clone()));
        if let Some(counted) = &counted {
            groups = groups.concat(distinct(counted.clone(), &columns));
        }
        let arranged = by_self(groups.as_collection(), "groups", |group: &Group| by_key(&group.0));
        let group_trace = arranged.trace.clone();
        let session = match window.map(|w| w.windows) {
            Some(Windows::Session { gap }) => Some(gap),
            _ => None,
        };
        // Who puts together, or closes, must know what was restored.
        let restored = session.is_some() || times.is_some() || retold;
        let groups: Groups<'scope> =
            if restored { arranged.count_total() } else { count_changed(arranged, context.faults.clone()) };
        let rows = match session {
            Some(gap) => sessions(groups.clone(), gap),
            None => fixed(groups.clone(), window.map(|w| w.windows)),
        };
        let inputs = Inputs {
            rows: rows.inner,
            groups: groups.inner,
            values: counted.map_or_else(|| empty(context.scope), |c| c.inner),
            times,
        };
        let emitted = emit(context, inputs, emitter, group_trace, value_trace);
        if let Some((groups_back, values_back)) = loops {
            emitted.groups_gone.connect_loop(groups_back);
            emitted.values_gone.connect_loop(values_back);
        }
        Ok(Rendered { output: emitted.rows, rejects: Some(rejects), state: Some(emitted.state) })
    }
}

impl AggregateOperator {
    /// Columns of the groups, with their number.
    pub(crate) fn output(&self) -> SchemaRef {
        with_diff(&self.shape.output)
    }

    /// What this worker puts in at the beginning, each group by one worker, and the watermark.
    fn restored(&self, codec: &Codec, state: &[RecordBatch]) -> Result<(Vec<Change>, Option<i64>), StageError> {
        let (mut mine, mut watermark) = (Vec::new(), None);
        for batch in state {
            for mut change in codec.decode(batch, |key| owner(hash(key), self.workers) == self.worker)? {
                match &mut change {
                    Change::Watermark(time) => watermark = Some(*time),
                    Change::Group(_, Some(totals)) => without_shared(totals, &self.shape.columns),
                    // Written when it did not yet share with another one.
                    Change::Value((_, column, _), _) if shared(&self.shape.columns, *column).is_some() => continue,
                    _ => {}
                }
                mine.push(change);
            }
        }
        Ok((sorted(mine), watermark))
    }
}

/// In the order of groups and values, in which arrangements take them without comparing each with many others.
fn sorted(changes: Vec<Change>) -> Vec<Change> {
    // The first bytes of a key tell most of them apart, and lie where they are compared.
    let mut order: Vec<(u128, usize)> = changes.iter().map(prefix).zip(0..).collect();
    order.sort_unstable_by(|(a, i), (b, j)| a.cmp(b).then_with(|| changes.get(*i).cmp(&changes.get(*j))));
    let mut changes: Vec<Option<Change>> = changes.into_iter().map(Some).collect();
    order.into_iter().filter_map(|(_, at)| changes.get_mut(at).and_then(Option::take)).collect()
}

fn prefix(change: &Change) -> u128 {
    let mut first = [0; 16];
    let key = change.group().map_or(&[][..], |group| &group.0);
    first.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    u128::from_be_bytes(first)
}

/// Totals without what goes on its own way: numbers of values, which follow the values, and what another aggregate keeps.
pub(crate) fn without_apart(totals: &mut Totals, columns: &[Column]) {
    without(totals, columns, |c| c.kept == Kept::Apart || c.shared.is_some());
}

/// Totals without what another aggregate keeps: it did not yet when they were written.
fn without_shared(totals: &mut Totals, columns: &[Column]) {
    without(totals, columns, |c| c.kept != Kept::Apart && c.shared.is_some());
}

fn without(totals: &mut Totals, columns: &[Column], which: fn(&Column) -> bool) {
    for (total, column) in totals.parts.iter_mut().zip(columns).filter(|(_, c)| which(c)) {
        *total = column.nothing();
    }
}

/// The aggregate that keeps the values of this one, if it is another one.
fn shared(columns: &[Column], column: u16) -> Option<usize> {
    columns.get(usize::from(column)).and_then(|c| c.shared)
}

/// Groups as rows: a window is kept under its end.
fn fixed<'scope>(groups: Groups<'scope>, windows: Option<Windows>) -> RowChanges<'scope> {
    let length = if let Some(Windows::Fixed { length, .. }) = windows { length } else { 0 };
    groups.map(move |((key, end), totals)| ((key, end - length), end, totals))
}

/// Groups with the start of their window, the end of it, and their totals.
pub(crate) type RowChanges<'scope> = VecCollection<'scope, Epoch, (Group, i64, Totals), isize>;

/// What is kept under single times, put together where the gaps are small.
fn sessions<'scope>(groups: Groups<'scope>, gap: i64) -> RowChanges<'scope> {
    let times: VecCollection<'scope, Epoch, (Key, (i64, Totals)), isize> =
        groups.map(|((key, time), totals)| (key, (time, totals)));
    let sessions = reduce(
        times,
        "sessions",
        |key| by_key(key),
        move |_, times, out| {
            use differential_dataflow::difference::Semigroup;
            let mut open: Option<(i64, i64, Totals)> = None;
            for ((time, totals), _) in times.iter().map(|(v, d)| (*v, d)) {
                open = Some(match open.take() {
                    Some((start, end, mut all)) if *time < end => {
                        all.plus_equals(totals);
                        (start, time.saturating_add(gap), all)
                    }
                    closed => {
                        out.extend(closed.map(|session| (session, 1)));
                        (*time, time.saturating_add(gap), totals.clone())
                    }
                });
            }
            out.extend(open.map(|session| (session, 1)));
        },
    );
    sessions.map(|(key, (start, end, totals))| ((key, start), end, totals))
}

/// A value with the group that it is of, as differential arranges it.
pub(crate) fn first_value(group: &Group) -> GroupValue {
    (group.clone(), 0, Value::from([]))
}
