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
    match check(text) {
        Ok(public_url) => Some(public_url),
        Err((message, hint)) => {
            report.error(&at, message, &hint);
            None
        }
    }
}

fn check(text: &str) -> Result<PublicUrl, (String, String)> {
    let example = "write an origin such as `https://mcp.example.com`".to_owned();
    let Ok(url) = Url::parse(text) else {
        return Err((format!("`{text}` is not a URL"), example));
    };
    let (true, Some(host)) = (matches!(url.scheme(), "http" | "https"), url.host()) else {
        return Err((format!("`{text}` is not an https URL"), example));
    };
    let origin = url.origin().ascii_serialization();
    // RFC 8414 §2: https, no query, no fragment. A path would move the well-known URLs.
    if text != origin {
        let message = match () {
            () if !url.username().is_empty() || url.password().is_some() => {
                "public_url holds user information".to_owned()
            }
            () if url.query().is_some() => format!("`{text}` holds a query"),
            () if url.fragment().is_some() => format!("`{text}` holds a fragment"),
            () if url.path() != "/" => format!("`{text}` holds a path; the issuer is an origin"),
            () => format!("`{text}` is not the one spelling of this origin"),
        };
        let mut hint = format!("write `{origin}`");
        if url.path() != "/" {
            hint.push_str("; paths belong to `[[resources]]`");
        }
        return Err((message, hint));
    }
    let is_loopback = is_loopback(&host);
    // OAuth 2.1 §1.5: https, but for this computer.
    if url.scheme() == "http" && !is_loopback {
        let message = format!("`{text}` is plain http on a public host");
        return Err((message, format!("write `https{}`", &text["http".len()..])));
    }
    Ok(PublicUrl {
        issuer: Issuer::new(text),
        is_loopback,
        url,
    })
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
