//! What the backend receives and what the client gets back: header sets that are built, not passed.
//!
//! Toward the backend a header passes only if it is end-to-end, is no credential and belongs to no
//! family by which backends are told who a request is from. Names with characters other than
//! letters, digits and hyphens do not pass at all (except `Mcp-Param-*`): CGI-like servers read
//! `X_Forwarded_User` and `X-Forwarded-User` as one. Refuses connection options (RFC 9110 §7.6.1).

use std::borrow::Cow;

use http::header::{
    ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName,
    HeaderValue, VARY,
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::config::Forward;
use crate::oauth::bearer::Principal;

const X_FORWARDED_USER: HeaderName = HeaderName::from_static("x-forwarded-user");
const X_FORWARDED_EMAIL: HeaderName = HeaderName::from_static("x-forwarded-email");
const X_FORWARDED_PREFERRED_USERNAME: HeaderName =
    HeaderName::from_static("x-forwarded-preferred-username");
const X_FORWARDED_GROUPS: HeaderName = HeaderName::from_static("x-forwarded-groups");
const X_FORWARDED_ACCESS_TOKEN: HeaderName = HeaderName::from_static("x-forwarded-access-token");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Longest identity header; servers refuse whole requests over longer ones.
const MAX_IDENTITY: usize = 4 * 1024;

/// Names that never pass: connection-bound ones (RFC 9110 §7.6.1), framing, credentials, what we
/// set ourselves, and a browser's context, which was judged here.
const REFUSED: [&str; 26] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "early-data",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "mcp-session-id",
    "origin",
    "remote-user",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-real-ip",
    "x-request-id",
    "access-control-request-method",
    "access-control-request-headers",
];

/// Families that never pass: proxies' credentials, and the names by which proxies of all makes tell
/// a backend who calls, from where, or what the request really is.
const REFUSED_FAMILIES: [&str; 6] = [
    "cf-",
    "fly-",
    "proxy-",
    "remote-",
    "tailscale-",
    "true-client-",
];
/// Those that begin with `x-`, without it.
const REFUSED_X_FAMILIES: [&str; 20] = [
    "access-token",
    "amzn-",
    "auth",
    "client-",
    "cluster-",
    "email",
    "envoy-",
    "forwarded",
    "goog-",
    "group",
    "http-method",
    "id-token",
    "method-override",
    "ms-",
    "original-",
    "real-",
    "remote-",
    "rewrite-",
    "user",
    "webauth-",
];

/// Answer headers that stay here: connection-bound ones, challenges and cookies (the origin is
/// ours), CORS (we answer for it) and what would change the origin as a whole.
const WITHHELD: [&str; 19] = [
    "alt-svc",
    "clear-site-data",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-connection",
    "public-key-pins",
    "service-worker-allowed",
    "set-cookie",
    "set-cookie2",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
    "x-accel-buffering",
    "mcp-session-id",
];

/// The part of a request's headers that the backend may see. `operator` are the names that the
/// configuration sets for this resource.
pub(crate) fn for_backend(
    inbound: &HeaderMap,
    operator: &[(HeaderName, HeaderValue)],
) -> HeaderMap {
    let options = ConnectionOptions::of(inbound);
    // About as many are added as do not pass; room for more would double the table.
    let mut built = HeaderMap::with_capacity(inbound.len() + 2);
    for (name, value) in inbound {
        let text = name.as_str();
        if passes(text) && !options.name(text) && !operator.iter().any(|(own, _)| own == name) {
            built.append(name.clone(), value.clone());
        }
    }
    built
}

/// The same part of a request's headers for a service in this program, which also needs to know how
/// long the body is and under which name it was asked for.
pub(crate) fn for_service(inbound: &HeaderMap) -> HeaderMap {
    let mut built = for_backend(inbound, &[]);
    for name in [HOST, CONTENT_LENGTH] {
        if let Some(value) = inbound.get(&name) {
            built.insert(name, value.clone());
        }
    }
    built
}

fn passes(name: &str) -> bool {
    if name.starts_with("mcp-param-") {
        return true;
    }
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if !name.bytes().all(is_plain) || REFUSED.contains(&name) {
        return false;
    }
    // Most names are no extensions: those are compared with a few only.
    match name.strip_prefix("x-") {
        Some(extension) => !begins_with_any(extension, &REFUSED_X_FAMILIES),
        None => !begins_with_any(name, &REFUSED_FAMILIES),
    }
}

fn begins_with_any(name: &str, families: &[&str]) -> bool {
    families.iter().any(|family| name.starts_with(family))
}

/// The names that `Connection` lists: they end at this hop.
struct ConnectionOptions<'a>(Vec<&'a str>);

impl<'a> ConnectionOptions<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let listed = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim);
        Self(listed.collect())
    }

    fn name(&self, name: &str) -> bool {
        self.0.iter().any(|it| it.eq_ignore_ascii_case(name))
    }
}

/// Adds who the person is, as far as the resource's backend is told.
pub(crate) fn add_identity(built: &mut HeaderMap, forward: Forward, principal: &Principal) {
    let token = principal.token();
    if forward.identity {
        let groups: Vec<_> = token
            .groups
            .iter()
            .filter(|group| !group.is_empty())
            .map(|group| encoded(group))
            .collect();
        let groups = (!groups.is_empty()).then(|| groups.join(",").into());
        for (name, text) in [
            (X_FORWARDED_USER, Some(encoded(token.sub.as_str()))),
            (X_FORWARDED_EMAIL, token.email.as_deref().map(encoded)),
            (
                X_FORWARDED_PREFERRED_USERNAME,
                token.preferred_username.as_deref().map(encoded),
            ),
            (X_FORWARDED_GROUPS, groups),
        ] {
            if let Some(text) = text {
                add(built, name, &text);
            }
        }
    }
    let Some(secret) = &token.upstream_token else {
        return;
    };
    if forward.access_token
        && let Ok(value) = HeaderValue::from_str(secret.expose())
    {
        built.insert(X_FORWARDED_ACCESS_TOKEN, sensitive(value));
    }
    if forward.authorization
        && let Ok(value) = HeaderValue::try_from(format!("Bearer {}", secret.expose()))
    {
        built.insert(http::header::AUTHORIZATION, sensitive(value));
    }
}

fn sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

fn add(built: &mut HeaderMap, name: HeaderName, text: &str) {
    let fits = !text.is_empty() && text.len() <= MAX_IDENTITY;
    match HeaderValue::from_str(text) {
        Ok(value) if fits => {
            built.insert(name, value);
        }
        _ => tracing::warn!(
            header = name.as_str(),
            "identity header dropped: unfit value"
        ),
    }
}

/// Percent-encodes what a header cannot carry, and the two characters that would be ambiguous.
fn encoded(text: &str) -> Cow<'_, str> {
    const UNFIT: &AsciiSet = &CONTROLS.add(b'%').add(b',');
    let text: Cow<'_, str> = utf8_percent_encode(text, UNFIT).into();
    // RFC 9110 §5.5: space around a value is not part of it.
    let core = text.trim_matches(' ');
    if core.len() == text.len() {
        return text;
    }
    let leading = text.len() - text.trim_start_matches(' ').len();
    let trailing = text.len() - leading - core.len();
    format!("{}{core}{}", "%20".repeat(leading), "%20".repeat(trailing)).into()
}

/// The part of an answer's headers that the client may see.
pub(crate) fn for_client(answer: &HeaderMap) -> HeaderMap {
    let options = ConnectionOptions::of(answer);
    let mut built = HeaderMap::with_capacity(answer.len() + 4);
    for (name, value) in answer {
        let text = name.as_str();
        let is_withheld = WITHHELD.contains(&text) || text.starts_with("access-control-");
        if !is_withheld && !options.name(text) {
            built.append(name.clone(), value.clone());
        }
    }
    keep_private(&mut built);
    built
}

/// Says that an answer is for one person, and of a stream of events that nobody may hold it back.
pub(crate) fn keep_private(answer: &mut HeaderMap) {
    if is_event_stream(answer) {
        // A stream may end before its backend ends it.
        answer.remove(CONTENT_LENGTH);
        answer.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
        answer.insert(
            CACHE_CONTROL,
            HeaderValue::from_static("no-cache, no-store"),
        );
    } else if answer.contains_key(CACHE_CONTROL) {
        // What the backend lets caches keep, it lets them keep for this person only.
        answer.append(VARY, HeaderValue::from_static("Authorization"));
    } else {
        answer.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// Whether a request could be answered with events.
pub(crate) fn accepts_events(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.to_ascii_lowercase().contains("text/event-stream"))
}

/// Whether an answer is a stream of server-sent events.
pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.as_bytes().get(..EVENT_STREAM.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM))
}

#[cfg(test)]
mod tests {
    use super::*;

    // S4, S5
    #[test]
    fn no_spelling_of_an_identity_header_passes() {
        for name in [
            "x-forwarded-user",
            "x_forwarded_user",
            "x-forwarded_user",
            "x.forwarded.user",
            "x-forwarded-anything",
            "x_real_ip",
            "authorization",
            "proxy-authorization",
            "x-user",
            "x-auth-request-email",
            "remote_user",
            "mcp_session_id",
        ] {
            assert!(!passes(name), "{name}");
        }
    }

    // G4
    #[test]
    fn protocol_headers_pass() {
        for name in [
            "accept",
            "content-type",
            "mcp-protocol-version",
            "mcp-method",
            "mcp-name",
            "mcp-param-region_name",
            "mcp-future",
            "last-event-id",
            "baggage",
            "user-agent",
            "x-mcp-toolsets",
        ] {
            assert!(passes(name), "{name}");
        }
    }

    #[test]
    fn identity_values_are_encoded_unambiguously() {
        for (text, expected) in [
            ("google:1234", "google:1234"),
            ("Zo\u{eb} B", "Zo%C3%AB B"),
            ("100%,\r\nx", "100%25%2C%0D%0Ax"),
            (" a ", "%20a%20"),
            ("  ", "%20%20"),
        ] {
            assert_eq!(encoded(text), expected);
        }
    }
}
