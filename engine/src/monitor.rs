//! What shows runs to others: the engine says what there is to show, a crate of its own does it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;

use crate::plan::Plan;
use crate::runtime::RunHandle;
use crate::tables::Tables;

/// Shows and steers runs. See [`Registry::with_monitor`](crate::Registry::with_monitor).
#[async_trait]
pub trait Monitor: Send + Sync + 'static {
    /// A run begins. What is returned is told when it has ended.
    ///
    /// # Errors
    /// Why it cannot be shown as asked, in words.
    async fn start(&self, run: Watched) -> Result<Box<dyn Watching>, String>;

    /// Tries whether runs could be shown so; says where.
    ///
    /// # Errors
    /// Why not, in words.
    async fn examine(&self, http: Http) -> Result<String, String>;
}

/// Shows one run.
#[async_trait]
pub trait Watching: Send {
    /// The run has ended, as its status says: lets those who look hear of it, then stops.
    async fn end(self: Box<Self>);
}

/// A run that is to be shown.
pub struct Watched {
    /// The run.
    pub run: RunHandle,
    /// The file of its spec.
    pub spec: PathBuf,
    /// Serve HTTP.
    pub http: Option<Http>,
    /// Reads its tables.
    pub tables: Option<Arc<dyn Tables>>,
    /// Shows its tables to people.
    pub reporter: Option<Arc<dyn Reporter>>,
}

/// Shows tables to people, for a page that shows more than that. See
/// [`Registry::with_reporter`](crate::Registry::with_reporter).
#[async_trait]
pub trait Reporter: Send + Sync + 'static {
    /// What there is to show as of the newest complete epoch; nothing while none is.
    ///
    /// # Errors
    /// What is wrong with the first panel that cannot be shown.
    async fn panels(&self, plan: &Arc<Plan>, tables: &dyn Tables) -> Result<Vec<PanelHtml>, String>;

    /// The style sheet that goes with the panels.
    fn style(&self) -> String;
}

/// A panel of a report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PanelHtml {
    /// Its title.
    pub title: String,
    /// Its picture, and another one for narrow pages.
    pub svg: Option<String>,
    /// See above.
    pub narrow: Option<String>,
    /// What it has instead of a picture: a number, or a table.
    pub html: Option<String>,
    /// What is not shown.
    pub note: Option<String>,
}

/// Where HTTP is served, and to whom.
pub struct Http {
    /// Where.
    pub address: SocketAddr,
    /// Who knows it may ask.
    pub token: Option<String>,
    /// Files of a certificate and its key, in PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
}
