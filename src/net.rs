//! What leaves this machine toward HTTP servers other than backends: two clients, and nothing else
//! makes one.
//!
//! ```text
//! TrustedClient    URLs that the operator configured     providers: discovery, keys, tokens
//! GuardedFetcher   URLs that a stranger supplied         client metadata documents, their keys
//! ```
//!
//! Both refuse redirects, proxies from the environment, plain http beyond this computer, compressed
//! answers, and bodies over a cap, while they stream. The guarded one also refuses every address
//! that is not public, and connects to the very address that was checked.

use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use url::{Host, Url};

use crate::figures::CLIENT_SECONDS;

pub mod budget;
mod failure;
pub mod fetcher;
pub mod guard;
pub mod json;
mod read;
pub mod trusted;

pub use failure::Failure;
pub use fetcher::{FetchError, Fetched, FetcherOptions, GuardedFetcher, Limits};
pub use guard::Guard;
pub use trusted::{Answer, TrustedClient, TrustedOptions};

/// How we call ourselves; some providers refuse requests without a name.
const USER_AGENT: &str = concat!("mcp-oauth/", env!("CARGO_PKG_VERSION"));
/// How long an idle connection is kept: shorter than what servers usually keep.
const IDLE: Duration = Duration::from_secs(30);

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The further certificate authorities are not PEM certificates.
    #[error("the extra certificate authorities are not PEM certificates")]
    Certificates,
    /// The TLS set-up failed, or the system's certificate authorities cannot be read.
    #[error("no HTTP client could be made: {0}")]
    Build(String),
}

/// What both clients have in common.
#[expect(
    clippy::disallowed_methods,
    reason = "this room is where clients are made"
)]
fn builder(
    connect: Duration,
    extra_ca: Option<&[u8]>,
) -> Result<reqwest::ClientBuilder, ClientError> {
    let mut headers = HeaderMap::new();
    // A compressed answer could be larger than any cap that is checked on the wire.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let roots = match extra_ca {
        Some(pem) => reqwest::Certificate::from_pem_bundle(pem)
            .ok()
            .filter(|certificates| !certificates.is_empty())
            .ok_or(ClientError::Certificates)?,
        None => Vec::new(),
    };
    Ok(reqwest::Client::builder()
        .tls_backend_rustls()
        .tls_certs_merge(roots)
        .user_agent(USER_AGENT)
        .default_headers(headers)
        .redirect(Policy::none())
        .referer(false)
        // A proxy would resolve names again, and a code must not be sent twice.
        .no_proxy()
        .retry(reqwest::retry::never())
        .connect_timeout(connect)
        .pool_idle_timeout(IDLE))
}

fn build(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, ClientError> {
    builder
        .build()
        .map_err(|error| ClientError::Build(failure::innermost(&error)))
}

/// Runs an exchange within its time, and measures it.
async fn timed<T>(
    peer: &'static str,
    total: Duration,
    exchange: impl Future<Output = T>,
) -> Result<T, tokio::time::error::Elapsed> {
    let start = tokio::time::Instant::now();
    let outcome = tokio::time::timeout(total, exchange).await;
    CLIENT_SECONDS
        .histogram(&[peer])
        .record(start.elapsed().as_secs_f64());
    outcome
}

/// Whether a URL's host is this computer by its spelling: a loopback address, or `localhost`.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Whether what is sent there stays confidential: https, or plain http on this computer.
pub fn is_confidential(url: &Url) -> bool {
    match url.scheme() {
        "https" => url.has_host(),
        "http" => is_loopback(url),
        _ => false,
    }
}
