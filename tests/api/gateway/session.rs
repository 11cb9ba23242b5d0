//! `Mcp-Session-Id` belongs to a person and a resource.

use axum::body::Body;
use futures_util::FutureExt as _;
use http::{Method, StatusCode};

use super::backend::{Answer, Backend, Front};

/// A backend that names a session on `initialize` and on every later answer.
async fn stateful() -> Backend {
    Backend::with(|_| {
        async {
            http::Response::builder()
                .header("mcp-session-id", "backend-7")
                .body(Body::empty())
                .unwrap()
        }
        .boxed()
    })
    .await
}

async fn call(front: &Front, path: &str, token: &str, session: &[&str]) -> Answer {
    let mut request = front.request(Method::POST, path);
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    for session in session {
        request = request.header("mcp-session-id", *session);
    }
    front.send(request.body(Body::empty()).unwrap()).await
}

// S6, S7
#[tokio::test]
async fn session_works_for_its_person_only() {
    let backend = stateful().await;
    let front = Front::before(&backend, "").await;
    let (alice, bob) = (front.token(), front.token_of("idp:bob"));

    let begun = call(&front, "/mcp", &alice, &[]).await;
    let session = begun.header("mcp-session-id").unwrap();
    assert!(!session.contains("backend-7"));
    assert!(backend.only().all("mcp-session-id").is_empty());

    let again = call(&front, "/mcp", &alice, &[session]).await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(again.header("mcp-session-id"), Some(session));
    assert_eq!(backend.seen()[1].all("mcp-session-id"), ["backend-7"]);

    let stolen = call(&front, "/mcp", &bob, &[session]).await;
    assert_eq!(stolen.status, StatusCode::NOT_FOUND);
    assert_eq!(stolen.error(), "session_not_found");
    let without_token = call(&front, "/mcp", "", &[session]).await;
    assert_eq!(without_token.status, StatusCode::UNAUTHORIZED);
    assert_eq!(backend.seen().len(), 2);
}

// S7
#[tokio::test]
async fn forged_session_is_unknown() {
    let backend = stateful().await;
    let front = Front::before(&backend, "").await;
    let token = front.token();
    let begun = call(&front, "/mcp", &token, &[]).await;
    let session = begun.header("mcp-session-id").unwrap();
    let cut = &session[..session.len() - 1];
    for forged in [
        vec!["backend-7"],
        vec![""],
        vec![cut],
        vec![token.as_str()],
        vec![session, session],
    ] {
        let answer = call(&front, "/mcp", &token, &forged).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{forged:?}");
    }
    assert_eq!(backend.seen().len(), 1);
}

// S7
#[tokio::test]
async fn session_of_one_resource_is_unknown_at_another() {
    let backend = stateful().await;
    let url = format!("http://{}/mcp", backend.address);
    let front = Front::start(&format!(
        "[[resources]]\npath = \"/mcp\"\nbackend = \"{url}\"\nauth = \"optional\"\n\
         [[resources]]\npath = \"/other\"\nbackend = \"{url}\"\nauth = \"optional\"\n"
    ))
    .await;
    let begun = call(&front, "/mcp", "", &[]).await;
    let session = begun.header("mcp-session-id").unwrap();
    assert_eq!(
        call(&front, "/mcp", "", &[session]).await.status,
        StatusCode::OK
    );
    let elsewhere = call(&front, "/other", "", &[session]).await;
    assert_eq!(elsewhere.status, StatusCode::NOT_FOUND);
}

// S7: clients keep the session that they began before they were asked to sign in.
#[tokio::test]
async fn session_that_began_without_a_person_goes_on_after_the_sign_in_and_never_back() {
    let backend = stateful().await;
    let front = Front::before(&backend, "auth = \"optional\"").await;
    let begun = call(&front, "/mcp", "", &[]).await;
    let session = begun.header("mcp-session-id").unwrap();
    let signed_in = call(&front, "/mcp", &front.token(), &[session]).await;
    assert_eq!(signed_in.status, StatusCode::OK);
    assert_eq!(backend.seen()[1].all("mcp-session-id"), ["backend-7"]);

    let begun = call(&front, "/mcp", &front.token(), &[]).await;
    let session = begun.header("mcp-session-id").unwrap();
    for token in ["", &front.token_of("idp:bob")] {
        let other = call(&front, "/mcp", token, &[session]).await;
        assert_eq!(other.status, StatusCode::NOT_FOUND);
    }
}
