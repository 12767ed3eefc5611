//! What is said to one other process, by a thread of its own: one that does not listen keeps no other from hearing.

use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use super::control::{Message, frame, send};
use crate::progress::{Snapshot, Told};

/// Speaks to one process.
pub(super) struct Voice {
    shared: Arc<Shared>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

/// What is still to be said.
#[derive(Default)]
struct Waiting {
    /// In this order, before any beat: none of it is left out.
    messages: VecDeque<Arc<[u8]>>,
    /// The newest; one that was not sent in time says nothing that this does not.
    beat: Option<Arc<Snapshot>>,
    /// Something is being sent.
    busy: bool,
    /// Nothing more will come.
    over: bool,
    /// The connection is broken.
    broken: bool,
}

impl Waiting {
    fn is_said(&self) -> bool {
        self.broken || (self.messages.is_empty() && !self.busy)
    }
}

enum Next {
    Message(Arc<[u8]>),
    Beat(Arc<Snapshot>),
    Nothing,
}

impl Voice {
    /// Starts its thread.
    pub(super) fn start(process: usize, stream: TcpStream) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { waiting: Mutex::default(), changed: Condvar::new() });
        let speaking = shared.clone();
        thread::Builder::new().name(format!("cluster:to:{process}")).spawn(move || speaking.speak(process, &stream))?;
        Ok(Self { shared })
    }

    /// Sends this after everything that was given before.
    pub(super) fn say(&self, message: Arc<[u8]>) {
        let mut waiting = self.shared.locked();
        if !waiting.broken {
            waiting.messages.push_back(message);
            self.shared.changed.notify_all();
        }
    }

    /// Sends this when nothing else is to be said, unless a newer one comes first.
    pub(super) fn beat(&self, snapshot: Arc<Snapshot>) {
        let mut waiting = self.shared.locked();
        if !waiting.over {
            waiting.beat = Some(snapshot);
            self.shared.changed.notify_all();
        }
    }

    /// No more beats; the connection is closed when everything is said.
    pub(super) fn end(&self) {
        let mut waiting = self.shared.locked();
        waiting.over = true;
        waiting.beat = None;
        self.shared.changed.notify_all();
    }

    /// Waits until everything is said, or until then.
    pub(super) fn wait(&self, deadline: Instant) {
        let mut waiting = self.shared.locked();
        while !waiting.is_said() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            waiting = self.shared.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn locked(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn speak(&self, process: usize, stream: &TcpStream) {
        let mut told = Told::default();
        loop {
            let sent = match self.next() {
                Next::Message(message) => send(stream, &message),
                Next::Beat(snapshot) => {
                    let beat = Message::Beat(snapshot.news(&mut told));
                    frame(&beat).and_then(|frame| {
                        tracing::trace!(process, bytes = frame.len(), "a beat");
                        send(stream, &frame)
                    })
                }
                Next::Nothing => break,
            };
            if let Err(error) = sent {
                // Whoever listens to it notices.
                tracing::debug!(%error, "process {process} does not hear");
                self.locked().broken = true;
                break;
            }
        }
        self.changed.notify_all();
        // What was sent still arrives. A connection that is closed already is fine.
        let _ = stream.shutdown(Shutdown::Write);
    }

    /// Waits for something to say.
    fn next(&self) -> Next {
        let mut waiting = self.locked();
        waiting.busy = false;
        self.changed.notify_all();
        loop {
            let next = match waiting.messages.pop_front() {
                Some(message) => Next::Message(message),
                None => match waiting.beat.take() {
                    Some(beat) => Next::Beat(beat),
                    None if waiting.over => return Next::Nothing,
                    None => {
                        waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                        continue;
                    }
                },
            };
            waiting.busy = true;
            return next;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    #[test]
    fn one_that_does_not_listen_delays_nobody_and_messages_keep_their_order() {
        let ((near, _deaf), (other, mut listening)) = (pair(), pair());
        let (deaf, heard) = (Voice::start(1, near).unwrap(), Voice::start(2, other).unwrap());
        // More than what lies between the two can hold.
        let large: Arc<[u8]> = vec![b'-'; 64 << 20].into();
        deaf.say(large);
        for text in ["one ", "two ", "three"] {
            deaf.say(text.as_bytes().into());
            heard.say(text.as_bytes().into());
        }
        heard.end();
        let mut text = String::new();
        listening.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two three");
        let since = Instant::now();
        let deadline = since + Duration::from_millis(100);
        for voice in [&deaf, &heard] {
            voice.end();
            voice.wait(deadline);
        }
        assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
        assert!(!deaf.shared.locked().is_said() && heard.shared.locked().is_said());
    }

    #[test]
    fn the_newest_beat_is_sent_and_none_after_the_end() {
        let (near, mut far) = pair();
        let voice = Voice::start(1, near).unwrap();
        voice.end();
        voice.beat(Arc::default());
        voice.wait(Instant::now() + Duration::from_secs(10));
        let mut bytes = Vec::new();
        far.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"");
    }
}
