//! The programs in `examples`, started as processes and used over their sockets.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::visitor::{Answer, Visitor};

/// An example that runs. It is killed when it is dropped.
struct Example {
    /// The URL of its resource, as it has printed it.
    url: String,
    _process: Child,
}

impl Example {
    async fn start(name: &str) -> Self {
        let mut process = Command::new(built().join(name))
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let url = lines.next_line().await.unwrap().unwrap();
        Self {
            url,
            _process: process,
        }
    }
}

/// The folder of the examples. `cargo test` has built them; `cargo test --test api` may not have, and
/// then one that is missing or stale is built here.
fn built() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        // The test is …/debug/deps/api-0123, the examples are in …/debug/examples.
        let [_, _, folder, target] = test.ancestors().take(4).collect::<Vec<_>>()[..] else {
            panic!("{}", test.display());
        };
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(other) => other,
        };
        let features = if cfg!(feature = "redis") { "redis" } else { "" };
        let done = std::process::Command::new(env!("CARGO"))
            .args(["build", "--locked", "--quiet", "--examples"])
            .args(["--no-default-features", "--features", features])
            .args(["--profile", profile, "--target-dir"])
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(done.unwrap().success());
        folder.join("examples")
    });
    built.clone()
}

#[tokio::test]
async fn axum_example_greets_whoever_signs_in() {
    let example = Example::start("axum").await;
    let visitor = Visitor::register(&example.url).await;
    let stranger = visitor.get("/hello").await;
    stranger.assert_challenge(StatusCode::UNAUTHORIZED, None);
    let page = visitor.get("/").await;
    assert_eq!(page.body, "This page is for everybody.");
    for person in ["alice", "bob"] {
        let tokens = visitor.sign_in(person, "greet").await;
        let greeting = visitor.ask(&tokens.access).await;
        assert_eq!(greeting.body, format!("Hello, {person}!"));
        visitor.revoke(&tokens).await;
        let refused = visitor.ask(&tokens.access).await;
        refused.assert_challenge(StatusCode::UNAUTHORIZED, Some("invalid_token"));
    }
}

/// A client of the MCP server with one person's token.
struct Session<'a> {
    visitor: &'a Visitor,
    token: String,
    id: String,
}

impl<'a> Session<'a> {
    async fn initialize(visitor: &'a Visitor, person: &str) -> Self {
        let token = visitor.sign_in(person, "tools").await.access;
        let mut session = Self {
            visitor,
            token,
            id: String::new(),
        };
        let hello = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "visitor", "version": "1" },
        });
        let answer = session.post("initialize", Some(1), &hello).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        session.id = answer.header("mcp-session-id").to_owned();
        let ready = json!({});
        let answer = session
            .post("notifications/initialized", None, &ready)
            .await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        session
    }

    async fn post(&self, method: &str, id: Option<u64>, params: &Value) -> Answer {
        let mut message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        if let Some(id) = id {
            message["id"] = id.into();
        }
        let mut headers = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        if !self.id.is_empty() {
            headers.push(("mcp-session-id", &self.id));
            headers.push(("mcp-protocol-version", "2025-11-25"));
        }
        let (url, body) = (self.visitor.at("/mcp"), message.to_string());
        self.visitor
            .call(Method::POST, &url, &self.token, &headers, &body)
            .await
    }

    async fn whoami(&self) -> Answer {
        let call = json!({ "name": "whoami", "arguments": {} });
        self.post("tools/call", Some(2), &call).await
    }
}

/// The text of a tool's answer, which comes as an event.
fn text(answer: &Answer) -> String {
    let lines = answer.body.lines();
    let mut messages = lines
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data:")?.trim()).ok());
    let message = messages.find(|it| it.get("result").is_some());
    let message = message.unwrap_or_else(|| panic!("{answer:?}"));
    let text = &message["result"]["content"][0]["text"];
    text.as_str().unwrap().to_owned()
}

// S7
#[tokio::test]
async fn rmcp_example_asks_the_provider_about_whoever_calls() {
    let example = Example::start("rmcp").await;
    let visitor = Visitor::register(&example.url).await;
    let stranger = visitor.get("/mcp").await;
    stranger.assert_challenge(StatusCode::UNAUTHORIZED, None);
    let mut sessions = Vec::new();
    for person in ["alice", "bob"] {
        let session = Session::initialize(&visitor, person).await;
        let said = text(&session.whoami().await);
        let (subject, userinfo) = said.split_once(": ").unwrap();
        assert_eq!(subject, format!("demo:{person}"));
        let userinfo: Value = serde_json::from_str(userinfo).unwrap();
        assert_eq!(userinfo["email"], format!("{person}@example.com"));
        sessions.push(session);
    }
    // A session is its person's: the id of another one is unknown.
    let [alice, bob] = &mut sessions[..] else {
        panic!("two people");
    };
    std::mem::swap(&mut alice.id, &mut bob.id);
    for session in [alice, bob] {
        assert_eq!(session.whoami().await.status, StatusCode::NOT_FOUND);
    }
}
