//! What processes tell each other while they run: a length of four bytes, then JSON.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Epoch;
use crate::checkpoint::Completion;
use crate::progress::Snapshot;
use crate::runtime::{Control, Mark};
use crate::stage::Resolved;

/// A longer one is damage. State manifests are the largest part of any.
const MOST_BYTES: usize = 64 << 20;

/// From one process to another.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Message {
    /// From the leader: the state is open and the tables agree with it.
    Start(Box<Start>),
    /// Still there, and how far.
    Beat(Snapshot),
    /// Finish the open epochs, then end.
    Drain,
    /// Somebody has asked for this, in any process.
    Control(Control),
    /// The sender ends because of this; nothing more will come.
    Failed { fault: String, anew: Option<Anew> },
    /// The sender's workers have ended in order; whether because of a drain.
    Finished { snapshot: Snapshot, drained: bool },
}

/// What a stage has found out, with which all processes begin anew.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Anew {
    pub(super) stage: String,
    pub(super) message: String,
    pub(super) resolved: Resolved,
}

/// Where the run begins.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Start {
    /// By which the others see that their state and tables are the leader's.
    pub(crate) mark: Mark,
    pub(crate) first_epoch: Epoch,
    /// The newest complete epoch, with its operator state.
    pub(crate) completed: Option<Completion>,
}

/// A message as it is sent.
pub(super) fn frame(message: &Message) -> std::io::Result<Arc<[u8]>> {
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len()).map_err(std::io::Error::other)?;
    Ok([&length.to_be_bytes(), json.as_slice()].concat().into())
}

/// Sends a [`frame`].
pub(super) fn send(mut stream: &TcpStream, frame: &[u8]) -> std::io::Result<()> {
    stream.write_all(frame)
}

/// Takes messages from a stream that has a time limit for reading.
pub(super) struct Incoming {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Incoming {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// The next message; `None` if none has come in time.
    ///
    /// # Errors
    /// The connection is closed or broken, or what came is no message.
    pub(super) fn next(&mut self) -> std::io::Result<Option<Message>> {
        loop {
            if let Some((length, rest)) = self.buffer.split_first_chunk::<4>() {
                let length = u32::from_be_bytes(*length) as usize;
                if length > MOST_BYTES {
                    return Err(ErrorKind::InvalidData.into());
                }
                if let Some(json) = rest.get(..length) {
                    let message = serde_json::from_slice(json)?;
                    self.buffer.drain(..4 + length);
                    return Ok(Some(message));
                }
            }
            let mut piece = [0; 16 << 10];
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.buffer.extend_from_slice(&piece[..read]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}
