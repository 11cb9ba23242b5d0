//! Token answers of upstreams, read as leniently as they are written: JSON or a form, errors with
//! status 200, numbers as text.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Map, Value};

use super::UpstreamError;
use super::http::{FetchError, Fetched};
use crate::oauth::names::Secret;
use crate::time::Timestamp;

/// What a token endpoint answered.
#[derive(Debug)]
pub(super) struct TokenAnswer {
    pub(super) access_token: Secret,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) refresh_token: Option<Secret>,
    pub(super) id_token: Option<Secret>,
}

/// Reads an answer of a token endpoint.
pub(super) fn read(
    fetched: Result<Fetched, FetchError>,
    now: Timestamp,
) -> Result<TokenAnswer, UpstreamError> {
    let fetched = fetched.map_err(unreachable)?;
    if let Some(trouble) = trouble(&fetched) {
        return Err(trouble);
    }
    let members =
        members(&fetched.body).ok_or_else(|| broken("the token answer is not readable"))?;
    let failed = members.get("ok") == Some(&Value::Bool(false));
    if let Some(error) = members.get("error").filter(|it| !it.is_null()) {
        return Err(refused(error.as_str().unwrap_or_default()));
    }
    if failed || !fetched.status.is_success() {
        return Err(refused(""));
    }
    let text = |name: &str| {
        members
            .get(name)
            .and_then(Value::as_str)
            .filter(|it| !it.is_empty())
            .map(Secret::new)
    };
    let access_token = text("access_token").ok_or_else(|| broken("no access_token"))?;
    Ok(TokenAnswer {
        access_token,
        // Absent is unknown: many providers' tokens do not expire.
        expires_at: seconds(members.get("expires_in")).map(|life| now.plus(life)),
        refresh_token: text("refresh_token"),
        id_token: text("id_token"),
    })
}

/// Reads JSON of another endpoint, asked with the access token.
pub(super) fn read_json(fetched: Result<Fetched, FetchError>) -> Result<Value, UpstreamError> {
    let fetched = fetched.map_err(unreachable)?;
    if let Some(trouble) = trouble(&fetched) {
        return Err(trouble);
    }
    if !fetched.status.is_success() {
        return Err(UpstreamError::Refused(format!(
            "status {}",
            fetched.status.as_u16()
        )));
    }
    serde_json::from_slice(&fetched.body).map_err(|_| broken("the answer is not JSON"))
}

fn members(body: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Some(members),
        Ok(_) => None,
        Err(_) => {
            let pairs: Map<_, _> = url::form_urlencoded::parse(body)
                .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
                .collect();
            let known = pairs.contains_key("access_token") || pairs.contains_key("error");
            known.then_some(pairs)
        }
    }
}

fn seconds(value: Option<&Value>) -> Option<Duration> {
    let seconds = match value? {
        Value::String(text) => text.parse::<f64>().ok()?,
        other => other.as_f64()?,
    };
    (seconds > 0.0 && seconds < 1e9).then(|| Duration::from_secs_f64(seconds))
}

/// Trouble that another try may not meet: the upstream's, not the person's.
fn trouble(fetched: &Fetched) -> Option<UpstreamError> {
    let status = fetched.status;
    let redirected = status.is_redirection();
    (status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || redirected).then(|| {
        UpstreamError::Unavailable {
            reason: format!("status {}", status.as_u16()),
            retry_after: fetched.retry_after(),
        }
    })
}

/// RFC 6749 §5.2: the code for the log, and only if it looks like one.
fn refused(error: &str) -> UpstreamError {
    let looks = !error.is_empty()
        && error.len() <= 64
        && error
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || it == b'_');
    // Our own registration is wrong: the person's code or session may be perfectly good.
    if matches!(
        error,
        "invalid_client"
            | "unauthorized_client"
            | "temporarily_unavailable"
            | "server_error"
            | "slow_down"
    ) {
        return UpstreamError::Unavailable {
            reason: error.to_owned(),
            retry_after: None,
        };
    }
    UpstreamError::Refused(if looks {
        error.to_owned()
    } else {
        "without a reason".to_owned()
    })
}

pub(super) fn unreachable(error: FetchError) -> UpstreamError {
    UpstreamError::Unavailable {
        reason: error.to_string(),
        retry_after: None,
    }
}

pub(super) fn broken(what: &str) -> UpstreamError {
    UpstreamError::Unavailable {
        reason: what.to_owned(),
        retry_after: None,
    }
}
