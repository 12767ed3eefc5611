//! A checked pair of connections between every two processes: the one with the higher number dials.

use std::collections::BTreeMap;
use std::net::TcpStream as StdStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::handshake::{self, Caller, Channel, Facts, Failure};
use super::{ClusterOptions, LONGEST_WAIT, fault};
use crate::stage::{Fault, StageError};

/// Between two tries to reach a process.
const AGAIN: Duration = Duration::from_millis(200);
/// Callers that are being checked at the same time; more wait.
const CALLERS: usize = 64;

/// The connections to another process.
pub(super) struct Peer {
    pub(super) control: StdStream,
    pub(super) data: StdStream,
}

/// What has been connected to a process so far.
struct Found {
    /// The start of the process that it belongs to. Who starts a second one by mistake must not get half of it.
    instance: String,
    control: Option<TcpStream>,
    data: Option<TcpStream>,
}

impl Found {
    fn of(instance: &str) -> Self {
        Self { instance: instance.into(), control: None, data: None }
    }

    fn is_complete(&self) -> bool {
        self.control.is_some() && self.data.is_some()
    }

    fn is_gone(&self) -> bool {
        [&self.control, &self.data].into_iter().flatten().any(is_closed)
    }
}

/// What all tasks need.
struct Shared {
    options: ClusterOptions,
    facts: Facts,
    /// This start of this process.
    instance: String,
    found: Mutex<BTreeMap<usize, Found>>,
    /// The last caller that was refused, for the message when somebody is missing.
    refused: Mutex<Option<String>>,
}

/// Connects to all others and lets them connect; by process, with `None` at this one's place.
///
/// # Errors
/// Who has not come, or does not fit.
pub(super) async fn connect(options: &ClusterOptions, facts: &Facts) -> Result<Vec<Option<Peer>>, Fault> {
    let (me, count) = (options.process, options.hosts.count());
    let shared = Arc::new(Shared {
        options: options.clone(),
        facts: facts.clone(),
        instance: uuid::Uuid::new_v4().simple().to_string(),
        found: Mutex::default(),
        refused: Mutex::default(),
    });
    let deadline = Instant::now() + LONGEST_WAIT;
    let (done, mut heard) = mpsc::unbounded_channel();
    // Tasks end with the set.
    let mut tasks = JoinSet::new();
    if me + 1 < count {
        let listener = own_listener(options, deadline).await?;
        tasks.spawn(listen(listener, shared.clone(), done.clone()));
    }
    for to in 0..me {
        for channel in [Channel::Control, Channel::Data] {
            tasks.spawn(dial(shared.clone(), to, channel, done.clone()));
        }
    }
    let missing = |shared: &Shared| -> Vec<usize> {
        let found = shared.found.lock().unwrap_or_else(PoisonError::into_inner);
        (0..count).filter(|p| *p != me && !found.get(p).is_some_and(Found::is_complete)).collect()
    };
    tracing::info!("process {me} of {count} waits for the others");
    while !missing(&shared).is_empty() {
        match tokio::time::timeout_at(deadline, heard.recv()).await {
            Ok(Some(Ok(()))) => {}
            Ok(Some(Err(fault))) => return Err(fault),
            Ok(None) | Err(_) => return Err(shared.nobody_came(&missing(&shared))),
        }
    }
    tasks.shutdown().await;
    let mut found = std::mem::take(&mut *shared.found.lock().unwrap_or_else(PoisonError::into_inner));
    (0..count)
        .map(|process| match found.remove(&process) {
            Some(Found { control: Some(control), data: Some(data), .. }) => {
                let broken = |e| fault(StageError::external("a connection cannot be set up").because(e));
                Ok(Some(Peer { control: ready(control).map_err(broken)?, data: ready(data).map_err(broken)? }))
            }
            _ => Ok(None),
        })
        .collect()
}

/// A name may become known only some seconds after the process has been started, in Kubernetes for example.
async fn own_listener(options: &ClusterOptions, deadline: Instant) -> Result<TcpListener, Fault> {
    let (me, address) = (options.process, options.hosts.address(options.process));
    let unusable = |e: std::io::Error| {
        fault(
            StageError::user(format!("process {me} cannot listen on {address}, its entry in the list of hosts"))
                .hint("is `--process` right, and is no other process there?")
                .because(e),
        )
    };
    let found = loop {
        match tokio::net::lookup_host(address).await {
            Ok(found) => break found.collect::<Vec<_>>(),
            Err(error) if Instant::now() > deadline => return Err(unusable(error)),
            Err(error) => {
                tracing::info!("{address} is not known yet: {error}");
                sleep(AGAIN * 5).await;
            }
        }
    };
    TcpListener::bind(found.as_slice()).await.map_err(unusable)
}

/// For threads that may wait.
fn ready(stream: TcpStream) -> std::io::Result<StdStream> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Shared {
    fn keep(&self, caller: &Caller, stream: TcpStream) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let found = found.entry(caller.process).or_insert_with(|| Found::of(&caller.instance));
        match caller.channel {
            Channel::Control => found.control = Some(stream),
            Channel::Data => found.data = Some(stream),
        }
    }

    /// Takes a place for a caller. One that has come before and has gone gives its place to the next.
    fn reserve(&self, caller: &Caller) -> Result<(), String> {
        let process = caller.process;
        if process <= self.options.process || process >= self.options.hosts.count() {
            return Err(format!("process {process} has nothing to say here"));
        }
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        match found.get(&process) {
            Some(other) if other.instance != caller.instance && !other.is_gone() => {
                Err(format!("there is a process {process} already; each needs a `--process` of its own"))
            }
            Some(same) if same.instance == caller.instance => Ok(()),
            _ => {
                found.insert(process, Found::of(&caller.instance));
                Ok(())
            }
        }
    }

    /// A caller could not be let in after all.
    fn give_up(&self, caller: &Caller) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.get(&caller.process).is_some_and(|f| f.instance == caller.instance) {
            found.remove(&caller.process);
        }
    }

    /// Checks who has called, and lets it in.
    async fn admit(&self, mut stream: TcpStream) -> Result<(), Failure> {
        let (options, me) = (&self.options, self.options.process);
        let caller = handshake::accept(&mut stream, &options.secret, &self.facts, me).await?;
        if let Err(why) = self.reserve(&caller) {
            return handshake::refuse(&mut stream, Failure::Stranger(why)).await;
        }
        if let Err(failure) = handshake::welcome(&mut stream).await {
            self.give_up(&caller);
            return Err(failure);
        }
        self.keep(&caller, stream);
        Ok(())
    }

    fn unfit(&self, other: &str, why: &str) -> Fault {
        fault(
            StageError::user(format!("{other} does not fit: {why}"))
                .hint("start all processes with the same version, spec, variables, `--workers` and list of hosts"),
        )
    }

    fn nobody_came(&self, missing: &[usize]) -> Fault {
        let names: Vec<String> = missing.iter().map(|&p| self.options.name(p)).collect();
        let mut error = StageError::external(format!(
            "{} did not come within {} s",
            names.join(", "),
            LONGEST_WAIT.as_secs()
        ))
        .hint("start all processes, each with its own `--process`; they must reach each other by the list of hosts");
        if let Some(refused) = self.refused.lock().unwrap_or_else(PoisonError::into_inner).take() {
            error = error.because(refused);
        }
        fault(error)
    }
}

/// Whether the other side has closed it.
fn is_closed(stream: &TcpStream) -> bool {
    match stream.try_read(&mut [0]) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

type Heard = mpsc::UnboundedSender<Result<(), Fault>>;

async fn listen(listener: TcpListener, shared: Arc<Shared>, done: Heard) {
    let callers = Arc::new(Semaphore::new(CALLERS));
    let mut checks = JoinSet::new();
    loop {
        let Ok(permit) = callers.clone().acquire_owned().await else { return };
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(AGAIN).await;
                continue;
            }
        };
        // What has ended is forgotten.
        while checks.try_join_next().is_some() {}
        let (shared, done) = (shared.clone(), done.clone());
        checks.spawn(async move {
            let _permit = permit;
            let outcome = match timeout(handshake::LONGEST, shared.admit(stream)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Failure::Stranger("it did not say who it is".into())),
            };
            match outcome {
                Ok(()) => {
                    // Nobody to tell when it is all over.
                    let _ = done.send(Ok(()));
                }
                Err(Failure::Unfit(why)) => {
                    let _ = done.send(Err(shared.unfit(&format!("a process at {from}"), &why)));
                }
                Err(Failure::Stranger(why) | Failure::Broken(why)) => {
                    tracing::warn!("{from} was refused: {why}");
                    *shared.refused.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some(format!("{from} was refused: {why}"));
                }
            }
        });
    }
}

/// Tries until the process is reached, or says that it does not fit.
async fn dial(shared: Arc<Shared>, to: usize, channel: Channel, done: Heard) {
    let (options, me) = (&shared.options, shared.options.process);
    let name = options.name(to);
    loop {
        let attempt = async {
            let mut stream = TcpStream::connect(options.hosts.address(to)).await?;
            let caller = Caller { process: me, instance: shared.instance.clone(), channel };
            handshake::dial(&mut stream, &options.secret, &shared.facts, caller, to).await?;
            Ok::<_, Failure>(stream)
        };
        let outcome = match timeout(handshake::LONGEST, attempt).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Broken("no answer".into())),
        };
        match outcome {
            Ok(stream) => {
                let called = Caller { process: to, instance: String::new(), channel };
                shared.keep(&called, stream);
                let _ = done.send(Ok(()));
                return;
            }
            Err(Failure::Unfit(why)) => {
                let _ = done.send(Err(shared.unfit(&name, &why)));
                return;
            }
            Err(Failure::Stranger(why)) => {
                let error = StageError::user(format!("{name} is not trusted: {why}")).hint(
                    "give all processes the same ALLUVIUM_CLUSTER_SECRET; if they have it, somebody else listens there",
                );
                let _ = done.send(Err(fault(error)));
                return;
            }
            Err(Failure::Broken(why)) => {
                tracing::debug!("{name} cannot be reached yet: {why}");
                *shared.refused.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(format!("{name} cannot be reached: {why}"));
                sleep(AGAIN).await;
            }
        }
    }
}
