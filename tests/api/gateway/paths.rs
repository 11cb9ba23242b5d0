//! Which path reaches which backend.

use axum::body::Body;
use http::{Method, StatusCode};

use super::backend::{Backend, Front};

// G16, E1
#[tokio::test]
async fn path_without_a_resource_is_a_json_404() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    for path in ["/", "/mcpx", "/MCP", "/other", "/.well-known/other"] {
        let request = front.request(Method::GET, path).body(Body::empty());
        let answer = front.send(request.unwrap()).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.error(), "not_found");
    }
}

#[tokio::test]
async fn ambiguous_path_is_a_bad_request() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    for path in [
        "/mcp/../admin",
        "//mcp",
        "/mcp//x",
        "/mcp/%2e%2e/x",
        "/mcp%2fx",
        "/mcp%5Cx",
        "/mcp\\x",
        "/mcp/%00",
        "/mcp/..;/x",
    ] {
        let head = front.raw_head().replacen("/mcp", path, 1);
        let answer = front.raw(&format!("{head}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
    }
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn longest_path_wins_whatever_its_spelling() {
    let (one, two) = (Backend::start().await, Backend::start().await);
    let front = Front::start(&format!(
        "[[resources]]\npath = \"/mcp\"\nbackend = \"http://{}/a\"\n\
         [[resources]]\npath = \"/mcp/admin\"\nbackend = \"http://{}/b\"\n",
        one.address, two.address
    ))
    .await;
    let mut admin = front.record();
    admin.aud = format!("{}/mcp/admin", front.issuer);
    let admin = front.seal(&admin);
    for (path, token, status) in [
        ("/mcp/x?q=%20&r", front.token(), StatusCode::OK),
        ("/mcp/admin/y?z", admin.clone(), StatusCode::OK),
        ("/mcp/%61dmin", front.token(), StatusCode::UNAUTHORIZED),
        ("/mcp/admin;x", front.token(), StatusCode::UNAUTHORIZED),
        ("/mcp/x", admin, StatusCode::UNAUTHORIZED),
    ] {
        let request = front
            .request(Method::POST, path)
            .header("authorization", format!("Bearer {token}"));
        let answer = front.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, status, "{path}");
    }
    assert_eq!(one.only().target, "/a/x?q=%20&r");
    assert_eq!(two.only().target, "/b/y?z");
}

// G16
#[tokio::test]
async fn trailing_slash_is_passed_on_and_never_redirected() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    let request = front
        .request(Method::POST, "/mcp/")
        .header("authorization", format!("Bearer {}", front.token()));
    let answer = front.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(backend.only().target, "/mcp/");
}

#[tokio::test]
async fn trace_and_connect_are_never_passed_on() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    let head = front.raw_head().replacen("POST", "TRACE", 1);
    let answer = front.raw(&format!("{head}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(answer.contains("allow: GET, POST, DELETE"));
    assert!(backend.seen().is_empty());
}

// G2
#[tokio::test]
async fn foreign_host_is_misdirected() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    let request = front
        .post()
        .header("host", "evil.example")
        .header("origin", "http://evil.example");
    let answer = front.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST);
    assert!(answer.body.contains(&front.issuer));
    assert!(backend.seen().is_empty());
}
