//! A provider's public keys: JWK sets (RFC 7517 §5).
//!
//! A key that cannot be used is skipped, so that one odd entry does not lock everybody out. Refuses
//! symmetric and private keys, and keys that say they are for something else than this signature.

use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use super::jws::{Invalid, Jws};
use crate::net::json;

/// Most keys that are looked at.
const MAX_KEYS: usize = 64;

/// The public keys of a provider.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    kid: Option<String>,
    algorithms: &'static [Algorithm],
    /// The one algorithm that the key is for, where it says so.
    only: Option<String>,
    key: DecodingKey,
}

/// Why a signature was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The set does not hold the key; another fetch may help.
    #[error("no key of the provider fits the token")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the signature is wrong")]
    Wrong,
}

impl KeySet {
    /// Reads a set.
    ///
    /// # Errors
    ///
    /// [`Invalid`], if it is no set.
    pub fn parse(document: &[u8]) -> Result<Self, Invalid> {
        let value = json::parse(document).map_err(|_| "the key set is not JSON")?;
        Self::from_value(&value)
    }

    pub(super) fn from_value(value: &Value) -> Result<Self, Invalid> {
        let keys = value.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or("the key set has no keys")?;
        let usable = keys
            .iter()
            .filter_map(Value::as_object)
            .filter_map(Key::read);
        Ok(Self {
            keys: usable.take(MAX_KEYS).collect(),
        })
    }

    /// Whether the key set has signed a token.
    ///
    /// # Errors
    ///
    /// [`SignatureError`].
    pub fn verify(&self, token: &Jws<'_>) -> Result<(), SignatureError> {
        let fitting: Vec<_> = self.keys.iter().filter(|key| key.fits(token)).collect();
        // OpenID Connect Core §10.1: without a name, there must be only one key to mean.
        if fitting.is_empty() || (token.kid.is_none() && fitting.len() > 1) {
            return Err(SignatureError::UnknownKey);
        }
        let signed = |key: &&Key| {
            let message = token.signed.as_bytes();
            jsonwebtoken::crypto::verify(token.signature, message, &key.key, token.algorithm)
                .unwrap_or(false)
        };
        if fitting.iter().any(signed) {
            Ok(())
        } else {
            Err(SignatureError::Wrong)
        }
    }
}

impl Key {
    fn read(members: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        // RFC 7517 §4.2, §4.3
        let for_signatures = members.get("use").is_none_or(|it| it == "sig");
        let may_verify = members.get("key_ops").is_none_or(|operations| {
            let operations = operations.as_array().into_iter().flatten();
            operations.into_iter().any(|it| it == "verify")
        });
        // A private key that was published is nobody's proof any more.
        if !for_signatures || !may_verify || members.contains_key("d") {
            return None;
        }
        let (algorithms, key): (&'static [Algorithm], _) = match (text("kty")?, text("crv")) {
            ("RSA", _) => (
                &RSA,
                DecodingKey::from_rsa_components(text("n")?, text("e")?),
            ),
            ("EC", Some("P-256")) => (&P256, ec(text("x")?, text("y")?)),
            ("EC", Some("P-384")) => (&P384, ec(text("x")?, text("y")?)),
            ("OKP", Some("Ed25519")) => (&ED25519, DecodingKey::from_ed_components(text("x")?)),
            _ => return None,
        };
        Some(Self {
            kid: text("kid").map(str::to_owned),
            algorithms,
            only: text("alg").map(str::to_owned),
            key: key.ok()?,
        })
    }

    fn fits(&self, token: &Jws<'_>) -> bool {
        let named = match (&token.kid, &self.kid) {
            (Some(wanted), Some(kid)) => wanted == kid,
            (Some(_), None) => false,
            (None, _) => true,
        };
        let meant = self
            .only
            .as_ref()
            .is_none_or(|only| super::jws::algorithm(only) == Some(token.algorithm));
        named && meant && self.algorithms.contains(&token.algorithm)
    }
}

fn ec(x: &str, y: &str) -> Result<DecodingKey, jsonwebtoken::errors::Error> {
    DecodingKey::from_ec_components(x, y)
}

const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];
const P256: [Algorithm; 1] = [Algorithm::ES256];
const P384: [Algorithm; 1] = [Algorithm::ES384];
const ED25519: [Algorithm; 1] = [Algorithm::EdDSA];
