//! Bodies: read within their caps, and in time.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Extensions, HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;

use super::respond;
use crate::oauth::error::{ErrorCode, Reason};
use crate::oauth::params::Params;

/// Cap for forms.
pub(super) const FORM: usize = 64 * 1024;
/// Cap for registrations.
pub(super) const REGISTRATION: usize = 16 * 1024;

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// A form that was posted, with the request's headers.
pub(super) struct Form {
    pub(super) headers: HeaderMap,
    pub(super) extensions: Extensions,
    pub(super) params: Params,
}

/// Reads a posted form.
///
/// # Errors
///
/// The finished answer: 413 over the cap, 408 when it does not arrive, 400 for anything that is not a form.
pub(super) async fn read_form(request: Request<Body>) -> Result<Form, Response> {
    let (parts, body) = request.into_parts();
    // OAuth 2.1 §3.2: the parameters are form-encoded.
    if !is_form(&parts.headers) {
        return Err(respond::Refusal::from(Reason::NotAForm).into_response());
    }
    let body = read_body(body, FORM).await?;
    let params = Params::parse(&body).map_err(|it| respond::Refusal::from(it).into_response())?;
    Ok(Form {
        headers: parts.headers,
        extensions: parts.extensions,
        params,
    })
}

/// Reads a body within its cap and in time.
///
/// # Errors
///
/// The finished answer: 413, or 408.
pub(super) async fn read_body(body: Body, cap: usize) -> Result<Bytes, Response> {
    let Ok(read) = tokio::time::timeout(PATIENCE, to_bytes(body, cap)).await else {
        let status = StatusCode::REQUEST_TIMEOUT;
        let code = ErrorCode::InvalidRequest;
        return Err(respond::error(
            code,
            status,
            "the body did not arrive in time",
        ));
    };
    read.map_err(|_| {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        respond::error(
            ErrorCode::InvalidRequest,
            status,
            "the body is too large or was cut off",
        )
    })
}

fn is_form(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            let kind = value.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        })
}
