//! The back channel of the demo identity provider: the client's authentication (RFC 6749 §2.3.1) and
//! JSON that nobody stores.

use axum::Json;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::CLIENT_ID;
use crate::oauth::names::Secret;
use crate::oauth::params::Params;

/// Reads a form of the one client.
///
/// # Errors
///
/// What [`refused`] makes an answer of: 400 without a form, 401 without the secret.
pub(super) fn form(
    headers: &HeaderMap,
    body: &[u8],
    secret: &Secret,
) -> Result<Params, StatusCode> {
    let is_form = headers.get(CONTENT_TYPE).is_some_and(|it| {
        it.as_bytes()
            .starts_with(b"application/x-www-form-urlencoded")
    });
    let form = Params::parse(body).ok().filter(|_| is_form);
    let form = form.ok_or(StatusCode::BAD_REQUEST)?;
    let (id, presented) = match headers.get(AUTHORIZATION) {
        Some(value) => basic(value).unwrap_or_default(),
        None => (
            form.get("client_id").unwrap_or_default().to_owned(),
            form.get("client_secret").unwrap_or_default().to_owned(),
        ),
    };
    if id == CLIENT_ID && secret.matches(&presented) {
        Ok(form)
    } else {
        Err(StatusCode::UNAUTHORIZED)
    }
}

/// The answer to a request that [`form`] refused.
pub(super) fn refused(status: StatusCode) -> Response {
    if status != StatusCode::UNAUTHORIZED {
        return error(status, "invalid_request");
    }
    let mut response = error(status, "invalid_client");
    let challenge = HeaderValue::from_static(r#"Basic realm="demo""#);
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

fn basic(value: &HeaderValue) -> Option<(String, String)> {
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decode = |half: &str| percent_decode_str(half).decode_utf8().ok().map(Into::into);
    Some((decode(id)?, decode(secret)?))
}

/// RFC 6749 §5.2.
pub(super) fn error(status: StatusCode, code: &str) -> Response {
    json(status, &json!({ "error": code }))
}

/// RFC 6749 §5.1.
pub(super) fn json(status: StatusCode, body: &Value) -> Response {
    let no_store = [
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (PRAGMA, HeaderValue::from_static("no-cache")),
    ];
    (status, no_store, Json(body)).into_response()
}
