//! A protected resource, as settings.

use crate::config::Setting;

/// One protected MCP endpoint: `[[resources]]`. Without a [backend](Resource::backend) it is routes of
/// the program behind [`McpOauth::layer`](super::McpOauth::layer).
#[derive(Clone, Debug)]
#[must_use = "a resource counts only when a builder has it"]
pub struct Resource {
    pub(super) settings: Vec<(&'static str, Setting)>,
}

impl Resource {
    /// The resource at a public path, `/mcp`; the empty path is the origin itself.
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            settings: vec![("path", Setting::text(path))],
        }
    }

    /// What people call it.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.set("name", name)
    }

    /// Where people sign in for it; to be said where there are several providers.
    pub fn upstream(self, name: impl Into<String>) -> Self {
        self.set("upstream", name)
    }

    /// Scopes that clients can ask for; `mcp` by default.
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.settings.push(("scopes", Setting::list(scopes)));
        self
    }

    /// Scopes without which no request passes; they are among those that clients can ask for.
    pub fn required_scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        let scopes = Setting::list(scopes);
        self.settings.push(("required_scopes", scopes));
        self
    }

    /// Lets requests without a token through, without an [`Identity`](super::Identity). A bad token is
    /// still refused, and an answer 401 to a request without one becomes the challenge to sign in.
    pub fn optional(self) -> Self {
        self.set("auth", "optional")
    }

    /// What the resource learns besides who the person is: also the provider's access token. The
    /// tokens of this server grow by it.
    pub fn with_upstream_token(mut self) -> Self {
        let both = Setting::list(["identity", "access_token"]);
        self.settings.push(("forward", both));
        self
    }

    /// The MCP server behind it: the router passes requests on to it, and no layer is needed.
    pub fn backend(self, url: impl Into<String>) -> Self {
        self.set("backend", url)
    }

    /// Sets any other key of `[[resources]]`, as the command's file would: `max_body` to `1MB`. Lists
    /// are separated by commas.
    pub fn set(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((key, Setting::text(value)));
        self
    }
}
