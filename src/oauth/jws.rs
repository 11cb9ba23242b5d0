//! Signed JWTs of others: client assertions (RFC 7523). RFC 7515, RFC 7519, RFC 8725.
//!
//! Pure: keys and time are arguments. Refuses every algorithm that is not listed, shared keys, keys
//! for other uses, and claims of the wrong type: what cannot be read is not the same as absent.

use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde_json::{Map, Value};

/// Longest token that is looked at.
pub const MAX_TOKEN: usize = 16 * 1024;
/// Keys of a set that are tried at most.
const MAX_KEYS: usize = 8;

/// The claims of a token whose signature is right.
pub type Claims = Map<String, Value>;

/// Why a signature is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Not three parts of base64url with JSON in them.
    #[error("the token is malformed")]
    Malformed,
    /// RFC 8725 §3.1
    #[error("the algorithm is not accepted")]
    Algorithm,
    /// The set holds no key that could have signed it; a newer set may.
    #[error("no key fits")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the signature is wrong")]
    Signature,
}

/// Checks a token's signature.
///
/// # Errors
///
/// [`JwsError`].
pub fn verify(token: &str, keys: &JwkSet, algorithms: &[Algorithm]) -> Result<Claims, JwsError> {
    if token.len() > MAX_TOKEN {
        return Err(JwsError::Malformed);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| JwsError::Malformed)?;
    if !algorithms.contains(&header.alg) {
        return Err(JwsError::Algorithm);
    }
    let candidates: Vec<_> = keys
        .keys
        .iter()
        .filter(|key| may_have_signed(key, &header))
        .collect();
    if candidates.is_empty() {
        return Err(JwsError::UnknownKey);
    }
    let mut validation = Validation::new(header.alg);
    // Claims are the caller's business, against the caller's clock.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    candidates
        .into_iter()
        .take(MAX_KEYS)
        .filter_map(|key| DecodingKey::from_jwk(key).ok())
        .find_map(|key| jsonwebtoken::decode::<Claims>(token, &key, &validation).ok())
        .map(|verified| verified.claims)
        .ok_or(JwsError::Signature)
}

fn may_have_signed(key: &Jwk, header: &Header) -> bool {
    let common = &key.common;
    // RFC 7517 §4.2, §4.4, §4.5
    let for_signing = common
        .public_key_use
        .as_ref()
        .is_none_or(|it| *it == PublicKeyUse::Signature);
    let same_algorithm = common
        .key_algorithm
        .as_ref()
        .is_none_or(|it| it.to_string() == format!("{:?}", header.alg));
    let same_id = header
        .kid
        .as_ref()
        .is_none_or(|kid| common.key_id.as_ref() == Some(kid));
    for_signing && same_algorithm && same_id && key.is_supported()
}

/// A claim that is a time, read strictly: absent is `None`, another type is an error.
///
/// # Errors
///
/// The claim's name, when it is there and not a number.
pub fn time(claims: &Claims, name: &'static str) -> Result<Option<u64>, &'static str> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    // RFC 7519 §2: NumericDate may have a fraction.
    let whole = value.as_u64();
    let fraction = || {
        value
            .as_f64()
            .filter(|it| (0.0..1e12).contains(it))
            .map(f64::floor)
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within 0 to 1e12"
    )]
    whole
        .or_else(|| fraction().map(|it| it as u64))
        .map(Some)
        .ok_or(name)
}
