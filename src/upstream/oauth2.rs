//! Plain OAuth 2.0 providers: RFC 6749, and an identity endpoint of their own making.

use async_trait::async_trait;
use serde_json::Value;
use url::Url;

use super::client::{Client, Endpoints, RevokedToken};
use super::identity::merged;
use super::raw::IdentitySource;
use super::settings::Settings;
use super::sign_in::Person;
use super::token_response::TokenResponse;
use super::unfinished::{Ticket, Unfinished};
use super::{AuthorizationRedirect, CodeExchange, Profile, SignIn, Upstream, UpstreamError};
use crate::oauth::names::Secret;
use crate::oauth::records::{Identity, UpstreamCredential};
use crate::time::Timestamp;

/// A provider that speaks OAuth 2.0 only.
#[derive(Debug)]
pub(super) struct OAuth2 {
    client: Client,
    endpoints: Endpoints,
    unfinished: Unfinished,
}

impl OAuth2 {
    pub(super) fn new(client: Client, unfinished: Unfinished) -> Self {
        let settings = &client.settings;
        let endpoints = Endpoints {
            urls: settings.urls.clone(),
            client_auth: settings.tokens.client_auth,
            pkce: settings.asking.pkce,
        };
        Self {
            client,
            endpoints,
            unfinished,
        }
    }

    /// Whether the identity can be asked with an access token.
    fn can_ask(&self) -> bool {
        self.client.settings.identity != IdentitySource::TokenResponse
    }

    async fn finish(
        &self,
        tokens: TokenResponse,
        known: Option<&str>,
        before: Option<&UpstreamCredential>,
        now: Timestamp,
    ) -> Result<SignIn, UpstreamError> {
        let person = if self.can_ask() {
            self.person(&tokens.access_token).await?
        } else {
            self.read(&tokens.members)
        };
        let settings = &self.client.settings;
        settings.sign_in(tokens, person, known, before, self.can_ask(), now)
    }

    /// Asks who holds an access token.
    async fn person(&self, access_token: &Secret) -> Result<Person, UpstreamError> {
        let told = self
            .client
            .ask_identity(&self.endpoints, access_token)
            .await?;
        let mut person = self.read(&told);
        if person.id.is_none() {
            return Err(super::unavailable(
                "the identity answer does not say who the person is",
            ));
        }
        if let Some(url) = &self.endpoints.urls.email
            && person.identity.email.is_none()
            && let Some(list) = self.client.ask_emails(url, access_token).await?
        {
            let listed = Identity {
                email: self.client.settings.paths.primary_email(&list),
                ..Identity::default()
            };
            person.identity = merged(person.identity, listed);
        }
        Ok(person)
    }

    fn read(&self, value: &Value) -> Person {
        let paths = &self.client.settings.paths;
        Person {
            id: paths.subject(value),
            identity: paths.identity(value),
        }
    }

    async fn renewed(
        &self,
        credential: &UpstreamCredential,
        token: &Secret,
        known: &str,
        now: Timestamp,
    ) -> Result<SignIn, UpstreamError> {
        let ticket = Ticket::of(token);
        let tokens = match self.unfinished.find(ticket) {
            Some(tokens) => tokens,
            None => self.client.renew(&self.endpoints, token).await?,
        };
        self.unfinished.keep(ticket, &tokens);
        let outcome = self
            .finish(tokens, Some(known), Some(credential), now)
            .await;
        self.unfinished.settle(ticket, &outcome);
        outcome
    }
}

#[async_trait]
impl Upstream for OAuth2 {
    fn profile(&self) -> &Profile {
        &self.client.settings.profile
    }

    async fn requires_iss(&self) -> bool {
        false
    }

    async fn authorization_url(
        &self,
        redirect: AuthorizationRedirect<'_>,
    ) -> Result<Url, UpstreamError> {
        self.client
            .authorization_url(&self.endpoints, &redirect, false)
    }

    async fn exchange(&self, exchange: CodeExchange<'_>) -> Result<SignIn, UpstreamError> {
        let ticket = Ticket::of(exchange.code);
        let tokens = match self.unfinished.find(ticket) {
            Some(tokens) => tokens,
            None => {
                self.client
                    .redeem(
                        &self.endpoints,
                        exchange.code,
                        exchange.verifier,
                        exchange.redirect_uri,
                    )
                    .await?
            }
        };
        self.unfinished.keep(ticket, &tokens);
        let outcome = self.finish(tokens, None, None, exchange.now).await;
        self.unfinished.settle(ticket, &outcome);
        outcome
    }

    async fn refresh(
        &self,
        credential: &UpstreamCredential,
        id: &str,
        now: Timestamp,
    ) -> Result<SignIn, UpstreamError> {
        let settings = &self.client.settings;
        match credential {
            UpstreamCredential::Refresh(token) => self.renewed(credential, token, id, now).await,
            UpstreamCredential::Access { token, expires_at } if self.can_ask() => {
                super::check_end(*expires_at, now)?;
                let person = self.person(token).await?;
                Settings::confirmed(credential, token, *expires_at, person, id)
            }
            other => settings.unasked(other, id),
        }
    }

    async fn revoke(&self, credential: &UpstreamCredential) -> Result<(), UpstreamError> {
        match RevokedToken::of(credential) {
            Some(token) => self.client.revoke(&self.endpoints, token).await,
            None => Ok(()),
        }
    }
}
