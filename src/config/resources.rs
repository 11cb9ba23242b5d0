//! `[[resources]]`: the protected MCP endpoints.
//!
//! Refuses paths that the gateway could not route without doubt, clashes with this server's own
//! paths, and backends that cannot be meant.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use url::Url;

use super::problem::Report;
use super::raw::{ForwardWord, RawResource};
use super::tree::KeyPath;
use super::upstreams::Upstreams;
use super::{Forward, PublicUrl, Resource, ResourceAccess, access, sections};
use crate::oauth::access::AccessRules;
use crate::oauth::names::{ResourceUri, Secret, UpstreamName};
use crate::oauth::scope::Scope;

/// First segments of this server's own paths.
const OURS: [&str; 11] = [
    ".well-known",
    "register",
    "authorize",
    "consent",
    "callback",
    "token",
    "revoke",
    "healthz",
    "livez",
    "readyz",
    "metrics",
];

/// What a resource is judged against.
pub(super) struct Surroundings<'a> {
    pub(super) public_url: Option<&'a PublicUrl>,
    pub(super) upstreams: &'a Upstreams,
    pub(super) access: &'a AccessRules,
    /// Whether another program embeds the server.
    pub(super) is_embedded: bool,
}

/// Reads `[[resources]]`, longest path first.
pub(super) fn resolve(
    raw: Vec<RawResource>,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Vec<Resource> {
    let all = KeyPath::of("resources");
    if raw.is_empty() && !report.is_faulty(&all) {
        let hint = "the MCP server to protect, for example\n[[resources]]\npath = \"/mcp\"\n\
                    backend = \"http://127.0.0.1:3000/mcp\"";
        report.error(&all, "there is no resource", hint);
    }
    let mut resources: Vec<Resource> = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let at = all.index(index);
        let Some(resource) = resource(raw, &at, around, report) else {
            continue;
        };
        if resources.iter().any(|other| other.path == resource.path) {
            let message = format!(
                "the path `{}` is taken by an earlier resource",
                resource.path
            );
            report.error(
                &at.key("path"),
                message,
                "each resource needs a path of its own",
            );
        }
        resources.push(resource);
    }
    resources.sort_by_key(|resource| std::cmp::Reverse(resource.path.len()));
    resources
}

fn resource(
    mut raw: RawResource,
    at: &KeyPath,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Resource> {
    let path = path(raw.path.take(), at, report);
    let backend = backend(&raw, path.as_deref(), at, around, report);
    let upstream = upstream(raw.upstream.take(), at, around.upstreams, report);
    let (scopes, required_scopes) = scopes(&raw, at, report);
    let forward = forward(&raw.forward);
    let backend_headers = headers(
        std::mem::take(&mut raw.backend_headers),
        forward,
        at,
        report,
    );
    sections::words(raw.name.as_deref(), &at.key("name"), report);
    bounds(&raw, at, report);
    let access_at = at.key("access");
    let own = raw
        .access
        .map(|raw| access::own(&raw, &access_at, around.upstreams, report));
    let path = path?;
    if backend.is_none() && !around.is_embedded {
        return None;
    }
    Some(Resource {
        uri: ResourceUri::new(
            around
                .public_url
                .map_or_else(String::new, |url| url.join(&path)),
        ),
        path,
        backend,
        upstream: upstream?,
        scopes,
        required_scopes,
        auth: raw.auth,
        forward,
        backend_headers,
        name: raw.name,
        max_body: raw.max_body.0,
        connect_timeout: raw.connect_timeout.0,
        idle_timeout: raw.idle_timeout.0,
        access: ResourceAccess {
            global: around.access.clone(),
            own,
        },
    })
}

fn path(path: Option<String>, at: &KeyPath, report: &mut Report<'_>) -> Option<String> {
    let at = at.key("path");
    let Some(path) = path else {
        report.missing(&at, "such as \"/mcp\"; \"\" is the origin itself");
        return None;
    };
    if path == "/" {
        report.error(
            &at,
            "the path of the origin itself is empty",
            "write path = \"\"",
        );
        return None;
    }
    if !path.is_empty() && !is_clean_path(&path) {
        let hint =
            "segments of letters, digits, `-`, `.`, `_` and `~` with `/` before each: \"/mcp\"";
        report.error(&at, format!("`{path}` is not a path"), hint);
        return None;
    }
    if is_ours(&path) {
        let hint = "such as \"/mcp\"";
        report.error(
            &at,
            format!("`{path}` is among this server's own paths"),
            hint,
        );
        return None;
    }
    Some(path)
}

/// Whether a path has one spelling only: nothing to decode, to resolve or to collapse.
pub(super) fn is_clean_path(path: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_segment =
        |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(fits);
    path.len() <= 256
        && path
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(is_segment))
}

/// Whether a path begins like one of this server's own.
pub(super) fn is_ours(path: &str) -> bool {
    let first = path.split('/').nth(1).unwrap_or_default();
    OURS.contains(&first)
}

fn backend(
    raw: &RawResource,
    path: Option<&str>,
    at: &KeyPath,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Url> {
    let headers = at.key("backend_headers");
    let at = at.key("backend");
    if around.is_embedded && raw.backend.is_none() {
        if !raw.backend_headers.is_empty() {
            let message = "`backend_headers` do nothing without a backend";
            report.warn(&headers, message, "remove them, or name the `backend`");
        }
        return None;
    }
    if around.is_embedded && path == Some("") {
        let message = "a backend at the origin itself would take every path of the program";
        report.error(&at, message, "give the resource a path, such as \"/mcp\"");
        return None;
    }
    let Some(text) = raw.backend.as_deref() else {
        report.missing(
            &at,
            "the MCP server: backend = \"http://127.0.0.1:3000/mcp\"",
        );
        return None;
    };
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(url) = url else {
        // Not repeated: there may be a password in it.
        report.error(
            &at,
            "this is not an http URL",
            "such as \"http://127.0.0.1:3000/mcp\"",
        );
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() {
        let hint = "use backend_headers = { Authorization = \"Basic …\" }, or backend_headers_file";
        report.error(&at, "a backend's URL holds no user information", hint);
        return None;
    }
    if url.query().is_some() || url.fragment().is_some() {
        let hint = "query strings come from the client; a secret belongs into backend_headers";
        report.error(&at, "a backend's URL holds no query and no fragment", hint);
        return None;
    }
    if around
        .public_url
        .is_some_and(|public_url| public_url.url.origin() == url.origin())
    {
        report.error(
            &at,
            "this is our own public_url",
            "the URL of the MCP server itself",
        );
        return None;
    }
    Some(url)
}

fn upstream(
    name: Option<String>,
    at: &KeyPath,
    upstreams: &Upstreams,
    report: &mut Report<'_>,
) -> Option<UpstreamName> {
    let at = at.key("upstream");
    match name {
        Some(name) if upstreams.contains(&name) => Some(UpstreamName::new(name)),
        Some(name) if !upstreams.is_empty() => {
            let hint = upstreams.hint(&name);
            report.error(&at, format!("there is no upstream `{name}`"), &hint);
            None
        }
        None if upstreams.only().is_some() => upstreams.only(),
        None if !upstreams.is_empty() => {
            report.missing(&at, &upstreams.hint(""));
            None
        }
        // That there is none was said already.
        _ => None,
    }
}

fn scopes(raw: &RawResource, at: &KeyPath, report: &mut Report<'_>) -> (Scope, Scope) {
    let mut read = |list: &[String], key: &str| {
        let mut scope = Scope::default();
        for (index, token) in list.iter().enumerate() {
            let at = at.key(key).index(index);
            match Scope::parse(token) {
                Ok(one) if one.contains(token) => scope = scope.union(&one),
                Ok(_) => report.error(&at, "one scope for each entry", "[\"read\", \"write\"]"),
                Err(error) => report.add(&at, format!("`{token}`: {error}"), None),
            }
        }
        scope
    };
    let scopes = read(&raw.scopes, "scopes");
    let required = read(&raw.required_scopes, "required_scopes");
    if let Some(unknown) = required.iter().find(|&token| !scopes.contains(token)) {
        let message = format!("`{unknown}` is required but not among `scopes`");
        report.error(&at.key("required_scopes"), message, "add it to `scopes`");
    }
    (scopes, required)
}

fn forward(words: &[ForwardWord]) -> Forward {
    Forward {
        identity: words.contains(&ForwardWord::Identity),
        access_token: words.contains(&ForwardWord::AccessToken),
        authorization: words.contains(&ForwardWord::Authorization),
    }
}

fn headers(
    raw: BTreeMap<String, Secret>,
    forward: Forward,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> Vec<(HeaderName, HeaderValue)> {
    let at = at.key("backend_headers");
    let mut headers = Vec::new();
    for (name, value) in raw {
        let at = at.key(&name);
        let Ok(header) = name.parse::<HeaderName>() else {
            report.error(
                &at,
                format!("`{name}` is not a header name"),
                "such as `X-Api-Key`",
            );
            continue;
        };
        if is_set_by_gateway(&header)
            || (forward.authorization && header == http::header::AUTHORIZATION)
        {
            report.error(
                &at,
                format!("`{name}` is set by the gateway"),
                "choose another header",
            );
            continue;
        }
        let Ok(mut value) = HeaderValue::from_str(value.expose()) else {
            let message = format!("the value of `{name}` does not fit into a header");
            report.error(&at, message, "printable characters of one line");
            continue;
        };
        value.set_sensitive(true);
        headers.push((header, value));
    }
    headers
}

// RFC 9110 §7.6.1: hop-by-hop; and what tells the backend about the person.
fn is_set_by_gateway(header: &HeaderName) -> bool {
    let name = header.as_str().replace('_', "-");
    name.starts_with("x-forwarded-")
        || matches!(
            name.as_str(),
            "connection"
                | "content-length"
                | "forwarded"
                | "host"
                | "keep-alive"
                | "te"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
                | "x-request-id"
                | "traceparent"
        )
}

fn bounds(raw: &RawResource, at: &KeyPath, report: &mut Report<'_>) {
    if raw.max_body.0 == 0 {
        report.error(
            &at.key("max_body"),
            "no request would fit",
            "such as \"10MB\"",
        );
    }
    let at_most = |key, value, range, report: &mut Report<'_>| {
        sections::within(&at.key(key), value, range, report);
    };
    at_most(
        "connect_timeout",
        raw.connect_timeout,
        ("100ms", "60s"),
        report,
    );
    at_most("idle_timeout", raw.idle_timeout, ("1s", "24h"), report);
}
