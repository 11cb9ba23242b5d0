//! Client metadata documents, and the keys that they name: fetched through the guarded fetcher,
//! kept as long as their headers say, within bounds. Errors are never kept.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::HeaderMap;
use axum::http::header::CACHE_CONTROL;
use jsonwebtoken::jwk::JwkSet;
use moka::future::Cache;
use serde_json::Value;
use url::Url;

use crate::config::Config;
use crate::net::{FetchError, Fetched, GuardedFetcher, Limits};
use crate::oauth::document::{
    ClientDocument, ClientKeys, DocumentError, DocumentUrl, MAX_DOCUMENT,
};
use crate::time::Clock;

/// Documents and key sets that are kept.
const KEPT: u64 = 4_096;
/// However short a document wants to be kept, a burst of requests is one fetch.
const SHORTEST: Duration = Duration::from_secs(15);
/// However long, a change is seen after this.
const LONGEST: Duration = Duration::from_secs(3_600);
/// Without a word about it.
const USUAL: Duration = Duration::from_secs(300);
/// How often keys are asked for again because of one that is not known.
const KEYS_AGAIN: Duration = Duration::from_secs(30);
/// Time and size of one fetch.
const TIME: Duration = Duration::from_secs(5);
const MAX_KEYS: usize = 64 * 1024;

/// What fetches a URL that a stranger supplied.
#[async_trait]
pub trait Fetch: Send + Sync + fmt::Debug {
    /// Fetches, or says why not. Never follows a redirect.
    async fn get(&self, url: &str, limits: Limits) -> Result<Fetched, FetchError>;
}

#[async_trait]
impl Fetch for GuardedFetcher {
    async fn get(&self, url: &str, limits: Limits) -> Result<Fetched, FetchError> {
        Self::get(self, url, limits).await
    }
}

/// Something fetched, and until when it is believed; both on the monotonic clock.
struct Kept<T> {
    value: T,
    fetched_at: Duration,
    fresh_until: Duration,
}

/// The documents of clients, and their keys.
pub(super) struct Documents {
    fetcher: Arc<dyn Fetch>,
    clock: Arc<dyn Clock>,
    by_url: Cache<DocumentUrl, Arc<Kept<ClientDocument>>>,
    keys: Cache<Url, Arc<Kept<JwkSet>>>,
}

impl Documents {
    pub(super) fn new(fetcher: Arc<dyn Fetch>, clock: Arc<dyn Clock>) -> Self {
        Self {
            fetcher,
            clock,
            by_url: Cache::new(KEPT),
            keys: Cache::new(KEPT),
        }
    }

    /// The URL of a document that may be used here.
    pub(super) fn url(config: &Config, client_id: &str) -> Result<DocumentUrl, DocumentError> {
        let clients = &config.clients;
        let url = DocumentUrl::parse(client_id, clients.cimd_allow_loopback)?;
        let named = |hosts: &[String]| {
            hosts
                .iter()
                .any(|host| host.eq_ignore_ascii_case(url.host()))
        };
        let allowed = clients.cimd_allow_hosts.is_empty() || named(&clients.cimd_allow_hosts);
        if allowed && !named(&clients.cimd_deny_hosts) {
            Ok(url)
        } else {
            Err(DocumentError::Host)
        }
    }

    /// A client's document.
    pub(super) async fn document(
        &self,
        url: &DocumentUrl,
        private_use: &[String],
    ) -> Result<ClientDocument, DocumentError> {
        let now = self.clock.elapsed();
        if let Some(kept) = self.by_url.get(url).await {
            if kept.fresh_until > now {
                return Ok(kept.value.clone());
            }
            self.by_url.invalidate(url).await;
        }
        let fetch = async {
            let limits = Limits {
                max_body: MAX_DOCUMENT,
                total: TIME,
            };
            let fetched = self.fetch(url.url().as_str(), limits).await?;
            let value = ClientDocument::parse(url, &fetched.body, private_use)?;
            Ok::<_, DocumentError>(Arc::new(self.kept(value, &fetched.headers)))
        };
        // Concurrent requests share one fetch; an error is handed to them and forgotten.
        let kept = self.by_url.try_get_with(url.clone(), fetch).await;
        kept.map(|kept| kept.value.clone())
            .map_err(|error| (*error).clone())
    }

    /// A client's keys. `unknown` asks for newer ones, at most every half minute.
    pub(super) async fn keys(
        &self,
        keys: &ClientKeys,
        unknown: bool,
    ) -> Result<JwkSet, DocumentError> {
        let url = match keys {
            ClientKeys::None => return Ok(JwkSet { keys: Vec::new() }),
            ClientKeys::Inline(set) => return Ok(set.clone()),
            ClientKeys::At(url) => url,
        };
        let now = self.clock.elapsed();
        if let Some(kept) = self.keys.get(url).await {
            let tried = unknown && now.saturating_sub(kept.fetched_at) >= KEYS_AGAIN;
            if kept.fresh_until > now && !tried {
                return Ok(kept.value.clone());
            }
            self.keys.invalidate(url).await;
        }
        let fetch = async {
            let limits = Limits {
                max_body: MAX_KEYS,
                total: TIME,
            };
            let fetched = self.fetch(url.as_str(), limits).await?;
            let value = usable(&fetched.body).ok_or(DocumentError::Content("no usable key"))?;
            Ok::<_, DocumentError>(Arc::new(self.kept(value, &fetched.headers)))
        };
        let kept = self.keys.try_get_with(url.clone(), fetch).await;
        kept.map(|kept| kept.value.clone())
            .map_err(|error| (*error).clone())
    }

    async fn fetch(&self, url: &str, limits: Limits) -> Result<Fetched, DocumentError> {
        let not_fetched = |error: FetchError| DocumentError::NotFetched(error.to_string());
        let fetched = self.fetcher.get(url, limits).await.map_err(not_fetched)?;
        fetched.document().map_err(not_fetched)?;
        Ok(fetched)
    }

    fn kept<T>(&self, value: T, headers: &HeaderMap) -> Kept<T> {
        let fetched_at = self.clock.elapsed();
        Kept {
            value,
            fetched_at,
            fresh_until: fetched_at + freshness(headers),
        }
    }
}

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Documents")
            .field("kept", &self.by_url.entry_count())
            .finish_non_exhaustive()
    }
}

/// RFC 9111 §5.2.2, within our bounds.
fn freshness(headers: &HeaderMap) -> Duration {
    let lines = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut fresh = USUAL;
    for directive in lines.flat_map(|line| line.split(',')).map(str::trim) {
        let lower = directive.to_ascii_lowercase();
        if lower == "no-store" || lower == "no-cache" {
            return SHORTEST;
        }
        if let Some(seconds) = lower
            .strip_prefix("max-age=")
            .and_then(|it| it.trim_matches('"').parse().ok())
        {
            fresh = Duration::from_secs(seconds);
        }
    }
    fresh.clamp(SHORTEST, LONGEST)
}

/// The keys of a set that we can read; kinds that we do not know are left out.
fn usable(body: &[u8]) -> Option<JwkSet> {
    let set: Value = serde_json::from_slice(body).ok()?;
    let keys = set.get("keys")?.as_array()?.iter();
    let keys: Vec<_> = keys
        .filter_map(|key| serde_json::from_value(key.clone()).ok())
        .collect();
    (!keys.is_empty()).then_some(JwkSet { keys })
}

#[cfg(test)]
mod tests {
    use super::*;

    // M10
    #[test]
    fn freshness_follows_the_headers_within_bounds() {
        let fresh = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, value.parse().unwrap());
            freshness(&headers).as_secs()
        };
        assert_eq!(freshness(&HeaderMap::new()), USUAL);
        assert_eq!(fresh("max-age=600"), 600);
        assert_eq!(fresh("public, Max-Age=\"60\""), 60);
        assert_eq!(fresh("max-age=0"), 15);
        assert_eq!(fresh("max-age=99999999"), 3_600);
        assert_eq!(fresh("no-store, max-age=600"), 15);
        assert_eq!(fresh("max-age=x"), 300);
    }
}
