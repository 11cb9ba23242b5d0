//! The web of client documents without a network: URLs and their answers, every fetch counted.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use axum::http::{HeaderMap, StatusCode};
use mcp_oauth::http::documents::Fetch;
use mcp_oauth::net::{Failure, FetchError, Fetched, Limits};
use serde_json::Value;

/// A web of documents.
#[derive(Debug, Default)]
pub(crate) struct Web {
    pages: Mutex<HashMap<String, (u16, &'static str, String)>>,
    fetches: AtomicU32,
}

impl Web {
    /// Publishes a document.
    pub(crate) fn publish(&self, url: &str, document: &Value) {
        self.put(url, 200, "max-age=60", &document.to_string());
    }

    /// Answers a URL in any way.
    pub(crate) fn put(&self, url: &str, status: u16, cache_control: &'static str, body: &str) {
        let page = (status, cache_control, body.to_owned());
        self.pages.lock().unwrap().insert(url.to_owned(), page);
    }

    /// How often anything was fetched.
    pub(crate) fn fetches(&self) -> u32 {
        self.fetches.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Fetch for Web {
    async fn get(&self, url: &str, limits: Limits) -> Result<Fetched, FetchError> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let page = self.pages.lock().unwrap().get(url).cloned();
        let (status, cache_control, body) = page.ok_or(FetchError::Failed(Failure::Timeout))?;
        assert!(
            body.len() <= limits.max_body,
            "the real fetcher would have refused"
        );
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert("cache-control", cache_control.parse().unwrap());
        let status = StatusCode::from_u16(status).unwrap();
        Ok(Fetched {
            status,
            headers,
            body: body.into_bytes(),
        })
    }
}
