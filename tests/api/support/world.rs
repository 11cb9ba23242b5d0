//! A server in this process.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use mcp_oauth::config::{self, Config};
use mcp_oauth::entropy;
use mcp_oauth::http::{App, AppParts, routes};
use mcp_oauth::oauth::names::{InstanceId, UpstreamName};
use mcp_oauth::replay::memory::MemoryStore;
use mcp_oauth::replay::{ReplayStore, Revocations};
use mcp_oauth::seal::{KeyState, Keyring, Keys, RootKey};
use mcp_oauth::server;
use mcp_oauth::time::{Clock, ManualClock, Timestamp};
use mcp_oauth::upstream::Upstream;
use serde_json::Value;
use tower::ServiceExt as _;

use super::stub::Stub;
use super::web::Web;

/// The origin of the server under test.
pub(crate) const PUBLIC_URL: &str = "https://mcp.example.com";
/// When the tests begin.
pub(crate) const START: Timestamp = Timestamp::from_secs(1_790_000_000);

const CONFIG: &str = r#"
public_url = "https://mcp.example.com"
[upstreams.stub]
provider = "oidc"
issuer = "https://idp.example"
client_id = "us"
client_secret = "upstream-secret"
[[resources]]
path = "/mcp"
backend = "http://127.0.0.1:9/mcp"
scopes = ["mcp", "admin"]
required_scopes = ["mcp"]
name = "Example tools"
[access]
allow_all = true
[limits]
register_per_minute = 0
authorize_per_minute = 0
token_per_minute = 0
"#;

/// One or more replicas, the clock, and the upstream.
pub(crate) struct World {
    pub(crate) app: Arc<App>,
    pub(crate) router: Router,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) upstream: Arc<Stub>,
    /// The documents of clients.
    pub(crate) web: Arc<Web>,
    replay: Arc<dyn ReplayStore>,
    key: Arc<RootKey>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    /// The `error` member.
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or("none").to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    pub(crate) fn location(&self) -> url::Url {
        url::Url::parse(self.header("location")).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// A parameter of the location's query.
    pub(crate) fn sent(&self, name: &str) -> Option<String> {
        let url = self.location();
        url.query_pairs()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.into_owned())
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A server whose configuration is edited.
    pub(crate) fn with(edit: impl FnOnce(&mut Config)) -> Self {
        Self::made(edit, Stub::new("stub"))
    }

    /// A server with an edited configuration and an upstream of its own.
    pub(crate) fn made(edit: impl FnOnce(&mut Config), upstream: Stub) -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let key = Arc::new(RootKey::generate(
            KeyState::Active,
            START,
            &mut entropy::rng(),
        ));
        let replay = in_memory(&clock);
        Self::assembled(edit, Arc::new(upstream), clock, key, replay)
    }

    /// A server whose store stands behind another one.
    pub(crate) fn over(wrap: impl FnOnce(Arc<dyn ReplayStore>) -> Arc<dyn ReplayStore>) -> Self {
        let world = Self::new();
        let replay = wrap(Arc::clone(&world.replay));
        let Self {
            clock,
            upstream,
            key,
            ..
        } = world;
        Self::assembled(|_| {}, upstream, clock, key, replay)
    }

    /// Another process on the same store, with a clock of its own.
    pub(crate) fn replica_on_the_store(&self, clock: Arc<ManualClock>) -> Self {
        let (upstream, replay) = (Arc::clone(&self.upstream), Arc::clone(&self.replay));
        Self::assembled(|_| {}, upstream, clock, Arc::clone(&self.key), replay)
    }

    /// Another process that shares nothing but the keys, the clock and the upstream.
    pub(crate) fn replica(&self) -> Self {
        self.replica_edited(|_| {})
    }

    /// A replica with another configuration.
    pub(crate) fn replica_edited(&self, edit: impl FnOnce(&mut Config)) -> Self {
        let (upstream, clock) = (Arc::clone(&self.upstream), Arc::clone(&self.clock));
        let replay = in_memory(&clock);
        Self::assembled(edit, upstream, clock, Arc::clone(&self.key), replay)
    }

    /// A replica with another upstream.
    pub(crate) fn replica_with(&self, upstream: Stub) -> Self {
        let clock = Arc::clone(&self.clock);
        let replay = in_memory(&clock);
        let key = Arc::clone(&self.key);
        Self::assembled(|_| {}, Arc::new(upstream), clock, key, replay)
    }

    fn assembled(
        edit: impl FnOnce(&mut Config),
        upstream: Arc<Stub>,
        clock: Arc<ManualClock>,
        key: Arc<RootKey>,
        replay: Arc<dyn ReplayStore>,
    ) -> Self {
        let mut config = config::parse(CONFIG, "test.toml").unwrap();
        edit(&mut config);
        let keyring = Keyring::new(
            std::slice::from_ref(&*key),
            &config.public_url.issuer,
            "test",
        )
        .unwrap();
        let revocations = Arc::new(Revocations::new(
            config.revocation.clone(),
            Arc::clone(&replay),
        ));
        let name = upstream_name(&upstream);
        let web = Arc::new(Web::default());
        let app = Arc::new(App::new(AppParts {
            resources: server::resources(&config),
            config: Arc::new(config),
            keys: Arc::new(Keys::fixed(keyring)),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            replay: Arc::clone(&replay),
            revocations,
            upstreams: [(name, Arc::clone(&upstream) as _)].into(),
            instance: InstanceId::random(&mut entropy::rng()),
            fetcher: Arc::clone(&web) as _,
        }));
        Self {
            router: routes::router(&app),
            app,
            clock,
            upstream,
            web,
            replay,
            key,
        }
    }

    /// The same keys, clock and store, with another configuration and other upstreams.
    pub(crate) fn rebuilt(
        self,
        config: Arc<Config>,
        upstreams: impl IntoIterator<Item = (UpstreamName, Arc<dyn Upstream>)>,
    ) -> Self {
        let app = Arc::new(App::new(AppParts {
            resources: server::resources(&config),
            config,
            keys: Arc::clone(&self.app.keys),
            clock: Arc::clone(&self.app.clock),
            replay: Arc::clone(&self.app.replay),
            revocations: Arc::clone(&self.app.revocations),
            upstreams: upstreams.into_iter().collect(),
            instance: InstanceId::random(&mut entropy::rng()),
            fetcher: Arc::clone(&self.web) as _,
        }));
        Self {
            router: routes::router(&app),
            app,
            ..self
        }
    }

    /// The same server with other keys.
    pub(crate) fn keyed(self, keys: Arc<Keys>) -> Self {
        let app = Arc::new(App::new(AppParts {
            resources: server::resources(&self.app.config),
            config: Arc::clone(&self.app.config),
            keys,
            clock: Arc::clone(&self.app.clock),
            replay: Arc::clone(&self.app.replay),
            revocations: Arc::clone(&self.app.revocations),
            upstreams: self.app.upstreams.clone(),
            instance: self.app.instance,
            fetcher: Arc::clone(&self.web) as _,
        }));
        Self {
            router: routes::router(&app),
            app,
            ..self
        }
    }

    /// Sends a request.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub(crate) async fn get(&self, uri: &str) -> Answer {
        self.send(Request::get(uri).body(Body::empty()).unwrap())
            .await
    }

    pub(crate) async fn post_form(&self, uri: &str, form: &[(&str, &str)]) -> Answer {
        self.send(form_request(uri, form)).await
    }

    pub(crate) async fn post_json(&self, uri: &str, body: &Value) -> Answer {
        let request = Request::post(uri).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap())
            .await
    }
}

fn in_memory(clock: &Arc<ManualClock>) -> Arc<dyn ReplayStore> {
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    Arc::new(MemoryStore::new(1_000, clock))
}

fn upstream_name(stub: &Stub) -> UpstreamName {
    stub.profile().name.clone()
}

/// A form post.
pub(crate) fn form_request(uri: &str, form: &[(&str, &str)]) -> Request<Body> {
    Request::post(uri)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(encode(form)))
        .unwrap()
}

/// Form encoding.
pub(crate) fn encode(form: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish()
}
