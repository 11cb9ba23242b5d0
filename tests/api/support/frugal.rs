//! An upstream that remembers nothing, so that a proof's memory and time are the server's.

use std::sync::Arc;

use async_trait::async_trait;
use mcp_oauth::config::Config;
use mcp_oauth::oauth::names::{Secret, UpstreamName};
use mcp_oauth::oauth::records::{Identity, UpstreamCredential};
use mcp_oauth::time::Timestamp;
use mcp_oauth::upstream::{
    AuthorizationRedirect, CodeExchange, Profile, SignIn, Upstream, UpstreamError,
};
use url::Url;

use super::stub::Stub;
use super::world::World;

/// The upstream.
#[derive(Debug)]
pub(crate) struct Frugal(Profile);

impl Frugal {
    /// A server whose upstream it is, under an edited configuration.
    pub(crate) fn behind(world: World, edit: impl FnOnce(&mut Config)) -> World {
        let mut config = Config::clone(&world.app.config);
        edit(&mut config);
        let upstream = Self(Stub::new("stub").profile().clone());
        world.rebuilt(
            Arc::new(config),
            [(UpstreamName::new("stub"), Arc::new(upstream) as _)],
        )
    }
}

/// A person, with tokens of a provider's usual length.
fn sign_in(id: &str) -> SignIn {
    SignIn {
        id: id.to_owned(),
        identity: Identity {
            email: Some(format!("{id}@example.com")),
            preferred_username: Some(id.to_owned()),
            groups: Vec::new(),
        },
        access_token: Secret::new("a".repeat(40)),
        access_expires_at: None,
        credential: UpstreamCredential::Refresh(Secret::new("r".repeat(40))),
    }
}

#[async_trait]
impl Upstream for Frugal {
    fn profile(&self) -> &Profile {
        &self.0
    }

    async fn requires_iss(&self) -> bool {
        false
    }

    async fn authorization_url(
        &self,
        redirect: AuthorizationRedirect<'_>,
    ) -> Result<Url, UpstreamError> {
        let mut url = Url::parse("https://idp.example/authorize").unwrap();
        url.query_pairs_mut()
            .append_pair("state", redirect.state.expose());
        Ok(url)
    }

    async fn exchange(&self, exchange: CodeExchange<'_>) -> Result<SignIn, UpstreamError> {
        Ok(sign_in(exchange.code.expose()))
    }

    async fn refresh(
        &self,
        _credential: &UpstreamCredential,
        id: &str,
        _now: Timestamp,
    ) -> Result<SignIn, UpstreamError> {
        Ok(sign_in(id))
    }

    async fn revoke(&self, _credential: &UpstreamCredential) -> Result<(), UpstreamError> {
        Ok(())
    }
}
