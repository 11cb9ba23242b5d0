//! How things are called in the store. All keys of a grant share a hash tag.

use crate::oauth::names::{AssertionHash, GrantId};

/// Builds keys under the configured prefix.
#[derive(Debug)]
pub(super) struct KeyNames(String);

impl KeyNames {
    pub(super) const fn under(prefix: String) -> Self {
        Self(prefix)
    }

    /// What tells one memory of the store from another.
    pub(super) fn epoch(&self) -> String {
        format!("{}epoch", self.0)
    }

    /// The claim of a grant's code.
    pub(super) fn claim(&self, grant: &GrantId) -> String {
        self.of(grant, 'c')
    }

    /// The refresh record.
    pub(super) fn record(&self, grant: &GrantId) -> String {
        self.of(grant, 'r')
    }

    /// The sealed answer to the last refresh.
    pub(super) fn memo(&self, grant: &GrantId) -> String {
        self.of(grant, 'm')
    }

    /// The mark of a revoked grant.
    pub(super) fn mark(&self, grant: &GrantId) -> String {
        self.of(grant, 'v')
    }

    /// What waits between callback and redemption.
    pub(super) fn parked(&self, grant: &GrantId) -> String {
        self.of(grant, 'p')
    }

    fn of(&self, grant: &GrantId, kind: char) -> String {
        format!("{}{{{grant}}}:{kind}", self.0)
    }

    /// A used client assertion.
    pub(super) fn assertion(&self, assertion: &AssertionHash) -> String {
        format!("{}a:{assertion}", self.0)
    }

    /// Revoked grants by the order in which they were revoked.
    pub(super) fn log(&self) -> String {
        format!("{}{{revoked}}:log", self.0)
    }

    /// Revoked grants by the time at which they end anyway.
    pub(super) fn ends(&self) -> String {
        format!("{}{{revoked}}:ends", self.0)
    }

    /// How many revocations there were.
    pub(super) fn count(&self) -> String {
        format!("{}{{revoked}}:count", self.0)
    }
}
