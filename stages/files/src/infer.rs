//! Finds out the columns of objects, from a sample of them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use alluvium_engine::arrow::csv::reader::Format as CsvFormat;
use alluvium_engine::arrow::datatypes::DataType;
use alluvium_engine::spec::ColumnType;
use alluvium_engine::stage::{Split, StageError};
use alluvium_engine::storage::Location;
use futures::{StreamExt, TryStreamExt, stream};
use indexmap::IndexMap;
use memchr::memrchr;

use crate::config::{Files, Format};
use crate::fields::{fields, type_of};
use crate::list::{self, Wanted};
use crate::read::Unopened;
use crate::{bytes, parquet};

/// Objects that are looked at, those whose names come first.
const OBJECTS: usize = 1_000;
/// Text that is looked at, of one object and altogether; unpacked.
pub(crate) const OBJECT_BYTES: usize = 4 << 20;
const BYTES: usize = 64 << 20;
/// Objects that are looked at together.
const TOGETHER: usize = 8;
/// More are a sign of data in the place of names.
pub(crate) const MOST_COLUMNS: usize = 1_000;

/// Columns in the order in which they were first seen; one that was always NULL has no type.
pub(crate) type Seen = IndexMap<String, Option<ColumnType>>;

/// Adds what was seen of a column.
pub(crate) fn see(seen: &mut Seen, name: &str, of: Option<ColumnType>) {
    match seen.get_mut(name) {
        Some(known) => *known = wider(*known, of),
        None => drop(seen.insert(name.to_owned(), of)),
    }
}

/// The narrowest type that holds both without loss; text holds everything.
fn wider(a: Option<ColumnType>, b: Option<ColumnType>) -> Option<ColumnType> {
    use ColumnType::{Bigint, Double, Float, Int, String};
    let (Some(a), Some(b)) = (a, b) else { return a.or(b) };
    let among = |types: &[ColumnType]| types.contains(&a) && types.contains(&b);
    Some(match (a, b) {
        (a, b) if a == b => a,
        _ if among(&[Int, Bigint]) => Bigint,
        _ if among(&[Int, Bigint, Float, Double]) => Double,
        _ => String,
    })
}

/// Which objects are looked at when there are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Those whose names come first: always the same.
    First,
    /// Those that were written last.
    Newest,
}

/// Looks at the objects of a source, in the order of their names.
///
/// # Errors
/// Objects cannot be listed, or one of them cannot be read.
pub(crate) async fn sample(
    config: &Files,
    location: &Location,
    wanted: &Wanted,
    choice: Choice,
) -> Result<Seen, StageError> {
    let mut chosen = BTreeMap::new();
    let mut all = list::list(location, wanted, &config.partitions, None);
    while let Some(split) = all.try_next().await? {
        if split.bytes > 0 {
            let age = split.modified.filter(|_| choice == Choice::Newest).map(Reverse);
            chosen.insert((age, split.id.clone()), split);
        }
        if chosen.len() > OBJECTS {
            chosen.pop_last();
        }
    }
    let objects: BTreeMap<String, Split> = chosen.into_iter().map(|((_, id), split)| (id, split)).collect();
    let mut looks = stream::iter(objects.into_values().map(|split| object(config, location, split))).buffered(TOGETHER);
    let (mut seen, mut bytes) = (Seen::new(), 0);
    while let Some((columns, read)) = looks.try_next().await? {
        columns.iter().for_each(|(name, of)| see(&mut seen, name, *of));
        bytes += read;
        if bytes >= BYTES {
            break;
        }
    }
    Ok(seen)
}

/// The columns of one object, and how many bytes of it were looked at.
async fn object(config: &Files, location: &Location, split: Split) -> Result<(Seen, usize), StageError> {
    let looked = match config.format {
        Format::Parquet => parquet::columns(location, &split).await.map(|seen| (seen, 0)),
        Format::Json | Format::Csv => text(config, location, &split).await,
    };
    match looked {
        Ok(looked) => Ok(looked),
        // The next listing finds it as it is then.
        Err(Unopened::Missing | Unopened::Changed(_)) => Ok((Seen::new(), 0)),
        Err(Unopened::Failed(error)) => Err(error),
    }
}

async fn text(config: &Files, location: &Location, split: &Split) -> Result<(Seen, usize), Unopened> {
    let bytes::Opened { reader, behind, .. } = bytes::fetch(location, split).await?;
    let (format, delimiter) = (config.format, config.delimiter());
    let looked = tokio::task::spawn_blocking(move || {
        let mut text = Vec::new();
        // What is before a damaged place is looked at; the damage is told when the object is read.
        let _ = reader.take(OBJECT_BYTES as u64).read_to_end(&mut text);
        let bytes = text.len();
        // Bytes that did not come are no damage: columns would be missing.
        behind
            .fault()
            .map_or_else(|| Ok((if format == Format::Csv { csv(&text, delimiter) } else { json(&text) }, bytes)), Err)
    });
    let looked = looked
        .await
        .map_err(|e| StageError::internal("an object could not be looked at").object(&split.id).because(e))?;
    Ok(looked?)
}

fn json(text: &[u8]) -> Seen {
    let mut seen = Seen::new();
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    // A line that is cut is no JSON, and is left out like a bad one.
    for line in text.split(|b| *b == b'\n') {
        for (name, raw) in fields(line).into_iter().flatten() {
            see(&mut seen, &name, type_of(raw));
        }
    }
    seen
}

/// The columns of CSV text with a header; a last record that may be cut is left out of a long text.
pub(crate) fn csv(text: &[u8], delimiter: u8) -> Seen {
    let end = if text.len() < OBJECT_BYTES { None } else { memrchr(b'\n', text) };
    let text = String::from_utf8_lossy(&text[..end.unwrap_or(text.len())]);
    let format = CsvFormat::default().with_header(true).with_delimiter(delimiter).with_truncated_rows(true);
    let Ok((schema, _)) = format.infer_schema(text.as_bytes(), None) else { return Seen::new() };
    let named = schema.fields().iter().filter(|f| !f.name().trim().is_empty());
    named.map(|f| (f.name().trim().to_owned(), column_type(f.data_type()))).collect()
}

/// The type of a spec that holds values of an Arrow type without loss.
pub(crate) fn column_type(of: &DataType) -> Option<ColumnType> {
    use DataType as D;
    Some(match of {
        D::Null => return None,
        D::Boolean => ColumnType::Boolean,
        D::Int8 | D::Int16 | D::Int32 | D::UInt8 | D::UInt16 => ColumnType::Int,
        D::Int64 | D::UInt32 => ColumnType::Bigint,
        D::Float16 | D::Float32 => ColumnType::Float,
        D::Float64 => ColumnType::Double,
        D::Date32 | D::Date64 => ColumnType::Date,
        D::Timestamp(..) => ColumnType::Timestamp,
        D::Dictionary(_, values) => return column_type(values),
        _ => ColumnType::String,
    })
}

/// The columns of an Arrow schema.
pub(crate) fn columns(schema: &Arc<alluvium_engine::arrow::datatypes::Schema>) -> Seen {
    schema.fields().iter().map(|f| (f.name().clone(), column_type(f.data_type()))).collect()
}
