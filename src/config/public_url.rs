//! `public_url`: the issuer (RFC 8414 §2), and what it means to be public.
//!
//! Refuses everything but an origin in its one spelling, since clients compare it byte for byte,
//! and clear text anywhere but on this computer.

use std::net::SocketAddr;

use url::{Host, Url};

use super::PublicUrl;
use super::problem::Report;
use super::tree::KeyPath;
use crate::oauth::names::Issuer;

/// Reads `public_url`.
pub(super) fn resolve(text: Option<&str>, report: &mut Report<'_>) -> Option<PublicUrl> {
    let at = KeyPath::of("public_url");
    let Some(text) = text else {
        let hint = "the origin that clients reach this server at: public_url = \
                    \"https://mcp.example.com\"\n\
                    on your own computer: public_url = \"http://127.0.0.1:8080\"";
        report.missing(&at, hint);
        return None;
    };
    let example = "write an origin such as \"https://mcp.example.com\"";
    let url = Url::parse(text).ok().filter(Url::has_host);
    let Some(url) = url.filter(|url| matches!(url.scheme(), "http" | "https")) else {
        // Not repeated: there may be a password in it.
        report.error(&at, "`public_url` is not an https URL", example);
        return None;
    };
    check_spelling(text, &url, &at, report);
    let is_loopback = url.host().is_some_and(|host| is_loopback(&host));
    // OAuth 2.1 §1.5: https, but for this computer.
    if url.scheme() == "http" && !is_loopback && !report.is_faulty(&at) {
        let message = format!("`{text}` is plain http on a public host");
        let rest = text.strip_prefix("http").unwrap_or_default();
        report.error(&at, message, &format!("write \"https{rest}\""));
    }
    // Returned even where it is wrong, so that everything else is judged as well.
    Some(PublicUrl {
        issuer: Issuer::new(url.origin().ascii_serialization()),
        is_loopback,
        url,
    })
}

// RFC 8414 §2: no query, no fragment. A path would move the well-known URLs; another spelling
// would not compare equal.
fn check_spelling(text: &str, url: &Url, at: &KeyPath, report: &mut Report<'_>) {
    let origin = url.origin().ascii_serialization();
    if text == origin {
        return;
    }
    let mut hint = format!("write \"{origin}\"");
    let message = if !url.username().is_empty() || url.password().is_some() {
        "public_url holds user information".to_owned()
    } else if url.query().is_some() {
        format!("`{text}` holds a query")
    } else if url.fragment().is_some() {
        format!("`{text}` holds a fragment")
    } else if url.path() == "/" {
        format!("`{text}` is not the one spelling of this origin")
    } else {
        hint.push_str("; paths belong to `[[resources]]`");
        format!("`{text}` holds a path; the issuer is an origin")
    };
    report.error(at, message, &hint);
}

/// Whether a host is this computer.
pub(super) fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
        Host::Domain(name) => *name == "localhost",
    }
}

/// Warns where others can reach a server that believes to be alone on this computer.
pub(super) fn warn_if_open(public_url: &PublicUrl, listen: SocketAddr, report: &mut Report<'_>) {
    if public_url.is_loopback && !listen.ip().is_loopback() {
        report.warn(
            &KeyPath::of("listen"),
            format!("{listen} can be reached by others, while public_url is this computer"),
            "listen on 127.0.0.1, unless this is a container whose port is published there",
        );
    }
}
