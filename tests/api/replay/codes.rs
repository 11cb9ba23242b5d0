//! Claims: a code is redeemed once (OAuth 2.1 §4.1.3).

use std::time::Duration;

use mcp_oauth::replay::Claimed;
use tokio::task::JoinSet;

use super::{CLAIM, SLACK, World, assertion, attempt_id, claim, grant, just_before};

// TC4
pub(crate) async fn code_is_claimed_once(world: &World) {
    let (grant, first) = (grant(), attempt_id());
    assert_eq!(world.claim(grant, first).await, Claimed::Granted);
    assert_eq!(world.claim(grant, attempt_id()).await, Claimed::Busy);
    assert!(world.store.settle(grant, first).await.unwrap());
    assert_eq!(world.claim(grant, attempt_id()).await, Claimed::Done);
}

pub(crate) async fn claim_asked_again_by_its_attempt_is_granted_again(world: &World) {
    let (grant, first) = (grant(), attempt_id());
    assert_eq!(world.claim(grant, first).await, Claimed::Granted);
    assert_eq!(world.claim(grant, first).await, Claimed::Granted);
    assert_eq!(world.claim(grant, attempt_id()).await, Claimed::Busy);
}

pub(crate) async fn only_its_attempt_settles_or_releases_a_claim(world: &World) {
    let (grant, first, other) = (grant(), attempt_id(), attempt_id());
    assert!(!world.store.settle(grant, first).await.unwrap());
    assert!(!world.store.release(grant, first).await.unwrap());
    assert_eq!(world.claim(grant, first).await, Claimed::Granted);
    assert!(!world.store.settle(grant, other).await.unwrap());
    assert!(!world.store.release(grant, other).await.unwrap());
    assert_eq!(world.claim(grant, attempt_id()).await, Claimed::Busy);
    assert!(world.store.settle(grant, first).await.unwrap());
    assert!(!world.store.settle(grant, other).await.unwrap());
}

pub(crate) async fn settling_twice_is_still_true(world: &World) {
    let (grant, first) = (grant(), attempt_id());
    world.claim(grant, first).await;
    assert!(world.store.settle(grant, first).await.unwrap());
    assert!(world.store.settle(grant, first).await.unwrap());
    assert_eq!(world.claim(grant, first).await, Claimed::Done);
}

pub(crate) async fn released_code_can_be_claimed(world: &World) {
    let (grant, first, second) = (grant(), attempt_id(), attempt_id());
    world.claim(grant, first).await;
    assert!(world.store.release(grant, first).await.unwrap());
    assert!(!world.store.release(grant, first).await.unwrap());
    assert_eq!(world.claim(grant, second).await, Claimed::Granted);
    // The first attempt comes back late: it holds nothing any more.
    assert_eq!(world.claim(grant, first).await, Claimed::Busy);
    assert!(!world.store.settle(grant, first).await.unwrap());
    assert!(!world.store.release(grant, first).await.unwrap());
    assert!(world.store.settle(grant, second).await.unwrap());
}

pub(crate) async fn done_code_cannot_be_released(world: &World) {
    let (grant, first) = (grant(), attempt_id());
    world.claim(grant, first).await;
    world.store.settle(grant, first).await.unwrap();
    assert!(!world.store.release(grant, first).await.unwrap());
    assert_eq!(world.claim(grant, attempt_id()).await, Claimed::Done);
}

pub(crate) async fn claim_outlives_the_code(world: &World) {
    let (settled, busy, first) = (grant(), grant(), attempt_id());
    world.claim(settled, first).await;
    world.store.settle(settled, first).await.unwrap();
    world.claim(busy, first).await;
    world.advance(just_before(CLAIM)).await;
    assert_eq!(world.claim(settled, attempt_id()).await, Claimed::Done);
    assert_eq!(world.claim(busy, attempt_id()).await, Claimed::Busy);
    world.advance(SLACK + Duration::from_secs(1)).await;
    assert_eq!(world.claim(settled, attempt_id()).await, Claimed::Granted);
    assert_eq!(world.claim(busy, attempt_id()).await, Claimed::Granted);
    assert!(!world.store.settle(busy, first).await.unwrap());
}

pub(crate) async fn claims_of_different_grants_do_not_meet(world: &World) {
    for _ in 0..100 {
        let (grant, attempt) = (grant(), attempt_id());
        assert_eq!(world.claim(grant, attempt).await, Claimed::Granted);
        assert!(world.store.settle(grant, attempt).await.unwrap());
    }
}

// TC4
pub(crate) async fn of_many_concurrent_claims_one_is_granted(world: &World) {
    let grant = grant();
    let mut claims = JoinSet::new();
    for _ in 0..50 {
        let store = world.store.clone();
        claims.spawn(async move { store.claim(claim(grant, attempt_id())).await.unwrap() });
    }
    let answers = claims.join_all().await;
    let granted = answers.iter().filter(|it| **it == Claimed::Granted).count();
    assert_eq!(granted, 1);
    assert!(
        answers
            .iter()
            .all(|it| matches!(it, Claimed::Granted | Claimed::Busy))
    );
}

pub(crate) async fn claim_of_a_revoked_grant_is_done(world: &World) {
    let grant = grant();
    world.store.revoke(grant, CLAIM).await.unwrap();
    assert_eq!(world.claim(grant, attempt_id()).await, Claimed::Done);
}

// TC4: the second use revokes what the first gave.
pub(crate) async fn second_use_of_a_done_code_can_revoke_the_grant(world: &World) {
    let (grant, first) = (grant(), attempt_id());
    world.claim(grant, first).await;
    world.store.settle(grant, first).await.unwrap();
    world.rotate(grant, 0).await;
    assert_eq!(world.claim(grant, attempt_id()).await, Claimed::Done);
    world.store.revoke(grant, CLAIM).await.unwrap();
    assert!(world.store.is_revoked(&grant));
    assert_eq!(world.claim(grant, attempt_id()).await, Claimed::Done);
}

pub(crate) async fn assertion_is_claimed_with_the_code(world: &World) {
    let mut first = claim(grant(), attempt_id());
    first.assertion = Some((assertion(), CLAIM));
    let mut second = claim(grant(), attempt_id());
    second.assertion = first.assertion;
    assert_eq!(
        world.store.claim(first.clone()).await.unwrap(),
        Claimed::Granted
    );
    assert_eq!(
        world.store.claim(second).await.unwrap(),
        Claimed::AssertionUsed
    );
    // The same attempt only asks again.
    assert_eq!(world.store.claim(first).await.unwrap(), Claimed::Granted);
}

pub(crate) async fn used_assertion_leaves_the_code_untouched(world: &World) {
    let used = assertion();
    assert!(world.store.use_assertion(used, CLAIM).await.unwrap());
    let mut replayed = claim(grant(), attempt_id());
    replayed.assertion = Some((used, CLAIM));
    assert_eq!(
        world.store.claim(replayed.clone()).await.unwrap(),
        Claimed::AssertionUsed
    );
    assert_eq!(
        world.claim(replayed.grant, attempt_id()).await,
        Claimed::Granted
    );
}

pub(crate) async fn assertion_alone_is_used_once(world: &World) {
    let once = assertion();
    assert!(world.store.use_assertion(once, CLAIM).await.unwrap());
    assert!(!world.store.use_assertion(once, CLAIM).await.unwrap());
    assert!(world.store.use_assertion(assertion(), CLAIM).await.unwrap());
}

pub(crate) async fn assertion_is_forgotten_after_its_end(world: &World) {
    let once = assertion();
    assert!(world.store.use_assertion(once, CLAIM).await.unwrap());
    world.advance(just_before(CLAIM)).await;
    assert!(!world.store.use_assertion(once, CLAIM).await.unwrap());
    world.advance(SLACK + Duration::from_secs(1)).await;
    assert!(world.store.use_assertion(once, CLAIM).await.unwrap());
}
