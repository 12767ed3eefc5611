//! Columns as bytes, row by row, in Arrow's row format: the order of bytes is the order of values, and equal values have
//! equal bytes. What operators keep of a row.

use alluvium_engine::arrow::array::{ArrayRef, new_null_array};
use alluvium_engine::arrow::compute::SortOptions;
use alluvium_engine::arrow::datatypes::{DataType, SchemaRef};
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::arrow::row::{RowConverter, Rows, SortField};
use alluvium_engine::spec::{Problem, type_name};
use alluvium_engine::stage::StageError;

/// The form of one row.
pub(crate) type Bytes = Box<[u8]>;

/// Turns some columns into bytes and back.
pub(crate) struct Form {
    converter: RowConverter,
    types: Vec<DataType>,
}

/// Rows of one batch; without columns all are the same.
pub(crate) struct Encoded(Option<Rows>);

impl Encoded {
    pub(crate) fn row(&self, at: usize) -> Bytes {
        self.0.as_ref().map(|rows| rows.row(at).as_ref().into()).unwrap_or_default()
    }
}

pub(crate) fn broken(error: ArrowError) -> StageError {
    StageError::internal("rows do not have the form of the plan").because(error)
}

impl Form {
    /// A form in this order of each column.
    pub(crate) fn ordered(columns: Vec<(DataType, SortOptions)>) -> Result<Self, StageError> {
        let fields = columns.iter().map(|(t, o)| SortField::new_with_options(t.clone(), *o)).collect();
        let types = columns.into_iter().map(|(t, _)| t).collect();
        Ok(Self { converter: RowConverter::new(fields).map_err(broken)?, types })
    }

    /// A form in the natural order of each column, NULL first.
    pub(crate) fn plain(types: impl IntoIterator<Item = DataType>) -> Result<Self, StageError> {
        Self::ordered(types.into_iter().map(|t| (t, SortOptions::default())).collect())
    }

    pub(crate) fn encode(&self, columns: &[ArrayRef]) -> Result<Encoded, StageError> {
        if self.types.is_empty() {
            return Ok(Encoded(None));
        }
        self.converter.convert_columns(columns).map(|rows| Encoded(Some(rows))).map_err(broken)
    }

    pub(crate) fn decode<'b>(&self, rows: impl IntoIterator<Item = &'b Bytes>) -> Result<Vec<ArrayRef>, StageError> {
        if self.types.is_empty() {
            return Ok(Vec::new());
        }
        let parser = self.converter.parser();
        self.converter.convert_rows(rows.into_iter().map(|row| parser.parse(row))).map_err(broken)
    }

    /// Columns of nothing but NULL.
    pub(crate) fn nulls(&self, rows: usize) -> Vec<ArrayRef> {
        self.types.iter().map(|t| new_null_array(t, rows)).collect()
    }
}

/// Columns of an input whose rows cannot be kept.
pub(crate) fn unfit(schema: &SchemaRef) -> Vec<Problem> {
    let fits = |t: &DataType| RowConverter::supports_fields(&[SortField::new(t.clone())]);
    let fields = schema.fields().iter().filter(|f| !fits(f.data_type()));
    let problem = |name: &str, t: &DataType| {
        Problem::field("input", format!("column `{name}` has type {}, which cannot be kept", type_name(t)))
            .label("gives this column")
            .help("leave it out, or CAST it, in a `sql` stage before")
    };
    fields.map(|f| problem(f.name(), f.data_type())).collect()
}

/// `name type` of the columns that an input had from the beginning: part of what a state means.
pub(crate) fn lasting(schema: &SchemaRef, evolved: &[String]) -> Vec<String> {
    let fields = schema.fields().iter().filter(|f| !evolved.contains(f.name()));
    fields.map(|f| format!("{} {}", f.name(), f.data_type())).collect()
}
