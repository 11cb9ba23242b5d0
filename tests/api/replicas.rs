//! Two processes that share nothing but keys can serve the two halves of any flow.

use mcp_oauth::config::StoreKind;

use super::support::client::{Client, Tokens};
use super::support::world::World;

#[tokio::test]
async fn every_step_may_be_served_by_another_replica() {
    let one = World::with(|config| config.replay.store = StoreKind::Upstream);
    let two = one.replica_edited(|config| config.replay.store = StoreKind::Upstream);
    let mut client = Client::register(&one).await;
    let page = client.authorize(&two, &client.request()).await;
    let allowed = client.browser.decide(&one, &page, "allow").await;
    let answer = client.callback(&two, &allowed, "alice").await;
    let code = answer.sent("code").unwrap();
    let tokens = Tokens::of(&client.redeem(&one, &code).await);
    let next = Tokens::of(&client.refresh(&two, &tokens.refresh).await);
    assert_eq!(client.refresh(&one, &next.refresh).await.status, 200);
}

// TC4: without a shared store the upstream's own rule holds across replicas.
#[tokio::test]
async fn code_works_on_one_replica_only() {
    let one = World::with(|config| config.replay.store = StoreKind::Upstream);
    let two = one.replica();
    let mut client = Client::register(&one).await;
    let code = client.code(&one, "alice").await;
    assert_eq!(client.redeem(&one, &code).await.status, 200);
    assert_eq!(client.redeem(&two, &code).await.error(), "invalid_grant");
}

// Another deployment that shares the root key but not the issuer.
#[tokio::test]
async fn tokens_of_another_issuer_are_refused() {
    use mcp_oauth::config::PublicUrl;
    use mcp_oauth::oauth::names::Issuer;

    let one = World::new();
    let other = one.replica_edited(|config| {
        config.public_url = PublicUrl {
            issuer: Issuer::new("https://other.example.com"),
            url: "https://other.example.com".parse().unwrap(),
            is_loopback: false,
        };
    });
    let mut client = Client::register(&one).await;
    let code = client.code(&one, "alice").await;
    assert_eq!(client.redeem(&other, &code).await.error(), "invalid_client");
}

// FAULTS F2: a restart forgets nothing that the client holds.
#[tokio::test]
async fn restart_between_authorize_and_token_loses_nothing() {
    let before = World::new();
    let mut client = Client::register(&before).await;
    let code = client.code(&before, "alice").await;
    let after = before.replica();
    drop(before.app);
    let tokens = Tokens::of(&client.redeem(&after, &code).await);
    assert_eq!(client.refresh(&after, &tokens.refresh).await.status, 200);
}
