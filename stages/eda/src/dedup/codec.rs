//! Rows to bytes whose order says which one is kept, and back.

use std::sync::Arc;

use alluvium_engine::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use alluvium_engine::arrow::compute::SortOptions;
use alluvium_engine::arrow::datatypes::{Int64Type, SchemaRef};
use alluvium_engine::batch::{hash, owner};
use alluvium_engine::stage::{StageError, diffs, with_diff};

use super::Shape;
use super::kept::{Counted, Policy, Rows};
use crate::form::{Form, broken};

pub(super) struct Codec {
    shape: Shape,
    key: Form,
    row: Form,
    output: SchemaRef,
    state: SchemaRef,
}

impl Codec {
    /// `last`: the greatest row has the least bytes. `ordered`: NULL in the first of the other columns comes after all.
    pub(super) fn new(shape: Shape, state: SchemaRef, last: bool, ordered: bool) -> Result<Self, StageError> {
        let data_type = |at: &usize| shape.columns.field(*at).data_type().clone();
        let order = |(n, at): (usize, &usize)| {
            let nulls_first = !(last || ordered && n == 0);
            (data_type(at), SortOptions { descending: last, nulls_first })
        };
        let changes = shape.policy != Policy::Once;
        Ok(Self {
            key: Form::plain(shape.key.iter().map(data_type))?,
            row: Form::ordered(shape.others.iter().enumerate().map(order).collect())?,
            output: if changes { with_diff(&shape.columns) } else { shape.columns.clone() },
            shape,
            state,
        })
    }

    /// Rows of a batch, each given to `add`.
    pub(super) fn take(&self, batch: &RecordBatch, mut add: impl FnMut(Counted)) -> Result<(), StageError> {
        let columns = |places: &[usize]| places.iter().map(|&at| batch.column(at).clone()).collect::<Vec<ArrayRef>>();
        let (key, row) = (self.key.encode(&columns(&self.shape.key))?, self.row.encode(&columns(&self.shape.others))?);
        let numbers = diffs(batch)?;
        for at in 0..batch.num_rows() {
            add((key.row(at), row.row(at), numbers.map_or(1, |n| n.value(at))));
        }
        Ok(())
    }

    /// Rows for the next stage.
    pub(super) fn rows(&self, rows: &[Counted]) -> Result<RecordBatch, StageError> {
        let key = self.key.decode(rows.iter().map(|(key, ..)| key))?;
        let row = self.row.decode(rows.iter().map(|(_, row, _)| row))?;
        let places = self.shape.key.iter().chain(&self.shape.others);
        let mut placed: Vec<(usize, ArrayRef)> = places.copied().zip(key.into_iter().chain(row)).collect();
        placed.sort_by_key(|(at, _)| *at);
        let mut columns: Vec<ArrayRef> = placed.into_iter().map(|(_, column)| column).collect();
        if self.shape.policy != Policy::Once {
            columns.push(Arc::new(rows.iter().map(|(.., n)| *n).collect::<Int64Array>()));
        }
        RecordBatch::try_new(self.output.clone(), columns).map_err(broken)
    }

    /// Rows of the state; what is not there any more has no number.
    pub(super) fn state(&self, rows: &[Counted]) -> Result<RecordBatch, StageError> {
        let mut columns = self.key.decode(rows.iter().map(|(key, ..)| key))?;
        if self.shape.policy != Policy::Once {
            columns.extend(self.row.decode(rows.iter().map(|(_, row, _)| row))?);
        }
        columns.push(Arc::new(rows.iter().map(|(.., n)| (*n != 0).then_some(*n)).collect::<Int64Array>()));
        RecordBatch::try_new(self.state.clone(), columns).map_err(broken)
    }

    /// Rows of the state that belong to this worker.
    pub(super) fn restore(&self, batches: &[RecordBatch], worker: usize, workers: usize) -> Result<Rows, StageError> {
        let mut mine = Rows::new();
        for batch in batches {
            let (keys, others) = batch.columns().split_at(self.shape.key.len());
            let Some((numbers, others)) = others.split_last() else { continue };
            let (key, numbers) = (self.key.encode(keys)?, numbers.as_primitive::<Int64Type>());
            let row = (self.shape.policy != Policy::Once).then(|| self.row.encode(others)).transpose()?;
            for at in 0..batch.num_rows() {
                let key = key.row(at);
                if owner(hash(&key), workers) == worker {
                    let row = row.as_ref().map(|r| r.row(at)).unwrap_or_default();
                    mine.insert((key, row), numbers.value(at));
                }
            }
        }
        Ok(mine)
    }
}
