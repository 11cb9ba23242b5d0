//! One JSON-RPC message, and the era that it belongs to.
//!
//! MCP 2026-07-28, Streamable HTTP, "Server Validation": refuses a request whose headers are missing
//! or contradict its body (-32020), and versions that are not served (-32022).

use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The revision that has no sessions.
pub(super) const MODERN: &str = "2026-07-28";
/// Every revision that is served, the newest first.
pub(super) const VERSIONS: [&str; 4] = [MODERN, "2025-11-25", "2025-06-18", "2025-03-26"];

const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// How a request is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Era {
    /// In a session that `initialize` began, or without one.
    Legacy,
    /// By itself.
    Modern,
}

/// A refusal in the protocol's own form.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    id: Value,
    code: i32,
    message: String,
    data: Option<Value>,
}

impl Failure {
    /// What was sent is not JSON.
    pub(super) fn parse() -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            id: Value::Null,
            code: -32_700,
            message: "not JSON".to_owned(),
            data: None,
        }
    }

    /// The JSON-RPC object.
    pub(super) fn body(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let (Some(members), Some(data)) = (error.as_object_mut(), &self.data) {
            members.insert("data".into(), data.clone());
        }
        json!({ "jsonrpc": "2.0", "id": self.id, "error": error })
    }

    /// The HTTP answer.
    pub(super) fn answer(&self) -> Response {
        (self.status, Json(self.body())).into_response()
    }
}

/// A request or a notification.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    id: Option<&'a Value>,
    method: &'a str,
    params: &'a Value,
}

impl<'a> Message<'a> {
    /// Reads a message.
    pub(super) fn read(body: &'a Value) -> Result<Self, Failure> {
        let id = body.get("id");
        let message = Self {
            id,
            method: body
                .get("method")
                .and_then(Value::as_str)
                .unwrap_or_default(),
            params: body.get("params").unwrap_or(&Value::Null),
        };
        let is_version_2 = body.get("jsonrpc").and_then(Value::as_str) == Some("2.0");
        let has_fit_id = id.is_none_or(|id| id.is_string() || id.is_number());
        if is_version_2 && has_fit_id && !message.method.is_empty() {
            return Ok(message);
        }
        // An answer to a request of ours: there is none, but earlier revisions let clients send it.
        if is_version_2 && body.get("result").or_else(|| body.get("error")).is_some() {
            return Ok(Self {
                id: None,
                method: "",
                params: &Value::Null,
            });
        }
        Err(message.fails(StatusCode::BAD_REQUEST, -32_600, "not a JSON-RPC request"))
    }

    /// The id; a notification has none.
    pub(super) fn id(&self) -> Option<&'a Value> {
        self.id
    }

    /// The method.
    pub(super) fn method(&self) -> &'a str {
        self.method
    }

    /// A parameter.
    pub(super) fn param(&self, name: &str) -> Option<&'a Value> {
        self.params.get(name)
    }

    fn meta(&self, name: &str) -> Option<&'a Value> {
        self.param("_meta")?.get(name)
    }

    /// Where progress is reported to, if the client wants to hear of it.
    pub(super) fn progress_token(&self) -> Option<&'a Value> {
        self.meta("progressToken")
            .filter(|token| token.is_string() || token.is_number())
    }

    /// Which era this is, once header and body are seen to agree.
    pub(super) fn era(&self, headers: &HeaderMap) -> Result<Era, Failure> {
        let header = headers
            .get("mcp-protocol-version")
            .map(|value| value.to_str().unwrap_or_default());
        let meta = self.meta(PROTOCOL_VERSION).and_then(Value::as_str);
        let is_legacy = match (header, meta) {
            // MCP 2026-07-28: without the header it may be 2025-03-26.
            (None, None) => true,
            // `initialize` is how the earlier era begins, whatever the header says.
            (Some(header), None) => {
                self.method == "initialize" || (header != MODERN && VERSIONS.contains(&header))
            }
            (_, Some(_)) => false,
        };
        // MCP 2026-07-28 asks nothing of the headers of a notification.
        if is_legacy || self.id.is_none() {
            return Ok(Era::Legacy);
        }
        match (header, meta) {
            (Some(MODERN), Some(MODERN)) => {}
            (Some(header), meta) if header != MODERN && meta.is_none_or(|meta| meta == header) => {
                return Err(self.unsupported(header));
            }
            _ => return Err(self.mismatch("MCP-Protocol-Version")),
        }
        self.check_headers(headers)?;
        Ok(Era::Modern)
    }

    fn check_headers(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if header("mcp-method") != Some(self.method) {
            return Err(self.mismatch("Mcp-Method"));
        }
        let name = self.param("name").and_then(Value::as_str);
        if self.method == "tools/call" && header("mcp-name").and_then(plain).as_deref() != name {
            return Err(self.mismatch("Mcp-Name"));
        }
        if !self.meta(CLIENT_CAPABILITIES).is_some_and(Value::is_object) {
            return Err(self.invalid("_meta lacks clientCapabilities"));
        }
        Ok(())
    }

    /// The revision of a session: what the client asked for, or else the newest.
    pub(super) fn negotiated(&self) -> &'a str {
        let asked = self.param("protocolVersion").and_then(Value::as_str);
        asked
            .filter(|asked| *asked != MODERN && VERSIONS.contains(asked))
            .unwrap_or("2025-11-25")
    }

    /// Invalid parameters.
    pub(super) fn invalid(&self, message: &str) -> Failure {
        self.fails(StatusCode::OK, -32_602, message)
    }

    /// A method that is not there: 404 says it to clients of the later era (MCP 2026-07-28).
    pub(super) fn unknown_method(&self, era: Era) -> Failure {
        let status = match era {
            Era::Legacy => StatusCode::OK,
            Era::Modern => StatusCode::NOT_FOUND,
        };
        self.fails(status, -32_601, "no such method")
    }

    fn mismatch(&self, header: &str) -> Failure {
        let message = format!("{header} is missing or differs from the body");
        self.fails(StatusCode::BAD_REQUEST, -32_020, &message)
    }

    fn unsupported(&self, requested: &str) -> Failure {
        let message = "unsupported protocol version";
        Failure {
            data: Some(json!({ "supported": VERSIONS, "requested": requested })),
            ..self.fails(StatusCode::BAD_REQUEST, -32_022, message)
        }
    }

    fn fails(&self, status: StatusCode, code: i32, message: &str) -> Failure {
        Failure {
            status,
            id: self.id.cloned().unwrap_or(Value::Null),
            code,
            message: message.to_owned(),
            data: None,
        }
    }
}

/// MCP 2026-07-28, "Value Encoding": a header value, or the Base64 of what no header can carry.
fn plain(value: &str) -> Option<String> {
    let encoded = value
        .strip_prefix("=?base64?")
        .and_then(|rest| rest.strip_suffix("?="));
    match encoded {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
        None => Some(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_header_values_are_read() {
        assert_eq!(plain("echo").as_deref(), Some("echo"));
        assert_eq!(plain("=?base64?ZWNobw==?=").as_deref(), Some("echo"));
        assert_eq!(plain("=?base64?%?="), None);
    }
}
