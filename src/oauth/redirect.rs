//! Redirect URIs: what may be registered, and what matches (OAuth 2.1 §2.3, §4.1.1; RFC 8252 §7;
//! RFC 9700 §2.1).
//!
//! Matching is a comparison of bytes; only the port of a loopback URI is free. Refuses script and
//! browser schemes, clear text outside this computer, user information, fragments, dot segments,
//! wildcards, look-alike hosts, and private-use schemes that the operator did not list.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::{Host, Url};

/// Longest redirect URI in bytes.
pub const MAX_LENGTH: usize = 512;

/// What a query value may hold unescaped: RFC 3986 §2.3.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Where a redirect URI leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectKind {
    /// An https page.
    Web,
    /// A program on the person's computer that listens on a port.
    Loopback,
    /// A program on the person's computer that owns a scheme.
    PrivateUse,
}

/// Why a redirect URI cannot be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectError {
    /// Longer than [`MAX_LENGTH`].
    #[error("longer than 512 bytes")]
    TooLong,
    /// A space, a control character, a backslash or a character outside ASCII.
    #[error("holds a character that a URI cannot hold")]
    Characters,
    /// Not an absolute URI with a host.
    #[error("not an absolute URI with a host")]
    NotAbsolute,
    /// RFC 6749 §3.1.2: no fragment.
    #[error("holds a fragment")]
    Fragment,
    /// `user:password@`.
    #[error("holds user information")]
    UserInfo,
    /// `..`, `*`, or a spelling that a browser would change.
    #[error("holds a dot segment, a wildcard, or a form that browsers rewrite")]
    NotCanonical,
    /// Clear text to another computer.
    #[error("http is for 127.0.0.1, [::1] and localhost only; use https")]
    ClearText,
    /// A scheme that is not https, not loopback http, and not on the operator's list.
    #[error(
        "this scheme is not allowed; the operator can list the exact URI in clients.redirect_schemes"
    )]
    Scheme,
}

/// Checks that a redirect URI may be registered. `private_use` lists the exact URIs with schemes of
/// their own that the operator allows.
///
/// # Errors
///
/// Says which rule it breaks.
pub fn check(uri: &str, private_use: &[String]) -> Result<RedirectKind, RedirectError> {
    if uri.len() > MAX_LENGTH {
        return Err(RedirectError::TooLong);
    }
    if !uri
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&byte))
    {
        return Err(RedirectError::Characters);
    }
    // RFC 8252 §7.1: a private-use scheme can be claimed by any app, so exact entries only.
    if private_use.iter().any(|allowed| allowed == uri) {
        return Ok(RedirectKind::PrivateUse);
    }
    // RFC 6749 §3.1.2: absolute, without a fragment (an empty one counts).
    if uri.contains('#') {
        return Err(RedirectError::Fragment);
    }
    let url = Url::parse(uri).map_err(|_| RedirectError::NotAbsolute)?;
    let kind = match (url.scheme(), url.host()) {
        (_, None) if matches!(url.scheme(), "http" | "https") => {
            return Err(RedirectError::NotAbsolute);
        }
        ("https", Some(_)) => RedirectKind::Web,
        ("http", Some(_)) => RedirectKind::Loopback,
        _ => return Err(RedirectError::Scheme),
    };
    if !url.username().is_empty() || url.password().is_some() || authority(uri).contains('@') {
        return Err(RedirectError::UserInfo);
    }
    // What a browser would go to must be what was written: no other spelling of host or path.
    let same =
        url.as_str() == uri || (url.path() == "/" && url.as_str().strip_suffix('/') == Some(uri));
    let without_default_port = uri.replacen(":443/", "/", 1).replacen(":80/", "/", 1);
    if !(same || url.as_str() == without_default_port) || uri.contains('*') {
        return Err(RedirectError::NotCanonical);
    }
    if kind == RedirectKind::Loopback && !is_loopback(&url) {
        return Err(RedirectError::ClearText);
    }
    Ok(kind)
}

/// The part between `//` and the path.
fn authority(uri: &str) -> &str {
    let rest = uri.split_once("//").map_or("", |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        // OAuth 2.1 §8.4.2, RFC 8252 §7.3: the loopback literals. `localhost` is what many MCP
        // clients use.
        Some(Host::Ipv4(ip)) => ip.octets() == [127, 0, 0, 1],
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// A redirect URI that was presented and matches one of the client's: the only thing that an answer
/// can be sent to.
#[derive(Clone, PartialEq, Eq)]
pub struct MatchedRedirect {
    uri: String,
    kind: RedirectKind,
}

impl MatchedRedirect {
    /// Matches the presented URI against those of the client. Without one, the client's only
    /// registered URI is meant.
    pub fn find(registered: &[String], presented: Option<&str>) -> Option<Self> {
        match (presented, registered) {
            // OAuth 2.1 §4.1.1: may be left out only if exactly one is registered.
            (None, [only]) => Some(only.as_str()),
            (None, _) => None,
            (Some(presented), _) => registered
                .iter()
                .any(|one| matches(one, presented))
                .then_some(presented),
        }
        .map(Self::trusted)
    }

    /// A URI that was matched before it was sealed.
    pub(super) fn trusted(uri: &str) -> Self {
        let kind = match uri.split_once(':').map(|(scheme, _)| scheme) {
            Some("https") => RedirectKind::Web,
            Some("http") => RedirectKind::Loopback,
            _ => RedirectKind::PrivateUse,
        };
        Self {
            uri: uri.to_owned(),
            kind,
        }
    }

    /// The URI, byte for byte as presented.
    pub fn as_str(&self) -> &str {
        &self.uri
    }

    /// Where it leads.
    pub fn kind(&self) -> RedirectKind {
        self.kind
    }

    /// What a person must look at: the host, or for a private-use scheme the scheme.
    pub fn host(&self) -> &str {
        match self.kind {
            RedirectKind::Web | RedirectKind::Loopback => authority(&self.uri),
            RedirectKind::PrivateUse => self
                .uri
                .split_once(':')
                .map_or(self.uri.as_str(), |(scheme, _)| scheme),
        }
    }

    /// The URI with parameters added to its query.
    pub fn with_query<'a>(
        &self,
        parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> String {
        // RFC 6749 §3.1.2: an existing query is kept.
        let mut uri = self.uri.clone();
        let mut separator = if uri.contains('?') { '&' } else { '?' };
        if uri.ends_with(['?', '&']) {
            uri.pop();
            separator = if uri.contains('?') { '&' } else { '?' };
        }
        for (name, value) in parameters {
            uri.push(separator);
            uri.push_str(name);
            uri.push('=');
            uri.extend(utf8_percent_encode(value, QUERY_VALUE));
            separator = '&';
        }
        uri
    }
}

impl fmt::Debug for MatchedRedirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MatchedRedirect({})", self.host())
    }
}

/// Whether a presented redirect URI is a registered one.
pub fn matches(registered: &str, presented: &str) -> bool {
    // RFC 9700 §4.1.3: exact string match, except for the port of a loopback URI.
    registered == presented
        || match (loopback_parts(registered), loopback_parts(presented)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        }
}

/// Host and what follows the port of a loopback http URI; `None` for every other URI.
fn loopback_parts(uri: &str) -> Option<(&str, &str)> {
    let rest = uri.strip_prefix("http://")?;
    let host = ["127.0.0.1", "[::1]", "localhost"]
        .into_iter()
        .find(|host| rest.starts_with(host))?;
    let rest = rest.get(host.len()..)?;
    let Some(after_colon) = rest.strip_prefix(':') else {
        return (rest.is_empty() || rest.starts_with(['/', '?'])).then_some((host, rest));
    };
    let end = after_colon
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(after_colon.len());
    let (port, tail) = after_colon.split_at(end);
    // RFC 8252 §7.3: any port that a program can listen on.
    port.parse::<u16>().ok().filter(|port| *port != 0)?;
    (tail.is_empty() || tail.starts_with(['/', '?'])).then_some((host, tail))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const CURSOR: &str = "cursor://anysphere.cursor-mcp/oauth/callback";

    // R8, R9, A4, A5
    #[test]
    fn corpus_is_judged_as_expected() {
        let corpus = include_str!("../../tests/vectors/redirect-uri/cases.json");
        let corpus: Value = serde_json::from_str(corpus).unwrap();
        let cases = corpus["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 85);
        for case in cases {
            let text = |name: &str| case[name].as_str().unwrap();
            let verdict = if case["op"] == "register" {
                check(text("uri"), &[CURSOR.to_owned()]).map_or("reject", |_| "accept")
            } else if matches(text("registered"), text("presented")) {
                "yes"
            } else {
                "no"
            };
            assert_eq!(verdict, text("expect"), "{case}");
        }
    }

    #[test]
    fn private_use_scheme_must_be_listed_exactly() {
        let allowed = [CURSOR.to_owned()];
        assert_eq!(check(CURSOR, &allowed), Ok(RedirectKind::PrivateUse));
        assert_eq!(
            check(&format!("{CURSOR}/x"), &allowed),
            Err(RedirectError::Scheme)
        );
        assert_eq!(check(CURSOR, &[]), Err(RedirectError::Scheme));
    }

    #[test]
    fn only_one_registered_uri_may_be_left_out() {
        let one = ["https://a.example/cb".to_owned()];
        assert_eq!(
            MatchedRedirect::find(&one, None).unwrap().as_str(),
            "https://a.example/cb"
        );
        let two = [
            "https://a.example/cb".to_owned(),
            "https://a.example/d".to_owned(),
        ];
        assert_eq!(MatchedRedirect::find(&two, None), None);
    }

    // A8
    #[test]
    fn parameters_join_an_existing_query() {
        let with = |uri: &str| {
            MatchedRedirect::trusted(uri).with_query([("code", "a b"), ("state", "ü&=")])
        };
        assert_eq!(
            with("https://a.example/cb"),
            "https://a.example/cb?code=a%20b&state=%C3%BC%26%3D"
        );
        assert_eq!(
            with("https://a.example/cb?x=1"),
            "https://a.example/cb?x=1&code=a%20b&state=%C3%BC%26%3D"
        );
        assert_eq!(
            with("https://a.example/cb?"),
            "https://a.example/cb?code=a%20b&state=%C3%BC%26%3D"
        );
    }

    // The URL parser that browsers agree on must never send a matched URI to another host or path.
    #[test]
    fn what_may_be_registered_means_the_same_to_a_browser() {
        let data = include_str!("../../tests/vectors/wpt-url/urltestdata.json");
        let data: Vec<Value> = serde_json::from_str(data).unwrap();
        let mut accepted = 0;
        for case in data.iter().filter(|case| case["base"].is_null()) {
            let Some(input) = case["input"].as_str() else {
                continue;
            };
            if check(input, &[]).is_ok() {
                accepted += 1;
                assert!(case["failure"].is_null(), "{input}");
                let host = case["host"].as_str().unwrap();
                assert!(
                    authority(input).starts_with(case["hostname"].as_str().unwrap()),
                    "{input} {host}"
                );
            }
        }
        assert!(accepted >= 4, "{accepted}");
    }

    proptest! {
        #[test]
        fn match_implies_equal_scheme_host_and_path(
            a in "(https?|http)://(127\\.0\\.0\\.1|localhost|\\[::1\\]|a\\.example)(:[0-9]{1,5})?/[a-c]{0,2}",
            b in "(https?|http)://(127\\.0\\.0\\.1|localhost|\\[::1\\]|a\\.example)(:[0-9]{1,5})?/[a-c]{0,2}",
        ) {
            if matches(&a, &b) && a != b {
                let (a, b) = (Url::parse(&a).unwrap(), Url::parse(&b).unwrap());
                prop_assert_eq!(a.scheme(), "http");
                prop_assert_eq!(a.host_str(), b.host_str());
                prop_assert_eq!(a.path(), b.path());
                prop_assert!(is_loopback(&a));
            }
        }
    }
}
