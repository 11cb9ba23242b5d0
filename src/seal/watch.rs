//! The live handle on the keys.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::keyring::Keyring;
use super::{OpenError, Opened, Record, Sealed};
use crate::time::Timestamp;

/// The live handle on the keys: hot-reloaded, shared by the whole process.
#[derive(Debug)]
pub struct Keys {
    ring: ArcSwap<Keyring>,
}

impl Keys {
    /// A ring that never changes: for tests, and for keys that come from the environment.
    pub fn fixed(keyring: Keyring) -> Self {
        Self {
            ring: ArcSwap::from_pointee(keyring),
        }
    }

    /// The keys as of now, for sealing.
    pub fn current(&self) -> Arc<Keyring> {
        self.ring.load_full()
    }

    /// As [`Keyring::open`]; an unknown `kid` in a well-formed header makes it look for new keys.
    pub fn open<T: Record>(
        &self,
        token: &Sealed<T>,
        now: Timestamp,
    ) -> Result<Opened<T>, OpenError> {
        self.ring.load().open(token, now)
    }
}
