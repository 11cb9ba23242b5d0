//! Revocations that are told to upstreams: in the background, again after trouble, and to the end
//! when the process stops.
//!
//! A client's `/revoke` is answered once the grant has ended here; it never waits for an upstream.
//! Refuses to pile up: a bounded number waits, a few are on their way at once, each is tried a
//! bounded number of times.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::App;
use crate::figures;
use crate::oauth::names::{UpstreamFingerprint, UpstreamName};
use crate::oauth::records::UpstreamCredential;
use crate::request;
use crate::upstream::{Upstream, UpstreamError};

/// How many may wait or be on their way.
const WAITING: u32 = 1_024;
/// How many are on their way at once.
const AT_ONCE: usize = 8;
/// How long one try may take.
const TRY: Duration = Duration::from_secs(10);
/// The pauses before each try.
const PAUSES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(120),
];
/// The longest that an upstream may ask us to wait.
const LONGEST: Duration = Duration::from_secs(300);

/// Room for what waits, and for what is on its way.
#[derive(Debug)]
pub(super) struct UpstreamRevocations {
    room: Arc<Semaphore>,
    ways: Semaphore,
}

impl Default for UpstreamRevocations {
    fn default() -> Self {
        Self {
            room: Arc::new(Semaphore::new(WAITING as usize)),
            ways: Semaphore::new(AT_ONCE),
        }
    }
}

/// What an upstream is to hear.
pub(super) struct Ended {
    pub(super) upstream: UpstreamName,
    pub(super) fingerprint: UpstreamFingerprint,
    pub(super) credential: UpstreamCredential,
}

/// How telling it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// The upstream knows.
    Ok,
    /// It said no, and would again.
    Refused,
    /// It was not reached, however often it was tried.
    Unavailable,
    /// There was no room to wait in.
    Dropped,
}

impl Told {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Dropped => "dropped",
        }
    }

    fn count(self, upstream: &UpstreamName) {
        figures::UPSTREAM_REVOCATIONS
            .counter(&[upstream.as_str(), self.as_str()])
            .increment(1);
    }
}

impl App {
    /// Tells the upstream where that ends nothing but this grant.
    pub(super) fn tell_upstream(self: &Arc<Self>, ended: Ended) {
        let Some(upstream) = self.upstreams.get(&ended.upstream) else {
            return;
        };
        let profile = upstream.profile();
        if profile.fingerprint != ended.fingerprint || !profile.revokes_one_token {
            return;
        }
        let name = ended.upstream;
        let room = Arc::clone(&self.upstream_revocations.room);
        let Ok(place) = room.try_acquire_owned() else {
            tracing::warn!(upstream = %name, "too many revocations wait for the upstream; one was dropped");
            Told::Dropped.count(&name);
            return;
        };
        let (app, upstream) = (Arc::clone(self), Arc::clone(upstream));
        tokio::spawn(request::carried(async move {
            let ways = &app.upstream_revocations.ways;
            tell(&*upstream, &ended.credential, ways).await.count(&name);
            drop(place);
        }));
    }

    /// Waits until nothing is left to tell: at once where nothing is.
    pub async fn upstreams_are_told(&self) {
        let _ = self.upstream_revocations.room.acquire_many(WAITING).await;
    }

    /// The end of a process: waits for what is left, and no longer than until the deadline.
    pub async fn tell_upstreams_until(&self, deadline: impl Future<Output = ()>) {
        tokio::select! {
            () = self.upstreams_are_told() => {}
            () = deadline => {
                let left = self.untold_upstreams();
                tracing::warn!(left, "stopped before every upstream had heard of its revocations");
            }
        }
    }

    /// How many revocations upstreams have not heard of yet.
    pub fn untold_upstreams(&self) -> usize {
        let free = self.upstream_revocations.room.available_permits();
        (WAITING as usize).saturating_sub(free)
    }
}

/// Tells one upstream, again after trouble.
async fn tell(upstream: &dyn Upstream, credential: &UpstreamCredential, ways: &Semaphore) -> Told {
    let name = &upstream.profile().name;
    let mut asked_to_wait = Duration::ZERO;
    for pause in PAUSES {
        let pause = pause.max(asked_to_wait.min(LONGEST));
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        // Held for one try, so that what waits for one upstream does not hold up another.
        let _way = ways.acquire().await;
        match timeout(TRY, upstream.revoke(credential)).await {
            Ok(Ok(())) => return Told::Ok,
            Ok(Err(UpstreamError::Unavailable { retry_after, .. })) => {
                asked_to_wait = retry_after.unwrap_or_default();
            }
            Ok(Err(error)) => {
                tracing::warn!(upstream = %name, %error, "the upstream refused a revocation");
                return Told::Refused;
            }
            Err(_) => asked_to_wait = Duration::ZERO,
        }
    }
    tracing::warn!(upstream = %name, tries = PAUSES.len(), "the upstream was not told of a revocation");
    Told::Unavailable
}
