//! The gateway's checks before a service in the same program.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Request};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use mcp_oauth::gateway::BearerLayer;
use mcp_oauth::oauth::bearer::Principal;
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use super::backend::{Backend, Front, events};

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

/// An app whose answer is a stream of events that the test feeds.
fn streaming(front: &Front) -> (Router, mpsc::Sender<Result<&'static str, std::io::Error>>) {
    let (sender, response) = events();
    let response = Arc::new(Mutex::new(Some(response)));
    let stream = move || {
        let response = response.lock().unwrap().take();
        async move { response.expect("only one request") }
    };
    let layer = BearerLayer::new(front.gateway.clone(), "/mcp").unwrap();
    (Router::new().fallback(stream).layer(layer), sender)
}

// V2
#[tokio::test]
async fn stream_of_an_embedded_service_ends_with_its_grant() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    let (app, events) = streaming(&front);
    let record = front.record();
    let request = Request::get("/mcp")
        .header("authorization", format!("Bearer {}", front.seal(&record)))
        .body(Body::empty())
        .unwrap();
    let answer = app.oneshot(request).await.unwrap();
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    let mut body = answer.into_body();
    events.send(Ok("data: 1\n\n")).await.unwrap();
    let piece = body.frame().await.unwrap().unwrap();
    assert_eq!(piece.into_data().unwrap(), "data: 1\n\n");
    front.ended.0.lock().unwrap().push(record.grant);
    assert!(body.frame().await.is_none());
    drop(events);
}

// V2
#[tokio::test]
async fn embedded_service_that_still_works_is_not_waited_for_after_the_grant() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    let layer = BearerLayer::new(front.gateway.clone(), "/mcp").unwrap();
    let app = Router::new()
        .fallback(async || std::future::pending::<()>().await)
        .layer(layer);
    let record = front.record();
    let bearer = format!("Bearer {}", front.seal(&record));
    let asked = ask(&app, Some(&bearer));
    // Polled after the request has passed the check.
    let ending = async { front.ended.0.lock().unwrap().push(record.grant) };
    let ((status, _, _), ()) = tokio::join!(asked, ending);
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

// S7
#[tokio::test]
async fn session_of_an_embedded_service_is_its_persons() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    let layer = BearerLayer::new(front.gateway.clone(), "/mcp").unwrap();
    let begin = async |headers: HeaderMap| {
        let seen = headers.get("mcp-session-id").cloned();
        let seen = seen.map_or_else(String::new, |id| id.to_str().unwrap().to_owned());
        ([("mcp-session-id", "bare-id")], seen)
    };
    let app = Router::new().fallback(begin).layer(layer);
    let post = async |token: &str, session: Option<&str>| {
        let mut request = Request::post("/mcp").header("authorization", format!("Bearer {token}"));
        if let Some(session) = session {
            request = request.header("mcp-session-id", session);
        }
        let request = request.body(Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap()
    };
    let alice = front.token();
    let first = post(&alice, None).await;
    let sealed = first.headers()["mcp-session-id"]
        .to_str()
        .unwrap()
        .to_owned();
    assert_ne!(sealed, "bare-id");
    let second = post(&alice, Some(&sealed)).await;
    // The same session keeps its name.
    assert_eq!(second.headers()["mcp-session-id"], sealed.as_str());
    let seen = to_bytes(second.into_body(), 100).await.unwrap();
    assert_eq!(seen, "bare-id");
    let others = post(&front.token_of("idp:bob"), Some(&sealed)).await;
    assert_eq!(others.status(), StatusCode::NOT_FOUND);
    let forged = post(&alice, Some("bare-id")).await;
    assert_eq!(forged.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn embedded_service_never_answers_401_itself() {
    let backend = Backend::start().await;
    for (more, token, status, error) in [
        ("auth = \"optional\"", false, 401, None),
        (
            "forward = [\"access_token\"]",
            true,
            401,
            Some("invalid_token"),
        ),
        ("", true, 502, None),
    ] {
        let front = Front::before(&backend, more).await;
        let layer = BearerLayer::new(front.gateway.clone(), "/mcp").unwrap();
        let app = Router::new()
            .fallback(async || StatusCode::UNAUTHORIZED)
            .layer(layer);
        let bearer = format!("Bearer {}", front.token_with("upstream"));
        let (answered, headers, _) = ask(&app, token.then_some(bearer.as_str())).await;
        assert_eq!(answered, status, "{more}");
        let challenge = headers
            .get("www-authenticate")
            .map(|it| it.to_str().unwrap());
        assert_eq!(challenge.is_some(), status == 401, "{more}");
        let challenge = challenge.unwrap_or_default();
        assert_eq!(challenge.contains("error="), error.is_some(), "{challenge}");
    }
}

#[tokio::test]
async fn body_for_an_embedded_service_ends_at_its_limit() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "max_body = \"4B\"").await;
    let layer = BearerLayer::new(front.gateway.clone(), "/mcp").unwrap();
    let read = async |body: Body| to_bytes(body, 100).await.is_ok().to_string();
    let app = Router::new().fallback(read).layer(layer);
    let bearer = format!("Bearer {}", front.token());
    for (body, fits) in [("1234", "true"), ("12345", "false")] {
        // Without a length that could be refused at once.
        let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>(body)]);
        let request = Request::post("/mcp")
            .header("authorization", &bearer)
            .body(Body::from_stream(pieces))
            .unwrap();
        let answer = app.clone().oneshot(request).await.unwrap();
        let said = to_bytes(answer.into_body(), 100).await.unwrap();
        assert_eq!(said, fits, "{body}");
    }
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
