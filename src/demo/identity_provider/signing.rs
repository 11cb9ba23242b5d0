//! The demo identity provider's key and the ID tokens that it signs: OpenID Connect Core §2, `ES256`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, errors};
use rand::CryptoRng;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::people::Person;
use crate::oauth::names::Secret;
use crate::time::Timestamp;

/// What stands before the 32 bytes of a P-256 private key in PKCS #8 (RFC 5208, RFC 5915).
const PKCS8: [u8; 35] = [
    0x30, 0x41, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
    0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x27, 0x30, 0x25, 0x02, 0x01,
    0x01, 0x04, 0x20,
];

/// A key that lives as long as the process.
pub(super) struct SigningKey {
    key: EncodingKey,
    kid: String,
    public: Jwk,
}

/// OpenID Connect Core §2, §3.1.3.6.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'static str,
    aud: &'a str,
    iat: Timestamp,
    exp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    at_hash: String,
    name: &'static str,
    preferred_username: &'static str,
    email: &'static str,
    email_verified: bool,
}

/// What an ID token says.
pub(super) struct Statement<'a> {
    pub(super) issuer: &'a str,
    pub(super) audience: &'a str,
    pub(super) person: Person,
    pub(super) nonce: Option<&'a str>,
    pub(super) access_token: &'a Secret,
    pub(super) issued_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

impl SigningKey {
    /// Makes a key. Fails for one draw in 2^32, which is no number below the order of the curve.
    pub(super) fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> errors::Result<Self> {
        let mut der = Zeroizing::new([0; PKCS8.len() + 32]);
        let (prefix, scalar) = der.split_at_mut(PKCS8.len());
        prefix.copy_from_slice(&PKCS8);
        rng.fill_bytes(scalar);
        let key = EncodingKey::from_ec_der(der.as_slice());
        let mut public = Jwk::from_encoding_key(&key, Algorithm::ES256)?;
        let kid = public.thumbprint(ThumbprintHash::SHA256)?;
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { key, kid, public })
    }

    /// The public half, as `jwks_uri` shows it.
    pub(super) fn jwks(&self) -> JwkSet {
        JwkSet {
            keys: vec![self.public.clone()],
        }
    }

    /// Signs an ID token.
    pub(super) fn id_token(&self, statement: &Statement<'_>) -> errors::Result<Secret> {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.clone());
        let claims = Claims {
            iss: statement.issuer,
            sub: statement.person.id(),
            aud: statement.audience,
            iat: statement.issued_at,
            exp: statement.expires_at,
            nonce: statement.nonce,
            at_hash: at_hash(statement.access_token),
            name: statement.person.name(),
            preferred_username: statement.person.id(),
            email: statement.person.email(),
            email_verified: true,
        };
        encode(&header, &claims, &self.key).map(Secret::new)
    }
}

/// OpenID Connect Core §3.1.3.6: the left half of the hash that belongs to the signature's algorithm.
fn at_hash(access_token: &Secret) -> String {
    let digest = Sha256::digest(access_token.expose());
    let half: Vec<u8> = digest.into_iter().take(16).collect();
    URL_SAFE_NO_PAD.encode(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_hash_is_the_left_half() {
        // SHA-256("abc") begins ba7816bf 8f01cfea 414140de 5dae2223.
        assert_eq!(at_hash(&Secret::new("abc")), "ungWv48Bz-pBQUDeXa4iIw");
    }

    #[test]
    fn published_key_has_no_private_part() {
        let key = SigningKey::generate(&mut crate::entropy::rng()).unwrap();
        let jwks = serde_json::to_value(key.jwks()).unwrap();
        let published = jwks["keys"][0].as_object().unwrap();
        assert!(!published.contains_key("d"));
        assert_eq!(published["kid"], key.kid);
        assert_eq!(published["alg"], "ES256");
    }
}
