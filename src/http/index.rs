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
    pages::index(&app, all(&app))
}

/// Alive.
pub(super) async fn healthz() -> Response {
    respond::json(StatusCode::OK, &json!({ "status": "ok" }))
}

/// How to add one resource to an app.
#[derive(Debug)]
pub(super) struct AddResource {
    pub(super) name: String,
    pub(super) uri: String,
    pub(super) cursor: String,
    pub(super) vscode: String,
    /// Whether apps that run elsewhere can reach it.
    pub(super) public: bool,
    pub(super) unfolded: bool,
    pub(super) ways: Vec<Way>,
}

/// How one app takes an address: a line to paste, or words.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) app: &'static str,
    pub(super) line: Option<String>,
    pub(super) words: &'static str,
}

/// Every resource, by its path. The ways to add one are unfolded where it is the only one.
pub(super) fn all(app: &App) -> Vec<AddResource> {
    let mut rules: Vec<_> = app.resources.iter().collect();
    rules.sort_unstable_by_key(|rule| &rule.path);
    let unfolded = rules.len() == 1;
    let list = rules.into_iter().map(|rule| listed(app, rule, unfolded));
    list.collect()
}

/// What the pages say about a resource.
pub(super) fn listed(app: &App, rule: &ResourceRule, unfolded: bool) -> AddResource {
    let uri = rule.uri.as_str();
    let short = short(rule.name.as_deref().unwrap_or(uri));
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let cursor = STANDARD.encode(json!({ "url": uri }).to_string());
    let vscode = json!({ "name": short, "type": "http", "url": uri }).to_string();
    let public = !app.config.public_url.is_loopback;
    AddResource {
        cursor: format!(
            "cursor://anysphere.cursor-deeplink/mcp/install?name={}&config={}",
            encode(&short),
            encode(&cursor)
        ),
        vscode: format!("vscode:mcp/install?{}", encode(&vscode)),
        ways: ways(uri, &short, &vscode, public),
        uri: uri.to_owned(),
        name: heading(app, rule).to_owned(),
        public,
        unfolded,
    }
}

/// What stands above a resource: each must be told from the others, also by ear.
fn heading<'a>(app: &App, rule: &'a ResourceRule) -> &'a str {
    let several = app.resources.iter().nth(1).is_some();
    let unnamed = if several {
        rule.path.as_str()
    } else {
        "This server’s tools"
    };
    rule.name.as_deref().unwrap_or(unnamed)
}

fn ways(uri: &str, short: &str, vscode: &str, public: bool) -> Vec<Way> {
    let line = |app, line: String| Way {
        app,
        line: Some(line),
        words: "",
    };
    let words = |app, words| Way {
        app,
        line: None,
        words,
    };
    let mut ways = Vec::new();
    // Apps that run elsewhere cannot reach this computer.
    if public {
        ways.push(words(
            "Claude, on the web and the desktop",
            "Settings → Connectors → Add custom connector, then paste the address.",
        ));
        ways.push(words(
            "ChatGPT",
            "Settings → Apps & Connectors → Advanced settings → Developer mode, then Create, and \
             paste the address.",
        ));
    }
    ways.extend([
        line(
            "Claude Code",
            format!("claude mcp add --transport http {short} {uri}"),
        ),
        line("Codex CLI", format!("codex mcp add {short} --url {uri}")),
        line(
            "Gemini CLI",
            format!("gemini mcp add --transport http {short} {uri}"),
        ),
        line("VS Code", format!("code --add-mcp '{vscode}'")),
        line(
            "An app that only starts local servers",
            format!("npx -y mcp-remote {uri}"),
        ),
        words(
            "Any other app",
            "Add a remote MCP server (“Streamable HTTP”) and paste the address. It needs no key.",
        ),
    ]);
    ways
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
