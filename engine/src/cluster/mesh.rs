//! A checked pair of connections between every two processes: the one with the higher number dials.

use std::collections::BTreeMap;
use std::net::TcpStream as StdStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::handshake::{self, Caller, Channel, Facts, Failure};
use super::{ClusterOptions, fault, listener};
use crate::stage::{Fault, StageError};

/// Between two tries to reach a process.
const AGAIN: Duration = Duration::from_millis(200);
/// A connection on which nothing is said is tried after so long, and again and again. Control has beats, rows may have none
/// for hours: what lies between two machines forgets such a connection, or only that one is lost, and nobody would notice.
const IDLE: Duration = Duration::from_secs(10);
/// What was sent, such a try too, and is not confirmed for so long is lost, and the connection with it. Timely's threads take
/// in whatever comes, so a process that lives confirms.
const UNCONFIRMED: Duration = Duration::from_secs(30);
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
    let deadline = Instant::now() + options.wait;
    let (done, mut heard) = mpsc::unbounded_channel();
    // Tasks end with the set.
    let mut tasks = JoinSet::new();
    if me + 1 < count {
        tasks.spawn(listen(own_listener(options)?, shared.clone(), done.clone()));
    }
    let call = |tasks: &mut JoinSet<()>, to: usize| {
        for channel in [Channel::Control, Channel::Data] {
            tasks.spawn(dial(shared.clone(), to, channel, done.clone()));
        }
    };
    (0..me).for_each(|to| call(&mut tasks, to));
    tracing::info!("process {me} of {count} waits for the others");
    loop {
        // One that has gone while others were waited for may come again.
        for gone in shared.forget_gone() {
            tracing::info!("{} has gone again", options.name(gone));
            if gone < me {
                call(&mut tasks, gone);
            }
        }
        let missing = shared.missing();
        if missing.is_empty() {
            break;
        }
        match timeout(AGAIN.min(deadline.saturating_duration_since(Instant::now())), heard.recv()).await {
            Ok(Some(Err(fault))) => return Err(fault),
            Ok(_) => {}
            Err(_) if Instant::now() < deadline => {}
            Err(_) => return Err(shared.nobody_came(&missing)),
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

fn own_listener(options: &ClusterOptions) -> Result<TcpListener, Fault> {
    let (me, address) = (options.process, options.hosts.address(options.process));
    listener::listen(address).map_err(|e| {
        fault(
            StageError::user(format!("process {me} cannot listen on {address}, its entry in the list of hosts"))
                .hint("is `--process` right, and is no other process there?")
                .because(e),
        )
    })
}

/// For threads that may wait.
fn ready(stream: TcpStream) -> std::io::Result<StdStream> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(IDLE).with_interval(IDLE))?;
    socket.set_tcp_user_timeout(Some(UNCONFIRMED))?;
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

    /// The processes that are not connected.
    fn missing(&self) -> Vec<usize> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = |p: &usize| *p != self.options.process && !found.get(p).is_some_and(Found::is_complete);
        (0..self.options.hosts.count()).filter(missing).collect()
    }

    /// Those that were connected, and have closed a connection since.
    fn forget_gone(&self) -> Vec<usize> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<usize> = found.iter().filter(|(_, f)| f.is_complete() && f.is_gone()).map(|(p, _)| *p).collect();
        gone.iter().for_each(|process| drop(found.remove(process)));
        gone
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
            "{} did not come within {}",
            names.join(", "),
            humantime::format_duration(self.options.wait)
        ))
        .hint(
            "start all processes, each with its own `--process`; they must reach each other by the list of hosts, and \
             `--wait` lets them wait longer",
        );
        if let Some(refused) = self.refused.lock().unwrap_or_else(PoisonError::into_inner).take() {
            error = error.because(refused);
        }
        fault(error)
    }
}

/// Whether the other side has closed it. What it has said before stays to be read: it may have met all others already.
fn is_closed(stream: &TcpStream) -> bool {
    match stream.ready(Interest::READABLE).now_or_never() {
        None => false,
        Some(Ok(ready)) => ready.is_read_closed() || ready.is_error(),
        Some(Err(_)) => true,
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_connection_that_is_only_half_there_breaks() {
        let stream = ready(pair().await.0).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), IDLE);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNCONFIRMED));
    }

    #[tokio::test]
    async fn one_that_has_gone_is_noticed_also_when_it_has_said_something() {
        let (near, far) = pair().await;
        assert!(!is_closed(&near));
        far.writable().await.unwrap();
        far.try_write(b"a beat").unwrap();
        near.readable().await.unwrap();
        assert!(!is_closed(&near), "what was said is no end");
        drop(far);
        timeout(handshake::LONGEST, async {
            while !is_closed(&near) {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        let mut said = [0; 16];
        assert_eq!(near.try_read(&mut said).unwrap(), 6);
    }
}
