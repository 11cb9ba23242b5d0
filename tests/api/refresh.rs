//! Refreshing: rotation, races, lost answers, theft.

use std::time::Duration;

use mcp_oauth::oauth::access::AccessRules;
use serde_json::json;

use super::support::client::{Client, Tokens};
use super::support::stub::Mood;
use super::support::world::World;

async fn login(world: &World) -> (Client, Tokens) {
    let mut client = Client::register(world).await;
    let tokens = client.login(world, "alice").await;
    (client, tokens)
}

// TR2, obot mcp-oauth-proxy #44: the new tokens work after each of 50 rotations.
#[tokio::test]
async fn each_refresh_gives_new_tokens_that_work() {
    let world = World::new();
    let (client, mut tokens) = login(&world).await;
    for n in 1..=50 {
        let next = Tokens::of(&client.refresh(&world, &tokens.refresh).await);
        assert!(next.refresh != tokens.refresh && next.access != tokens.access);
        assert_eq!(world.upstream.counts().refreshes, n);
        tokens = next;
    }
}

// TR4: a lost answer: the same token gets the same bytes, and the upstream is not asked again.
#[tokio::test]
async fn repeated_refresh_token_gets_the_same_answer() {
    let world = World::new();
    let (client, tokens) = login(&world).await;
    let first = client.refresh(&world, &tokens.refresh).await;
    world.clock.advance(Duration::from_secs(100));
    let again = client.refresh(&world, &tokens.refresh).await;
    assert_eq!(
        (first.status.as_u16(), &first.body),
        (again.status.as_u16(), &again.body)
    );
    assert_eq!(world.upstream.counts().refreshes, 1);
}

// TR4: five at once (claude-code #85236): all succeed with one answer.
#[tokio::test(start_paused = true)]
async fn parallel_refreshes_share_one_rotation() {
    let world = World::new();
    let (client, tokens) = login(&world).await;
    world.upstream.mood(Mood::Slow(Duration::from_millis(500)));
    let attempts = (0..5).map(|_| client.refresh(&world, &tokens.refresh));
    let answers = futures_util::future::join_all(attempts).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == 200 && answer.body == answers[0].body)
    );
    assert_eq!(world.upstream.counts().refreshes, 1);
}

// TR3: a superseded token after the grace ends the grant, the thief's and the victim's alike.
#[tokio::test]
async fn superseded_token_after_the_grace_ends_the_grant() {
    let world = World::new();
    let (client, tokens) = login(&world).await;
    let next = Tokens::of(&client.refresh(&world, &tokens.refresh).await);
    world.clock.advance(Duration::from_secs(121));
    assert_eq!(
        client.refresh(&world, &tokens.refresh).await.error(),
        "invalid_grant"
    );
    assert_eq!(
        client.refresh(&world, &next.refresh).await.error(),
        "invalid_grant"
    );
}

// TR4: a slow process of an honest client, overtaken by another one that refreshed twice.
#[tokio::test]
async fn older_token_within_its_own_grace_is_refused_and_ends_nothing() {
    let world = World::new();
    let (client, tokens) = login(&world).await;
    let second = Tokens::of(&client.refresh(&world, &tokens.refresh).await);
    let third = Tokens::of(&client.refresh(&world, &second.refresh).await);
    let overtaken = client.refresh(&world, &tokens.refresh).await;
    assert_eq!(
        (overtaken.status.as_u16(), overtaken.error().as_str()),
        (400, "invalid_grant")
    );
    assert_eq!(client.refresh(&world, &third.refresh).await.status, 200);
    assert_eq!(world.upstream.counts().refreshes, 3);
}

// TR4: the same while it waits for its turn: the client has newer tokens, and keeps them.
#[tokio::test(start_paused = true)]
async fn waiting_request_that_is_overtaken_is_told_to_come_back() {
    let world = World::new();
    let (client, tokens) = login(&world).await;
    // The waiting request looks every 40 ms: what follows falls between two looks.
    world.upstream.mood(Mood::Slow(Duration::from_millis(500)));
    let leading = async {
        let second = Tokens::of(&client.refresh(&world, &tokens.refresh).await);
        world.upstream.mood(Mood::Well);
        Tokens::of(&client.refresh(&world, &second.refresh).await)
    };
    let waiting = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        client.refresh(&world, &tokens.refresh).await
    };
    let (third, overtaken) = futures_util::future::join(leading, waiting).await;
    assert_eq!(
        (overtaken.status.as_u16(), overtaken.error().as_str()),
        (503, "temporarily_unavailable")
    );
    assert_eq!(client.refresh(&world, &third.refresh).await.status, 200);
}

// TR3
#[tokio::test]
async fn older_token_after_its_own_grace_ends_the_grant() {
    let world = World::new();
    let (client, tokens) = login(&world).await;
    let second = Tokens::of(&client.refresh(&world, &tokens.refresh).await);
    world.clock.advance(Duration::from_secs(119));
    let third = Tokens::of(&client.refresh(&world, &second.refresh).await);
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(
        client.refresh(&world, &tokens.refresh).await.error(),
        "invalid_grant"
    );
    assert_eq!(
        client.refresh(&world, &third.refresh).await.error(),
        "invalid_grant"
    );
}

#[tokio::test]
async fn strict_mode_has_no_grace() {
    let world = World::with(|config| config.tokens.refresh_grace = Duration::ZERO);
    let (client, tokens) = login(&world).await;
    let next = Tokens::of(&client.refresh(&world, &tokens.refresh).await);
    assert_eq!(
        client.refresh(&world, &tokens.refresh).await.error(),
        "invalid_grant"
    );
    assert_eq!(
        client.refresh(&world, &next.refresh).await.error(),
        "invalid_grant"
    );
}

#[tokio::test]
async fn client_policy_has_a_grace_of_its_own() {
    use mcp_oauth::config::ClientPolicy;

    let world = World::with(|config| {
        config.clients.policies.push(ClientPolicy {
            client_host: "client.example".into(),
            refresh_grace: Some(Duration::from_secs(600)),
        });
    });
    let body = json!({"redirect_uris": ["https://client.example/cb"], "token_endpoint_auth_method": "none"});
    let mut client = Client::register_with(&world, &body).await;
    let tokens = client.login(&world, "alice").await;
    assert_eq!(client.refresh(&world, &tokens.refresh).await.status, 200);
    world.clock.advance(Duration::from_secs(500));
    assert_eq!(client.refresh(&world, &tokens.refresh).await.status, 200);
}

// TR1 (ZITADEL CVE-2026-55672)
#[tokio::test]
async fn refresh_token_is_bound_to_its_client() {
    let world = World::new();
    let (client, tokens) = login(&world).await;
    let stranger = Client::register(&world).await;
    assert_eq!(
        stranger.refresh(&world, &tokens.refresh).await.error(),
        "invalid_grant"
    );
    assert_eq!(client.refresh(&world, &tokens.refresh).await.status, 200);
}

// TR5, TR9, T7: checked before anything is rotated.
#[tokio::test]
async fn scope_never_grows_and_resource_never_moves() {
    let world = World::new();
    let (client, tokens) = login(&world).await;
    let with = |name: &'static str, value: &'static str| {
        vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", tokens.refresh.as_str()),
            ("client_id", client.client_id.as_str()),
            (name, value),
        ]
    };
    for (name, value, error) in [
        ("scope", "mcp admin", "invalid_scope"),
        ("scope", "a\\b", "invalid_scope"),
        (
            "resource",
            "https://mcp.example.com/other",
            "invalid_target",
        ),
    ] {
        assert_eq!(
            world.post_form("/token", &with(name, value)).await.error(),
            error,
            "{value}"
        );
    }
    assert_eq!(world.upstream.counts().refreshes, 0);
    for (name, value) in [
        ("scope", "mcp offline_access openid"),
        ("redirect_uri", "https://x.example/"),
        ("resource", "https://mcp.example.com/mcp"),
    ] {
        let answer = world.post_form("/token", &with(name, value)).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["scope"]),
            (200, &json!("mcp")),
            "{value}"
        );
    }
}

// TR6
#[tokio::test]
async fn grant_ends_when_idle_and_in_any_case() {
    const DAY: Duration = Duration::from_secs(86_400);
    let world = World::new();
    let (client, mut tokens) = login(&world).await;
    for _ in 0..3 {
        world.clock.advance(29 * DAY);
        tokens = Tokens::of(&client.refresh(&world, &tokens.refresh).await);
    }
    world.clock.advance(4 * DAY);
    assert_eq!(
        client.refresh(&world, &tokens.refresh).await.error(),
        "invalid_grant"
    );

    let world = World::new();
    let (client, tokens) = login(&world).await;
    world.clock.advance(31 * DAY);
    assert_eq!(
        client.refresh(&world, &tokens.refresh).await.error(),
        "invalid_grant"
    );
}

// B12, E2, F10: upstream trouble is 503; the token works afterwards.
#[tokio::test]
async fn upstream_trouble_is_503_and_costs_nothing() {
    let world = World::new();
    let (client, tokens) = login(&world).await;
    world.upstream.mood(Mood::Down);
    let answer = client.refresh(&world, &tokens.refresh).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error().as_str()),
        (503, "temporarily_unavailable")
    );
    assert!(answer.headers.contains_key("retry-after"));
    world.upstream.mood(Mood::Well);
    assert_eq!(client.refresh(&world, &tokens.refresh).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn slow_upstream_is_503_within_its_limit() {
    let world = World::new();
    let (client, tokens) = login(&world).await;
    world.upstream.mood(Mood::Slow(Duration::from_secs(60)));
    let before = tokio::time::Instant::now();
    assert_eq!(client.refresh(&world, &tokens.refresh).await.status, 503);
    assert!(before.elapsed() <= Duration::from_secs(9));
}

// B12, F11
#[tokio::test]
async fn upstream_refusal_ends_the_grant() {
    let world = World::new();
    let (client, tokens) = login(&world).await;
    world.upstream.mood(Mood::Refuses);
    assert_eq!(
        client.refresh(&world, &tokens.refresh).await.error(),
        "invalid_grant"
    );
    world.upstream.mood(Mood::Well);
    assert_eq!(
        client.refresh(&world, &tokens.refresh).await.error(),
        "invalid_grant"
    );
}

#[tokio::test]
async fn another_person_at_refresh_ends_the_grant() {
    let world = World::new();
    let (client, tokens) = login(&world).await;
    world.upstream.mood(Mood::SwapsPerson);
    assert_eq!(
        client.refresh(&world, &tokens.refresh).await.error(),
        "invalid_grant"
    );
}

// The rules are asked again at every refresh.
#[tokio::test]
async fn access_rules_are_asked_at_every_refresh() {
    let world = World::new();
    let (client, tokens) = login(&world).await;
    let stricter =
        world.replica_edited(|config| config.resources[0].access.global = AccessRules::default());
    let answer = client.refresh(&stricter, &tokens.refresh).await;
    assert_eq!(answer.error(), "invalid_grant");
    assert!(
        answer.json()["error_description"]
            .as_str()
            .unwrap()
            .contains("not allowed here")
    );
}

// Goose: lists only `authorization_code`, and refreshes all the same.
#[tokio::test]
async fn grant_types_of_the_registration_are_not_enforced() {
    let world = World::new();
    let body = json!({"redirect_uris": ["http://127.0.0.1/oauth_callback"], "grant_types": ["authorization_code"], "token_endpoint_auth_method": "none"});
    let mut client = Client::register_with(&world, &body).await;
    let tokens = client.login(&world, "alice").await;
    assert_eq!(client.refresh(&world, &tokens.refresh).await.status, 200); // R7, TR8
}
