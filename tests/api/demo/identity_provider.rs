//! The demo's identity provider: what it refuses, and what it gives.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use mcp_oauth::demo::identity_provider::{CLIENT_ID, IdentityProvider};
use mcp_oauth::time::{ManualClock, Timestamp};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::super::support::world::{encode, form_request};
use super::{Answer, send};

const ISSUER: &str = "http://127.0.0.1:8081";
const CALLBACK: &str = "http://127.0.0.1:8080/callback/demo";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

/// The provider, and its one client.
struct Provider {
    router: Router,
    clock: Arc<ManualClock>,
    secret: String,
}

impl Provider {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(NOW));
        let provider = IdentityProvider::new(ISSUER, CALLBACK, Arc::clone(&clock) as _).unwrap();
        Self {
            router: provider.router(),
            clock,
            secret: provider.client_secret().expose().to_owned(),
        }
    }

    /// The authorization request with some parameters changed; an empty one is left out.
    fn request(changed: &[(&str, &str)]) -> String {
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", CLIENT_ID),
            ("redirect_uri", CALLBACK),
            ("scope", "openid email profile"),
            ("state", "a state"),
            ("nonce", "a nonce"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        pairs.retain(|(name, _)| !changed.iter().any(|(other, _)| other == name));
        pairs.extend(changed.iter().filter(|(_, value)| !value.is_empty()));
        format!("/authorize?{}", encode(&pairs))
    }

    async fn get(&self, uri: &str) -> Answer {
        let request = Request::get(uri).body(Body::empty()).unwrap();
        send(&self.router, request).await
    }

    async fn press(&self, button: (&str, &str)) -> Answer {
        send(&self.router, form_request(&Self::request(&[]), &[button])).await
    }

    async fn code(&self, person: &str) -> String {
        let answer = self.press(("user", person)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        assert_eq!(answer.sent("state").unwrap(), "a state");
        assert_eq!(answer.sent("iss").unwrap(), ISSUER);
        answer.sent("code").unwrap()
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let mut form = form.to_vec();
        form.push(("client_id", CLIENT_ID));
        form.push(("client_secret", &self.secret));
        send(&self.router, form_request(path, &form)).await
    }

    async fn redeem(&self, code: &str, verifier: &str) -> Answer {
        self.post(
            "/token",
            &[
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", CALLBACK),
                ("code_verifier", verifier),
            ],
        )
        .await
    }

    async fn refresh(&self, token: &str) -> Answer {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.post("/token", &form).await
    }

    async fn tokens(&self, person: &str) -> Value {
        let answer = self.redeem(&self.code(person).await, VERIFIER).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert_eq!(answer.header("cache-control"), "no-store");
        answer.json()
    }

    async fn userinfo(&self, token: &str) -> Answer {
        let request = Request::get("/userinfo").header("authorization", format!("Bearer {token}"));
        send(&self.router, request.body(Body::empty()).unwrap()).await
    }
}

fn assert_invalid_grant(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.body);
    assert_eq!(answer.json()["error"], "invalid_grant");
}

fn text<'a>(tokens: &'a Value, name: &str) -> &'a str {
    tokens[name].as_str().unwrap_or_else(|| panic!("no {name}"))
}

#[tokio::test]
async fn provider_describes_itself_completely() {
    let provider = Provider::new();
    let answer = provider.get("/.well-known/openid-configuration").await;
    insta::assert_json_snapshot!(answer.json());
}

#[tokio::test]
async fn provider_asks_who_it_is_without_script() {
    let provider = Provider::new();
    let page = provider.get(&Provider::request(&[])).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.header("cache-control"), "no-store");
    assert!(
        page.header("content-security-policy")
            .contains("default-src 'none'")
    );
    assert!(
        !page
            .header("content-security-policy")
            .contains("form-action")
    );
    assert!(!page.body.contains("<script"));
    for button in [r#"value="alice""#, r#"value="bob""#, r#"value="cancel""#] {
        assert!(page.body.contains(button), "{button}");
    }
}

#[tokio::test]
async fn provider_renders_requests_that_nobody_vouches_for() {
    let provider = Provider::new();
    for changed in [
        ("client_id", "somebody-else"),
        ("client_id", ""),
        ("redirect_uri", "https://evil.example/callback/demo"),
        ("redirect_uri", "http://127.0.0.1:8080/callback/demo/"),
        ("redirect_uri", "http://127.0.0.1:9/callback/demo"),
        ("redirect_uri", ""),
    ] {
        let uri = Provider::request(&[changed]);
        let pressed = send(&provider.router, form_request(&uri, &[("user", "alice")]));
        for answer in [provider.get(&uri).await, pressed.await] {
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{changed:?}");
            assert_eq!(answer.header("location"), "", "{changed:?}");
        }
    }
}

#[tokio::test]
async fn provider_sends_other_errors_back() {
    let provider = Provider::new();
    for (changed, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("scope", "email"), "invalid_scope"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge_method", ""), "invalid_request"),
        (("prompt", "none"), "login_required"),
    ] {
        let answer = provider.get(&Provider::request(&[changed])).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{changed:?}");
        assert_eq!(answer.sent("error").unwrap(), error, "{changed:?}");
        assert_eq!(answer.sent("state").unwrap(), "a state");
        assert_eq!(answer.sent("code"), None);
    }
}

#[tokio::test]
async fn person_who_changes_their_mind_is_access_denied() {
    let answer = Provider::new().press(("decision", "cancel")).await;
    assert_eq!(answer.sent("error").unwrap(), "access_denied");
    assert_eq!(answer.sent("iss").unwrap(), ISSUER);
    assert_eq!(answer.sent("code"), None);
}

#[tokio::test]
async fn nobody_signs_in_as_a_stranger() {
    let answer = Provider::new().press(("user", "mallory")).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.header("location"), "");
}

#[tokio::test]
async fn id_token_verifies_against_the_published_key() {
    let provider = Provider::new();
    let tokens = provider.tokens("alice").await;
    let jwks: JwkSet = serde_json::from_value(provider.get("/jwks").await.json()).unwrap();
    let id_token = text(&tokens, "id_token");
    let kid = jsonwebtoken::decode_header(id_token).unwrap().kid.unwrap();
    let key = DecodingKey::from_jwk(jwks.find(&kid).unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[CLIENT_ID]);
    // The provider's clock is the test's.
    validation.validate_exp = false;
    let claims = jsonwebtoken::decode::<Value>(id_token, &key, &validation)
        .unwrap()
        .claims;
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["nonce"], "a nonce");
    assert_eq!(claims["email"], "alice@example.com");
    assert_eq!(claims["email_verified"], true);
    assert_eq!(claims["iat"], NOW.as_secs());
    let digest = Sha256::digest(text(&tokens, "access_token"));
    assert_eq!(claims["at_hash"], URL_SAFE_NO_PAD.encode(&digest[..16]));
}

#[tokio::test]
async fn wrong_verifier_is_invalid_grant_and_does_not_burn_the_code() {
    let provider = Provider::new();
    let code = provider.code("alice").await;
    for wrong in ["", "short", &VERIFIER.to_ascii_lowercase(), CHALLENGE] {
        assert_invalid_grant(&provider.redeem(&code, wrong).await);
    }
    let right = provider.redeem(&code, VERIFIER).await;
    assert_eq!(right.status, StatusCode::OK);
}

#[tokio::test]
async fn replayed_code_is_invalid_grant_and_ends_the_first_tokens() {
    let provider = Provider::new();
    let code = provider.code("alice").await;
    let tokens = provider.redeem(&code, VERIFIER).await.json();
    let access = text(&tokens, "access_token");
    assert_eq!(provider.userinfo(access).await.json()["sub"], "alice");
    assert_invalid_grant(&provider.redeem(&code, VERIFIER).await);
    assert_eq!(
        provider.userinfo(access).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_invalid_grant(&provider.refresh(text(&tokens, "refresh_token")).await);
}

#[tokio::test]
async fn code_is_invalid_grant_after_a_minute() {
    let provider = Provider::new();
    let code = provider.code("bob").await;
    provider.clock.advance(Duration::from_secs(60));
    assert_invalid_grant(&provider.redeem(&code, VERIFIER).await);
}

#[tokio::test]
async fn code_for_another_redirect_uri_is_invalid_grant() {
    let provider = Provider::new();
    let code = provider.code("bob").await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", "http://127.0.0.1:8080/callback/other"),
        ("code_verifier", VERIFIER),
    ];
    assert_invalid_grant(&provider.post("/token", &form).await);
}

#[tokio::test]
async fn refresh_rotates_and_a_used_one_ends_the_sign_in() {
    let provider = Provider::new();
    let first = provider.tokens("bob").await;
    let second = provider.refresh(text(&first, "refresh_token")).await.json();
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    // OpenID Connect Core §12.2: about the same person, without a nonce.
    let payload = text(&second, "id_token").split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    assert_eq!(claims["sub"], "bob");
    assert_eq!(claims.get("nonce"), None);
    assert_invalid_grant(&provider.refresh(text(&first, "refresh_token")).await);
    assert_invalid_grant(&provider.refresh(text(&second, "refresh_token")).await);
}

#[tokio::test]
async fn access_token_ends_after_its_hour() {
    let provider = Provider::new();
    let tokens = provider.tokens("bob").await;
    provider
        .clock
        .advance(Duration::from_secs(tokens["expires_in"].as_u64().unwrap()));
    let answer = provider.userinfo(text(&tokens, "access_token")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.header("www-authenticate").contains("invalid_token"));
}

// V1, V2
#[tokio::test]
async fn revoked_refresh_token_ends_the_sign_in() {
    let provider = Provider::new();
    let tokens = provider.tokens("alice").await;
    let refresh = text(&tokens, "refresh_token");
    assert_eq!(
        provider
            .post("/revoke", &[("token", "unknown")])
            .await
            .status,
        200
    );
    assert_eq!(
        provider.post("/revoke", &[("token", refresh)]).await.status,
        200
    );
    assert_invalid_grant(&provider.refresh(refresh).await);
    let access = provider.userinfo(text(&tokens, "access_token")).await;
    assert_eq!(access.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn token_endpoint_wants_the_clients_secret() {
    let provider = Provider::new();
    let code = provider.code("alice").await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
        ("client_id", CLIENT_ID),
    ];
    for secret in [None, Some(("client_secret", "guessed"))] {
        let form: Vec<_> = form.into_iter().chain(secret).collect();
        for path in ["/token", "/revoke"] {
            let answer = send(&provider.router, form_request(path, &form)).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
            assert_eq!(answer.json()["error"], "invalid_client");
        }
    }
    // The same in the header, as OpenID's default is.
    let pair = format!("{CLIENT_ID}:{}", provider.secret);
    let basic = STANDARD.encode(pair);
    let mut request = form_request("/token", &form);
    let value = format!("Basic {basic}").parse().unwrap();
    request.headers_mut().insert("authorization", value);
    assert_eq!(send(&provider.router, request).await.status, StatusCode::OK);
}
