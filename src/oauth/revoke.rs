//! What the operator ended by configuration: `[revocation]`, the answer to a leaked key, a rogue
//! client, a person who left. (What a client ends by RFC 7009 is in the replay store.)
//!
//! Refuses, on every replica and without a store, what was issued before an epoch.

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

impl Epochs {
    /// Whether a grant has ended. A code knows no subject yet: it is asked again when it does.
    pub fn ended(
        &self,
        subject: Option<&Subject>,
        client: &ClientHash,
        grant: &GrantId,
        grant_issued_at: Timestamp,
    ) -> bool {
        let earlier = |epoch: &Option<Timestamp>| epoch.is_none_or(|it| grant_issued_at < it);
        self.not_before.is_some_and(|it| grant_issued_at < it)
            || self.grants.contains(grant)
            || self
                .clients
                .iter()
                .any(|(it, epoch)| it == client && earlier(epoch))
            || self
                .subjects
                .iter()
                .any(|(it, epoch)| Some(it) == subject && earlier(epoch))
    }

    /// Whether a registration has ended.
    pub fn registration_ended(&self, issued_at: Timestamp) -> bool {
        self.registrations_before.is_some_and(|it| issued_at < it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Timestamp = Timestamp::from_secs(1_000);
    const EARLIER: Timestamp = Timestamp::from_secs(999);

    fn ended(epochs: &Epochs, issued_at: Timestamp) -> bool {
        let (subject, client) = (Subject::new("github:1"), ClientHash::of("client"));
        let grant = GrantId::from_bytes([1; 16]);
        epochs.ended(Some(&subject), &client, &grant, issued_at)
    }

    #[test]
    fn nothing_is_ended_without_epochs() {
        assert!(!ended(&Epochs::default(), Timestamp::from_secs(0)));
        assert!(!Epochs::default().registration_ended(Timestamp::from_secs(0)));
    }

    #[test]
    fn epoch_ends_what_was_issued_earlier_and_nothing_else() {
        let all = Epochs {
            not_before: Some(EPOCH),
            ..Epochs::default()
        };
        let subject = Epochs {
            subjects: vec![
                (Subject::new("github:2"), None),
                (Subject::new("github:1"), Some(EPOCH)),
            ],
            ..Epochs::default()
        };
        let client = Epochs {
            clients: vec![(ClientHash::of("client"), Some(EPOCH))],
            ..Epochs::default()
        };
        for epochs in [all, subject, client] {
            assert!(ended(&epochs, EARLIER));
            assert!(!ended(&epochs, EPOCH));
        }
    }

    #[test]
    fn no_time_means_all() {
        let subject = Epochs {
            subjects: vec![(Subject::new("github:1"), None)],
            ..Epochs::default()
        };
        let client = Epochs {
            clients: vec![(ClientHash::of("client"), None)],
            ..Epochs::default()
        };
        let grant = Epochs {
            grants: vec![GrantId::from_bytes([1; 16])],
            ..Epochs::default()
        };
        for epochs in [subject, client, grant] {
            assert!(ended(&epochs, Timestamp::from_secs(u64::MAX)));
        }
    }

    #[test]
    fn others_are_left_alone() {
        let epochs = Epochs {
            subjects: vec![(Subject::new("github:10"), None)],
            clients: vec![(ClientHash::of("other"), None)],
            grants: vec![GrantId::from_bytes([2; 16])],
            ..Epochs::default()
        };
        assert!(!ended(&epochs, EARLIER));
        let (client, grant) = (ClientHash::of("client"), GrantId::from_bytes([1; 16]));
        assert!(!epochs.ended(None, &client, &grant, EARLIER));
    }

    #[test]
    fn registration_ends_by_its_own_epoch() {
        let epochs = Epochs {
            registrations_before: Some(EPOCH),
            ..Epochs::default()
        };
        assert!(epochs.registration_ended(EARLIER));
        assert!(!epochs.registration_ended(EPOCH));
        assert!(!ended(&epochs, EARLIER));
    }
}
