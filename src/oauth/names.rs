//! The words of the protocol as types: identifiers, hashes and secrets.
//!
//! A hash here is the first 128 bits of SHA-256 over a label and a value. They bind one sealed
//! record to another (a code to its client, say); an attacker would have to find a second
//! preimage, since at least one side is never of their choosing.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::CryptoRng;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// A string that must not be shown: a token, a code, a verifier, a client secret.
///
/// # Security
///
/// No `Display`, no `PartialEq`; `Debug` is redacted; the memory is wiped on drop.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a string into custody.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The bare value.
    ///
    /// # Security
    ///
    /// For the wire and for cryptography only: never log it, never put it into a URL.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares in constant time (the length may show).
    pub fn matches(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// 128 bits, written as 22 characters of base64url.
fn parse_bits(text: &str) -> Option<[u8; 16]> {
    let mut bits = [0; 16];
    // `decode_slice` wants room for its upper estimate.
    let mut room = [0; 18];
    match URL_SAFE_NO_PAD.decode_slice(text, &mut room) {
        Ok(16) => bits.copy_from_slice(room.first_chunk::<16>()?),
        _ => return None,
    }
    Some(bits)
}

/// Reads a value from a string without copying the string.
pub(super) fn read<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expected: &'static str,
    parse: fn(&str) -> Option<T>,
) -> Result<T, D::Error> {
    deserializer.deserialize_str(Text { expected, parse })
}

struct Text<T> {
    expected: &'static str,
    parse: fn(&str) -> Option<T>,
}

impl<T> de::Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        // Not the text itself: it can be a stranger's.
        (self.parse)(text).ok_or_else(|| E::custom(format_args!("not {}", self.expected)))
    }
}

macro_rules! bits128 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Makes one from its bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// Reads the 22 characters that `Display` writes.
            pub fn parse(text: &str) -> Option<Self> {
                parse_bits(text).map(Self)
            }

            /// Compares in constant time.
            pub fn matches(&self, other: &Self) -> bool {
                self.0.ct_eq(&other.0).into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                read(deserializer, "22 characters of base64url", Self::parse)
            }
        }
    };
}

macro_rules! random128 {
    ($(#[$doc:meta])* $name:ident) => {
        bits128!($(#[$doc])* $name);

        impl $name {
            /// Draws a new one.
            pub fn random(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
                let mut bits = [0; 16];
                rng.fill_bytes(&mut bits);
                Self(bits)
            }
        }
    };
}

macro_rules! hash128 {
    ($(#[$doc:meta])* $name:ident, $label:literal) => {
        bits128!($(#[$doc])* $name);

        impl $name {
            /// Hashes a value.
            pub fn of(value: &str) -> Self {
                let digest = Sha256::new()
                    .chain_update($label)
                    .chain_update([0])
                    .chain_update(value.as_bytes())
                    .finalize();
                let mut bits = [0; 16];
                for (to, from) in bits.iter_mut().zip(digest) {
                    *to = from;
                }
                Self(bits)
            }
        }
    };
}

random128! {
    /// What a person gave one client, from the code through every later token (the "family").
    GrantId
}
random128! {
    /// One start of one process: tells tokens of this process from another's.
    InstanceId
}
random128! {
    /// One attempt to redeem a code; settles who holds a claim when an answer was lost.
    AttemptId
}
random128! {
    /// The right to ask the upstream for one rotation of a grant.
    LeaseId
}
random128! {
    /// The `jti` of an access token.
    TokenId
}
hash128! {
    /// A `client_id`, as bound into codes and tokens and as logged.
    ClientHash, "client"
}
hash128! {
    /// The `redirect_uri` of an authorization request, byte for byte.
    RedirectHash, "redirect"
}
hash128! {
    /// The `state` that we sent to the upstream; names and guards the login cookie.
    StateHash, "state"
}
hash128! {
    /// The browser cookie that a consent form belongs to.
    BrowserHash, "browser"
}
hash128! {
    /// A refresh token as presented; the store never holds the token itself.
    TokenHash, "token"
}
hash128! {
    /// The `jti` of a client assertion together with its client.
    AssertionHash, "assertion"
}
hash128! {
    /// Upstream identity: issuer (or token URL) and upstream client id.
    UpstreamFingerprint, "upstream"
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps the text as it is.
            pub fn new(value: impl Into<String>) -> Self {
                Self(value.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text! {
    /// The authorization server's identifier: `public_url`, an origin without a trailing slash
    /// (RFC 8414 §2).
    Issuer
}
text! {
    /// The identifier of a protected resource as clients must send it (RFC 8707 §2).
    ResourceUri
}
text! {
    /// The name that the configuration gives an upstream, `github` in `[upstreams.github]`.
    UpstreamName
}
text! {
    /// A `client_id` as the client sent it: a sealed registration, a metadata document's URL, or a
    /// configured name.
    ClientId
}
text! {
    /// Who signed in: `{upstream}:{stable id}`, never an e-mail address.
    Subject
}

impl ClientId {
    /// The hash that records carry and logs show.
    pub fn hash(&self) -> ClientHash {
        ClientHash::of(&self.0)
    }
}

impl Subject {
    /// Joins an upstream's name and its stable id of the person.
    pub fn of(upstream: &UpstreamName, id: &str) -> Self {
        Self(format!("{upstream}:{id}"))
    }
}

impl UpstreamFingerprint {
    /// The fingerprint of an upstream. `authority` is its issuer, or its token URL without OIDC.
    pub fn of_upstream(authority: &str, client_id: &str) -> Self {
        Self::of(&format!("{authority}\0{client_id}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_read_back() {
        let id = ClientHash::of("x");
        assert_eq!(ClientHash::parse(&id.to_string()), Some(id));
        assert_eq!(id.to_string().len(), 22);
    }

    #[test]
    fn bits_have_one_spelling() {
        // The last character carries two bits only: "B" at the end has stray bits.
        assert!(GrantId::parse("AAAAAAAAAAAAAAAAAAAAAA").is_some());
        assert!(GrantId::parse("AAAAAAAAAAAAAAAAAAAAAB").is_none());
        assert!(GrantId::parse("AAAAAAAAAAAAAAAAAAAAAA==").is_none());
        assert!(GrantId::parse("AAAA").is_none());
    }

    #[test]
    fn hashes_of_different_things_differ() {
        assert_ne!(
            ClientHash::of("x").as_bytes(),
            RedirectHash::of("x").as_bytes()
        );
    }

    #[test]
    fn secret_hides_in_debug() {
        assert!(!format!("{:?}", Secret::new("hunter2")).contains("hunter2"));
    }
}
