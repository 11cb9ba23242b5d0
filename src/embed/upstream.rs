//! A provider that people sign in to, as settings.

use crate::config::Setting;

/// An upstream: `[upstreams.NAME]`.
#[derive(Clone, Debug)]
#[must_use = "an upstream counts only when a builder has it"]
pub struct Upstream {
    pub(super) settings: Vec<(&'static str, Setting)>,
}

impl Upstream {
    /// A provider that is known: `github`, `google`, `entra` and others, as
    /// `mcp-oauth providers list` names them.
    pub fn preset(provider: impl Into<String>) -> Self {
        Self {
            settings: vec![("provider", Setting::text(provider))],
        }
    }

    /// Any OpenID provider, by its issuer.
    pub fn oidc(issuer: impl Into<String>) -> Self {
        Self::preset("oidc").set("issuer", issuer)
    }

    /// Any OAuth 2.0 provider: `authorize_url`, `token_url`, `userinfo_url` and `subject` are needed.
    pub fn oauth2() -> Self {
        Self::preset("oauth2")
    }

    /// The client id that the provider gave the program.
    pub fn client_id(self, client_id: impl Into<String>) -> Self {
        self.set("client_id", client_id)
    }

    /// Its secret.
    ///
    /// # Security
    ///
    /// From a file or the environment, never from the program's text.
    pub fn client_secret(self, secret: impl Into<String>) -> Self {
        self.set("client_secret", secret)
    }

    /// What the provider is asked for; by default what the preset needs to sign in.
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.settings.push(("scopes", Setting::list(scopes)));
        self
    }

    /// Sets any other key of the table, as the command's file would: `token_url`, `groups_claim`. Lists
    /// are separated by commas.
    pub fn set(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((key, Setting::text(value)));
        self
    }
}
