//! The dashboard's files, as they are in the program.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::api::Served;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// Path, type and content.
const FILES: &[(&str, &str, &str)] = &[
    ("/charts.js", JS, include_str!("../page/charts.js")),
    ("/connection.js", JS, include_str!("../page/connection.js")),
    ("/details.js", JS, include_str!("../page/details.js")),
    ("/dom.js", JS, include_str!("../page/dom.js")),
    ("/epochs.js", JS, include_str!("../page/epochs.js")),
    ("/format.js", JS, include_str!("../page/format.js")),
    ("/graph.js", JS, include_str!("../page/graph.js")),
    ("/header.js", JS, include_str!("../page/header.js")),
    ("/", HTML, include_str!("../page/index.html")),
    ("/main.js", JS, include_str!("../page/main.js")),
    ("/page.css", CSS, include_str!("../page/page.css")),
    ("/report.js", JS, include_str!("../page/report.js")),
    ("/steer.js", JS, include_str!("../page/steer.js")),
    ("/tables.js", JS, include_str!("../page/tables.js")),
];

pub(crate) fn router() -> Router<Served> {
    let mut router = Router::new().route("/report.css", get(async |State(s): State<Served>| file(CSS, s.live.style())));
    for &(path, kind, content) in FILES {
        router = router.route(path, get(async move || file(kind, content.to_owned())));
    }
    router
}

fn file(kind: &'static str, content: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind)], content)
}
