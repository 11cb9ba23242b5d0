//! Assembles the rooms to one server, and runs it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::config::{Config, Resource};
use crate::entropy;
use crate::http::{App, routes};
use crate::oauth::names::InstanceId;
use crate::oauth::resource::{Carries, ResourceRule, Resources};
use crate::time::Clock;

/// Revocations that may be on their way to upstreams at once.
const UPSTREAM_REVOCATIONS: usize = 64;

/// The resources of a configuration, as the protocol sees them.
pub fn resources(config: &Config) -> Resources {
    Resources::new(config.resources.iter().map(rule).collect())
}

fn rule(resource: &Resource) -> ResourceRule {
    ResourceRule {
        uri: resource.uri.clone(),
        path: resource.path.clone(),
        name: resource.name.clone(),
        upstream: resource.upstream.clone(),
        scopes: resource.scopes.clone(),
        required_scopes: resource.required_scopes.clone(),
        carries: Carries {
            identity: resource.forward.identity,
            upstream_token: resource.forward.needs_upstream_token(),
        },
    }
}
