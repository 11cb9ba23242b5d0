//! The admin listener: `/livez`, `/readyz`, `/metrics`. Never on the public address.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::replay::ReplayStore;

/// What renders the metrics, in Prometheus' text format.
pub type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// Whether requests should be sent here.
#[derive(Clone)]
pub(crate) struct Readiness {
    pub(crate) stopping: Arc<AtomicBool>,
    pub(crate) replay: Arc<dyn ReplayStore>,
}

#[derive(Clone)]
struct Admin {
    readiness: Readiness,
    render: Render,
}

/// The admin endpoints.
pub(crate) fn router(readiness: Readiness, render: Render) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Admin { readiness, render })
}

/// Ready: the store answers, and nobody asked us to stop. The keys were read at start, and a bad
/// change keeps the old ones.
async fn ready(State(admin): State<Admin>) -> Response {
    if admin.readiness.stopping.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    match admin.readiness.replay.ready().await {
        Ok(()) => "ok\n".into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4");
    ([(header::CONTENT_TYPE, kind)], (admin.render)()).into_response()
}
