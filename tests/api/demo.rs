//! The demo: its identity provider and its MCP server alone, then everything together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use mcp_oauth::demo::backend::{Backend, GATEWAY_KEY};
use mcp_oauth::demo::identity_provider::{CLIENT_ID, IdentityProvider};
use mcp_oauth::demo::{ANY_PORT, Demo, DemoError, Paint, RootKeys, selfcheck};
use mcp_oauth::time::{ManualClock, SystemClock, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tower::ServiceExt as _;

use super::support::world::{encode, form_request};

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map(|it| it.to_str().unwrap()).unwrap_or_default()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    /// A parameter of the location.
    fn sent(&self, name: &str) -> Option<String> {
        let url = url::Url::parse(self.header("location")).unwrap();
        let found = url.query_pairs().find(|(known, _)| known == name);
        found.map(|(_, value)| value.into_owned())
    }
}

async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

// ---- The identity provider -----------------------------------------------------------------

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
    let basic = base64::engine::general_purpose::STANDARD.encode(pair);
    let mut request = form_request("/token", &form);
    let value = format!("Basic {basic}").parse().unwrap();
    request.headers_mut().insert("authorization", value);
    assert_eq!(send(&provider.router, request).await.status, StatusCode::OK);
}

// ---- The MCP server ------------------------------------------------------------------------

const MODERN: &str = "2026-07-28";

struct Mcp {
    router: Router,
    key: String,
}

impl Mcp {
    fn new() -> Self {
        let backend = Backend::new();
        Self {
            router: backend.router(),
            key: backend.gateway_key().expose().to_owned(),
        }
    }

    async fn post(&self, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut request = Request::post("/mcp")
            .header(GATEWAY_KEY, &self.key)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_string())).unwrap();
        send(&self.router, request).await
    }

    /// A request of the later era whose headers say what its body says.
    async fn modern(&self, method: &str, name: Option<&str>) -> Answer {
        let mut headers = vec![("mcp-protocol-version", MODERN), ("mcp-method", method)];
        headers.extend(name.map(|name| ("mcp-name", name)));
        self.post(&headers, &modern(method, name)).await
    }
}

fn rpc(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params })
}

fn modern(method: &str, name: Option<&str>) -> Value {
    let mut params = json!({ "_meta": {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    }});
    if let Some(name) = name {
        params["name"] = name.into();
        params["arguments"] = json!({});
    }
    rpc(method, &params)
}

fn initialize(version: &str) -> Value {
    let params = json!({
        "protocolVersion": version,
        "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" },
    });
    rpc("initialize", &params)
}

fn call(name: &str, arguments: &Value) -> Value {
    rpc(
        "tools/call",
        &json!({ "name": name, "arguments": arguments }),
    )
}

// S4
#[tokio::test]
async fn backend_serves_only_the_gateway() {
    let mcp = Mcp::new();
    let body = || Body::from(call("whoami", &json!({})).to_string());
    let without = Request::post("/mcp").body(body()).unwrap();
    let forged = Request::post("/mcp")
        .header(GATEWAY_KEY, "guessed")
        .header("x-forwarded-user", "demo:alice")
        .body(body())
        .unwrap();
    for request in [without, forged] {
        assert_eq!(
            send(&mcp.router, request).await.status,
            StatusCode::UNAUTHORIZED
        );
    }
    // G1: a browser never comes through the gateway with its origin.
    let browser = [("origin", "https://evil.example")];
    let answer = mcp.post(&browser, &call("whoami", &json!({}))).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn backend_speaks_every_revision_with_sessions() {
    for (asked, spoken) in [
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2024-11-05", "2025-11-25"),
        (MODERN, "2025-11-25"),
    ] {
        let mcp = Mcp::new();
        let begun = mcp.post(&[], &initialize(asked)).await;
        assert_eq!(begun.json()["result"]["protocolVersion"], spoken, "{asked}");
        let headers = [
            ("mcp-session-id", begun.header("mcp-session-id")),
            ("mcp-protocol-version", spoken),
        ];
        let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let answer = mcp.post(&headers, &ready).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (StatusCode::ACCEPTED, "")
        );
        let pong = mcp.post(&headers, &rpc("ping", &json!({}))).await.json();
        assert_eq!(pong, json!({ "jsonrpc": "2.0", "id": 7, "result": {} }));
        let tools = mcp
            .post(&headers, &rpc("tools/list", &json!({})))
            .await
            .json();
        assert_eq!(tools["result"]["tools"][2]["name"], "count");
        let hello = json!({ "text": "hello" });
        let echo = mcp.post(&headers, &call("echo", &hello)).await.json();
        assert_eq!(echo["result"]["content"][0]["text"], "hello");
        assert_eq!(echo["result"].get("resultType"), None);
    }
}

#[tokio::test]
async fn backend_session_ends_by_delete() {
    let mcp = Mcp::new();
    let begun = mcp.post(&[], &initialize("2025-11-25")).await;
    let session = begun.header("mcp-session-id");
    let headers = [("mcp-session-id", session)];
    let end = || {
        let request = Request::delete("/mcp")
            .header(GATEWAY_KEY, &mcp.key)
            .header("mcp-session-id", session);
        send(&mcp.router, request.body(Body::empty()).unwrap())
    };
    assert_eq!(end().await.status, StatusCode::NO_CONTENT);
    assert_eq!(end().await.status, StatusCode::NOT_FOUND);
    let answer = mcp.post(&headers, &rpc("tools/list", &json!({}))).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn backend_has_no_stream_of_its_own() {
    let mcp = Mcp::new();
    let request = Request::get("/mcp").header(GATEWAY_KEY, &mcp.key);
    let answer = send(&mcp.router, request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.header("allow"), "POST, DELETE");
}

// G14
#[tokio::test]
async fn backend_answers_batches() {
    let mcp = Mcp::new();
    let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let batch = json!([
        rpc("ping", &json!({})),
        ready,
        rpc("no/such", &json!({})),
        3
    ]);
    let answers = mcp.post(&[], &batch).await.json();
    assert_eq!(answers.as_array().unwrap().len(), 3);
    assert_eq!(answers[0]["result"], json!({}));
    assert_eq!(answers[1]["error"]["code"], -32_601);
    assert_eq!(answers[2]["error"]["code"], -32_600);
    assert_eq!(
        mcp.post(&[], &json!([ready])).await.status,
        StatusCode::ACCEPTED
    );
}

#[tokio::test]
async fn backend_serves_requests_without_a_session() {
    let mcp = Mcp::new();
    let discovered = mcp.modern("server/discover", None).await;
    assert_eq!(discovered.status, StatusCode::OK);
    assert_eq!(discovered.header("mcp-session-id"), "");
    let result = &discovered.json()["result"];
    assert_eq!(result["resultType"], "complete");
    assert_eq!(result["supportedVersions"][0], MODERN);
    let meta = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
    assert_eq!(meta["name"], "mcp-oauth-demo");
    let listed = mcp.modern("tools/list", None).await.json();
    // Required members: some clients refuse the list without them.
    assert!(listed["result"]["ttlMs"].is_u64());
    assert_eq!(listed["result"]["cacheScope"], "private");
    assert_eq!(listed["result"]["tools"][0]["name"], "whoami");
    let called = mcp.modern("tools/call", Some("whoami")).await.json();
    assert_eq!(called["result"]["resultType"], "complete");
}

// G6
#[tokio::test]
async fn backend_refuses_headers_that_contradict_the_body() {
    let mcp = Mcp::new();
    let body = modern("tools/call", Some("echo"));
    let version = ("mcp-protocol-version", MODERN);
    let (method, name) = (("mcp-method", "tools/call"), ("mcp-name", "echo"));
    for headers in [
        vec![method, name],
        vec![("mcp-protocol-version", "2025-11-25"), method, name],
        vec![version, name],
        vec![version, ("mcp-method", "tools/list"), name],
        vec![version, method],
        vec![version, method, ("mcp-name", "whoami")],
        vec![version, method, ("mcp-name", "=?base64?d2hvYW1p?=")],
    ] {
        let answer = mcp.post(&headers, &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{headers:?}");
        assert_eq!(answer.json()["error"]["code"], -32_020, "{headers:?}");
        assert_eq!(answer.json()["id"], 7);
    }
    let encoded = [version, method, ("mcp-name", "=?base64?ZWNobw==?=")];
    let answer = mcp.post(&encoded, &body).await;
    assert_eq!(answer.json()["error"]["message"], "`text` is missing");
    // The header alone promises a body that is not there.
    let answer = mcp.post(&[version], &rpc("tools/list", &json!({}))).await;
    assert_eq!(answer.json()["error"]["code"], -32_020);
}

#[tokio::test]
async fn backend_names_its_revisions_to_a_client_of_another() {
    let mcp = Mcp::new();
    let mut body = modern("tools/list", None);
    body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = "1900-01-01".into();
    let headers = [
        ("mcp-protocol-version", "1900-01-01"),
        ("mcp-method", "tools/list"),
    ];
    let answer = mcp.post(&headers, &body).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let error = &answer.json()["error"];
    assert_eq!(error["code"], -32_022);
    assert_eq!(error["data"]["requested"], "1900-01-01");
    assert_eq!(error["data"]["supported"][0], MODERN);
}

#[tokio::test]
async fn backend_tells_unknown_methods_as_each_era_wants_it() {
    let mcp = Mcp::new();
    let legacy = mcp.post(&[], &rpc("no/such", &json!({}))).await;
    assert_eq!(legacy.status, StatusCode::OK);
    assert_eq!(legacy.json()["error"]["code"], -32_601);
    let modern = mcp.modern("initialize", None).await;
    assert_eq!(modern.status, StatusCode::NOT_FOUND);
    assert_eq!(modern.json()["error"]["code"], -32_601);
}

#[tokio::test]
async fn backend_refuses_what_is_no_request() {
    let mcp = Mcp::new();
    let request = Request::post("/mcp").header(GATEWAY_KEY, &mcp.key);
    let answer = send(&mcp.router, request.body(Body::from("{")).unwrap()).await;
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].as_i64()),
        (StatusCode::BAD_REQUEST, Some(-32_700))
    );
    for body in [
        json!({ "jsonrpc": "1.0", "id": 1, "method": "ping" }),
        json!({ "jsonrpc": "2.0", "id": null, "method": "ping" }),
        json!({ "jsonrpc": "2.0", "id": 1 }),
        json!("ping"),
    ] {
        let answer = mcp.post(&[], &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(answer.json()["error"]["code"], -32_600, "{body}");
    }
}

#[tokio::test]
async fn whoami_shows_the_identity_that_arrived() {
    let mcp = Mcp::new();
    let headers = [
        ("x-forwarded-user", "demo:zo%C3%AB"),
        ("x-forwarded-email", "zoe@example.com"),
    ];
    let answer = mcp.post(&headers, &call("whoami", &json!({}))).await.json();
    let told = json!({ "subject": "demo:zoë", "email": "zoe@example.com" });
    assert_eq!(answer["result"]["structuredContent"], told);
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert_eq!(text, "subject: demo:zoë\nemail: zoe@example.com");
    let nobody = mcp.post(&[], &call("whoami", &json!({}))).await.json();
    let text = &nobody["result"]["content"][0]["text"];
    assert_eq!(text, "nobody is signed in");
}

#[tokio::test(start_paused = true)]
async fn count_reports_progress_to_who_asked_for_it() {
    let mcp = Mcp::new();
    let mut body = call("count", &json!({ "to": 3 }));
    body["params"]["_meta"] = json!({ "progressToken": "t" });
    let begun = tokio::time::Instant::now();
    let answer = mcp.post(&[], &body).await;
    assert_eq!(begun.elapsed(), Duration::from_millis(1_500));
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!(answer.header("x-accel-buffering"), "no");
    let events: Vec<Value> = answer
        .body
        .split_terminator("\n\n")
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
        .collect();
    assert_eq!(events.len(), 4);
    assert_eq!(events[1]["params"]["progressToken"], "t");
    assert_eq!(events[1]["params"]["progress"], 2);
    assert_eq!(events[3]["result"]["content"][0]["text"], "1 2 3");
}

#[tokio::test(start_paused = true)]
async fn count_sends_signs_of_life_or_json_to_everybody_else() {
    let mcp = Mcp::new();
    let body = call("count", &json!({ "to": 2, "pause_ms": 10 }));
    let answer = mcp.post(&[], &body).await;
    assert!(
        answer.body.starts_with(": 1\n\n: 2\n\ndata: {"),
        "{}",
        answer.body
    );
    let request = Request::post("/mcp")
        .header(GATEWAY_KEY, &mcp.key)
        .header("accept", "application/json");
    let answer = send(
        &mcp.router,
        request.body(Body::from(body.to_string())).unwrap(),
    )
    .await;
    assert_eq!(answer.json()["result"]["content"][0]["text"], "1 2");
}

// ---- Everything together -------------------------------------------------------------------

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
