//! Browsers: the `Origin` check of the MCP transport and CORS (Fetch §3.2), from one configuration.
//!
//! Refuses origins that are not configured. Never allows credentials: the only credential here is
//! a header that a script has to set itself.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ALLOW,
    HeaderMap, ORIGIN, VARY,
};
use http::{HeaderValue, StatusCode};
use url::{Host, Url};

use crate::config::{Cors, PublicUrl};

/// What MCP clients send; `*` would not cover `Authorization`.
const HEADERS: &str = "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Method, \
                       Mcp-Name, Mcp-Session-Id, Last-Event-ID";
const EXPOSED: HeaderValue = HeaderValue::from_static("WWW-Authenticate, Mcp-Session-Id");
/// Methods of the MCP transport, now and in earlier revisions.
pub(crate) const METHODS: HeaderValue =
    HeaderValue::from_static("GET, POST, DELETE, HEAD, OPTIONS");
const ANY: HeaderValue = HeaderValue::from_static("*");
/// Most `Mcp-Param-*` names that a preflight gets reflected.
const MAX_REFLECTED: usize = 64;

/// The rule for origins.
#[derive(Debug)]
pub(crate) struct Origins {
    rule: Cors,
    own: String,
}

/// What the rule says about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Not from a script of another site.
    None,
    /// Allowed; the value that says so.
    Allowed(HeaderValue),
    /// Not allowed.
    Refused,
}

impl Origins {
    pub(crate) fn new(rule: Cors, public_url: &PublicUrl) -> Self {
        Self {
            rule,
            own: public_url.url.origin().ascii_serialization(),
        }
    }

    /// Judges a request's `Origin`.
    pub(crate) fn judge(&self, headers: &HeaderMap) -> Origin {
        let mut values = headers.get_all(ORIGIN).iter();
        let Some(value) = values.next() else {
            return Origin::None;
        };
        if values.next().is_some() {
            return Origin::Refused;
        }
        match &self.rule {
            Cors::Any => Origin::Allowed(ANY),
            Cors::Only { origins, loopback } => {
                let allowed = value.to_str().is_ok_and(|origin| {
                    origin == self.own
                        || origins.iter().any(|known| known == origin)
                        || (*loopback && is_loopback(origin))
                });
                if allowed {
                    Origin::Allowed(value.clone())
                } else {
                    Origin::Refused
                }
            }
        }
    }

    /// Adds what a browser needs to hand an answer, errors included, to the script.
    pub(crate) fn decorate(&self, origin: &Origin, headers: &mut HeaderMap) {
        if matches!(self.rule, Cors::Only { .. }) {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        if let Origin::Allowed(value) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, value.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

/// The answer to `OPTIONS`, given before any authentication (Fetch: a preflight has no credentials).
pub(crate) fn preflight(requested: &HeaderMap) -> http::Response<axum::body::Body> {
    let mut response = http::Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ALLOW, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers(requested));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
    headers.insert(
        VARY,
        HeaderValue::from_static("Access-Control-Request-Headers"),
    );
    response
}

fn allowed_headers(requested: &HeaderMap) -> HeaderValue {
    let mut list = HEADERS.to_owned();
    let names = requested
        .get_all(ACCESS_CONTROL_REQUEST_HEADERS)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| is_param(name))
        .take(MAX_REFLECTED);
    for name in names {
        list.push_str(", ");
        list.push_str(name);
    }
    HeaderValue::from_str(&list).unwrap_or(HeaderValue::from_static(HEADERS))
}

/// `Mcp-Param-*`: the names depend on the backend's tools, so any is allowed.
fn is_param(name: &str) -> bool {
    const PREFIX: &str = "mcp-param-";
    name.get(..PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
        && http::HeaderName::from_bytes(name.as_bytes()).is_ok()
}

fn is_loopback(origin: &str) -> bool {
    let Ok(url) = Url::parse(origin) else {
        return false;
    };
    // An origin has no path, and one spelling.
    if !matches!(url.scheme(), "http" | "https") || url.origin().ascii_serialization() != origin {
        return false;
    }
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(rule: Cors) -> Origins {
        let public_url = PublicUrl {
            issuer: crate::oauth::names::Issuer::new("https://mcp.example.com"),
            url: Url::parse("https://mcp.example.com").unwrap(),
            is_loopback: false,
        };
        Origins::new(rule, &public_url)
    }

    fn from(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ORIGIN, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    // G1, X4
    #[test]
    fn only_configured_origins_pass() {
        let origins = origins(Cors::Only {
            origins: vec!["https://app.example".to_owned()],
            loopback: true,
        });
        for good in [
            "https://app.example",
            "https://mcp.example.com",
            "http://localhost:6274",
            "http://127.0.0.1:1",
            "http://[::1]:8080",
        ] {
            let expected = Origin::Allowed(HeaderValue::from_str(good).unwrap());
            assert_eq!(origins.judge(&from(&[good])), expected, "{good}");
        }
        for bad in [
            "https://app.example.evil.com",
            "https://evil.com",
            "http://app.example",
            "https://app.example:444",
            "null",
            "",
            "http://localhost.evil.com",
            "http://127.0.0.1.nip.io",
            "http://localhost:6274/path",
            "HTTP://LOCALHOST",
        ] {
            assert_eq!(origins.judge(&from(&[bad])), Origin::Refused, "{bad}");
        }
        let twice = from(&["https://app.example", "https://app.example"]);
        assert_eq!(origins.judge(&twice), Origin::Refused);
        assert_eq!(origins.judge(&from(&[])), Origin::None);
    }

    // X2
    #[test]
    fn preflight_reflects_parameter_headers_only() {
        let mut requested = HeaderMap::new();
        requested.insert(
            ACCESS_CONTROL_REQUEST_HEADERS,
            HeaderValue::from_static(
                "authorization, mcp-param-region,Mcp-Param-a_b , x-evil, mcp-param-\u{20}x",
            ),
        );
        let allowed = allowed_headers(&requested);
        assert_eq!(
            allowed.to_str().unwrap(),
            format!("{HEADERS}, mcp-param-region, Mcp-Param-a_b")
        );
    }

    // X3
    #[test]
    fn any_origin_is_a_star_without_credentials() {
        let origins = origins(Cors::Any);
        let mut headers = HeaderMap::new();
        origins.decorate(&origins.judge(&from(&["https://x.example"])), &mut headers);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!headers.contains_key("access-control-allow-credentials"));
    }
}
