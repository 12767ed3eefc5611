//! What two processes prove to each other before they take each other seriously. Their facts (build, pipeline, plan, numbers
//! of processes and workers) go with the first messages, and whoever calls may learn them; they are believed once proved.
//!
//! ```text
//!   dialler                                acceptor
//!   Hello { nonce, facts, from, to } ---->
//!                                    <---- Reply { nonce, facts }
//!                                    <---- Proof  HMAC-SHA-256(secret, "accept", Hello, Reply)
//!   Proof  HMAC-SHA-256(..., "dial", ...)->
//!                                    <---- Welcome, or Refused { why }
//! ```
//!
//! Challenge and response with a shared secret, both ways (the pattern of RFC 2195 and ISO/IEC 9798-4): each side's nonce
//! makes an answer good for one handshake only, each side's label keeps answers from being sent back, and the
//! facts are covered by the proofs. Nothing after it is encrypted or protected.

use std::time::Duration;

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ClusterSecret;

/// Both sides must be of one kind.
const PROTOCOL: u32 = 2;
/// Whoever is slower is no process of ours.
pub(super) const LONGEST: Duration = Duration::from_secs(10);
/// The same of what a caller says first, for which it needs nothing from here: silent strangers hold no place for long.
const FIRST: Duration = Duration::from_secs(2);
/// A message of a stranger may not cost more memory.
const MOST_BYTES: usize = 16 << 10;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Channel {
    /// What [`super::control`] says.
    Control,
    /// What Timely says.
    Data,
}

/// What must be the same in all processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Of the program; see [`super::build`].
    #[serde(default)]
    pub(crate) build: String,
    pub(crate) pipeline: String,
    pub(crate) plan: String,
    pub(crate) processes: usize,
    pub(crate) workers: usize,
}

impl Facts {
    /// The first difference, from this process's view.
    fn differ(&self, theirs: &Self) -> Option<String> {
        let said = |what: &str, ours: &dyn std::fmt::Display, theirs: &dyn std::fmt::Display| {
            Some(format!("{what}: {ours} here, {theirs} there"))
        };
        if self.build != theirs.build {
            return said("the processes run different builds of the program", &self.build, &theirs.build);
        }
        if self.pipeline != theirs.pipeline {
            return said("the processes run different pipelines", &self.pipeline, &theirs.pipeline);
        }
        if self.processes != theirs.processes {
            return said("the lists of hosts differ in length", &self.processes, &theirs.processes);
        }
        if self.workers != theirs.workers {
            return said("the numbers of workers differ", &self.workers, &theirs.workers);
        }
        (self.plan != theirs.plan)
            .then(|| format!("the specs (or variables in them) differ: plan {} here, {} there", self.plan, theirs.plan))
    }
}

#[derive(Debug, Serialize, Deserialize)]
enum Shake {
    Hello {
        magic: String,
        protocol: u32,
        from: usize,
        to: usize,
        channel: Channel,
        /// Of this start of the process.
        instance: String,
        nonce: String,
        facts: Facts,
    },
    Reply {
        nonce: String,
        facts: Facts,
    },
    Proof {
        mac: Vec<u8>,
    },
    Welcome,
    Refused {
        why: String,
    },
}

const MAGIC: &str = "alluvium";

/// Why a handshake has failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection broke, or was never one of ours. Another may do better.
    Broken(String),
    /// The other side has not proved that it belongs to the cluster, or comes a second time.
    Stranger(String),
    /// It belongs to the cluster and does not fit, or says so of this process.
    Unfit(String),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// Who a process is to another.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) process: usize,
    /// This start of it.
    pub(super) instance: String,
    pub(super) channel: Channel,
}

/// Proves to process `to` that this is `me`, and has it prove itself.
pub(super) async fn dial(
    stream: &mut TcpStream,
    secret: &ClusterSecret,
    facts: &Facts,
    me: Caller,
    to: usize,
) -> Result<(), Failure> {
    let hello = encode(&Shake::Hello {
        magic: MAGIC.into(),
        protocol: PROTOCOL,
        from: me.process,
        to,
        channel: me.channel,
        instance: me.instance,
        nonce: nonce(),
        facts: facts.clone(),
    })?;
    send(stream, &hello).await?;
    let reply = receive(stream).await?;
    let theirs = match decode(&reply)? {
        Shake::Reply { facts, .. } => facts,
        Shake::Refused { why } => return Err(Failure::Unfit(why)),
        _ => return Err(unexpected()),
    };
    match decode(&receive(stream).await?)? {
        Shake::Proof { mac } if is_proof(secret, ACCEPT, &hello, &reply, &mac) => {}
        Shake::Proof { .. } => return Err(Failure::Stranger("the secrets differ".into())),
        _ => return Err(unexpected()),
    }
    send(stream, &encode(&Shake::Proof { mac: proof(secret, DIAL, &hello, &reply) })?).await?;
    if let Some(difference) = facts.differ(&theirs) {
        return Err(Failure::Unfit(difference));
    }
    match decode(&receive(stream).await?)? {
        Shake::Welcome => Ok(()),
        Shake::Refused { why } => Err(Failure::Unfit(why)),
        _ => Err(unexpected()),
    }
}

/// Proves itself to whoever has called, and has it prove itself. Whoever fits must be [`welcome`]d or [`refuse`]d.
pub(super) async fn accept(
    stream: &mut TcpStream,
    secret: &ClusterSecret,
    facts: &Facts,
    me: usize,
) -> Result<Caller, Failure> {
    let hello = match timeout(FIRST, receive(stream)).await {
        Ok(hello) => hello?,
        Err(_) => return Err(Failure::Stranger("it did not say who it is".into())),
    };
    let (caller, to, theirs) = match decode(&hello) {
        Ok(Shake::Hello { magic, protocol: PROTOCOL, from, to, channel, instance, facts, .. }) if magic == MAGIC => {
            (Caller { process: from, instance, channel }, to, facts)
        }
        Ok(Shake::Hello { protocol, .. }) => {
            let why = format!("the caller speaks protocol {protocol} of the cluster, the called {PROTOCOL}");
            return refuse(stream, Failure::Stranger(why)).await;
        }
        _ => return Err(Failure::Stranger("it does not speak the cluster's language".into())),
    };
    let reply = encode(&Shake::Reply { nonce: nonce(), facts: facts.clone() })?;
    send(stream, &reply).await?;
    send(stream, &encode(&Shake::Proof { mac: proof(secret, ACCEPT, &hello, &reply) })?).await?;
    match decode(&receive(stream).await?)? {
        Shake::Proof { mac } if is_proof(secret, DIAL, &hello, &reply, &mac) => {}
        _ => return refuse(stream, Failure::Stranger("the caller has another secret".into())).await,
    }
    if let Some(difference) = facts.differ(&theirs) {
        return Err(Failure::Unfit(difference));
    }
    if to != me {
        let from = caller.process;
        let why = format!("process {from} takes process {me} for process {to}: the lists of hosts differ");
        return refuse(stream, Failure::Unfit(why)).await;
    }
    Ok(caller)
}

/// Lets a caller in.
pub(super) async fn welcome(stream: &mut TcpStream) -> Result<(), Failure> {
    send(stream, &encode(&Shake::Welcome)?).await
}

/// Tells a caller why it is not let in.
pub(super) async fn refuse<T>(stream: &mut TcpStream, failure: Failure) -> Result<T, Failure> {
    if let Failure::Stranger(why) | Failure::Unfit(why) = &failure {
        // The other side has more important troubles if it cannot be told.
        let _ = send(stream, &encode(&Shake::Refused { why: why.clone() })?).await;
    }
    Err(failure)
}

const ACCEPT: &[u8] = b"alluvium cluster, accept";
const DIAL: &[u8] = b"alluvium cluster, dial";

fn mac(secret: &ClusterSecret, label: &[u8], hello: &[u8], reply: &[u8]) -> Option<Hmac<Sha256>> {
    // Keys of any length are fine.
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret.0).ok()?;
    for part in [label, hello, reply] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    Some(mac)
}

fn proof(secret: &ClusterSecret, label: &[u8], hello: &[u8], reply: &[u8]) -> Vec<u8> {
    mac(secret, label, hello, reply).map(|m| m.finalize().into_bytes().to_vec()).unwrap_or_default()
}

/// Compared in constant time.
fn is_proof(secret: &ClusterSecret, label: &[u8], hello: &[u8], reply: &[u8], given: &[u8]) -> bool {
    mac(secret, label, hello, reply).is_some_and(|m| m.verify_slice(given).is_ok())
}

/// 244 random bits.
fn nonce() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

fn unexpected() -> Failure {
    Failure::Broken("it does not speak the cluster's language".into())
}

fn encode(shake: &Shake) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(shake).map_err(|e| Failure::Broken(e.to_string()))
}

fn decode(bytes: &[u8]) -> Result<Shake, Failure> {
    serde_json::from_slice(bytes).map_err(|_| unexpected())
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), Failure> {
    let length = u32::try_from(bytes.len()).map_err(|_| unexpected())?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend_from_slice(bytes);
    Ok(stream.write_all(&frame).await?)
}

async fn receive(stream: &mut TcpStream) -> Result<Vec<u8>, Failure> {
    let length = stream.read_u32().await? as usize;
    if length > MOST_BYTES {
        return Err(unexpected());
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}
