//! A replay store that is timed, whichever it is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metrics::Histogram;
use tokio::time::Instant;

use super::{
    Claim, Claimed, Commit, RefreshAttempt, RefreshTurn, ReplayStore, Rotation, StoreError,
};
use crate::figures::{self, Handles};
use crate::oauth::names::{AssertionHash, AttemptId, GrantId, LeaseId};

/// Times every operation of another store.
pub struct Measured {
    store: Arc<dyn ReplayStore>,
    seconds: Handles<Histogram>,
}

impl Measured {
    /// Stands in front of a store.
    pub fn new(store: Arc<dyn ReplayStore>) -> Self {
        Self {
            store,
            seconds: Handles::new(&figures::REPLAY_STORE_SECONDS),
        }
    }

    async fn timed<T>(&self, operation: &str, work: impl Future<Output = T> + Send) -> T {
        let started = Instant::now();
        let answer = work.await;
        let took = started.elapsed().as_secs_f64();
        self.seconds.record(&[operation], took);
        answer
    }
}

#[async_trait]
impl ReplayStore for Measured {
    async fn claim(&self, claim: Claim) -> Result<Claimed, StoreError> {
        self.timed("claim", self.store.claim(claim)).await
    }

    async fn settle(&self, grant: GrantId, attempt: AttemptId) -> Result<bool, StoreError> {
        self.timed("settle", self.store.settle(grant, attempt))
            .await
    }

    async fn release(&self, grant: GrantId, attempt: AttemptId) -> Result<bool, StoreError> {
        self.timed("release", self.store.release(grant, attempt))
            .await
    }

    async fn begin_refresh(&self, attempt: RefreshAttempt) -> Result<RefreshTurn, StoreError> {
        self.timed("begin_refresh", self.store.begin_refresh(attempt))
            .await
    }

    async fn commit_refresh(&self, rotation: Rotation) -> Result<Commit, StoreError> {
        self.timed("commit_refresh", self.store.commit_refresh(rotation))
            .await
    }

    async fn abandon_refresh(&self, grant: GrantId, lease: LeaseId) -> Result<(), StoreError> {
        self.timed("abandon_refresh", self.store.abandon_refresh(grant, lease))
            .await
    }

    async fn use_assertion(
        &self,
        assertion: AssertionHash,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        self.timed("use_assertion", self.store.use_assertion(assertion, ttl))
            .await
    }

    async fn revoke(&self, grant: GrantId, ttl: Duration) -> Result<(), StoreError> {
        self.timed("revoke", self.store.revoke(grant, ttl)).await
    }

    // Asked at every request, and answered from memory: not worth its own measuring.
    fn is_revoked(&self, grant: &GrantId) -> bool {
        self.store.is_revoked(grant)
    }

    async fn park(&self, grant: GrantId, blob: Vec<u8>, ttl: Duration) -> Result<(), StoreError> {
        self.timed("park", self.store.park(grant, blob, ttl)).await
    }

    async fn parked(&self, grant: GrantId) -> Result<Option<Vec<u8>>, StoreError> {
        self.timed("parked", self.store.parked(grant)).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.timed("ready", self.store.ready()).await
    }
}

impl fmt::Debug for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}
