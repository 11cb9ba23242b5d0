//! How often a token request waits for the store: the line lets so many questions pass and holds the
//! next one for ever.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Algorithm;

use super::proxy::Proxy;
use super::{Rig, open};
use crate::api::documents::{Key, claims, redeem_with, with_keys};
use crate::api::replay::Time as _;
use crate::api::support::client::{Client, Tokens};
use crate::api::support::world::World;

/// A server on a store behind a line.
async fn behind_a_line(rig: &Rig) -> (World, Proxy) {
    let proxy = Proxy::to(rig.server.port).await;
    let store = open(&proxy.url(), rig.clock.clone())
        .await
        .expect("the store opens");
    (World::over(|_| Arc::new(store)), proxy)
}

/// Teaches the store all scripts, and passes its first seconds.
async fn taught(rig: &Rig) {
    let (world, _) = behind_a_line(rig).await;
    rig.advance(Duration::from_secs(5)).await;
    let mut client = Client::register(&world).await;
    let tokens = client.login(&world, "alice").await;
    assert_eq!(client.refresh(&world, &tokens.refresh).await.status, 200);
}

#[tokio::test]
async fn code_waits_for_the_store_once() {
    let Some(rig) = Rig::start().await else {
        return;
    };
    taught(&rig).await;
    for (questions, status) in [(0, 503), (1, 200)] {
        let (world, proxy) = behind_a_line(&rig).await;
        let mut client = Client::register(&world).await;
        let code = client.code(&world, "alice").await;
        proxy.let_pass(questions);
        let answer = client.redeem(&world, &code).await;
        assert_eq!(answer.status, status, "{questions}: {}", answer.body);
    }
}

// The assertion is claimed with the code.
#[tokio::test]
async fn code_of_a_client_with_keys_waits_for_the_store_once() {
    let Some(rig) = Rig::start().await else {
        return;
    };
    taught(&rig).await;
    for (questions, status) in [(0, 503), (1, 200)] {
        let (world, proxy) = behind_a_line(&rig).await;
        let key = Key::of(Algorithm::ES256);
        let mut client = with_keys(&world, &key);
        let code = client.code(&world, "alice").await;
        let assertion = key.sign(&claims(&world, &format!("j{questions}")));
        proxy.let_pass(questions);
        let answer = redeem_with(&world, &client, &code, &assertion).await;
        assert_eq!(answer.status, status, "{questions}: {}", answer.body);
    }
}

// The lease before the upstream is asked, and the rotation after.
#[tokio::test]
async fn refresh_waits_for_the_store_twice() {
    let Some(rig) = Rig::start().await else {
        return;
    };
    taught(&rig).await;
    for (questions, status) in [(1, 503), (2, 200)] {
        let (world, proxy) = behind_a_line(&rig).await;
        let mut client = Client::register(&world).await;
        let tokens: Tokens = client.login(&world, "alice").await;
        // The note that the code was redeemed is not waited for: it must not be counted here.
        settled(&rig).await;
        proxy.let_pass(questions);
        let answer = client.refresh(&world, &tokens.refresh).await;
        assert_eq!(answer.status, status, "{questions}: {}", answer.body);
    }
}

/// Waits until no claim is busy.
async fn settled(rig: &Rig) {
    for _ in 0..500 {
        let mut busy = false;
        for key in rig.server.keys().await {
            if key.ends_with("}:c") {
                let claim = rig.server.tell(&["GET", &key]).await;
                let claim: String = redis::from_redis_value(claim).expect("a claim");
                busy |= claim.starts_with("busy");
            }
        }
        if !busy {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("a claim stays busy");
}

// What a second use says does not depend on when the first one's note arrives.
#[tokio::test]
async fn second_use_ends_the_grant_on_a_store_across_a_network() {
    let Some(rig) = Rig::start().await else {
        return;
    };
    taught(&rig).await;
    for _ in 0..20 {
        let (world, _proxy) = behind_a_line(&rig).await;
        let mut client = Client::register(&world).await;
        let code = client.code(&world, "alice").await;
        let tokens = Tokens::of(&client.redeem(&world, &code).await);
        assert_eq!(client.redeem(&world, &code).await.error(), "invalid_grant");
        let over = client.refresh(&world, &tokens.refresh).await;
        assert_eq!(over.error(), "invalid_grant");
    }
}
