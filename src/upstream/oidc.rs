//! OpenID Connect providers: Core 1.0 (code flow), Discovery 1.0.
//!
//! Discovery and keys are fetched when they are first needed, so that a server starts while the
//! provider is away. Refuses an answer without an ID token where identity comes from it.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use url::Url;

use super::cache::Cached;
use super::client::{Client, Endpoints, RevokedToken};
use super::discovery::{self, Metadata};
use super::id_token::{self, Expected, Rejected};
use super::identity::merged;
use super::jwks::KeySet;
use super::raw::{ClientAuth, IdentitySource};
use super::settings::{Settings, Urls};
use super::sign_in::Person;
use super::token_response::TokenResponse;
use super::unfinished::{Ticket, Unfinished};
use super::{
    AuthorizationRedirect, CodeExchange, Profile, SignIn, Upstream, UpstreamError, unavailable,
};
use crate::oauth::names::Secret;
use crate::oauth::records::UpstreamCredential;
use crate::time::{Clock, Timestamp};

/// A provider that speaks OpenID Connect.
#[derive(Debug)]
pub(super) struct Oidc {
    client: Client,
    issuer: String,
    metadata: Cached<Metadata>,
    keys: Cached<KeySet>,
    unfinished: Unfinished,
}

/// What an ID token is checked against.
#[derive(Clone, Copy)]
struct Moment<'a> {
    /// The nonce at a sign-in, none at a refresh.
    nonce: Option<&'a Secret>,
    /// Whom a refresh is about.
    known: Option<&'a str>,
    now: Timestamp,
}

impl Oidc {
    pub(super) fn new(
        client: Client,
        issuer: String,
        unfinished: Unfinished,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        Self {
            client,
            issuer,
            metadata: Cached::new(Arc::clone(clock)),
            keys: Cached::new(Arc::clone(clock)),
            unfinished,
        }
    }

    async fn metadata(&self) -> Result<Arc<Metadata>, UpstreamError> {
        self.metadata
            .get(discovery::fetch(&self.client.http, &self.issuer))
            .await
    }

    /// What discovery says, unless the operator says otherwise.
    fn endpoints(&self, metadata: &Metadata) -> Endpoints {
        let settings = &self.client.settings;
        let (own, preset) = (settings.urls.clone(), settings.fallback.clone());
        let told = metadata.clone();
        let urls = Urls {
            authorize: own.authorize.or(Some(told.authorization_endpoint)),
            token: own.token.or(Some(told.token_endpoint)),
            refresh: own.refresh.or(preset.refresh),
            userinfo: own.userinfo.or(told.userinfo_endpoint).or(preset.userinfo),
            email: own.email.or(preset.email),
            introspection: own
                .introspection
                .or(told.introspection_endpoint)
                .or(preset.introspection),
            revocation: own
                .revocation
                .or(told.revocation_endpoint)
                .or(preset.revocation),
        };
        let methods = told.code_challenge_methods_supported;
        let knows_s256 = methods.is_none_or(|methods| methods.iter().any(|it| it == "S256"));
        Endpoints {
            urls,
            client_auth: client_auth(settings.tokens.client_auth, metadata),
            pkce: settings.asking.pkce && knows_s256,
        }
    }

    async fn fetch_keys(&self) -> Result<KeySet, UpstreamError> {
        let url = self.metadata().await?.jwks_uri.clone();
        let http = &self.client.http;
        let answer = http.send(http.request(http::Method::GET, &url)).await?;
        if answer.status != http::StatusCode::OK {
            return Err(unavailable(format!("key set: status {}", answer.status)));
        }
        KeySet::parse(&answer.body).map_err(|error| unavailable(error.to_string()))
    }

    /// Validates an ID token; a key that is not known is looked for once more.
    async fn claims(
        &self,
        token: &Secret,
        access_token: &Secret,
        metadata: &Metadata,
        moment: Moment<'_>,
    ) -> Result<Value, UpstreamError> {
        let settings = &self.client.settings;
        let expected = Expected {
            issuer: &metadata.issuer,
            issuer_aliases: &settings.issuer_aliases,
            client_id: &settings.client_id,
            nonce: moment.nonce,
            access_token,
            now: moment.now,
        };
        let keys = self.keys.get(self.fetch_keys()).await?;
        let outcome = match id_token::validate(token, &keys, expected) {
            Err(Rejected::UnknownKey) => match self.keys.renew(self.fetch_keys()).await {
                Some(keys) => id_token::validate(token, &*keys?, expected),
                None => Err(Rejected::UnknownKey),
            },
            outcome => outcome,
        };
        outcome.map_err(|rejected| {
            tracing::warn!(upstream = %settings.profile.name, %rejected, "ID token refused");
            UpstreamError::Unacceptable(rejected.to_string())
        })
    }

    async fn finish(
        &self,
        tokens: TokenResponse,
        before: Option<&UpstreamCredential>,
        moment: Moment<'_>,
    ) -> Result<SignIn, UpstreamError> {
        let metadata = self.metadata().await?;
        let endpoints = self.endpoints(&metadata);
        let settings = &self.client.settings;
        let claims = match &tokens.id_token {
            Some(token) => Some(
                self.claims(token, &tokens.access_token, &metadata, moment)
                    .await?,
            ),
            // Core §3.1.3.3: there must be one at a sign-in; §12.2: there may be none at a refresh.
            None if moment.nonce.is_some() && settings.identity == IdentitySource::IdToken => {
                return Err(UpstreamError::Unacceptable(
                    "there is no ID token".to_owned(),
                ));
            }
            None => None,
        };
        let person = self
            .person(&endpoints, claims.as_ref(), &tokens.access_token)
            .await?;
        let can_ask = endpoints.urls.userinfo.is_some();
        settings.sign_in(tokens, person, moment.known, before, can_ask, moment.now)
    }

    /// Who the person is, by the claims at hand and by userinfo where those are not enough.
    async fn person(
        &self,
        endpoints: &Endpoints,
        claims: Option<&Value>,
        access_token: &Secret,
    ) -> Result<Person, UpstreamError> {
        let settings = &self.client.settings;
        let by_token = settings.identity == IdentitySource::IdToken;
        let told = claims.map(|claims| self.read(claims)).unwrap_or_default();
        let enough = by_token
            && claims.is_some()
            && !settings
                .paths
                .is_wanting(&told.identity, &settings.profile.scopes);
        if enough || endpoints.urls.userinfo.is_none() {
            return Ok(told);
        }
        let userinfo = match self.client.ask_identity(endpoints, access_token).await {
            Ok(userinfo) => userinfo,
            // A token for an API of its own may not be good for userinfo; what is known is enough
            // to say who the person is.
            Err(UpstreamError::Refused(reason)) if by_token && claims.is_some() => {
                tracing::debug!(upstream = %settings.profile.name, %reason, "userinfo refused the token");
                return Ok(told);
            }
            Err(error) => return Err(error),
        };
        // Core §5.3.2: the same person, or the answer must not be used.
        let subject = |value: &Value| value.get("sub").cloned();
        if claims.is_some_and(|claims| subject(claims) != subject(&userinfo)) {
            let reason = "userinfo and ID token are about different people";
            return Err(UpstreamError::Unacceptable(reason.to_owned()));
        }
        let more = self.read(&userinfo);
        Ok(if by_token {
            Person {
                id: told.id.or(more.id),
                identity: merged(told.identity, more.identity),
            }
        } else {
            Person {
                id: more.id.or(told.id),
                identity: merged(more.identity, told.identity),
            }
        })
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
        moment: Moment<'_>,
    ) -> Result<SignIn, UpstreamError> {
        let ticket = Ticket::of(token);
        let tokens = match self.unfinished.find(ticket) {
            Some(tokens) => tokens,
            None => {
                let endpoints = self.endpoints(&*self.metadata().await?);
                self.client.renew(&endpoints, token).await?
            }
        };
        self.unfinished.keep(ticket, &tokens);
        let outcome = self.finish(tokens, Some(credential), moment).await;
        self.unfinished.settle(ticket, &outcome);
        outcome
    }
}

/// How we authenticate, where the provider lists what it takes (Discovery §3).
fn client_auth(configured: ClientAuth, metadata: &Metadata) -> ClientAuth {
    if configured != ClientAuth::Either {
        return configured;
    }
    let methods = metadata.token_endpoint_auth_methods_supported.as_deref();
    let takes = |method: &str| methods.is_some_and(|methods| methods.iter().any(|it| it == method));
    if takes("client_secret_post") && !takes("client_secret_basic") {
        ClientAuth::Post
    } else {
        ClientAuth::Basic
    }
}

#[async_trait]
impl Upstream for Oidc {
    fn profile(&self) -> &Profile {
        &self.client.settings.profile
    }

    async fn requires_iss(&self) -> bool {
        let metadata = self.metadata().await;
        metadata.is_ok_and(|it| it.sends_iss)
    }

    async fn authorization_url(
        &self,
        redirect: AuthorizationRedirect<'_>,
    ) -> Result<Url, UpstreamError> {
        let endpoints = self.endpoints(&*self.metadata().await?);
        self.client.authorization_url(&endpoints, &redirect, true)
    }

    async fn exchange(&self, exchange: CodeExchange<'_>) -> Result<SignIn, UpstreamError> {
        let ticket = Ticket::of(exchange.code);
        let tokens = match self.unfinished.find(ticket) {
            Some(tokens) => tokens,
            None => {
                let endpoints = self.endpoints(&*self.metadata().await?);
                self.client
                    .redeem(
                        &endpoints,
                        exchange.code,
                        exchange.verifier,
                        exchange.redirect_uri,
                    )
                    .await?
            }
        };
        self.unfinished.keep(ticket, &tokens);
        let moment = Moment {
            nonce: Some(exchange.nonce),
            known: None,
            now: exchange.now,
        };
        let outcome = self.finish(tokens, None, moment).await;
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
        let moment = Moment {
            nonce: None,
            known: Some(id),
            now,
        };
        match credential {
            UpstreamCredential::Refresh(token) => self.renewed(credential, token, moment).await,
            UpstreamCredential::Access { token, expires_at } => {
                super::check_end(*expires_at, now)?;
                let endpoints = self.endpoints(&*self.metadata().await?);
                if endpoints.urls.userinfo.is_none() {
                    return settings.unasked(credential, id);
                }
                let person = self.person(&endpoints, None, token).await?;
                Settings::confirmed(credential, token, *expires_at, person, id)
            }
            other => settings.unasked(other, id),
        }
    }

    async fn revoke(&self, credential: &UpstreamCredential) -> Result<(), UpstreamError> {
        let Some(token) = RevokedToken::of(credential) else {
            return Ok(());
        };
        let endpoints = self.endpoints(&*self.metadata().await?);
        self.client.revoke(&endpoints, token).await
    }
}
