//! The upstream sends the browser back.

use super::support::client::{Browser, Client, LOOPBACK};
use super::support::stub::{Mood, Stub};
use super::support::world::{PUBLIC_URL, World, encode};
use mcp_oauth::upstream::ExchangeAt;

// A8, A9
#[tokio::test]
async fn client_gets_code_state_and_iss_once_each() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let allowed = client.allow(&world).await;
    let answer = client.callback(&world, &allowed, "alice").await;
    assert_eq!(answer.status, 303);
    let url = answer.location();
    let names: Vec<_> = url
        .query_pairs()
        .map(|(name, _)| name.into_owned())
        .collect();
    assert_eq!(names, ["code", "state", "iss"]);
    assert_eq!(answer.sent("state").as_deref(), Some("the client's state"));
    assert_eq!(answer.sent("iss").as_deref(), Some(PUBLIC_URL));
    assert!(answer.header("location").starts_with(LOOPBACK));
    assert_eq!(answer.header("cache-control"), "no-store");
}

// B1, B2: without this browser's session nothing is minted.
#[tokio::test]
async fn callback_in_another_browser_mints_nothing() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let state = client.allow(&world).await.sent("state").unwrap();
    let uri = format!(
        "/callback/stub?{}",
        encode(&[("code", "alice"), ("state", &state)])
    );
    let answer = Browser::default().get(&world, &uri).await;
    assert_eq!(answer.status, 400);
    assert!(answer.headers.get("location").is_none());
}

// B2
#[tokio::test]
async fn wrong_or_missing_state_mints_nothing() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    client.allow(&world).await;
    for query in [
        "code=alice&state=guess",
        "code=alice",
        "",
        "code=alice&state=a&state=b",
    ] {
        let answer = client
            .browser
            .get(&world, &format!("/callback/stub?{query}"))
            .await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.headers.get("location").is_none());
    }
}

// B2: the session is over once it was used.
#[tokio::test]
async fn callback_works_once_per_browser() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let allowed = client.allow(&world).await;
    assert_eq!(client.callback(&world, &allowed, "alice").await.status, 303);
    assert_eq!(client.callback(&world, &allowed, "alice").await.status, 400);
}

// A repeated callback (the cookie kept by force) only makes another code of the same grant.
#[tokio::test]
async fn repeated_callback_wins_nothing() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let allowed = client.allow(&world).await;
    let kept = client.browser.clone();
    let first = client
        .callback(&world, &allowed, "alice")
        .await
        .sent("code")
        .unwrap();
    client.browser = kept;
    let second = client
        .callback(&world, &allowed, "alice")
        .await
        .sent("code")
        .unwrap();
    assert_eq!(client.redeem(&world, &first).await.status, 200);
    assert_eq!(
        client.redeem(&world, &second).await.error(),
        "invalid_grant"
    );
    assert_eq!(world.upstream.counts().exchanges, 1);
}

// B2: another login's cookie under this state's name.
#[tokio::test]
async fn sessions_cannot_be_swapped() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let one = client.allow(&world).await;
    client.allow(&world).await;
    let names: Vec<_> = client
        .browser
        .cookies
        .keys()
        .filter(|it| it.contains("login"))
        .cloned()
        .collect();
    let [a, b] = [0, 1].map(|n| client.browser.cookies[&names[n]].clone());
    client.browser.cookies.insert(names[0].clone(), b);
    client.browser.cookies.insert(names[1].clone(), a);
    assert_eq!(client.callback(&world, &one, "alice").await.status, 400);
}

// B4: RFC 9207 toward the upstream
#[tokio::test]
async fn foreign_iss_is_refused_on_a_page() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    for (iss, status) in [("https://evil.example", 502), ("https://idp.example", 303)] {
        let state = client.allow(&world).await.sent("state").unwrap();
        let uri = format!(
            "/callback/stub?{}",
            encode(&[("code", "alice"), ("state", &state), ("iss", iss)])
        );
        let answer = client.browser.get(&world, &uri).await;
        assert_eq!(answer.status, status, "{iss}");
    }
}

// B7
#[tokio::test]
async fn upstream_errors_become_ours_without_their_text() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    for (error, ours) in [
        ("access_denied", "access_denied"),
        ("server_error", "server_error"),
        ("temporarily_unavailable", "temporarily_unavailable"),
        ("something_else", "server_error"),
    ] {
        let state = client.allow(&world).await.sent("state").unwrap();
        let query = encode(&[
            ("error", error),
            ("error_description", "SECRET-TEXT"),
            ("state", &state),
        ]);
        let answer = client
            .browser
            .get(&world, &format!("/callback/stub?{query}"))
            .await;
        assert_eq!(answer.status, 303);
        assert_eq!(answer.sent("error").as_deref(), Some(ours));
        assert_eq!(answer.sent("iss").as_deref(), Some(PUBLIC_URL));
        assert!(!answer.header("location").contains("SECRET-TEXT"));
    }
}

#[tokio::test]
async fn session_expires_after_ten_minutes() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let allowed = client.allow(&world).await;
    world.clock.advance(std::time::Duration::from_secs(601));
    assert_eq!(client.callback(&world, &allowed, "alice").await.status, 400);
}

fn at_callback() -> Stub {
    Stub::new("stub").edit(|profile| profile.exchange = ExchangeAt::Callback)
}

#[tokio::test]
async fn exchange_at_the_callback_parks_the_tokens_until_the_code_is_redeemed() {
    let world = World::made(|_| {}, at_callback());
    let mut client = Client::register(&world).await;
    let code = client.code(&world, "alice").await;
    assert_eq!(world.upstream.counts().exchanges, 1);
    assert_eq!(client.redeem(&world, &code).await.status, 200);
    assert_eq!(world.upstream.counts().exchanges, 1);
    assert_eq!(client.redeem(&world, &code).await.error(), "invalid_grant");
}

#[tokio::test]
async fn refused_person_gets_a_page_when_the_exchange_is_at_the_callback() {
    use mcp_oauth::oauth::access::AccessRules;

    let world = World::made(
        |config| config.resources[0].access.global = AccessRules::default(),
        at_callback(),
    );
    let mut client = Client::register(&world).await;
    let allowed = client.allow(&world).await;
    let answer = client.callback(&world, &allowed, "alice").await;
    assert_eq!(answer.status, 403);
    assert!(answer.body.contains("not allowed here"));
    assert!(answer.body.contains("alice@example.com"));
    assert!(
        answer.body.contains("error=access_denied"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn upstream_trouble_at_the_callback_is_a_page() {
    let world = World::made(|_| {}, at_callback());
    let mut client = Client::register(&world).await;
    let allowed = client.allow(&world).await;
    world.upstream.mood(Mood::Down);
    assert_eq!(client.callback(&world, &allowed, "alice").await.status, 503);
}
