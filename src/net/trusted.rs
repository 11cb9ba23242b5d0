//! The client for URLs that the operator configured: providers and their documents.
//!
//! Such a URL may point into a private network. Refuses plain http beyond this computer, redirects,
//! proxies, compressed answers, and whatever is too large or too slow.

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use reqwest::RequestBuilder;
use url::Url;
use zeroize::Zeroizing;

use super::{ClientError, Failure, build, builder, is_confidential, read};

/// Caps and trust of a [`TrustedClient`].
#[derive(Clone, Debug)]
pub struct TrustedOptions {
    /// Further certificate authorities, PEM.
    pub extra_ca: Option<Vec<u8>>,
    /// How long connecting may take.
    pub connect: Duration,
    /// How long everything may take, the body included.
    pub total: Duration,
    /// Largest body in bytes.
    pub max_body: usize,
    /// Whether plain http is fine beyond this computer: toward backends in one's own network.
    pub allow_plain: bool,
}

impl Default for TrustedOptions {
    fn default() -> Self {
        Self {
            extra_ca: None,
            connect: Duration::from_secs(2),
            total: Duration::from_secs(10),
            max_body: 1 << 20,
            allow_plain: false,
        }
    }
}

/// The client for URLs that the operator configured. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct TrustedClient {
    client: reqwest::Client,
    options: TrustedOptions,
}

/// An answer, whatever its status.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body; may hold tokens.
    pub body: Zeroizing<Vec<u8>>,
}

impl TrustedClient {
    /// Makes a client.
    ///
    /// # Errors
    ///
    /// If the certificates cannot be read, or the system has none.
    pub fn new(options: TrustedOptions) -> Result<Self, ClientError> {
        let client = build(builder(options.connect, options.extra_ca.as_deref())?)?;
        Ok(Self { client, options })
    }

    /// A client with the same caps that trusts further certificate authorities.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn trusting(&self, extra_ca: &[u8]) -> Result<Self, ClientError> {
        Self::new(TrustedOptions {
            extra_ca: Some(extra_ca.to_vec()),
            ..self.options.clone()
        })
    }

    /// Begins a request.
    pub fn request(&self, method: Method, url: &Url) -> RequestBuilder {
        self.client.request(method, url.clone())
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    ///
    /// [`Failure`] whenever there is no complete answer within the caps.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let request = request.build().map_err(|_| Failure::Request)?;
        let is_allowed = self.options.allow_plain && request.url().scheme() == "http";
        if !is_allowed && !is_confidential(request.url()) {
            return Err(Failure::NotConfidential);
        }
        super::timed("upstream", self.options.total, self.complete(request))
            .await
            .unwrap_or(Err(Failure::Timeout))
    }

    async fn complete(&self, request: reqwest::Request) -> Result<Answer, Failure> {
        let response = self
            .client
            .execute(request)
            .await
            .map_err(|error| Failure::of(&error))?;
        Ok(Answer {
            status: response.status(),
            headers: response.headers().clone(),
            body: read::body(response, self.options.max_body).await?,
        })
    }
}

impl fmt::Debug for TrustedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedClient").finish_non_exhaustive()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
