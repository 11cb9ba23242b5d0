//! The replay store: the small memory of what has been used.
//!
//! It holds three things, all keyed by [`GrantId`]: the *claim* that makes a code single-use, the
//! *refresh record* that tells a lost answer from a stolen token, and the *revocations*. It never
//! holds a token: only hashes, and sealed blobs that it cannot open.
//!
//! # Contract
//!
//! Every implementation passes the one suite in `tests/api/replay.rs`.
//!
//! 1. Each operation is atomic: of any number of concurrent calls, one order explains all answers.
//! 2. [`ReplayStore::claim`] grants at most one live claim per grant until `ttl` has passed, or a
//!    little longer. A claim is *busy* until it is settled as *done*; releasing removes it, and
//!    only the attempt that holds it can settle or release it. A claim of a revoked grant is
//!    answered [`Claimed::Done`].
//! 3. A full store refuses ([`StoreError::Full`]); it never evicts what is alive.
//! 4. A refresh lease has one holder. When its time is over another may take it; until one does,
//!    its holder can still commit. It ends when it is committed or abandoned, and a commit without
//!    the lease changes nothing ([`Commit::LeaseLost`]).
//! 5. A revoked grant stays revoked to its end, and no later commit brings it back.
//! 6. A client assertion belongs to the attempt or the lease that it first came with. It is used
//!    up by every answer but [`Claimed::AssertionUsed`], [`RefreshTurn::AssertionUsed`],
//!    [`Claimed::Discontinuity`] and [`RefreshTurn::Revoked`]: these change nothing.
//! 7. Trouble is an error, never a guess: a caller answers 503 and tells the upstream nothing.
//!
//! # Lost answers
//!
//! After an error the operation may have happened. Each can be asked again, with the same attempt
//! or lease, and then gives the answer that was lost: `claim` is `Granted` to the attempt that
//! holds it, `settle` is true where the attempt is done, `begin_refresh` is `Lead` to the holder of
//! the lease, `commit_refresh` is `Committed` where its token is the current one. (`release` is
//! false the second time, and `use_assertion` cannot tell: a client signs another.) A caller that
//! gives up instead releases or abandons, or a claim stays busy until its end.
//!
//! # The refresh record
//!
//! A record knows the current token and the one before, by generation and hash.
//!
//! | presented | answer |
//! |---|---|
//! | of a revoked grant | `Revoked` |
//! | no record, or a newer generation than known | adopted as current: `Lead` |
//! | current, lease free or its time over | takes the lease: `Lead` |
//! | current, another holds the lease | `Wait` |
//! | previous, within grace | `Repeat`, or `OtherRequest`, or `TooOften` |
//! | older, within its own grace | `Superseded` |
//! | the generation of a token that is remembered, another hash | revokes the grant: `Fork` |
//! | older, or previous past grace | revokes the grant: `Reuse` |
//!
//! Of the tokens before the previous one the last four are remembered, each through its own grace:
//! a client that is slow, while another request of its own rotates twice, is no thief.
//!
//! A token that is waited for is the current one until the commit, and the previous one from then
//! on: a waiting request asks again until it gets `Repeat` or, where the leader gave up, `Lead`.
//! With a grace of zero nothing is remembered, and so a race ends the grant.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

mod measured;
pub mod memory;
#[cfg(feature = "redis")]
pub mod redis;
mod revocations;
mod revoked;
mod shards;
mod sync;

#[cfg(test)]
#[cfg(feature = "interleavings")]
mod interleavings;

pub use measured::Measured;
pub use revocations::Revocations;

use crate::oauth::names::{AssertionHash, AttemptId, GrantId, LeaseId, TokenHash};
use crate::time::Timestamp;

/// Redeeming a code: who tries, and for how long the answer must be remembered.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The grant of the code.
    pub grant: GrantId,
    /// This attempt.
    pub attempt: AttemptId,
    /// When the code was minted: after a discontinuity of the store, young codes are refused.
    pub issued_at: Timestamp,
    /// How long the claim is remembered: the code's remaining life and 120 s for clock skew.
    pub ttl: Duration,
    /// The client assertion that came with it, and how long its `jti` must be remembered.
    pub assertion: Option<(AssertionHash, Duration)>,
}

/// The answer to a [`Claim`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// This attempt holds the claim.
    Granted,
    /// Another attempt holds it and is not done.
    Busy,
    /// The code was redeemed.
    Done,
    /// The client assertion was used before; the code is untouched.
    AssertionUsed,
    /// The store lost its memory at a time when this code may already have been redeemed.
    Discontinuity,
}

/// A refresh token that passed every check and now asks for its turn.
#[derive(Clone, Debug)]
pub struct RefreshAttempt {
    /// The grant.
    pub grant: GrantId,
    /// The token's generation.
    pub generation: u64,
    /// The token's hash.
    pub token: TokenHash,
    /// Hash of the request's scope parameter: a remembered answer is for the same question only.
    pub request: TokenHash,
    /// The lease to take if it is this token's turn.
    pub lease: LeaseId,
    /// How long the lease lasts.
    pub lease_ttl: Duration,
    /// How long after a rotation the previous token still gets the same answer.
    pub grace: Duration,
    /// How often it gets it.
    pub grace_uses: u32,
    /// How long until the grant ends: as long as the record is remembered.
    pub ttl: Duration,
    /// The client assertion that came with it, and how long its `jti` must be remembered.
    pub assertion: Option<(AssertionHash, Duration)>,
}

/// The answer to a [`RefreshAttempt`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshTurn {
    /// Ask the upstream, mint, commit.
    Lead,
    /// Another request leads: ask again shortly for its answer.
    Wait,
    /// The previous token within grace: the sealed answer that was given for it.
    Repeat(Vec<u8>),
    /// The previous token within grace, but asked for another scope than then.
    OtherRequest,
    /// The previous token within grace, more often than allowed; nothing is revoked.
    TooOften,
    /// A token older than the previous one, within its own grace; nothing is revoked.
    Superseded,
    /// An older token, or the previous one after grace. The grant is now revoked.
    Reuse,
    /// The same generation as a known token, but another token. The grant is now revoked.
    Fork,
    /// The grant was revoked before.
    Revoked,
    /// The client assertion was used before; nothing changed.
    AssertionUsed,
}

/// A finished rotation.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The grant.
    pub grant: GrantId,
    /// The lease under which it was made.
    pub lease: LeaseId,
    /// The new token's generation.
    pub generation: u64,
    /// The new token's hash.
    pub token: TokenHash,
    /// The sealed answer, remembered for the grace.
    pub memo: Vec<u8>,
    /// The grace.
    pub grace: Duration,
    /// How long until the grant ends.
    pub ttl: Duration,
}

/// The answer to a [`Rotation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The new token is the current one.
    Committed,
    /// The lease was lost; the new token must not be handed out.
    LeaseLost,
    /// The grant was revoked meanwhile.
    Revoked,
}

/// Why the store could not answer. Always 503 outside, never `invalid_grant`.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No room for another entry, and nothing alive is evicted.
    #[error("the replay store is full")]
    Full,
    /// Not reached, or its answer was not understood.
    #[error("the replay store is not available: {0}")]
    Unavailable(String),
}

/// What remembers what has been used. See the [module](self) for the contract.
#[async_trait]
pub trait ReplayStore: Send + Sync + fmt::Debug {
    /// Claims a code.
    async fn claim(&self, claim: Claim) -> Result<Claimed, StoreError>;

    /// Marks a claim as done: tokens were minted, or the upstream refused for good. False if the
    /// attempt does not hold it.
    async fn settle(&self, grant: GrantId, attempt: AttemptId) -> Result<bool, StoreError>;

    /// Gives a claim back: nothing was minted and nothing is known to be used up. False if the
    /// attempt does not hold it.
    async fn release(&self, grant: GrantId, attempt: AttemptId) -> Result<bool, StoreError>;

    /// Asks for a turn at refreshing.
    async fn begin_refresh(&self, attempt: RefreshAttempt) -> Result<RefreshTurn, StoreError>;

    /// Makes the new token the current one, if the lease is still held.
    async fn commit_refresh(&self, rotation: Rotation) -> Result<Commit, StoreError>;

    /// Gives the lease back: the upstream was not reached and nothing was minted.
    async fn abandon_refresh(&self, grant: GrantId, lease: LeaseId) -> Result<(), StoreError>;

    /// Claims a client assertion where no code or refresh token is at stake. False if it was used.
    async fn use_assertion(
        &self,
        assertion: AssertionHash,
        ttl: Duration,
    ) -> Result<bool, StoreError>;

    /// Ends a grant for `ttl`, which is the rest of its life.
    async fn revoke(&self, grant: GrantId, ttl: Duration) -> Result<(), StoreError>;

    /// Whether the grant is in the local set of revocations. Never waits.
    fn is_revoked(&self, grant: &GrantId) -> bool;

    /// Keeps a sealed blob until `ttl` has passed or it is taken: the tokens of an
    /// `exchange = "callback"` login.
    async fn park(&self, grant: GrantId, blob: Vec<u8>, ttl: Duration) -> Result<(), StoreError>;

    /// Reads a parked blob without removing it: the claim decides who may.
    async fn parked(&self, grant: GrantId) -> Result<Option<Vec<u8>>, StoreError>;

    /// Whether the store answers now.
    async fn ready(&self) -> Result<(), StoreError>;
}
