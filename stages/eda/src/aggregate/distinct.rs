//! Numbers of different values.

use std::collections::{BTreeMap, HashMap};

use alluvium_engine::Epoch;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::column::Column;
use super::keys::Group;
use super::operator::GroupUpdates;
use super::totals::{Total, Totals};
use super::values::{Counted, asking, looked_at};

/// By how many values of each aggregate a group has more or less.
type News = HashMap<Group, BTreeMap<u16, i64>>;

/// What values that come and go add to the totals of their groups: added up here for each epoch, as there may be very many
/// values, and totals are large where there are many aggregates.
pub(crate) fn distinct<'scope>(counted: Counted<'scope>, columns: &[Column]) -> GroupUpdates<'scope> {
    let nothing = Totals { rows: 0, parts: columns.iter().map(Column::nothing).collect() };
    let wanted = asking(columns, |f| !looked_at(f));
    let mut builder = OperatorBuilder::new("distinct".into(), counted.inner.scope());
    let mut input = builder.new_input(counted.inner, Pipeline);
    let (out, totals) = builder.new_output();
    let mut out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(out);
    builder.build(move |capabilities| {
        drop(capabilities);
        let mut open: BTreeMap<Epoch, (Capability<Epoch>, News)> = BTreeMap::new();
        move |frontiers| {
            input.for_each(|capability, changes| {
                for (((group, column, _), n), epoch, diff) in changes.drain(..) {
                    let asked = wanted.get(usize::from(column)).is_some_and(|who| !who.is_empty());
                    // A value that is there more often than before is no news: it goes and comes.
                    if n > 0 && asked {
                        let (_, news) =
                            open.entry(epoch).or_insert_with(|| (capability.delayed(&epoch, 0), News::new()));
                        *news.entry(group).or_default().entry(column).or_default() += diff as i64;
                    }
                }
            });
            while let Some(entry) = open.first_entry() {
                let epoch = *entry.key();
                if frontiers.iter().any(|f| f.less_equal(&epoch)) {
                    break;
                }
                let (capability, news) = entry.remove();
                let totals = news.into_iter().filter_map(|(group, counts)| {
                    let mut totals = nothing.clone();
                    for (column, n) in counts.iter().filter(|(_, n)| **n != 0) {
                        for at in wanted.get(usize::from(*column)).into_iter().flatten() {
                            if let Some(Total::Count(count)) = totals.parts.get_mut(usize::from(*at)) {
                                *count = *n;
                            }
                        }
                    }
                    counts.values().any(|n| *n != 0).then_some((group, epoch, totals))
                });
                out.activate().session(&capability).give_iterator(totals);
            }
        }
    });
    totals
}
