//! Our requests to a provider, the same for both protocols: the authorization URL, the token
//! endpoint, the identity, the revocation. What differs is in [`Settings`].
//!
//! A code or refresh token is sent once and never repeated; questions are repeated once, since
//! asking costs the person nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use reqwest::RequestBuilder;
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use super::raw::{ClientAuth, IdentitySource, RevocationStyle, TokenBody, UserinfoMethod};
use super::settings::{Settings, Urls};
use super::token_response::{Barred, TokenResponse, read_json, retry_after};
use super::{AuthorizationRedirect, UpstreamError, unavailable};
use crate::net::{Answer, TrustedClient};
use crate::oauth::names::Secret;
use crate::oauth::pkce;
use crate::oauth::records::UpstreamCredential;

/// What both protocols do alike.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) settings: Settings,
    pub(super) http: TrustedClient,
    pub(super) callback_url: String,
}

/// Where a provider is asked, and how.
#[derive(Clone, Debug)]
pub(super) struct Endpoints {
    pub(super) urls: Urls,
    pub(super) client_auth: ClientAuth,
    pub(super) pkce: bool,
}

/// A parameter of a token request.
type Parameter<'a> = (&'a str, &'a str);

impl Client {
    /// Where to send the browser (RFC 6749 §4.1.1).
    pub(super) fn authorization_url(
        &self,
        endpoints: &Endpoints,
        redirect: &AuthorizationRedirect<'_>,
        nonce: bool,
    ) -> Result<Url, UpstreamError> {
        let asking = &self.settings.asking;
        let mut url = known(endpoints.urls.authorize.as_ref())?.clone();
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", redirect.redirect_uri)
            .append_pair("state", redirect.state.expose());
        let scopes = self.scopes();
        if !scopes.is_empty() && !asking.scope_param.is_empty() {
            query.append_pair(&asking.scope_param, &scopes);
        }
        if nonce {
            query.append_pair("nonce", redirect.nonce.expose());
        }
        if endpoints.pkce {
            let challenge = pkce::CodeChallenge::of(redirect.verifier);
            query
                .append_pair("code_challenge", challenge.as_str())
                .append_pair("code_challenge_method", pkce::METHOD);
        }
        let mut params = asking.params.clone();
        if redirect.choose_account {
            params.extend(asking.account_params.clone());
        }
        query.extend_pairs(params);
        drop(query);
        Ok(url)
    }

    fn scopes(&self) -> String {
        self.settings
            .profile
            .scopes
            .join(&self.settings.asking.scope_sep)
    }

    /// Redeems a code (RFC 6749 §4.1.3).
    pub(super) async fn redeem(
        &self,
        endpoints: &Endpoints,
        code: &Secret,
        verifier: &Secret,
        redirect_uri: &str,
    ) -> Result<TokenResponse, UpstreamError> {
        let mut params = vec![
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", redirect_uri),
        ];
        if endpoints.pkce {
            params.push(("code_verifier", verifier.expose()));
        }
        let url = known(endpoints.urls.token.as_ref())?;
        self.tokens(endpoints, url, params).await
    }

    /// Uses a refresh token (RFC 6749 §6).
    pub(super) async fn renew(
        &self,
        endpoints: &Endpoints,
        refresh_token: &Secret,
    ) -> Result<TokenResponse, UpstreamError> {
        let mut params = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token.expose()),
        ];
        if self.settings.tokens.repeat_redirect_uri {
            params.push(("redirect_uri", &self.callback_url));
        }
        let urls = &endpoints.urls;
        let url = known(urls.refresh.as_ref().or(urls.token.as_ref()))?;
        self.tokens(endpoints, url, params).await
    }

    async fn tokens(
        &self,
        endpoints: &Endpoints,
        url: &Url,
        mut params: Vec<Parameter<'_>>,
    ) -> Result<TokenResponse, UpstreamError> {
        let rules = &self.settings.tokens;
        let scopes = self.scopes();
        if rules.repeat_scope && !scopes.is_empty() {
            params.push(("scope", &scopes));
        }
        let request = self.authenticated(endpoints.client_auth, url, params);
        let answer = self.http.send(request).await?;
        TokenResponse::read(&answer, &rules.path, &rules.refused_errors)
    }

    /// A request with our client credentials (RFC 6749 §2.3.1).
    fn authenticated<'a>(
        &'a self,
        client_auth: ClientAuth,
        url: &Url,
        mut params: Vec<Parameter<'a>>,
    ) -> RequestBuilder {
        let settings = &self.settings;
        let mut request = self.http.request(Method::POST, url);
        match (client_auth, &settings.client_secret) {
            (ClientAuth::Basic, Some(_)) => {
                request = request.header(AUTHORIZATION, self.basic());
            }
            (ClientAuth::Post | ClientAuth::Either, Some(secret)) => {
                params.push(("client_id", &settings.client_id));
                params.push(("client_secret", secret.expose()));
            }
            (ClientAuth::None, _) | (_, None) => params.push(("client_id", &settings.client_id)),
        }
        let (kind, body) = match settings.tokens.body {
            TokenBody::Form => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                let form = form.extend_pairs(params).finish();
                ("application/x-www-form-urlencoded", form)
            }
            TokenBody::Json => {
                let members = params
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value.into()));
                let members: Map<String, Value> = members.collect();
                ("application/json", Value::Object(members).to_string())
            }
        };
        request
            .header(CONTENT_TYPE, kind)
            .header(ACCEPT, "application/json")
            .headers(settings.tokens.headers.clone())
            .body(body)
    }

    /// RFC 6749 §2.3.1: both parts form-encoded, then Basic.
    fn basic(&self) -> HeaderValue {
        let encode =
            |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let secret = self.settings.client_secret.as_ref();
        let secret = encode(secret.map_or("", |it| it.expose()));
        let pair = format!("{}:{secret}", encode(&self.settings.client_id));
        sensitive(&format!("Basic {}", STANDARD.encode(pair)))
    }

    /// Asks who holds an access token.
    pub(super) async fn ask_identity(
        &self,
        endpoints: &Endpoints,
        access_token: &Secret,
    ) -> Result<Value, UpstreamError> {
        let urls = &endpoints.urls;
        let answer = match self.settings.identity {
            IdentitySource::Introspect => {
                let url = known(urls.introspection.as_ref())?;
                self.twice(|| {
                    let params = vec![("token", access_token.expose())];
                    self.authenticated(endpoints.client_auth, url, params)
                })
                .await?
            }
            IdentitySource::Graphql => {
                let url = known(urls.userinfo.as_ref())?;
                let query = self.settings.api.query.as_deref().unwrap_or_default();
                let query = serde_json::json!({ "query": query }).to_string();
                self.twice(|| {
                    let request = self.with_token(Method::POST, url, access_token);
                    request
                        .header(CONTENT_TYPE, "application/json")
                        .body(query.clone())
                })
                .await?
            }
            _ => {
                let url = known(urls.userinfo.as_ref())?;
                let method = match self.settings.api.method {
                    UserinfoMethod::Get => Method::GET,
                    UserinfoMethod::Post => Method::POST,
                };
                self.twice(|| self.with_token(method.clone(), url, access_token))
                    .await?
            }
        };
        let barred = match self.settings.identity {
            IdentitySource::Introspect => Barred::Us,
            _ => Barred::Token,
        };
        let value = read_json(&answer, &self.settings.tokens.refused_errors, barred)?;
        // RFC 7662 §2.2
        if value.get("active") == Some(&Value::Bool(false)) {
            return Err(UpstreamError::Refused(
                "the access token is not active".to_owned(),
            ));
        }
        Ok(value)
    }

    /// Asks for the list of e-mail addresses; a token that may not see it has none.
    pub(super) async fn ask_emails(
        &self,
        url: &Url,
        access_token: &Secret,
    ) -> Result<Option<Value>, UpstreamError> {
        let answer = self
            .twice(|| self.with_token(Method::GET, url, access_token))
            .await?;
        if answer.status == http::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        match read_json(&answer, &[], Barred::Token) {
            Ok(list) => Ok(Some(list)),
            Err(UpstreamError::Refused(reason)) => {
                tracing::debug!(%reason, upstream = %self.settings.profile.name, "no list of e-mail addresses");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// A request with an access token (RFC 6750 §2.1).
    fn with_token(&self, method: Method, url: &Url, access_token: &Secret) -> RequestBuilder {
        let bearer = sensitive(&format!("Bearer {}", access_token.expose()));
        self.http
            .request(method, url)
            .header(ACCEPT, "application/json")
            .headers(self.settings.api.headers.clone())
            .header(AUTHORIZATION, bearer)
    }

    /// Sends a question, once more if it was not answered.
    async fn twice(&self, request: impl Fn() -> RequestBuilder) -> Result<Answer, UpstreamError> {
        match self.http.send(request()).await {
            Ok(answer) if !answer.status.is_server_error() => Ok(answer),
            Ok(_) | Err(crate::net::Failure::Broken | crate::net::Failure::Connect) => {
                Ok(self.http.send(request()).await?)
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// Ends a token there.
    pub(super) async fn revoke(
        &self,
        endpoints: &Endpoints,
        token: RevokedToken<'_>,
    ) -> Result<(), UpstreamError> {
        let Some(url) = endpoints.urls.revocation.as_ref() else {
            return Ok(());
        };
        let (hint, secret) = match token {
            RevokedToken::Refresh(secret) => ("refresh_token", secret),
            RevokedToken::Access(secret) => ("access_token", secret),
        };
        let is_access = hint == "access_token";
        let request = match self.settings.revocation {
            // RFC 7009 §2.1
            RevocationStyle::Rfc7009 => {
                let params = vec![("token", secret.expose()), ("token_type_hint", hint)];
                self.authenticated(endpoints.client_auth, url, params)
            }
            RevocationStyle::BearerSelf if is_access => self.with_token(Method::POST, url, secret),
            RevocationStyle::Github if is_access => self
                .http
                .request(Method::DELETE, url)
                .headers(self.settings.api.headers.clone())
                .header(AUTHORIZATION, self.basic())
                .header(CONTENT_TYPE, "application/json")
                .body(serde_json::json!({ "access_token": secret.expose() }).to_string()),
            // Only an access token could be ended there, and this grant holds a refresh token.
            _ => return Ok(()),
        };
        let answer = self.http.send(request).await?;
        // RFC 7009 §2.2: an unknown token is as good as revoked.
        if answer.status.is_success() || answer.status == http::StatusCode::NOT_FOUND {
            return Ok(());
        }
        let reason = format!("revocation: status {}", answer.status);
        // RFC 7009 §2.2.1, RFC 6585 §4: only these are worth another try.
        if answer.status.is_server_error() || answer.status == http::StatusCode::TOO_MANY_REQUESTS {
            return Err(UpstreamError::Unavailable {
                reason,
                retry_after: retry_after(&answer.headers),
            });
        }
        Err(UpstreamError::Refused(reason))
    }
}

/// What is ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum RevokedToken<'a> {
    /// A refresh token.
    Refresh(&'a Secret),
    /// An access token.
    Access(&'a Secret),
}

impl<'a> RevokedToken<'a> {
    /// What of a credential can be ended.
    pub(super) fn of(credential: &'a UpstreamCredential) -> Option<Self> {
        match credential {
            UpstreamCredential::Refresh(token) => Some(Self::Refresh(token)),
            UpstreamCredential::Access { token, .. } | UpstreamCredential::Kept { token, .. } => {
                Some(Self::Access(token))
            }
            UpstreamCredential::Nothing => None,
        }
    }
}

fn known(url: Option<&Url>) -> Result<&Url, UpstreamError> {
    url.ok_or_else(|| unavailable("the provider names no such endpoint"))
}

/// A header value that is not shown; one that cannot be sent is empty, and is refused over there.
fn sensitive(value: &str) -> HeaderValue {
    let mut header = HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static(""));
    header.set_sensitive(true);
    header
}
