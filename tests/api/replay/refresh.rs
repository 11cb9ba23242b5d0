//! The refresh record: rotation, lost answers, reuse (OAuth 2.1 §4.3.1).

use std::time::Duration;

use mcp_oauth::oauth::names::TokenHash;
use mcp_oauth::replay::{Claimed, Commit, RefreshTurn};
use tokio::task::JoinSet;

use super::{
    GRACE, LEASE, World, assertion, attempt, attempt_id, claim, grant, just_before, lease_id, memo,
    rotation,
};

const SECOND: Duration = Duration::from_secs(1);

/// The grant is over, whatever is presented.
async fn is_over(world: &World, grant: mcp_oauth::oauth::names::GrantId) {
    assert!(world.store.is_revoked(&grant));
    for generation in 0..5 {
        let turn = world.begin(attempt(grant, generation)).await;
        assert_eq!(turn, RefreshTurn::Revoked);
    }
}

pub(crate) async fn first_refresh_is_adopted(world: &World) {
    for generation in [0, 1, 7, u64::from(u32::MAX) + 5] {
        let attempt = attempt(grant(), generation);
        let rotation = rotation(&attempt);
        assert_eq!(world.begin(attempt).await, RefreshTurn::Lead);
        assert_eq!(world.commit(rotation).await, Commit::Committed);
    }
}

pub(crate) async fn lead_is_repeated_to_the_holder_of_the_lease(world: &World) {
    let first = attempt(grant(), 0);
    assert_eq!(world.begin(first.clone()).await, RefreshTurn::Lead);
    assert_eq!(world.begin(first.clone()).await, RefreshTurn::Lead);
    assert_eq!(
        world.begin(attempt(first.grant, 0)).await,
        RefreshTurn::Wait
    );
    assert_eq!(world.commit(rotation(&first)).await, Commit::Committed);
}

// TR4
pub(crate) async fn other_request_waits_and_gets_the_same_answer(world: &World) {
    let (leader, other) = {
        let grant = grant();
        (attempt(grant, 3), attempt(grant, 3))
    };
    assert_eq!(world.begin(leader.clone()).await, RefreshTurn::Lead);
    assert_eq!(world.begin(other.clone()).await, RefreshTurn::Wait);
    assert_eq!(world.begin(other.clone()).await, RefreshTurn::Wait);
    assert_eq!(world.commit(rotation(&leader)).await, Commit::Committed);
    assert_eq!(world.begin(other).await, RefreshTurn::Repeat(memo(3)));
}

// TR4
pub(crate) async fn lost_answer_is_given_again_within_grace(world: &World) {
    let grant = grant();
    world.rotate(grant, 0).await;
    world.advance(just_before(GRACE)).await;
    assert_eq!(
        world.begin(attempt(grant, 0)).await,
        RefreshTurn::Repeat(memo(0))
    );
    world.rotate(grant, 1).await;
    assert_eq!(
        world.begin(attempt(grant, 1)).await,
        RefreshTurn::Repeat(memo(1))
    );
}

pub(crate) async fn repeated_answer_is_for_the_same_question_only(world: &World) {
    let grant = grant();
    world.rotate(grant, 0).await;
    let mut narrower = attempt(grant, 0);
    narrower.request = TokenHash::of("read");
    assert_eq!(world.begin(narrower).await, RefreshTurn::OtherRequest);
    assert_eq!(
        world.begin(attempt(grant, 0)).await,
        RefreshTurn::Repeat(memo(0))
    );
    world.rotate(grant, 1).await;
}

pub(crate) async fn answer_is_repeated_as_often_as_allowed(world: &World) {
    let grant = grant();
    world.rotate(grant, 0).await;
    let mut again = attempt(grant, 0);
    again.grace_uses = 3;
    for _ in 0..3 {
        assert_eq!(
            world.begin(again.clone()).await,
            RefreshTurn::Repeat(memo(0))
        );
    }
    assert_eq!(world.begin(again).await, RefreshTurn::TooOften);
    // Nothing was revoked.
    world.rotate(grant, 1).await;
}

// TR3
pub(crate) async fn previous_token_after_grace_revokes(world: &World) {
    let grant = grant();
    world.rotate(grant, 0).await;
    world.advance(GRACE + SECOND).await;
    assert_eq!(world.begin(attempt(grant, 0)).await, RefreshTurn::Reuse);
    is_over(world, grant).await;
}

pub(crate) async fn grace_of_the_attempt_can_be_shorter_than_remembered(world: &World) {
    let grant = grant();
    world.rotate(grant, 0).await;
    world.advance(SECOND * 2).await;
    let mut strict = attempt(grant, 0);
    strict.grace = SECOND;
    assert_eq!(world.begin(strict).await, RefreshTurn::Reuse);
    is_over(world, grant).await;
}

pub(crate) async fn grace_of_zero_is_strict(world: &World) {
    let mut first = attempt(grant(), 0);
    first.grace = Duration::ZERO;
    assert_eq!(world.begin(first.clone()).await, RefreshTurn::Lead);
    assert_eq!(world.commit(rotation(&first)).await, Commit::Committed);
    // A longer grace at the second request does not bring back what was not kept.
    assert_eq!(
        world.begin(attempt(first.grant, 0)).await,
        RefreshTurn::Reuse
    );
    is_over(world, first.grant).await;
}

// TR4, F30: a client's slow request, overtaken by two rotations of its own.
pub(crate) async fn older_token_within_its_own_grace_revokes_nothing(world: &World) {
    let grant = grant();
    let slow = attempt(grant, 0);
    let leader = attempt(grant, 0);
    assert_eq!(world.begin(leader.clone()).await, RefreshTurn::Lead);
    assert_eq!(world.begin(slow.clone()).await, RefreshTurn::Wait);
    assert_eq!(world.commit(rotation(&leader)).await, Commit::Committed);
    world.advance(just_before(GRACE)).await;
    for generation in 1..4 {
        world.rotate(grant, generation).await;
        assert_eq!(world.begin(slow.clone()).await, RefreshTurn::Superseded);
    }
    world.rotate(grant, 4).await;
    assert!(!world.store.is_revoked(&grant));
}

// TR3
pub(crate) async fn older_token_after_its_own_grace_revokes(world: &World) {
    let grant = grant();
    world.rotate(grant, 0).await;
    world.advance(just_before(GRACE)).await;
    world.rotate(grant, 1).await;
    world.advance(SECOND * 2).await;
    assert_eq!(world.begin(attempt(grant, 0)).await, RefreshTurn::Reuse);
    is_over(world, grant).await;
}

// TR3
pub(crate) async fn other_token_of_an_older_generation_is_a_fork(world: &World) {
    let grant = grant();
    world.rotate(grant, 0).await;
    world.rotate(grant, 1).await;
    let mut forged = attempt(grant, 0);
    forged.token = TokenHash::of("a second token of generation 0");
    assert_eq!(world.begin(forged).await, RefreshTurn::Fork);
    is_over(world, grant).await;
}

// TR3
pub(crate) async fn older_tokens_are_remembered_up_to_a_bound(world: &World) {
    let grant = grant();
    for generation in 0..6 {
        world.rotate(grant, generation).await;
    }
    // 6 is current, 5 previous, 1 to 4 are remembered.
    for generation in 1..5 {
        let turn = world.begin(attempt(grant, generation)).await;
        assert_eq!(turn, RefreshTurn::Superseded);
    }
    assert_eq!(world.begin(attempt(grant, 0)).await, RefreshTurn::Reuse);
    is_over(world, grant).await;
}

pub(crate) async fn other_token_of_the_current_generation_is_a_fork(world: &World) {
    let grant = grant();
    world.rotate(grant, 0).await;
    let mut fork = attempt(grant, 1);
    fork.token = TokenHash::of("a second token of generation 1");
    assert_eq!(world.begin(fork).await, RefreshTurn::Fork);
    is_over(world, grant).await;
}

pub(crate) async fn other_token_of_the_previous_generation_is_a_fork(world: &World) {
    let grant = grant();
    world.rotate(grant, 0).await;
    let mut fork = attempt(grant, 0);
    fork.token = TokenHash::of("a second token of generation 0");
    assert_eq!(world.begin(fork).await, RefreshTurn::Fork);
    is_over(world, grant).await;
}

pub(crate) async fn newer_token_is_adopted_and_the_older_is_reuse(world: &World) {
    let grant = grant();
    world.rotate(grant, 0).await;
    world.rotate(grant, 7).await;
    assert_eq!(
        world.begin(attempt(grant, 7)).await,
        RefreshTurn::Repeat(memo(7))
    );
    // What it did not see superseded has no grace here.
    assert_eq!(world.begin(attempt(grant, 1)).await, RefreshTurn::Reuse);
    is_over(world, grant).await;
}

pub(crate) async fn newer_token_takes_the_turn_from_an_older_lease(world: &World) {
    let grant = grant();
    let (old, new) = (attempt(grant, 0), attempt(grant, 1));
    assert_eq!(world.begin(old.clone()).await, RefreshTurn::Lead);
    assert_eq!(world.begin(new.clone()).await, RefreshTurn::Lead);
    let mut late = rotation(&old);
    late.token = TokenHash::of("another of generation 1");
    assert_eq!(world.commit(late).await, Commit::LeaseLost);
    assert_eq!(world.commit(rotation(&new)).await, Commit::Committed);
    world.rotate(grant, 2).await;
}

pub(crate) async fn lease_can_be_taken_over_after_its_time(world: &World) {
    let grant = grant();
    let (first, second) = (attempt(grant, 0), attempt(grant, 0));
    assert_eq!(world.begin(first.clone()).await, RefreshTurn::Lead);
    world.advance(just_before(LEASE)).await;
    assert_eq!(world.begin(second.clone()).await, RefreshTurn::Wait);
    world.advance(SECOND * 2).await;
    assert_eq!(world.begin(second.clone()).await, RefreshTurn::Lead);
    let mut late = rotation(&first);
    late.token = TokenHash::of("another of generation 1");
    assert_eq!(world.commit(late).await, Commit::LeaseLost);
    assert_eq!(world.begin(first).await, RefreshTurn::Wait);
    assert_eq!(world.commit(rotation(&second)).await, Commit::Committed);
    world.rotate(grant, 1).await;
}

pub(crate) async fn late_commit_without_a_successor_is_kept(world: &World) {
    let first = attempt(grant(), 0);
    assert_eq!(world.begin(first.clone()).await, RefreshTurn::Lead);
    world.advance(LEASE * 2).await;
    assert_eq!(world.commit(rotation(&first)).await, Commit::Committed);
    world.rotate(first.grant, 1).await;
}

pub(crate) async fn abandoned_lease_is_free_at_once(world: &World) {
    let grant = grant();
    let (first, second) = (attempt(grant, 0), attempt(grant, 0));
    assert_eq!(world.begin(first.clone()).await, RefreshTurn::Lead);
    world
        .store
        .abandon_refresh(grant, first.lease)
        .await
        .unwrap();
    assert_eq!(world.commit(rotation(&first)).await, Commit::LeaseLost);
    assert_eq!(world.begin(second.clone()).await, RefreshTurn::Lead);
    assert_eq!(world.commit(rotation(&second)).await, Commit::Committed);
}

pub(crate) async fn only_its_holder_abandons_a_lease(world: &World) {
    let first = attempt(grant(), 0);
    world
        .store
        .abandon_refresh(first.grant, lease_id())
        .await
        .unwrap();
    assert_eq!(world.begin(first.clone()).await, RefreshTurn::Lead);
    world
        .store
        .abandon_refresh(first.grant, lease_id())
        .await
        .unwrap();
    assert_eq!(
        world.begin(attempt(first.grant, 0)).await,
        RefreshTurn::Wait
    );
    assert_eq!(world.commit(rotation(&first)).await, Commit::Committed);
    world
        .store
        .abandon_refresh(first.grant, first.lease)
        .await
        .unwrap();
    assert_eq!(
        world.begin(attempt(first.grant, 0)).await,
        RefreshTurn::Repeat(memo(0))
    );
}

pub(crate) async fn commit_asked_again_is_committed_again(world: &World) {
    let first = attempt(grant(), 0);
    world.begin(first.clone()).await;
    assert_eq!(world.commit(rotation(&first)).await, Commit::Committed);
    assert_eq!(world.commit(rotation(&first)).await, Commit::Committed);
    assert_eq!(
        world.begin(attempt(first.grant, 0)).await,
        RefreshTurn::Repeat(memo(0))
    );
    world.rotate(first.grant, 1).await;
    // Once it is history it is no answer any more.
    assert_eq!(world.commit(rotation(&first)).await, Commit::LeaseLost);
}

pub(crate) async fn commit_without_a_lease_changes_nothing(world: &World) {
    let stranger = attempt(grant(), 0);
    assert_eq!(world.commit(rotation(&stranger)).await, Commit::LeaseLost);
    let first = attempt(stranger.grant, 0);
    assert_eq!(world.begin(first.clone()).await, RefreshTurn::Lead);
    let mut forged = rotation(&stranger);
    forged.token = TokenHash::of("forged");
    assert_eq!(world.commit(forged).await, Commit::LeaseLost);
    // A rotation only ever moves forward.
    let mut backward = rotation(&first);
    backward.generation = 0;
    assert_eq!(world.commit(backward).await, Commit::LeaseLost);
    assert_eq!(world.commit(rotation(&first)).await, Commit::Committed);
}

// V2
pub(crate) async fn commit_after_revocation_changes_nothing(world: &World) {
    let first = attempt(grant(), 0);
    world.begin(first.clone()).await;
    world.store.revoke(first.grant, first.ttl).await.unwrap();
    assert_eq!(world.commit(rotation(&first)).await, Commit::Revoked);
    is_over(world, first.grant).await;
}

pub(crate) async fn previous_token_is_answered_while_the_current_is_led(world: &World) {
    let grant = grant();
    world.rotate(grant, 0).await;
    assert_eq!(world.begin(attempt(grant, 1)).await, RefreshTurn::Lead);
    assert_eq!(
        world.begin(attempt(grant, 0)).await,
        RefreshTurn::Repeat(memo(0))
    );
}

pub(crate) async fn assertion_is_used_once_over_codes_and_refreshes(world: &World) {
    let once = Some((assertion(), GRACE));
    let mut code = claim(grant(), attempt_id());
    code.assertion = once;
    assert_eq!(world.store.claim(code).await.unwrap(), Claimed::Granted);
    let mut refresh = attempt(grant(), 0);
    refresh.assertion = once;
    assert_eq!(
        world.begin(refresh.clone()).await,
        RefreshTurn::AssertionUsed
    );
    // Nothing changed: another token of that generation is the first to be seen.
    let mut other = attempt(refresh.grant, 0);
    other.token = TokenHash::of("another");
    other.assertion = Some((assertion(), GRACE));
    assert_eq!(world.begin(other.clone()).await, RefreshTurn::Lead);
    other.lease = lease_id();
    assert_eq!(world.begin(other).await, RefreshTurn::AssertionUsed);
}

pub(crate) async fn lost_lead_does_not_spend_the_assertion_twice(world: &World) {
    let mut first = attempt(grant(), 0);
    first.assertion = Some((assertion(), GRACE));
    assert_eq!(world.begin(first.clone()).await, RefreshTurn::Lead);
    assert_eq!(world.begin(first.clone()).await, RefreshTurn::Lead);
    assert_eq!(world.commit(rotation(&first)).await, Commit::Committed);
    let mut waiting = attempt(first.grant, 1);
    waiting.assertion = Some((assertion(), GRACE));
    let leader = attempt(first.grant, 1);
    assert_eq!(world.begin(leader.clone()).await, RefreshTurn::Lead);
    assert_eq!(world.begin(waiting.clone()).await, RefreshTurn::Wait);
    assert_eq!(world.commit(rotation(&leader)).await, Commit::Committed);
    assert_eq!(world.begin(waiting).await, RefreshTurn::Repeat(memo(1)));
}

// F30
pub(crate) async fn many_rotations_follow_each_other(world: &World) {
    let grant = grant();
    for generation in 0..50 {
        world.rotate(grant, generation).await;
        let again = world.begin(attempt(grant, generation)).await;
        assert_eq!(again, RefreshTurn::Repeat(memo(generation)));
    }
    assert!(!world.store.is_revoked(&grant));
}

// TR4
pub(crate) async fn of_many_concurrent_refreshes_one_leads(world: &World) {
    let grant = grant();
    let mut turns = JoinSet::new();
    for _ in 0..50 {
        let (store, attempt) = (world.store.clone(), attempt(grant, 0));
        turns.spawn(async move { store.begin_refresh(attempt).await.unwrap() });
    }
    let turns = turns.join_all().await;
    assert_eq!(
        turns.iter().filter(|it| **it == RefreshTurn::Lead).count(),
        1
    );
    assert_eq!(
        turns.iter().filter(|it| **it == RefreshTurn::Wait).count(),
        49
    );
}
