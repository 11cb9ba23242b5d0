//! Who gets in, and what the others are told.

use std::time::Duration;

use axum::body::Body;
use futures_util::FutureExt as _;
use http::{Method, StatusCode};
use mcp_oauth::entropy::rng;
use mcp_oauth::oauth::names::{Issuer, Subject, UpstreamFingerprint};
use mcp_oauth::oauth::records::SessionId;
use mcp_oauth::oauth::scope::Scope;
use mcp_oauth::seal::Keyring;

use super::backend::{Answer, Backend, Front};

const PLACE: &str = "/.well-known/oauth-protected-resource/mcp\"";

async fn with_header(front: &Front, authorization: &str) -> Answer {
    let request = front
        .request(Method::POST, "/mcp")
        .header("authorization", authorization);
    front.send(request.body(Body::from("{}")).unwrap()).await
}

fn assert_invalid_token(answer: &Answer, cause: &str) {
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{cause}");
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(
        challenge.starts_with("Bearer error=\"invalid_token\""),
        "{cause}: {challenge}"
    );
    assert_eq!(answer.error(), "invalid_token", "{cause}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

// W1, W2, W3, W4, W9, H1
#[tokio::test]
async fn every_method_without_a_token_is_challenged() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "scopes = [\"mcp\"]\nrequired_scopes = [\"mcp\"]").await;
    for method in ["POST", "GET", "DELETE", "HEAD", "PUT", "PATCH", "PROPFIND"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        for path in ["/mcp", "/mcp/", "/mcp/below?x=1"] {
            let request = front
                .request(method.clone(), path)
                .header("accept", "text/html");
            let answer = front.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
            assert_eq!(
                answer.header("www-authenticate").unwrap(),
                format!(
                    "Bearer resource_metadata=\"{}{PLACE}, scope=\"mcp\"",
                    front.issuer
                )
            );
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            if method != Method::HEAD {
                assert_eq!(answer.error(), "unauthorized");
            }
        }
    }
    assert!(backend.seen().is_empty());
}

// S2, S3, P9
#[tokio::test]
async fn token_that_is_not_good_here_is_invalid() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    let good = front.record();

    let mut expired = good.clone();
    expired.exp = front.record().iat;
    let mut other_resource = good.clone();
    other_resource.aud = format!("{}/other", front.issuer);
    let mut whole_origin = good.clone();
    whole_origin.aud.clone_from(&front.issuer);
    let mut other_issuer = good.clone();
    other_issuer.iss = "https://other.example".to_owned();
    let mut other_upstream = good.clone();
    other_upstream.fingerprint = UpstreamFingerprint::of_upstream("https://id2.example", "c");
    let foreign = Keyring::generate(&Issuer::new(&front.issuer), &mut rng()).unwrap();
    let foreign = foreign.seal(&good, &mut rng()).unwrap().into_wire();
    let session = SessionId {
        id: "s".to_owned(),
        subject: Some(Subject::new("idp:alice")),
        resource: "/mcp".to_owned(),
    };
    let session = front.keys.current().seal(&session, &mut rng()).unwrap();
    let token = front.seal(&good);
    let mut tampered = token.clone();
    let middle = tampered.len() / 2;
    let swapped = if tampered.as_bytes()[middle] == b'A' {
        "B"
    } else {
        "A"
    };
    tampered.replace_range(middle..=middle, swapped);

    for (cause, token) in [
        ("expired", front.seal(&expired)),
        ("another resource", front.seal(&other_resource)),
        ("the whole origin", front.seal(&whole_origin)),
        ("another issuer", front.seal(&other_issuer)),
        ("another upstream", front.seal(&other_upstream)),
        ("a foreign key", foreign),
        ("another purpose", session.into_wire()),
        ("tampered", tampered),
        ("the upstream's own", "gho_16C7e42F292c6912E7".to_owned()),
        ("an unsigned JWT", "eyJhbGciOiJub25lIn0.e30.".to_owned()),
        ("empty", String::new()),
        ("two in one line", format!("{token}, Bearer {token}")),
        ("too long", "A".repeat(20_000)),
    ] {
        assert_invalid_token(
            &with_header(&front, &format!("Bearer {token}")).await,
            cause,
        );
    }
    assert!(backend.seen().is_empty());

    let answer = with_header(&front, &format!("bearer {token}")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body, "from the backend");
}

// S2
#[tokio::test]
async fn token_ends_at_its_expiry_and_with_its_grant() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    let record = front.record();
    let bearer = format!("Bearer {}", front.seal(&record));
    front.clock.advance(Duration::from_secs(3_599));
    assert_eq!(with_header(&front, &bearer).await.status, StatusCode::OK);
    front.ended.0.lock().unwrap().push(record.grant);
    assert_invalid_token(&with_header(&front, &bearer).await, "revoked");
    front.ended.0.lock().unwrap().clear();
    front.clock.advance(Duration::from_secs(1));
    assert_invalid_token(&with_header(&front, &bearer).await, "expired");
}

// S1
#[tokio::test]
async fn token_in_the_query_is_ignored() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    let path = format!("/mcp?access_token={}", front.token());
    let request = front.request(Method::POST, &path).body(Body::empty());
    let answer = front.send(request.unwrap()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.error(), "unauthorized");
}

// W8
#[tokio::test]
async fn two_authorization_headers_are_a_bad_request() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    let bearer = format!("Bearer {}", front.token());
    let request = front
        .request(Method::POST, "/mcp")
        .header("authorization", &bearer)
        .header("authorization", &bearer);
    let answer = front.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.error(), "invalid_request");
    assert_eq!(answer.header("www-authenticate"), None);
}

// W5
#[tokio::test]
async fn missing_scopes_are_named_all_at_once() {
    let backend = Backend::start().await;
    let scopes = "scopes = [\"a\", \"b\", \"c\"]\nrequired_scopes = [\"a\", \"b\"]";
    let front = Front::before(&backend, scopes).await;
    let mut record = front.record();
    record.scope = Scope::parse("c").unwrap();
    let answer = with_header(&front, &format!("Bearer {}", front.seal(&record))).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.error(), "insufficient_scope");
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.starts_with("Bearer error=\"insufficient_scope\""));
    assert!(
        challenge.ends_with(&format!("{PLACE}, scope=\"a b\"")),
        "{challenge}"
    );

    record.scope = Scope::parse("a b").unwrap();
    let answer = with_header(&front, &format!("Bearer {}", front.seal(&record))).await;
    assert_eq!(answer.status, StatusCode::OK);
}

// W4
#[tokio::test]
async fn other_schemes_are_no_token() {
    let backend = Backend::start().await;
    for auth in ["", "auth = \"optional\""] {
        let front = Front::before(&backend, auth).await;
        let answer = with_header(&front, "Basic YTpi").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{auth}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(!challenge.contains("error"), "{challenge}");
    }
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn optional_sign_in_passes_nobody_as_nobody() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "auth = \"optional\"").await;
    let request = front
        .request(Method::POST, "/mcp")
        .header("x-forwarded-user", "idp:alice")
        .header("x_forwarded_user", "idp:alice");
    let answer = front.send(request.body(Body::from("{}")).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(backend.only().headers.get("x-forwarded-user").is_none());
    assert!(backend.only().headers.get("x_forwarded_user").is_none());
}

#[tokio::test]
async fn optional_sign_in_still_refuses_a_bad_token() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "auth = \"optional\"").await;
    assert_invalid_token(&with_header(&front, "Bearer x").await, "random");
    let bearer = format!("Bearer {}", front.token());
    assert_eq!(with_header(&front, &bearer).await.status, StatusCode::OK);
    assert_eq!(backend.only().all("x-forwarded-user"), ["idp:alice"]);
}

/// A backend that answers 401 with a challenge of its own.
async fn refusing() -> Backend {
    Backend::with(|_| {
        async {
            http::Response::builder()
                .status(401)
                .header("www-authenticate", "Bearer realm=\"backend\"")
                .body(Body::from("backend says no"))
                .unwrap()
        }
        .boxed()
    })
    .await
}

#[tokio::test]
async fn backend_that_asks_nobody_to_sign_in_becomes_our_challenge() {
    let backend = refusing().await;
    let front = Front::before(&backend, "auth = \"optional\"").await;
    let request = front.request(Method::POST, "/mcp").body(Body::empty());
    let answer = front.send(request.unwrap()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        answer.header("www-authenticate").unwrap(),
        format!("Bearer resource_metadata=\"{}{PLACE}", front.issuer)
    );
    assert!(!answer.body.contains("backend"));
}

// G12
#[tokio::test]
async fn refused_upstream_token_is_an_invalid_token() {
    let backend = refusing().await;
    for forward in ["access_token", "authorization"] {
        let front = Front::before(&backend, &format!("forward = [\"{forward}\"]")).await;
        let bearer = format!("Bearer {}", front.token_with("upstream"));
        assert_invalid_token(&with_header(&front, &bearer).await, forward);
    }
}

// G12
#[tokio::test]
async fn backend_that_refuses_the_gateway_is_a_bad_gateway() {
    let backend = refusing().await;
    let front = Front::before(&backend, "").await;
    let answer = front.send(front.post().body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(answer.header("www-authenticate"), None);
    assert_eq!(answer.error(), "bad_gateway");
}

#[tokio::test]
async fn token_without_the_upstream_token_that_the_backend_needs_is_invalid() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "forward = [\"authorization\"]").await;
    let bearer = format!("Bearer {}", front.token());
    assert_invalid_token(&with_header(&front, &bearer).await, "no upstream token");
    assert!(backend.seen().is_empty());
}
