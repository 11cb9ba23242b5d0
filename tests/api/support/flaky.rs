//! A replay store whose line breaks where a test says so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mcp_oauth::oauth::names::{AssertionHash, AttemptId, GrantId, LeaseId};
use mcp_oauth::replay::{
    Claim, Claimed, Commit, RefreshAttempt, RefreshTurn, ReplayStore, Rotation, StoreError,
};

/// Where the line breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Before the store heard the question.
    Before,
    /// After it did: it was done, and the answer is lost.
    After,
}

/// The store.
#[derive(Debug)]
pub(crate) struct Flaky {
    inner: Arc<dyn ReplayStore>,
    faults: Mutex<HashMap<&'static str, (Broken, usize)>>,
}

impl Flaky {
    pub(crate) fn over(inner: Arc<dyn ReplayStore>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            faults: Mutex::default(),
        })
    }

    /// The next `times` calls of an operation fail.
    pub(crate) fn fail(&self, operation: &'static str, broken: Broken, times: usize) {
        self.faults
            .lock()
            .unwrap()
            .insert(operation, (broken, times));
    }

    fn fate(&self, operation: &'static str) -> Option<Broken> {
        let mut faults = self.faults.lock().unwrap();
        let (broken, times) = faults.get_mut(operation)?;
        *times = times.checked_sub(1)?;
        Some(*broken)
    }

    async fn through<T>(
        &self,
        operation: &'static str,
        ask: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let lost = || Err(StoreError::Unavailable("the line broke".into()));
        match self.fate(operation) {
            None => ask.await,
            Some(Broken::Before) => lost(),
            Some(Broken::After) => {
                let _ = ask.await;
                lost()
            }
        }
    }
}

#[async_trait]
impl ReplayStore for Flaky {
    async fn claim(&self, claim: Claim) -> Result<Claimed, StoreError> {
        self.through("claim", self.inner.claim(claim)).await
    }

    async fn settle(&self, grant: GrantId, attempt: AttemptId) -> Result<bool, StoreError> {
        self.through("settle", self.inner.settle(grant, attempt))
            .await
    }

    async fn release(&self, grant: GrantId, attempt: AttemptId) -> Result<bool, StoreError> {
        self.through("release", self.inner.release(grant, attempt))
            .await
    }

    async fn begin_refresh(&self, attempt: RefreshAttempt) -> Result<RefreshTurn, StoreError> {
        self.through("begin", self.inner.begin_refresh(attempt))
            .await
    }

    async fn commit_refresh(&self, rotation: Rotation) -> Result<Commit, StoreError> {
        self.through("commit", self.inner.commit_refresh(rotation))
            .await
    }

    async fn abandon_refresh(&self, grant: GrantId, lease: LeaseId) -> Result<(), StoreError> {
        self.through("abandon", self.inner.abandon_refresh(grant, lease))
            .await
    }

    async fn use_assertion(
        &self,
        assertion: AssertionHash,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        self.inner.use_assertion(assertion, ttl).await
    }

    async fn revoke(&self, grant: GrantId, ttl: Duration) -> Result<(), StoreError> {
        self.through("revoke", self.inner.revoke(grant, ttl)).await
    }

    fn is_revoked(&self, grant: &GrantId) -> bool {
        self.inner.is_revoked(grant)
    }

    async fn park(&self, grant: GrantId, blob: Vec<u8>, ttl: Duration) -> Result<(), StoreError> {
        self.through("park", self.inner.park(grant, blob, ttl))
            .await
    }

    async fn parked(&self, grant: GrantId) -> Result<Option<Vec<u8>>, StoreError> {
        self.through("parked", self.inner.parked(grant)).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.inner.ready().await
    }
}
