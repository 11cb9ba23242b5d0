//! Revocation: either token ends the grant.

use std::time::Duration;

use mcp_oauth::oauth::revoke::Epochs;

use super::support::client::Client;
use super::support::world::World;

// V1, V2
#[tokio::test]
async fn either_token_ends_the_grant() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    for access in [false, true] {
        let tokens = client
            .login(&world, if access { "alice.1" } else { "alice.2" })
            .await;
        let answer = client
            .revoke(
                &world,
                if access {
                    &tokens.access
                } else {
                    &tokens.refresh
                },
            )
            .await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            client.refresh(&world, &tokens.refresh).await.error(),
            "invalid_grant"
        );
    }
}

// V1
#[tokio::test]
async fn foreign_and_unknown_tokens_are_200_without_effect() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let tokens = client.login(&world, "alice").await;
    let stranger = Client::register(&world).await;
    assert_eq!(stranger.revoke(&world, &tokens.refresh).await.status, 200);
    assert_eq!(client.revoke(&world, "no token at all").await.status, 200);
    assert_eq!(client.refresh(&world, &tokens.refresh).await.status, 200);
    let nobody = world
        .post_form(
            "/revoke",
            &[("token", &tokens.refresh), ("client_id", "nobody")],
        )
        .await;
    assert_eq!(nobody.error(), "invalid_client");
    assert_eq!(
        world
            .post_form("/revoke", &[("client_id", &client.client_id)])
            .await
            .error(),
        "invalid_request"
    );
}

// The upstream hears it only where that ends one token alone.
#[tokio::test]
async fn upstream_is_told_of_a_refresh_tokens_end() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let tokens = client.login(&world, "alice").await;
    client.revoke(&world, &tokens.refresh).await;
    tokio::task::yield_now().await;
    assert_eq!(world.upstream.counts().revocations, 1);
}

#[tokio::test]
async fn epochs_end_grants_and_registrations() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let tokens = client.login(&world, "alice").await;
    world.clock.advance(Duration::from_secs(10));
    let now = {
        use mcp_oauth::time::Clock as _;
        world.clock.now()
    };
    world.app.revocations.set_epochs(Epochs {
        not_before: Some(now),
        ..Epochs::default()
    });
    assert_eq!(
        client.refresh(&world, &tokens.refresh).await.error(),
        "invalid_grant"
    );
    let later = client.login(&world, "alice.2").await;
    assert_eq!(client.refresh(&world, &later.refresh).await.status, 200);

    world.app.revocations.set_epochs(Epochs {
        registrations_before: Some(now),
        ..Epochs::default()
    });
    assert_eq!(
        client.refresh(&world, &later.refresh).await.error(),
        "invalid_client"
    );
}
