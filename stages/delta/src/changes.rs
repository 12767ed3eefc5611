//! The changed rows of an epoch: of each key the newest.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use alluvium_engine::arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use alluvium_engine::arrow::compute::{concat_batches, take_record_batch};
use alluvium_engine::arrow::datatypes::SchemaRef;
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::arrow::ipc::reader::StreamReader;
use alluvium_engine::arrow::ipc::writer::StreamWriter;
use alluvium_engine::arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use alluvium_engine::stage::{StageError, Staged};

use crate::table::Target;

/// Compares rows of one key.
struct Order {
    columns: Vec<String>,
    converter: RowConverter,
}

impl Order {
    fn new(schema: &SchemaRef, columns: Vec<String>) -> Result<Self, ArrowError> {
        let fields = columns.iter().map(|c| Ok(SortField::new(schema.field_with_name(c)?.data_type().clone())));
        Ok(Self { converter: RowConverter::new(fields.collect::<Result<_, ArrowError>>()?)?, columns })
    }

    fn rows(&self, batch: &RecordBatch) -> Result<Rows, ArrowError> {
        let column = |c: &String| Ok(batch.column(batch.schema().index_of(c)?).clone());
        self.converter.convert_columns(&self.columns.iter().map(column).collect::<Result<Vec<_>, ArrowError>>()?)
    }
}

/// Changed rows by key.
pub(crate) struct Changes {
    key: Order,
    /// Says which of two rows is newer; without it there is one row per key and epoch, and the epoch says it.
    latest: Option<Order>,
    batch: RecordBatch,
    /// The row of each key, and what `latest_by` says of it.
    rows: HashMap<OwnedRow, (u32, Option<OwnedRow>)>,
}

fn broken(error: ArrowError) -> StageError {
    StageError::internal("changed rows cannot be compared").because(error)
}

impl Changes {
    /// Of each key the newest row; of rows that are equally new always the same one.
    pub(crate) fn new(batches: &[RecordBatch], target: &Target) -> Result<Self, StageError> {
        Self::build(batches, target)
            .map_err(broken)?
            .ok_or_else(|| StageError::internal("the input gave two rows of one key in one epoch"))
    }

    fn build(batches: &[RecordBatch], target: &Target) -> Result<Option<Self>, ArrowError> {
        let batch = concat_batches(&target.schema, batches)?;
        let key = Order::new(&target.schema, target.keys.clone())?;
        let latest = target.config.latest_by.clone().map(|c| Order::new(&target.schema, vec![c])).transpose()?;
        let comparable = target.schema.fields().iter().filter(|f| !f.data_type().is_nested()).map(|f| f.name().clone());
        let whole = Order::new(&target.schema, comparable.collect())?.rows(&batch)?;
        let moments = latest.as_ref().map(|l| l.rows(&batch)).transpose()?;
        let mut rows: HashMap<OwnedRow, (u32, Option<OwnedRow>)> = HashMap::with_capacity(batch.num_rows());
        for (row, (number, key)) in (0_u32..).zip(key.rows(&batch)?.iter()).enumerate() {
            let moment = moments.as_ref().map(|m| m.row(row).owned());
            match rows.entry(key.owned()) {
                Entry::Vacant(free) => drop(free.insert((number, moment))),
                Entry::Occupied(_) if moments.is_none() => return Ok(None),
                Entry::Occupied(mut kept) => {
                    let (other, before) = kept.get();
                    if (&moment, whole.row(row)) > (before, whole.row(*other as usize)) {
                        kept.insert((number, moment));
                    }
                }
            }
        }
        Ok(Some(Self { key, latest, batch, rows }))
    }

    /// What writers have handed over.
    pub(crate) fn decode(staged: &[Staged], target: &Target) -> Result<Self, StageError> {
        let mut batches = Vec::new();
        for item in staged {
            let reader = StreamReader::try_new(item.0.as_slice(), None).map_err(broken)?;
            batches.extend(reader.collect::<Result<Vec<_>, _>>().map_err(broken)?);
        }
        Self::new(&batches, target)
    }

    /// To hand over: the rows that are the newest of their key.
    pub(crate) fn encode(&self) -> Result<Vec<Staged>, StageError> {
        let encode = || {
            let rows = self.newest()?;
            let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema())?;
            writer.write(&rows)?;
            writer.into_inner()
        };
        if self.rows.is_empty() { Ok(Vec::new()) } else { Ok(vec![Staged(encode().map_err(broken)?)]) }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows, in the order in which they came.
    pub(crate) fn newest(&self) -> Result<RecordBatch, ArrowError> {
        let mut numbers: Vec<u32> = self.rows.values().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        take_record_batch(&self.batch, &UInt32Array::from(numbers))
    }

    /// Columns that must be known of a row to say whether it is replaced.
    pub(crate) fn compared(&self) -> impl Iterator<Item = &str> {
        self.key.columns.iter().chain(self.latest.iter().flat_map(|l| &l.columns)).map(String::as_str)
    }

    /// Which rows of the table are replaced. A change that is older than the row in the table is forgotten.
    pub(crate) fn replaced(&mut self, batch: &RecordBatch) -> Result<BooleanArray, ArrowError> {
        let keys = self.key.rows(batch)?;
        let moments = self.latest.as_ref().map(|l| l.rows(batch)).transpose()?;
        let mut replaced = Vec::with_capacity(batch.num_rows());
        for (row, key) in keys.iter().enumerate() {
            let key = key.owned();
            let newer = match (self.rows.get(&key), &moments) {
                (None, _) => false,
                (Some((_, Some(change))), Some(moments)) if moments.row(row) > change.row() => {
                    self.rows.remove(&key);
                    false
                }
                (Some(_), _) => true,
            };
            replaced.push(newer);
        }
        Ok(BooleanArray::from(replaced))
    }
}
