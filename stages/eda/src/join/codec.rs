//! Rows of both sides to bytes, and bytes to rows of the output and of the state.

use std::sync::Arc;

use alluvium_engine::Epoch;
use alluvium_engine::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray};
use alluvium_engine::arrow::compute::filter_record_batch;
use alluvium_engine::arrow::datatypes::{FieldRef, Int64Type, SchemaRef};
use alluvium_engine::batch::{hash, owner};
use alluvium_engine::stage::{StageError, diffs, with_diff};

use super::shape::{Origin, Shape, Side};
use crate::form::{Bytes, Form, broken};

/// The columns that must be equal, and the others that are kept of a row.
pub(super) type Key = Bytes;
pub(super) type Row = Bytes;
/// A key with a row of the left and one of the right side.
pub(super) type Joined = (Key, Row, Row);
/// A row of one side and how often it comes or goes.
pub(super) type Update = ((Key, Row), Epoch, i64);

pub(super) struct Codec {
    key: Form,
    left: Form,
    right: Form,
    /// What stands for the right side where there is no match.
    pub(super) nothing: Row,
    output: SchemaRef,
    origins: Vec<Origin>,
    changes: bool,
    state: SchemaRef,
}

/// The rows of a batch of one side.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) rows: Vec<(Key, Row, i64)>,
    /// Those with NULL in the key.
    pub(super) unmatched: Vec<(Key, Row, i64)>,
}

/// What the state calls a side.
fn name(right: bool) -> &'static str {
    if right { "right" } else { "left" }
}

impl Codec {
    pub(super) fn new(shape: &Shape, state: SchemaRef) -> Result<Self, StageError> {
        let form = |fields: &[FieldRef]| Form::plain(fields.iter().map(|f| f.data_type().clone()));
        let right = form(&shape.right.columns)?;
        let changes = shape.changes.is_some();
        Ok(Self {
            key: form(&shape.key)?,
            left: form(&shape.left.columns)?,
            nothing: right.encode(&right.nulls(1))?.row(0),
            right,
            output: if changes { with_diff(&shape.output) } else { shape.output.clone() },
            origins: shape.origins.clone(),
            changes,
            state,
        })
    }

    fn form(&self, right: bool) -> &Form {
        if right { &self.right } else { &self.left }
    }

    /// Takes a batch of one side apart.
    pub(super) fn take(&self, batch: &RecordBatch, side: &Side, right: bool) -> Result<Taken, StageError> {
        let columns = |places: &[usize]| places.iter().map(|&at| batch.column(at).clone()).collect::<Vec<ArrayRef>>();
        let keys = columns(&side.key);
        let (key, row) = (self.key.encode(&keys)?, self.form(right).encode(&columns(&side.kept))?);
        let numbers = diffs(batch)?;
        let mut taken = Taken::default();
        for at in 0..batch.num_rows() {
            let number = numbers.map_or(1, |n| n.value(at));
            // As in SQL, NULL equals nothing.
            let list = if keys.iter().any(|k| k.is_null(at)) { &mut taken.unmatched } else { &mut taken.rows };
            list.push((key.row(at), row.row(at), number));
        }
        Ok(taken)
    }

    /// Rows for the next stage.
    pub(super) fn joined(&self, rows: &[(&Joined, i64)]) -> Result<RecordBatch, StageError> {
        let key = self.key.decode(rows.iter().map(|((key, ..), _)| key))?;
        let left = self.left.decode(rows.iter().map(|((_, left, _), _)| left))?;
        let right = self.right.decode(rows.iter().map(|((.., right), _)| right))?;
        let column = |origin: &Origin| match *origin {
            Origin::Key(at) => key.get(at),
            Origin::Left(at) => left.get(at),
            Origin::Right(at) => right.get(at),
        };
        let mut columns: Vec<ArrayRef> = self.origins.iter().filter_map(column).cloned().collect();
        if self.changes {
            columns.push(Arc::new(rows.iter().map(|(_, n)| *n).collect::<Int64Array>()));
        }
        RecordBatch::try_new(self.output.clone(), columns).map_err(broken)
    }

    /// Rows of one side for the state, each with its number; those that are not there any more have none.
    pub(super) fn state(&self, rows: &[(Key, Row, i64)], right: bool) -> Result<RecordBatch, StageError> {
        let own = self.form(right).decode(rows.iter().map(|(_, row, _)| row))?;
        let other = self.form(!right).nulls(rows.len());
        let mut columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(vec![name(right); rows.len()]))];
        columns.extend(self.key.decode(rows.iter().map(|(key, ..)| key))?);
        let (first, second) = if right { (other, own) } else { (own, other) };
        columns.extend(first.into_iter().chain(second));
        columns.push(Arc::new(rows.iter().map(|(.., n)| (*n != 0).then_some(*n)).collect::<Int64Array>()));
        RecordBatch::try_new(self.state.clone(), columns).map_err(broken)
    }

    /// The rows of one side in the state that belong to this worker.
    pub(super) fn restore(
        &self,
        batch: &RecordBatch,
        shape: &Shape,
        right: bool,
        (worker, workers): (usize, usize),
    ) -> Result<Vec<Update>, StageError> {
        let keys = 1..1 + shape.key.len();
        let key = self.key.encode(batch.columns().get(keys.clone()).unwrap_or_default())?;
        let sides = batch.column(0).as_string::<i32>();
        let mine = |at| sides.value(at) == name(right) && owner(hash(&key.row(at)), workers) == worker;
        let mine: BooleanArray = (0..batch.num_rows()).map(|at| Some(mine(at))).collect();
        let batch = filter_record_batch(batch, &mine).map_err(broken)?;
        let left = keys.end..keys.end + shape.left.columns.len();
        let own = if right { left.end..left.end + shape.right.columns.len() } else { left };
        let columns = batch.columns();
        let key = self.key.encode(columns.get(keys).unwrap_or_default())?;
        let row = self.form(right).encode(columns.get(own).unwrap_or_default())?;
        let numbers = columns.last().map(|c| c.as_primitive::<Int64Type>());
        let number = |at| numbers.map_or(0, |n| n.value(at));
        Ok((0..batch.num_rows()).map(|at| ((key.row(at), row.row(at)), 0, number(at))).collect())
    }
}
