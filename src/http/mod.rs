//! The authorization server's endpoints: one file each, every path in [`routes`].
//!
//! Handlers read as the list of their steps; the rules are in [`crate::oauth`]. Machine endpoints
//! answer JSON for every status, browser endpoints a page. Refuses bodies over their caps, and
//! never answers 5xx for what the caller did.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::config::Config;
use crate::oauth::names::{InstanceId, UpstreamName};
use crate::oauth::resource::Resources;
use crate::replay::{ReplayStore, Revocations};
use crate::seal::Keys;
use crate::time::{Clock, Timestamp};
use crate::upstream::Upstream;
use documents::{Documents, Fetch};
use foreign::Foreign;
use later::Untold;
use limits::Limits;
use upstream_revocations::UpstreamRevocations;

pub use self::pages::visitors;

mod authorize;
mod browser;
mod callback;
mod client_auth;
mod clients;
mod consent;
pub mod documents;
mod foreign;
mod form;
mod index;
mod later;
mod limits;
mod metadata;
mod pages;
mod redeem;
mod refresh;
mod register;
mod respond;
mod revoke;
pub mod routes;
mod token;
mod upstream_revocations;
mod vouch;

/// What the endpoints are made of.
#[derive(Debug)]
pub struct AppParts {
    /// The configuration.
    pub config: Arc<Config>,
    /// The live keys.
    pub keys: Arc<Keys>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// What has been used.
    pub replay: Arc<dyn ReplayStore>,
    /// What has been revoked.
    pub revocations: Arc<Revocations>,
    /// The providers, by name.
    pub upstreams: BTreeMap<UpstreamName, Arc<dyn Upstream>>,
    /// The resources as the protocol sees them.
    pub resources: Resources,
    /// This start of this process.
    pub instance: InstanceId,
    /// What fetches client metadata documents.
    pub fetcher: Arc<dyn Fetch>,
}

/// What the endpoints need.
pub struct App {
    parts: AppParts,
    limits: Limits,
    documents: Documents,
    upstream_revocations: UpstreamRevocations,
    untold: Untold,
    foreign: Foreign,
}

impl std::ops::Deref for App {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.parts
    }
}

impl App {
    /// Puts the parts together.
    pub fn new(parts: AppParts) -> Self {
        Self {
            limits: Limits::new(&parts.config, &parts.clock),
            documents: Documents::new(Arc::clone(&parts.fetcher), Arc::clone(&parts.clock)),
            upstream_revocations: UpstreamRevocations::default(),
            untold: Untold::default(),
            foreign: Foreign::since(parts.clock.now()),
            parts,
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The absolute URL of an upstream's callback.
    fn callback_url(&self, upstream: &dyn Upstream) -> String {
        self.config
            .public_url
            .join(&upstream.profile().callback_path)
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("public_url", &self.config.public_url.issuer)
            .finish_non_exhaustive()
    }
}
