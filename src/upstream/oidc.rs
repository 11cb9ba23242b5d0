//! OpenID Connect providers, by discovery (OpenID Connect Discovery §4).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jsonwebtoken::jwk::JwkSet;
use reqwest::RequestBuilder;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::http::{self as net, TrustedClient};
use super::id_token::{self, Claims, Expected, IdTokenError};
use super::settings::{ClientAuth, Reauth, Settings};
use super::tokens::{self, TokenAnswer};
use super::{
    AuthorizationRedirect, BuildError, CodeExchange, Profile, SignIn, Upstream, UpstreamError,
    identity,
};
use crate::oauth::names::Secret;
use crate::oauth::pkce::CodeChallenge;
use crate::oauth::records::UpstreamCredential;
use crate::time::{Clock, Timestamp};

/// How long a discovery document is believed.
const DISCOVERY_TTL: Duration = Duration::from_secs(3_600);
/// How often keys may be asked for again because of an unknown `kid`.
const KEYS_AGAIN: Duration = Duration::from_secs(30);

/// What we need of a discovery document.
#[derive(Debug, Deserialize)]
struct Discovery {
    issuer: String,
    authorization_endpoint: Url,
    token_endpoint: Url,
    jwks_uri: Url,
    userinfo_endpoint: Option<Url>,
    revocation_endpoint: Option<Url>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
    #[serde(default)]
    scopes_supported: Vec<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

#[derive(Debug, Default)]
struct Cached {
    discovery: Option<(Arc<Discovery>, Duration)>,
    keys: Option<(Arc<JwkSet>, Duration)>,
}

/// An OpenID Connect provider.
#[derive(Debug)]
pub(super) struct Oidc {
    settings: Settings,
    issuer: String,
    http: TrustedClient,
    clock: Arc<dyn Clock>,
    cached: Mutex<Cached>,
}

impl Oidc {
    pub(super) fn new(
        settings: Settings,
        issuer: String,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BuildError> {
        let http = TrustedClient::new(settings.extra_ca.as_deref())?;
        Ok(Self {
            settings,
            issuer,
            http,
            clock,
            cached: Mutex::default(),
        })
    }

    async fn discovery(&self) -> Result<Arc<Discovery>, UpstreamError> {
        let now = self.clock.elapsed();
        let cached = self.cached(|it| it.discovery.clone());
        if let Some((known, at)) = &cached
            && now.saturating_sub(*at) < DISCOVERY_TTL
        {
            return Ok(Arc::clone(known));
        }
        match self.discover().await {
            Ok(fresh) => {
                let fresh = Arc::new(fresh);
                self.cached(|it| it.discovery = Some((Arc::clone(&fresh), now)));
                Ok(fresh)
            }
            // What was believed an hour ago is better than nothing.
            Err(error) => cached.map(|(known, _)| known).ok_or(error),
        }
    }

    async fn discover(&self) -> Result<Discovery, UpstreamError> {
        let url = format!(
            "{}/.well-known/openid-configuration",
            self.issuer.trim_end_matches('/')
        );
        let url = Url::parse(&url).map_err(|_| tokens::broken("the issuer is not a URL"))?;
        let document =
            tokens::read_json(net::send(self.http.get(&url)).await).map_err(unavailable)?;
        let document: Discovery = serde_json::from_value(document)
            .map_err(|_| tokens::broken("the discovery document is incomplete"))?;
        // OIDC Discovery §4.3: exact.
        if document.issuer != self.issuer {
            return Err(tokens::broken(
                "the discovery document names another issuer",
            ));
        }
        let urls = [
            &document.authorization_endpoint,
            &document.token_endpoint,
            &document.jwks_uri,
        ];
        if !urls.into_iter().all(net::is_acceptable) {
            return Err(tokens::broken(
                "the discovery document names a plain http endpoint",
            ));
        }
        Ok(document)
    }

    fn cached<T>(&self, with: impl FnOnce(&mut Cached) -> T) -> T {
        with(&mut self.cached.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The provider's keys; asked for again if `stale`, at most every half minute.
    async fn keys(&self, discovery: &Discovery, stale: bool) -> Result<Arc<JwkSet>, UpstreamError> {
        let now = self.clock.elapsed();
        if let Some((known, at)) = self.cached(|it| it.keys.clone()) {
            let age = now.saturating_sub(at);
            if age < if stale { KEYS_AGAIN } else { DISCOVERY_TTL } {
                return Ok(known);
            }
        }
        let set = tokens::read_json(net::send(self.http.get(&discovery.jwks_uri)).await)
            .map_err(unavailable)?;
        let set = Arc::new(usable_keys(&set));
        self.cached(|it| it.keys = Some((Arc::clone(&set), now)));
        Ok(set)
    }

    async fn claims(
        &self,
        token: &Secret,
        expected: &Expected<'_>,
    ) -> Result<Claims, UpstreamError> {
        let discovery = self.discovery().await?;
        let keys = self.keys(&discovery, false).await?;
        let verified = match id_token::verify(token.expose(), &keys, expected) {
            Err(IdTokenError::UnknownKey) => {
                let keys = self.keys(&discovery, true).await?;
                id_token::verify(token.expose(), &keys, expected)
            }
            answer => answer,
        };
        verified.map_err(|error| UpstreamError::Unacceptable(error.to_string()))
    }

    /// Adds our client authentication.
    fn authenticated(
        &self,
        discovery: &Discovery,
        request: RequestBuilder,
        mut form: Vec<(&'static str, String)>,
    ) -> RequestBuilder {
        let listed = |name: &str| {
            discovery
                .token_endpoint_auth_methods_supported
                .iter()
                .any(|it| it == name)
        };
        let basic = match self.settings.client_auth {
            ClientAuth::Basic => true,
            ClientAuth::Post => false,
            ClientAuth::Discovered => {
                listed("client_secret_basic") || !listed("client_secret_post")
            }
        };
        let id = &self.settings.client_id;
        let request = match &self.settings.client_secret {
            Some(secret) if basic => {
                // RFC 6749 §2.3.1: both halves are form-encoded first.
                let encode = |text: &str| {
                    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>()
                };
                request.basic_auth(encode(id), Some(encode(secret.expose())))
            }
            Some(secret) => {
                form.push(("client_id", id.clone()));
                form.push(("client_secret", secret.expose().to_owned()));
                request
            }
            None => {
                form.push(("client_id", id.clone()));
                request
            }
        };
        request.header("accept", "application/json").form(&form)
    }

    async fn token(
        &self,
        form: Vec<(&'static str, String)>,
        now: Timestamp,
    ) -> Result<TokenAnswer, UpstreamError> {
        let discovery = self.discovery().await?;
        let request = self.http.post(&discovery.token_endpoint);
        tokens::read(
            net::send(self.authenticated(&discovery, request, form)).await,
            now,
        )
    }

    async fn userinfo(&self, token: &Secret) -> Result<Value, UpstreamError> {
        let discovery = self.discovery().await?;
        let Some(url) = &discovery.userinfo_endpoint else {
            return Err(UpstreamError::Refused(
                "there is no userinfo endpoint".into(),
            ));
        };
        let request = self
            .http
            .get(url)
            .bearer_auth(token.expose())
            .header("accept", "application/json");
        tokens::read_json(net::send(request).await)
    }

    /// Who signed in: the ID token's claims, completed by user information where they say little.
    async fn signed_in(
        &self,
        claims: Option<Claims>,
        answer: TokenAnswer,
        before: Option<&UpstreamCredential>,
    ) -> Result<SignIn, UpstreamError> {
        let mut members = claims.unwrap_or_default();
        if !members.contains_key("email") && !members.contains_key("preferred_username")
            || !members.contains_key("sub")
        {
            match self.userinfo(&answer.access_token).await {
                Ok(Value::Object(more)) => {
                    // OIDC Core §5.3.2: about the same person, or not to be used.
                    if members
                        .get("sub")
                        .is_some_and(|sub| more.get("sub") != Some(sub))
                    {
                        return Err(UpstreamError::Unacceptable(
                            "userinfo is about somebody else".into(),
                        ));
                    }
                    for (name, value) in more {
                        members.entry(name).or_insert(value);
                    }
                }
                Ok(_) => return Err(tokens::broken("userinfo is not an object")),
                Err(error) if !members.contains_key("sub") => return Err(error),
                Err(_) => {}
            }
        }
        let id = members
            .get("sub")
            .and_then(Value::as_str)
            .filter(|it| !it.is_empty());
        let id = id
            .ok_or_else(|| UpstreamError::Unacceptable("it does not say who signed in".into()))?
            .to_owned();
        Ok(SignIn {
            id,
            identity: identity::read(&members, &self.settings),
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
            // RFC 6749 §6: without a new one, the old one stays good.
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

#[async_trait]
impl Upstream for Oidc {
    fn profile(&self) -> &Profile {
        &self.settings.profile
    }

    async fn requires_iss(&self) -> bool {
        self.discovery()
            .await
            .is_ok_and(|it| it.authorization_response_iss_parameter_supported)
    }

    async fn authorization_url(
        &self,
        redirect: AuthorizationRedirect<'_>,
    ) -> Result<Url, UpstreamError> {
        let discovery = self.discovery().await?;
        let mut scopes = self.settings.profile.scopes.clone();
        // Without this many providers give no refresh token.
        if discovery
            .scopes_supported
            .iter()
            .any(|it| it == "offline_access")
            && !scopes.iter().any(|it| it == "offline_access")
        {
            scopes.push("offline_access".to_owned());
        }
        let offline = scopes.iter().any(|it| it == "offline_access");
        let mut url = discovery.authorization_endpoint.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", redirect.redirect_uri)
            .append_pair("scope", &scopes.join(" "))
            .append_pair("state", redirect.state.expose())
            .append_pair("nonce", redirect.nonce.expose())
            .append_pair(
                "code_challenge",
                CodeChallenge::of(redirect.verifier).as_str(),
            )
            .append_pair("code_challenge_method", "S256");
        // OIDC Core §11: offline access is granted with consent; §3.1.2.1: the account picker.
        let prompt = match (offline, redirect.choose_account) {
            (true, true) => "consent select_account",
            (true, false) => "consent",
            (false, true) => "select_account",
            (false, false) => "",
        };
        if !prompt.is_empty() {
            url.query_pairs_mut().append_pair("prompt", prompt);
        }
        url.query_pairs_mut()
            .extend_pairs(&self.settings.authorize_params);
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
        let Some(id_token) = &answer.id_token else {
            return Err(UpstreamError::Unacceptable("there is no ID token".into()));
        };
        let expected = Expected {
            issuer: &self.issuer,
            client_id: &self.settings.client_id,
            nonce: Some(exchange.nonce.expose()),
            access_token: answer.access_token.expose(),
            now: exchange.now,
        };
        let claims = self.claims(id_token, &expected).await?;
        self.signed_in(Some(claims), answer, None).await
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
                let claims = match &answer.id_token {
                    Some(id_token) => {
                        let expected = Expected {
                            issuer: &self.issuer,
                            client_id: &self.settings.client_id,
                            nonce: None,
                            access_token: answer.access_token.expose(),
                            now,
                        };
                        Some(self.claims(id_token, &expected).await?)
                    }
                    None => None,
                };
                self.signed_in(claims, answer, Some(credential)).await
            }
            UpstreamCredential::Access { token, expires_at } => {
                let answer = TokenAnswer {
                    access_token: token.clone(),
                    expires_at: *expires_at,
                    refresh_token: None,
                    id_token: None,
                };
                self.signed_in(None, answer, Some(credential)).await
            }
            UpstreamCredential::Nothing => Ok(super::unasked(id)),
        }
    }

    async fn revoke(&self, credential: &UpstreamCredential) -> Result<(), UpstreamError> {
        let discovery = self.discovery().await?;
        let Some(url) = &discovery.revocation_endpoint else {
            return Ok(());
        };
        let token = match credential {
            UpstreamCredential::Refresh(token) | UpstreamCredential::Access { token, .. } => token,
            UpstreamCredential::Nothing => return Ok(()),
        };
        let form = vec![("token", token.expose().to_owned())];
        let request = self.authenticated(&discovery, self.http.post(url), form);
        net::send(request)
            .await
            .map(drop)
            .map_err(tokens::unreachable)
    }
}

/// At discovery and for keys, a refusal is trouble too: the person did nothing wrong.
fn unavailable(error: UpstreamError) -> UpstreamError {
    match error {
        UpstreamError::Refused(reason) => UpstreamError::Unavailable {
            reason,
            retry_after: None,
        },
        other => other,
    }
}

/// Keys that can be read; others (of kinds that we do not know) are left out.
fn usable_keys(set: &Value) -> JwkSet {
    let keys = set.get("keys").and_then(Value::as_array);
    let keys = keys
        .into_iter()
        .flatten()
        .filter_map(|key| serde_json::from_value(key.clone()).ok());
    JwkSet {
        keys: keys.collect(),
    }
}
