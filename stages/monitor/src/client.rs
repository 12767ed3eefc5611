//! How commands ask a run of this machine.

use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// An answer takes no longer, but for what is waited for.
const LONGEST: Duration = Duration::from_secs(15);

/// The answer to a question, as it came.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Asks a run.
///
/// # Errors
/// It cannot be reached, or does not answer, in words.
pub(crate) async fn ask(socket: &Path, method: Method, path: &str) -> Result<Answer, String> {
    let asking = async {
        let stream = UnixStream::connect(socket).await.map_err(|e| e.to_string())?;
        let connection = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = connection.map_err(|e| e.to_string())?;
        // Ends with the request.
        let driver = tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let request = request.body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes().to_vec();
        driver.abort();
        Ok(Answer { status, body })
    };
    match tokio::time::timeout(LONGEST, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", LONGEST.as_secs())),
    }
}

/// The same, as JSON of a kind.
///
/// # Errors
/// As before, or the run refuses.
pub(crate) async fn get<T: serde::de::DeserializeOwned>(socket: &Path, path: &str) -> Result<T, String> {
    let answer = ask(socket, Method::GET, path).await?;
    if answer.status != 200 {
        return Err(String::from_utf8_lossy(&answer.body).trim().to_owned());
    }
    serde_json::from_slice(&answer.body).map_err(|e| format!("the answer cannot be understood: {e}"))
}
