//! The gateway's own answers: short JSON, never shaped like an MCP protocol message.
//!
//! A client tells protocol revisions apart by 400 and 404 answers to its messages, so failures
//! behind us are 502, 503 and 504 (RFC 9110 §15.6), and only a sign-in problem has a challenge.

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::cors;
use crate::oauth::bearer::Refusal;
use crate::oauth::error::ErrorCode;

/// Why a request gets an answer of ours instead of the backend's.
#[derive(Debug)]
pub(crate) enum Denied {
    /// A path that two programs could read differently.
    OddPath,
    /// No resource at this path.
    NoResource,
    /// A browser on a site that is not allowed.
    Origin,
    /// A method that is never passed on.
    Method,
    /// The bearer check.
    Bearer(Refusal, Option<HeaderValue>),
    /// A session id that is not this person's at this resource.
    Session,
    /// The body is larger than the resource allows.
    TooLarge,
    /// The client stopped sending its body.
    UploadStalled,
    /// The backend was not reached.
    Unreachable,
    /// Connecting to the backend took too long.
    ConnectTimeout,
    /// The backend sent no answer in time.
    Silent,
    /// The backend's answer was cut off or cannot be passed on.
    Broken,
    /// The backend refused the gateway itself, which no sign-in would change.
    BackendRefused,
    /// This process is stopping.
    Stopping,
}

/// Every answer of the gateway's own: the status, `error` and `error_description`, for the
/// reference in the documentation. The bearer check's are those of [`Refusal`].
pub fn own_answers() -> impl Iterator<Item = (StatusCode, &'static str, &'static str)> {
    let refused = [
        Refusal::NoToken,
        Refusal::Repeated,
        Refusal::Malformed,
        Refusal::Scope,
    ];
    let refused = refused.map(|refusal| Denied::Bearer(refusal, None));
    Denied::besides_bearer()
        .into_iter()
        .chain(refused)
        .map(|denied| {
            let (error, description) = denied.words();
            (denied.status(), error, description)
        })
}

impl Denied {
    /// Each but those of the bearer check.
    const fn besides_bearer() -> [Self; 13] {
        [
            Self::OddPath,
            Self::NoResource,
            Self::Origin,
            Self::Method,
            Self::Session,
            Self::TooLarge,
            Self::UploadStalled,
            Self::Unreachable,
            Self::ConnectTimeout,
            Self::Silent,
            Self::Broken,
            Self::BackendRefused,
            Self::Stopping,
        ]
    }

    /// A word for logs and metrics.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::OddPath => "odd_path",
            Self::NoResource => "no_resource",
            Self::Origin => "origin",
            Self::Method => "method",
            Self::Bearer(refusal, _) => refusal.as_str(),
            Self::Session => "session",
            Self::TooLarge => "too_large",
            Self::UploadStalled => "upload_stalled",
            Self::Unreachable => "backend_unreachable",
            Self::ConnectTimeout => "backend_connect_timeout",
            Self::Silent => "backend_silent",
            Self::Broken => "backend_broken",
            Self::BackendRefused => "backend_refused",
            Self::Stopping => "stopping",
        }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::OddPath => StatusCode::BAD_REQUEST,
            Self::NoResource | Self::Session => StatusCode::NOT_FOUND,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Bearer(refusal, _) => refusal.status(),
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UploadStalled => StatusCode::REQUEST_TIMEOUT,
            Self::Unreachable | Self::Broken | Self::BackendRefused => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout | Self::Silent => StatusCode::GATEWAY_TIMEOUT,
            Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn words(&self) -> (&'static str, &'static str) {
        match self {
            Self::OddPath => ("invalid_request", "This path has more than one reading"),
            Self::NoResource => ("not_found", "There is no MCP server at this path"),
            Self::Origin => ("forbidden_origin", "This origin may not call this server"),
            Self::Method => ("method_not_allowed", "This method is not passed on"),
            Self::Bearer(refusal, _) => (
                refusal.code().map_or("unauthorized", ErrorCode::as_str),
                refusal.description(),
            ),
            Self::Session => (
                "session_not_found",
                "This Mcp-Session-Id is not known here; initialize again",
            ),
            Self::TooLarge => ("content_too_large", "The request body is too large"),
            Self::UploadStalled => ("request_timeout", "The request body did not arrive in time"),
            Self::Unreachable => ("bad_gateway", "The MCP server could not be reached"),
            Self::ConnectTimeout => (
                "gateway_timeout",
                "The MCP server could not be reached in time",
            ),
            Self::Silent => ("gateway_timeout", "The MCP server did not answer in time"),
            Self::Broken => ("bad_gateway", "The MCP server broke off its answer"),
            Self::BackendRefused => ("bad_gateway", "The MCP server refused the gateway"),
            Self::Stopping => ("unavailable", "This server is stopping; try again"),
        }
    }

    /// The answer.
    pub(crate) fn into_response(self) -> Response {
        let (error, description) = self.words();
        let mut response = problem(self.status(), error, description);
        let headers = response.headers_mut();
        match self {
            Self::Bearer(_, Some(challenge)) => {
                headers.insert(WWW_AUTHENTICATE, challenge);
            }
            Self::Method => {
                headers.insert(ALLOW, cors::METHODS);
            }
            _ => {}
        }
        response
    }
}

#[derive(Serialize)]
struct Problem<'a> {
    error: &'a str,
    error_description: &'a str,
}

/// A JSON answer that is not stored (RFC 9111 §5.2.2.5) and, for a server's fault, says when to
/// come back.
pub(crate) fn problem(status: StatusCode, error: &str, error_description: &str) -> Response {
    let body = serde_json::to_vec(&Problem {
        error,
        error_description,
    })
    .unwrap_or_default();
    let mut headers = HeaderMap::with_capacity(6);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status.is_server_error() {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response.extensions_mut().insert(Own);
    response
}

/// Marks an answer that is the gateway's own and not a backend's.
#[derive(Clone, Copy, Debug)]
struct Own;

/// Whether an answer is the gateway's own refusal.
pub fn is_own(response: &Response) -> bool {
    response.extensions().get::<Own>().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{self, Values};
    use crate::seal::OpenError;

    #[test]
    fn every_reason_is_in_the_table_of_figures() {
        let refusals = [
            Refusal::NoToken,
            Refusal::Repeated,
            Refusal::OtherScheme,
            Refusal::Malformed,
            Refusal::OtherResource,
            Refusal::OtherUpstream,
            Refusal::NoUpstreamToken,
            Refusal::UpstreamTokenRefused,
            Refusal::Ended,
            Refusal::Scope,
        ];
        let opening = OpenError::ALL.map(Refusal::NotOpened);
        let refused = refusals.into_iter().chain(opening);
        let all = Denied::besides_bearer()
            .into_iter()
            .chain(refused.map(|refusal| Denied::Bearer(refusal, None)));
        let Values::Closed(known) = figures::DENIED.labels[0].values else {
            panic!("the reasons are a closed list")
        };
        for denied in all {
            assert!(known.contains(&denied.as_str()), "{denied:?}");
        }
    }
}
