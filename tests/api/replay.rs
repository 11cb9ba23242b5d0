//! The replay store's contract: one suite that every implementation passes.
//!
//! A case is an async function over a [`World`]; `contract!` makes one test of each for one
//! implementation. The memory store runs here, Redis in `replay_redis`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mcp_oauth::entropy;
use mcp_oauth::oauth::names::{AssertionHash, AttemptId, GrantId, LeaseId, TokenHash};
use mcp_oauth::replay::memory::MemoryStore;
use mcp_oauth::replay::{
    Claim, Claimed, Commit, RefreshAttempt, RefreshTurn, ReplayStore, Rotation,
};
use mcp_oauth::time::{Clock, ManualClock, Timestamp};

pub(crate) mod codes;
mod memory;
pub(crate) mod refresh;
pub(crate) mod revocations;

pub(crate) const START: Timestamp = Timestamp::from_secs(1_800_000_000);
/// Life of a claim, and of a grant.
pub(crate) const CLAIM: Duration = Duration::from_secs(180);
pub(crate) const GRANT: Duration = Duration::from_secs(90 * 86_400);
pub(crate) const GRACE: Duration = Duration::from_secs(120);
pub(crate) const LEASE: Duration = Duration::from_secs(15);
/// How much longer than asked a claim may be remembered.
pub(crate) const SLACK: Duration = Duration::from_secs(70);

/// One second less.
pub(crate) fn just_before(end: Duration) -> Duration {
    end.saturating_sub(Duration::from_secs(1))
}

/// A store, and a hand on its time.
pub(crate) struct World {
    pub(crate) store: Arc<dyn ReplayStore>,
    pub(crate) time: Box<dyn Time>,
}

/// What moves a store's time forward.
#[async_trait]
pub(crate) trait Time: Send + Sync {
    async fn advance(&self, by: Duration);
}

#[async_trait]
impl Time for Arc<ManualClock> {
    async fn advance(&self, by: Duration) {
        ManualClock::advance(self, by);
    }
}

impl World {
    pub(crate) fn in_memory() -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let store = MemoryStore::new(1_000, Arc::clone(&clock) as Arc<dyn Clock>);
        Self {
            store: Arc::new(store),
            time: Box::new(clock),
        }
    }

    pub(crate) async fn advance(&self, by: Duration) {
        self.time.advance(by).await;
    }

    pub(crate) async fn claim(&self, grant: GrantId, attempt: AttemptId) -> Claimed {
        let claimed = self.store.claim(claim(grant, attempt)).await;
        claimed.expect("the store answers")
    }

    pub(crate) async fn begin(&self, attempt: RefreshAttempt) -> RefreshTurn {
        self.store
            .begin_refresh(attempt)
            .await
            .expect("the store answers")
    }

    pub(crate) async fn commit(&self, rotation: Rotation) -> Commit {
        self.store
            .commit_refresh(rotation)
            .await
            .expect("the store answers")
    }

    /// One whole rotation, from the token of `generation` to the next.
    pub(crate) async fn rotate(&self, grant: GrantId, generation: u64) {
        let attempt = attempt(grant, generation);
        let rotation = rotation(&attempt);
        assert_eq!(self.begin(attempt).await, RefreshTurn::Lead);
        assert_eq!(self.commit(rotation).await, Commit::Committed);
    }
}

pub(crate) fn grant() -> GrantId {
    GrantId::random(&mut entropy::rng())
}

pub(crate) fn attempt_id() -> AttemptId {
    AttemptId::random(&mut entropy::rng())
}

pub(crate) fn lease_id() -> LeaseId {
    LeaseId::random(&mut entropy::rng())
}

pub(crate) fn assertion() -> AssertionHash {
    AssertionHash::of(&grant().to_string())
}

pub(crate) fn claim(grant: GrantId, attempt: AttemptId) -> Claim {
    Claim {
        grant,
        attempt,
        issued_at: START,
        ttl: CLAIM,
        assertion: None,
    }
}

/// The honest token of a generation.
pub(crate) fn token(grant: GrantId, generation: u64) -> TokenHash {
    TokenHash::of(&format!("{grant} {generation}"))
}

/// The sealed answer that the token of a generation got.
pub(crate) fn memo(generation: u64) -> Vec<u8> {
    format!("the answer to {generation}").into_bytes()
}

/// An honest attempt with the token of a generation, under a lease of its own.
pub(crate) fn attempt(grant: GrantId, generation: u64) -> RefreshAttempt {
    RefreshAttempt {
        grant,
        generation,
        token: token(grant, generation),
        request: TokenHash::of("no scope"),
        lease: lease_id(),
        lease_ttl: LEASE,
        grace: GRACE,
        grace_uses: 20,
        ttl: GRANT,
        assertion: None,
    }
}

/// The rotation that follows an attempt.
pub(crate) fn rotation(attempt: &RefreshAttempt) -> Rotation {
    Rotation {
        grant: attempt.grant,
        lease: attempt.lease,
        generation: attempt.generation + 1,
        token: token(attempt.grant, attempt.generation + 1),
        memo: memo(attempt.generation),
        grace: attempt.grace,
        ttl: attempt.ttl,
    }
}

/// Every case of the contract as a test, in the world that an expression makes.
macro_rules! contract {
    ($world:expr) => {
        $crate::api::replay::contract! { $world;
            codes: code_is_claimed_once,
            codes: claim_asked_again_by_its_attempt_is_granted_again,
            codes: only_its_attempt_settles_or_releases_a_claim,
            codes: settling_twice_is_still_true,
            codes: released_code_can_be_claimed,
            codes: done_code_cannot_be_released,
            codes: claim_outlives_the_code,
            codes: claims_of_different_grants_do_not_meet,
            codes: of_many_concurrent_claims_one_is_granted,
            codes: claim_of_a_revoked_grant_is_done,
            codes: second_use_of_a_done_code_can_revoke_the_grant,
            codes: assertion_is_claimed_with_the_code,
            codes: used_assertion_leaves_the_code_untouched,
            codes: assertion_alone_is_used_once,
            codes: assertion_is_forgotten_after_its_end,
            refresh: first_refresh_is_adopted,
            refresh: lead_is_repeated_to_the_holder_of_the_lease,
            refresh: other_request_waits_and_gets_the_same_answer,
            refresh: lost_answer_is_given_again_within_grace,
            refresh: repeated_answer_is_for_the_same_question_only,
            refresh: answer_is_repeated_as_often_as_allowed,
            refresh: previous_token_after_grace_revokes,
            refresh: grace_of_the_attempt_can_be_shorter_than_remembered,
            refresh: grace_of_zero_is_strict,
            refresh: older_token_within_its_own_grace_revokes_nothing,
            refresh: older_token_after_its_own_grace_revokes,
            refresh: other_token_of_an_older_generation_is_a_fork,
            refresh: older_tokens_are_remembered_up_to_a_bound,
            refresh: other_token_of_the_current_generation_is_a_fork,
            refresh: other_token_of_the_previous_generation_is_a_fork,
            refresh: newer_token_is_adopted_and_the_older_is_reuse,
            refresh: newer_token_takes_the_turn_from_an_older_lease,
            refresh: lease_can_be_taken_over_after_its_time,
            refresh: late_commit_without_a_successor_is_kept,
            refresh: abandoned_lease_is_free_at_once,
            refresh: only_its_holder_abandons_a_lease,
            refresh: commit_asked_again_is_committed_again,
            refresh: commit_without_a_lease_changes_nothing,
            refresh: commit_after_revocation_changes_nothing,
            refresh: previous_token_is_answered_while_the_current_is_led,
            refresh: assertion_is_used_once_over_codes_and_refreshes,
            refresh: lost_lead_does_not_spend_the_assertion_twice,
            refresh: many_rotations_follow_each_other,
            refresh: of_many_concurrent_refreshes_one_leads,
            revocations: revoked_grant_is_revoked_everywhere,
            revocations: revoking_twice_is_fine,
            revocations: revoked_grant_does_not_touch_another,
            revocations: revocation_lasts_as_long_as_the_grant,
            revocations: parked_blob_is_read_until_its_end,
            revocations: parked_blob_can_be_replaced,
            revocations: store_is_ready,
        }
    };
    ($world:expr; $($topic:ident: $case:ident,)+) => {
        $(
            #[tokio::test]
            async fn $case() {
                let Some(world) = $world else { return };
                $crate::api::replay::$topic::$case(&world).await;
            }
        )+
    };
}
pub(crate) use contract;
