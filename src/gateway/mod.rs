//! The gateway: the bearer check on the MCP paths, and the stream to the backend.
//!
//! ```text
//! client ──▶ path ──▶ resource ──▶ Origin ──▶ OPTIONS ──▶ bearer ──▶ session ──▶ backend
//!            400      404          403        204         401/403    404         502/503/504
//!
//! route    which resource a path belongs to         proxy    what passes, and what comes back
//! cors     origins and preflights                   headers  what either side gets to see
//! host     421 for other names of this server       session  Mcp-Session-Id, sealed
//! layer    the checks before a service of yours     answer   the gateway's own answers
//! backend  connections and targets
//! warrant  how long a request may go on             upload   request bodies
//! pulse    the beat by which that is asked          streams  answers
//! stall    cutting clients that stopped reading     batch    pieces in one write
//! unread   the same for one HTTP/2 stream
//! ```
//!
//! Bodies are never read, so the gateway does not know MCP messages: batches, answers and messages
//! of any revision pass as they are. Refuses whatever the rooms above refuse; the answer is ours
//! then, and never looks like an MCP protocol error.

mod answer;
mod backend;
mod batch;
mod cors;
mod headers;
pub mod host;
mod layer;
mod proxy;
mod pulse;
mod route;
mod session;
pub mod stall;
mod streams;
pub mod unread;
mod upload;
mod warrant;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use http::Method;
use http::request::Parts;

use self::answer::Denied;
use self::backend::Backend;
use self::cors::{Origin, Origins};
use self::proxy::Passage;
use self::pulse::Pulse;
use self::warrant::Conditions;
use crate::config::{AuthMode, Config, Resource};
use crate::figures::{self, Handles};
use crate::oauth::bearer::{self, Ended, Principal, ProtectedResource, Refusal};
use crate::oauth::names::{UpstreamFingerprint, UpstreamName};
use crate::oauth::records::AccessToken;
use crate::replay::Revocations;
use crate::request::{self, Trace};
use crate::seal::Keys;
use crate::time::{Clock, Timestamp};
use crate::workers::PerWorker;

pub use self::answer::{is_own, own_answers};
pub use self::backend::BackendError;
pub use self::layer::{BearerLayer, BearerService};
pub use self::warrant::{Patience, Stopping};

/// What a gateway is made of.
#[derive(Debug)]
pub struct GatewayParts {
    /// The resources, the origins, the public address.
    pub config: Arc<Config>,
    /// What opens tokens.
    pub keys: Arc<Keys>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Which grants have ended.
    pub ended: Arc<dyn Ended>,
    /// Which provider each upstream's name means now.
    pub upstreams: HashMap<UpstreamName, UpstreamFingerprint>,
    /// How the server stops it.
    pub stopping: Stopping,
    /// Time limits that are not configured per resource.
    pub patience: Patience,
}

/// Why a gateway cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// A resource names an upstream that is not there.
    #[error("the resource {resource} names the upstream {upstream}, which is not configured")]
    NoUpstream {
        /// Public path of the resource.
        resource: String,
        /// What it names.
        upstream: UpstreamName,
    },
    /// A backend cannot be served.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// The gateway before all resources.
pub struct Gateway {
    routes: Vec<Route>,
    origins: Origins,
    keys: Arc<Keys>,
    conditions: Arc<Conditions>,
    patience: Patience,
    pulses: PerWorker<Pulse>,
    meters: Meters,
}

/// One resource, prepared.
struct Route {
    resource: Resource,
    protected: ProtectedResource,
    /// None where a program embeds the server and is the backend itself.
    backend: Option<Backend>,
    /// Where clients find it.
    public: String,
}

/// Instruments that are used for every request.
struct Meters {
    active_streams: metrics::Gauge,
    backend_seconds: metrics::Histogram,
    denied: Handles<metrics::Counter>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<_> = self.routes.iter().map(|it| &it.resource.path).collect();
        f.debug_struct("Gateway")
            .field("resources", &paths)
            .finish_non_exhaustive()
    }
}

impl Gateway {
    /// Prepares every resource of the configuration. Install the metrics recorder first.
    ///
    /// # Errors
    ///
    /// [`GatewayError`] when a resource cannot be served.
    pub fn new(parts: GatewayParts) -> Result<Self, GatewayError> {
        let config = &parts.config;
        let mut routes = Vec::with_capacity(config.resources.len());
        for resource in &config.resources {
            routes.push(Route::new(config, resource, &parts.upstreams)?);
        }
        // The longest path is the most specific.
        routes.sort_by_key(|route| std::cmp::Reverse(route.resource.path.len()));
        Ok(Self {
            routes,
            origins: Origins::new(config.cors.clone(), &config.public_url),
            keys: parts.keys,
            conditions: Arc::new(Conditions {
                clock: parts.clock,
                ended: parts.ended,
                stopping: parts.stopping,
            }),
            pulses: PerWorker::new(|| Pulse::new(parts.patience.tick)),
            patience: parts.patience,
            meters: Meters {
                active_streams: figures::ACTIVE_STREAMS.gauge(&[]),
                backend_seconds: figures::CLIENT_SECONDS.histogram(&["backend"]),
                denied: Handles::new(&figures::DENIED),
            },
        })
    }

    /// Answers one request.
    pub async fn handle(&self, request: Request) -> Response {
        self.pulses.own().start();
        let (parts, body) = request.into_parts();
        let method = parts.method.clone();
        let trace = request::current()
            .unwrap_or_else(|| Trace::of(&parts.headers, &mut crate::entropy::rng()));
        let origin = self.origins.judge(&parts.headers);

        let answered = self.answer(parts, body, &origin, &trace).await;

        let denied = answered.as_ref().err().map(Denied::as_str);
        let mut response = answered.unwrap_or_else(Denied::into_response);
        self.origins.decorate(&origin, response.headers_mut());
        self.record(denied);
        tracing::debug!(
            %method,
            status = response.status().as_u16(),
            denied,
            "gateway"
        );
        response
    }

    async fn answer(
        &self,
        parts: Parts,
        body: Body,
        origin: &Origin,
        trace: &Trace,
    ) -> Result<Response, Denied> {
        let path = route::canonical(parts.uri.path()).map_err(|_| Denied::OddPath)?;
        let (route, rest) = self.find(&path).ok_or(Denied::NoResource)?;
        let backend = route.backend.as_ref().ok_or(Denied::NoResource)?;
        if let Some(answer) = browser(&parts, origin)? {
            return Ok(answer);
        }
        let now = self.conditions.clock.now();
        let principal = self.admit(route, &parts, now)?;
        let session = session::open(
            &parts.headers,
            &self.keys,
            principal.as_ref(),
            &route.resource.path,
            now,
        )
        .map_err(|_| Denied::Session)?;

        let target = backend
            .target(rest, parts.uri.query())
            .ok_or(Denied::OddPath)?;
        let passage = Passage {
            parts: &parts,
            backend,
            principal,
            session,
            target,
        };
        self.pass(route, passage, body, trace).await
    }

    /// The resource of a canonical path, and what follows the resource's own path.
    fn find<'p>(&self, path: &'p str) -> Option<(&Route, &'p str)> {
        self.routes
            .iter()
            .find_map(|route| Some((route, route::below(path, &route.resource.path)?)))
    }

    /// The bearer check: who makes the request, or nobody where that is allowed.
    fn admit(
        &self,
        route: &Route,
        parts: &Parts,
        now: Timestamp,
    ) -> Result<Option<Principal>, Denied> {
        let ended = &*self.conditions.ended;
        let checked = bearer::presented(&parts.headers)
            .and_then(|token| route.protected.check(token, &self.keys, ended, now));
        match checked {
            Ok(principal) => Ok(Some(principal)),
            Err(Refusal::NoToken) if route.resource.auth == AuthMode::Optional => Ok(None),
            Err(refusal) => Err(route.refuse(refusal)),
        }
    }

    fn record(&self, denied: Option<&'static str>) {
        if let Some(reason) = denied {
            self.meters.denied.increment(&[reason]);
        }
    }
}

impl Route {
    fn new(
        config: &Config,
        resource: &Resource,
        upstreams: &HashMap<UpstreamName, UpstreamFingerprint>,
    ) -> Result<Self, GatewayError> {
        let upstream = upstreams.get(&resource.upstream);
        let upstream = *upstream.ok_or_else(|| GatewayError::NoUpstream {
            resource: resource.path.clone(),
            upstream: resource.upstream.clone(),
        })?;
        Ok(Self {
            protected: ProtectedResource::new(
                &config.public_url.issuer,
                resource.uri.clone(),
                &resource.path,
                resource.required_scopes.clone(),
                upstream,
                resource.forward.needs_upstream_token(),
            ),
            backend: resource
                .backend
                .as_ref()
                .map(|url| Backend::new(url, resource))
                .transpose()?,
            public: config.public_url.join(&resource.path),
            resource: resource.clone(),
        })
    }
}

impl Ended for Revocations {
    fn has_ended(&self, token: &AccessToken) -> bool {
        self.access_has_ended(token)
    }
}

/// What is settled before authentication: the origin, preflights, and methods that are never passed.
fn browser(parts: &Parts, origin: &Origin) -> Result<Option<Response>, Denied> {
    if *origin == Origin::Refused {
        return Err(Denied::Origin);
    }
    match parts.method {
        Method::OPTIONS => Ok(Some(cors::preflight(&parts.headers))),
        // TRACE would echo what the backend receives, the upstream's token included.
        Method::TRACE | Method::CONNECT => Err(Denied::Method),
        _ => Ok(None),
    }
}

/// The gateway as a router whose every path leads to it: the server's fallback.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new().fallback(handle).with_state(gateway)
}

/// The gateway as a router of the resources that have a backend, and no other path: for a program
/// that has paths of its own.
pub fn routes(gateway: Arc<Gateway>) -> Router {
    let mut router = Router::new();
    for route in gateway.routes.iter().filter(|it| it.backend.is_some()) {
        let path = &route.resource.path;
        let paths = [
            path.clone(),
            format!("{path}/"),
            format!("{path}/{{*rest}}"),
        ];
        for path in paths.iter().filter(|it| !it.is_empty()) {
            router = router.route(path, any(handle));
        }
    }
    router.with_state(gateway)
}

async fn handle(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    gateway.handle(request).await
}
