//! The MCP requests: a session of the earlier revisions, and a request of 2026-07-28.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use url::Url;

use super::agent::{Agent, Answer};
use super::client::Tokens;
use super::noted;
use super::report::{Mismatch, Noted, ensure, ensure_same};

const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";
/// The streamed answer: how many numbers, and the time between two.
const NUMBERS: u64 = 4;
const PAUSE: Duration = Duration::from_millis(60);
/// How long an event may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// `initialize`.
pub(super) fn initialization() -> Value {
    rpc(
        "initialize",
        &json!({
            "protocolVersion": LEGACY,
            "capabilities": {},
            "clientInfo": client_info(),
        }),
    )
}

fn client_info() -> Value {
    json!({ "name": "mcp-oauth-selfcheck", "version": env!("CARGO_PKG_VERSION") })
}

fn rpc(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

/// A session that `initialize` began.
pub(super) struct Session<'a> {
    agent: &'a Agent,
    url: &'a Url,
    tokens: &'a Tokens,
    id: String,
}

/// `initialize`, and the client's word that it is ready.
pub(super) async fn initialize<'a>(
    agent: &'a Agent,
    url: &'a Url,
    tokens: &'a Tokens,
) -> Result<Noted<Session<'a>>, Mismatch> {
    let mut session = Session {
        agent,
        url,
        tokens,
        id: String::new(),
    };
    let answer = session.post(&initialization()).await?;
    let result = result(&answer)?;
    let version = string(&result, "/protocolVersion");
    ensure_same("protocolVersion", LEGACY, &version)?;
    answer.header("mcp-session-id").clone_into(&mut session.id);
    let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    session.post(&ready).await?.expect(StatusCode::ACCEPTED)?;
    let server = string(&result, "/serverInfo/name");
    Ok(noted(session, format!("{server}, {version}")))
}

impl Session<'_> {
    /// `tools/list`.
    pub(super) async fn list(&self) -> Result<Noted<()>, Mismatch> {
        let result = result(&self.post(&rpc("tools/list", &json!({}))).await?)?;
        let tools = result.pointer("/tools").and_then(Value::as_array);
        let names: Vec<_> = tools
            .into_iter()
            .flatten()
            .map(|tool| string(tool, "/name"))
            .collect();
        let has = |name: &str| names.iter().any(|it| it == name);
        let all = ["whoami", "echo", "count"].into_iter().all(has);
        ensure(all, "whoami, echo, count", names.join(", "))?;
        Ok(noted((), names.join(", ")))
    }

    /// `tools/call`: the backend was told who signed in.
    pub(super) async fn whoami(&self, person: &str) -> Result<Noted<()>, Mismatch> {
        let call = rpc("tools/call", &json!({ "name": "whoami", "arguments": {} }));
        let result = result(&self.post(&call).await?)?;
        told_of(person, &result)
    }

    /// `tools/call` of a tool that takes a while: every event arrives when it happens.
    pub(super) async fn count(&self) -> Result<Noted<()>, Mismatch> {
        let pause = u64::try_from(PAUSE.as_millis()).unwrap_or(0);
        let call = rpc(
            "tools/call",
            &json!({
                "name": "count",
                "arguments": { "to": NUMBERS, "pause_ms": pause },
                "_meta": { "progressToken": "count" },
            }),
        );
        let response = self.agent.begin(self.request(&call)).await?;
        let kind = response.headers().get("content-type");
        let is_stream = kind.is_some_and(|it| it.as_bytes().starts_with(b"text/event-stream"));
        let got = format!("{}, {kind:?}", response.status());
        ensure(is_stream, "text/event-stream", got)?;

        let mut events = Events::new(response);
        let (begun, mut arrivals) = (Instant::now(), Vec::new());
        for number in 1..=NUMBERS {
            let progress = events.next().await?.pointer("/params/progress").cloned();
            arrivals.push(begun.elapsed());
            let holds = progress == Some(number.into());
            let got = progress.unwrap_or_default();
            ensure(holds, format!("progress {number}"), got)?;
        }
        let last = events.next().await?;
        let text = string(&last, "/result/content/0/text");
        ensure_same("the result", "1 2 3 4", &text)?;
        // Buffered events would arrive together.
        let first = arrivals.first().copied().unwrap_or_default();
        let spread = begun.elapsed().saturating_sub(first);
        ensure(
            spread >= PAUSE.saturating_mul(2),
            "events that arrive one by one",
            format!("all of them within {} ms", spread.as_millis()),
        )?;
        let note = format!(
            "{NUMBERS} events one by one, {} ms apart",
            PAUSE.as_millis()
        );
        Ok(noted((), note))
    }

    async fn post(&self, message: &Value) -> Result<Answer, Mismatch> {
        self.agent.send(self.request(message)).await
    }

    fn request(&self, message: &Value) -> RequestBuilder {
        let mut headers = vec![("mcp-protocol-version", LEGACY)];
        if !self.id.is_empty() {
            headers.push(("mcp-session-id", &self.id));
        }
        let token = self.tokens.access.expose();
        bearing(token, &headers, message, self.agent, self.url)
    }
}

/// MCP 2026-07-28: a request by itself, with its revision and its method in the headers.
pub(super) async fn stateless(
    agent: &Agent,
    url: &Url,
    tokens: &Tokens,
) -> Result<Noted<()>, Mismatch> {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": client_info(),
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let access = tokens.access.expose();
    let headers = [
        ("mcp-protocol-version", MODERN),
        ("mcp-method", "server/discover"),
    ];
    let discover = rpc("server/discover", &json!({ "_meta": meta }));
    let answer = agent
        .send(bearing(access, &headers, &discover, agent, url))
        .await?;
    let versions = result(&answer)?.pointer("/supportedVersions").cloned();
    let versions = versions.unwrap_or_default();
    let serves = versions
        .as_array()
        .is_some_and(|it| it.contains(&MODERN.into()));
    ensure(serves, format!("supportedVersions with {MODERN}"), versions)?;

    let headers = [
        ("mcp-protocol-version", MODERN),
        ("mcp-method", "tools/call"),
        ("mcp-name", "whoami"),
    ];
    let call = rpc(
        "tools/call",
        &json!({ "name": "whoami", "arguments": {}, "_meta": meta }),
    );
    let answer = agent
        .send(bearing(access, &headers, &call, agent, url))
        .await?;
    let result = result(&answer)?;
    ensure_same("resultType", "complete", &string(&result, "/resultType"))?;
    told_of("alice", &result)?;
    Ok(noted((), "server/discover, tools/call"))
}

/// Somebody's request with a token, to see what it is worth.
pub(super) async fn probe(agent: &Agent, url: &Url, token: &str) -> Result<Answer, Mismatch> {
    let headers = [("mcp-protocol-version", LEGACY)];
    let message = rpc("tools/list", &json!({}));
    agent
        .send(bearing(token, &headers, &message, agent, url))
        .await
}

/// A message with a token and the headers of its revision.
fn bearing(
    token: &str,
    headers: &[(&str, &str)],
    message: &Value,
    agent: &Agent,
    url: &Url,
) -> RequestBuilder {
    let request = agent
        .request(Method::POST, url)
        .bearer_auth(token)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .body(message.to_string());
    let add = |request: RequestBuilder, (name, value): &(&str, &str)| request.header(*name, *value);
    headers.iter().fold(request, add)
}

/// The result of an answer in JSON.
fn result(answer: &Answer) -> Result<Value, Mismatch> {
    answer.expect(StatusCode::OK)?;
    let mut body = answer.json()?;
    match body.get_mut("result") {
        Some(result) => Ok(result.take()),
        None => Err(Mismatch::new("a result", string(&body, "/error/message"))),
    }
}

fn told_of(person: &str, result: &Value) -> Result<Noted<()>, Mismatch> {
    let told = |word: &str| string(result, &format!("/structuredContent/{word}"));
    let (subject, email) = (told("subject"), told("email"));
    // `{upstream}:{id}`; how the operator calls the upstream is no matter here.
    let is_person = subject.rsplit(':').next() == Some(person);
    ensure(is_person, format!("the subject of {person}"), &subject)?;
    ensure_same("email", &format!("{person}@example.com"), &email)?;
    ensure_same("username", person, &told("username"))?;
    Ok(noted((), format!("{subject}, {email}")))
}

fn string(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default().to_owned()
}

/// Server-sent events as they arrive.
struct Events {
    response: Response,
    buffer: String,
}

impl Events {
    fn new(response: Response) -> Self {
        Self {
            response,
            buffer: String::new(),
        }
    }

    /// The JSON of the next event.
    async fn next(&mut self) -> Result<Value, Mismatch> {
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let data: Vec<_> = event
                    .lines()
                    .filter_map(|line| line.strip_prefix("data:"))
                    .map(|line| line.strip_prefix(' ').unwrap_or(line))
                    .collect();
                let data = data.join("\n");
                let rest = rest.len();
                self.buffer.drain(..self.buffer.len() - rest);
                if !data.is_empty() {
                    return serde_json::from_str(&data)
                        .map_err(|_| Mismatch::new("JSON in an event", "something else"));
                }
                continue;
            }
            let chunk = match timeout(PATIENCE, self.response.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(_) => return Err(Mismatch::new("another event", "the end of the stream")),
                Err(_) => return Err(Mismatch::new("another event", "silence")),
            };
            let text = String::from_utf8_lossy(&chunk);
            self.buffer.push_str(&text.replace('\r', ""));
        }
    }
}
