//! The demo as it is started: where it listens, and the selfcheck against the real server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use mcp_oauth::demo::{ANY_PORT, Demo, DemoError, Paint, RootKeys, selfcheck};
use mcp_oauth::time::SystemClock;
use serde_json::json;

#[tokio::test]
async fn demo_stays_on_this_computer() {
    let everywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let clock = Arc::new(SystemClock::start());
    let refused = Demo::start(everywhere, RootKeys::Passing, clock).await;
    assert!(matches!(refused, Err(DemoError::NotLoopback(_))));
}

#[tokio::test]
async fn taken_port_is_told_with_the_flag_that_helps() {
    let taken = tokio::net::TcpListener::bind(ANY_PORT).await.unwrap();
    let address = taken.local_addr().unwrap();
    let clock = Arc::new(SystemClock::start());
    let refused = Demo::start(address, RootKeys::Passing, clock).await;
    let text = refused.unwrap_err().to_string();
    assert!(text.starts_with(&format!("{address} is taken")), "{text}");
    assert!(text.contains("--listen 127.0.0.1:"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn selfcheck_passes() {
    let clock = Arc::new(SystemClock::start());
    let demo = Demo::start(ANY_PORT, RootKeys::Passing, clock)
        .await
        .unwrap();
    let mcp_url = demo.mcp_url().to_owned();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(demo.serve(async { stopped.await.unwrap_or(()) }));

    let mut out = Vec::new();
    let passed = selfcheck::run(&mcp_url, &mut out, Paint::default())
        .await
        .unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(passed, "{out}");
    assert_eq!(
        out.lines().filter(|line| line.starts_with('✓')).count(),
        21,
        "{out}"
    );
    assert!(out.contains("demo:alice, alice@example.com"), "{out}");
    // Nothing that could be used is shown.
    assert!(!out.contains("eyJ"), "{out}");

    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(10), serving)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn selfcheck_says_what_is_wrong_with_a_server_that_is_none() {
    let listener = tokio::net::TcpListener::bind(ANY_PORT).await.unwrap();
    let mcp_url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new()).await });
    let mut out = Vec::new();
    let passed = selfcheck::run(&mcp_url, &mut out, Paint::default())
        .await
        .unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(!passed, "{out}");
    assert!(out.starts_with("✗ challenge "), "{out}");
    assert!(
        out.contains("expected  401 Unauthorized\n    got       404 Not Found"),
        "{out}"
    );
}

// D2, P3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn selfcheck_refuses_a_name_that_differs_in_a_byte() {
    for (resource_end, issuer_end, step) in
        [("/", "", "resource metadata"), ("", "/", "server metadata")]
    {
        let listener = tokio::net::TcpListener::bind(ANY_PORT).await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let challenge = format!(r#"Bearer resource_metadata="{origin}/resource""#);
        let head = [
            ("www-authenticate", challenge),
            ("cache-control", "no-store".to_owned()),
        ];
        let resource = json!({
            "resource": format!("{origin}/mcp{resource_end}"),
            "authorization_servers": [origin],
            "bearer_methods_supported": ["header"],
        });
        let server = json!({ "issuer": format!("{origin}{issuer_end}") });
        let router = Router::new()
            .route("/mcp", post(async || (StatusCode::UNAUTHORIZED, head)))
            .route("/resource", get(async || Json(resource)))
            .route(
                "/.well-known/oauth-authorization-server",
                get(async || Json(server)),
            );
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut out = Vec::new();
        let url = format!("{origin}/mcp");
        let passed = selfcheck::run(&url, &mut out, Paint::default()).await;
        let out = String::from_utf8(out).unwrap();
        assert!(!passed.unwrap(), "{out}");
        assert!(out.contains(&format!("✗ {step} ")), "{out}");
        assert!(out.contains("- the steps after this one need it"), "{out}");
    }
}
