//! Notices a second process where the configuration declares one.
//!
//! With `store = "memory"` codes are exact for one process only. Codes and refresh tokens carry the
//! id of the process that minted them: a foreign one that is younger than this process proves
//! another. It is counted and said once a minute; the request goes on, since its client did no
//! wrong.

use std::sync::atomic::{AtomicU64, Ordering};

use super::App;
use crate::audit::{Event, Kind};
use crate::config::StoreKind;
use crate::figures;
use crate::oauth::names::InstanceId;
use crate::time::Timestamp;

/// How often it is said, in seconds.
const EVERY: u64 = 60;

/// Since when this process mints, and when it last said that it is not alone.
#[derive(Debug)]
pub(super) struct Foreign {
    started: Timestamp,
    /// Seconds on the monotonic clock before which it is not said again.
    quiet_until: AtomicU64,
}

impl Foreign {
    pub(super) const fn since(started: Timestamp) -> Self {
        Self {
            started,
            quiet_until: AtomicU64::new(0),
        }
    }

    /// Whether it is time to say it again.
    fn is_due(&self, now: u64) -> bool {
        let quiet_until = self.quiet_until.load(Ordering::Relaxed);
        now >= quiet_until
            && self
                .quiet_until
                .compare_exchange(
                    quiet_until,
                    now.saturating_add(EVERY),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok()
    }
}

impl App {
    /// Looks who minted what was presented.
    pub(super) fn look_for_others(&self, minted_by: InstanceId, issued_at: Timestamp) {
        let declared_alone = matches!(self.config.replay.store, StoreKind::Memory);
        // What an earlier process left is no sign of another one.
        if !declared_alone || minted_by == self.instance || issued_at <= self.foreign.started {
            return;
        }
        figures::FOREIGN_INSTANCE.counter(&[]).increment(1);
        if self.foreign.is_due(self.clock.elapsed().as_secs()) {
            Event::new(Kind::ForeignInstance).record();
        }
    }
}
