//! State and tables must be the same places for all processes of a cluster. Equal names do not say so: a path may lead each
//! machine to a disk of its own, and what a process writes there would be lost to the others.
//!
//! Process 0 leaves a mark, the others look for it. The state has one already, the lease. A table has a small file, which
//! readers of tables leave alone for its name; there is none where the table lies in the same bucket as the state.

use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Lease, Records};
use crate::plan::Plan;
use crate::stage::{Fault, StageError};
use crate::storage::Location;

/// The file of a table.
const FILE: &str = "_alluvium_cluster.json";

/// What is found by whoever looks at the same places.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Of the lease.
    generation: u64,
    /// This start of process 0.
    instance: String,
}

/// What is common to the lease and to the files of tables.
#[derive(Serialize, Deserialize)]
struct Left {
    instance: String,
}

impl Mark {
    /// Leaves it at the tables, for the others.
    ///
    /// # Errors
    /// A table's place cannot be written.
    pub(super) async fn leave(plan: &Plan, records: &Records, lease: &Lease, instance: &str) -> Result<Self, Fault> {
        let left = &Left { instance: instance.into() };
        try_join_all(tables(plan, records.location())?.into_iter().map(|(stage, table)| async move {
            let table = Records::new(table);
            table.put(&table.path(FILE), left).await.map_err(|error| Fault { stage, epoch: None, error })
        }))
        .await?;
        Ok(Self { generation: lease.generation(), instance: instance.into() })
    }

    /// Looks for it.
    ///
    /// # Errors
    /// A place of this process, `name`, is another one.
    pub(super) async fn find(&self, plan: &Plan, name: &str) -> Result<(), Fault> {
        let checkpoint = |error| Fault { stage: "checkpoint".into(), epoch: None, error };
        let state = Records::new(plan.storage.open(&plan.state).map_err(checkpoint)?);
        let lease = state.of_epoch("lease", self.generation);
        if !self.is_left(state.read_if_there(&lease).await.map_err(checkpoint)?) {
            return Err(checkpoint(elsewhere(name, "state", &state)));
        }
        try_join_all(tables(plan, state.location())?.into_iter().map(|(stage, table)| async move {
            let table = Records::new(table);
            let is_left = table.read_if_there(&table.path(FILE)).await.map(|left| self.is_left(left));
            let fault = |error| Fault { stage, epoch: None, error };
            match is_left {
                Ok(true) => Ok(()),
                Ok(false) => Err(fault(elsewhere(name, "table", &table))),
                Err(error) => Err(fault(error)),
            }
        }))
        .await
        .map(drop)
    }

    fn is_left(&self, left: Option<Left>) -> bool {
        left.is_some_and(|left| left.instance == self.instance)
    }
}

/// Tables that need a file, by stage.
fn tables(plan: &Plan, state: &Location) -> Result<Vec<(String, Location)>, Fault> {
    let mut all = Vec::new();
    for stage in &plan.stages {
        let Some(table) = &stage.outputs.table else { continue };
        let location = plan.storage.open(&table.url);
        let location = location.map_err(|error| Fault { stage: stage.name.clone(), epoch: None, error })?;
        if location.root == "file://" || location.root != state.root {
            all.push((stage.name.clone(), location));
        }
    }
    Ok(all)
}

fn elsewhere(name: &str, what: &str, place: &Records) -> StageError {
    StageError::user(format!("{name} sees another {what} than process 0")).object(place.url()).hint(format!(
        "`{what}:` must be a place that all processes reach, and the same one: a path on a disk of each machine is not"
    ))
}
