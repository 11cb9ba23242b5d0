//! What a client presents to authenticate at `/token` and `/revoke`: RFC 6749 §2.3, RFC 7523 §2.2.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

use crate::oauth::client::Presented;
use crate::oauth::error::Reason;
use crate::oauth::names::{ClientId, Secret};
use crate::oauth::params::Params;

/// RFC 7523 §2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Who a client says it is, and what it presents for it.
#[derive(Debug)]
pub(super) struct Credentials {
    pub(super) client_id: ClientId,
    pub(super) presented: Presented,
}

/// Whether the request uses the `Authorization` header.
pub(super) fn uses_basic(headers: &HeaderMap) -> bool {
    headers.contains_key(AUTHORIZATION)
}

/// Reads the one mechanism of a request.
///
/// # Errors
///
/// More than one mechanism, a malformed header, or no `client_id` at all.
pub(super) fn read(headers: &HeaderMap, params: &Params) -> Result<Credentials, Reason> {
    let basic = basic(headers)?;
    let assertion = assertion(params)?;
    let post = params.get("client_secret");
    // OAuth 2.1 §2.4: one mechanism per request. An empty secret counts as none.
    let mechanisms = [
        basic.as_ref().is_some_and(|it| it.secret.is_some()),
        post.is_some(),
        assertion.is_some(),
    ];
    if mechanisms.into_iter().filter(|used| *used).count() > 1 {
        return Err(Reason::SeveralMechanisms);
    }
    let client_id = client_id(basic.as_ref(), assertion, params)?;
    let presented = match (basic.and_then(|it| it.secret), post, assertion) {
        (Some(secret), _, _) => Presented::Basic(secret),
        (_, Some(secret), _) => Presented::Post(Secret::new(secret)),
        (_, _, Some(jwt)) => Presented::Assertion(Secret::new(jwt)),
        _ => Presented::Nothing,
    };
    Ok(Credentials {
        client_id,
        presented,
    })
}

struct Basic {
    client_id: String,
    secret: Option<Secret>,
}

fn basic(headers: &HeaderMap) -> Result<Option<Basic>, Reason> {
    const MALFORMED: Reason = Reason::Malformed("authorization");
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(MALFORMED);
    }
    let (scheme, rest) = value
        .to_str()
        .ok()
        .and_then(|it| it.split_once(' '))
        .ok_or(MALFORMED)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(MALFORMED);
    }
    let text = STANDARD
        .decode(rest.trim())
        .ok()
        .and_then(|it| String::from_utf8(it).ok());
    let text = zeroize::Zeroizing::new(text.ok_or(MALFORMED)?);
    // RFC 6749 §2.3.1 has both halves form-encoded, but many clients send them raw: a metadata
    // document's URL then holds colons of its own, and a secret of ours never does.
    let raw_url = text.starts_with("https:") || text.starts_with("http:");
    let halves = if raw_url {
        text.rsplit_once(':')
    } else {
        text.split_once(':')
    };
    let (id, secret) = halves.ok_or(MALFORMED)?;
    let client_id = form_decode(id)
        .filter(|id| !id.is_empty())
        .ok_or(MALFORMED)?;
    let secret = form_decode(secret).ok_or(MALFORMED)?;
    Ok(Some(Basic {
        client_id,
        secret: Some(secret).filter(|it| !it.is_empty()).map(Secret::new),
    }))
}

/// Form decoding that leaves a plus alone: a raw secret may hold one, an encoded one never does.
fn form_decode(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

fn assertion(params: &Params) -> Result<Option<&str>, Reason> {
    match (
        params.get("client_assertion"),
        params.get("client_assertion_type"),
    ) {
        (None, None) => Ok(None),
        (Some(jwt), Some(JWT_BEARER)) => Ok(Some(jwt)),
        _ => Err(Reason::Malformed("client_assertion_type")),
    }
}

fn client_id(
    basic: Option<&Basic>,
    assertion: Option<&str>,
    params: &Params,
) -> Result<ClientId, Reason> {
    let named = params.get("client_id");
    match (basic, named) {
        (Some(basic), Some(named)) if basic.client_id != named => Err(Reason::SeveralMechanisms),
        (Some(basic), _) => Ok(ClientId::new(basic.client_id.as_str())),
        (None, Some(named)) => Ok(ClientId::new(named)),
        // RFC 7521 §4.2: with an assertion, `client_id` may be left out; its `sub` says it. Read
        // without belief: the signature is checked against that client's keys.
        (None, None) => assertion
            .and_then(unverified_subject)
            .map(ClientId::new)
            .ok_or(Reason::Missing("client_id")),
    }
}

fn unverified_subject(jwt: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Claims {
        sub: String,
    }
    let payload = jwt.split('.').nth(1)?;
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(payload)
        .ok()?;
    serde_json::from_slice::<Claims>(&payload)
        .ok()
        .map(|claims| claims.sub)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn credentials(authorization: Option<&str>, form: &str) -> Result<(String, Presented), Reason> {
        let mut headers = HeaderMap::new();
        if let Some(pair) = authorization {
            let value = format!("Basic {}", STANDARD.encode(pair));
            headers.insert(AUTHORIZATION, HeaderValue::from_str(&value).unwrap());
        }
        let it = read(&headers, &Params::parse(form.as_bytes()).unwrap())?;
        Ok((it.client_id.as_str().to_owned(), it.presented))
    }

    // T4, T5
    #[test]
    fn one_mechanism_is_read_in_the_encodings_that_clients_use() {
        let (id, presented) = credentials(Some("a%2Fb:s%3At"), "").unwrap();
        assert!(id == "a/b" && matches!(presented, Presented::Basic(it) if it.matches("s:t")));
        let (id, presented) = credentials(Some("https://a.example/c.json:s"), "").unwrap();
        assert!(
            id == "https://a.example/c.json"
                && matches!(presented, Presented::Basic(it) if it.matches("s"))
        );
        let (id, presented) = credentials(None, "client_id=a&client_secret=s").unwrap();
        assert!(id == "a" && matches!(presented, Presented::Post(it) if it.matches("s")));
        let (_, presented) = credentials(Some("a:"), "client_id=a&client_secret=").unwrap();
        assert!(matches!(presented, Presented::Nothing));
    }

    // T4
    #[test]
    fn two_mechanisms_are_refused() {
        assert_eq!(
            credentials(Some("a:s"), "client_secret=s").unwrap_err(),
            Reason::SeveralMechanisms
        );
        assert_eq!(
            credentials(Some("a:s"), "client_id=b").unwrap_err(),
            Reason::SeveralMechanisms
        );
        assert_eq!(
            credentials(None, "").unwrap_err(),
            Reason::Missing("client_id")
        );
    }
}
