//! A proxy between the program and the S3 server that does to requests what networks and servers do.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpSocket};

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What is done to a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Act {
    /// It is carried out; the connection is closed without an answer.
    LoseAnswer,
    /// It is carried out; this is answered instead of the truth.
    CarryOutAndAnswer(u16),
    /// It is not carried out.
    Answer(u16),
    /// It is carried out; the answer comes late.
    Delay(Duration),
    /// Half of the answer's body comes.
    CutBody,
    /// The connection is closed while the request's body comes; it is not carried out.
    CutUpload,
    /// The connection is closed after this time, without an answer; it is carried out all the same, just before the next
    /// request of this method and path.
    Late(Duration),
    /// It is not carried out, and for this time the server is gone.
    Outage(Duration),
    /// It is carried out; the answer says that the object was written then.
    Dated(&'static str),
    /// It is carried out; the answer's body comes in pieces of 64 KiB, with this pause before each.
    Slow(Duration),
}

struct Rule {
    method: &'static str,
    /// Part of path and query.
    part: String,
    act: Act,
    /// Requests that it still applies to.
    left: usize,
    hits: usize,
}

/// Requests that are yet to be carried out.
type Held = Arc<Mutex<Vec<Request<Full<Bytes>>>>>;

#[derive(Clone)]
pub struct Proxy {
    pub address: SocketAddr,
    rules: Arc<Mutex<Vec<Rule>>>,
    closed: tokio::sync::watch::Sender<bool>,
    _runtime: Arc<tokio::runtime::Runtime>,
}

impl Proxy {
    /// Before the server at `upstream`, a URL such as `http://127.0.0.1:8333`.
    pub fn start(upstream: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (closed, watched) = tokio::sync::watch::channel(false);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let rules = Arc::new(Mutex::new(Vec::new()));
        runtime.spawn(listen(listener, closed.clone(), watched, upstream.to_owned(), rules.clone()));
        Self { address, rules, closed, _runtime: Arc::new(runtime) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on the first `times` requests of this method with this in their path and query are treated so.
    pub fn rule(&self, method: &'static str, part: &str, act: Act, times: usize) {
        self.rules.lock().unwrap().push(Rule { method, part: part.to_owned(), act, left: times, hits: 0 });
    }

    /// How many requests the rules have met.
    pub fn hits(&self) -> usize {
        self.rules.lock().unwrap().iter().map(|r| r.hits).sum()
    }

    /// The rules that no request has met.
    pub fn missed(&self) -> Vec<String> {
        let rules = self.rules.lock().unwrap();
        rules.iter().filter(|r| r.hits == 0).map(|r| format!("{} {}", r.method, r.part)).collect()
    }

    /// Refuses connections and closes those there are, or accepts them again.
    pub fn refuse(&self, refuse: bool) {
        self.closed.send_replace(refuse);
    }
}

async fn listen(
    listener: TcpListener,
    close: tokio::sync::watch::Sender<bool>,
    mut closed: tokio::sync::watch::Receiver<bool>,
    upstream: String,
    rules: Arc<Mutex<Vec<Rule>>>,
) {
    let address = listener.local_addr().unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut listener = Some(listener);
    let held = Held::default();
    loop {
        let Some(open) = &listener else {
            closed.wait_for(|closed| !closed).await.unwrap();
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind(address).unwrap();
            listener = Some(socket.listen(1024).unwrap());
            continue;
        };
        let each = closed.clone();
        tokio::select! {
            _ = closed.wait_for(|closed| *closed) => listener = None,
            accepted = open.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let (client, upstream, rules) = (client.clone(), upstream.clone(), rules.clone());
                let mut closed = each.clone();
                let (close, held) = (close.clone(), held.clone());
                tokio::spawn(async move {
                    let service = service_fn(|request| {
                        answer(request, client.clone(), upstream.clone(), rules.clone(), held.clone(), close.clone())
                    });
                    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    // An error is what a rule has asked for.
                    tokio::select! {
                        _ = served => {}
                        _ = closed.wait_for(|closed| *closed) => {}
                    }
                });
            }
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    client: Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>>,
    upstream: String,
    rules: Arc<Mutex<Vec<Rule>>>,
    held: Held,
    close: tokio::sync::watch::Sender<bool>,
) -> Result<Response<Body>, std::io::Error> {
    let (mut head, mut body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    let act = {
        let mut rules = rules.lock().unwrap();
        let rule = rules.iter_mut().find(|r| r.left > 0 && r.method == head.method && target.contains(&r.part));
        rule.map(|rule| {
            rule.left -= 1;
            rule.hits += 1;
            rule.act
        })
    };
    match act {
        Some(Act::CutUpload) => {
            let _begun = body.frame().await;
            return Err(std::io::Error::other("cut"));
        }
        Some(Act::Outage(time)) => {
            close.send_replace(true);
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                close.send_replace(false);
            });
            return Err(std::io::Error::other("gone"));
        }
        _ => {}
    }
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    if let Some(Act::Answer(status)) = act {
        return Ok(said(status));
    }
    head.uri = format!("{upstream}{target}").parse().unwrap();
    if let Some(Act::Late(time)) = act {
        held.lock().unwrap().push(Request::from_parts(head, Full::new(body)));
        tokio::time::sleep(time).await;
        return Err(std::io::Error::other("too late"));
    }
    let same = |other: &mut Request<_>| other.method() == head.method && other.uri().path() == head.uri.path();
    let late: Vec<_> = held.lock().unwrap().extract_if(.., same).collect();
    for request in late {
        client.request(request).await.map_err(std::io::Error::other)?.into_body().collect().await.unwrap();
    }
    let response = client.request(Request::from_parts(head, Full::new(body))).await.map_err(std::io::Error::other)?;
    let (mut head, body) = response.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    match act {
        Some(Act::LoseAnswer) => return Err(std::io::Error::other("the answer is lost")),
        Some(Act::CarryOutAndAnswer(status)) => return Ok(said(status)),
        Some(Act::Delay(time)) => tokio::time::sleep(time).await,
        Some(Act::CutBody) => {
            let half = body.slice(..body.len() / 2);
            let pieces = [Ok(Frame::data(half)), Err(std::io::Error::other("cut"))];
            return Ok(Response::from_parts(head, StreamBody::new(futures::stream::iter(pieces)).boxed_unsync()));
        }
        Some(Act::Slow(pause)) => {
            let pieces = futures::stream::unfold(body, move |mut rest| async move {
                tokio::time::sleep(pause).await;
                let piece = rest.split_to(rest.len().min(64 << 10));
                (!piece.is_empty()).then_some((Ok(Frame::data(piece)), rest))
            });
            return Ok(Response::from_parts(head, StreamBody::new(pieces).boxed_unsync()));
        }
        Some(Act::Dated(date)) => drop(head.headers.insert("last-modified", date.parse().unwrap())),
        _ => {}
    }
    Ok(Response::from_parts(head, full(body)))
}

fn full(body: Bytes) -> Body {
    Full::new(body).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// As S3 answers when something is wrong.
fn said(status: u16) -> Response<Body> {
    let body =
        format!("<?xml version=\"1.0\"?><Error><Code>Made{status}</Code><Message>made by the test</Message></Error>");
    let mut response = Response::new(full(Bytes::from(body)));
    response.headers_mut().insert("etag", "\"made\"".parse().unwrap());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}
