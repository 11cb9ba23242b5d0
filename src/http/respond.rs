//! Answers: JSON for machines, the headers that every answer carries, and one place where refusals
//! are logged.

use std::time::Duration;

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_TYPE, LOCATION,
    PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::oauth::error::{ErrorCode, Reason};

/// How long a client should wait before it tries again what failed on our side.
const RETRY: Duration = Duration::from_secs(2);

/// The body of an error (RFC 6749 §5.2, RFC 7591 §3.2.2).
#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    error_description: &'a str,
}

/// A refusal on a machine endpoint: a [`Reason`], with what the answer needs besides.
#[derive(Debug)]
pub(super) struct Refusal {
    reason: Reason,
    basic: bool,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// Asks for Basic credentials in the answer, since they were used.
    pub(super) fn after_basic(mut self, basic: bool) -> Self {
        self.basic = basic;
        self
    }

    /// Tells how long to wait.
    pub(super) fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait.or(self.retry_after);
        self
    }

    /// How long to wait, as `Retry-After` says it.
    pub(super) fn wait(&self) -> HeaderValue {
        seconds(self.retry_after.unwrap_or(RETRY))
    }

    /// The precise cause.
    pub(super) fn reason(&self) -> &Reason {
        &self.reason
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            basic: false,
            retry_after: None,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code = self.reason.code();
        log(&self.reason);
        // RFC 6585 §4
        let throttled = self.reason == Reason::TooManyRequests;
        let status = if throttled {
            StatusCode::TOO_MANY_REQUESTS
        } else {
            code.status()
        };
        let mut response = error(code, status, self.reason.description());
        let headers = response.headers_mut();
        if throttled || status.is_server_error() {
            headers.insert(RETRY_AFTER, self.wait());
        }
        if self.basic && code == ErrorCode::InvalidClient {
            // OAuth 2.1 §3.2.4: the scheme that the client used.
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static(r#"Basic realm="mcp-oauth""#),
            );
        }
        response
    }
}

/// The one place where refusals are logged: ours loud, theirs quiet, with the precise cause.
pub(super) fn log(reason: &Reason) {
    let code = reason.code();
    if code.status().is_server_error() {
        tracing::warn!(error = code.as_str(), %reason, "not answered");
    } else {
        tracing::info!(error = code.as_str(), %reason, "refused");
    }
}

/// An error body with a status.
pub(super) fn error(code: ErrorCode, status: StatusCode, description: &str) -> Response {
    json(
        status,
        &ErrorBody {
            error: code.as_str(),
            error_description: description,
        },
    )
}

/// A JSON answer that nobody stores.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(text) => json_text(status, text),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A JSON answer that nobody stores, from its text.
pub(super) fn json_text(status: StatusCode, text: String) -> Response {
    let mut response = (status, text).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    no_store(headers);
    response
}

/// OAuth 2.1 §3.2.3: answers with credentials, and everything near them, are not to be kept.
pub(super) fn no_store(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// Sends the browser on. OAuth 2.1 §7.5.4: 303, so that a form is never posted again.
pub(super) fn see_other(location: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else {
        return Refusal::from(Reason::Internal("a location is not a header value".into()))
            .into_response();
    };
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    no_store(headers);
    headers.insert(
        HeaderName::from_static("referrer-policy"),
        HeaderValue::from_static("no-referrer"),
    );
    response
}

/// Whole seconds, never too few.
fn seconds(wait: Duration) -> HeaderValue {
    HeaderValue::from(wait.as_millis().div_ceil(1_000).clamp(1, 86_400) as u64)
}

/// CORS for the endpoints that browser clients call (metadata, `/register`, `/token`, `/revoke`):
/// any origin, never credentials. The others get none, since OAuth 2.1 §3.1 forbids it there.
pub(super) async fn cross_origin(request: Request<axum::body::Body>, next: Next) -> Response {
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, OPTIONS"),
    );
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Authorization, Content-Type, Accept, MCP-Protocol-Version"),
    );
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("WWW-Authenticate, Retry-After"),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    response
}

/// 405 in JSON; a person who comes to such an address in a browser gets a page.
pub(super) async fn method_not_allowed() -> Response {
    let mut response = error(
        ErrorCode::InvalidRequest,
        StatusCode::METHOD_NOT_ALLOWED,
        "method not allowed here",
    );
    response.extensions_mut().insert(ForPrograms);
    response
}

/// Marks an answer about an address that only programs use.
#[derive(Clone, Copy, Debug)]
struct ForPrograms;

/// Whether an answer is [`method_not_allowed`].
pub(super) fn is_for_programs(response: &Response) -> bool {
    response.extensions().get::<ForPrograms>().is_some()
}
