//! The last operator of the stage: changed groups to rows and to rows of state, and windows that are closed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use alluvium_engine::stage::{BatchStream, OperatorContext, StageError};
use alluvium_engine::{Batch, Epoch};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::add::GroupValue;
use super::column::Column;
use super::finish::{Finisher, Row};
use super::keys::Group;
use super::late::Watermarks;
use super::lookup::{compact, groups_between, values_of};
use super::operator::{GroupTrace, GroupUpdates, Times, ValueTrace, ValueUpdates, without_apart};
use super::shape::{Shape, Timed};
use super::state::{Change, Codec};
use super::totals::Totals;
use super::values::{Finder, filled};
use super::window::Windows;

/// Rows that leave at once.
const BATCH_ROWS: usize = 8_192;

type Changes<'scope, D> = Stream<'scope, Epoch, Vec<(D, Epoch, isize)>>;

/// What the operator reads.
pub(crate) struct Inputs<'scope> {
    pub(crate) rows: Changes<'scope, (Group, i64, Totals)>,
    pub(crate) groups: Changes<'scope, (Group, Totals)>,
    pub(crate) values: Changes<'scope, (GroupValue, isize)>,
    pub(crate) times: Option<Times<'scope>>,
}

/// What it gives: rows, state, and what closed windows take away in the next epoch.
pub(crate) struct Emitted<'scope> {
    pub(crate) rows: BatchStream<'scope>,
    pub(crate) state: BatchStream<'scope>,
    pub(crate) groups_gone: GroupUpdates<'scope>,
    pub(crate) values_gone: ValueUpdates<'scope>,
}

/// An epoch until all of its changes are known.
#[derive(Default)]
struct Open {
    capabilities: Vec<Capability<Epoch>>,
    rows: Vec<Row>,
    groups: Vec<(Group, Totals, isize)>,
    values: Vec<(GroupValue, isize, isize)>,
}

/// The operator's memory.
pub(crate) struct Emitter {
    finisher: Finisher,
    codec: Codec,
    finder: Option<Finder>,
    columns: Vec<Column>,
    window: Option<Timed>,
    watermarks: Watermarks,
    /// The watermark that the state has.
    saved: Option<i64>,
    /// One worker saves it.
    saves: bool,
    /// What was restored is given as well.
    retold: bool,
    /// Windows by their end, as key and start. Only where windows are closed.
    windows: BTreeMap<i64, HashSet<Group>>,
    /// Groups that the epoch before has closed: that they go now is no news.
    closed: HashSet<Group>,
}

/// What an epoch comes to.
#[derive(Default)]
struct Outcome {
    rows: Vec<Row>,
    state: Vec<Change>,
    groups_gone: Vec<(Group, Epoch, Totals)>,
    values_gone: Vec<(GroupValue, Epoch, isize)>,
}

impl Emitter {
    pub(crate) fn new(
        shape: &Shape,
        codec: Codec,
        finder: Option<Finder>,
        watermarks: Watermarks,
        worker: usize,
        retold: bool,
    ) -> Result<Self, StageError> {
        Ok(Self {
            finisher: Finisher::new(shape)?,
            codec,
            finder,
            columns: shape.columns.clone(),
            window: shape.window,
            saved: watermarks.clone().before(0),
            watermarks,
            saves: worker == 0,
            retold,
            windows: BTreeMap::new(),
            closed: HashSet::new(),
        })
    }

    /// The group under which what a row shows is kept, in case it is one.
    fn kept(&self, start: &Group, end: i64) -> Group {
        match self.window.map(|w| w.windows) {
            Some(Windows::Fixed { .. }) => (start.0.clone(), end),
            _ => start.clone(),
        }
    }

    /// All changes of an epoch are known.
    fn epoch(
        &mut self,
        epoch: Epoch,
        mut open: Open,
        groups: &mut GroupTrace,
        mut values: Option<&mut ValueTrace>,
    ) -> Result<Outcome, StageError> {
        let mut outcome = Outcome::default();
        let closed = std::mem::take(&mut self.closed);
        if let (Some(finder), Some(values), true) = (&self.finder, values.as_deref_mut(), epoch > 0 || self.retold) {
            open.rows = self.completed(finder, &mut open, &closed, groups, values, epoch)?;
        }
        let closes = self.window.is_some_and(|w| w.lateness.is_some());
        for (start, end, totals, n) in open.rows {
            if closed.contains(&self.kept(&start, end)) {
                continue;
            }
            if totals.rows < 0 {
                return Err(taken_too_often());
            }
            if closes && n > 0 {
                self.windows.entry(end).or_default().insert(start.clone());
            } else if closes && let Some(windows) = self.windows.get_mut(&end) {
                windows.remove(&start);
            }
            // What was restored has been given by an earlier run.
            if (epoch > 0 || self.retold) && totals.rows > 0 {
                outcome.rows.push((start, end, totals, n));
            }
        }
        let mut changed: HashMap<Group, Option<Totals>> = HashMap::new();
        for (group, totals, n) in open.groups.into_iter().filter(|(group, ..)| !closed.contains(group)) {
            if n > 0 {
                changed.insert(group, Some(totals));
            } else {
                changed.entry(group).or_insert(None);
            }
        }
        let mut counted: HashMap<GroupValue, Option<i64>> = HashMap::new();
        for (value, count, n) in open.values.into_iter().filter(|((group, ..), ..)| !closed.contains(group)) {
            if count < 0 && n > 0 {
                return Err(taken_too_often());
            }
            if n > 0 {
                counted.insert(value, Some(count as i64));
            } else {
                counted.entry(value).or_insert(None);
            }
        }
        if closes {
            self.close(epoch, groups, values, &mut changed, &mut counted, &mut outcome);
        }
        if epoch > 0 {
            outcome.state.extend(changed.into_iter().map(|(group, totals)| Change::Group(group, totals)));
            outcome.state.extend(counted.into_iter().map(|(value, n)| Change::Value(value, n)));
        }
        Ok(outcome)
    }

    /// Rows with what is found from values, also of groups of which nothing else has changed.
    fn completed(
        &self,
        finder: &Finder,
        open: &mut Open,
        closed: &HashSet<Group>,
        groups: &mut GroupTrace,
        values: &mut ValueTrace,
        epoch: Epoch,
    ) -> Result<Vec<Row>, StageError> {
        let rows = std::mem::take(&mut open.rows);
        let kept: Vec<Group> = rows.iter().map(|(start, end, ..)| self.kept(start, *end)).collect();
        let known: HashSet<&Group> = kept.iter().collect();
        let looked_at = open.values.iter().filter(|((_, column, _), ..)| finder.looks_at(*column));
        let others = looked_at.map(|((group, ..), ..)| group).filter(|group| !known.contains(group));
        let others: BTreeSet<(Group, i64)> = others.map(|group| (group.clone(), group.1)).collect();
        let others = groups_between(groups, &others, epoch);
        let changed = kept.iter().chain(others.iter().map(|(group, _)| group));
        let changed: BTreeSet<&Group> = changed.filter(|group| !closed.contains(group)).collect();
        let found = finder.find(values, &changed, epoch)?;
        let mut completed = Vec::with_capacity(rows.len());
        for ((start, end, totals, n), group) in rows.into_iter().zip(&kept) {
            let totals = match found.get(group) {
                Some([before, after]) => filled(totals, if n < 0 { before } else { after }),
                None => totals,
            };
            completed.push((start, end, totals, n));
        }
        for (group, totals) in &others {
            let Some([before, after]) = found.get(group).filter(|[before, after]| before != after) else { continue };
            let length =
                if let Some(Windows::Fixed { length, .. }) = self.window.map(|w| w.windows) { length } else { 0 };
            let start = (group.0.clone(), group.1 - length);
            completed.push((start.clone(), group.1, filled(totals.clone(), before), -1));
            completed.push((start, group.1, filled(totals.clone(), after), 1));
        }
        Ok(completed)
    }

    /// Takes the windows away that the watermark has passed.
    fn close(
        &mut self,
        epoch: Epoch,
        groups: &mut GroupTrace,
        values: Option<&mut ValueTrace>,
        changed: &mut HashMap<Group, Option<Totals>>,
        counted: &mut HashMap<GroupValue, Option<i64>>,
        outcome: &mut Outcome,
    ) {
        let Some(watermark) = self.watermarks.before(epoch + 1) else { return };
        if self.saves && self.saved.is_none_or(|saved| saved < watermark) {
            self.saved = Some(watermark);
            outcome.state.push(Change::Watermark(watermark));
        }
        let still_open = self.windows.split_off(&watermark.saturating_add(1));
        let over = std::mem::replace(&mut self.windows, still_open);
        // From the first to the last of what is kept of a window.
        let mut parts: BTreeSet<(Group, i64)> = BTreeSet::new();
        for (end, starts) in over {
            parts.extend(starts.into_iter().map(|start| match self.window.map(|w| w.windows) {
                Some(Windows::Session { gap }) => (start, end.saturating_sub(gap)),
                _ => ((start.0, end), end),
            }));
        }
        for (group, mut totals) in groups_between(groups, &parts, epoch) {
            without_apart(&mut totals, &self.columns);
            outcome.groups_gone.push((group.clone(), epoch + 1, totals.negated()));
            changed.insert(group.clone(), None);
            self.closed.insert(group);
        }
        if let Some(values) = values {
            for (value, n) in values_of(values, &self.closed, epoch) {
                outcome.values_gone.push((value.clone(), epoch + 1, -n));
                counted.insert(value, None);
            }
        }
    }
}

fn taken_too_often() -> StageError {
    StageError::user("rows are taken away more often than they were there")
        .hint("the changes that the stage reads are not complete, for example because a table was read from the middle of its history")
}

pub(crate) fn emit<'scope>(
    context: &OperatorContext<'scope>,
    inputs: Inputs<'scope>,
    mut emitter: Emitter,
    mut group_trace: GroupTrace,
    mut value_trace: Option<ValueTrace>,
) -> Emitted<'scope> {
    let faults = context.faults.clone();
    let mut builder = OperatorBuilder::new("rows".into(), context.scope);
    let mut rows_in = builder.new_input(inputs.rows, Pipeline);
    let mut groups_in = builder.new_input(inputs.groups, Pipeline);
    let mut values_in = builder.new_input(inputs.values, Pipeline);
    let mut times_in = inputs.times.map(|times| builder.new_input(times, Pipeline));
    let (rows_out, rows) = builder.new_output::<Batch>();
    let (state_out, state) = builder.new_output::<Batch>();
    let (groups_out, groups_gone) = builder.new_output::<Vec<(Group, Epoch, Totals)>>();
    let (values_out, values_gone) = builder.new_output::<Vec<(GroupValue, Epoch, isize)>>();
    let mut rows_out = OutputBuilder::<_, CapacityContainerBuilder<Batch>>::from(rows_out);
    let mut state_out = OutputBuilder::<_, CapacityContainerBuilder<Batch>>::from(state_out);
    let mut groups_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(groups_out);
    let mut values_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(values_out);
    builder.build(move |capabilities| {
        drop(capabilities);
        let mut open: BTreeMap<Epoch, Open> = BTreeMap::new();
        move |frontiers| {
            // The times of a message may be several; each change says which is its own.
            macro_rules! sort {
                ($input:ident, |$open:ident, $data:pat_param, $n:pat_param| $put:expr) => {
                    $input.for_each(|capability, changes| {
                        for ($data, epoch, $n) in changes.drain(..) {
                            let $open = open.entry(epoch).or_insert_with(|| Open {
                                capabilities: (0..4).map(|port| capability.delayed(&epoch, port)).collect(),
                                ..Open::default()
                            });
                            $put;
                        }
                    })
                };
            }
            sort!(rows_in, |open, (start, end, totals), n| open.rows.push((start, end, totals, n as i64)));
            sort!(groups_in, |open, (group, totals), n| open.groups.push((group, totals, n)));
            sort!(values_in, |open, (value, count), n| open.values.push((value, count, n)));
            if let Some(times) = &mut times_in {
                times.for_each(|capability, list| {
                    let Some(epoch) = capability.least().copied() else { return };
                    open.entry(epoch).or_insert_with(|| Open {
                        capabilities: (0..4).map(|port| capability.delayed(&epoch, port)).collect(),
                        ..Open::default()
                    });
                    list.drain(..).for_each(|time| emitter.watermarks.note(epoch, time));
                });
            }
            while let Some(entry) = open.first_entry() {
                let epoch = *entry.key();
                // After a fault what is open stays open: the frontier must not pass it.
                if faults.is_raised() || frontiers.iter().any(|f| f.less_equal(&epoch)) {
                    break;
                }
                let (capabilities, changes) = {
                    let mut open = entry.remove();
                    (std::mem::take(&mut open.capabilities), open)
                };
                let made = emitter.epoch(epoch, changes, &mut group_trace, value_trace.as_mut()).and_then(|outcome| {
                    let rows = outcome.rows.chunks(BATCH_ROWS).map(|part| emitter.finisher.rows(part));
                    let rows = rows.collect::<Result<Vec<_>, _>>()?;
                    let state = outcome.state.chunks(BATCH_ROWS).map(|part| emitter.codec.encode(part));
                    Ok((rows, state.collect::<Result<Vec<_>, _>>()?, outcome.groups_gone, outcome.values_gone))
                });
                match (made, capabilities.as_slice()) {
                    (Ok((rows, state, groups_gone, values_gone)), [for_rows, for_state, for_groups, for_values]) => {
                        for batch in rows {
                            rows_out.activate().session_with_builder(for_rows).give_container(&mut batch.into());
                        }
                        for batch in state.into_iter().flatten() {
                            state_out.activate().session_with_builder(for_state).give_container(&mut batch.into());
                        }
                        groups_out.activate().session(for_groups).give_iterator(groups_gone.into_iter());
                        values_out.activate().session(for_values).give_iterator(values_gone.into_iter());
                    }
                    (made, _) => {
                        faults.raise(
                            Some(epoch),
                            made.err().unwrap_or_else(|| StageError::internal("an epoch has no capability")),
                        );
                        open.insert(epoch, Open { capabilities, ..Open::default() });
                    }
                }
            }
            // Nothing is looked up that lies before what is still open.
            let frontier = frontiers.iter().filter_map(|f| f.frontier().first().copied()).min();
            let first = open.keys().next().copied().into_iter().chain(frontier).min();
            compact(&mut group_trace, first);
            if let Some(trace) = &mut value_trace {
                compact(trace, first);
            }
        }
    });
    Emitted { rows, state, groups_gone, values_gone }
}
