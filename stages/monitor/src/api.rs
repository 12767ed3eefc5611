//! What can be asked of a run. Told in `API.md`.

use std::sync::Arc;
use std::time::Duration;

use alluvium_engine::progress::{RunState, StageCondition, Status};
use alluvium_engine::runtime::{Control, RunHandle};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use crate::guard::{Guard, guard};
use crate::layout::{self, Layout};
use crate::live::Live;
use crate::{events, page};

/// No request needs more.
const MOST_BYTES: usize = 16 << 10;
/// Rows of one question at most.
const MOST_ROWS: usize = 1_000;
/// A tap waits so long for rows.
const TAP: Duration = Duration::from_secs(10);

/// What questions are about.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) run: RunHandle,
    pub(crate) live: Arc<Live>,
}

/// Everything that a listener answers.
pub(crate) fn router(served: Served, of: Guard) -> Router {
    let api = Router::new()
        .route("/status", get(status))
        .route("/epochs", get(async |State(s): State<Served>| Json(s.run.epochs())))
        .route("/series", get(async |State(s): State<Served>| Json(s.run.series())))
        .route("/graph", get(graph))
        .route("/events", get(events::events))
        .route("/rejects", get(rejects))
        .route("/report", get(report))
        .route("/tap", get(tap))
        .route("/control", get(async |State(s): State<Served>| Json(s.run.control())).post(control))
        .route("/pause", post(async |State(s): State<Served>| steer(&s, |c| c.paused = true)))
        .route("/resume", post(async |State(s): State<Served>| steer(&s, |c| c.paused = false)))
        .route("/stop", post(stop))
        .fallback(async || (StatusCode::NOT_FOUND, "there is nothing here; see API.md for what there is\n"));
    Router::new()
        .nest("/api", api)
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .merge(page::router())
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .layer(from_fn_with_state(of, guard))
        .with_state(served)
}

async fn status(State(served): State<Served>) -> Json<Status> {
    Json(served.run.status())
}

async fn graph(State(served): State<Served>) -> Json<Layout> {
    Json(layout::of_plan(&served.run.plan()))
}

async fn metrics(State(served): State<Served>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], served.run.metrics())
}

/// Lives: a run that has failed ends by itself.
async fn healthz(State(served): State<Served>) -> Response {
    match served.run.status().fault {
        None => "ok\n".into_response(),
        Some(fault) => (StatusCode::SERVICE_UNAVAILABLE, format!("failed: {}\n", fault.message)).into_response(),
    }
}

/// Works: frontiers move, or nothing is outstanding.
async fn readyz(State(served): State<Served>) -> Response {
    let status = served.run.status();
    let stalled = status.stages.iter().find(|s| s.condition == StageCondition::Stalled);
    let text = match (&status.fault, stalled, status.state) {
        (Some(fault), ..) => format!("failed: {}", fault.message),
        (_, Some(stage), _) => {
            let epoch = stage.frontier.map(|e| format!(", epoch {e}")).unwrap_or_default();
            format!("stalled: stage `{}`{epoch}: {}", stage.name, stage.cause.as_deref().unwrap_or("no cause is known"))
        }
        (.., RunState::Starting) => "starting".to_owned(),
        _ => return "ok\n".into_response(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, format!("{text}\n")).into_response()
}

#[derive(Deserialize)]
struct Limit {
    limit: Option<usize>,
}

async fn rejects(State(served): State<Served>, Query(query): Query<Limit>) -> Response {
    answer(served.live.rejects(&served.run, query.limit.unwrap_or(20).min(MOST_ROWS)).await)
}

async fn report(State(served): State<Served>) -> Response {
    answer(served.live.report(&served.run).await)
}

#[derive(Deserialize)]
struct TapQuery {
    stage: String,
    #[serde(default)]
    rejects: bool,
    rows: Option<usize>,
}

/// The next rows that pass a stage, as JSON objects.
async fn tap(State(served): State<Served>, Query(query): Query<TapQuery>) -> Response {
    let wanted = query.rows.unwrap_or(10).clamp(1, MOST_ROWS);
    let Some(mut samples) = served.run.tap(&query.stage, query.rejects, wanted) else {
        let text = format!("there is no stage `{}`\n", query.stage);
        return (StatusCode::NOT_FOUND, text).into_response();
    };
    match tokio::time::timeout(TAP, samples.recv()).await {
        Ok(Some(sample)) => answer(crate::live::cells(&sample.rows).map(|rows| rows.at(sample.epoch))),
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn control(State(served): State<Served>, Json(control): Json<Control>) -> Response {
    let zero = |n: Option<u64>| n == Some(0);
    if zero(control.interval_ms)
        || zero(control.epoch_bytes)
        || zero(control.epoch_rows)
        || control.epoch_splits == Some(0)
    {
        return (StatusCode::BAD_REQUEST, "intervals and limits are at least 1\n").into_response();
    }
    served.run.steer(|now| *now = control);
    Json(served.run.control()).into_response()
}

fn steer(served: &Served, change: impl FnOnce(&mut Control)) -> Json<Control> {
    served.run.steer(change);
    Json(served.run.control())
}

#[derive(Deserialize)]
struct StopQuery {
    #[serde(default)]
    now: bool,
}

async fn stop(State(served): State<Served>, Query(query): Query<StopQuery>) -> StatusCode {
    if query.now {
        served.run.stop_now()
    } else {
        served.run.stop()
    }
    StatusCode::ACCEPTED
}

/// JSON, or what went wrong.
fn answer<T: serde::Serialize>(result: Result<T, String>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(error) => {
            let text = alluvium_engine::secret::redact(&error);
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{text}\n")).into_response()
        }
    }
}
