//! The clock: [`Timestamp`], [`Clock`] and the only code that reads the system's time.
//!
//! Everything else takes `now` as an argument, so that expiry is tested by handing over another
//! number. Refuses to run backwards: a wall clock that is set back does not revive what has
//! expired (a code whose claim is forgotten, a token past its end).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point in time in whole seconds since the Unix epoch, as JWT's `NumericDate` (RFC 7519 §2).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Makes a timestamp from seconds since the Unix epoch.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Seconds since the Unix epoch.
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// This point plus `duration`, rounded down to the second, saturating.
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }

    /// This point minus `duration`, rounded down to the second, saturating.
    #[must_use]
    pub const fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_secs()))
    }

    /// How long from `earlier` to this point; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }

    /// Whether a thing that ends at this point has ended at `now`.
    pub const fn is_past(self, now: Self) -> bool {
        self.0 <= now.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What tells the time.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The time of day. Never less than what an earlier call returned.
    fn now(&self) -> Timestamp;

    /// Time since some fixed point, unaffected by changes of the wall clock: for leases and waits.
    fn elapsed(&self) -> Duration;
}

/// The system's clock, kept from running backwards.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    /// Wall clock minus monotonic clock in milliseconds; only ever grows.
    offset: AtomicU64,
}

impl SystemClock {
    /// Starts a clock.
    pub fn start() -> Self {
        let clock = Self {
            started: Instant::now(),
            offset: AtomicU64::new(0),
        };
        clock.now();
        clock
    }

    /// How far the wall clock is behind this one, which happens when somebody set it back.
    pub fn lag(&self) -> Duration {
        let ours = Duration::from_millis(self.offset.load(Ordering::Relaxed)) + self.elapsed();
        ours.saturating_sub(wall())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let elapsed = self.elapsed();
        let offset = millis(wall().saturating_sub(elapsed));
        let before = self.offset.fetch_max(offset, Ordering::Relaxed);
        let now = Duration::from_millis(before.max(offset)) + elapsed;
        Timestamp(now.as_secs())
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this file is the one reader of the wall clock"
)]
fn wall() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A clock that stands still until it is moved: for tests.
#[derive(Debug)]
pub struct ManualClock {
    wall: AtomicU64,
    elapsed_ms: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub const fn at(now: Timestamp) -> Self {
        Self {
            wall: AtomicU64::new(now.0),
            elapsed_ms: AtomicU64::new(0),
        }
    }

    /// Moves both the time of day and the elapsed time forward.
    pub fn advance(&self, duration: Duration) {
        self.elapsed_ms
            .fetch_add(millis(duration), Ordering::SeqCst);
        self.wall.fetch_add(duration.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.wall.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.elapsed_ms.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_never_runs_backwards() {
        let clock = SystemClock::start();
        let first = clock.now();
        // As if the wall clock had been an hour ahead when it was last read.
        clock.offset.fetch_add(3_600_000, Ordering::SeqCst);
        let ahead = clock.now();
        assert!(ahead.since(first) >= Duration::from_secs(3_599));
        assert!(clock.now() >= ahead);
        assert!(clock.lag() > Duration::from_secs(3_500));
    }

    #[test]
    fn end_is_exclusive() {
        let end = Timestamp::from_secs(10);
        assert!(!end.is_past(Timestamp::from_secs(9)));
        assert!(end.is_past(Timestamp::from_secs(10)));
    }
}
