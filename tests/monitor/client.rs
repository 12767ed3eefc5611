//! Asks a run as any program would: a plain HTTP client, and the folder in which runs are found.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Call, Folder, Numbers, Running, alluvium, until};

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Sends a request as it is; nothing if the connection was closed without an answer.
pub fn raw(address: &str, request: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // A server that refuses may close before everything is sent.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        unchunked(body)
    } else {
        body.to_owned()
    };
    Some(Answer { status, head: head.to_owned(), body })
}

fn unchunked(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap_or(0);
        let Some(piece) = rest.get(..length).filter(|p| !p.is_empty()) else { break };
        out.push_str(piece);
        body = rest.get(length + 2..).unwrap_or_default();
    }
    out
}

/// A run that serves HTTP.
pub struct Served {
    pub running: Running,
    pub address: String,
    runs: Folder,
}

/// The folder for runs that a call uses.
pub fn with_runs(call: Call, runs: &Folder) -> Call {
    call.env("ALLUVIUM_RUN_DIR", &runs.text("runs"))
}

impl Served {
    /// Starts a run with these arguments, and waits until it can be asked.
    pub fn start(numbers: &Numbers, arguments: &[&str], token: Option<&str>) -> Self {
        let call = numbers.call(arguments);
        Self::launch(match token {
            Some(token) => call.env("ALLUVIUM_HTTP_TOKEN", token),
            None => call,
        })
    }

    /// The same of any call of `run`.
    pub fn launch(call: Call) -> Self {
        let runs = Folder::new("runs");
        let running = with_runs(call, &runs).env("ALLUVIUM_HTTP", "127.0.0.1:0").start();
        let mut address = None;
        let record = runs.path(&format!("runs/{}.json", running.id()));
        until("the run says where it serves HTTP", || {
            let record = std::fs::read(&record).ok().and_then(|b| serde_json::from_slice::<Value>(&b).ok());
            address = record.and_then(|r| r["http"].as_str().map(str::to_owned));
            address.is_some()
        });
        let address = address.unwrap().split_once("://").unwrap().1.to_owned();
        Self { running, address, runs }
    }

    /// A request with more lines in its head.
    pub fn ask(&self, method: &str, path: &str, lines: &str, body: &str) -> Answer {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {length}\r\n{lines}\r\n{body}",
            self.address
        );
        raw(&self.address, request.as_bytes()).expect("an answer")
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "", "")
    }

    pub fn status(&self) -> Value {
        self.get("/api/status").json()
    }

    /// The file by which the run is found.
    pub fn record(&self) -> std::path::PathBuf {
        self.runs.path(&format!("runs/{}.json", self.running.id()))
    }

    /// The folder in which it is found.
    pub fn runs(&self) -> &Folder {
        &self.runs
    }

    /// A command that finds this run.
    pub fn command(&self, numbers: &Numbers, arguments: &[&str]) -> Call {
        let call = alluvium(arguments).env("IN", &numbers.place.url("in")).env("LAKE", &numbers.place.url("lake"));
        with_runs(call, &self.runs)
    }
}
