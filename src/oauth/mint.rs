//! Minting: the answer of `/token` (OAuth 2.1 §3.2.3).

use std::time::Duration;

use rand::CryptoRng;
use serde::Serialize;

use crate::oauth::names::{
    GrantId, InstanceId, Issuer, Secret, Subject, TokenHash, TokenId, UpstreamFingerprint,
    UpstreamName,
};
use crate::oauth::records::{
    AccessToken, AuthMethod, AuthorizationCode, Identity, RefreshToken, UpstreamCredential,
};
use crate::oauth::resource::ResourceRule;
use crate::oauth::scope::Scope;
use crate::oauth::token::{AuthenticatedRefresh, RedeemableCode};
use crate::seal::{Keyring, SealError, Sealed};
use crate::time::Timestamp;

/// Most groups that a token carries: it travels in a header.
const MAX_CARRIED_GROUPS: usize = 200;

/// Life times, and who mints.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The issuer.
    pub issuer: &'a Issuer,
    /// This process.
    pub instance: InstanceId,
    /// Life of an access token.
    pub access_ttl: Duration,
    /// Life of an unused refresh token.
    pub refresh_idle_ttl: Duration,
    /// Life of a grant.
    pub refresh_max_ttl: Duration,
}

/// What the upstream said, as far as tokens carry it.
#[derive(Clone, Debug)]
pub struct Vouched {
    /// The person.
    pub subject: Subject,
    /// What else it said.
    pub identity: Identity,
    /// The upstream's access token.
    pub access_token: Secret,
    /// Its end, where it told one.
    pub access_expires_at: Option<Timestamp>,
    /// What the next refresh asks with; none if there is nothing to ask with.
    pub credential: Option<UpstreamCredential>,
}

/// Tokens, ready to be sent.
#[derive(Debug)]
pub struct Minted {
    /// The body of the answer.
    pub body: Secret,
    /// The new refresh token, as the replay store must know it.
    pub refresh: Option<MintedRefresh>,
}

/// A new refresh token, as the replay store must know it.
#[derive(Clone, Copy, Debug)]
pub struct MintedRefresh {
    /// Its hash.
    pub hash: TokenHash,
    /// Its generation.
    pub generation: u64,
}

#[derive(Serialize)]
struct TokenResponse<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    scope: String,
}

/// What stays the same through all rotations of a grant.
struct Grant<'a> {
    id: GrantId,
    issued_at: Timestamp,
    ends_at: Timestamp,
    client: crate::oauth::names::ClientHash,
    auth_method: AuthMethod,
    /// The refresh token keeps the whole of it (OAuth 2.1 §4.3.1).
    scope: &'a Scope,
    upstream: &'a UpstreamName,
    fingerprint: UpstreamFingerprint,
    generation: u64,
}

impl RedeemableCode {
    /// The first tokens of a grant.
    ///
    /// # Errors
    ///
    /// Only for a fault of ours.
    pub fn mint(
        self,
        resource: &ResourceRule,
        vouched: &Vouched,
        terms: Terms<'_>,
        keys: &Keyring,
        now: Timestamp,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Minted, SealError> {
        let code: &AuthorizationCode = self.record();
        let grant = Grant {
            id: code.grant,
            issued_at: code.issued_at,
            ends_at: now.plus(terms.refresh_max_ttl),
            client: code.client,
            auth_method: code.auth_method,
            scope: &code.scope,
            upstream: &code.upstream,
            fingerprint: code.fingerprint,
            generation: 0,
        };
        mint(
            &grant,
            &code.scope,
            resource,
            vouched,
            terms,
            keys,
            now,
            rng,
        )
    }
}

impl AuthenticatedRefresh {
    /// The next tokens of a grant.
    ///
    /// # Errors
    ///
    /// Only for a fault of ours.
    pub fn mint(
        &self,
        resource: &ResourceRule,
        vouched: &Vouched,
        terms: Terms<'_>,
        keys: &Keyring,
        now: Timestamp,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Minted, SealError> {
        let old: &RefreshToken = self.record();
        let grant = Grant {
            id: old.grant,
            issued_at: old.grant_issued_at,
            ends_at: old.grant_ends_at,
            client: old.client,
            auth_method: old.auth_method,
            scope: &old.scope,
            upstream: &old.upstream,
            fingerprint: old.fingerprint,
            generation: old.generation.saturating_add(1),
        };
        mint(
            &grant,
            self.scope(),
            resource,
            vouched,
            terms,
            keys,
            now,
            rng,
        )
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "private; each is a different thing"
)]
fn mint(
    grant: &Grant<'_>,
    scope: &Scope,
    resource: &ResourceRule,
    vouched: &Vouched,
    terms: Terms<'_>,
    keys: &Keyring,
    now: Timestamp,
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<Minted, SealError> {
    let access = access_token(grant, scope, resource, vouched, terms, now, rng);
    let expires_in = access.exp.since(now).as_secs();
    let access = keys.seal(&access, rng)?;
    let refresh = match &vouched.credential {
        Some(credential) => {
            let record = refresh_token(grant, resource, vouched, credential.clone(), terms, now);
            Some(keys.seal(&record, rng)?)
        }
        None => None,
    };
    let body = serde_json::to_string(&TokenResponse {
        access_token: access.as_str(),
        token_type: "Bearer",
        expires_in,
        refresh_token: refresh.as_ref().map(Sealed::as_str),
        scope: scope.to_string(),
    })?;
    let refresh = refresh.map(|token| MintedRefresh {
        hash: TokenHash::of(token.as_str()),
        generation: grant.generation,
    });
    Ok(Minted {
        body: Secret::new(body),
        refresh,
    })
}

fn access_token(
    grant: &Grant<'_>,
    scope: &Scope,
    resource: &ResourceRule,
    vouched: &Vouched,
    terms: Terms<'_>,
    now: Timestamp,
    rng: &mut (impl CryptoRng + ?Sized),
) -> AccessToken {
    let carries = resource.carries;
    let upstream_end = vouched.access_expires_at.filter(|_| carries.upstream_token);
    // No access token outlives its grant.
    let life = access_life(terms.access_ttl, upstream_end, now).min(grant.ends_at.since(now));
    let Identity {
        email,
        preferred_username,
        groups,
    } = carried(&vouched.identity, carries.identity);
    AccessToken {
        iss: terms.issuer.as_str().to_owned(),
        sub: vouched.subject.clone(),
        aud: resource.uri.as_str().to_owned(),
        client_id: grant.client,
        scope: scope.clone(),
        iat: now,
        exp: now.plus(life),
        jti: TokenId::random(rng),
        grant: grant.id,
        grant_issued_at: grant.issued_at,
        fingerprint: grant.fingerprint,
        email,
        preferred_username,
        groups,
        upstream_token: carries.upstream_token.then(|| vouched.access_token.clone()),
    }
}

/// What of the person travels: nothing, where the resource passes nothing on.
fn carried(identity: &Identity, carries: bool) -> Identity {
    if !carries {
        return Identity::default();
    }
    Identity {
        groups: identity
            .groups
            .iter()
            .take(MAX_CARRIED_GROUPS)
            .cloned()
            .collect(),
        ..identity.clone()
    }
}

/// An access token that carries the upstream's ends a little before it: by a quarter of what is
/// left, a minute at most, so that the backend never gets a dead one; but it lives 30 s at least.
fn access_life(configured: Duration, upstream_end: Option<Timestamp>, now: Timestamp) -> Duration {
    let Some(end) = upstream_end else {
        return configured;
    };
    let left = end.since(now);
    let margin = (left / 4).min(Duration::from_secs(60));
    configured.min(left.saturating_sub(margin).max(Duration::from_secs(30)))
}

fn refresh_token(
    grant: &Grant<'_>,
    resource: &ResourceRule,
    vouched: &Vouched,
    credential: UpstreamCredential,
    terms: Terms<'_>,
    now: Timestamp,
) -> RefreshToken {
    RefreshToken {
        subject: vouched.subject.clone(),
        client: grant.client,
        auth_method: grant.auth_method,
        resource: resource.path.clone(),
        scope: grant.scope.clone(),
        grant: grant.id,
        grant_issued_at: grant.issued_at,
        generation: grant.generation,
        grant_ends_at: grant.ends_at,
        instance: terms.instance,
        upstream: grant.upstream.clone(),
        fingerprint: grant.fingerprint,
        credential,
        issued_at: now,
        // OAuth 2.1 §4.3.1: an end when unused, and one in any case.
        expires_at: now.plus(terms.refresh_idle_ttl).min(grant.ends_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_token_ends_before_the_upstream_token_that_it_carries() {
        let now = Timestamp::from_secs(1_000);
        let hour = Duration::from_secs(3_600);
        let life =
            |left: u64| access_life(hour, Some(now.plus(Duration::from_secs(left))), now).as_secs();
        assert_eq!(access_life(hour, None, now), hour);
        assert_eq!(life(7_200), 3_600);
        assert_eq!(life(3_600), 3_540);
        assert_eq!(life(120), 90);
        assert_eq!(life(20), 30);
        assert_eq!(life(0), 30);
    }
}
