//! Client assertions, `private_key_jwt`: RFC 7523 §3, OIDC Core §9.
//!
//! Refuses assertions for another audience, without an end or with one that is far away, and with a
//! subject that is not the client. The `jti` is claimed by the replay store, after every other check.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::JwkSet;
use serde_json::Value;

use crate::oauth::client::Authenticated;
use crate::oauth::jws::{self, Claims, JwsError};
use crate::oauth::names::{AssertionHash, ClientId};
use crate::time::Timestamp;

/// What is accepted; the metadata lists the same.
pub const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::RS256,
    Algorithm::PS256,
    Algorithm::ES256,
    Algorithm::EdDSA,
];
/// How far away an assertion's end may be.
const MAX_LIFE: u64 = 3_600;
/// Clock skew that is forgiven.
const SKEW: u64 = 60;
/// Longest `jti`.
const MAX_JTI: usize = 512;

/// Who must have made the assertion, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedAssertion<'a> {
    /// The client.
    pub client_id: &'a ClientId,
    /// The issuer, and the token endpoint's URL.
    pub audiences: &'a [&'a str],
    /// The time.
    pub now: Timestamp,
}

/// Why an assertion is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// The signature.
    #[error(transparent)]
    Signature(#[from] JwsError),
    /// A claim is missing, of the wrong type, or says the wrong thing.
    #[error("the claim {0} is not acceptable")]
    Claim(&'static str),
}

/// An assertion that passed every check but that of its single use.
#[derive(Debug)]
pub struct VerifiedAssertion {
    /// What must be claimed, and for how long.
    pub single_use: (AssertionHash, Duration),
    /// The proof.
    pub proof: Authenticated,
}

/// Checks an assertion.
///
/// # Errors
///
/// [`AssertionError`].
pub fn verify(
    jwt: &str,
    keys: &JwkSet,
    expected: ExpectedAssertion<'_>,
) -> Result<VerifiedAssertion, AssertionError> {
    let claims = jws::verify(jwt, keys, &ALGORITHMS)?;
    let single_use = check(&claims, expected)?;
    Ok(VerifiedAssertion {
        single_use,
        proof: Authenticated::by_assertion(),
    })
}

fn check(
    claims: &Claims,
    expected: ExpectedAssertion<'_>,
) -> Result<(AssertionHash, Duration), AssertionError> {
    let wrong = AssertionError::Claim;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let id = expected.client_id.as_str();
    let now = expected.now.as_secs();
    // RFC 7523 §3, 1 and 2: for client authentication both are the client.
    if text("iss") != Some(id) {
        return Err(wrong("iss"));
    }
    if text("sub") != Some(id) {
        return Err(wrong("sub"));
    }
    // RFC 7523 §3, 3: one audience; more would let another server use it here.
    let audience = match claims.get("aud") {
        Some(Value::String(one)) => Some(one.as_str()),
        Some(Value::Array(list)) if list.len() == 1 => list.first().and_then(Value::as_str),
        _ => None,
    };
    if !audience.is_some_and(|it| expected.audiences.contains(&it)) {
        return Err(wrong("aud"));
    }
    // RFC 7523 §3, 4 to 6.
    let end = jws::time(claims, "exp")
        .map_err(wrong)?
        .ok_or_else(|| wrong("exp"))?;
    if end.saturating_add(SKEW) <= now || end > now + MAX_LIFE {
        return Err(wrong("exp"));
    }
    if jws::time(claims, "nbf")
        .map_err(wrong)?
        .is_some_and(|it| it > now + SKEW)
    {
        return Err(wrong("nbf"));
    }
    if jws::time(claims, "iat")
        .map_err(wrong)?
        .is_some_and(|it| it > now + SKEW)
    {
        return Err(wrong("iat"));
    }
    // RFC 7523 §3, 7: required here, since single use depends on it.
    let jti = text("jti")
        .filter(|it| !it.is_empty() && it.len() <= MAX_JTI)
        .ok_or_else(|| wrong("jti"))?;
    let remembered = Duration::from_secs((end + 2 * SKEW).saturating_sub(now));
    Ok((AssertionHash::of(&format!("{id}\0{jti}")), remembered))
}
