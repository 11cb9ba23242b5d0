//! What sealing and opening show of themselves: how long tokens are, and why some do not open.

use metrics::{Counter, Histogram};

use super::{OpenError, Purpose};
use crate::figures::{self, Handles};

/// The handles of one keyring.
#[derive(Debug)]
pub(super) struct Meters {
    bytes: Handles<Histogram>,
    failures: Handles<Counter>,
}

impl Meters {
    pub(super) fn new() -> Self {
        Self {
            bytes: Handles::new(&figures::TOKEN_BYTES),
            failures: Handles::new(&figures::OPEN_FAILED),
        }
    }

    /// Notes the length of a new token.
    pub(super) fn sealed(&self, purpose: Purpose, bytes: usize) {
        // A token has 16 KiB at most.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.bytes.record(&[purpose.word()], bytes.into());
    }

    /// Notes that a token did not open.
    #[cold]
    pub(super) fn not_opened(&self, purpose: Purpose, error: OpenError) {
        self.failures.increment(&[purpose.word(), error.reason()]);
    }
}
