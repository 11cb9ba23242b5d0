//! Clients that are known by a metadata document, public and with keys.

use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use mcp_oauth::time::Clock as _;
use serde_json::{Value, json};

use super::support::client::{Browser, Client, LOOPBACK, Tokens};
use super::support::world::{Answer, World};

const URL: &str = "https://client.example/oauth/client.json";
const KEYS: &str = "https://client.example/oauth/jwks.json";

fn document() -> Value {
    json!({
        "client_id": URL, "client_name": "Documented", "redirect_uris": ["http://127.0.0.1/callback", "http://localhost/callback"],
        "token_endpoint_auth_method": "none", "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
    })
}

fn client(id: &str) -> Client {
    Client {
        client_id: id.into(),
        secret: None,
        redirect_uri: LOOPBACK.into(),
        browser: Browser::default(),
    }
}

// M3, M7, M12, D9: the whole flow of a public client, with any loopback port.
#[tokio::test]
async fn public_document_client_signs_in() {
    let world = World::new();
    world.web.publish(URL, &document());
    let mut client = client(URL);
    let page = client.authorize(&world, &client.request()).await;
    for text in [
        "Documented",
        "client.example",
        "127.0.0.1:33418",
        "Only continue if you just started this yourself",
    ] {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    let tokens = client.login(&world, "alice").await;
    assert_eq!(client.refresh(&world, &tokens.refresh).await.status, 200);
    let metadata = world
        .get("/.well-known/oauth-authorization-server")
        .await
        .json();
    assert_eq!(metadata["client_id_metadata_document_supported"], true);
}

// M10, M14, M16: /token never fetches a public client's document, so an outage logs nobody out.
#[tokio::test]
async fn outage_of_the_vendor_after_consent_costs_nothing() {
    let world = World::new();
    world.web.publish(URL, &document());
    let mut client = client(URL);
    let code = client.code(&world, "alice").await;
    world.clock.advance(Duration::from_secs(20));
    world.web.put(URL, 404, "", "{}");
    let fetches = world.web.fetches();
    let tokens = Tokens::of(&client.redeem(&world, &code).await);
    world.clock.advance(Duration::from_secs(86_400));
    assert_eq!(client.refresh(&world, &tokens.refresh).await.status, 200);
    assert_eq!(world.web.fetches(), fetches);
}

// M7, M2, M11: another redirect, another status, another client: a page and no redirect.
#[tokio::test]
async fn unusable_documents_are_a_page() {
    let world = World::new();
    let mut client = client(URL);
    assert_page(&client.authorize(&world, &client.request()).await); // not there at all
    for status in [204, 301, 302, 404, 500] {
        world.web.put(URL, status, "", &document().to_string());
        assert_page(&client.authorize(&world, &client.request()).await);
    }
    for (member, value) in [
        ("client_id", json!("https://client.example/other")),
        ("redirect_uris", json!([])),
        ("client_secret", json!("s")),
        ("client_name", json!(7)),
    ] {
        let mut edited = document();
        edited[member] = value;
        world.web.publish(URL, &edited);
        assert_page(&client.authorize(&world, &client.request()).await);
    }
    // M10: nothing of that was kept.
    world.web.publish(URL, &document());
    assert_eq!(
        client.authorize(&world, &client.request()).await.status,
        200
    );
    let mut request = client.request();
    request.insert(
        "redirect_uri".into(),
        "http://127.0.0.1:1/mcp/oauth/callback".into(),
    );
    assert_page(&client.authorize(&world, &request).await);
}

fn assert_page(answer: &Answer) {
    assert!(
        answer.status.is_client_error() || answer.status == 503,
        "{}",
        answer.status
    );
    assert!(answer.headers.get("location").is_none());
    assert!(answer.body.contains("What to do:"));
}

// M10
#[tokio::test]
async fn document_is_kept_as_long_as_it_says() {
    let world = World::new();
    world.web.publish(URL, &document());
    let mut client = client(URL);
    for (wait, fetches) in [(0, 1), (59, 1), (2, 2)] {
        world.clock.advance(Duration::from_secs(wait));
        client.authorize(&world, &client.request()).await;
        assert_eq!(world.web.fetches(), fetches);
    }
}

// M1, M15
#[tokio::test]
async fn hosts_can_be_allowed_and_denied() {
    for (allow, deny, accepted) in [
        (vec![], vec![], true),
        (vec!["client.example"], vec![], true),
        (vec!["other.example"], vec![], false),
        (vec![], vec!["Client.Example"], false),
    ] {
        let texts = |hosts: &[&str]| {
            hosts
                .iter()
                .map(|&host| host.to_owned())
                .collect::<Vec<_>>()
        };
        let world = World::with(|config| {
            config.clients.cimd_allow_hosts = texts(&allow);
            config.clients.cimd_deny_hosts = texts(&deny);
        });
        world.web.publish(URL, &document());
        let mut client = client(URL);
        let answer = client.authorize(&world, &client.request()).await;
        assert_eq!(answer.status == 200, accepted, "{allow:?} {deny:?}");
        assert_eq!(world.web.fetches() > 0, accepted);
    }
}

#[tokio::test]
async fn documents_can_be_switched_off() {
    let world = World::with(|config| config.clients.cimd = false);
    world.web.publish(URL, &document());
    let mut client = client(URL);
    assert_page(&client.authorize(&world, &client.request()).await);
    assert_eq!(world.web.fetches(), 0);
    let metadata = world
        .get("/.well-known/oauth-authorization-server")
        .await
        .json();
    assert!(
        metadata
            .get("client_id_metadata_document_supported")
            .is_none()
    );
    assert!(
        !metadata["token_endpoint_auth_methods_supported"]
            .to_string()
            .contains("private_key_jwt")
    );
}

/// A key pair of the tests.
pub(crate) struct Key {
    algorithm: Algorithm,
    private: EncodingKey,
}

impl Key {
    pub(crate) fn of(algorithm: Algorithm) -> Self {
        let private = match algorithm {
            Algorithm::ES256 => EncodingKey::from_ec_der(include_bytes!("../keys/es256.der")),
            Algorithm::EdDSA => EncodingKey::from_ed_der(include_bytes!("../keys/eddsa.der")),
            _ => EncodingKey::from_rsa_der(include_bytes!("../keys/rs256.der")),
        };
        Self { algorithm, private }
    }

    pub(crate) fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).unwrap();
        jwk.common.key_id = Some("k1".into());
        serde_json::to_value(jwk).unwrap()
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some("k1".into());
        jsonwebtoken::encode(&header, claims, &self.private).unwrap()
    }
}

/// A client with keys, and the claims of an assertion that is right.
pub(crate) fn with_keys(world: &World, key: &Key) -> Client {
    let mut edited = document();
    edited["token_endpoint_auth_method"] = json!("private_key_jwt");
    edited["jwks_uri"] = json!(KEYS);
    world.web.publish(URL, &edited);
    world.web.publish(KEYS, &json!({"keys": [key.public()]}));
    client(URL)
}

pub(crate) fn claims(world: &World, jti: &str) -> Value {
    let now = world.clock.now().as_secs();
    json!({"iss": URL, "sub": URL, "aud": "https://mcp.example.com/token", "exp": now + 300, "iat": now, "jti": jti})
}

pub(crate) async fn redeem_with(
    world: &World,
    client: &Client,
    code: &str,
    assertion: &str,
) -> Answer {
    let mut form = client.redemption(code);
    form.push((
        "client_assertion_type",
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    ));
    form.push(("client_assertion", assertion));
    world.post_form("/token", &form).await
}

// T6, M5, D11: every advertised algorithm, for issuer and token endpoint, as text and as list.
#[tokio::test]
async fn client_with_keys_signs_in() {
    for (n, algorithm) in [
        Algorithm::RS256,
        Algorithm::PS256,
        Algorithm::ES256,
        Algorithm::EdDSA,
    ]
    .into_iter()
    .enumerate()
    {
        let world = World::new();
        let key = Key::of(algorithm);
        let mut client = with_keys(&world, &key);
        let code = client.code(&world, "alice").await;
        let mut claims = claims(&world, "j1");
        if n % 2 == 1 {
            claims["aud"] = json!(["https://mcp.example.com"]);
        }
        let answer = redeem_with(&world, &client, &code, &key.sign(&claims)).await;
        assert_eq!(answer.status, 200, "{algorithm:?}: {}", answer.body);
        let tokens = Tokens::of(&answer);
        // TR1: and again at each refresh.
        assert_eq!(
            client.refresh(&world, &tokens.refresh).await.error(),
            "invalid_client"
        );
        let assertion = key.sign(&self::claims(&world, "j2"));
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", tokens.refresh.as_str()),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", &assertion),
        ];
        assert_eq!(world.post_form("/token", &form).await.status, 200);
    }
}

/// Claims that must not be believed.
fn wrong_claims(now: u64) -> Vec<(&'static str, Value)> {
    vec![
        ("iss", json!("https://client.example/other")),
        ("sub", json!("https://client.example/other")),
        ("sub", json!(7)),
        ("aud", json!("https://mcp.example.com//token")),
        ("aud", json!("https://evil.example")),
        (
            "aud",
            json!(["https://mcp.example.com", "https://evil.example"]),
        ),
        ("aud", json!([])),
        ("exp", json!(now - 120)),
        ("exp", json!(now + 90_000)),
        ("exp", json!("soon")),
        ("exp", Value::Null),
        ("nbf", json!(now + 600)),
        ("nbf", json!("later")),
        ("iat", json!(now + 600)),
        ("jti", json!("")),
        ("jti", json!(7)),
        ("jti", Value::Null),
    ]
}

// T6: the whole table of what must not be believed; none of it burns the code.
#[tokio::test]
async fn wrong_assertions_are_refused_and_do_not_burn_the_code() {
    let world = World::new();
    let key = Key::of(Algorithm::ES256);
    let mut client = with_keys(&world, &key);
    let code = client.code(&world, "alice").await;
    for (claim, value) in wrong_claims(world.clock.now().as_secs()) {
        let mut edited = claims(&world, "j");
        edited[claim] = value.clone();
        let answer = redeem_with(&world, &client, &code, &key.sign(&edited)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.error().as_str()),
            (401, "invalid_client"),
            "{claim}: {value}"
        );
    }
    // Another key, the public key as a shared secret, no signature, nothing at all (M5: downgrade).
    let good = claims(&world, "j");
    let stranger = jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &good,
        &EncodingKey::from_secret(key.public().to_string().as_bytes()),
    )
    .unwrap();
    let unsigned = format!(
        "eyJhbGciOiJub25lIn0.{}.",
        key.sign(&good).split('.').nth(1).unwrap()
    );
    let other = Key::of(Algorithm::RS256).sign(&good);
    for forged in [stranger.as_str(), &unsigned, &other, "x.y.z"] {
        assert_eq!(
            redeem_with(&world, &client, &code, forged).await.error(),
            "invalid_client"
        );
    }
    assert_eq!(client.redeem(&world, &code).await.error(), "invalid_client");
    assert_eq!(
        redeem_with(&world, &client, &code, &key.sign(&good))
            .await
            .status,
        200
    );
}

// T6: once, also for another code.
#[tokio::test]
async fn assertion_works_once() {
    let world = World::new();
    let key = Key::of(Algorithm::ES256);
    let mut client = with_keys(&world, &key);
    let (one, two) = (
        client.code(&world, "alice.1").await,
        client.code(&world, "alice.2").await,
    );
    let assertion = key.sign(&claims(&world, "once"));
    assert_eq!(
        redeem_with(&world, &client, &one, &assertion).await.status,
        200
    );
    assert_eq!(
        redeem_with(&world, &client, &two, &assertion).await.error(),
        "invalid_client"
    );
    assert_eq!(
        redeem_with(&world, &client, &two, &key.sign(&claims(&world, "twice")))
            .await
            .status,
        200
    );
}

// M14: the method is pinned; a document that lost its keys after consent lets nobody in without.
#[tokio::test]
async fn document_that_drops_its_keys_does_not_downgrade() {
    let world = World::new();
    let key = Key::of(Algorithm::ES256);
    let mut client = with_keys(&world, &key);
    let code = client.code(&world, "alice").await;
    world.clock.advance(Duration::from_secs(20));
    world.web.publish(URL, &document());
    assert_eq!(client.redeem(&world, &code).await.error(), "invalid_client");
}

// F12: keys are rotated by the vendor; asked for again, but not at every bad token.
#[tokio::test]
async fn rotated_keys_are_fetched_and_a_flood_is_not() {
    let world = World::new();
    let key = Key::of(Algorithm::ES256);
    let mut client = with_keys(&world, &key);
    world.web.put(
        KEYS,
        200,
        "max-age=3600",
        &json!({"keys": [Key::of(Algorithm::EdDSA).public()]})
            .to_string()
            .replace("k1", "k0"),
    );
    let code = client.code(&world, "alice").await;
    for _ in 0..20 {
        assert_eq!(
            redeem_with(&world, &client, &code, &key.sign(&claims(&world, "j")))
                .await
                .error(),
            "invalid_client"
        );
    }
    let fetches = world.web.fetches();
    assert!(fetches <= 3, "{fetches}");
    world.web.publish(KEYS, &json!({"keys": [key.public()]}));
    world.clock.advance(Duration::from_secs(31));
    assert_eq!(
        redeem_with(&world, &client, &code, &key.sign(&claims(&world, "j")))
            .await
            .status,
        200
    );
}

// E2: keys that cannot be had are our trouble, not the client's.
#[tokio::test]
async fn unreachable_keys_are_503() {
    let world = World::new();
    let key = Key::of(Algorithm::ES256);
    let mut client = with_keys(&world, &key);
    let code = client.code(&world, "alice").await;
    world.web.put(KEYS, 500, "", "{}");
    let answer = redeem_with(&world, &client, &code, &key.sign(&claims(&world, "j"))).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error().as_str()),
        (503, "temporarily_unavailable")
    );
}
