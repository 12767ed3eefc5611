//! Commands that look at running pipelines of this machine, and steer them.

mod find;
mod ps;
mod screen;
mod show;
mod status;
mod steer;
mod stop;
mod tap;
mod top;
mod wait;

pub use ps::Ps;
pub use status::StatusCommand;
pub use steer::{Pause, Resume};
pub use stop::StopCommand;
pub use tap::Tap;
pub use top::Top;
pub use wait::Await;

use alluvium_engine::cli::{FAILED, USAGE, say_error};
use clap::{ArgMatches, FromArgMatches};

/// The pipeline is not running, and its last run has not failed.
pub(crate) const NOT_RUNNING: u8 = 3;
/// It took longer than was allowed.
pub(crate) const TIMED_OUT: u8 = 124;

/// The arguments of a command.
fn parsed<A: FromArgMatches>(matches: &ArgMatches) -> Result<A, u8> {
    A::from_arg_matches(matches).map_err(|error| {
        // Nobody to tell when the terminal is gone.
        let _ = error.print();
        USAGE
    })
}

/// Says what is wrong; gives the exit code.
fn failed(message: &str) -> u8 {
    say_error(&format!("error: {message}\n"));
    FAILED
}
