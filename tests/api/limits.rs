//! Requests per client address and minute.

use std::time::Duration;

use serde_json::json;

use super::support::client::{Client, Tokens};
use super::support::world::World;

// R17, E2
#[tokio::test]
async fn registrations_over_the_limit_are_429_with_the_time_to_wait() {
    let world = World::with(|config| config.limits.register_per_minute = 3);
    let body = json!({"redirect_uris": ["https://a.example/cb"]});
    for _ in 0..3 {
        assert_eq!(world.post_json("/register", &body).await.status, 201);
    }
    let answer = world.post_json("/register", &body).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after")),
        (429, "20")
    );
    assert_eq!(answer.error(), "temporarily_unavailable");
    world.clock.advance(Duration::from_secs(20));
    assert_eq!(world.post_json("/register", &body).await.status, 201);
}

#[tokio::test]
async fn authorization_requests_over_the_limit_get_a_page() {
    let world = World::with(|config| config.limits.authorize_per_minute = 1);
    let mut client = Client::register(&world).await;
    assert_eq!(
        client.authorize(&world, &client.request()).await.status,
        200
    );
    let answer = client.authorize(&world, &client.request()).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after")),
        (429, "60")
    );
    assert!(answer.body.contains("Too many attempts"));
}

// Refusals are counted per address, so an honest client behind the same one still refreshes; its own
// requests are counted per grant, before anything is rotated.
#[tokio::test]
async fn token_counts_refusals_by_address_and_requests_by_grant() {
    let world = World::with(|config| config.limits.token_per_minute = 2);
    let mut client = Client::register(&world).await;
    let tokens = client.login(&world, "alice").await;
    for status in [400, 400, 429, 429] {
        assert_eq!(client.refresh(&world, "garbage").await.status, status);
    }
    let next = Tokens::of(&client.refresh(&world, &tokens.refresh).await);
    let next = Tokens::of(&client.refresh(&world, &next.refresh).await);
    assert_eq!(client.refresh(&world, &next.refresh).await.status, 429);
    assert_eq!(world.upstream.counts().refreshes, 2);
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(client.refresh(&world, &next.refresh).await.status, 200);
}
