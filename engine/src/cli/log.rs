//! The log, on standard error: text for people, or JSON lines.

use std::io::{IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer as _, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::notices::Remember;
use crate::secret;

/// Warnings and worse. Libraries whose errors come back as results, and are then told with their place, are left out.
const LOGGED: &str = "warn,alluvium_engine::cluster=info,alluvium_monitor=info,object_store::client::retry=info,buoyant_kernel=off,delta_kernel=off";

/// Begins to log. `ALLUVIUM_LOG` asks for more or less than [`LOGGED`], in the form of `RUST_LOG`;
/// `ALLUVIUM_LOG_FORMAT=json` asks for one JSON object a line, each with the pipeline, and with stage, epoch and worker
/// where it is about one.
pub(super) fn start(registry: &crate::Registry) {
    let filter = || EnvFilter::try_from_env("ALLUVIUM_LOG").unwrap_or_else(|_| EnvFilter::new(LOGGED));
    let json = std::env::var("ALLUVIUM_LOG_FORMAT").is_ok_and(|format| format == "json");
    let lines = if json {
        let lines = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(true);
        lines.with_writer(|| Redacting).boxed()
    } else {
        fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(|| Redacting).boxed()
    };
    let also = registry.log_layer().map(|layer| layer.with_filter(filter()));
    // A second subscriber in the same process, as in tests, is no reason to stop.
    let _ =
        tracing_subscriber::registry().with(also).with(Remember::layer()).with(lines.with_filter(filter())).try_init();
}

/// Standard error without secrets.
struct Redacting;

impl Write for Redacting {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        std::io::stderr().write_all(secret::redact(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}
