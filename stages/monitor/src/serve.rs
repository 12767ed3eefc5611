//! Connections: many, but not too many, and none that never says anything.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Connections of a listener at a time.
const MOST: usize = 64;
/// A request's head must have come, and a TLS handshake must be over, in so long.
const LONGEST_HEAD: Duration = Duration::from_secs(10);
/// After an error of the listener, such as too many open files.
const PAUSE: Duration = Duration::from_millis(200);

/// Room for the connections of a listener.
#[derive(Clone)]
struct Room {
    permits: Arc<Semaphore>,
    over: watch::Sender<bool>,
}

/// A listener at work.
pub(crate) struct Listening {
    room: Room,
    task: JoinHandle<()>,
}

impl Listening {
    fn start<F: Future<Output = ()> + Send + 'static>(serve: impl FnOnce(Room) -> F) -> Self {
        let room = Room { permits: Arc::new(Semaphore::new(MOST)), over: watch::Sender::new(false) };
        Self { task: tokio::spawn(serve(room.clone())), room }
    }

    /// Takes no more connections, and waits until those that are there have their answers in full.
    pub(crate) async fn end(self) {
        self.task.abort();
        // The permit that it holds comes back when it has ended.
        let _ = self.task.await;
        self.room.over.send_replace(true);
        let _ = self.room.permits.acquire_many(MOST as u32).await;
    }
}

/// Serves TCP until it is ended.
pub(crate) fn tcp(listener: TcpListener, router: Router, tls: Option<TlsAcceptor>) -> Listening {
    Listening::start(|room| accept_tcp(listener, router, tls, room))
}

/// Serves a socket file until it is ended.
pub(crate) fn unix(listener: UnixListener, router: Router) -> Listening {
    Listening::start(|room| accept_unix(listener, router, room))
}

async fn accept_tcp(listener: TcpListener, router: Router, tls: Option<TlsAcceptor>, room: Room) {
    loop {
        let Ok(permit) = room.permits.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // A failure makes answers slower, no more.
        let _ = stream.set_nodelay(true);
        let (router, over) = (router.clone(), room.over.subscribe());
        match tls.clone() {
            None => drop(tokio::spawn(connection(stream, router, permit, over))),
            Some(tls) => drop(tokio::spawn(async move {
                if let Ok(Ok(stream)) = tokio::time::timeout(LONGEST_HEAD, tls.accept(stream)).await {
                    connection(stream, router, permit, over).await;
                }
            })),
        }
    }
}

async fn accept_unix(listener: UnixListener, router: Router, room: Room) {
    loop {
        let Ok(permit) = room.permits.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                drop(tokio::spawn(connection(stream, router.clone(), permit, room.over.subscribe())));
            }
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Holds its permit until the last byte of its answers is written.
async fn connection<S>(stream: S, router: Router, permit: OwnedSemaphorePermit, mut over: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(LONGEST_HEAD).max_buf_size(16 << 10);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let served = tokio::select! {
        served = served.as_mut() => served,
        () = async { drop(over.wait_for(|over| *over).await) } => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection has ended");
    }
    drop(permit);
}
