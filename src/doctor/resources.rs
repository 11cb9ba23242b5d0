//! The protected paths from outside: the challenge that makes clients sign in, and what a proxy in
//! between could break.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::finding::{Area, Notes};
use super::patient::{Patient, Seen};
use crate::config::{AuthMode, Resource};
use crate::net::Failure;

/// As long as a token with a provider's token inside becomes.
const LONG: usize = 7 * 1024;

/// The first message of a client.
pub(super) fn initialize() -> Value {
    json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": { "name": "mcp-oauth doctor", "version": env!("CARGO_PKG_VERSION") },
        },
    })
}

/// Asks each resource as a client that has not signed in yet.
pub(super) async fn examine(patient: &Patient<'_>) -> Notes {
    let mut notes = Notes::about(Area::Resources);
    for resource in &patient.config().resources {
        let path = if resource.path.is_empty() {
            "/"
        } else {
            &resource.path
        };
        if resource.auth == AuthMode::Required {
            challenged(patient, resource, path, &mut notes).await;
            let slashed = format!("{}/", path.trim_end_matches('/'));
            if slashed != path {
                challenged(patient, resource, &slashed, &mut notes).await;
            }
        } else {
            open(patient, resource, path, &mut notes).await;
        }
        bad_token(patient, resource, path, &mut notes).await;
    }
    notes
}

/// RFC 9728 §5.1: 401 with the place of the metadata, to every method that clients try first.
async fn challenged(patient: &Patient<'_>, resource: &Resource, path: &str, notes: &mut Notes) {
    for method in [Method::POST, Method::GET, Method::HEAD] {
        let name = method.clone();
        let answer = match method {
            Method::POST => patient.post_json(path, &initialize()).await,
            _ => patient.ask(method, path, &[], None).await,
        };
        match judge(patient, resource, &answer) {
            Ok(()) => notes.fine(format!("{name} {path} without a token is challenged")),
            Err(why) => notes.fail(
                format!("{name} {path} without a token: {why}"),
                patient.fix("public_url", format!("let the proxy pass {path} unchanged")),
            ),
        }
    }
}

fn judge(
    patient: &Patient<'_>,
    resource: &Resource,
    answer: &Result<Seen, Failure>,
) -> Result<(), String> {
    let seen = answer.as_ref().map_err(ToString::to_string)?;
    if seen.status != StatusCode::UNAUTHORIZED {
        return Err(seen.in_words());
    }
    let challenge = seen.header("www-authenticate");
    let place = patient.config().public_url.join(&format!(
        "/.well-known/oauth-protected-resource{}",
        resource.path
    ));
    if !challenge.contains(&format!("resource_metadata=\"{place}\"")) {
        return Err(if challenge.is_empty() {
            "401 without WWW-Authenticate, so no client signs in".to_owned()
        } else {
            format!("the challenge does not name {place}")
        });
    }
    Ok(())
}

async fn open(patient: &Patient<'_>, resource: &Resource, path: &str, notes: &mut Notes) {
    match patient.post_json(path, &initialize()).await {
        Ok(seen) if seen.status.is_success() => {
            notes.fine(format!("POST {path} without a token reaches the backend"));
        }
        Ok(seen) if seen.status == StatusCode::UNAUTHORIZED => {
            notes.fine(format!(
                "POST {path} without a token: the backend asks for one"
            ));
        }
        other => {
            let why = other.map_or_else(|failure| failure.to_string(), |seen| seen.in_words());
            let message = format!("POST {path} without a token: {why}");
            let change = "is the backend up, and is this its path?";
            notes.fail(message, patient.fix_resource(resource, "backend", change));
        }
    }
}

/// A token that is no good, and as long as good ones can be: 401, not the proxy's 400 or 431.
async fn bad_token(patient: &Patient<'_>, resource: &Resource, path: &str, notes: &mut Notes) {
    let token = format!("Bearer {}", "x".repeat(LONG));
    let headers = [
        ("authorization", token.as_str()),
        ("content-type", "application/json"),
    ];
    let body = initialize().to_string();
    let answer = patient.ask(Method::POST, path, &headers, Some(body)).await;
    match answer {
        Ok(seen)
            if seen.status == StatusCode::UNAUTHORIZED
                && seen.header("www-authenticate").contains("invalid_token") =>
        {
            notes.fine(format!(
                "a bad token of {LONG} bytes at {path} is refused as such"
            ));
        }
        other => {
            let why = other.map_or_else(|failure| failure.to_string(), |seen| seen.in_words());
            let message = format!("a bad token of {LONG} bytes at {path}: {why}");
            let change = "let the proxy pass request heads of 16 KB";
            if resource.forward.needs_upstream_token() {
                notes.fail(message, Patient::elsewhere(change));
            } else {
                notes.warn(message, Patient::elsewhere(change));
            }
        }
    }
}
