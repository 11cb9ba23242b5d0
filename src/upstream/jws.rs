//! Signed tokens: JWS compact serialization (RFC 7515 §7.1), public-key algorithms only.
//!
//! The signature itself is checked by `jsonwebtoken`; the shape is checked here, first. Refuses
//! `none` and every shared-secret algorithm, `crit`, unencoded payloads, repeated or wrong-typed
//! header members, and any spelling of base64url but the canonical one. Keys inside the header
//! (`jwk`, `jku`, `x5c`, `x5u`) are never looked at.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use crate::net::json;

/// Longest token.
const MAX_TOKEN: usize = 32 * 1024;

/// Why a token is not acceptable: for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl From<&str> for Invalid {
    fn from(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

/// The algorithms that we accept (RFC 7518 §3.1, RFC 8037, RFC 9864).
const ALGORITHMS: [(&str, Algorithm); 10] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
    ("Ed25519", Algorithm::EdDSA),
];

/// A token whose shape is right and whose signature is not checked yet.
#[derive(Debug)]
pub struct Jws<'a> {
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// The name of its key.
    pub kid: Option<String>,
    /// Its type.
    pub typ: Option<String>,
    pub(super) signed: &'a str,
    pub(super) signature: &'a str,
    pub(super) payload: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    ///
    /// [`Invalid`].
    pub fn parse(token: &'a str) -> Result<Self, Invalid> {
        if token.len() > MAX_TOKEN {
            return Err("the token is too long".into());
        }
        let (signed, signature) = token.rsplit_once('.').ok_or("not three segments")?;
        let (header, payload) = signed.split_once('.').ok_or("not three segments")?;
        if payload.contains('.') {
            return Err("not three segments".into());
        }
        let decode = |segment: &str| {
            URL_SAFE_NO_PAD
                .decode(segment)
                .map_err(|_| Invalid::from("not canonical base64url"))
        };
        let header = json::parse_object(&decode(header)?)
            .map_err(|_| "the header is not a JSON object, or repeats a member")?;
        // RFC 7515 §4.1.11: we understand no extension. RFC 7797, RFC 7516: neither of these.
        if ["crit", "b64", "enc", "zip"]
            .iter()
            .any(|it| header.contains_key(*it))
        {
            return Err("the header asks for something unusual".into());
        }
        let name = text(&header, "alg")?.ok_or("alg is missing")?;
        // RFC 8725 §3.1, §3.2: a pinned list.
        let algorithm = algorithm(&name).ok_or("alg is not one that is accepted")?;
        decode(signature)?;
        Ok(Self {
            algorithm,
            kid: text(&header, "kid")?,
            typ: text(&header, "typ")?,
            signed,
            signature,
            payload: decode(payload)?,
        })
    }
}

/// An algorithm of the list by its name.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    let known = ALGORITHMS.iter().find(|(known, _)| *known == name);
    known.map(|(_, algorithm)| *algorithm)
}

fn text(members: &Map<String, Value>, name: &str) -> Result<Option<String>, Invalid> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Invalid(format!("{name} is not text"))),
    }
}
