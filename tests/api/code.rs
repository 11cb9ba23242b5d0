//! Redeeming a code: bound to everything, once.

use std::time::Duration;

use mcp_oauth::oauth::access::AccessRules;
use mcp_oauth::oauth::names::UpstreamFingerprint;
use mcp_oauth::seal::Purpose;
use serde_json::json;

use super::support::client::{Client, LOOPBACK, Tokens, VERIFIER};
use super::support::stub::{Mood, Stub};
use super::support::world::World;

// T2, T8, K3
#[tokio::test]
async fn code_becomes_tokens() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let code = client.code(&world, "alice").await;
    let answer = client.redeem(&world, &code).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(
        (answer.header("cache-control"), answer.header("pragma")),
        ("no-store", "no-cache")
    );
    let body = answer.json();
    assert_eq!(
        (&body["token_type"], &body["expires_in"], &body["scope"]),
        (&json!("Bearer"), &json!(3600), &json!("mcp"))
    );
    let keys = world.app.keys.current();
    assert_eq!(
        keys.purpose_of(body["access_token"].as_str().unwrap()),
        Some(Purpose::AccessToken)
    );
    assert_eq!(
        keys.purpose_of(body["refresh_token"].as_str().unwrap()),
        Some(Purpose::RefreshToken)
    );
}

// TC1, TC2, TC3, T7 (FAULTS: workers-oauth-provider #225 and #246, ZITADEL CVE-2026-55672): every
// binding is checked before anything is used up, so the right request still works afterwards.
#[tokio::test]
async fn wrong_bindings_are_refused_and_do_not_burn_the_code() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let stranger = Client::register(&world).await;
    let code = client.code(&world, "alice").await;
    for (name, value, error) in [
        ("client_id", stranger.client_id.as_str(), "invalid_grant"),
        (
            "redirect_uri",
            "http://127.0.0.1:1/callback",
            "invalid_grant",
        ),
        ("redirect_uri", "https://evil.example/", "invalid_grant"),
        (
            "code_verifier",
            "aBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            "invalid_grant",
        ),
        ("code_verifier", "short", "invalid_request"),
        ("code_verifier", "", "invalid_request"),
        (
            "resource",
            "https://mcp.example.com/other",
            "invalid_target",
        ),
        ("resource", "https://evil.example/mcp", "invalid_target"),
        ("client_id", "nobody", "invalid_client"),
        ("client_id", "", "invalid_request"),
    ] {
        let mut form: Vec<_> = client
            .redemption(&code)
            .into_iter()
            .filter(|(known, _)| *known != name)
            .collect();
        form.push((name, value));
        let answer = world.post_form("/token", &form).await;
        assert_eq!(answer.error(), error, "{name}={value}");
    }
    assert_eq!(world.upstream.counts().exchanges, 0);
    assert_eq!(client.redeem(&world, &code).await.status, 200);
}

// TC3
#[tokio::test]
async fn redirect_uri_may_be_left_out_and_resource_may_be_repeated() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let code = client.code(&world, "alice").await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("client_id", &client.client_id),
        ("code_verifier", VERIFIER),
        ("resource", "https://mcp.example.com/mcp"),
        ("resource", "https://MCP.example.com/mcp/"),
    ];
    assert_eq!(world.post_form("/token", &form).await.status, 200);
}

// TC4: the second use is refused and ends the grant.
#[tokio::test]
async fn code_redeemed_twice_is_invalid_grant_and_ends_the_grant() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let code = client.code(&world, "alice").await;
    let tokens = Tokens::of(&client.redeem(&world, &code).await);
    let again = client.redeem(&world, &code).await;
    assert_eq!(
        (again.status.as_u16(), again.error().as_str()),
        (400, "invalid_grant")
    );
    assert_eq!(
        client.refresh(&world, &tokens.refresh).await.error(),
        "invalid_grant"
    );
    assert_eq!(world.upstream.counts().exchanges, 1);
}

// TC5: a stolen code without its verifier does not count as a use, even after the honest one.
#[tokio::test]
async fn second_use_without_the_verifier_does_not_end_the_grant() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let code = client.code(&world, "alice").await;
    let tokens = Tokens::of(&client.redeem(&world, &code).await);
    let mut form = client.redemption(&code);
    form.retain(|(name, _)| *name != "code_verifier");
    form.push((
        "code_verifier",
        "aBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    ));
    assert_eq!(
        world.post_form("/token", &form).await.error(),
        "invalid_grant"
    );
    assert_eq!(client.refresh(&world, &tokens.refresh).await.status, 200);
}

// TC4 (Keycloak CVE-2026-1035): 64 at once, one success, the upstream asked once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_parallel_redemptions_have_one_success() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let code = client.code(&world, "alice").await;
    world.upstream.mood(Mood::Slow(Duration::from_millis(20)));
    let attempts = (0..64).map(|_| client.redeem(&world, &code));
    let answers = futures_util::future::join_all(attempts).await;
    let successes = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(successes, 1);
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == 200 || answer.error() == "invalid_grant")
    );
    assert_eq!(world.upstream.counts().exchanges, 1);
}

// TC6, A15
#[tokio::test]
async fn code_expires_after_a_minute_and_before_the_upstreams() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let code = client.code(&world, "alice").await;
    world.clock.advance(Duration::from_secs(56));
    assert_eq!(client.redeem(&world, &code).await.error(), "invalid_grant");

    let world = World::made(
        |_| {},
        Stub::new("stub").edit(|it| it.code_ttl = Duration::from_secs(30)),
    );
    let mut client = Client::register(&world).await;
    let code = client.code(&world, "alice").await;
    world.clock.advance(Duration::from_secs(24));
    assert_eq!(client.redeem(&world, &code).await.status, 200);
    let code = client.code(&world, "bob").await;
    world.clock.advance(Duration::from_secs(26));
    assert_eq!(client.redeem(&world, &code).await.error(), "invalid_grant");
}

// Trouble at the upstream is 503, and the code works afterwards.
#[tokio::test]
async fn upstream_trouble_is_503_and_the_code_survives() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let code = client.code(&world, "alice").await;
    world.upstream.mood(Mood::Down);
    let answer = client.redeem(&world, &code).await;
    assert_eq!(answer.status, 503);
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(answer.error(), "temporarily_unavailable");
    world.upstream.mood(Mood::Well);
    assert_eq!(client.redeem(&world, &code).await.status, 200);
}

#[tokio::test]
async fn upstream_refusal_uses_the_code_up() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let code = client.code(&world, "alice").await;
    world.upstream.mood(Mood::Refuses);
    assert_eq!(client.redeem(&world, &code).await.error(), "invalid_grant");
    world.upstream.mood(Mood::Well);
    assert_eq!(client.redeem(&world, &code).await.error(), "invalid_grant");
    assert_eq!(world.upstream.counts().exchanges, 1);
}

// E2, B11: what the upstream says never reaches the client.
#[tokio::test]
async fn refused_person_hears_it_in_plain_words() {
    let world = World::with(|config| config.resources[0].access.global = AccessRules::default());
    let mut client = Client::register(&world).await;
    let code = client.code(&world, "alice").await;
    let answer = client.redeem(&world, &code).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error().as_str()),
        (400, "invalid_grant")
    );
    assert!(
        answer.json()["error_description"]
            .as_str()
            .unwrap()
            .contains("not allowed here")
    );
}

// T4, R4: a confidential client must authenticate, by the secret that its registration got.
#[tokio::test]
async fn confidential_client_must_authenticate() {
    let world = World::new();
    for method in ["client_secret_basic", "client_secret_post"] {
        let body = json!({"redirect_uris": [LOOPBACK], "token_endpoint_auth_method": method});
        let mut client = Client::register_with(&world, &body).await;
        let secret = client.secret.clone().unwrap();
        let other = Client::register_with(&world, &body).await.secret.unwrap();
        assert_ne!(secret, other);
        let code = client.code(&world, &format!("alice.{method}")).await;
        assert_eq!(client.redeem(&world, &code).await.error(), "invalid_client");
        for (secret, status) in [(other.as_str(), 401), ("", 401), (secret.as_str(), 200)] {
            let mut form = client.redemption(&code);
            form.push(("client_secret", secret));
            assert_eq!(
                world.post_form("/token", &form).await.status,
                status,
                "{method}"
            );
        }
        // In either place: SDKs do not agree which is meant.
        let code = client.code(&world, &format!("alice.again.{method}")).await;
        let answer = world
            .send(super::wire::with_basic(
                &client,
                &secret,
                &client.redemption(&code),
            ))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

// An upstream's name that is pointed elsewhere while a code is out.
#[tokio::test]
async fn code_of_a_replaced_upstream_is_not_sent_to_the_new_one() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let code = client.code(&world, "alice").await;
    let moved = Stub::new("stub")
        .edit(|it| it.fingerprint = UpstreamFingerprint::of_upstream("https://evil.example", "us"));
    let other = world.replica_with(moved);
    assert_eq!(client.redeem(&other, &code).await.error(), "invalid_grant");
    assert_eq!(other.upstream.counts().exchanges, 0);
    assert_eq!(world.upstream.counts().exchanges, 0);
}

// TR7, K3: any flipped character is refused.
#[tokio::test]
async fn tampered_code_is_refused() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let code = client.code(&world, "alice").await;
    for at in (0..code.len()).step_by(37) {
        let mut bytes = code.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let tampered = String::from_utf8(bytes).unwrap();
        if tampered != code {
            assert_eq!(
                client.redeem(&world, &tampered).await.error(),
                "invalid_grant",
                "{at}"
            );
        }
    }
    assert_eq!(client.redeem(&world, &code).await.status, 200);
}
