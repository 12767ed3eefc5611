//! Rows of state: totals of groups, how often there is each value, and the watermark.

use std::sync::Arc;

use alluvium_engine::arrow::array::{
    ArrayRef, AsArray, BinaryArray, Int8Array, Int32Array, Int64Array, RecordBatch, new_null_array,
};
use alluvium_engine::arrow::datatypes::{DataType, Field, Int8Type, Int32Type, Int64Type, Schema, SchemaRef};
use alluvium_engine::stage::{StageError, StateSchema};

use super::add::GroupValue;
use super::keys::{Group, form};
use super::shape::Shape;
use super::totals::{Totals, Value};
use crate::form::{Form, broken};

/// What a row of state is about.
const GROUP: i8 = 0;
const VALUE: i8 = 1;
const WATERMARK: i8 = 2;

/// A change of the state; nothing means that it is gone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    Group(Group, Option<Totals>),
    Value(GroupValue, Option<i64>),
    Watermark(i64),
}

/// The columns: what the row is about, time, key, which aggregate, value; and then what is known of that.
pub(crate) fn schema(shape: &Shape, fingerprint: &str) -> StateSchema {
    let mut fields = vec![Field::new("_part", DataType::Int8, false), Field::new("_time", DataType::Int64, true)];
    fields.extend(shape.keys().iter().map(|f| f.as_ref().clone().with_nullable(true)));
    fields.push(Field::new("_column", DataType::Int32, true));
    fields.push(Field::new("_value", DataType::Binary, true));
    fields.push(Field::new("_total", DataType::Binary, true));
    StateSchema {
        keys: fields.len() - 1,
        schema: Arc::new(Schema::new(fields)),
        fingerprint: format!("{fingerprint} {:?}", shape.types()),
    }
}

/// Turns changes into rows of state and back.
pub(crate) struct Codec {
    keys: Form,
    key_fields: usize,
    schema: SchemaRef,
}

impl Codec {
    pub(crate) fn new(shape: &Shape, schema: SchemaRef) -> Result<Self, StageError> {
        Ok(Self { keys: form(shape.keys())?, key_fields: shape.keys().len(), schema })
    }

    pub(crate) fn encode(&self, changes: &[Change]) -> Result<Vec<RecordBatch>, StageError> {
        let of = |wanted: i8| changes.iter().filter(|c| c.part() == wanted).collect::<Vec<_>>();
        [GROUP, VALUE, WATERMARK]
            .into_iter()
            .map(|part| (part, of(part)))
            .filter(|(_, changes)| !changes.is_empty())
            .map(|(part, changes)| self.batch(part, &changes))
            .collect()
    }

    fn batch(&self, part: i8, changes: &[&Change]) -> Result<RecordBatch, StageError> {
        let rows = changes.len();
        let groups: Vec<Option<&Group>> = changes.iter().map(|c| c.group()).collect();
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Int8Array::from(vec![part; rows])),
            Arc::new(groups.iter().map(|g| g.map(|g| g.1)).collect::<Int64Array>()),
        ];
        if part == WATERMARK {
            let fields = self.schema.fields().iter().skip(2).take(self.key_fields);
            columns.extend(fields.map(|f| new_null_array(f.data_type(), rows)));
        } else {
            columns.extend(self.keys.decode(groups.iter().flatten().map(|g| &g.0))?);
        }
        let values: Vec<Option<(i32, &[u8])>> = changes.iter().map(|c| c.value()).collect();
        columns.push(Arc::new(values.iter().map(|v| v.map(|v| v.0)).collect::<Int32Array>()));
        columns.push(Arc::new(BinaryArray::from_iter(values.iter().map(|v| v.map(|v| v.1)))));
        let totals = changes.iter().map(|c| c.total()).collect::<Result<Vec<_>, _>>()?;
        columns.push(Arc::new(BinaryArray::from_iter(totals)));
        RecordBatch::try_new(self.schema.clone(), columns).map_err(broken)
    }

    /// What rows of state say of keys for which `wanted` holds, and the watermark.
    ///
    /// # Errors
    /// Rows that were not written by [`Codec::encode`].
    pub(crate) fn decode(
        &self,
        batch: &RecordBatch,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<Change>, StageError> {
        let damaged = || StageError::external("the stage's state is damaged");
        let [part, time, rest @ ..] = batch.columns() else { return Err(damaged()) };
        let (Some(key_columns), [column, value, total]) =
            (rest.get(..self.key_fields), &rest[self.key_fields.min(rest.len())..])
        else {
            return Err(damaged());
        };
        let keys = self.keys.encode(key_columns)?;
        let (part, time) = (part.as_primitive::<Int8Type>(), time.as_primitive::<Int64Type>());
        let (column, value, total) =
            (column.as_primitive::<Int32Type>(), value.as_binary::<i32>(), total.as_binary::<i32>());
        (0..batch.num_rows())
            .filter_map(|row| {
                let key = keys.row(row);
                (part.value(row) == WATERMARK || wanted(&key)).then_some((row, key))
            })
            .map(|(row, key)| {
                let group = || (key, time.value(row));
                let bytes = total.value(row);
                let number = || bytes.try_into().map(i64::from_le_bytes).map_err(|_| damaged());
                Ok(match part.value(row) {
                    GROUP => Change::Group(group(), Some(Totals::decode(bytes)?)),
                    VALUE => {
                        let column = u16::try_from(column.value(row)).map_err(|_| damaged())?;
                        Change::Value((group(), column, Value::from(value.value(row))), Some(number()?))
                    }
                    WATERMARK => Change::Watermark(number()?),
                    _ => return Err(damaged()),
                })
            })
            .collect()
    }
}

impl Change {
    fn part(&self) -> i8 {
        match self {
            Self::Group(..) => GROUP,
            Self::Value(..) => VALUE,
            Self::Watermark(_) => WATERMARK,
        }
    }

    /// The group that it is about.
    pub(crate) fn group(&self) -> Option<&Group> {
        match self {
            Self::Group(group, _) | Self::Value((group, ..), _) => Some(group),
            Self::Watermark(_) => None,
        }
    }

    fn value(&self) -> Option<(i32, &[u8])> {
        if let Self::Value((_, column, value), _) = self { Some((i32::from(*column), value)) } else { None }
    }

    fn total(&self) -> Result<Option<Vec<u8>>, StageError> {
        match self {
            Self::Group(_, totals) => totals.as_ref().map(Totals::encode).transpose(),
            Self::Value(_, n) => Ok(n.map(|n| n.to_le_bytes().to_vec())),
            Self::Watermark(time) => Ok(Some(time.to_le_bytes().to_vec())),
        }
    }
}
