//! What sends requests: a plain client, and a browser with cookies that submits forms.
//!
//! Refuses to follow a redirect by itself (the product's client sees to that), and cookies that a
//! script or another site could use.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, Method, StatusCode};
use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use tokio::time::timeout;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use super::form::Form;
use super::report::{Mismatch, ensure};
use crate::net::{ClientError, Failure, TrustedClient, TrustedOptions};

/// How long the head of a streamed answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client without memory.
#[derive(Clone, Debug)]
pub(super) struct Agent {
    http: TrustedClient,
}

/// An answer that has arrived.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Agent {
    pub(super) fn new() -> Result<Self, ClientError> {
        let http = TrustedClient::new(TrustedOptions::default())?;
        Ok(Self { http })
    }

    /// A request to be filled.
    pub(super) fn request(&self, method: Method, url: &Url) -> RequestBuilder {
        self.http.request(method, url)
    }

    /// Sends a request; returns as soon as the head of the answer is there.
    pub(super) async fn begin(&self, request: RequestBuilder) -> Result<Response, Mismatch> {
        match timeout(PATIENCE, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(_)) => Err(Mismatch::new("an answer", "no connection")),
            Err(_) => Err(Mismatch::new("an answer", "silence")),
        }
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Answer, Mismatch> {
        let failed = |failure: Failure| Mismatch::new("an answer", failure.to_string());
        let answer = self.http.send(request).await.map_err(failed)?;
        Ok(Answer {
            status: answer.status,
            headers: answer.headers,
            body: answer.body,
        })
    }

    pub(super) async fn get(&self, url: &Url) -> Result<Answer, Mismatch> {
        self.send(self.request(Method::GET, url)).await
    }

    pub(super) async fn post_json(&self, url: &Url, body: &Value) -> Result<Answer, Mismatch> {
        let request = self.request(Method::POST, url);
        let request = request.header(CONTENT_TYPE, "application/json");
        self.send(request.body(body.to_string())).await
    }

    pub(super) async fn post_form(
        &self,
        url: &Url,
        form: &[(&str, &str)],
    ) -> Result<Answer, Mismatch> {
        let request = self.request(Method::POST, url).header(CONTENT_TYPE, FORM);
        self.send(request.body(encoded(form))).await
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

fn encoded(form: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish()
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// Insists on a status. What came instead is told with the error that the server gave.
    pub(super) fn expect(&self, status: StatusCode) -> Result<(), Mismatch> {
        ensure(self.status == status, status.to_string(), self.summary())
    }

    /// Insists on an OAuth error (RFC 6749 §5.2).
    pub(super) fn expect_error(&self, status: StatusCode, error: &str) -> Result<(), Mismatch> {
        let holds = self.status == status && self.member("error") == error;
        ensure(holds, format!("{status}, {error}"), self.summary())
    }

    /// Insists that nobody keeps this answer (OAuth 2.1 §3.2.3).
    pub(super) fn expect_no_store(&self) -> Result<(), Mismatch> {
        let value = self.header(CACHE_CONTROL.as_str());
        let holds = value.split(',').any(|word| word.trim() == "no-store");
        ensure(
            holds,
            "Cache-Control: no-store",
            format!("Cache-Control: {value}"),
        )
    }

    /// The body as JSON, sent as JSON.
    pub(super) fn json(&self) -> Result<Value, Mismatch> {
        let kind = self.header(CONTENT_TYPE.as_str());
        ensure(
            kind.starts_with("application/json"),
            "application/json",
            kind,
        )?;
        serde_json::from_slice(&self.body).map_err(|_| Mismatch::new("JSON", "something else"))
    }

    /// Where the browser is sent. OAuth 2.1 §7.5.4: never by 307.
    pub(super) fn location(&self) -> Result<Url, Mismatch> {
        let holds = matches!(self.status, StatusCode::SEE_OTHER | StatusCode::FOUND);
        ensure(holds, "303 or 302", self.summary())?;
        Url::parse(self.header(LOCATION.as_str()))
            .map_err(|_| Mismatch::new("an absolute Location", "none"))
    }

    fn member(&self, name: &str) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body.get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }

    /// Status and error, never the body: there may be tokens in it.
    fn summary(&self) -> String {
        let parts = [
            self.status.to_string(),
            self.member("error"),
            self.member("error_description"),
        ];
        let said: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        said.join(", ")
    }
}

/// A parameter of a URL's query that is there once.
pub(super) fn query(url: &Url, name: &str) -> Result<String, Mismatch> {
    let mut values = url.query_pairs().filter(|(known, _)| known == name);
    match (values.next(), values.next()) {
        (Some((_, value)), None) => Ok(value.into_owned()),
        (None, _) => Err(Mismatch::new(format!("{name} in the URL"), "none")),
        _ => Err(Mismatch::new(format!("{name} once"), "it is there twice")),
    }
}

/// A browser: pages, cookies by origin, forms.
#[derive(Debug)]
pub(super) struct Browser {
    agent: Agent,
    cookies: HashMap<String, BTreeMap<String, String>>,
}

impl Browser {
    pub(super) fn new(agent: Agent) -> Self {
        Self {
            agent,
            cookies: HashMap::new(),
        }
    }

    /// Follows a link or a redirect.
    pub(super) async fn open(&mut self, url: &Url) -> Result<Answer, Mismatch> {
        self.visit(self.agent.request(Method::GET, url), url).await
    }

    /// Presses a button of a form.
    pub(super) async fn submit(
        &mut self,
        page: &Url,
        form: &Form,
        button: (&str, &str),
    ) -> Result<Answer, Mismatch> {
        let target = page
            .join(&form.action)
            .map_err(|_| Mismatch::new("a form with an action", "none"))?;
        let fields = form.fields.iter();
        let mut filled: Vec<_> = fields
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        filled.push(button);
        let request = self.agent.request(Method::POST, &target);
        let request = request
            .header(CONTENT_TYPE, FORM)
            .header(ORIGIN, page.origin().ascii_serialization())
            .header("sec-fetch-site", "same-origin")
            .body(encoded(&filled));
        self.visit(request, &target).await
    }

    async fn visit(&mut self, request: RequestBuilder, url: &Url) -> Result<Answer, Mismatch> {
        let origin = url.origin().ascii_serialization();
        let jar = self.cookies.entry(origin).or_default();
        let pairs: Vec<_> = jar
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = match pairs.as_slice() {
            [] => request,
            pairs => request.header(COOKIE, pairs.join("; ")),
        };
        let answer = self.agent.send(request).await?;
        for cookie in answer.headers.get_all(SET_COOKIE) {
            keep(jar, cookie.to_str().unwrap_or_default())?;
        }
        Ok(answer)
    }

    /// How many cookies an origin has set.
    pub(super) fn cookies_of(&self, url: &Url) -> usize {
        let origin = url.origin().ascii_serialization();
        self.cookies.get(&origin).map_or(0, BTreeMap::len)
    }
}

/// Keeps a cookie, or drops it when that is what the server says. Insists on what a session needs.
fn keep(jar: &mut BTreeMap<String, String>, cookie: &str) -> Result<(), Mismatch> {
    let mut parts = cookie.split(';').map(str::trim);
    let (name, value) = parts
        .next()
        .and_then(|pair| pair.split_once('='))
        .ok_or_else(|| Mismatch::new("a cookie with a name", "none"))?;
    let attributes: Vec<_> = parts.map(str::to_ascii_lowercase).collect();
    for needed in ["httponly", "samesite=lax", "path=/"] {
        let holds = attributes.iter().any(|attribute| attribute == needed);
        ensure(holds, format!("the cookie {name} with {needed}"), "without")?;
    }
    if attributes.iter().any(|attribute| attribute == "max-age=0") {
        jar.remove(name);
    } else {
        jar.insert(name.to_owned(), value.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_kept_dropped_and_judged() {
        let mut jar = BTreeMap::new();
        keep(&mut jar, "a=1; Path=/; HttpOnly; SameSite=Lax; Max-Age=600").unwrap();
        assert_eq!(jar.get("a").map(String::as_str), Some("1"));
        keep(&mut jar, "a=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0").unwrap();
        assert!(jar.is_empty());
        keep(&mut jar, "a=1; Path=/; SameSite=Lax").unwrap_err();
    }
}
