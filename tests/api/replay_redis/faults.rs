//! What a server and its network can do wrong (F5 to F9), and that no code is ever used twice.

use std::time::{Duration, Instant};

use mcp_oauth::oauth::names::{AttemptId, GrantId};
use mcp_oauth::replay::redis::RedisStore;
use mcp_oauth::replay::{Claim, Claimed, RefreshTurn, ReplayStore, StoreError};
use mcp_oauth::time::{Clock, Timestamp};

use super::proxy::Proxy;
use super::server::Server;
use super::{Rig, open};
use crate::api::replay::{
    CLAIM, GRANT, Time as _, attempt, attempt_id, claim, grant, lease_id, memo, rotation,
};

const SECOND: Duration = Duration::from_secs(1);
/// What a token request may take when the store does not answer.
const REFUSAL: Duration = Duration::from_millis(600);

/// A claim of a code that was minted at a time.
fn minted(grant: GrantId, attempt: AttemptId, issued_at: Timestamp) -> Claim {
    Claim {
        issued_at,
        ..claim(grant, attempt)
    }
}

/// Redeems a fresh code, which must work.
async fn redeem(store: &RedisStore, issued_at: Timestamp) -> GrantId {
    let (grant, attempt) = (grant(), attempt_id());
    let claimed = store.claim(minted(grant, attempt, issued_at)).await;
    assert_eq!(claimed.expect("the store answers"), Claimed::Granted);
    assert!(
        store
            .settle(grant, attempt)
            .await
            .expect("the store answers")
    );
    grant
}

/// Asks until the store answers again.
async fn until_ready(store: &RedisStore) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(error) = store.ready().await {
        assert!(Instant::now() < deadline, "not ready: {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn is_unavailable<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    match answer {
        Err(StoreError::Unavailable(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

// F5
#[tokio::test]
async fn store_that_is_down_is_refused_in_time_and_met_again() {
    let Some(mut rig) = Rig::start().await else {
        return;
    };
    let store = rig.first().await;
    let now = rig.clock.now();
    let used = redeem(&store, now).await;
    rig.server.kill();
    for _ in 0..10 {
        let started = Instant::now();
        // As a caller does: once more after an error.
        let code = minted(grant(), attempt_id(), now);
        is_unavailable(store.claim(code.clone()).await);
        is_unavailable(store.claim(code).await);
        assert!(started.elapsed() < REFUSAL, "{:?}", started.elapsed());
    }
    is_unavailable(store.ready().await);
    is_unavailable(store.revoke(grant(), GRANT).await);
    // It wrote nothing down: everything is forgotten.
    rig.server.start_again().await;
    until_ready(&store).await;
    let again = store.claim(minted(used, attempt_id(), now)).await.unwrap();
    assert_eq!(again, Claimed::Discontinuity);
    redeem(&store, now.plus(SECOND * 70)).await;
}

// F9: the same server, empty, and no connection broke.
#[tokio::test]
async fn emptied_store_is_noticed_by_the_next_claim() {
    let Some(rig) = Rig::start().await else {
        return;
    };
    let (store, other) = (rig.first().await, rig.replica().await);
    let now = rig.clock.now();
    let used = redeem(&store, now).await;
    rig.server.tell(&["FLUSHALL"]).await;
    for store in [&other, &store] {
        let again = store.claim(minted(used, attempt_id(), now)).await.unwrap();
        assert_eq!(again, Claimed::Discontinuity);
    }
    // F14: a replica whose clock is ahead minted it before the loss.
    let ahead = now.plus(SECOND * 45);
    let ahead = store
        .claim(minted(grant(), attempt_id(), ahead))
        .await
        .unwrap();
    assert_eq!(ahead, Claimed::Discontinuity);
    redeem(&store, now.plus(SECOND * 70)).await;
}

#[tokio::test]
async fn replica_that_starts_after_a_loss_is_told_by_the_others() {
    let Some(rig) = Rig::start().await else {
        return;
    };
    let old = rig.first().await;
    let now = rig.clock.now();
    let used = redeem(&old, now).await;
    rig.server.tell(&["FLUSHALL"]).await;
    // It finds an empty store, as a first start would, and waits for an objection.
    let fresh = rig.replica().await;
    let answer = fresh.claim(minted(used, attempt_id(), now)).await;
    let opened_at_once = matches!(answer, Ok(Claimed::Discontinuity));
    assert!(opened_at_once || answer.is_err(), "{answer:?}");
    until_ready(&fresh).await;
    let again = fresh.claim(minted(used, attempt_id(), now)).await.unwrap();
    assert_eq!(again, Claimed::Discontinuity);
    drop(old);
}

#[tokio::test]
async fn first_start_refuses_nobody_once_it_is_open() {
    let Some(rig) = Rig::start().await else {
        return;
    };
    let store = rig.replica().await;
    is_unavailable(store.ready().await);
    is_unavailable(
        store
            .claim(minted(grant(), attempt_id(), rig.clock.now()))
            .await,
    );
    rig.advance(SECOND * 5).await;
    store.ready().await.expect("open");
    redeem(&store, rig.clock.now()).await;
}

// F9
#[tokio::test]
async fn forgotten_scripts_are_taught_again() {
    let Some(rig) = Rig::start().await else {
        return;
    };
    let store = rig.first().await;
    for _ in 0..3 {
        redeem(&store, rig.clock.now()).await;
        rig.server.tell(&["SCRIPT", "FLUSH"]).await;
        store.revoke(grant(), GRANT).await.unwrap();
    }
}

// F9
#[tokio::test]
async fn keys_of_a_wrong_type_are_trouble_and_no_more() {
    let Some(rig) = Rig::start().await else {
        return;
    };
    let store = rig.first().await;
    let grant = grant();
    for kind in ["c", "r", "m", "v", "p"] {
        let key = format!("test:{{{grant}}}:{kind}");
        let push = ["c", "v", "m", "p"].contains(&kind);
        let words: &[&str] = if push {
            &["RPUSH", &key, "x"]
        } else {
            &["SET", &key, "x"]
        };
        rig.server.tell(words).await;
    }
    let now = rig.clock.now();
    is_unavailable(store.claim(minted(grant, attempt_id(), now)).await);
    is_unavailable(store.settle(grant, attempt_id()).await);
    is_unavailable(store.release(grant, attempt_id()).await);
    is_unavailable(store.abandon_refresh(grant, lease_id()).await);
    is_unavailable(store.revoke(grant, GRANT).await);
    is_unavailable(store.parked(grant).await);
    rig.server
        .tell(&["DEL", &format!("test:{{{grant}}}:v")])
        .await;
    let attempt = attempt(grant, 0);
    is_unavailable(store.begin_refresh(attempt.clone()).await);
    is_unavailable(store.commit_refresh(rotation(&attempt)).await);
    redeem(&store, now).await;
}

#[tokio::test]
async fn lost_memo_is_trouble_and_revokes_nothing() {
    let Some(rig) = Rig::start().await else {
        return;
    };
    let store = rig.first().await;
    let first = attempt(grant(), 0);
    assert_eq!(
        store.begin_refresh(first.clone()).await.unwrap(),
        RefreshTurn::Lead
    );
    store.commit_refresh(rotation(&first)).await.unwrap();
    let key = format!("test:{{{}}}:m", first.grant);
    rig.server.tell(&["DEL", &key]).await;
    is_unavailable(store.begin_refresh(attempt(first.grant, 0)).await);
    let next = store.begin_refresh(attempt(first.grant, 1)).await.unwrap();
    assert_eq!(next, RefreshTurn::Lead);
}

// F9
#[tokio::test]
async fn demoted_store_is_refused_until_it_is_the_primary_again() {
    let Some(rig) = Rig::start().await else {
        return;
    };
    let store = rig.first().await;
    let now = rig.clock.now();
    let used = redeem(&store, now).await;
    rig.server.tell(&["REPLICAOF", "127.0.0.1", "1"]).await;
    is_unavailable(store.claim(minted(grant(), attempt_id(), now)).await);
    is_unavailable(store.ready().await);
    rig.server.tell(&["REPLICAOF", "NO", "ONE"]).await;
    until_ready(&store).await;
    // It was somebody's copy for a while, so it may have forgotten.
    let young = store
        .claim(minted(grant(), attempt_id(), now))
        .await
        .unwrap();
    assert_eq!(young, Claimed::Discontinuity);
    let again = store.claim(minted(used, attempt_id(), now)).await.unwrap();
    assert_eq!(again, Claimed::Done);
}

// F9
#[tokio::test]
async fn full_store_is_refused() {
    let Some(rig) = Rig::start().await else {
        return;
    };
    let store = rig.first().await;
    let now = rig.clock.now();
    let used = redeem(&store, now).await;
    rig.server.tell(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let why = is_unavailable(store.claim(minted(grant(), attempt_id(), now)).await);
    assert!(why.contains("OOM"), "{why}");
    is_unavailable(store.park(grant(), vec![0; 10], CLAIM).await);
    rig.server.tell(&["CONFIG", "SET", "maxmemory", "0"]).await;
    let again = store.claim(minted(used, attempt_id(), now)).await.unwrap();
    assert_eq!(again, Claimed::Done);
    redeem(&store, now).await;
}

// F6
#[tokio::test]
async fn silent_store_is_given_up_and_found_again() {
    let Some(rig) = Rig::start().await else {
        return;
    };
    let store = rig.first().await;
    let now = rig.clock.now();
    rig.server.tell(&["CLIENT", "PAUSE", "4000", "ALL"]).await;
    let mut slow = 0;
    let started = Instant::now();
    for _ in 0..50 {
        let asked = Instant::now();
        is_unavailable(store.claim(minted(grant(), attempt_id(), now)).await);
        assert!(asked.elapsed() < REFUSAL);
        slow += u32::from(asked.elapsed() > Duration::from_millis(100));
    }
    assert!(slow <= 6, "{slow} requests waited");
    assert!(started.elapsed() < SECOND * 3, "{:?}", started.elapsed());
    until_ready(&store).await;
    redeem(&store, now).await;
}

// F6
#[tokio::test]
async fn slow_store_is_given_up_and_found_again() {
    let Some(rig) = Rig::start().await else {
        return;
    };
    let proxy = Proxy::to(rig.server.port).await;
    let store = open(&proxy.url(), rig.clock.clone())
        .await
        .expect("the store opens");
    rig.advance(SECOND * 5).await;
    let now = rig.clock.now();
    proxy.slow_down(Duration::from_millis(300));
    let mut slow = 0;
    for _ in 0..50 {
        let asked = Instant::now();
        is_unavailable(store.claim(minted(grant(), attempt_id(), now)).await);
        assert!(asked.elapsed() < REFUSAL);
        slow += u32::from(asked.elapsed() > Duration::from_millis(100));
    }
    assert!(slow <= 6, "{slow} requests waited");
    proxy.slow_down(Duration::ZERO);
    until_ready(&store).await;
    redeem(&store, now).await;
}

// F8
#[tokio::test]
async fn replica_that_is_cut_off_refuses_and_the_other_works() {
    let Some(rig) = Rig::start().await else {
        return;
    };
    let proxy = Proxy::to(rig.server.port).await;
    let near = rig.first().await;
    let far = open(&proxy.url(), rig.clock.clone())
        .await
        .expect("the store opens");
    let now = rig.clock.now();
    proxy.cut(true);
    let code = grant();
    is_unavailable(far.claim(minted(code, attempt_id(), now)).await);
    is_unavailable(far.ready().await);
    let (claimed, revoked) = (redeem(&near, now).await, grant());
    near.revoke(revoked, GRANT).await.unwrap();
    proxy.cut(false);
    until_ready(&far).await;
    let again = far.claim(minted(claimed, attempt_id(), now)).await.unwrap();
    assert_eq!(again, Claimed::Done);
    // The claim that was cut off may have arrived late, but then it is busy and not granted twice.
    let late = far.claim(minted(code, attempt_id(), now)).await.unwrap();
    assert!(matches!(late, Claimed::Granted | Claimed::Busy));
    let turn = far.begin_refresh(attempt(revoked, 0)).await.unwrap();
    assert_eq!(turn, RefreshTurn::Revoked);
}

#[tokio::test]
async fn lost_answers_are_asked_for_again() {
    let Some(rig) = Rig::start().await else {
        return;
    };
    let proxy = Proxy::to(rig.server.port).await;
    let store = open(&proxy.url(), rig.clock.clone())
        .await
        .expect("the store opens");
    rig.advance(SECOND * 5).await;
    let now = rig.clock.now();
    for _ in 0..10 {
        let (grant, attempt_id) = (grant(), attempt_id());
        proxy.lose_answers(1);
        let claimed = store.claim(minted(grant, attempt_id, now)).await;
        assert_eq!(claimed.unwrap(), Claimed::Granted);
        proxy.lose_answers(1);
        assert!(store.settle(grant, attempt_id).await.unwrap());

        let first = attempt(grant, 0);
        proxy.lose_answers(1);
        let turn = store.begin_refresh(first.clone()).await.unwrap();
        assert_eq!(turn, RefreshTurn::Lead);
        proxy.lose_answers(1);
        store.commit_refresh(rotation(&first)).await.unwrap();
        let turn = store.begin_refresh(attempt(grant, 0)).await.unwrap();
        assert_eq!(turn, RefreshTurn::Repeat(memo(0)));
    }
}

// F7: the replica that takes over had not yet heard of the claim.
#[tokio::test]
async fn failover_to_a_lagging_replica_opens_no_code_again() {
    let Some(mut rig) = Rig::start().await else {
        return;
    };
    let Some(heir) = Server::start(&[]).await else {
        return;
    };
    let proxy = Proxy::to(rig.server.port).await;
    let store = open(&proxy.url(), rig.clock.clone())
        .await
        .expect("the store opens");
    rig.advance(SECOND * 5).await;
    let now = rig.clock.now();
    let early = redeem(&store, now).await;
    heir.tell(&["REPLICAOF", "127.0.0.1", &rig.server.port.to_string()])
        .await;
    while heir.keys().await.len() < rig.server.keys().await.len() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    heir.tell(&["REPLICAOF", "NO", "ONE"]).await;
    let late = redeem(&store, now).await;
    let revoked = grant();
    store.revoke(revoked, GRANT).await.unwrap();
    proxy.lead_to(heir.port);
    rig.server.kill();
    until_ready(&store).await;
    let early = store.claim(minted(early, attempt_id(), now)).await.unwrap();
    assert_eq!(early, Claimed::Done);
    let late = store.claim(minted(late, attempt_id(), now)).await.unwrap();
    assert_eq!(late, Claimed::Discontinuity);
    // What this replica knew to be revoked, it told the heir.
    let fresh = open(&heir.url(), rig.clock.clone())
        .await
        .expect("the heir opens");
    assert!(fresh.is_revoked(&revoked));
}

// V3
#[tokio::test]
async fn revocation_reaches_every_replica_and_outlives_the_stores_memory() {
    let Some(rig) = Rig::start().await else {
        return;
    };
    let (one, other) = (rig.first().await, rig.replica().await);
    let grants: Vec<GrantId> = (0..20).map(|_| grant()).collect();
    for grant in &grants {
        one.revoke(*grant, GRANT).await.unwrap();
    }
    let started = Instant::now();
    while !grants.iter().all(|grant| other.is_revoked(grant)) {
        // Two seconds are promised; a look that fails must leave room for the next.
        assert!(started.elapsed() < Duration::from_millis(1_200), "too late");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rig.server.tell(&["FLUSHALL"]).await;
    // The next look notices; whoever starts then learns it all.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let fresh = rig.replica().await;
    assert!(grants.iter().all(|grant| fresh.is_revoked(grant)));
    assert!(grants.iter().all(|grant| other.is_revoked(grant)));
}

#[tokio::test]
async fn revocations_have_room_for_so_many() {
    let Some(rig) = Rig::start().await else {
        return;
    };
    let store = rig.first().await;
    for _ in 0..1_000 {
        store.revoke(grant(), CLAIM).await.unwrap();
    }
    let full = store.revoke(grant(), GRANT).await;
    assert!(matches!(full, Err(StoreError::Full)), "{full:?}");
    // Nor can a theft be acted upon: trouble, and the stolen token opens nothing.
    let first = attempt(grant(), 1);
    assert_eq!(
        store.begin_refresh(first.clone()).await.unwrap(),
        RefreshTurn::Lead
    );
    let theft = store.begin_refresh(attempt(first.grant, 0)).await;
    assert!(matches!(theft, Err(StoreError::Full)), "{theft:?}");
    // A look that is answered before the jump of time and read after it would date them anew: two
    // looks later all are read.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    rig.advance(CLAIM + SECOND * 20).await;
    for _ in 0..20 {
        // What has ended makes room, a lot at a time.
        tokio::time::sleep(Duration::from_millis(200)).await;
        if store.revoke(grant(), GRANT).await.is_ok() {
            return;
        }
    }
    panic!("still full");
}
