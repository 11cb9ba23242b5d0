//! Browser clients: origins, preflights, and headers that scripts may read.

use axum::body::Body;
use futures_util::FutureExt as _;
use http::{Method, StatusCode};

use super::backend::{Answer, Backend, Front};

const APP: &str = "https://app.example";

async fn front(backend: &Backend) -> Front {
    Front::start(&format!(
        "[[resources]]\npath = \"/mcp\"\nbackend = \"http://{}/mcp\"\n\
         [cors]\nallowed_origins = [\"{APP}\"]\n",
        backend.address
    ))
    .await
}

fn assert_readable(answer: &Answer) {
    assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
    let exposed = answer.header("access-control-expose-headers").unwrap();
    assert_eq!(exposed, "WWW-Authenticate, Mcp-Session-Id");
    assert_eq!(answer.header("access-control-allow-credentials"), None);
}

// X2, X3
#[tokio::test]
async fn preflight_needs_no_token() {
    let backend = Backend::start().await;
    let front = front(&backend).await;
    let request = front
        .request(Method::OPTIONS, "/mcp")
        .header("origin", APP)
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,mcp-param-region",
        );
    let answer = front.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_readable(&answer);
    assert_eq!(
        answer.header("access-control-allow-methods"),
        Some("GET, POST, DELETE, HEAD, OPTIONS")
    );
    let allowed = answer.header("access-control-allow-headers").unwrap();
    for name in [
        "Authorization",
        "Content-Type",
        "Accept",
        "MCP-Protocol-Version",
        "Mcp-Method",
        "Mcp-Name",
        "Mcp-Session-Id",
        "Last-Event-ID",
        "mcp-param-region",
    ] {
        assert!(
            allowed.split(", ").any(|it| it == name),
            "{name}: {allowed}"
        );
    }
    assert!(backend.seen().is_empty());
}

// G1, X4
#[tokio::test]
async fn foreign_origin_is_forbidden() {
    let backend = Backend::start().await;
    let front = front(&backend).await;
    for method in [Method::POST, Method::GET, Method::OPTIONS] {
        for origin in [
            "https://evil.example",
            "null",
            "https://app.example.evil.example",
        ] {
            let request = front
                .request(method.clone(), "/mcp")
                .header("authorization", format!("Bearer {}", front.token()))
                .header("origin", origin);
            let answer = front.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {origin}");
            assert_eq!(answer.error(), "forbidden_origin");
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
    }
    assert!(backend.seen().is_empty());
}

// W10
#[tokio::test]
async fn scripts_can_read_refusals_and_failures() {
    let backend = Backend::with(|request| {
        async move {
            let status = if request.target.ends_with("/broken") {
                500
            } else {
                200
            };
            http::Response::builder()
                .status(status)
                .header("access-control-allow-origin", "*")
                .header("access-control-allow-credentials", "true")
                .body(Body::empty())
                .unwrap()
        }
        .boxed()
    })
    .await;
    let front = front(&backend).await;
    let bearer = format!("Bearer {}", front.token());
    for (path, authorization, status) in [
        ("/mcp", &*bearer, StatusCode::OK),
        ("/mcp/broken", &*bearer, StatusCode::INTERNAL_SERVER_ERROR),
        ("/mcp", "Bearer x", StatusCode::UNAUTHORIZED),
        ("/other", &*bearer, StatusCode::NOT_FOUND),
    ] {
        let request = front
            .request(Method::POST, path)
            .header("authorization", authorization)
            .header("origin", APP);
        let answer = front.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, status);
        assert_readable(&answer);
    }
    assert!(backend.seen().iter().all(|it| it.all("origin").is_empty()));
}

// G1
#[tokio::test]
async fn client_without_an_origin_needs_none() {
    let backend = Backend::start().await;
    let front = front(&backend).await;
    let answer = front.send(front.post().body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert!(answer.header("vary").unwrap().contains("Origin"));
}
