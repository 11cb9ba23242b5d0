//! What leaves the machine: the client for URLs that the operator configured.
//!
//! Refuses redirects, proxies, compressed bodies, plain http to other computers, and bodies over
//! their cap.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode};
use url::Url;

/// Largest answer of an upstream.
const MAX_BODY: usize = 1 << 20;
const CONNECT: Duration = Duration::from_secs(2);
const TOTAL: Duration = Duration::from_secs(10);

/// An answer, read within its cap.
#[derive(Debug)]
pub struct Fetched {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Fetched {
    /// How long the server asks to wait, in its seconds form (RFC 9110 §10.2.3).
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self
            .headers
            .get(RETRY_AFTER)?
            .to_str()
            .ok()?
            .trim()
            .parse()
            .ok()?;
        Some(Duration::from_secs(seconds))
    }
}

/// Why nothing usable was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Not reached, reset or cut off.
    #[error("the connection failed")]
    Connection,
    /// Over its time.
    #[error("no answer in time")]
    Timeout,
    /// Over its cap.
    #[error("the answer is too large")]
    TooLarge,
    /// Not https, and not on this computer.
    #[error("the URL is plain http to another computer")]
    ClearText,
}

/// The client for URLs that the operator configured.
#[derive(Clone, Debug)]
pub struct TrustedClient(Client);

impl TrustedClient {
    /// Makes a client. `extra_ca` is PEM, trusted besides the system's authorities.
    ///
    /// # Errors
    ///
    /// If the PEM is no good, or TLS cannot be set up.
    #[expect(
        clippy::disallowed_methods,
        reason = "this file is where clients are made"
    )]
    pub fn new(extra_ca: Option<&[u8]>) -> Result<Self, reqwest::Error> {
        let mut headers = HeaderMap::new();
        // A small body must not unfold into a large one.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(CONNECT)
            .timeout(TOTAL)
            .user_agent(concat!("mcp-oauth/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers);
        if let Some(pem) = extra_ca {
            let authorities = reqwest::Certificate::from_pem_bundle(pem)?;
            builder = builder.tls_certs_merge(authorities);
        }
        Ok(Self(builder.build()?))
    }

    /// A GET request.
    pub fn get(&self, url: &Url) -> RequestBuilder {
        self.0.get(url.clone())
    }

    /// A POST request.
    pub fn post(&self, url: &Url) -> RequestBuilder {
        self.0.post(url.clone())
    }
}

/// Sends a request and reads the answer within its cap.
///
/// # Errors
///
/// [`FetchError`]; never the URL, which may hold what must not be logged.
pub async fn send(request: RequestBuilder) -> Result<Fetched, FetchError> {
    let mut response = request.send().await.map_err(|error| failure(&error))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(FetchError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Fetched {
        status,
        headers,
        body: body.freeze(),
    })
}

fn failure(error: &reqwest::Error) -> FetchError {
    if error.is_timeout() {
        FetchError::Timeout
    } else {
        FetchError::Connection
    }
}

/// Whether a configured URL may be used: https, or http on this computer.
pub fn is_acceptable(url: &Url) -> bool {
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(url::Host::Ipv4(ip))) => ip.is_loopback(),
        ("http", Some(url::Host::Ipv6(ip))) => ip.is_loopback(),
        ("http", Some(url::Host::Domain(name))) => name == "localhost",
        _ => false,
    }
}
