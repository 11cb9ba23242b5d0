//! A document of the provider that is fetched when it is first needed, and kept.
//!
//! One fetch at a time; after a failure nobody tries again for a moment, and an old document is
//! better than none. So a server starts, and people stay signed in, while the provider is away.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;

use super::{UpstreamError, unavailable};
use crate::time::Clock;

/// How long a document is used without looking again.
const FRESH: Duration = Duration::from_secs(3600);
/// How long it is used when looking again fails.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// How long nobody tries after a failure.
const PAUSE: Duration = Duration::from_secs(2);
/// How often a document is fetched again because it lacks something.
const RENEW: Duration = Duration::from_secs(30);

/// A document.
pub(super) struct Cached<T> {
    clock: Arc<dyn Clock>,
    state: RwLock<State<T>>,
    fetching: Mutex<()>,
}

struct State<T> {
    value: Option<(Arc<T>, Duration)>,
    attempted: Option<Duration>,
    failure: Option<String>,
}

impl<T> Cached<T> {
    /// Nothing yet.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: RwLock::new(State {
                value: None,
                attempted: None,
                failure: None,
            }),
            fetching: Mutex::default(),
        }
    }

    /// The document, fetched if need be.
    pub(super) async fn get(
        &self,
        fetch: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<Arc<T>, UpstreamError> {
        if let Some(value) = self.younger_than(FRESH) {
            return Ok(value);
        }
        let _one_at_a_time = match (self.fetching.try_lock(), self.younger_than(STALE)) {
            (Ok(guard), _) => guard,
            // Somebody is looking already: what is at hand will do.
            (Err(_), Some(value)) => return Ok(value),
            (Err(_), None) => self.fetching.lock().await,
        };
        if let Some(value) = self.younger_than(FRESH) {
            return Ok(value);
        }
        if let Some(failure) = self.failed_within(PAUSE) {
            return self.younger_than(STALE).ok_or_else(|| unavailable(failure));
        }
        match self.attempt(fetch).await {
            Ok(value) => Ok(value),
            Err(error) => self.younger_than(STALE).ok_or(error),
        }
    }

    /// The document fetched again, because the one at hand lacks something; `None` if that was
    /// tried a moment ago.
    pub(super) async fn renew(
        &self,
        fetch: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Option<Result<Arc<T>, UpstreamError>> {
        let _one_at_a_time = self.fetching.lock().await;
        let attempted = self.read(|state| state.attempted);
        if attempted.is_some_and(|at| self.age(at) < RENEW) {
            return None;
        }
        Some(self.attempt(fetch).await)
    }

    async fn attempt(
        &self,
        fetch: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<Arc<T>, UpstreamError> {
        let outcome = fetch.await.map(Arc::new);
        let now = self.clock.elapsed();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.attempted = Some(now);
        match &outcome {
            Ok(value) => {
                state.value = Some((Arc::clone(value), now));
                state.failure = None;
            }
            Err(error) => state.failure = Some(error.to_string()),
        }
        outcome
    }

    fn younger_than(&self, age: Duration) -> Option<Arc<T>> {
        self.read(|state| match &state.value {
            Some((value, at)) if self.age(*at) < age => Some(Arc::clone(value)),
            _ => None,
        })
    }

    fn failed_within(&self, age: Duration) -> Option<String> {
        self.read(|state| {
            state
                .failure
                .clone()
                .filter(|_| state.attempted.is_some_and(|at| self.age(at) < age))
        })
    }

    fn age(&self, at: Duration) -> Duration {
        self.clock.elapsed().saturating_sub(at)
    }

    fn read<R>(&self, read: impl FnOnce(&State<T>) -> R) -> R {
        read(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> fmt::Debug for Cached<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached").finish_non_exhaustive()
    }
}
