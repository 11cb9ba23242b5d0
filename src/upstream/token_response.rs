//! What a token endpoint answers (RFC 6749 §5), as it comes in the wild.
//!
//! JSON, else form encoding; an `error` or `ok: false` is a failure whatever the status; a missing
//! lifetime is unknown, a missing refresh token is none. Which failure is for good and which may
//! pass is decided here, in one table. Refuses repeated members, HTML, and token types that we
//! cannot use. No text of the answer leaves this file but registered-looking error codes.

use std::time::Duration;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::identity::at;
use super::{UpstreamError, unavailable};
use crate::net::{Answer, Failure, json};
use crate::oauth::names::Secret;

/// Errors by which a provider refuses for good: the code, the refresh token, or the person.
const REFUSED: [&str; 6] = [
    "invalid_grant",
    "access_denied",
    "consent_required",
    "interaction_required",
    "login_required",
    "account_selection_required",
];
/// Longest wait that we pass on.
const MAX_WAIT: u64 = 3600;

/// Tokens.
#[derive(Clone, Debug)]
pub(super) struct TokenResponse {
    pub(super) access_token: Secret,
    pub(super) refresh_token: Option<Secret>,
    pub(super) id_token: Option<Secret>,
    pub(super) expires_in: Option<Duration>,
    /// The rest of the answer, for providers that tell the identity in it.
    pub(super) members: Value,
}

impl From<Failure> for UpstreamError {
    fn from(failure: Failure) -> Self {
        unavailable(failure.to_string())
    }
}

/// Reads a JSON answer of any endpoint: a failure by status, by `error` or by `ok`, or the value.
///
/// `refused` lists the provider's own errors that are for good; `barred` says what 401 and 403
/// without an error code mean.
pub(super) fn read_json(
    answer: &Answer,
    refused: &[String],
    barred: Barred,
) -> Result<Value, UpstreamError> {
    check_status(answer)?;
    let value = json::parse(&answer.body).ok();
    if let Some(code) = value.as_ref().and_then(error_code) {
        return Err(failed(&code, answer, refused, barred));
    }
    if !answer.status.is_success() {
        return Err(unexpected(answer, barred));
    }
    value.ok_or_else(|| unavailable("the answer is not JSON, or repeats a member"))
}

/// What 401 and 403 mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Barred {
    /// Our own credentials are wrong: the operator must act, and sessions can go on then.
    Us,
    /// The person's access token has ended.
    Token,
}

impl TokenResponse {
    /// Reads an answer of the token endpoint. `paths` lists where the tokens may be.
    pub(super) fn read(
        answer: &Answer,
        paths: &[String],
        refused: &[String],
    ) -> Result<Self, UpstreamError> {
        check_status(answer)?;
        let value = parse(answer);
        if let Some(code) = value.as_ref().and_then(error_code) {
            return Err(failed(&code, answer, refused, Barred::Us));
        }
        if !answer.status.is_success() {
            return Err(unexpected(answer, Barred::Us));
        }
        let value = value.ok_or_else(|| {
            unavailable(
                "the token endpoint's answer is neither JSON nor a form, or repeats a member",
            )
        })?;
        Self::from_members(value, paths)
    }

    fn from_members(mut value: Value, paths: &[String]) -> Result<Self, UpstreamError> {
        let has_token = |path: &&String| {
            at(&value, path)
                .and_then(|it| it.get("access_token"))
                .is_some()
        };
        let path = paths.iter().find(has_token).cloned().unwrap_or_default();
        let holder = if path.is_empty() {
            value.as_object_mut()
        } else {
            value.get_mut(&path).and_then(Value::as_object_mut)
        };
        let Some(holder) = holder else {
            return Err(unavailable("the token endpoint's answer is not an object"));
        };
        let kind = holder
            .get("token_type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        // RFC 6749 §7.1: a type that is not understood must not be used.
        if ["dpop", "mac", "n_a"]
            .iter()
            .any(|it| kind.eq_ignore_ascii_case(it))
        {
            return Err(UpstreamError::Unacceptable(
                "the token type is not Bearer".to_owned(),
            ));
        }
        let tokens = (
            take(holder, "access_token"),
            take(holder, "refresh_token"),
            take(holder, "id_token"),
        );
        let expires_in = holder.get("expires_in").and_then(seconds);
        let (Some(access_token), refresh_token, id_token) = tokens else {
            return Err(unavailable(
                "the token endpoint's answer holds no access token",
            ));
        };
        Ok(Self {
            access_token,
            refresh_token,
            id_token,
            expires_in,
            members: value,
        })
    }
}

/// Takes a token out of an answer, so that no copy of it stays.
fn take(members: &mut Map<String, Value>, name: &str) -> Option<Secret> {
    match members.remove(name) {
        Some(Value::String(token)) if !token.is_empty() => Some(Secret::new(token)),
        _ => None,
    }
}

/// A lifetime: a number, or the digits of one; zero and less say nothing.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(digits) => digits.parse().ok(),
        _ => None,
    };
    seconds.filter(|it| *it > 0).map(Duration::from_secs)
}

/// JSON, or else a form; never a form where it says or looks like something else.
fn parse(answer: &Answer) -> Option<Value> {
    let body = answer.body.as_slice();
    if let Ok(value) = json::parse(body) {
        return Some(value);
    }
    let labelled = answer
        .headers
        .get(CONTENT_TYPE)
        .and_then(|it| it.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase();
    let looks_other = body
        .trim_ascii_start()
        .first()
        .is_none_or(|it| b"{[<\"".contains(it));
    if labelled.contains("json") || labelled.contains("html") || looks_other {
        return None;
    }
    let mut members = Map::new();
    for (name, value) in form_urlencoded::parse(body) {
        if members
            .insert(name.into_owned(), Value::String(value.into_owned()))
            .is_some()
        {
            return None;
        }
    }
    let told = members.contains_key("access_token") || members.contains_key("error");
    told.then_some(Value::Object(members))
}

/// The error code of an answer that says it failed.
fn error_code(value: &Value) -> Option<String> {
    let code = match value.get("error") {
        Some(Value::String(code)) if !code.is_empty() => Some(code.clone()),
        Some(Value::Object(error)) => Some(
            ["code", "type", "status"]
                .iter()
                .find_map(|name| error.get(*name)?.as_str().map(str::to_owned))
                .unwrap_or_default(),
        ),
        _ => None,
    };
    let not_ok = value.get("ok") == Some(&Value::Bool(false));
    code.or_else(|| not_ok.then(String::new))
}

fn check_status(answer: &Answer) -> Result<(), UpstreamError> {
    let status = answer.status;
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(UpstreamError::Unavailable {
            reason: format!("status {status}"),
            retry_after: retry_after(&answer.headers),
        });
    }
    if status.is_redirection() {
        return Err(unavailable(format!(
            "a redirect (status {status}), which is not followed"
        )));
    }
    Ok(())
}

/// The table of error codes: for good, or to be tried again.
///
/// Codes that blame us (`invalid_client`, an unknown scope …) are not for good: an operator whose
/// secret ran out must not log everybody out.
fn failed(code: &str, answer: &Answer, refused: &[String], barred: Barred) -> UpstreamError {
    let detail = detail(code, answer);
    let for_good = REFUSED.contains(&code)
        || refused.iter().any(|known| known == code)
        || (barred == Barred::Token && code == "invalid_token")
        || (barred == Barred::Token && bars(answer));
    if for_good {
        return UpstreamError::Refused(detail);
    }
    UpstreamError::Unavailable {
        reason: detail,
        retry_after: retry_after(&answer.headers),
    }
}

fn unexpected(answer: &Answer, barred: Barred) -> UpstreamError {
    let reason = format!("status {}", answer.status);
    if barred == Barred::Token && bars(answer) {
        UpstreamError::Refused(reason)
    } else {
        unavailable(reason)
    }
}

/// 401, or 403 that is not about too many requests.
fn bars(answer: &Answer) -> bool {
    let exhausted = answer
        .headers
        .get("x-ratelimit-remaining")
        .is_some_and(|it| it.as_bytes() == b"0");
    match answer.status {
        StatusCode::UNAUTHORIZED => true,
        StatusCode::FORBIDDEN => !exhausted && !answer.headers.contains_key(RETRY_AFTER),
        _ => false,
    }
}

/// Error code and status for the log; a code that looks like no code is not repeated.
fn detail(code: &str, answer: &Answer) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let code = match code {
        "" => "an error without a code",
        code if code.len() <= 64 && code.bytes().all(plain) => code,
        _ => "an error that is not a code",
    };
    let number = json::parse(&answer.body)
        .ok()
        .and_then(|value| value.pointer("/error_codes/0")?.as_u64());
    match number {
        Some(number) => format!("{code} ({number}), status {}", answer.status),
        None => format!("{code}, status {}", answer.status),
    }
}

/// RFC 9110 §10.2.3, in seconds.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds.min(MAX_WAIT)))
}
