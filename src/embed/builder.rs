//! From settings, text or both to a server.

use std::path::Path;
use std::sync::Arc;

use super::{BuildError, McpOauth, Resource, Upstream};
use crate::config::{self, KeySource, Setting, Settings};
use crate::demo::{DEMO, DemoProvider};
use crate::entropy;
use crate::oauth::names::Secret;
use crate::seal::passing_keys;
use crate::server::{Guarantees, Rooms};
use crate::time::{Clock, SystemClock};

/// What a server is made of: TOML as in the configuration file, variables, and settings. The later
/// of these wins; whatever has no method here is written in TOML or with [`Builder::set`].
#[derive(Clone, Debug, Default)]
#[must_use = "a builder makes nothing before `build`"]
pub struct Builder {
    toml: Option<Secret>,
    variables: Vec<(String, Secret)>,
    settings: Settings,
    has_passing_keys: bool,
    clock: Option<Arc<dyn Clock>>,
}

impl Builder {
    /// The configuration as text, in the form of the command's file. Lines in problems are lines of it.
    pub fn toml(mut self, text: impl Into<String>) -> Self {
        self.toml = Some(Secret::new(text));
        self
    }

    /// Variables as the command reads them from its environment, `MCP_OAUTH_…`; others are ignored.
    /// Give `std::env::vars()` to be configured from outside.
    pub fn variables(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let variables = variables.into_iter();
        self.variables
            .extend(variables.map(|(name, value)| (name, Secret::new(value))));
        self
    }

    /// The origin that clients reach the program at, `https://mcp.example.com`: the issuer. Changing
    /// it ends every session and registration.
    pub fn public_url(self, url: impl Into<String>) -> Self {
        self.set("public_url", url)
    }

    /// Adds a provider that people sign in to. Its callback, to be registered there, is
    /// `/callback/{name}`.
    pub fn upstream(mut self, name: &str, upstream: Upstream) -> Self {
        self.settings.table("upstreams", name, upstream.settings);
        self
    }

    /// Signs people in with the demo identity provider, which must outlive the server.
    pub fn demo(self, provider: &DemoProvider) -> Self {
        let upstream = Upstream::oidc(provider.issuer())
            .client_id(provider.client_id())
            .client_secret(provider.client_secret())
            .set("display", "Demo identity provider");
        self.upstream(DEMO, upstream)
    }

    /// Adds a protected resource.
    pub fn resource(mut self, resource: Resource) -> Self {
        self.settings.element("resources", resource.settings);
        self
    }

    /// Lets everybody in who can sign in at the provider.
    pub fn allow_all(mut self) -> Self {
        let everybody = Setting::Boolean(true);
        self.settings.set("access.allow_all", everybody);
        self
    }

    /// Lets in whoever has one of these verified addresses, exact or `*@example.com`.
    pub fn allow_emails<S: Into<String>>(self, emails: impl IntoIterator<Item = S>) -> Self {
        self.set_list("access.allow_emails", emails)
    }

    /// Lets these people in, by upstream and stable id: `github:583231`.
    pub fn allow_subjects<S: Into<String>>(self, subjects: impl IntoIterator<Item = S>) -> Self {
        self.set_list("access.allow_subjects", subjects)
    }

    /// Lets the members of these groups in.
    pub fn allow_groups<S: Into<String>>(self, groups: impl IntoIterator<Item = S>) -> Self {
        self.set_list("access.allow_groups", groups)
    }

    /// Says in words what a scope allows, for the consent page.
    pub fn scope(mut self, scope: &str, title: impl Into<String>) -> Self {
        let title = vec![("title", Setting::text(title))];
        self.settings.table("scopes", scope, title);
        self
    }

    /// Reads the root keys from this directory, made by `mcp-oauth keys generate`; `keys` by default.
    pub fn keys_directory(self, path: impl AsRef<Path>) -> Self {
        self.set("keys.directory", path.as_ref().display().to_string())
    }

    /// Takes the root keys themselves: a JWK set.
    ///
    /// # Security
    ///
    /// Whoever has them can be anybody. Keep them out of the program's text.
    pub fn keys(mut self, jwk_set: impl Into<String>) -> Self {
        self.settings.keys(Secret::new(jwk_set));
        self
    }

    /// Makes a root key that is gone with the program, and with it all that it issued: for tests and
    /// for trying out.
    pub fn passing_keys(mut self) -> Self {
        self.has_passing_keys = true;
        self
    }

    /// Shares claims, refresh state and revocations with other processes through Redis or Valkey.
    /// Needs the feature `redis`.
    pub fn redis(mut self, url: impl Into<String>) -> Self {
        self.settings.set("replay.store", Setting::text("redis"));
        self.set("replay.url", url)
    }

    /// Sets any other key of the configuration, as the command's file would: `tokens.access_ttl` to
    /// `10m`. Lists are separated by commas.
    pub fn set(mut self, key: &str, value: impl Into<String>) -> Self {
        self.settings.set(key, Setting::text(value));
        self
    }

    fn set_list<S: Into<String>>(mut self, key: &str, values: impl IntoIterator<Item = S>) -> Self {
        self.settings.set(key, Setting::list(values));
        self
    }

    /// Another clock than the system's.
    #[doc(hidden)]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Makes the server, on the current Tokio runtime. Nothing is asked over the network but the
    /// replay store: a provider that is down keeps nobody from starting.
    ///
    /// # Errors
    ///
    /// [`BuildError::Configuration`] with every problem at once, or [`BuildError::Start`].
    pub async fn build(self) -> Result<McpOauth, BuildError> {
        let text = self.toml.as_ref().map(Secret::expose);
        let variables = self.variables.iter();
        let variables = variables.map(|(name, value)| (name.clone(), value.expose().to_owned()));
        let mut config = config::embedded(text, variables.collect(), &self.settings)
            .map_err(BuildError::Configuration)?;
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::start()));
        if self.has_passing_keys {
            config.keys = KeySource::Inline(passing_keys(clock.now(), &mut entropy::rng()));
        }
        for warning in &config.warnings {
            let hint = warning.hint.as_deref().unwrap_or_default();
            tracing::warn!(place = warning.place, hint, "{}", warning.message);
        }
        Guarantees::of(&config.replay.store).log();
        let rooms = Rooms::build(config, clock).await;
        let rooms = rooms.map_err(|error| BuildError::Start(Box::new(error)))?;
        Ok(McpOauth::around(rooms))
    }
}
