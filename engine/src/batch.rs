//! Rows between operators: an Arrow record batch as a Timely container, its form on the wire, and who owns a key.

use std::io::Write;

use arrow::array::UInt32Array;
use arrow::buffer::Buffer;
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamEncoder;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use timely::Accountable;
use timely::bytes::arc::Bytes;
use timely::communication::Push;
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::channels::{ContainerBytes, Message};
use timely::progress::Stamp;

use crate::stage::StageError;

/// A container of one record batch. Progress tracking counts its rows.
#[derive(Clone, Default)]
pub struct Batch {
    rows: Rows,
}

#[derive(Clone, Default)]
enum Rows {
    #[default]
    None,
    Some(RecordBatch),
    /// What arrived could not be decoded. Kept, so that the consumer fails instead of going on without the rows.
    Broken(String),
}

impl From<RecordBatch> for Batch {
    fn from(batch: RecordBatch) -> Self {
        Self { rows: Rows::Some(batch) }
    }
}

impl Batch {
    /// The rows, if there are any.
    pub fn rows(&self) -> Option<&RecordBatch> {
        match &self.rows {
            Rows::Some(batch) => Some(batch),
            _ => None,
        }
    }

    /// Takes the rows out.
    ///
    /// # Errors
    /// When the batch came from another process and could not be decoded.
    pub fn take(&mut self) -> Result<Option<RecordBatch>, StageError> {
        match std::mem::take(&mut self.rows) {
            Rows::None => Ok(None),
            Rows::Some(batch) => Ok(Some(batch)),
            Rows::Broken(reason) => {
                Err(StageError::internal(format!("rows from another process could not be decoded: {reason}")))
            }
        }
    }

    /// Arrow IPC, schema first, in buffers that share the batch's memory; for rows that cannot be encoded, [`BROKEN`] and
    /// the reason.
    fn encode(&self) -> Vec<Buffer> {
        let encoded = match &self.rows {
            Rows::None => return Vec::new(),
            Rows::Some(batch) => StreamEncoder::try_new(&batch.schema()).and_then(|mut e| e.encode(batch)),
            Rows::Broken(reason) => Err(ArrowError::IpcError(reason.clone())),
        };
        encoded
            .unwrap_or_else(|error| vec![Buffer::from([BROKEN].as_slice()), Buffer::from(error.to_string().as_bytes())])
    }

    fn decode(bytes: Bytes) -> Result<Rows, ArrowError> {
        match bytes.split_first() {
            None => return Ok(Rows::None),
            Some((&BROKEN, reason)) => return Ok(Rows::Broken(String::from_utf8_lossy(reason).into_owned())),
            Some(_) => {}
        }
        let mut buffer = Buffer::from(bytes::Bytes::from_owner(Owner(bytes)));
        let batch = StreamDecoder::new().decode(&mut buffer)?;
        batch.map(Rows::Some).ok_or_else(|| ArrowError::IpcError("the rows are cut short".into()))
    }
}

/// No IPC stream begins so.
const BROKEN: u8 = b'!';

/// Lets Arrow share the memory that Timely received.
struct Owner(Bytes);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Accountable for Batch {
    fn record_count(&self) -> i64 {
        match &self.rows {
            Rows::Some(batch) => i64::try_from(batch.num_rows()).unwrap_or(i64::MAX),
            _ => 0,
        }
    }
}

impl ContainerBytes for Batch {
    fn from_bytes(bytes: Bytes) -> Self {
        Self { rows: Self::decode(bytes).unwrap_or_else(|e| Rows::Broken(e.to_string())) }
    }

    fn length_in_bytes(&self) -> usize {
        self.encode().iter().map(Buffer::len).sum()
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        for buffer in self.encode() {
            // The writer is memory of the announced length.
            let _ = writer.write_all(&buffer);
        }
    }
}

/// Hashes key columns: the same for the same values in every process of one version. Never stored.
pub struct KeyHasher {
    columns: Vec<usize>,
    converter: RowConverter,
}

impl KeyHasher {
    /// A hasher of these columns.
    ///
    /// # Errors
    /// A column that is not there, or whose type has no order.
    pub fn new(schema: &SchemaRef, columns: &[String]) -> Result<Self, ArrowError> {
        let columns = columns.iter().map(|c| schema.index_of(c)).collect::<Result<Vec<_>, _>>()?;
        let fields = columns.iter().map(|&i| SortField::new(schema.field(i).data_type().clone())).collect();
        Ok(Self { columns, converter: RowConverter::new(fields)? })
    }

    /// The hash of each row.
    ///
    /// # Errors
    /// Columns of other types than those of the schema.
    pub fn hashes(&self, batch: &RecordBatch) -> Result<Vec<u64>, ArrowError> {
        let columns: Vec<_> = self.columns.iter().map(|&i| batch.column(i).clone()).collect();
        let rows = self.converter.convert_columns(&columns)?;
        Ok(rows.iter().map(|row| hash(row.as_ref())).collect())
    }
}

/// FNV-1a with a final mix: short keys, no state, and the low bits must be good for `%`.
pub fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (fnv ^ (fnv >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 32)
}

/// The worker that owns a key with this hash.
pub fn owner(hash: u64, workers: usize) -> usize {
    usize::try_from(hash % workers.max(1) as u64).unwrap_or(0)
}

/// Sends every row to the owner of its key.
pub(crate) struct ByKey {
    hasher: KeyHasher,
}

impl ByKey {
    pub(crate) fn new(hasher: KeyHasher) -> Self {
        Self { hasher }
    }

    fn split(&self, batch: &RecordBatch, workers: usize) -> Result<Vec<RecordBatch>, ArrowError> {
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); workers];
        for (row, hash) in (0_u32..).zip(self.hasher.hashes(batch)?) {
            if let Some(list) = rows.get_mut(owner(hash, workers)) {
                list.push(row);
            }
        }
        rows.into_iter().map(|list| take_record_batch(batch, &UInt32Array::from(list))).collect()
    }
}

impl Distributor<Batch> for ByKey {
    fn partition<T: Clone, P: Push<Message<T, Batch>>>(
        &mut self,
        container: &mut Batch,
        stamp: &Stamp<T>,
        pushers: &mut [P],
    ) {
        let Rows::Some(batch) = std::mem::take(&mut container.rows) else { return };
        let parts = self.split(&batch, pushers.len());
        match parts {
            Ok(parts) => {
                for (part, pusher) in parts.into_iter().zip(pushers) {
                    if part.num_rows() > 0 {
                        Message::push_at(&mut Batch::from(part), stamp.clone(), pusher);
                    }
                }
            }
            Err(error) => {
                // Rows that cannot be split must not vanish: the first consumer gets to know.
                if let Some(pusher) = pushers.first_mut() {
                    Message::push_at(&mut Batch { rows: Rows::Broken(error.to_string()) }, stamp.clone(), pusher);
                }
            }
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Batch>>>(&mut self, _stamp: &Stamp<T>, _pushers: &mut [P]) {}
}
