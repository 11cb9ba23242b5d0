//! The configuration, valid by construction.
//!
//! [`Config`] is what the rest of the server sees: every value checked, every default filled in,
//! every secret read. How it comes about from TOML, environment and flags is in `file.rs`.

mod access;
mod clients;
mod deployment;
mod env;
mod file;
mod flags;
mod keys;
mod problem;
mod public_url;
mod quantity;
mod raw;
mod reader;
mod resources;
mod schema;
mod secrets;
mod sections;
mod settings;
mod show;
mod tree;
mod upstreams;
mod watch;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use url::Url;

use crate::oauth::access::AccessRules;
use crate::oauth::names::{Issuer, ResourceUri, Secret, Subject, UpstreamName};
use crate::oauth::records::Identity;
use crate::oauth::revoke::Epochs;
use crate::oauth::scope::Scope;
pub use crate::seal::KeySource;
use crate::upstream::Settings as UpstreamSettings;

pub use self::file::Loaded;
pub use self::flags::Flags;
pub use self::problem::{Problem, Problems, Severity};
pub use self::schema::{reference, schema};
pub use self::settings::{Setting, Settings};
pub use self::watch::{Change, Watch, watch};

/// The file that is read when none is named and it exists.
pub const DEFAULT_FILE: &str = "mcp-oauth.toml";

/// Reads the configuration: the file at `path`, or else [`DEFAULT_FILE`] if it exists, then the
/// environment, then the flags; the later wins.
///
/// # Errors
///
/// Every problem at once.
pub fn load(
    path: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
    flags: &Flags,
) -> Result<Config, Problems> {
    inspect(path, env, flags).map(|loaded| loaded.config)
}

/// Reads the configuration as [`load`] does, and keeps where each value came from.
///
/// # Errors
///
/// Every problem at once.
pub fn inspect(
    path: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
    flags: &Flags,
) -> Result<Loaded, Problems> {
    let path = watch::file_or_default(path);
    let read = path.map(file::read).transpose()?;
    file::resolve(file::Sources {
        file: read
            .as_ref()
            .map(|(name, text)| (name.as_str(), text.as_str())),
        variables: env.into_iter().collect(),
        flags,
    })
}

/// Reads a configuration from text alone. `name` stands for the file in problems.
///
/// # Errors
///
/// Every problem at once.
pub fn parse(text: &str, name: &str) -> Result<Config, Problems> {
    let loaded = file::resolve(file::Sources {
        file: Some((name, text)),
        variables: Vec::new(),
        flags: &Flags::default(),
    })?;
    Ok(loaded.config)
}

/// Reads the configuration of a server that another program embeds: text, then variables, then what
/// the program sets; the later wins. Resources need no backend: the program may be it.
///
/// # Errors
///
/// Every problem at once.
pub fn embedded(
    text: Option<&str>,
    variables: Vec<(String, String)>,
    settings: &Settings,
) -> Result<Config, Problems> {
    let sources = file::Sources {
        file: text.map(|text| ("the configuration", text)),
        // The port is for whoever listens.
        variables: variables
            .into_iter()
            .filter(|(name, _)| name != "PORT")
            .collect(),
        flags: &Flags::default(),
    };
    file::resolve_embedded(sources, settings).map(|loaded| loaded.config)
}

/// Everything that an operator can set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who we are to the outside.
    pub public_url: PublicUrl,
    /// Where we listen.
    pub listen: SocketAddr,
    /// Where the root keys are.
    pub keys: KeySource,
    /// The providers that people sign in to.
    pub upstreams: Vec<UpstreamSettings>,
    /// The protected resources, longest path first.
    pub resources: Vec<Resource>,
    /// Life times of tokens.
    pub tokens: Tokens,
    /// Which clients get in, and how.
    pub clients: Clients,
    /// Words for the consent page, by scope.
    pub scopes: BTreeMap<String, ScopeWords>,
    /// The replay store.
    pub replay: Replay,
    /// What was revoked by configuration.
    pub revocation: Epochs,
    /// Peers whose `X-Forwarded-For` and `-Proto` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Origins that browsers may call the resources from.
    pub cors: Cors,
    /// Requests per client address and minute.
    pub limits: Limits,
    /// Our own TLS, where we end it.
    pub tls: Option<Tls>,
    /// The admin listener.
    pub admin_listen: Option<SocketAddr>,
    /// Stopping.
    pub shutdown: Shutdown,
    /// Who stands behind this server, for the pages.
    pub operator: Operator,
    /// Logging.
    pub log: Log,
    /// What somebody should look at, though the server can start.
    pub warnings: Vec<Problem>,
}

/// The public origin: the issuer.
#[derive(Clone, Debug)]
pub struct PublicUrl {
    /// The identifier, without a trailing slash.
    pub issuer: Issuer,
    /// The same, parsed.
    pub url: Url,
    /// Whether the host is this computer.
    pub is_loopback: bool,
}

impl PublicUrl {
    /// Whether cookies can be `Secure` and `__Host-`: not on plain http.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The absolute URL of one of our paths.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.issuer)
    }
}

/// Whether a resource can be used without signing in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Every request needs a token.
    #[default]
    Required,
    /// Requests without a token pass without identity; a bad token is still refused.
    Optional,
}

/// What a backend learns about the person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    /// `X-Forwarded-User` and its family.
    pub identity: bool,
    /// `X-Forwarded-Access-Token`: the upstream's.
    pub access_token: bool,
    /// `Authorization: Bearer`: the upstream's.
    pub authorization: bool,
}

impl Forward {
    /// Whether the upstream's access token must travel inside ours.
    pub const fn needs_upstream_token(self) -> bool {
        self.access_token || self.authorization
    }
}

/// One protected MCP endpoint.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its identifier: `public_url` and path.
    pub uri: ResourceUri,
    /// Its public path, `/mcp`; empty for the origin itself.
    pub path: String,
    /// The MCP server behind it; none where the program that embeds the server is it.
    pub backend: Option<Url>,
    /// Where people sign in for it.
    pub upstream: UpstreamName,
    /// Scopes that can be asked for.
    pub scopes: Scope,
    /// Scopes without which no request passes.
    pub required_scopes: Scope,
    /// Whether a token is needed.
    pub auth: AuthMode,
    /// What the backend learns.
    pub forward: Forward,
    /// The operator's own headers for the backend; the values are secret.
    pub backend_headers: Vec<(HeaderName, HeaderValue)>,
    /// What people call it.
    pub name: Option<String>,
    /// Largest request body in bytes.
    pub max_body: u64,
    /// How long connecting to the backend may take.
    pub connect_timeout: Duration,
    /// How long a stream may be silent.
    pub idle_timeout: Duration,
    /// Who may use it: the global rules narrowed by its own.
    pub access: ResourceAccess,
}

/// The rules that a person must satisfy for one resource: both, where both are set.
#[derive(Clone, Debug)]
pub struct ResourceAccess {
    /// `[access]`.
    pub global: AccessRules,
    /// `[resources.access]`.
    pub own: Option<AccessRules>,
}

impl ResourceAccess {
    /// Whether the person may use the resource.
    pub fn allows(&self, subject: &Subject, identity: &Identity) -> bool {
        let mut rules = std::iter::once(&self.global).chain(&self.own);
        rules.all(|rules| rules.allows(subject, identity))
    }
}

/// `[tokens]`.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// Life of a code.
    pub code_ttl: Duration,
    /// Life of an access token.
    pub access_ttl: Duration,
    /// Life of an unused refresh token.
    pub refresh_idle_ttl: Duration,
    /// Life of a grant.
    pub refresh_max_ttl: Duration,
    /// How long a rotated refresh token still gets the same answer.
    pub refresh_grace: Duration,
}

impl Default for Tokens {
    fn default() -> Self {
        const DAY: u64 = 86_400;
        Self {
            code_ttl: Duration::from_secs(60),
            access_ttl: Duration::from_secs(3_600),
            refresh_idle_ttl: Duration::from_secs(30 * DAY),
            refresh_max_ttl: Duration::from_secs(90 * DAY),
            refresh_grace: Duration::from_secs(120),
        }
    }
}

/// `[clients]`.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Whether a metadata document's URL is accepted as `client_id`.
    pub cimd: bool,
    /// Whether clients can register.
    pub dcr: bool,
    /// Private-use redirect URIs that may be registered, exact.
    pub redirect_schemes: Vec<String>,
    /// Hosts whose documents are accepted; empty is any.
    pub cimd_allow_hosts: Vec<String>,
    /// Hosts whose documents are refused.
    pub cimd_deny_hosts: Vec<String>,
    /// Development: documents from this computer.
    pub cimd_allow_loopback: bool,
    /// Clients known by configuration.
    pub fixed: Vec<StaticClient>,
    /// Exceptions for some clients.
    pub policies: Vec<ClientPolicy>,
}

/// `[[clients.static]]`.
#[derive(Clone, Debug)]
pub struct StaticClient {
    /// Its id.
    pub client_id: String,
    /// Its secret; none for a public client.
    pub secret: Option<Secret>,
    /// Its redirect URIs.
    pub redirect_uris: Vec<String>,
}

/// `[[clients.policy]]`.
#[derive(Clone, Debug)]
pub struct ClientPolicy {
    /// Host of the metadata document or of the redirect.
    pub client_host: String,
    /// A grace of its own.
    pub refresh_grace: Option<Duration>,
}

/// `[scopes.NAME]`.
#[derive(Clone, Debug)]
pub struct ScopeWords {
    /// What the scope allows, in words.
    pub title: String,
}

/// `[replay]`.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Which store.
    pub store: StoreKind,
    /// Most entries of each kind in memory.
    pub capacity: usize,
}

/// Which replay store: declares how the server is deployed.
#[derive(Clone, Debug)]
pub enum StoreKind {
    /// This is the only process.
    Memory,
    /// Several processes that share nothing but keys.
    Upstream,
    /// Redis or Valkey.
    Redis {
        /// `redis://` or `rediss://`, with credentials.
        url: Secret,
        /// PEM of the only authorities that are trusted; none means the public ones.
        authorities: Option<Vec<u8>>,
        /// Start of every key.
        prefix: String,
    },
}

/// `[cors]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    /// Any origin.
    Any,
    /// These; `loopback` adds every origin on this computer.
    Only {
        /// Exact origins.
        origins: Vec<String>,
        /// Every origin on this computer.
        loopback: bool,
    },
}

/// `[limits]`; zero is off.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `/register`.
    pub register_per_minute: u32,
    /// `/authorize`.
    pub authorize_per_minute: u32,
    /// `/token`.
    pub token_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            register_per_minute: 20,
            authorize_per_minute: 60,
            token_per_minute: 120,
        }
    }
}

/// `[tls]`.
#[derive(Clone, Debug)]
pub struct Tls {
    /// PEM chain.
    pub certificate: PathBuf,
    /// PEM key.
    pub key: PathBuf,
}

/// `[shutdown]`.
#[derive(Clone, Debug)]
pub struct Shutdown {
    /// From "not ready" to "no new connections".
    pub delay: Duration,
    /// From there to the end.
    pub drain: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(5),
            drain: Duration::from_secs(25),
        }
    }
}

/// `[consent]`.
#[derive(Clone, Debug, Default)]
pub struct Operator {
    /// Who runs this server.
    pub name: Option<String>,
    /// Whom to ask.
    pub contact: Option<String>,
}

/// `[log]`.
#[derive(Clone, Debug)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// A level, or a `tracing` filter.
    pub level: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// JSON.
    Json,
    /// For people.
    Pretty,
}
