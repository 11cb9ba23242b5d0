//! The demo's MCP server: three tools behind Streamable HTTP, for clients of every revision.
//!
//! Two eras on one path (MCP 2026-07-28, versioning): a request that carries its protocol version
//! in `_meta` is served by itself; `initialize` begins a session of 2025-03-26 to 2025-11-25.
//! Written by hand, since the official SDK would be a dependency of the product for three tools,
//! and since SDK clients are then tested against something other than themselves.
//!
//! Refuses everybody but the gateway (a shared key in `X-Gateway-Key`, which the configuration's
//! `backend_headers` sends): whoever reaches a backend directly could claim to be anybody. Refuses
//! browsers (`Origin`), unknown sessions, and headers that contradict the body.

mod message;
mod tools;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{ACCEPT, ALLOW, CONTENT_TYPE, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use self::message::{Era, Failure, Message, VERSIONS};
use self::tools::Called;
use super::shelf::Shelf;
use crate::entropy;
use crate::oauth::authorize::random_secret;
use crate::oauth::names::{GrantId, Secret};

/// The header in which the gateway proves that it is the gateway.
pub const GATEWAY_KEY: &str = "x-gateway-key";

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// The MCP server.
pub struct Backend {
    gateway_key: Secret,
    sessions: Mutex<Shelf<GrantId, ()>>,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").finish_non_exhaustive()
    }
}

impl Backend {
    /// Makes one with a fresh gateway key.
    pub fn new() -> Arc<Self> {
        Self::with_gateway_key(random_secret(&mut entropy::rng()))
    }

    /// Makes one for a gateway that has this key.
    pub fn with_gateway_key(gateway_key: Secret) -> Arc<Self> {
        Arc::new(Self {
            gateway_key,
            sessions: Mutex::default(),
        })
    }

    /// What [`GATEWAY_KEY`] must carry.
    ///
    /// # Security
    ///
    /// For the gateway's configuration only.
    pub fn gateway_key(&self) -> &Secret {
        &self.gateway_key
    }

    /// `/mcp`.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/mcp", post(receive).delete(end_session))
            // No stream of the server's own: 405 says so (MCP 2025-11-25, transports).
            .method_not_allowed_fallback(|| async {
                let allow = HeaderValue::from_static("POST, DELETE");
                (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, allow)])
            })
            .layer(DefaultBodyLimit::max(1024 * 1024))
            .with_state(Arc::clone(self))
    }

    /// Who may speak at all.
    fn admit(&self, headers: &HeaderMap) -> Result<(), StatusCode> {
        let key = headers.get(GATEWAY_KEY).and_then(|it| it.to_str().ok());
        if !key.is_some_and(|key| self.gateway_key.matches(key)) {
            return Err(StatusCode::UNAUTHORIZED);
        }
        // MCP, transports: the gateway judges origins and passes none on.
        if headers.contains_key(ORIGIN) {
            return Err(StatusCode::FORBIDDEN);
        }
        Ok(())
    }

    fn sessions(&self) -> MutexGuard<'_, Shelf<GrantId, ()>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session.
    fn begin(&self) -> GrantId {
        let id = GrantId::random(&mut entropy::rng());
        self.sessions().put(id, ());
        id
    }

    /// Whether the session that the request names, if it names one, is there.
    fn knows_session(&self, headers: &HeaderMap) -> bool {
        match headers.get(SESSION_ID) {
            Some(value) => session_id(value).is_some_and(|id| self.sessions().find(&id).is_some()),
            None => true,
        }
    }
}

fn session_id(value: &HeaderValue) -> Option<GrantId> {
    GrantId::parse(value.to_str().ok()?)
}

/// `DELETE /mcp`: the client is done.
async fn end_session(State(backend): State<Arc<Backend>>, headers: HeaderMap) -> StatusCode {
    if let Err(refused) = backend.admit(&headers) {
        return refused;
    }
    let id = headers.get(SESSION_ID).and_then(session_id);
    match id.and_then(|id| backend.sessions().take(&id)) {
        Some(()) => StatusCode::NO_CONTENT,
        None => StatusCode::NOT_FOUND,
    }
}

/// `POST /mcp`: one message, or a batch of 2025-03-26.
async fn receive(State(backend): State<Arc<Backend>>, headers: HeaderMap, body: Bytes) -> Response {
    if let Err(refused) = backend.admit(&headers) {
        return refused.into_response();
    }
    match serde_json::from_slice(&body) {
        Ok(Value::Array(batch)) => answer_batch(&backend, &headers, batch).await,
        Ok(body) => answer(&backend, &headers, &body)
            .await
            .unwrap_or_else(|failure| failure.answer()),
        Err(_) => Failure::parse().answer(),
    }
}

async fn answer(backend: &Backend, headers: &HeaderMap, body: &Value) -> Result<Response, Failure> {
    let message = Message::read(body)?;
    let era = message.era(headers)?;
    if era == Era::Legacy && !backend.knows_session(headers) {
        // MCP 2025-11-25, transports: the client begins again on this.
        return Ok(StatusCode::NOT_FOUND.into_response());
    }
    let Some(id) = message.id() else {
        return Ok(StatusCode::ACCEPTED.into_response());
    };
    let mut response = match reply(&message, era, headers)? {
        Called::Done(result) => Json(success(id, era, result)).into_response(),
        Called::Streams(counting) if accepts_events(headers) => {
            let (id, token) = (id.clone(), message.progress_token().cloned());
            let events = counting.steps().map(move |step| {
                let event = match step.result {
                    Some(result) => Event::default().data(success(&id, era, result).to_string()),
                    None => step.event(token.as_ref()),
                };
                Ok::<_, std::convert::Infallible>(event)
            });
            streamed(events)
        }
        Called::Streams(counting) => Json(success(id, era, counting.wait().await)).into_response(),
    };
    if message.method() == "initialize"
        && let Ok(id) = HeaderValue::try_from(backend.begin().to_string())
    {
        response.headers_mut().insert(SESSION_ID, id);
    }
    Ok(response)
}

/// MCP 2025-03-26, basic: batches must be understood. Nothing streams in one.
async fn answer_batch(backend: &Backend, headers: &HeaderMap, batch: Vec<Value>) -> Response {
    if !backend.knows_session(headers) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let mut answers = Vec::new();
    for body in batch {
        match answer_in_batch(headers, &body).await {
            Ok(Some(answer)) => answers.push(answer),
            Ok(None) => {}
            Err(failure) => answers.push(failure.body()),
        }
    }
    if answers.is_empty() {
        StatusCode::ACCEPTED.into_response()
    } else {
        Json(answers).into_response()
    }
}

async fn answer_in_batch(headers: &HeaderMap, body: &Value) -> Result<Option<Value>, Failure> {
    let message = Message::read(body)?;
    let era = message.era(headers)?;
    // `initialize` is never part of a batch, and the revision without sessions has none.
    if era == Era::Modern || message.method() == "initialize" {
        return Err(message.invalid("not in a batch"));
    }
    let Some(id) = message.id() else {
        return Ok(None);
    };
    let result = match reply(&message, era, headers)? {
        Called::Done(result) => result,
        Called::Streams(counting) => counting.wait().await,
    };
    Ok(Some(success(id, era, result)))
}

/// What a request gets.
fn reply(message: &Message<'_>, era: Era, headers: &HeaderMap) -> Result<Called, Failure> {
    let result = match (message.method(), era) {
        ("initialize", Era::Legacy) => json!({
            "protocolVersion": message.negotiated(),
            "capabilities": { "tools": {} },
            "serverInfo": server_info(),
            "instructions": tools::INSTRUCTIONS,
        }),
        ("ping", Era::Legacy) => json!({}),
        ("server/discover", Era::Modern) => cacheable(json!({
            "supportedVersions": VERSIONS,
            "capabilities": { "tools": {} },
            "instructions": tools::INSTRUCTIONS,
        })),
        ("tools/list", Era::Legacy) => json!({ "tools": tools::list() }),
        ("tools/list", Era::Modern) => cacheable(json!({ "tools": tools::list() })),
        ("tools/call", _) => return tools::call(message, headers),
        _ => return Err(message.unknown_method(era)),
    };
    Ok(Called::Done(result))
}

/// MCP 2026-07-28, caching: required members. The same for everybody, but not for others to keep.
fn cacheable(mut result: Value) -> Value {
    if let Some(members) = result.as_object_mut() {
        members.insert("ttlMs".into(), 60_000.into());
        members.insert("cacheScope".into(), "private".into());
    }
    result
}

/// The answer to a request.
fn success(id: &Value, era: Era, mut result: Value) -> Value {
    if era == Era::Modern
        && let Some(members) = result.as_object_mut()
    {
        members.insert("resultType".into(), "complete".into());
        let meta = json!({ "io.modelcontextprotocol/serverInfo": server_info() });
        members.insert("_meta".into(), meta);
    }
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

fn server_info() -> Value {
    json!({
        "name": "mcp-oauth-demo",
        "title": "Demo tools",
        "version": env!("CARGO_PKG_VERSION"),
    })
}

fn accepts_events(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/event-stream"))
}

fn streamed<S>(events: S) -> Response
where
    S: futures_util::Stream<Item = Result<Event, std::convert::Infallible>> + Send + 'static,
{
    let mut response = Sse::new(events).into_response();
    let headers = response.headers_mut();
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    debug_assert!(headers.contains_key(CONTENT_TYPE));
    response
}
