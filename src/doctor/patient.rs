//! What is examined: the configuration with the places of its lines, the deployment that it
//! describes, and the client that asks as clients do.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;
use url::Url;

use super::finding::Fix;
use crate::config::{Config, Loaded, Resource};
use crate::net::{Answer, ClientError, Failure, TrustedClient, TrustedOptions};
use crate::time::Timestamp;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// Where a browser page that calls this server could come from.
pub(super) const ORIGIN: &str = "https://inspector.example";

/// What is examined.
pub(super) struct Patient<'a> {
    pub(super) loaded: &'a Loaded,
    pub(super) http: TrustedClient,
    /// The same toward backends, which may be reached in the clear.
    pub(super) inside: TrustedClient,
    pub(super) now: Timestamp,
}

/// An answer as a client sees it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) json: Option<Value>,
    pub(super) text: String,
}

impl Seen {
    fn of(answer: &Answer) -> Self {
        Self {
            status: answer.status,
            headers: answer.headers.clone(),
            json: serde_json::from_slice(&answer.body).ok(),
            text: String::from_utf8_lossy(&answer.body).into_owned(),
        }
    }

    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|it| it.to_str().ok());
        value.unwrap_or_default()
    }

    pub(super) fn member(&self, name: &str) -> Option<&Value> {
        self.json.as_ref()?.get(name)
    }

    /// What stands there, in a few words: for somebody who expected something else.
    pub(super) fn in_words(&self) -> String {
        let kind = match self.header("content-type") {
            "" => "without a content type",
            kind => kind,
        };
        match self.header("location") {
            "" => format!("status {}, {kind}", self.status.as_u16()),
            _ => format!("a redirect (status {})", self.status.as_u16()),
        }
    }
}

impl<'a> Patient<'a> {
    pub(super) fn new(loaded: &'a Loaded, now: Timestamp) -> Result<Self, ClientError> {
        let options = TrustedOptions {
            total: PATIENCE,
            ..TrustedOptions::default()
        };
        let inside = TrustedOptions {
            allow_plain: true,
            ..options.clone()
        };
        Ok(Self {
            loaded,
            http: TrustedClient::new(options)?,
            inside: TrustedClient::new(inside)?,
            now,
        })
    }

    pub(super) fn config(&self) -> &'a Config {
        &self.loaded.config
    }

    /// The URL of a path of this server.
    fn url(&self, path: &str) -> Result<Url, Failure> {
        Url::parse(&self.config().public_url.join(path)).map_err(|_| Failure::Request)
    }

    /// Sends a request to this server, as a program does: nothing is followed.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Option<String>,
    ) -> Result<Seen, Failure> {
        let mut request = self.http.request(method, &self.url(path)?);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        self.http
            .send(request)
            .await
            .map(|answer| Seen::of(&answer))
    }

    pub(super) async fn get(&self, path: &str) -> Result<Seen, Failure> {
        self.ask(Method::GET, path, &[("origin", ORIGIN)], None)
            .await
    }

    pub(super) async fn post_json(&self, path: &str, body: &Value) -> Result<Seen, Failure> {
        let headers = [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        self.ask(Method::POST, path, &headers, Some(body.to_string()))
            .await
    }

    /// What to do about a key.
    pub(super) fn fix(&self, key: &str, change: impl Into<String>) -> Fix {
        Fix {
            place: self.loaded.place_of(key),
            key: key.to_owned(),
            change: change.into(),
        }
    }

    /// What to do about a key of a resource.
    pub(super) fn fix_resource(
        &self,
        resource: &Resource,
        key: &str,
        change: impl Into<String>,
    ) -> Fix {
        let key = format!("{}.{key}", self.loaded.key_of_resource(&resource.path));
        self.fix(&key, change)
    }

    /// What to do outside of this server.
    pub(super) fn elsewhere(change: impl Into<String>) -> Fix {
        Fix {
            place: String::new(),
            key: String::new(),
            change: change.into(),
        }
    }
}

/// Asks a backend or a provider.
pub(super) async fn ask(
    http: &TrustedClient,
    method: Method,
    url: &Url,
    headers: HeaderMap,
    body: Option<String>,
) -> Result<Seen, Failure> {
    let mut request = http.request(method, url).headers(headers);
    if let Some(body) = body {
        request = request.body(body);
    }
    http.send(request).await.map(|answer| Seen::of(&answer))
}
