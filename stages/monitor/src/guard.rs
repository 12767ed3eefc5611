//! Who may ask, how much and how often.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

/// Requests a second, of all clients together, and how many may come at once.
const RATE: f64 = 100.0;
const BURST: f64 = 200.0;

/// What a listener asks of requests.
#[derive(Clone)]
pub(crate) struct Guard {
    /// A file that only its owner can open needs no further proof.
    pub(crate) trusted: bool,
    pub(crate) token: Option<Arc<str>>,
    /// Listens on loopback: reading needs no token, if none is set.
    pub(crate) loopback: bool,
    pub(crate) rate: Arc<Mutex<Bucket>>,
}

/// Requests that may still come.
pub(crate) struct Bucket {
    left: f64,
    at: Instant,
}

impl Default for Bucket {
    fn default() -> Self {
        Self { left: BURST, at: Instant::now() }
    }
}

impl Bucket {
    /// Takes one, if there is one.
    fn take(&mut self) -> bool {
        let now = Instant::now();
        self.left = (self.left + now.duration_since(self.at).as_secs_f64() * RATE).min(BURST);
        self.at = now;
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }
}

/// Lets a request through, or says why not.
pub(crate) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = match guard.judge(&request) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

const CSP: &str =
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

impl Guard {
    fn judge(&self, request: &Request) -> Result<(), Response> {
        let refuse = |status: StatusCode, text: &str| Err((status, format!("{text}\n")).into_response());
        if !self.rate.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return refuse(StatusCode::TOO_MANY_REQUESTS, "too many requests: ask less often");
        }
        if self.trusted {
            return Ok(());
        }
        // A page of another site must not reach this one through a name that it has pointed here.
        if self.loopback && !is_local(request.headers()) {
            return refuse(StatusCode::MISDIRECTED_REQUEST, "the name in `Host` is not this machine's loopback");
        }
        let steers = request.method() != Method::GET && request.method() != Method::HEAD;
        let open = !request.uri().path().starts_with("/api") && request.uri().path() != "/metrics";
        match &self.token {
            // The page itself has no secret; health is asked by those who have no token.
            Some(_) if open => Ok(()),
            Some(token) if matches(token, request.headers()) => Ok(()),
            Some(_) => {
                let mut response = (StatusCode::UNAUTHORIZED, "send `Authorization: Bearer TOKEN`\n").into_response();
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                Err(response)
            }
            None if steers => refuse(
                StatusCode::FORBIDDEN,
                "steering over HTTP needs a token: start the run with ALLUVIUM_HTTP_TOKEN or --http-token-file",
            ),
            None => Ok(()),
        }
    }
}

/// The token, compared in a time that does not depend on what was sent.
fn matches(token: &str, headers: &HeaderMap) -> bool {
    let sent = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let sent = sent.and_then(|v| v.strip_prefix("Bearer ")).unwrap_or_default();
    sent.as_bytes().ct_eq(token.as_bytes()).into()
}

fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|v| v.to_str().ok()) else { return true };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}
