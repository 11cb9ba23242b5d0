//! The demo as it is started: where it listens, and the selfcheck against the real server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use mcp_oauth::demo::{ANY_PORT, Demo, DemoError, Paint, RootKeys, selfcheck};
use mcp_oauth::time::SystemClock;

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
