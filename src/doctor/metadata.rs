//! The discovery documents: RFC 8414, RFC 9728, in every form that clients ask for.

use http::Method;
use serde_json::Value;

use super::finding::{Area, Fix, Notes};
use super::patient::{ORIGIN, Patient, Seen};
use crate::config::{Resource, StoreKind};
use crate::net::Failure;

const SERVER: &str = "/.well-known/oauth-authorization-server";
const RESOURCE: &str = "/.well-known/oauth-protected-resource";
const OPENID: &str = "/.well-known/openid-configuration";

/// Asks for every document.
pub(super) async fn examine(patient: &Patient<'_>) -> Notes {
    let mut notes = Notes::about(Area::Metadata);
    server(patient, SERVER, &mut notes).await;
    for resource in &patient.config().resources {
        if !resource.path.is_empty() {
            server(patient, &format!("{SERVER}{}", resource.path), &mut notes).await;
        }
        for slash in ["", "/"] {
            let path = format!("{RESOURCE}{}{slash}", resource.path);
            protected(patient, &path, resource, &mut notes).await;
        }
    }
    if let [only] = patient.config().resources.as_slice()
        && !only.path.is_empty()
    {
        protected(patient, RESOURCE, only, &mut notes).await;
    }
    openid(patient, &mut notes).await;
    preflight(patient, &mut notes).await;
    notes
}

/// What to do where a path does not lead here.
fn reroute(patient: &Patient<'_>, path: &str) -> Fix {
    let change = format!("let the proxy pass {path} to this server unchanged");
    patient.fix("public_url", change)
}

async fn server(patient: &Patient<'_>, path: &str, notes: &mut Notes) {
    let Some(seen) = document(patient, path, patient.get(path).await, notes) else {
        return;
    };
    let config = patient.config();
    let issuer = config.public_url.issuer.to_string();
    let named = seen.member("issuer").and_then(Value::as_str);
    if named != Some(&*issuer) {
        let named = named.unwrap_or("nobody");
        let message = format!("{path} names {named} as the issuer, which is not public_url");
        let change = format!("serve with public_url = \"{named}\", or probe with that file");
        notes.fail(message, patient.fix("public_url", change));
        return;
    }
    let mut wrong = Vec::new();
    for (endpoint, is_there) in [
        ("authorization_endpoint", true),
        ("token_endpoint", true),
        ("registration_endpoint", config.clients.dcr),
    ] {
        let url = seen.member(endpoint).and_then(Value::as_str);
        if url.is_some_and(|url| url.starts_with(&issuer)) != is_there {
            wrong.push(endpoint);
        }
    }
    let documents = seen.member("client_id_metadata_document_supported") == Some(&true.into());
    if documents != config.clients.cimd {
        wrong.push("client_id_metadata_document_supported");
    }
    let lists = |name: &str, word: &str| {
        let list = seen.member(name).and_then(Value::as_array);
        list.is_some_and(|list| list.iter().any(|it| it == word))
    };
    if !lists("code_challenge_methods_supported", "S256") {
        wrong.push("code_challenge_methods_supported");
    }
    if !lists("token_endpoint_auth_methods_supported", "none") {
        wrong.push("token_endpoint_auth_methods_supported");
    }
    notes.expect(
        wrong.is_empty(),
        format!("{path} names this issuer and what is switched on"),
        format!("{path} differs from this file: {}", wrong.join(", ")),
        || patient.fix("clients.cimd", "restart the server with this file"),
    );
}

async fn protected(patient: &Patient<'_>, path: &str, resource: &Resource, notes: &mut Notes) {
    let Some(seen) = document(patient, path, patient.get(path).await, notes) else {
        return;
    };
    let named = seen.member("resource").and_then(Value::as_str);
    let issuer = patient.config().public_url.issuer.to_string();
    let servers = seen
        .member("authorization_servers")
        .and_then(Value::as_array);
    let points_here = servers.is_some_and(|list| list.iter().any(|it| *it == *issuer));
    // RFC 9728 §3.3: clients compare it with the URL that they were given.
    let expected = resource.uri.to_string();
    notes.expect(
        named == Some(&*expected) && points_here,
        format!("{path} describes {expected}"),
        format!(
            "{path} describes {}, not {expected} at this issuer",
            named.unwrap_or("nothing")
        ),
        || patient.fix_resource(resource, "path", "restart the server with this file"),
    );
}

/// A document in JSON that any page may read, or why not.
fn document(
    patient: &Patient<'_>,
    path: &str,
    answer: Result<Seen, Failure>,
    notes: &mut Notes,
) -> Option<Seen> {
    let seen = match answer {
        Ok(seen) => seen,
        Err(failure) => {
            notes.fail(format!("{path}: {failure}"), reroute(patient, path));
            return None;
        }
    };
    if seen.status != http::StatusCode::OK || seen.json.is_none() {
        let message = format!("{path} is no document: {}", seen.in_words());
        notes.fail(message, reroute(patient, path));
        return None;
    }
    if seen.header("access-control-allow-origin") != "*" {
        let message = format!("{path} cannot be read by clients in a browser: no CORS header");
        let change = "let the proxy keep Access-Control-Allow-Origin";
        notes.warn(message, Patient::elsewhere(change));
    }
    Some(seen)
}

/// Clients that find no OAuth document ask for an OpenID one; whatever answers there misleads them.
async fn openid(patient: &Patient<'_>, notes: &mut Notes) {
    let path = OPENID;
    match patient.get(path).await {
        Ok(seen) if seen.status == http::StatusCode::NOT_FOUND => {
            notes.fine(format!("{path} is 404, as this is no OpenID provider"));
        }
        Ok(seen) => {
            let message = format!("{path} is not 404: {}", seen.in_words());
            notes.warn(message, reroute(patient, path));
        }
        Err(failure) => notes.fail(format!("{path}: {failure}"), reroute(patient, path)),
    }
}

/// A browser's question before it posts.
async fn preflight(patient: &Patient<'_>, notes: &mut Notes) {
    let config = patient.config();
    let mut paths = vec!["/token"];
    if config.clients.dcr {
        paths.push("/register");
    }
    if !matches!(config.replay.store, StoreKind::Upstream) {
        paths.push("/revoke");
    }
    let headers = [
        ("origin", ORIGIN),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    for path in paths {
        let answer = patient.ask(Method::OPTIONS, path, &headers, None).await;
        let allowed = answer.as_ref().is_ok_and(|seen| {
            seen.status.is_success() && seen.header("access-control-allow-origin") == "*"
        });
        notes.expect(
            allowed,
            format!("{path} may be called by pages of any origin"),
            format!("{path} refuses a browser's preflight"),
            || reroute(patient, &format!("OPTIONS {path}")),
        );
    }
}
