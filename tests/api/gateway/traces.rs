//! What the gateway leaves behind: metrics, and logs without secrets.

use axum::body::Body;
use http::Method;
use metrics_exporter_prometheus::PrometheusBuilder;

use super::super::support::logs::Lines;
use super::backend::{Backend, Front, streaming, until};

#[tokio::test]
async fn denials_streams_and_backend_calls_are_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let rendered = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (backend, events) = streaming().await;
    let front = Front::before(&backend, "").await;

    for authorization in ["Bearer x", "Basic x"] {
        let request = front
            .request(Method::POST, "/mcp")
            .header("authorization", authorization);
        front.send(request.body(Body::empty()).unwrap()).await;
    }
    let stream = front.open(front.post().body(Body::empty()).unwrap()).await;
    let text = rendered.render();
    for line in [
        "mcp_oauth_denied_total{reason=\"not_sealed\"} 1",
        "mcp_oauth_denied_total{reason=\"other_scheme\"} 1",
        "mcp_oauth_active_streams 1",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let calls = "mcp_oauth_http_client_request_duration_seconds_count{peer=\"backend\"} 1";
    assert!(text.contains(calls), "{text}");
    drop(stream);
    until(|| rendered.render().contains("mcp_oauth_active_streams 0")).await;
    drop(events);
}

#[tokio::test]
async fn logs_hold_no_secret_at_any_level() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_env_filter("mcp_oauth=trace")
        .with_writer(lines.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let backend = Backend::start().await;
    let headers =
        "forward = [\"authorization\"]\nbackend_headers = { X-Key = \"operator-secret\" }";
    let front = Front::before(&backend, headers).await;
    let token = front.token_with("upstream-secret");
    let dead =
        Front::start("[[resources]]\npath = \"/mcp\"\nbackend = \"http://127.0.0.1:1/mcp\"\n")
            .await;
    // Other tests run beside this one without a subscriber, and whoever comes first decides whether
    // a line is ever looked at again. So: reach every line, decide anew, and do it once more.
    trouble(&front, &dead, &token).await;
    tracing::callsite::rebuild_interest_cache();
    trouble(&front, &dead, &token).await;

    let text = lines.text();
    assert!(text.contains("gateway"), "nothing was logged");
    assert!(text.contains("backend_unreachable"), "{text}");
    assert!(!text.contains("secret") && !text.contains(&token), "{text}");
}

/// Requests with secrets in every place where one can be, good ones and bad ones.
async fn trouble(front: &Front, dead: &Front, token: &str) {
    for (authorization, path) in [
        (format!("Bearer {token}"), "/mcp?access_token=query-secret"),
        ("Bearer bad-secret".to_owned(), "/mcp"),
        ("Basic basic-secret".to_owned(), "/mcp"),
    ] {
        let request = front
            .request(Method::POST, path)
            .header("authorization", authorization)
            .header("cookie", "cookie-secret")
            .header("mcp-session-id", "session-secret");
        front
            .send(request.body(Body::from("body-secret")).unwrap())
            .await;
    }
    dead.send(dead.post().body(Body::from("body-secret")).unwrap())
        .await;
}
