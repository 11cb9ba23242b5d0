//! Assembles the rooms to one server, and runs it.

mod dispatch;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::STRICT_TRANSPORT_SECURITY;
use tokio::net::TcpListener;
use tower::Layer as _;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::admin::{self, Readiness, Render};
use crate::config::{Config, Resource, StoreKind};
use crate::entropy;
use crate::figures;
use crate::gateway::host::{HostCheck, HostLayer, Hosts};
use crate::gateway::{self, Gateway, GatewayError, GatewayParts, Patience, Stopping};
use crate::http::documents::Fetch;
use crate::http::visitors::{Reception, Visitors};
use crate::http::{App, AppParts, routes};
use crate::listen;
use crate::net::{
    ClientError, FetcherOptions, Guard, GuardedFetcher, TrustedClient, TrustedOptions,
};
use crate::oauth::names::{InstanceId, UpstreamName};
use crate::oauth::resource::{Carries, ResourceRule, Resources};
use crate::replay::memory::MemoryStore;
#[cfg(feature = "redis")]
use crate::replay::redis::{RedisSettings, RedisStore};
use crate::replay::{Measured, ReplayStore, Revocations};
use crate::request::{Endpoints, Entered, Entrance};
use crate::seal::{Ages, KeyError, Keys};
use crate::time::Clock;
use crate::tls::{Tls, TlsError};
use crate::upstream::Upstream;
use crate::workers::Workers;

pub use self::dispatch::Dispatch;

/// A server that is ready to run.
pub struct Server {
    app: Arc<App>,
    front: Front,
    tls: Option<Arc<Tls>>,
    stopping: Stopping,
    asked_to_stop: Arc<AtomicBool>,
}

/// What a mode of the replay store guarantees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarantees {
    /// The mode.
    pub store: &'static str,
    /// When a code works once.
    pub code_single_use: &'static str,
    /// Where the reuse of a refresh token is noticed.
    pub refresh_reuse: &'static str,
    /// When a revocation holds.
    pub revocation: &'static str,
    /// Whether an operator should know that another mode is stricter.
    pub weaker: bool,
}

impl Guarantees {
    pub(crate) const fn of(store: &StoreKind) -> Self {
        match store {
            StoreKind::Memory => Self {
                store: "memory",
                code_single_use: "exact; after a restart the upstream's own rule",
                refresh_reuse: "noticed until a restart",
                revocation: "at once; forgotten at a restart",
                weaker: false,
            },
            StoreKind::Upstream => Self {
                store: "upstream",
                code_single_use: "the upstream's own rule, and once per replica",
                refresh_reuse: "noticed only by the replica that saw the rotation",
                revocation: "per replica and upstream; epochs in the configuration on all",
                weaker: true,
            },
            StoreKind::Redis { .. } => Self {
                store: "redis",
                code_single_use: "exact on all replicas",
                refresh_reuse: "noticed by every replica",
                revocation: "within two seconds on every replica",
                weaker: false,
            },
        }
    }

    /// Says it in the log: the weaker mode as a warning.
    pub fn log(&self) {
        let Self {
            store,
            code_single_use,
            refresh_reuse,
            revocation,
            weaker,
        } = *self;
        if weaker {
            tracing::warn!(
                store,
                code_single_use,
                refresh_reuse,
                revocation,
                "replay store"
            );
        } else {
            tracing::info!(
                store,
                code_single_use,
                refresh_reuse,
                revocation,
                "replay store"
            );
        }
    }
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// A resource cannot be served.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// There is no client for the documents of clients.
    #[error(transparent)]
    Net(#[from] ClientError),
    /// An upstream cannot be used.
    #[error(transparent)]
    Upstream(#[from] crate::upstream::BuildError),
    /// The certificate of `[tls]` cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The replay store cannot be used.
    #[error("the replay store cannot be used: {0}")]
    Store(String),
}

impl Server {
    /// Puts the rooms together. Nothing is asked over the network but the replay store: an upstream
    /// that is down does not keep the server from starting.
    ///
    /// # Errors
    ///
    /// [`StartError`], with what to change.
    pub async fn assemble(config: Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let tls = followed_certificate(&config)?;
        let Rooms {
            app,
            gateway,
            stopping,
        } = Rooms::build(config, clock).await?;
        tokio::spawn(Arc::clone(&app.keys).watch());
        let front = front(&app, gateway);
        Ok(Self {
            app,
            front,
            tls,
            stopping,
            asked_to_stop: Arc::default(),
        })
    }

    /// Everything as one router, for tests.
    pub fn router(&self) -> Router {
        let router = Router::new().fallback_service(self.front.clone());
        if self.tls.is_some() {
            router.layer(secured())
        } else {
            router
        }
    }

    /// Serves the admin endpoints where the configuration asks for them.
    ///
    /// # Errors
    ///
    /// If the address cannot be used.
    pub async fn serve_admin(&self, render: Render) -> std::io::Result<()> {
        let Some(address) = self.app.config.admin_listen else {
            return Ok(());
        };
        let listener = TcpListener::bind(address).await?;
        let readiness = Readiness {
            stopping: Arc::clone(&self.asked_to_stop),
            replay: Arc::clone(&self.app.replay),
        };
        let ages = Ages::new(Arc::clone(&self.app.keys));
        let clock = Arc::clone(&self.app.clock);
        let router = admin::router(
            readiness,
            Arc::new(move || {
                ages.update(clock.now());
                render()
            }),
        );
        let deadline = self.stopping.deadline.clone();
        tokio::spawn(listen::serve(
            listener,
            router,
            None,
            deadline.clone(),
            deadline,
        ));
        Ok(())
    }

    /// What was revoked, to be told when the configuration changes.
    pub fn revocations(&self) -> Arc<Revocations> {
        Arc::clone(&self.app.revocations)
    }

    /// What each deployment gets, in the words of the configured mode; for the log at start.
    pub fn guarantees(&self) -> Guarantees {
        Guarantees::of(&self.app.config.replay.store)
    }

    /// Serves until `shutdown` is over, then stops in good order: no new connections after the
    /// configured delay, streams to their end within the configured time.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) {
        let Self {
            app,
            front,
            tls,
            stopping,
            asked_to_stop,
        } = self;
        let Stopping { drain, deadline } = stopping;
        let times = app.config.shutdown.clone();
        let order = (drain.clone(), deadline.clone());
        tokio::spawn(async move {
            shutdown.await;
            asked_to_stop.store(true, Ordering::Relaxed);
            tokio::time::sleep(times.delay).await;
            order.0.cancel();
            tokio::time::sleep(times.drain).await;
            order.1.cancel();
        });
        let workers = Workers::start().unwrap_or_else(|error| {
            tracing::warn!(%error, "no threads for the connections: one serves them all");
            Workers::here()
        });
        let until = deadline.clone();
        if tls.is_some() {
            let front = secured().layer(front);
            listen::serve_on(&workers, listener, front, tls, drain, until).await;
        } else {
            listen::serve_on(&workers, listener, front, None, drain, until).await;
        }
        app.tell_upstreams_until(deadline.cancelled()).await;
    }
}

/// The authorization server and the gateway, put together.
pub(crate) struct Rooms {
    pub(crate) app: Arc<App>,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) stopping: Stopping,
}

impl Rooms {
    /// Puts them together. The caller follows the keys.
    ///
    /// # Errors
    ///
    /// [`StartError`], with what to change.
    pub(crate) async fn build(config: Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let keys = Arc::new(Keys::load(
            &config.keys,
            &config.public_url.issuer,
            clock.now(),
            &mut entropy::rng(),
        )?);
        let replay: Arc<dyn ReplayStore> = Arc::new(Measured::new(store(&config, &clock).await?));
        let revocations = Arc::new(Revocations::new(
            config.revocation.clone(),
            Arc::clone(&replay),
        ));
        let upstreams = upstreams(&config, &clock)?;
        let stopping = Stopping::default();
        let gateway = Gateway::new(GatewayParts {
            config: Arc::clone(&config),
            keys: Arc::clone(&keys),
            clock: Arc::clone(&clock),
            ended: Arc::clone(&revocations) as _,
            upstreams: fingerprints(&upstreams),
            stopping: stopping.clone(),
            patience: Patience::default(),
        })?;
        let fetcher = fetcher(&config, &clock)?;
        let app = App::new(AppParts {
            resources: resources(&config),
            config,
            keys,
            clock,
            replay,
            revocations,
            upstreams,
            instance: InstanceId::random(&mut entropy::rng()),
            fetcher,
        });
        Ok(Self {
            app: Arc::new(app),
            gateway: Arc::new(gateway),
            stopping,
        })
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("app", &self.app)
            .finish_non_exhaustive()
    }
}

/// The certificate of `[tls]`, kept up to date from here on.
fn followed_certificate(config: &Config) -> Result<Option<Arc<Tls>>, TlsError> {
    let tls = config.tls.as_ref().map(Tls::load).transpose()?;
    let tls = tls.map(Arc::new);
    if let Some(tls) = &tls {
        tokio::spawn(Arc::clone(tls).watch());
    }
    Ok(tls)
}

/// Browsers come back over https only, since it is we who end it (RFC 6797 §6.1).
fn secured() -> SetResponseHeaderLayer<HeaderValue> {
    let year = HeaderValue::from_static("max-age=31536000");
    SetResponseHeaderLayer::if_not_present(STRICT_TRANSPORT_SECURITY, year)
}

/// Everything that is served: the authorization server, the gateway behind it, and around both, from
/// the outside in, the name of the request, the pages for people who come to an address for programs,
/// and the check of the server's name.
pub type Front = Entered<Reception<HostCheck<Dispatch>>>;

/// Puts [`Front`] together.
pub fn front(app: &Arc<App>, gateway: impl Into<Arc<Gateway>>) -> Front {
    let (endpoints, routes) = (endpoints(app), routes::router(app));
    around(app).layer(Dispatch::new(endpoints, routes, gateway.into()))
}

/// The same for a program with paths of its own: only what the protocol names, and the resources
/// that have a backend.
pub(crate) fn embedded(app: &Arc<App>, gateway: &Arc<Gateway>) -> Router {
    let router = routes::protocol(app).merge(gateway::routes(Arc::clone(gateway)));
    router.layer(around(app))
}

/// What is around everything.
fn around(app: &Arc<App>) -> (Entrance, Visitors, HostLayer) {
    let hosts = Hosts::new(&app.config.public_url);
    (entrance(app), visitors(app), HostLayer::new(hosts))
}

/// Names each request.
pub(crate) fn entrance(app: &Arc<App>) -> Entrance {
    Entrance::new(&app.config.trusted_proxies, endpoints(app))
}

fn endpoints(app: &App) -> Arc<Endpoints> {
    let callbacks = app.upstreams.values();
    let callbacks = callbacks.map(|it| it.profile().callback_path.clone());
    Arc::new(Endpoints::new(callbacks))
}

/// The pages for people who come to an address for programs.
pub(crate) fn visitors(app: &Arc<App>) -> Visitors {
    Visitors::new(Arc::clone(app), gateway::is_own)
}

#[cfg_attr(
    not(feature = "redis"),
    expect(
        clippy::unused_async,
        reason = "only a Redis store has to be waited for"
    )
)]
pub(crate) async fn store(
    config: &Config,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn ReplayStore>, StartError> {
    let capacity = config.replay.capacity;
    let memory = match &config.replay.store {
        StoreKind::Memory => MemoryStore::new(capacity, Arc::clone(clock)),
        StoreKind::Upstream => MemoryStore::among_others(capacity, Arc::clone(clock)),
        #[cfg(feature = "redis")]
        StoreKind::Redis {
            url,
            authorities,
            prefix,
        } => {
            let settings = RedisSettings {
                url: url.clone(),
                prefix: prefix.clone(),
                capacity,
                authorities: authorities.clone(),
            };
            return redis(settings, clock).await;
        }
        #[cfg(not(feature = "redis"))]
        StoreKind::Redis { .. } => {
            return Err(StartError::Store(
                "this build has no Redis; build it with the feature `redis`".into(),
            ));
        }
    };
    let memory = Arc::new(memory);
    memory.keep_tidy();
    figures::REPLAY_STORE_UP.gauge(&[]).set(1.0);
    figures::REVOCATION_AGE.gauge(&[]).set(0.0);
    Ok(memory)
}

#[cfg(feature = "redis")]
async fn redis(
    settings: RedisSettings,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn ReplayStore>, StartError> {
    let store = RedisStore::open(settings, Arc::clone(clock)).await;
    store
        .map(|store| Arc::new(store) as _)
        .map_err(|error| StartError::Store(error.to_string()))
}

fn upstreams(
    config: &Config,
    clock: &Arc<dyn Clock>,
) -> Result<BTreeMap<UpstreamName, Arc<dyn Upstream>>, StartError> {
    let mut all = BTreeMap::new();
    let http = TrustedClient::new(TrustedOptions::default())?;
    for settings in &config.upstreams {
        let callback_url = config.public_url.join(&settings.profile().callback_path);
        let clock = Arc::clone(clock);
        let upstream = crate::upstream::build(settings.clone(), callback_url, &http, clock)?;
        all.insert(upstream.profile().name.clone(), upstream);
    }
    Ok(all)
}

/// What fetches the URLs of strangers.
fn fetcher(config: &Config, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Fetch>, StartError> {
    let guard = Guard {
        allow_loopback: config.clients.cimd_allow_loopback,
    };
    let options = FetcherOptions {
        guard,
        ..FetcherOptions::default()
    };
    Ok(Arc::new(GuardedFetcher::new(options, Arc::clone(clock))?))
}

fn fingerprints(
    upstreams: &BTreeMap<UpstreamName, Arc<dyn Upstream>>,
) -> std::collections::HashMap<UpstreamName, crate::oauth::names::UpstreamFingerprint> {
    upstreams
        .iter()
        .map(|(name, it)| (name.clone(), it.profile().fingerprint))
        .collect()
}

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
