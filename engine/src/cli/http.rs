//! `run --http`: where a run is shown, and to whom.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Cli, USAGE, say_error};
use crate::monitor::{Http, Watched, Watching};
use crate::runtime::RunHandle;
use crate::secret;
use crate::storage::Finding;

/// The token itself; a variable, since arguments can be seen by every user of the machine.
const TOKEN: &str = "ALLUVIUM_HTTP_TOKEN";

#[derive(Args, Default)]
pub(super) struct HttpArguments {
    /// Serve the dashboard, the API and metrics at this address, such as `127.0.0.1:8080`. One that other machines can
    /// reach needs a token: in ALLUVIUM_HTTP_TOKEN, or in a file.
    #[arg(long, value_name = "ADDRESS", env = "ALLUVIUM_HTTP")]
    http: Option<SocketAddr>,
    /// A file with the token that requests must bring as `Authorization: Bearer TOKEN`.
    #[arg(long, value_name = "FILE", env = "ALLUVIUM_HTTP_TOKEN_FILE", requires = "http")]
    http_token_file: Option<PathBuf>,
    /// Serve HTTPS, with this certificate (PEM).
    #[arg(long, value_name = "FILE", env = "ALLUVIUM_HTTP_CERT", requires = "http", requires = "http_key")]
    http_cert: Option<PathBuf>,
    /// The certificate's key (PEM).
    #[arg(long, value_name = "FILE", env = "ALLUVIUM_HTTP_KEY", requires = "http_cert")]
    http_key: Option<PathBuf>,
}

impl HttpArguments {
    /// Whether a run could be shown there.
    pub(super) async fn examine(&self, cli: &Cli<'_>) -> Option<Finding> {
        let address = self.http?;
        let served = async {
            let monitor = cli.registry.monitor.as_ref().ok_or("this program cannot serve HTTP")?;
            monitor.examine(self.at(address)?).await
        };
        Some(Finding { what: "http".into(), outcome: served.await })
    }

    fn at(&self, address: SocketAddr) -> Result<Http, String> {
        Ok(Http { address, token: self.token()?, tls: self.http_cert.clone().zip(self.http_key.clone()) })
    }

    /// Begins to show the run; nothing if this program brings nothing that could.
    ///
    /// # Errors
    /// The exit code, after it was said what is wrong.
    pub(super) async fn watch(
        &self,
        cli: &Cli<'_>,
        run: &RunHandle,
        spec: &Path,
    ) -> Result<Option<Box<dyn Watching>>, u8> {
        let failed = |message: &str| {
            say_error(&format!("error: {message}\n"));
            USAGE
        };
        let http = match self.http {
            Some(address) => Some(self.at(address).map_err(|e| failed(&e))?),
            None => None,
        };
        let Some(monitor) = &cli.registry.monitor else {
            return if http.is_some() { Err(failed("this program cannot serve HTTP")) } else { Ok(None) };
        };
        let watched = Watched {
            run: run.clone(),
            spec: spec.to_owned(),
            http,
            tables: cli.registry.tables.clone(),
            reporter: cli.registry.reporter.clone(),
        };
        monitor.start(watched).await.map(Some).map_err(|e| failed(&e))
    }

    fn token(&self) -> Result<Option<String>, String> {
        let token = match &self.http_token_file {
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
                Some(text.trim().to_owned())
            }
            None => std::env::var(TOKEN).ok().filter(|t| !t.is_empty()),
        };
        if let Some(token) = &token {
            secret::learn(TOKEN, token);
        }
        Ok(token)
    }
}
