//! ID tokens: OpenID Connect Core §3.1.3.7.
//!
//! Refuses every algorithm but the pinned ones, and claims of the wrong type: a claim that cannot be
//! read is not the same as one that is absent.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::time::Timestamp;

/// Algorithms that are accepted: asymmetric ones only.
const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// Clock skew that is forgiven.
const SKEW: u64 = 60;

/// What an ID token must say.
#[derive(Debug)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    /// None at a refresh.
    pub(super) nonce: Option<&'a str>,
    pub(super) access_token: &'a str,
    pub(super) now: Timestamp,
}

/// Why an ID token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum IdTokenError {
    #[error("the ID token is malformed")]
    Malformed,
    #[error("the ID token's algorithm is not accepted")]
    Algorithm,
    #[error("no key of the issuer fits the ID token")]
    UnknownKey,
    #[error("the ID token's signature is wrong")]
    Signature,
    #[error("the ID token's {0} is not acceptable")]
    Claim(&'static str),
}

/// The claims of an ID token that passed every check.
pub(super) type Claims = Map<String, Value>;

/// The header, before any key is looked for.
pub(super) fn header(token: &str) -> Result<Header, IdTokenError> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| IdTokenError::Malformed)?;
    if ALGORITHMS.contains(&header.alg) {
        Ok(header)
    } else {
        Err(IdTokenError::Algorithm)
    }
}

/// The keys of a set that may have signed a token with this header.
pub(super) fn candidates<'a>(keys: &'a JwkSet, header: &Header) -> Vec<&'a Jwk> {
    let signs = |key: &&Jwk| {
        let common = &key.common;
        common
            .public_key_use
            .as_ref()
            .is_none_or(|it| *it == PublicKeyUse::Signature)
            && header
                .kid
                .as_ref()
                .is_none_or(|kid| common.key_id.as_ref() == Some(kid))
            && key.is_supported()
    };
    keys.keys.iter().filter(signs).collect()
}

/// Checks signature and claims.
pub(super) fn verify(
    token: &str,
    keys: &JwkSet,
    expected: &Expected<'_>,
) -> Result<Claims, IdTokenError> {
    let header = header(token)?;
    let candidates = candidates(keys, &header);
    if candidates.is_empty() {
        return Err(IdTokenError::UnknownKey);
    }
    let mut validation = Validation::new(header.alg);
    // Times and names are checked below, type-strict and against our own clock.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let claims = candidates
        .into_iter()
        .filter_map(|key| DecodingKey::from_jwk(key).ok())
        .find_map(|key| jsonwebtoken::decode::<Claims>(token, &key, &validation).ok())
        .ok_or(IdTokenError::Signature)?
        .claims;
    check(&claims, header.alg, expected)?;
    Ok(claims)
}

fn check(claims: &Claims, alg: Algorithm, expected: &Expected<'_>) -> Result<(), IdTokenError> {
    let wrong = |name| Err(IdTokenError::Claim(name));
    let now = expected.now.as_secs();
    if claims.get("iss").and_then(Value::as_str) != Some(expected.issuer) {
        return wrong("iss");
    }
    if claims
        .get("sub")
        .and_then(Value::as_str)
        .is_none_or(str::is_empty)
    {
        return wrong("sub");
    }
    if !audience(claims, expected.client_id) {
        return wrong("aud");
    }
    match number(claims, "exp")? {
        Some(exp) if exp + SKEW > now => {}
        _ => return wrong("exp"),
    }
    match number(claims, "iat")? {
        Some(iat) if iat <= now + SKEW => {}
        _ => return wrong("iat"),
    }
    if number(claims, "nbf")?.is_some_and(|nbf| nbf > now + SKEW) {
        return wrong("nbf");
    }
    if let Some(nonce) = expected.nonce
        && claims.get("nonce").and_then(Value::as_str) != Some(nonce)
    {
        return wrong("nonce");
    }
    at_hash(claims, alg, expected.access_token)
}

/// OIDC Core §3.1.3.7, 3 to 5.
fn audience(claims: &Claims, client_id: &str) -> bool {
    let (ours, several) = match claims.get("aud") {
        Some(Value::String(one)) => (one == client_id, false),
        Some(Value::Array(many)) => {
            let all_text = many.iter().all(Value::is_string);
            (
                all_text && many.iter().any(|it| it == client_id),
                many.len() > 1,
            )
        }
        _ => (false, false),
    };
    match claims.get("azp") {
        None => ours && !several,
        Some(azp) => ours && azp == client_id,
    }
}

fn number(claims: &Claims, name: &'static str) -> Result<Option<u64>, IdTokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value
            .as_u64()
            .or_else(|| {
                value
                    .as_f64()
                    .filter(|it| *it >= 0.0 && *it < 1e15)
                    .map(|it| it as u64)
            })
            .map(Some)
            .ok_or(IdTokenError::Claim(name)),
    }
}

/// OIDC Core §3.1.3.8: the left half of the access token's hash, if the claim is there.
fn at_hash(claims: &Claims, alg: Algorithm, access_token: &str) -> Result<(), IdTokenError> {
    let Some(claimed) = claims.get("at_hash") else {
        return Ok(());
    };
    let digest = match alg {
        Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => {
            Sha384::digest(access_token).to_vec()
        }
        Algorithm::RS512 | Algorithm::EdDSA => Sha512::digest(access_token).to_vec(),
        _ => Sha256::digest(access_token).to_vec(),
    };
    let half = digest.get(..digest.len() / 2).unwrap_or_default();
    let right = claimed.as_str() == Some(&URL_SAFE_NO_PAD.encode(half));
    if right {
        Ok(())
    } else {
        Err(IdTokenError::Claim("at_hash"))
    }
}
