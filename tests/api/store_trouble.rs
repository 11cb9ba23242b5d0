//! The store fails at one step of a request: 503, and the client's retry works.

use std::sync::Arc;
use std::time::Duration;

use mcp_oauth::replay::ReplayStore;
use mcp_oauth::time::{ManualClock, Timestamp};

use super::support::client::{Client, Tokens};
use super::support::flaky::{Broken, Flaky};
use super::support::stub::Mood;
use super::support::world::{Answer, START, World};

/// A server on a store that breaks where it is told to.
fn flaky() -> (World, Arc<Flaky>) {
    let mut store = None;
    let world = World::over(|inner| {
        let flaky = Flaky::over(inner);
        store = Some(Arc::clone(&flaky));
        flaky as Arc<dyn ReplayStore>
    });
    (world, store.expect("the store was wrapped"))
}

/// Lets what runs in the background have its time; the clock is paused, so it passes at once.
async fn a_while(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn is_503(answer: &Answer) {
    let heard = (answer.status.as_u16(), answer.error());
    assert_eq!(heard, (503, "temporarily_unavailable".to_owned()));
    assert!(answer.headers.contains_key("retry-after"));
}

async fn login(world: &World) -> (Client, Tokens) {
    let mut client = Client::register(world).await;
    let tokens = client.login(world, "alice").await;
    (client, tokens)
}

// The claim may be held all the same; the retry must not hear that it is busy.
#[tokio::test(start_paused = true)]
async fn claim_whose_answer_was_lost_is_given_back() {
    for broken in [Broken::After, Broken::Before] {
        let (world, store) = flaky();
        let mut client = Client::register(&world).await;
        let code = client.code(&world, "alice").await;
        store.fail("claim", broken, 2);
        is_503(&client.redeem(&world, &code).await);
        assert_eq!(world.upstream.counts().exchanges, 0);
        a_while(1).await;
        assert_eq!(client.redeem(&world, &code).await.status, 200, "{broken:?}");
        assert_eq!(world.upstream.counts().exchanges, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn claim_is_given_back_when_the_store_hears_again() {
    let (world, store) = flaky();
    let mut client = Client::register(&world).await;
    let code = client.code(&world, "alice").await;
    world.upstream.mood(Mood::Down);
    store.fail("release", Broken::Before, 4);
    is_503(&client.redeem(&world, &code).await);
    world.upstream.mood(Mood::Well);
    assert_eq!(client.redeem(&world, &code).await.error(), "invalid_grant");
    a_while(20).await;
    assert_eq!(client.redeem(&world, &code).await.status, 200);
}

#[tokio::test]
async fn lost_answer_to_a_claim_or_its_end_is_asked_for_again() {
    for operation in ["claim", "settle"] {
        let (world, store) = flaky();
        let mut client = Client::register(&world).await;
        let code = client.code(&world, "alice").await;
        store.fail(operation, Broken::After, 1);
        assert_eq!(
            client.redeem(&world, &code).await.status,
            200,
            "{operation}"
        );
        assert_eq!(world.upstream.counts().exchanges, 1);
    }
}

// Nobody waits for the end of a lease that nobody holds.
#[tokio::test(start_paused = true)]
async fn lease_whose_answer_was_lost_is_given_back() {
    let (world, store) = flaky();
    let (client, tokens) = login(&world).await;
    store.fail("begin", Broken::After, 2);
    is_503(&client.refresh(&world, &tokens.refresh).await);
    a_while(1).await;
    let asked = tokio::time::Instant::now();
    assert_eq!(client.refresh(&world, &tokens.refresh).await.status, 200);
    assert!(asked.elapsed() < Duration::from_secs(1));
    assert_eq!(world.upstream.counts().refreshes, 1);
}

#[tokio::test]
async fn lost_answer_to_a_turn_or_a_rotation_is_asked_for_again() {
    for operation in ["begin", "commit"] {
        let (world, store) = flaky();
        let (client, tokens) = login(&world).await;
        store.fail(operation, Broken::After, 1);
        let next = Tokens::of(&client.refresh(&world, &tokens.refresh).await);
        assert_eq!(world.upstream.counts().refreshes, 1, "{operation}");
        assert_eq!(client.refresh(&world, &next.refresh).await.status, 200);
    }
}

// F5, F30: between the upstream's answer and our commit lies a grant that would be lost.
#[tokio::test(start_paused = true)]
async fn rotation_is_written_down_when_the_store_hears_again() {
    for broken in [Broken::Before, Broken::After] {
        let (world, store) = flaky();
        let (client, tokens) = login(&world).await;
        store.fail("commit", broken, 5);
        is_503(&client.refresh(&world, &tokens.refresh).await);
        a_while(10).await;
        let next = Tokens::of(&client.refresh(&world, &tokens.refresh).await);
        assert_eq!(world.upstream.counts().refreshes, 1, "{broken:?}");
        assert_eq!(client.refresh(&world, &next.refresh).await.status, 200);
    }
}

// An upstream with nothing to ask with ends the grant with the access token.
#[tokio::test(start_paused = true)]
async fn refresh_without_a_new_token_gives_the_lease_back() {
    let (world, _) = flaky();
    let (client, tokens) = login(&world).await;
    world.upstream.mood(Mood::LeavesNothing);
    let last = client.refresh(&world, &tokens.refresh).await;
    assert_eq!(last.status, 200);
    assert!(last.json().get("refresh_token").is_none());
    world.upstream.mood(Mood::Down);
    let asked = tokio::time::Instant::now();
    is_503(&client.refresh(&world, &tokens.refresh).await);
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "it was led at once"
    );
}

// Nobody waits for the end of a lease under which nothing could be minted.
#[tokio::test(start_paused = true)]
async fn refresh_that_could_not_be_minted_gives_the_lease_back() {
    let (world, _) = flaky();
    let (client, tokens) = login(&world).await;
    world.upstream.mood(Mood::Verbose);
    let failed = client.refresh(&world, &tokens.refresh).await;
    assert_eq!(failed.status, 500, "{}", failed.body);
    world.upstream.mood(Mood::Well);
    let asked = tokio::time::Instant::now();
    let next = Tokens::of(&client.refresh(&world, &tokens.refresh).await);
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "it was led at once"
    );
    assert_eq!(world.upstream.counts().refreshes, 2);
    assert_eq!(client.refresh(&world, &next.refresh).await.status, 200);
}

// The claim alone keeps everybody else from the code: its end is noted when the store hears again.
#[tokio::test(start_paused = true)]
async fn redeemed_code_is_noted_when_the_store_hears_again() {
    for broken in [Broken::Before, Broken::After] {
        let (world, store) = flaky();
        let mut client = Client::register(&world).await;
        let code = client.code(&world, "alice").await;
        store.fail("settle", broken, 4);
        let tokens = Tokens::of(&client.redeem(&world, &code).await);
        a_while(10).await;
        assert_eq!(client.redeem(&world, &code).await.error(), "invalid_grant");
        assert_eq!(world.upstream.counts().exchanges, 1, "{broken:?}");
        // The second use ended the grant: it was known to be one.
        let over = client.refresh(&world, &tokens.refresh).await;
        assert_eq!(over.error(), "invalid_grant");
    }
}

#[tokio::test]
async fn sign_in_that_leaves_nothing_to_ask_with_brings_no_refresh_token() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let code = client.code(&world, "alice").await;
    world.upstream.mood(Mood::LeavesNothing);
    let answer = client.redeem(&world, &code).await;
    assert_eq!(answer.status, 200);
    assert!(answer.json().get("refresh_token").is_none());
}

#[tokio::test(start_paused = true)]
async fn refusal_that_could_not_be_written_down_gives_the_lease_back() {
    let (world, store) = flaky();
    let (client, tokens) = login(&world).await;
    world.upstream.mood(Mood::Refuses);
    store.fail("revoke", Broken::Before, 1);
    is_503(&client.refresh(&world, &tokens.refresh).await);
    a_while(1).await;
    let again = client.refresh(&world, &tokens.refresh).await;
    assert_eq!(again.error(), "invalid_grant");
}

// F5: a revocation that was not written down is not called one.
#[tokio::test]
async fn revocation_without_a_store_is_503_and_works_when_it_is_back() {
    let (world, store) = flaky();
    let (client, tokens) = login(&world).await;
    store.fail("revoke", Broken::Before, 1);
    is_503(&client.revoke(&world, &tokens.access).await);
    assert_eq!(client.refresh(&world, &tokens.refresh).await.status, 200);
    assert_eq!(client.revoke(&world, &tokens.access).await.status, 200);
    let over = client.refresh(&world, &tokens.refresh).await;
    assert_eq!(over.error(), "invalid_grant");
}

// F14: replicas on one store whose clocks are 45 s apart; a code is tried again at every age.
#[tokio::test]
async fn replicas_with_clocks_apart_redeem_a_code_once() {
    for offsets in [[-45, 0, 0], [0, 0, 45], [-22, 0, 23]] {
        for minter in 0..3 {
            let world = World::new();
            let replicas = offsets.map(|by| {
                let start = START.as_secs().saturating_add_signed(by);
                let clock = ManualClock::at(Timestamp::from_secs(start));
                world.replica_on_the_store(Arc::new(clock))
            });
            let mut client = Client::register(&world).await;
            let code = client.code(&replicas[minter], "alice").await;
            let first = client.redeem(&replicas[minter], &code).await;
            assert_eq!(first.status, 200, "{}", first.body);
            // Until the slowest clock has passed the end of the code that the fastest one minted.
            for _ in 0..40 {
                let step = Duration::from_secs(5);
                world.clock.advance(step);
                for replica in &replicas {
                    replica.clock.advance(step);
                    let again = client.redeem(replica, &code).await;
                    assert_eq!(again.error(), "invalid_grant");
                }
            }
            assert_eq!(world.upstream.counts().exchanges, 1, "{offsets:?}");
        }
    }
}
