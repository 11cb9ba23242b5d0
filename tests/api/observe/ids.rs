//! What a request is called: in the answer, toward the backend, on an error page, in the log.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use mcp_oauth::config::{Log, LogFormat};
use mcp_oauth::telemetry;
use serde_json::Value;

use super::super::clients::walk::whole;
use super::super::support::logs::Lines;
use super::super::support::world::{Answer, World};

fn site(trusted: &[&str]) -> World {
    let trusted = trusted.iter().map(|net| net.parse().unwrap()).collect();
    let mut world = World::with(|config| config.trusted_proxies = trusted);
    world.router = whole(&world);
    world
}

async fn ask(world: &World, path: &str, peer: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let peer = SocketAddr::new(peer.parse().unwrap(), 1);
    let request = request.extension(ConnectInfo(peer));
    world.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn every_answer_has_an_id_of_our_making() {
    let world = site(&[]);
    let mut known = std::collections::BTreeSet::new();
    for path in ["/", "/healthz", "/mcp", "/nothing", "/authorize", "/token"] {
        let answer = ask(&world, path, "192.0.2.1", &[("x-request-id", "chosen")]).await;
        let id = answer.header("x-request-id").to_owned();
        assert_eq!(id.len(), 32, "{path}: {id}");
        assert!(id.bytes().all(|it| it.is_ascii_hexdigit()), "{id}");
        assert!(known.insert(id), "{path}: twice");
    }
}

#[tokio::test]
async fn id_is_believed_from_trusted_proxies_only() {
    let world = site(&["10.0.0.0/8"]);
    let given = [("x-request-id", "from-the-proxy.1")];
    let near = ask(&world, "/healthz", "10.1.2.3", &given).await;
    assert_eq!(near.header("x-request-id"), "from-the-proxy.1");
    let mapped = ask(&world, "/healthz", "::ffff:10.1.2.3", &given).await;
    assert_eq!(mapped.header("x-request-id"), "from-the-proxy.1");
    let far = ask(&world, "/healthz", "192.0.2.1", &given).await;
    assert_ne!(far.header("x-request-id"), "from-the-proxy.1");
    let odd = [("x-request-id", "a\" \"level\":\"ERROR")];
    let odd = ask(&world, "/healthz", "10.1.2.3", &odd).await;
    assert_eq!(odd.header("x-request-id").len(), 32);
}

#[tokio::test]
async fn error_page_shows_the_id_that_the_answer_and_the_log_have() {
    let lines = Lines::default();
    let log = Log {
        format: LogFormat::Json,
        level: "info".to_owned(),
    };
    let _guard = telemetry::log_to(&log, lines.clone()).unwrap();
    let world = site(&[]);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    // Other tests run beside this one without a subscriber, and whoever comes first decides whether
    // a line is ever looked at again.
    ask(&world, "/authorize", "192.0.2.1", &[]).await;
    tracing::callsite::rebuild_interest_cache();
    let page = ask(
        &world,
        "/authorize",
        "192.0.2.1",
        &[("traceparent", &parent)],
    )
    .await;
    let id = page.header("x-request-id").to_owned();
    assert!(page.body.contains(&id), "{}", page.body);
    let text = lines.text();
    let line = text.lines().find(|line| line.contains(&id)).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["request_id"], id.as_str());
    assert_eq!(line["error_id"], id.as_str());
    assert_eq!(line["trace_id"], trace);
}
