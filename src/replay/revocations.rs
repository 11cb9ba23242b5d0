//! Whether a grant has ended: the operator's epochs and the replay store's set, as one question.
//!
//! Asked on every request, so nothing here waits for the store except [`Revocations::revoke`].
//! Refuses what was revoked by a client (RFC 7009), by reuse, or by configuration.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::oauth::names::{ClientHash, GrantId, Subject};
use crate::oauth::records::AccessToken;
use crate::oauth::revoke::Epochs;
use crate::replay::{ReplayStore, StoreError};
use crate::time::Timestamp;

/// What has ended before its time.
#[derive(Debug)]
pub struct Revocations {
    epochs: ArcSwap<Epochs>,
    store: Arc<dyn ReplayStore>,
}

impl Revocations {
    /// Joins the configured epochs and the store.
    pub fn new(epochs: Epochs, store: Arc<dyn ReplayStore>) -> Self {
        Self {
            epochs: ArcSwap::from_pointee(epochs),
            store,
        }
    }

    /// Replaces the epochs, when the configuration was read again.
    pub fn set_epochs(&self, epochs: Epochs) {
        self.epochs.store(Arc::new(epochs));
    }

    /// Whether a grant has ended. A code knows no subject yet.
    pub fn has_ended(
        &self,
        grant: &GrantId,
        subject: Option<&Subject>,
        client: &ClientHash,
        grant_issued_at: Timestamp,
    ) -> bool {
        let epochs = self.epochs.load();
        self.store.is_revoked(grant) || epochs.ended(subject, client, grant, grant_issued_at)
    }

    /// Whether the grant of an access token has ended.
    pub fn access_has_ended(&self, token: &AccessToken) -> bool {
        let AccessToken {
            grant,
            sub,
            client_id,
            grant_issued_at,
            ..
        } = token;
        self.has_ended(grant, Some(sub), client_id, *grant_issued_at)
    }

    /// Whether a registration has ended.
    pub fn registration_has_ended(&self, issued_at: Timestamp) -> bool {
        self.epochs.load().registration_ended(issued_at)
    }

    /// Ends a grant for `ttl`, which is the rest of its life.
    pub async fn revoke(&self, grant: GrantId, ttl: Duration) -> Result<(), StoreError> {
        self.store.revoke(grant, ttl).await
    }
}

#[cfg(test)]
#[cfg(not(feature = "interleavings"))]
mod tests {
    use super::*;
    use crate::oauth::names::{TokenId, UpstreamFingerprint};
    use crate::oauth::scope::Scope;
    use crate::replay::memory::MemoryStore;
    use crate::time::ManualClock;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn revocations() -> Revocations {
        let clock = Arc::new(ManualClock::at(NOW));
        let store = MemoryStore::new(10, clock);
        Revocations::new(Epochs::default(), Arc::new(store))
    }

    fn token() -> AccessToken {
        AccessToken {
            iss: "https://mcp.example.com".into(),
            sub: Subject::new("github:1"),
            aud: "https://mcp.example.com/mcp".into(),
            client_id: ClientHash::of("client"),
            scope: Scope::default(),
            iat: NOW,
            exp: NOW.plus(Duration::from_secs(3_600)),
            jti: TokenId::from_bytes([1; 16]),
            grant: GrantId::from_bytes([1; 16]),
            grant_issued_at: NOW,
            fingerprint: UpstreamFingerprint::of_upstream("https://up.example.com", "id"),
            email: None,
            preferred_username: None,
            groups: Vec::new(),
            upstream_token: None,
        }
    }

    // V2
    #[tokio::test]
    async fn revoked_grant_has_ended_for_codes_and_tokens() {
        let (revocations, token) = (revocations(), token());
        let code_has_ended =
            || revocations.has_ended(&token.grant, None, &token.client_id, token.grant_issued_at);
        assert!(!revocations.access_has_ended(&token) && !code_has_ended());
        let ttl = Duration::from_secs(3_600);
        revocations.revoke(token.grant, ttl).await.expect("room");
        assert!(revocations.access_has_ended(&token) && code_has_ended());
    }

    #[test]
    fn new_epochs_count_at_once() {
        let (revocations, token) = (revocations(), token());
        assert!(!revocations.access_has_ended(&token));
        revocations.set_epochs(Epochs {
            subjects: vec![(token.sub.clone(), None)],
            registrations_before: Some(NOW),
            ..Epochs::default()
        });
        assert!(revocations.access_has_ended(&token));
        assert!(revocations.registration_has_ended(Timestamp::from_secs(0)));
        // A code knows no subject yet.
        assert!(!revocations.has_ended(&token.grant, None, &token.client_id, NOW));
    }
}
