//! The MCP servers behind the gateway: reached, and speaking MCP.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use url::{Host, Url};

use super::finding::{Area, Notes};
use super::patient::{Patient, Seen, ask};
use super::resources::initialize;
use crate::config::Resource;
use crate::net::is_loopback;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// Asks every backend as the gateway does, though for nobody.
pub(super) async fn examine(patient: &Patient<'_>) -> Notes {
    let mut notes = Notes::about(Area::Backends);
    for resource in &patient.config().resources {
        one(patient, resource, &mut notes).await;
        open_to_others(patient, resource, &mut notes);
    }
    notes
}

async fn one(patient: &Patient<'_>, resource: &Resource, notes: &mut Notes) {
    let Some(url) = &resource.backend else {
        return;
    };
    let mut headers: HeaderMap = resource.backend_headers.iter().cloned().collect();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let accept = HeaderValue::from_static("application/json, text/event-stream");
    headers.insert(ACCEPT, accept);
    let body = initialize().to_string();
    let answer = ask(
        &patient.inside,
        Method::POST,
        url,
        headers.clone(),
        Some(body),
    )
    .await;
    let seen = match answer {
        Ok(seen) => seen,
        Err(failure) => {
            let change = "start the MCP server, or name where it listens";
            notes.fail(
                format!("{url}: {failure}"),
                patient.fix_resource(resource, "backend", change),
            );
            return;
        }
    };
    if let Some(session) = seen.headers.get(SESSION) {
        headers.insert(SESSION, session.clone());
        // A session that nobody will use; a server that keeps it forgets it by itself.
        let _ = ask(&patient.inside, Method::DELETE, url, headers, None).await;
    }
    judge(patient, resource, url, &seen, notes);
}

fn judge(patient: &Patient<'_>, resource: &Resource, url: &Url, seen: &Seen, notes: &mut Notes) {
    if speaks_mcp(seen) {
        notes.fine(format!("{url} speaks MCP"));
        return;
    }
    let fix = |key, change: &str| patient.fix_resource(resource, key, change);
    match seen.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let status = seen.status.as_u16();
            if resource.forward.needs_upstream_token() {
                notes.fine(format!("{url} asks for the person's token ({status})"));
            } else {
                let change = "add the secret that it asks for, or let it trust this gateway";
                let message = format!("{url} refuses requests without credentials ({status})");
                notes.warn(message, fix("backend_headers", change));
            }
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => notes.fail(
            format!("{url} is no MCP endpoint: {}", seen.in_words()),
            fix("backend", "add the path of its MCP endpoint, often /mcp"),
        ),
        _ => notes.fail(
            format!("{url} does not speak MCP: {}", seen.in_words()),
            fix(
                "backend",
                "name a server of MCP's Streamable HTTP transport",
            ),
        ),
    }
}

/// A JSON-RPC message, bare or as an event; a refusal in that form counts.
fn speaks_mcp(seen: &Seen) -> bool {
    let is_message = |value: &serde_json::Value| {
        let list = value.as_array().and_then(|list| list.first());
        list.unwrap_or(value).get("jsonrpc").is_some()
    };
    if seen.header("content-type").starts_with("text/event-stream") {
        let mut lines = seen.text.lines();
        return lines.any(|line| {
            let data = line.strip_prefix("data:").map(str::trim);
            data.and_then(|data| serde_json::from_str(data).ok())
                .is_some_and(|value| is_message(&value))
        });
    }
    seen.json.as_ref().is_some_and(is_message)
}

/// Whoever reaches the backend past the gateway can claim to be anybody.
fn open_to_others(patient: &Patient<'_>, resource: &Resource, notes: &mut Notes) {
    let Some(backend) = &resource.backend else {
        return;
    };
    let is_open = looks_public(backend) && resource.backend_headers.is_empty();
    if is_open && resource.forward.identity && !resource.forward.authorization {
        let host = backend.host_str().unwrap_or_default();
        let message = format!("whoever reaches {host} past this gateway can claim to be anybody");
        let change = "a header with a secret that the backend checks, or a private address";
        notes.warn(
            message,
            patient.fix_resource(resource, "backend_headers", change),
        );
    }
}

fn looks_public(url: &Url) -> bool {
    if is_loopback(url) {
        return false;
    }
    match url.host() {
        Some(Host::Domain(name)) => {
            let inside = [".internal", ".local", ".svc", ".lan", ".test"];
            name.contains('.')
                && !name.contains(".svc.")
                && !inside.iter().any(|end| name.ends_with(end))
        }
        Some(Host::Ipv4(ip)) => !ip.is_private() && !ip.is_link_local(),
        Some(Host::Ipv6(ip)) => !ip.is_unique_local() && !ip.is_unicast_link_local(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_look_public() {
        for (url, public) in [
            ("http://127.0.0.1:3000/mcp", false),
            ("http://tools:3000/mcp", false),
            ("http://tools.default.svc.cluster.local/mcp", false),
            ("http://10.1.2.3/mcp", false),
            ("http://[fd00::1]/mcp", false),
            ("https://tools.example.com/mcp", true),
            ("http://203.0.113.7/mcp", true),
        ] {
            assert_eq!(looks_public(&Url::parse(url).unwrap()), public, "{url}");
        }
    }
}
