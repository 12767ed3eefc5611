//! Timely over connections that were checked.

use std::any::Any;
use std::net::TcpStream;
use std::panic;
use std::sync::Once;

use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::communication::initialize::Hooks;

/// How Timely's threads say that a connection has broken, and those that wait for them that such a thread has ended.
const BROKEN: [&str; 5] = [
    "timely communication error",
    "MergeQueue poisoned",
    "Clean shutdown followed by data",
    "Send thread panic",
    "Recv thread panic",
];

/// The connections for rows and progress.
pub(crate) struct Network {
    process: usize,
    workers: usize,
    sockets: Vec<Option<TcpStream>>,
}

/// What Timely starts workers from.
pub(crate) type Builders = (Vec<AllocatorBuilder>, Box<dyn Any + Send>);

impl Network {
    /// Sockets by process, none at this one's place.
    pub(super) fn new(process: usize, workers: usize, sockets: Vec<Option<TcpStream>>) -> Self {
        Self { process, workers, sockets }
    }

    /// Starts the threads that send and receive.
    pub(crate) fn start(self) -> Result<Builders, String> {
        quiet();
        let hooks = Hooks::default();
        let inner = ProcessBuilder::new_typed_vector(self.workers, hooks.refill.clone(), hooks.spill.clone());
        let (builders, guard) =
            initialize_networking_from_sockets(inner, self.sockets, self.process, self.workers, hooks)
                .map_err(|e| format!("the network cannot be set up: {e}"))?;
        Ok((builders.into_iter().map(AllocatorBuilder::Tcp).collect(), Box::new(guard)))
    }
}

/// Whether a panic only says that another process is gone.
pub(crate) fn is_broken_connection(panic: &str) -> bool {
    BROKEN.iter().any(|text| panic.contains(text))
}

/// A thread of Timely panics when a connection breaks. Control tells the reason; a trace of the thread tells nobody
/// anything.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let text = crate::graph::panic_text(info.payload());
            if is_broken_connection(text) {
                tracing::debug!("{text}");
            } else {
                before(info);
            }
        }));
    });
}
