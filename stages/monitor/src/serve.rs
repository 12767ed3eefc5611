//! Connections: many, but not too many, and none that never says anything.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

/// Connections of a listener at a time.
const MOST: usize = 64;
/// A request's head must have come, and a TLS handshake must be over, in so long.
const LONGEST_HEAD: Duration = Duration::from_secs(10);
/// After an error of the listener, such as too many open files.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves TCP for ever.
pub(crate) async fn tcp(listener: TcpListener, router: Router, tls: Option<TlsAcceptor>) {
    let room = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
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
        let router = router.clone();
        match tls.clone() {
            None => drop(tokio::spawn(connection(stream, router, permit))),
            Some(tls) => drop(tokio::spawn(async move {
                if let Ok(Ok(stream)) = tokio::time::timeout(LONGEST_HEAD, tls.accept(stream)).await {
                    connection(stream, router, permit).await;
                }
            })),
        }
    }
}

/// Serves a socket file for ever.
pub(crate) async fn unix(listener: UnixListener, router: Router) {
    let room = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection(stream, router.clone(), permit))),
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection<S>(stream: S, router: Router, permit: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(LONGEST_HEAD).max_buf_size(16 << 10);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection has ended");
    }
    drop(permit);
}
