//! Shows and steers running pipelines.
//!
//! ```text
//!   serve     connections: TCP, TLS, a socket for commands of the same user
//!   guard     who may ask, how much and how often
//!   api       what can be asked
//!   events    the same as it changes
//!   live      tables of the run: report and rejected rows
//!   layout    where the page draws stages
//!   page      the page's files
//!   runs      which pipelines run on this machine
//!   client    how commands ask
//!   commands  ps, status, await, stop, pause, resume, tap, top
//! ```

mod api;
mod client;
mod commands;
mod events;
mod guard;
mod layout;
mod live;
mod page;
mod runs;
mod serve;
mod start;

pub use commands::{Await, Pause, Ps, Resume, StatusCommand, StopCommand, Tap, Top};
pub use start::HttpMonitor;
