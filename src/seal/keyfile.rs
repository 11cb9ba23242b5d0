//! Root keys as JWK (RFC 7517 §4, RFC 7518 §6.4): one per file, or a set in one variable.
//!
//! Refuses passphrases, keys that are not 256 bits, a `kid` that is not the key's own, and members
//! that it does not know: a misspelt `state` must not turn into a default.

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::jwe::BASE64;
use super::keyring::Kid;
use crate::oauth::names::Secret;
use crate::time::Timestamp;

/// What a root key may still do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Seals; of several, the one that was activated last.
    Active,
    /// Opens only: known to every replica before it seals, or still opening what it sealed.
    Accept,
    /// Opens client registrations only.
    Retired,
    /// Opens nothing.
    Revoked,
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Active => "active",
            Self::Accept => "accept",
            Self::Retired => "retired",
            Self::Revoked => "revoked",
        })
    }
}

/// One root key: 256 random bits, from which every wrapping key is derived.
pub struct RootKey {
    kid: Kid,
    secret: Zeroizing<[u8; 32]>,
    /// What it may do.
    pub state: KeyState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it began to seal, if it did.
    pub activated_at: Option<Timestamp>,
}

/// A JWK as written in a file. The three last members are ours.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Jwk {
    kty: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "use")]
    public_key_use: Option<String>,
    k: Secret,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    created_at: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    activated_at: Option<u64>,
}

/// RFC 7517 §5.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JwkSet {
    keys: Vec<Jwk>,
}

impl RootKey {
    /// Draws a new key.
    pub fn generate(state: KeyState, now: Timestamp, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        rng.fill_bytes(secret.as_mut_slice());
        Self {
            kid: Kid::of(&secret),
            secret,
            state,
            created_at: now,
            activated_at: (state == KeyState::Active).then_some(now),
        }
    }

    /// Its id.
    pub const fn kid(&self) -> &Kid {
        &self.kid
    }

    /// Of several keys, the one that seals: active, and activated last.
    pub fn sealing<'a>(keys: impl IntoIterator<Item = &'a Self>) -> Option<&'a Self> {
        keys.into_iter()
            .filter(|key| key.state == KeyState::Active)
            .max_by_key(|key| (key.activated_at, key.kid()))
    }

    pub(super) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// Reads one JWK. `place` names it in the error.
    pub fn from_jwk(json: &str, place: &str) -> Result<Self, KeyError> {
        let jwk: Jwk = serde_json::from_str(json).map_err(|error| unreadable(place, &error))?;
        jwk.check(place)
    }

    /// Reads a JWK set, as `MCP_OAUTH_KEYS` holds it.
    pub fn from_jwk_set(json: &str, place: &str) -> Result<Vec<Self>, KeyError> {
        let set: JwkSet = serde_json::from_str(json).map_err(|error| unreadable(place, &error))?;
        (1..)
            .zip(&set.keys)
            .map(|(number, jwk)| jwk.check(&format!("{place}, key {number}")))
            .collect()
    }

    /// Writes it as a JWK.
    ///
    /// # Security
    ///
    /// The text holds the bare key.
    pub fn to_jwk(&self) -> Secret {
        let jwk = Jwk {
            kty: "oct".to_owned(),
            kid: Some(self.kid.to_string()),
            alg: Some("A256KW".to_owned()),
            public_key_use: None,
            k: Secret::new(BASE64.encode(self.secret.as_slice())),
            state: Some(self.state.to_string()),
            created_at: Some(self.created_at.as_secs()),
            activated_at: self.activated_at.map(Timestamp::as_secs),
        };
        // A struct of strings and numbers always becomes JSON.
        Secret::new(serde_json::to_string_pretty(&jwk).unwrap_or_default())
    }
}

/// A JWK set with one fresh key, active at once, that nobody keeps: for demos and tests.
///
/// # Security
///
/// The text holds the bare key.
pub fn passing_keys(now: Timestamp, rng: &mut (impl CryptoRng + ?Sized)) -> Secret {
    let key = RootKey::generate(KeyState::Active, now, rng);
    Secret::new(format!(r#"{{"keys":[{}]}}"#, key.to_jwk().expose()))
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootKey")
            .field("kid", &self.kid)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Jwk {
    fn check(&self, place: &str) -> Result<RootKey, KeyError> {
        let wrong = |problem| {
            Err(KeyError::Unfit {
                place: place.to_owned(),
                problem,
            })
        };
        if self.kty != "oct" {
            return wrong(KeyProblem::NotSymmetric);
        }
        if self.alg.as_deref().is_some_and(|alg| alg != "A256KW") {
            return wrong(KeyProblem::OtherAlgorithm);
        }
        if self.public_key_use.as_deref().is_some_and(|it| it != "enc") {
            return wrong(KeyProblem::OtherUse);
        }
        let Ok(bytes) = BASE64.decode(self.k.expose()).map(Zeroizing::new) else {
            return wrong(KeyProblem::Passphrase);
        };
        let Ok(secret) = <[u8; 32]>::try_from(bytes.as_slice()).map(Zeroizing::new) else {
            return wrong(KeyProblem::Length(bytes.len()));
        };
        if !looks_random(&secret) {
            return wrong(KeyProblem::Passphrase);
        }
        let kid = Kid::of(&secret);
        if self.kid.as_ref().is_some_and(|it| *it != kid.to_string()) {
            return wrong(KeyProblem::WrongKid(kid));
        }
        let state = match self.state.as_deref() {
            None | Some("active") => KeyState::Active,
            Some("accept") => KeyState::Accept,
            Some("retired") => KeyState::Retired,
            Some("revoked") => KeyState::Revoked,
            Some(_) => return wrong(KeyProblem::UnknownState),
        };
        Ok(RootKey {
            kid,
            secret,
            state,
            created_at: Timestamp::from_secs(self.created_at.unwrap_or_default()),
            activated_at: self.activated_at.map(Timestamp::from_secs),
        })
    }
}

/// Whether 32 bytes can be the work of a random generator: text cannot, nor can repeated bytes.
/// Random bytes fail this once in about 10^13.
fn looks_random(secret: &[u8; 32]) -> bool {
    let text = secret.iter().all(|byte| (0x20..0x7f).contains(byte));
    let distinct = std::collections::BTreeSet::from(*secret).len();
    !text && distinct >= 16
}

/// Turns a parser's error into one that cannot quote key material.
fn unreadable(place: &str, error: &serde_json::Error) -> KeyError {
    let text = error.to_string();
    let quotes_names_only = ["unknown field", "missing field", "duplicate field"]
        .iter()
        .any(|start| text.starts_with(start));
    KeyError::Unfit {
        place: place.to_owned(),
        problem: if quotes_names_only {
            KeyProblem::Members(text)
        } else if error.is_data() {
            KeyProblem::Shape(error.line(), error.column())
        } else {
            KeyProblem::NotJson(error.line(), error.column())
        },
    }
}

/// What is wrong with one key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyProblem {
    /// Not JSON.
    #[error("it is not JSON (line {0}, column {1})")]
    NotJson(usize, usize),
    /// JSON of another shape.
    #[error("a member has the wrong type (line {0}, column {1})")]
    Shape(usize, usize),
    /// A member is missing, unknown or given twice.
    #[error("{0}")]
    Members(String),
    /// Not `"kty": "oct"`.
    #[error("it is not a symmetric key: `kty` must be \"oct\"")]
    NotSymmetric,
    /// Made for another algorithm.
    #[error("it is made for another algorithm: leave `alg` out or make it \"A256KW\"")]
    OtherAlgorithm,
    /// Made for another use.
    #[error("it is made for another use: leave `use` out or make it \"enc\"")]
    OtherUse,
    /// Text instead of random bytes.
    #[error(
        "`k` is not a random key but a passphrase or a pattern: make a key with `mcp-oauth keys generate`"
    )]
    Passphrase,
    /// Not 256 bits.
    #[error("`k` holds {0} bytes, not 32 (256 bits): make a key with `mcp-oauth keys generate`")]
    Length(usize),
    /// A `kid` that is not derived from the key.
    #[error("its `kid` does not belong to this key: write \"{0}\", or leave `kid` out")]
    WrongKid(Kid),
    /// A state that does not exist.
    #[error("its `state` must be \"active\", \"accept\", \"retired\" or \"revoked\"")]
    UnknownState,
}

/// Why the keys could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A file or the directory could not be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A key is not fit for use.
    #[error("{place}: {problem}")]
    Unfit {
        /// Which key.
        place: String,
        /// What is wrong with it.
        problem: KeyProblem,
    },
    /// Two keys are the same.
    #[error("the key {0} is there twice: remove one of the two")]
    Twice(Kid),
    /// There is no key at all.
    #[error("there is no key in {0}: make one with `mcp-oauth keys generate`")]
    Missing(String),
    /// No key may seal.
    #[error(
        "none of the keys in {0} is active: make one so with `mcp-oauth keys rotate --promote`"
    )]
    NoneActive(String),
    /// Key derivation failed, which it does for absurd lengths only.
    #[error("a wrapping key cannot be derived")]
    Derivation,
}
