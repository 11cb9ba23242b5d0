//! Bearer tokens at a protected resource: RFC 6750, RFC 9728 §5.1.
//!
//! From the `Authorization` header to a [`Principal`], and from a [`Refusal`] to the challenge that
//! makes a client sign in. Refuses tokens in the query or the body, a repeated `Authorization`
//! header, tokens of another deployment, resource or upstream, and tokens whose grant has ended.

use std::fmt;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderMap};
use http::{HeaderValue, StatusCode};

use crate::oauth::error::ErrorCode;
use crate::oauth::names::{Issuer, ResourceUri, UpstreamFingerprint};
use crate::oauth::records::AccessToken;
use crate::oauth::scope::Scope;
use crate::seal::{Keys, OpenError, Sealed};
use crate::time::Timestamp;

/// Knows which grants have ended before their tokens did: by revocation, or by an epoch.
pub trait Ended: Send + Sync + fmt::Debug {
    /// Whether the grant behind this token has ended. Never waits.
    fn has_ended(&self, token: &AccessToken) -> bool;
}

/// Who makes a request: the proof that a bearer token passed every check for this resource.
#[derive(Clone, Debug)]
pub struct Principal {
    token: Arc<AccessToken>,
}

impl Principal {
    /// The token's record.
    pub fn token(&self) -> &AccessToken {
        &self.token
    }
}

/// Why a request was not let in. The precise cause is for logs and metrics; the wire hears
/// [`Refusal::code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// No `Authorization` header.
    NoToken,
    /// More than one `Authorization` header.
    Repeated,
    /// An `Authorization` header of another scheme.
    OtherScheme,
    /// Not the characters of a token.
    Malformed,
    /// It did not open, or it has expired.
    NotOpened(OpenError),
    /// Minted for another resource.
    OtherResource,
    /// Vouched for by another provider than this resource's.
    OtherUpstream,
    /// It carries no upstream token, which this resource's backend needs.
    NoUpstreamToken,
    /// The backend says that the upstream no longer takes the token inside.
    UpstreamTokenRefused,
    /// The grant was revoked.
    Ended,
    /// Good, but for less than this.
    Scope,
}

impl Refusal {
    /// The code on the wire: none where no credential was presented (RFC 6750 §3.1).
    pub const fn code(self) -> Option<ErrorCode> {
        match self {
            Self::NoToken | Self::OtherScheme => None,
            Self::Repeated => Some(ErrorCode::InvalidRequest),
            Self::Scope => Some(ErrorCode::InsufficientScope),
            Self::Malformed
            | Self::NotOpened(_)
            | Self::OtherResource
            | Self::OtherUpstream
            | Self::NoUpstreamToken
            | Self::UpstreamTokenRefused
            | Self::Ended => Some(ErrorCode::InvalidToken),
        }
    }

    /// The status of the answer.
    pub const fn status(self) -> StatusCode {
        match self.code() {
            Some(code) => code.status(),
            None => StatusCode::UNAUTHORIZED,
        }
    }

    /// A word for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::Repeated => "repeated_authorization",
            Self::OtherScheme => "other_scheme",
            Self::Malformed => "malformed",
            Self::NotOpened(cause) => cause.reason(),
            Self::OtherResource => "other_resource",
            Self::OtherUpstream => "other_upstream",
            Self::NoUpstreamToken => "no_upstream_token",
            Self::UpstreamTokenRefused => "upstream_token_refused",
            Self::Ended => "ended",
            Self::Scope => "scope",
        }
    }

    /// What a person who reads the answer is told; printable ASCII without quotes and commas.
    pub const fn description(self) -> &'static str {
        match self.code() {
            None => "Sign in first: this MCP server needs an access token",
            Some(ErrorCode::InvalidRequest) => "Send exactly one Authorization header",
            Some(ErrorCode::InsufficientScope) => "The access token does not allow this",
            Some(_) => "The access token is not valid here or has expired",
        }
    }
}

/// The token that a request presents.
///
/// # Errors
///
/// [`Refusal::NoToken`] if there is none at all, otherwise what is wrong with the header.
pub fn presented(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::NoToken)?;
    // RFC 6750 §3.1: a repeated credential is a malformed request.
    if values.next().is_some() {
        return Err(Refusal::Repeated);
    }
    let bytes = value.as_bytes();
    let (scheme, rest) = bytes.split_at_checked(6).ok_or(Refusal::OtherScheme)?;
    // RFC 9110 §11.1: the scheme is case-insensitive.
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(Refusal::OtherScheme);
    }
    let token = match rest {
        [] => return Err(Refusal::Malformed),
        [b' ', token @ ..] => token.trim_ascii(),
        _ => return Err(Refusal::OtherScheme),
    };
    if token.is_empty() || !is_b64token(token) {
        return Err(Refusal::Malformed);
    }
    std::str::from_utf8(token).map_err(|_| Refusal::Malformed)
}

/// RFC 6750 §2.1: `b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`. Looks at
/// every character, so that many are compared at once: a loop that may stop costs five times that.
fn is_b64token(token: &[u8]) -> bool {
    let fits = |byte: u8| {
        byte.is_ascii_alphanumeric()
            | matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
    };
    token.iter().fold(true, |all, byte| all & fits(*byte))
}

/// What one resource asks of a token, prepared once.
#[derive(Debug)]
pub struct ProtectedResource {
    uri: ResourceUri,
    required_scopes: Scope,
    upstream: UpstreamFingerprint,
    needs_upstream_token: bool,
    challenges: Challenges,
}

impl ProtectedResource {
    /// Prepares the checks and the challenges of a resource; `path` is its public path.
    pub fn new(
        issuer: &Issuer,
        uri: ResourceUri,
        path: &str,
        required_scopes: Scope,
        upstream: UpstreamFingerprint,
        needs_upstream_token: bool,
    ) -> Self {
        let challenges = Challenges::new(issuer, path, &required_scopes);
        Self {
            uri,
            required_scopes,
            upstream,
            needs_upstream_token,
            challenges,
        }
    }

    /// Checks the token of a request.
    ///
    /// # Errors
    ///
    /// Why it is not good here.
    pub fn check(
        &self,
        token: &str,
        keys: &Keys,
        ended: &dyn Ended,
        now: Timestamp,
    ) -> Result<Principal, Refusal> {
        // Purpose, decryption, issuer and expiry.
        let sealed = Sealed::<AccessToken>::from_wire(token);
        let token = keys.open(&sealed, now).map_err(Refusal::NotOpened)?.record;
        // RFC 8707 §2, RFC 9068 §4: a token for one resource opens no other.
        if token.aud != self.uri.as_str() {
            return Err(Refusal::OtherResource);
        }
        if token.fingerprint != self.upstream {
            return Err(Refusal::OtherUpstream);
        }
        if ended.has_ended(&token) {
            return Err(Refusal::Ended);
        }
        if self.needs_upstream_token && token.upstream_token.is_none() {
            return Err(Refusal::NoUpstreamToken);
        }
        // RFC 6750 §3.1: only a token that is otherwise good has too little scope.
        if !self.required_scopes.is_subset(&token.scope) {
            return Err(Refusal::Scope);
        }
        Ok(Principal {
            token: Arc::new(token),
        })
    }

    /// The `WWW-Authenticate` value for a refusal; none for a malformed request.
    pub fn challenge(&self, refusal: Refusal) -> Option<&HeaderValue> {
        match refusal.code() {
            None => Some(&self.challenges.plain),
            Some(ErrorCode::InvalidRequest) => None,
            Some(ErrorCode::InsufficientScope) => Some(&self.challenges.insufficient_scope),
            Some(_) => Some(&self.challenges.invalid_token),
        }
    }
}

/// The challenges of one resource: one header line with one `Bearer` challenge each.
#[derive(Debug)]
struct Challenges {
    plain: HeaderValue,
    invalid_token: HeaderValue,
    insufficient_scope: HeaderValue,
}

impl Challenges {
    fn new(issuer: &Issuer, path: &str, required_scopes: &Scope) -> Self {
        // RFC 9728 §5.1: where the resource's metadata is.
        let mut place = format!(
            "resource_metadata=\"{}\"",
            quotable(&format!(
                "{issuer}/.well-known/oauth-protected-resource{path}"
            ))
        );
        // RFC 6750 §3: what to ask for.
        if !required_scopes.is_empty() {
            place.extend([", scope=\"", &required_scopes.to_string(), "\""]);
        }
        let with_error = |refusal: Refusal| {
            let code = refusal.code().map_or("", ErrorCode::as_str);
            let description = refusal.description();
            header(&format!(
                "Bearer error=\"{code}\", error_description=\"{description}\", {place}"
            ))
        };
        Self {
            plain: header(&format!("Bearer {place}")),
            invalid_token: with_error(Refusal::Malformed),
            insufficient_scope: with_error(Refusal::Scope),
        }
    }
}

/// What a quoted-string can hold without escapes, since some clients do not read these.
fn quotable(text: &str) -> String {
    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
    const UNFIT: &AsciiSet = &CONTROLS.add(b'"').add(b'\\').add(b',').add(b' ');
    utf8_percent_encode(text, UNFIT).to_string()
}

/// A challenge holds printable ASCII only, so this always fits; a bare one would still be a challenge.
fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("Bearer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    // S1, W8
    #[test]
    fn token_is_read_from_one_bearer_header() {
        for (values, expected) in [
            (vec![], Err(Refusal::NoToken)),
            (vec!["Bearer abc.-_~+/="], Ok("abc.-_~+/=")),
            (vec!["bEARER  abc "], Ok("abc")),
            (vec!["Bearer a", "Bearer a"], Err(Refusal::Repeated)),
            (vec!["Basic YTpi"], Err(Refusal::OtherScheme)),
            (vec!["Bearers abc"], Err(Refusal::OtherScheme)),
            (vec!["x"], Err(Refusal::OtherScheme)),
            (vec!["Bearer"], Err(Refusal::Malformed)),
            (vec!["Bearer "], Err(Refusal::Malformed)),
            (vec!["Bearer a b"], Err(Refusal::Malformed)),
            (vec!["Bearer a, Bearer b"], Err(Refusal::Malformed)),
            (vec!["Bearer \u{e4}"], Err(Refusal::Malformed)),
        ] {
            assert_eq!(presented(&headers(&values)), expected, "{values:?}");
        }
        let mut bytes = HeaderMap::new();
        let value = HeaderValue::from_bytes(b"Bearer \xe4").unwrap();
        bytes.insert(AUTHORIZATION, value);
        assert_eq!(presented(&bytes), Err(Refusal::Malformed));
    }

    fn resource(scopes: &str) -> ProtectedResource {
        ProtectedResource::new(
            &Issuer::new("https://mcp.example.com"),
            ResourceUri::new("https://mcp.example.com/mcp"),
            "/mcp",
            Scope::parse(scopes).unwrap(),
            UpstreamFingerprint::of_upstream("https://id.example", "c"),
            false,
        )
    }

    // W2, W3, W4, W5, W7
    #[test]
    fn challenge_is_one_bearer_challenge_per_cause() {
        let challenged = resource("b a");
        let challenge = |refusal| challenged.challenge(refusal).map(|v| v.to_str().unwrap());
        let place = "resource_metadata=\"https://mcp.example.com/.well-known/oauth-protected-resource/mcp\"";
        assert_eq!(
            challenge(Refusal::NoToken),
            Some(&*format!("Bearer {place}, scope=\"a b\""))
        );
        assert_eq!(
            challenge(Refusal::Ended),
            Some(&*format!(
                "Bearer error=\"invalid_token\", error_description=\"The access token is not valid here or has expired\", {place}, scope=\"a b\""
            ))
        );
        assert_eq!(
            challenge(Refusal::Scope),
            Some(&*format!(
                "Bearer error=\"insufficient_scope\", error_description=\"The access token does not allow this\", {place}, scope=\"a b\""
            ))
        );
        assert_eq!(challenge(Refusal::Repeated), None);
    }

    // W3
    #[test]
    fn challenge_without_baseline_has_no_empty_scope() {
        let plain = resource("");
        let value = plain.challenge(Refusal::NoToken).unwrap();
        assert!(!value.to_str().unwrap().contains("scope"));
    }

    // W7
    #[test]
    fn challenge_stays_quotable_whatever_the_path() {
        assert_eq!(quotable("/a\"b\\c,d e\u{e4}"), "/a%22b%5Cc%2Cd%20e%C3%A4");
    }
}
