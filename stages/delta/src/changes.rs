//! The changed rows of an epoch: of each key the newest, and the keys that are gone.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use alluvium_engine::arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use alluvium_engine::arrow::compute::{concat_batches, take_record_batch};
use alluvium_engine::arrow::datatypes::SchemaRef;
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::arrow::ipc::reader::StreamReader;
use alluvium_engine::arrow::ipc::writer::StreamWriter;
use alluvium_engine::arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use alluvium_engine::arrow::util::display::array_value_to_string;
use alluvium_engine::stage::{StageError, Staged, diffs};

use crate::counted::add_up;
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
    /// Keys that have no row any more.
    gone: HashSet<OwnedRow>,
}

fn broken(error: ArrowError) -> StageError {
    StageError::internal("changed rows cannot be compared").because(error)
}

impl Changes {
    /// Of each key the newest row; of rows that are equally new always the same one.
    fn new(batches: &[RecordBatch], target: &Target) -> Result<Self, StageError> {
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
        Ok(Some(Self { key, latest, batch, rows, gone: HashSet::new() }))
    }

    /// Rows that come and go, added up: a key has the row that comes, or none.
    fn counted(batches: &[RecordBatch], target: &Target) -> Result<Self, StageError> {
        let batch = add_up(batches, &target.schema)?;
        let key = Order::new(&target.schema, target.keys.clone()).map_err(broken)?;
        let keys = key.rows(&batch).map_err(broken)?;
        let numbers = diffs(&batch)?.ok_or_else(|| StageError::internal("changes are not counted"))?;
        let mut rows: HashMap<OwnedRow, (u32, Option<OwnedRow>)> = HashMap::new();
        let mut gone = HashSet::new();
        for ((place, key), number) in (0_u32..).zip(&keys).zip(numbers.values()) {
            if *number < 0 {
                gone.insert(key.owned());
            } else if *number > 1 || rows.insert(key.owned(), (place, None)).is_some() {
                return Err(several(&batch, place, target));
            }
        }
        gone.retain(|key| !rows.contains_key(key));
        let columns = batch.columns()[..target.schema.fields().len()].to_vec();
        let batch = RecordBatch::try_new(target.schema.clone(), columns).map_err(broken)?;
        Ok(Self { key, latest: None, batch, rows, gone })
    }

    /// What a writer hands over of the rows that it was given.
    pub(crate) fn stage(batches: &[RecordBatch], target: &Target) -> Result<Vec<Staged>, StageError> {
        let rows = if target.counted {
            // The rows of a key may be on several workers: only the committer sees all.
            add_up(batches, &target.schema)?
        } else {
            Self::new(batches, target)?.newest().map_err(broken)?
        };
        let encode = || {
            let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema())?;
            writer.write(&rows)?;
            writer.into_inner()
        };
        if rows.num_rows() == 0 { Ok(Vec::new()) } else { Ok(vec![Staged(encode().map_err(broken)?)]) }
    }

    /// What writers have handed over.
    pub(crate) fn decode(staged: &[Staged], target: &Target) -> Result<Self, StageError> {
        let mut batches = Vec::new();
        for item in staged {
            let reader = StreamReader::try_new(item.0.as_slice(), None).map_err(broken)?;
            batches.extend(reader.collect::<Result<Vec<_>, _>>().map_err(broken)?);
        }
        if target.counted { Self::counted(&batches, target) } else { Self::new(&batches, target) }
    }

    /// Keys that change.
    pub(crate) fn len(&self) -> usize {
        self.rows.len() + self.gone.len()
    }

    /// All rows that came, also those that others have replaced since.
    pub(crate) fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// Places in [`Changes::batch`] of the rows that count, in no order.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.rows.values().map(|(number, _)| *number)
    }

    /// What takes the place of each of these rows: a row that came, and whether it has the same values; nothing for keys
    /// that are gone.
    pub(crate) fn next(&self, old: &RecordBatch) -> Result<Vec<Option<(u32, bool)>>, ArrowError> {
        let schema = self.batch.schema();
        let all = schema.fields().iter().map(|f| f.name().clone()).collect();
        let whole = Order::new(&schema, all)?;
        let (before, numbers) = (whole.rows(old)?, self.numbers_of(old)?);
        let after: Vec<u32> = numbers.iter().flatten().copied().collect();
        let after = whole.rows(&take_record_batch(&self.batch, &UInt32Array::from(after))?)?;
        let mut after = after.iter();
        let pairs = before.iter().zip(numbers);
        Ok(pairs.map(|(row, number)| Some((number?, after.next() == Some(row)))).collect())
    }

    /// The place in [`Changes::batch`] of the row that takes the place of each of these rows, if one does.
    pub(crate) fn numbers_of(&self, old: &RecordBatch) -> Result<Vec<Option<u32>>, ArrowError> {
        Ok(self.key.rows(old)?.iter().map(|key| Some(self.rows.get(&key.owned())?.0)).collect())
    }

    /// [`Changes::numbers`] in the order in which the rows came.
    pub(crate) fn in_order(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.numbers().collect();
        numbers.sort_unstable();
        numbers
    }

    /// The rows, in the order in which they came.
    fn newest(&self) -> Result<RecordBatch, ArrowError> {
        take_record_batch(&self.batch, &UInt32Array::from(self.in_order()))
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
                (None, _) => self.gone.contains(&key),
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

/// Rows that should be one.
fn several(batch: &RecordBatch, place: u32, target: &Target) -> StageError {
    let value = |name: &String| {
        let column = batch.column_by_name(name)?;
        let text = array_value_to_string(column, usize::try_from(place).ok()?).ok()?;
        Some(format!("{name} = {text}"))
    };
    let key: Vec<String> = target.keys.iter().filter_map(value).collect();
    StageError::user(format!("the input has several rows with the key {}", key.join(", "))).hint(
        "`key:` must name columns that tell every row from every other; a `dedup` stage before keeps one row per key",
    )
}
