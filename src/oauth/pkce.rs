//! Proof Key for Code Exchange: RFC 7636, `S256` only.
//!
//! Refuses `plain`, a missing challenge, and everything outside the grammar (RFC 9700 §2.1.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::oauth::names::Secret;

/// The method that we support and advertise.
pub const METHOD: &str = "S256";

/// A challenge as `S256` makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeChallenge(String);

/// Why a challenge was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.description())]
pub enum InvalidChallenge {
    /// None was sent.
    Missing,
    /// Another method, or none named (which would mean `plain`).
    Method,
    /// Not what SHA-256 and base64url make.
    Form,
}

impl InvalidChallenge {
    /// The same for the wire.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Missing => "code_challenge is missing: PKCE with S256 is required",
            Self::Method => "code_challenge_method must be S256",
            Self::Form => "code_challenge must be 43 characters of base64url",
        }
    }
}

impl CodeChallenge {
    /// Checks the two parameters of an authorization request.
    pub fn parse(challenge: Option<&str>, method: Option<&str>) -> Result<Self, InvalidChallenge> {
        // RFC 7636 §4.4.1, OAuth 2.1 §4.1.1: a request without a challenge is refused.
        let challenge = challenge.ok_or(InvalidChallenge::Missing)?;
        // RFC 7636 §4.3: an absent method means `plain`, which we do not support.
        if method != Some(METHOD) {
            return Err(InvalidChallenge::Method);
        }
        // RFC 7636 §4.2: BASE64URL-ENCODE(SHA256(…)), which is 43 characters in one spelling.
        match URL_SAFE_NO_PAD.decode(challenge) {
            Ok(bytes) if bytes.len() == 32 => Ok(Self(challenge.to_owned())),
            _ => Err(InvalidChallenge::Form),
        }
    }

    /// The challenge that belongs to a verifier.
    pub fn of(verifier: &Secret) -> Self {
        Self(URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose())))
    }

    /// The 43 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 43 characters.
    pub fn into_string(self) -> String {
        self.0
    }
}

/// A verifier that keeps to the grammar.
#[derive(Clone, Debug)]
pub struct CodeVerifier(Secret);

impl CodeVerifier {
    /// Checks the parameter of a token request; `None` if it breaks the grammar.
    pub fn parse(verifier: &str) -> Option<Self> {
        // RFC 7636 §4.1: code-verifier = 43*128unreserved
        // unreserved = ALPHA / DIGIT / "-" / "." / "_" / "~"
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let length = 43..=128;
        (length.contains(&verifier.len()) && verifier.bytes().all(fits))
            .then(|| Self(Secret::new(verifier)))
    }

    /// Whether `challenge` was made from this verifier. Constant time.
    pub fn proves(&self, challenge: &str) -> bool {
        // RFC 7636 §4.6
        CodeChallenge::of(&self.0)
            .0
            .as_bytes()
            .ct_eq(challenge.as_bytes())
            .into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// What a server must make of one case of the corpus.
    fn judge(case: &Value) -> &'static str {
        let text = |name: &str| case[name].as_str().unwrap();
        let method = Some(text("method")).filter(|it| !it.is_empty());
        let challenge = match CodeChallenge::parse(Some(text("challenge")), method) {
            Ok(challenge) => challenge,
            Err(InvalidChallenge::Method) => return "reject-method",
            Err(_) => return "reject-challenge",
        };
        let verifier = text("verifier");
        match CodeVerifier::parse(verifier) {
            None if (43..=128).contains(&verifier.len()) => "reject-charset",
            None => "reject-length",
            Some(verifier) if verifier.proves(challenge.as_str()) => "match",
            Some(_) => "mismatch",
        }
    }

    // A7, TC2
    #[test]
    fn corpus_is_judged_as_expected() {
        let corpus = include_str!("../../tests/vectors/rfc/pkce.json");
        let corpus: Value = serde_json::from_str(corpus).unwrap();
        let cases = corpus["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 27);
        for case in cases {
            assert_eq!(judge(case), case["expect"], "{}", case["id"]);
        }
    }

    proptest! {
        #[test]
        fn only_the_right_verifier_proves(a in "[A-Za-z0-9._~-]{43,128}", b in "[A-Za-z0-9._~-]{43,128}") {
            let challenge = CodeChallenge::of(&Secret::new(&*a));
            prop_assert!(CodeVerifier::parse(&a).unwrap().proves(challenge.as_str()));
            prop_assert_eq!(CodeVerifier::parse(&b).unwrap().proves(challenge.as_str()), a == b);
        }
    }
}
