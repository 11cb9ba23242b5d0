//! The gateway's checks before a service in the same program.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Request};
use http::{HeaderMap, StatusCode};
use mcp_oauth::gateway::BearerLayer;
use mcp_oauth::oauth::bearer::Principal;
use tower::ServiceExt as _;

use super::backend::{Backend, Front};

async fn whoami(principal: Option<Extension<Principal>>, headers: HeaderMap) -> String {
    assert!(!headers.contains_key("authorization"));
    principal.map_or_else(
        || "nobody".to_owned(),
        |Extension(principal)| principal.token().sub.to_string(),
    )
}

fn app(front: &Front) -> Router {
    let layer = BearerLayer::new(front.gateway.clone(), "/mcp").unwrap();
    Router::new().fallback(whoami).layer(layer)
}

async fn ask(app: &Router, authorization: Option<&str>) -> (StatusCode, HeaderMap, String) {
    let mut request = Request::post("/anywhere");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let request = request.body(Body::empty()).unwrap();
    let (head, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    let body = to_bytes(body, 10_000).await.unwrap().to_vec();
    (head.status, head.headers, String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn embedded_service_learns_the_person_and_never_the_token() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    let app = app(&front);
    let bearer = format!("Bearer {}", front.token());
    let (status, _, body) = ask(&app, Some(&bearer)).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "idp:alice"));
    for refused in [None, Some("Bearer x")] {
        let (status, headers, _) = ask(&app, refused).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let challenge = headers["www-authenticate"].to_str().unwrap();
        assert!(challenge.contains("/.well-known/oauth-protected-resource/mcp"));
    }
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn embedded_service_with_optional_sign_in_hears_of_nobody() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "auth = \"optional\"").await;
    let (status, _, body) = ask(&app(&front), None).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "nobody"));
}

#[tokio::test]
async fn layer_exists_for_configured_resources_only() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    assert!(BearerLayer::new(front.gateway.clone(), "/other").is_none());
}
