//! ID tokens: OpenID Connect Core 1.0 §3.1.3.7, §3.1.3.8, §12.2.
//!
//! Every claim that a check needs is read by its type: one of the wrong type is refused, never
//! counted as absent. Refuses other issuers and audiences, tokens of other kinds, an end that has
//! passed, a beginning that lies ahead (60 s of skew), another nonce, and an `at_hash` of another
//! access token. `now` is an argument.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::discovery::TENANT;
use super::jwks::{KeySet, SignatureError};
use super::jws::{Invalid, Jws};
use crate::net::json;
use crate::oauth::names::Secret;
use crate::time::Timestamp;

/// How far the provider's clock may be off.
const SKEW: u64 = 60;

/// What a token must say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The issuer; a shared tenant's has `{tenantid}` in place of the tenant.
    pub issuer: &'a str,
    /// Other spellings of it.
    pub issuer_aliases: &'a [String],
    /// Our client id.
    pub client_id: &'a str,
    /// The nonce; none at a refresh.
    pub nonce: Option<&'a Secret>,
    /// The access token that came with it.
    pub access_token: &'a Secret,
    /// The time.
    pub now: Timestamp,
}

/// Why a token was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The provider's keys at hand do not hold the one it was signed with.
    #[error("no key of the provider fits the ID token")]
    UnknownKey,
    /// It must not be believed.
    #[error("ID token: {0}")]
    Invalid(#[from] Invalid),
}

impl From<&str> for Rejected {
    fn from(reason: &str) -> Self {
        Self::Invalid(reason.into())
    }
}

/// Validates a token and returns its claims.
///
/// # Errors
///
/// [`Rejected`].
pub fn validate(token: &Secret, keys: &KeySet, expected: Expected<'_>) -> Result<Value, Rejected> {
    let jws = Jws::parse(token.expose())?;
    // RFC 8725 §3.11: a token of another kind must not pass for this one.
    let typ = jws.typ.as_deref().unwrap_or("JWT").to_ascii_lowercase();
    if !matches!(typ.as_str(), "jwt" | "application/jwt") {
        return Err("it is a token of another kind".into());
    }
    keys.verify(&jws).map_err(|error| match error {
        SignatureError::UnknownKey => Rejected::UnknownKey,
        SignatureError::Wrong => "the signature is wrong".into(),
    })?;
    let claims = json::parse_object(&jws.payload)
        .map_err(|_| Invalid::from("the claims are not a JSON object, or repeat a member"))?;
    let claims = Claims(claims);
    claims.check(jws.algorithm, expected)?;
    Ok(Value::Object(claims.0))
}

struct Claims(Map<String, Value>);

impl Claims {
    fn check(&self, algorithm: Algorithm, expected: Expected<'_>) -> Result<(), Invalid> {
        self.issuer(&expected)?;
        self.audience(expected.client_id)?;
        self.times(expected.now)?;
        if let Some(nonce) = expected.nonce {
            // Core §3.1.3.7 (11)
            let claim = self.text("nonce")?.ok_or("nonce is missing")?;
            if !nonce.matches(claim) {
                return Err("nonce is another sign-in's".into());
            }
        }
        // Core §3.1.3.8
        if let Some(claim) = self.text("at_hash")? {
            let hash = Secret::new(half_hash(algorithm, expected.access_token));
            if !hash.matches(claim) {
                return Err("at_hash is another access token's".into());
            }
        }
        // Core §2: required, at most 255 characters.
        let subject = self.text("sub")?.ok_or("sub is missing")?;
        if subject.is_empty() || subject.len() > 255 {
            return Err("sub is empty or too long".into());
        }
        Ok(())
    }

    fn issuer(&self, expected: &Expected<'_>) -> Result<(), Invalid> {
        let claim = self.text("iss")?.ok_or("iss is missing")?;
        let issuer = if expected.issuer.contains(TENANT) {
            // Each tenant is an issuer of its own; the claim names which.
            let tenant = self.text("tid")?.ok_or("tid is missing")?;
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            if tenant.is_empty() || !tenant.bytes().all(plain) {
                return Err("tid is not a tenant's id".into());
            }
            expected.issuer.replacen(TENANT, tenant, 1)
        } else {
            expected.issuer.to_owned()
        };
        // Core §3.1.3.7 (2): exactly.
        if claim != issuer && !expected.issuer_aliases.iter().any(|alias| alias == claim) {
            return Err("iss is another issuer".into());
        }
        Ok(())
    }

    fn audience(&self, client_id: &str) -> Result<(), Invalid> {
        // RFC 7519 §4.1.3: text, or a list of texts.
        let audiences: Vec<&str> = match self.0.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many
                .iter()
                .map(Value::as_str)
                .collect::<Option<_>>()
                .ok_or("aud holds something that is not text")?,
            Some(_) => return Err("aud is neither text nor a list".into()),
            None => return Err("aud is missing".into()),
        };
        // Core §3.1.3.7 (3)
        if !audiences.contains(&client_id) {
            return Err("aud is another client".into());
        }
        // Core §3.1.3.7 (4, 5)
        match self.text("azp")? {
            Some(party) if party != client_id => Err("azp is another client".into()),
            None if audiences.len() > 1 => Err("aud lists others, and azp is missing".into()),
            _ => Ok(()),
        }
    }

    fn times(&self, now: Timestamp) -> Result<(), Invalid> {
        let now = now.as_secs();
        let end = self.time("exp")?.ok_or("exp is missing")?;
        // Core §3.1.3.7 (9)
        if end.saturating_add(SKEW) <= now {
            return Err(Invalid(format!(
                "exp was {} s ago, {SKEW} s are tolerated: the clocks differ, or the token is old",
                now - end
            )));
        }
        let begin = self.time("iat")?.ok_or("iat is missing")?;
        for (name, begin) in [("iat", Some(begin)), ("nbf", self.time("nbf")?)] {
            let begin = begin.unwrap_or_default();
            if begin > now.saturating_add(SKEW) {
                return Err(Invalid(format!(
                    "{name} is {} s ahead, {SKEW} s are tolerated: the clocks differ",
                    begin - now
                )));
            }
        }
        Ok(())
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Invalid> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Invalid(format!("{name} is not text"))),
        }
    }

    /// RFC 7519 §2 `NumericDate`: a number, perhaps with a fraction.
    fn time(&self, name: &str) -> Result<Option<u64>, Invalid> {
        let wrong = || Invalid(format!("{name} is not a point in time"));
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let Value::Number(number) = value else {
            return Err(wrong());
        };
        if let Some(seconds) = number.as_u64() {
            return Ok(Some(seconds));
        }
        // Digits before the point: a fraction of a second does not matter here.
        let whole = number.to_string();
        let whole = whole.split('.').next().unwrap_or_default();
        whole.parse().map(Some).map_err(|_| wrong())
    }
}

/// Core §3.1.3.6: the left half of the access token's hash, by the signature's hash function.
fn half_hash(algorithm: Algorithm, access_token: &Secret) -> String {
    let token = access_token.expose();
    let hash = match algorithm {
        Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => Sha384::digest(token).to_vec(),
        Algorithm::RS512 | Algorithm::PS512 | Algorithm::EdDSA => Sha512::digest(token).to_vec(),
        _ => Sha256::digest(token).to_vec(),
    };
    let (half, _) = hash.split_at(hash.len() / 2);
    URL_SAFE_NO_PAD.encode(half)
}
