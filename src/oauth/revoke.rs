//! Revocation: RFC 7009, and the epochs that an operator sets.

use crate::oauth::names::{ClientHash, GrantId, Subject};
use crate::time::Timestamp;

/// `[revocation]`: what was ended by configuration.
#[derive(Clone, Debug, Default)]
pub struct Epochs {
    /// Every grant issued earlier has ended.
    pub not_before: Option<Timestamp>,
    /// Every registration issued earlier has ended.
    pub registrations_before: Option<Timestamp>,
    /// People whose earlier grants have ended; no time means all.
    pub subjects: Vec<(Subject, Option<Timestamp>)>,
    /// Clients whose earlier grants have ended.
    pub clients: Vec<(ClientHash, Option<Timestamp>)>,
    /// Grants that have ended.
    pub grants: Vec<GrantId>,
}
