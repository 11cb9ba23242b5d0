//! `GET /`: what this server is, and how to add it to a client. `GET /healthz`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::pages::IndexResource;
use super::{App, pages, respond};
use crate::oauth::resource::ResourceRule;

/// The page, or the list of resources for a machine.
pub(super) async fn get(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let accept = headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if accept.contains("application/json") && !accept.contains("text/html") {
        let entry = |rule: &ResourceRule| json!({ "resource": rule.uri, "name": rule.name });
        let list: Vec<_> = app.resources.iter().map(entry).collect();
        return respond::json(StatusCode::OK, &json!({ "resources": list }));
    }
    pages::index(&app, app.resources.iter().map(listed).collect())
}

/// Alive.
pub(super) async fn healthz() -> Response {
    respond::json(StatusCode::OK, &json!({ "status": "ok" }))
}

fn listed(rule: &ResourceRule) -> IndexResource {
    let uri = rule.uri.as_str();
    let name = rule.name.clone().unwrap_or_else(|| uri.to_owned());
    let short = short(&name);
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let cursor = STANDARD.encode(json!({ "url": uri }).to_string());
    let vscode = json!({ "name": short, "type": "http", "url": uri }).to_string();
    IndexResource {
        cursor: format!(
            "cursor://anysphere.cursor-deeplink/mcp/install?name={}&config={}",
            encode(&short),
            encode(&cursor)
        ),
        vscode: format!("vscode:mcp/install?{}", encode(&vscode)),
        uri: uri.to_owned(),
        name,
        short,
    }
}

/// A name for a command line: letters, digits and dashes.
fn short(name: &str) -> String {
    let name = name
        .strip_prefix("https://")
        .or_else(|| name.strip_prefix("http://"))
        .unwrap_or(name);
    let dashed: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    let words: Vec<_> = dashed.split('-').filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        "mcp".to_owned()
    } else {
        words.join("-")
    }
}
