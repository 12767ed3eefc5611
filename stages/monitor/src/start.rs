//! Begins to show a run.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use alluvium_engine::async_trait;
use alluvium_engine::monitor::{Http, Monitor, Watched, Watching};
use futures::future::join_all;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use crate::api::{Served, router};
use crate::guard::{Bucket, Guard};
use crate::live::Live;
use crate::runs::{self, Record, Registered};
use crate::serve::{self, Listening};

/// Who looks is told of the end; so long it may take.
const LONGEST_END: Duration = Duration::from_secs(1);
/// Shorter tokens can be guessed.
const SHORTEST_TOKEN: usize = 16;

/// Shows runs over HTTP: at an address if one is given, and on a socket for commands of the same user.
pub struct HttpMonitor;

/// A run that is shown.
struct Showing {
    listeners: Vec<Listening>,
    _registered: Option<Registered>,
}

#[async_trait]
impl Monitor for HttpMonitor {
    async fn start(&self, watched: Watched) -> Result<Box<dyn Watching>, String> {
        let served = Served { run: watched.run.clone(), live: Arc::new(Live::new(watched.tables, watched.reporter)) };
        let mut listeners = Vec::new();
        let mut address = None;
        if let Some(http) = watched.http {
            let (listener, tls, guard) = open(http).await?;
            let bound = listener.local_addr().map_err(|e| e.to_string())?;
            let shown = format!("{}://{bound}", if tls.is_some() { "https" } else { "http" });
            tracing::info!("serving HTTP at {shown}");
            address = Some(shown);
            listeners.push(serve::tcp(listener, router(served.clone(), guard), tls));
        }
        let status = watched.run.status();
        let record = Record {
            pid: std::process::id(),
            begun: runs::begun(std::process::id()).unwrap_or_default(),
            pipeline: status.pipeline,
            state: runs::identity(&watched.run.plan()),
            spec: runs::absolute(&watched.spec),
            started: status.started.to_rfc3339(),
            http: address,
        };
        // Without it only commands on this machine do not find the run.
        let registered = runs::register(&record).and_then(|registered| {
            let socket = UnixListener::bind(&registered.socket);
            socket.map(|socket| (registered, socket)).map_err(|e| e.to_string())
        });
        let registered = match registered {
            Ok((registered, socket)) => {
                let guard = Guard { trusted: true, token: None, loopback: false, rate: rate() };
                listeners.push(serve::unix(socket, router(served, guard)));
                Some(registered)
            }
            Err(error) => {
                tracing::warn!("commands such as `alluvium status` will not find this run: {error}");
                None
            }
        };
        Ok(Box::new(Showing { listeners, _registered: registered }))
    }

    async fn examine(&self, http: Http) -> Result<String, String> {
        let (listener, tls, _) = open(http).await?;
        let address = listener.local_addr().map_err(|e| e.to_string())?;
        Ok(format!("{}://{address} can be served", if tls.is_some() { "https" } else { "http" }))
    }
}

#[async_trait]
impl Watching for Showing {
    async fn end(self: Box<Self>) {
        let all = join_all(self.listeners.into_iter().map(Listening::end));
        // Who does not read is not waited for.
        let _ = tokio::time::timeout(LONGEST_END, all).await;
    }
}

fn rate() -> Arc<Mutex<Bucket>> {
    Arc::new(Mutex::new(Bucket::default()))
}

async fn open(http: Http) -> Result<(TcpListener, Option<TlsAcceptor>, Guard), String> {
    let Http { address, token, tls } = http;
    let loopback = address.ip().is_loopback();
    match &token {
        None if !loopback => {
            return Err(format!(
                "{address} can be reached from other machines: give a token in ALLUVIUM_HTTP_TOKEN or with \
                 --http-token-file, or serve on 127.0.0.1"
            ));
        }
        Some(token) if token.len() < SHORTEST_TOKEN => {
            return Err(format!(
                "the token for HTTP is shorter than {SHORTEST_TOKEN} characters and could be guessed; \
                 `openssl rand -hex 32` makes a good one"
            ));
        }
        _ => {}
    }
    let tls = match tls {
        Some((certificate, key)) => Some(acceptor(&certificate, &key)?),
        None => None,
    };
    let listener = TcpListener::bind(address).await.map_err(|e| format!("cannot serve HTTP at {address}: {e}"))?;
    if tls.is_none() && !loopback {
        tracing::warn!(
            "HTTP at {address} is not encrypted: whoever can listen on the network learns the token; see --http-cert"
        );
    }
    Ok((listener, tls, Guard { trusted: false, token: token.map(Into::into), loopback, rate: rate() }))
}

fn acceptor(certificate: &std::path::Path, key: &std::path::Path) -> Result<TlsAcceptor, String> {
    let failed = |path: &std::path::Path, e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certificate).map_err(|e| failed(certificate, &e))?.collect();
    let chain = chain.map_err(|e| failed(certificate, &e))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| failed(key, &e))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|e| failed(certificate, &e))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
