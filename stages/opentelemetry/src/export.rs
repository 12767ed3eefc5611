//! The way to the collector.

use std::time::Duration;

use bytes::Bytes;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{LogExporter, SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::{Builder, Handle, Runtime};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const SERVICE: &str = "OTEL_SERVICE_NAME";
const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
/// As OpenTelemetry's specification says.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Traces and logs on their way.
pub(crate) struct Export {
    pub(crate) traces: SdkTracerProvider,
    pub(crate) logs: SdkLoggerProvider,
    /// Carries requests.
    _runtime: Runtime,
}

impl Export {
    /// As the environment says; nothing if it does not say where to.
    pub(crate) fn from_env() -> Option<Self> {
        std::env::var(ENDPOINT).ok().filter(|endpoint| !endpoint.is_empty())?;
        match Self::start() {
            Ok(export) => Some(export),
            Err(error) => {
                // The log is not there yet, and what it would have shown must not be missed.
                alluvium_engine::cli::say_error(&format!("warning: nothing goes to {ENDPOINT}: {error}\n"));
                None
            }
        }
    }

    fn start() -> Result<Self, Box<dyn std::error::Error>> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("alluvium-otel").enable_all().build()?;
        let millis = std::env::var(TIMEOUT).ok().and_then(|t| t.parse().ok());
        let timeout = millis.map_or(DEFAULT_TIMEOUT, Duration::from_millis);
        let client = reqwest::Client::builder().timeout(timeout).build()?;
        let client = OnRuntime { client, runtime: runtime.handle().clone() };
        let resource = || {
            let resource = Resource::builder();
            let named = std::env::var(SERVICE).is_ok();
            if named { resource } else { resource.with_service_name("alluvium") }.build()
        };
        let spans = SpanExporter::builder().with_http().with_http_client(client.clone()).build()?;
        let lines = LogExporter::builder().with_http().with_http_client(client).build()?;
        Ok(Self {
            traces: SdkTracerProvider::builder().with_batch_exporter(spans).with_resource(resource()).build(),
            logs: SdkLoggerProvider::builder().with_batch_exporter(lines).with_resource(resource()).build(),
            _runtime: runtime,
        })
    }

    /// Sends what waits. Blocks.
    pub(crate) fn flush(&self) {
        for sent in [self.traces.force_flush(), self.logs.force_flush()] {
            if let Err(error) = sent {
                tracing::warn!(%error, "the OpenTelemetry collector has not got everything");
            }
        }
    }
}

/// The SDK sends from threads of its own, on which there is no runtime that the client needs.
#[derive(Debug, Clone)]
struct OnRuntime {
    client: reqwest::Client,
    runtime: Handle,
}

#[alluvium_engine::async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move {
            let response = client.execute(request.try_into()?).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let mut answer = Response::builder().status(status).body(response.bytes().await?)?;
            *answer.headers_mut() = headers;
            Ok::<_, HttpError>(answer)
        });
        sent.await?
    }
}
