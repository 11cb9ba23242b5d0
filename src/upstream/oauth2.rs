//! Plain OAuth 2 providers with user information.

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::RequestBuilder;
use serde_json::Value;
use url::Url;

use super::http::{self as net, TrustedClient};
use super::settings::{ClientAuth, Endpoints, Reauth, Settings};
use super::tokens::{self, TokenAnswer};
use super::{
    AuthorizationRedirect, BuildError, CodeExchange, Profile, SignIn, Upstream, UpstreamError,
    identity,
};
use crate::oauth::names::Secret;
use crate::oauth::pkce::CodeChallenge;
use crate::oauth::records::UpstreamCredential;
use crate::time::{Clock, Timestamp};

/// A plain OAuth 2 provider.
#[derive(Debug)]
pub(super) struct OAuth2 {
    settings: Settings,
    endpoints: Endpoints,
    http: TrustedClient,
}

impl OAuth2 {
    pub(super) fn new(
        settings: Settings,
        endpoints: Endpoints,
        _clock: Arc<dyn Clock>,
    ) -> Result<Self, BuildError> {
        let http = TrustedClient::new(settings.extra_ca.as_deref())?;
        Ok(Self {
            settings,
            endpoints,
            http,
        })
    }

    fn authenticated(
        &self,
        request: RequestBuilder,
        mut form: Vec<(&'static str, String)>,
    ) -> RequestBuilder {
        let id = &self.settings.client_id;
        let request = match &self.settings.client_secret {
            Some(secret) if self.settings.client_auth == ClientAuth::Basic => {
                request.basic_auth(id, Some(secret.expose()))
            }
            secret => {
                form.push(("client_id", id.clone()));
                form.extend(
                    secret
                        .iter()
                        .map(|it| ("client_secret", it.expose().to_owned())),
                );
                request
            }
        };
        // GitHub answers in a form without it.
        request.header("accept", "application/json").form(&form)
    }

    async fn token(
        &self,
        form: Vec<(&'static str, String)>,
        now: Timestamp,
    ) -> Result<TokenAnswer, UpstreamError> {
        let request = self.authenticated(self.http.post(&self.endpoints.token), form);
        tokens::read(net::send(request).await, now)
    }

    async fn get(&self, url: &Url, token: &Secret) -> Result<Value, UpstreamError> {
        let request = self
            .http
            .get(url)
            .bearer_auth(token.expose())
            .header("accept", "application/json");
        tokens::read_json(net::send(request).await)
    }

    async fn signed_in(
        &self,
        answer: TokenAnswer,
        before: Option<&UpstreamCredential>,
    ) -> Result<SignIn, UpstreamError> {
        let Value::Object(members) = self
            .get(&self.endpoints.userinfo, &answer.access_token)
            .await?
        else {
            return Err(tokens::broken("the user information is not an object"));
        };
        let id = match members.get(&self.endpoints.subject) {
            Some(Value::String(id)) if !id.is_empty() => id.clone(),
            Some(Value::Number(id)) => id.to_string(),
            _ => {
                return Err(UpstreamError::Unacceptable(
                    "it does not say who signed in".into(),
                ));
            }
        };
        let mut identity = identity::read(&members, &self.settings);
        if let Some(url) = &self.endpoints.email {
            // An address on a profile is what its owner wrote there; the list says what is verified.
            let listed = self.get(url, &answer.access_token).await.ok();
            identity.email = listed.as_ref().and_then(primary);
        }
        Ok(SignIn {
            id,
            identity,
            credential: self.credential(&answer, before),
            access_token: answer.access_token,
            access_expires_at: answer.expires_at,
        })
    }

    fn credential(
        &self,
        answer: &TokenAnswer,
        before: Option<&UpstreamCredential>,
    ) -> UpstreamCredential {
        match (&answer.refresh_token, before) {
            (Some(token), _) => UpstreamCredential::Refresh(token.clone()),
            (None, Some(UpstreamCredential::Refresh(old))) => {
                UpstreamCredential::Refresh(old.clone())
            }
            _ if self.settings.reauth == Reauth::Never => UpstreamCredential::Nothing,
            _ => UpstreamCredential::Access {
                token: answer.access_token.clone(),
                expires_at: answer.expires_at,
            },
        }
    }
}

/// The primary address of GitHub's list, if it is verified.
fn primary(list: &Value) -> Option<String> {
    let is_true = |entry: &Value, name: &str| entry.get(name) == Some(&Value::Bool(true));
    let primary = list
        .as_array()?
        .iter()
        .find(|it| is_true(it, "primary") && is_true(it, "verified"))?;
    primary.get("email")?.as_str().map(str::to_owned)
}

#[async_trait]
impl Upstream for OAuth2 {
    fn profile(&self) -> &Profile {
        &self.settings.profile
    }

    async fn requires_iss(&self) -> bool {
        false
    }

    async fn authorization_url(
        &self,
        redirect: AuthorizationRedirect<'_>,
    ) -> Result<Url, UpstreamError> {
        let mut url = self.endpoints.authorize.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", redirect.redirect_uri)
            .append_pair("scope", &self.settings.profile.scopes.join(" "))
            .append_pair("state", redirect.state.expose())
            .append_pair(
                "code_challenge",
                CodeChallenge::of(redirect.verifier).as_str(),
            )
            .append_pair("code_challenge_method", "S256")
            .extend_pairs(&self.settings.authorize_params);
        if redirect.choose_account {
            url.query_pairs_mut()
                .append_pair("prompt", "select_account");
        }
        Ok(url)
    }

    async fn exchange(&self, exchange: CodeExchange<'_>) -> Result<SignIn, UpstreamError> {
        let form = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", exchange.code.expose().to_owned()),
            ("redirect_uri", exchange.redirect_uri.to_owned()),
            ("code_verifier", exchange.verifier.expose().to_owned()),
        ];
        let answer = self.token(form, exchange.now).await?;
        self.signed_in(answer, None).await
    }

    async fn refresh(
        &self,
        credential: &UpstreamCredential,
        id: &str,
        now: Timestamp,
    ) -> Result<SignIn, UpstreamError> {
        match credential {
            UpstreamCredential::Refresh(token) => {
                let form = vec![
                    ("grant_type", "refresh_token".to_owned()),
                    ("refresh_token", token.expose().to_owned()),
                ];
                let answer = self.token(form, now).await?;
                self.signed_in(answer, Some(credential)).await
            }
            UpstreamCredential::Access { token, expires_at } => {
                let answer = TokenAnswer {
                    access_token: token.clone(),
                    expires_at: *expires_at,
                    refresh_token: None,
                    id_token: None,
                };
                self.signed_in(answer, Some(credential)).await
            }
            UpstreamCredential::Nothing => Ok(super::unasked(id)),
        }
    }

    async fn revoke(&self, credential: &UpstreamCredential) -> Result<(), UpstreamError> {
        let Some(url) = &self.endpoints.revocation else {
            return Ok(());
        };
        let token = match credential {
            UpstreamCredential::Refresh(token) | UpstreamCredential::Access { token, .. } => token,
            UpstreamCredential::Nothing => return Ok(()),
        };
        let request = self.authenticated(
            self.http.post(url),
            vec![("token", token.expose().to_owned())],
        );
        net::send(request)
            .await
            .map(drop)
            .map_err(tokens::unreachable)
    }
}
