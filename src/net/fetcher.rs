//! The fetcher for URLs that a stranger supplied: client metadata documents and their keys.
//!
//! Order: the URL's spelling → the budget → resolve → every address checked → connect to a checked
//! address → read within the caps. The resolver of the HTTP client is the check itself, so that the
//! address that was checked is the one that is connected to (no DNS rebinding), and no connection
//! is kept, so that no later fetch escapes the check. Status and content are judged by the caller;
//! [`Fetched::document`] is the usual judgement.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use reqwest::dns::{Addrs, Name, Resolving};

use super::budget::{Budget, BudgetLimits, Exhausted};
use super::failure::causes;
use super::guard::{Blocked, Guard, UnsafeUrl};
use super::json::NotStrict;
use super::{ClientError, Failure, build, builder, json, read};
use crate::time::Clock;

/// What resolves names.
#[async_trait]
pub trait Resolver: Send + Sync + fmt::Debug {
    /// Every address of a name.
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((host, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// What a fetcher may do.
#[derive(Clone, Debug)]
pub struct FetcherOptions {
    /// Which URLs and addresses.
    pub guard: Guard,
    /// How much.
    pub budget: BudgetLimits,
    /// How long connecting may take.
    pub connect: Duration,
    /// What resolves names.
    pub resolver: Arc<dyn Resolver>,
    /// Further certificate authorities, PEM.
    pub extra_ca: Option<Vec<u8>>,
}

impl Default for FetcherOptions {
    fn default() -> Self {
        Self {
            guard: Guard::default(),
            budget: BudgetLimits::default(),
            connect: Duration::from_secs(2),
            resolver: Arc::new(SystemResolver),
            extra_ca: None,
        }
    }
}

/// The caps of one fetch.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest body in bytes.
    pub max_body: usize,
    /// How long everything may take.
    pub total: Duration,
}

/// What was fetched, whatever its status.
#[derive(Clone)]
pub struct Fetched {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

/// Why nothing was fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The URL is not one that we fetch.
    #[error(transparent)]
    Url(#[from] UnsafeUrl),
    /// The name leads to an address that we do not connect to.
    #[error(transparent)]
    Address(#[from] Blocked),
    /// Too much fetching; may be tried again.
    #[error(transparent)]
    Busy(#[from] Exhausted),
    /// No complete answer within the caps.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// Another status than 200.
    #[error("the answer has status {0}")]
    Status(StatusCode),
    /// Another content type than JSON.
    #[error("the answer is not labelled as JSON")]
    ContentType,
    /// Not JSON, or not strictly.
    #[error(transparent)]
    Json(#[from] NotStrict),
}

/// The fetcher for URLs that a stranger supplied.
pub struct GuardedFetcher {
    client: reqwest::Client,
    guard: Guard,
    budget: Arc<Budget>,
}

impl GuardedFetcher {
    /// Makes a fetcher.
    ///
    /// # Errors
    ///
    /// If the certificates cannot be read, or the system has none.
    pub fn new(options: FetcherOptions, clock: Arc<dyn Clock>) -> Result<Self, ClientError> {
        let checked = Arc::new(CheckedResolver {
            inner: options.resolver,
            guard: options.guard,
        });
        let client = builder(options.connect, options.extra_ca.as_deref())?
            .dns_resolver(checked)
            .pool_max_idle_per_host(0);
        Ok(Self {
            client: build(client)?,
            guard: options.guard,
            budget: Budget::new(options.budget, clock),
        })
    }

    /// Fetches a document.
    ///
    /// # Errors
    ///
    /// [`FetchError`] whenever there is no complete answer within the rules and caps; a status or
    /// content type is never an error here.
    pub async fn get(&self, url: &str, limits: Limits) -> Result<Fetched, FetchError> {
        let url = self.guard.check_url(url)?;
        let _permit = self.budget.take(url.host_str().unwrap_or_default())?;
        let fetch = async {
            let request = self.client.get(url).header("accept", "application/json");
            let response = request.send().await.map_err(|error| reason(&error))?;
            Ok(Fetched {
                status: response.status(),
                headers: response.headers().clone(),
                body: read::body(response, limits.max_body).await?.to_vec(),
            })
        };
        super::timed("client", limits.total, fetch)
            .await
            .unwrap_or(Err(Failure::Timeout.into()))
    }
}

impl Fetched {
    /// The body, if this is a JSON document: status 200, labelled as JSON, strict JSON.
    ///
    /// # Errors
    ///
    /// [`FetchError::Status`], [`FetchError::ContentType`], [`FetchError::Json`].
    pub fn document(&self) -> Result<&[u8], FetchError> {
        if self.status != StatusCode::OK {
            return Err(FetchError::Status(self.status));
        }
        if !is_json(&self.headers) {
            return Err(FetchError::ContentType);
        }
        json::parse(&self.body)?;
        Ok(&self.body)
    }
}

/// Whether the content type is `application/json` or `application/*+json`.
pub fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let essence = value
        .and_then(|it| it.split(';').next())
        .unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn reason(error: &reqwest::Error) -> FetchError {
    let blocked = causes(error).find_map(|cause| cause.downcast_ref::<Blocked>());
    match blocked {
        Some(blocked) => FetchError::Address(*blocked),
        None => FetchError::Failed(Failure::of(error)),
    }
}

/// Resolves, and refuses the whole answer if one address of it is not allowed.
#[derive(Debug)]
struct CheckedResolver {
    inner: Arc<dyn Resolver>,
    guard: Guard,
}

impl reqwest::dns::Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (inner, guard) = (Arc::clone(&self.inner), self.guard);
        Box::pin(async move {
            let addresses = inner.addresses(name.as_str()).await?;
            if addresses.is_empty() {
                return Err(io::Error::from(io::ErrorKind::NotFound).into());
            }
            for address in &addresses {
                guard.check_ip(*address)?;
            }
            let sockets = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(sockets) as Addrs)
        })
    }
}

impl fmt::Debug for GuardedFetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedFetcher")
            .field("guard", &self.guard)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched")
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
