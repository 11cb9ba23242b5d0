//! The demo's MCP server: both eras, the three tools, and whom it does not serve.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use mcp_oauth::demo::backend::{Backend, GATEWAY_KEY};
use serde_json::{Value, json};

use super::{Answer, send};

const MODERN: &str = "2026-07-28";

struct Mcp {
    router: Router,
    key: String,
}

impl Mcp {
    fn new() -> Self {
        let backend = Backend::new();
        Self {
            router: backend.router(),
            key: backend.gateway_key().expose().to_owned(),
        }
    }

    async fn post(&self, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut request = Request::post("/mcp")
            .header(GATEWAY_KEY, &self.key)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_string())).unwrap();
        send(&self.router, request).await
    }

    /// A request of the later era whose headers say what its body says.
    async fn modern(&self, method: &str, name: Option<&str>) -> Answer {
        let mut headers = vec![("mcp-protocol-version", MODERN), ("mcp-method", method)];
        headers.extend(name.map(|name| ("mcp-name", name)));
        self.post(&headers, &modern(method, name)).await
    }
}

fn rpc(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params })
}

fn modern(method: &str, name: Option<&str>) -> Value {
    let mut params = json!({ "_meta": {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    }});
    if let Some(name) = name {
        params["name"] = name.into();
        params["arguments"] = json!({});
    }
    rpc(method, &params)
}

fn initialize(version: &str) -> Value {
    let params = json!({
        "protocolVersion": version,
        "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" },
    });
    rpc("initialize", &params)
}

fn call(name: &str, arguments: &Value) -> Value {
    rpc(
        "tools/call",
        &json!({ "name": name, "arguments": arguments }),
    )
}

// S4
#[tokio::test]
async fn backend_serves_only_the_gateway() {
    let mcp = Mcp::new();
    let body = || Body::from(call("whoami", &json!({})).to_string());
    let without = Request::post("/mcp").body(body()).unwrap();
    let forged = Request::post("/mcp")
        .header(GATEWAY_KEY, "guessed")
        .header("x-forwarded-user", "demo:alice")
        .body(body())
        .unwrap();
    for request in [without, forged] {
        assert_eq!(
            send(&mcp.router, request).await.status,
            StatusCode::UNAUTHORIZED
        );
    }
    // G1: a browser never comes through the gateway with its origin.
    let browser = [("origin", "https://evil.example")];
    let answer = mcp.post(&browser, &call("whoami", &json!({}))).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn backend_speaks_every_revision_with_sessions() {
    for (asked, spoken) in [
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2024-11-05", "2025-11-25"),
        (MODERN, "2025-11-25"),
    ] {
        let mcp = Mcp::new();
        let begun = mcp.post(&[], &initialize(asked)).await;
        assert_eq!(begun.json()["result"]["protocolVersion"], spoken, "{asked}");
        let headers = [
            ("mcp-session-id", begun.header("mcp-session-id")),
            ("mcp-protocol-version", spoken),
        ];
        let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let answer = mcp.post(&headers, &ready).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (StatusCode::ACCEPTED, "")
        );
        let pong = mcp.post(&headers, &rpc("ping", &json!({}))).await.json();
        assert_eq!(pong, json!({ "jsonrpc": "2.0", "id": 7, "result": {} }));
        let tools = mcp
            .post(&headers, &rpc("tools/list", &json!({})))
            .await
            .json();
        assert_eq!(tools["result"]["tools"][2]["name"], "count");
        let hello = json!({ "text": "hello" });
        let echo = mcp.post(&headers, &call("echo", &hello)).await.json();
        assert_eq!(echo["result"]["content"][0]["text"], "hello");
        assert_eq!(echo["result"].get("resultType"), None);
    }
}

#[tokio::test]
async fn backend_session_ends_by_delete() {
    let mcp = Mcp::new();
    let begun = mcp.post(&[], &initialize("2025-11-25")).await;
    let session = begun.header("mcp-session-id");
    let headers = [("mcp-session-id", session)];
    let end = || {
        let request = Request::delete("/mcp")
            .header(GATEWAY_KEY, &mcp.key)
            .header("mcp-session-id", session);
        send(&mcp.router, request.body(Body::empty()).unwrap())
    };
    assert_eq!(end().await.status, StatusCode::NO_CONTENT);
    assert_eq!(end().await.status, StatusCode::NOT_FOUND);
    let answer = mcp.post(&headers, &rpc("tools/list", &json!({}))).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn backend_has_no_stream_of_its_own() {
    let mcp = Mcp::new();
    let request = Request::get("/mcp").header(GATEWAY_KEY, &mcp.key);
    let answer = send(&mcp.router, request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.header("allow"), "POST, DELETE");
}

// G14
#[tokio::test]
async fn backend_answers_batches() {
    let mcp = Mcp::new();
    let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let batch = json!([
        rpc("ping", &json!({})),
        ready,
        rpc("no/such", &json!({})),
        3
    ]);
    let answers = mcp.post(&[], &batch).await.json();
    assert_eq!(answers.as_array().unwrap().len(), 3);
    assert_eq!(answers[0]["result"], json!({}));
    assert_eq!(answers[1]["error"]["code"], -32_601);
    assert_eq!(answers[2]["error"]["code"], -32_600);
    assert_eq!(
        mcp.post(&[], &json!([ready])).await.status,
        StatusCode::ACCEPTED
    );
}

#[tokio::test]
async fn backend_serves_requests_without_a_session() {
    let mcp = Mcp::new();
    let discovered = mcp.modern("server/discover", None).await;
    assert_eq!(discovered.status, StatusCode::OK);
    assert_eq!(discovered.header("mcp-session-id"), "");
    let result = &discovered.json()["result"];
    assert_eq!(result["resultType"], "complete");
    assert_eq!(result["supportedVersions"][0], MODERN);
    let meta = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
    assert_eq!(meta["name"], "mcp-oauth-demo");
    let listed = mcp.modern("tools/list", None).await.json();
    // Required members: some clients refuse the list without them.
    assert!(listed["result"]["ttlMs"].is_u64());
    assert_eq!(listed["result"]["cacheScope"], "private");
    assert_eq!(listed["result"]["tools"][0]["name"], "whoami");
    let called = mcp.modern("tools/call", Some("whoami")).await.json();
    assert_eq!(called["result"]["resultType"], "complete");
}

// G6
#[tokio::test]
async fn backend_refuses_headers_that_contradict_the_body() {
    let mcp = Mcp::new();
    let body = modern("tools/call", Some("echo"));
    let version = ("mcp-protocol-version", MODERN);
    let (method, name) = (("mcp-method", "tools/call"), ("mcp-name", "echo"));
    for headers in [
        vec![method, name],
        vec![("mcp-protocol-version", "2025-11-25"), method, name],
        vec![version, name],
        vec![version, ("mcp-method", "tools/list"), name],
        vec![version, method],
        vec![version, method, ("mcp-name", "whoami")],
        vec![version, method, ("mcp-name", "=?base64?d2hvYW1p?=")],
    ] {
        let answer = mcp.post(&headers, &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{headers:?}");
        assert_eq!(answer.json()["error"]["code"], -32_020, "{headers:?}");
        assert_eq!(answer.json()["id"], 7);
    }
    let encoded = [version, method, ("mcp-name", "=?base64?ZWNobw==?=")];
    let answer = mcp.post(&encoded, &body).await;
    assert_eq!(answer.json()["error"]["message"], "`text` is missing");
    // The header alone promises a body that is not there.
    let answer = mcp.post(&[version], &rpc("tools/list", &json!({}))).await;
    assert_eq!(answer.json()["error"]["code"], -32_020);
}

#[tokio::test]
async fn backend_names_its_revisions_to_a_client_of_another() {
    let mcp = Mcp::new();
    let mut body = modern("tools/list", None);
    body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = "1900-01-01".into();
    let headers = [
        ("mcp-protocol-version", "1900-01-01"),
        ("mcp-method", "tools/list"),
    ];
    let answer = mcp.post(&headers, &body).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let error = &answer.json()["error"];
    assert_eq!(error["code"], -32_022);
    assert_eq!(error["data"]["requested"], "1900-01-01");
    assert_eq!(error["data"]["supported"][0], MODERN);
}

#[tokio::test]
async fn backend_tells_unknown_methods_as_each_era_wants_it() {
    let mcp = Mcp::new();
    let legacy = mcp.post(&[], &rpc("no/such", &json!({}))).await;
    assert_eq!(legacy.status, StatusCode::OK);
    assert_eq!(legacy.json()["error"]["code"], -32_601);
    let modern = mcp.modern("initialize", None).await;
    assert_eq!(modern.status, StatusCode::NOT_FOUND);
    assert_eq!(modern.json()["error"]["code"], -32_601);
}

#[tokio::test]
async fn backend_refuses_what_is_no_request() {
    let mcp = Mcp::new();
    let request = Request::post("/mcp").header(GATEWAY_KEY, &mcp.key);
    let answer = send(&mcp.router, request.body(Body::from("{")).unwrap()).await;
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].as_i64()),
        (StatusCode::BAD_REQUEST, Some(-32_700))
    );
    for body in [
        json!({ "jsonrpc": "1.0", "id": 1, "method": "ping" }),
        json!({ "jsonrpc": "2.0", "id": null, "method": "ping" }),
        json!({ "jsonrpc": "2.0", "id": 1 }),
        json!("ping"),
    ] {
        let answer = mcp.post(&[], &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(answer.json()["error"]["code"], -32_600, "{body}");
    }
}

#[tokio::test]
async fn whoami_shows_the_identity_that_arrived() {
    let mcp = Mcp::new();
    let headers = [
        ("x-forwarded-user", "demo:zo%C3%AB"),
        ("x-forwarded-email", "zoe@example.com"),
    ];
    let answer = mcp.post(&headers, &call("whoami", &json!({}))).await.json();
    let told = json!({ "subject": "demo:zoë", "email": "zoe@example.com" });
    assert_eq!(answer["result"]["structuredContent"], told);
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert_eq!(text, "subject: demo:zoë\nemail: zoe@example.com");
    let nobody = mcp.post(&[], &call("whoami", &json!({}))).await.json();
    let text = &nobody["result"]["content"][0]["text"];
    assert_eq!(text, "nobody is signed in");
}

#[tokio::test(start_paused = true)]
async fn count_reports_progress_to_who_asked_for_it() {
    let mcp = Mcp::new();
    let mut body = call("count", &json!({ "to": 3 }));
    body["params"]["_meta"] = json!({ "progressToken": "t" });
    let begun = tokio::time::Instant::now();
    let answer = mcp.post(&[], &body).await;
    assert_eq!(begun.elapsed(), Duration::from_millis(1_500));
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!(answer.header("x-accel-buffering"), "no");
    let events: Vec<Value> = answer
        .body
        .split_terminator("\n\n")
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
        .collect();
    assert_eq!(events.len(), 4);
    assert_eq!(events[1]["params"]["progressToken"], "t");
    assert_eq!(events[1]["params"]["progress"], 2);
    assert_eq!(events[3]["result"]["content"][0]["text"], "1 2 3");
}

#[tokio::test(start_paused = true)]
async fn count_sends_signs_of_life_or_json_to_everybody_else() {
    let mcp = Mcp::new();
    let body = call("count", &json!({ "to": 2, "pause_ms": 10 }));
    let answer = mcp.post(&[], &body).await;
    assert!(
        answer.body.starts_with(": 1\n\n: 2\n\ndata: {"),
        "{}",
        answer.body
    );
    let request = Request::post("/mcp")
        .header(GATEWAY_KEY, &mcp.key)
        .header("accept", "application/json");
    let answer = send(
        &mcp.router,
        request.body(Body::from(body.to_string())).unwrap(),
    )
    .await;
    assert_eq!(answer.json()["result"]["content"][0]["text"], "1 2");
}
