//! Upstreams: the identity and API providers that people sign in to. Toward them we are a client.
//!
//! Two implementations, `oidc` and `oauth2`; everything that differs between providers is data
//! ([`presets`]).
//!
//! ```text
//! providers.toml ─▶ presets ─┐
//! [upstreams.NAME] ─▶ raw ───┴▶ settings ─▶ build ─▶ oidc: discovery, jwks, id_token
//!                                                    oauth2
//! both: client (requests), token_response (answers), identity, sign_in, unfinished
//! ```
//!
//! Refuses to follow redirects, to repeat a code, to send a client's `resource` or `scope`, and to
//! let any text of a provider out of this room but the person's identity.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use url::Url;

use crate::net::{ClientError, TrustedClient};
use crate::oauth::names::{Secret, UpstreamFingerprint, UpstreamName};
use crate::oauth::records::{Identity, UpstreamCredential};
use crate::time::{Clock, Timestamp};

mod cache;
mod client;
mod discovery;
pub mod id_token;
mod identity;
pub mod jwks;
pub mod jws;
mod oauth2;
mod oidc;
pub mod presets;
pub mod raw;
mod settings;
mod sign_in;
mod template;
mod token_response;
mod unfinished;

pub use raw::{RawUpstream, Reauth};
pub use settings::{Problem, Secrets, Settings};

/// When the upstream's code is exchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExchangeAt {
    /// At `/token`, after every check of ours: the upstream's single use becomes ours.
    #[default]
    Token,
    /// At the callback, with a page for people who are refused; the tokens wait in the store.
    Callback,
}

/// What the rest of the server must know about an upstream.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name in the configuration.
    pub name: UpstreamName,
    /// What people call it, "GitHub".
    pub display_name: String,
    /// Which provider, and which client of it.
    pub fingerprint: UpstreamFingerprint,
    /// When its code is exchanged.
    pub exchange: ExchangeAt,
    /// How long its codes live.
    pub code_ttl: Duration,
    /// Where it sends the browser back, a path of ours.
    pub callback_path: String,
    /// Its scopes, for the consent page.
    pub scopes: Vec<String>,
    /// Its issuer, for the `iss` check at the callback (RFC 9207 §2.4).
    pub issuer: Option<String>,
    /// Whether a revocation there ends one token only, so that one client's logout may be passed on.
    pub revokes_one_token: bool,
}

/// Sending a browser to the upstream.
#[derive(Debug)]
pub struct AuthorizationRedirect<'a> {
    /// Our `state`.
    pub state: &'a Secret,
    /// Our OpenID nonce.
    pub nonce: &'a Secret,
    /// Our PKCE verifier; the upstream gets its S256 challenge.
    pub verifier: &'a Secret,
    /// Our callback, an absolute URL.
    pub redirect_uri: &'a str,
    /// Whether the person asked for another account.
    pub choose_account: bool,
}

/// Exchanging the upstream's code.
#[derive(Debug)]
pub struct CodeExchange<'a> {
    /// The code.
    pub code: &'a Secret,
    /// Our PKCE verifier.
    pub verifier: &'a Secret,
    /// The nonce that the ID token must carry.
    pub nonce: &'a Secret,
    /// The callback that the code was sent to.
    pub redirect_uri: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// What an upstream says after a sign-in or a refresh.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct SignIn {
    /// The upstream's stable id of the person.
    pub id: String,
    /// What else it says; e-mail only when verified.
    pub identity: Identity,
    /// Its access token.
    pub access_token: Secret,
    /// When that ends, where it said so.
    pub access_expires_at: Option<Timestamp>,
    /// What the next refresh asks with.
    pub credential: UpstreamCredential,
}

/// Why an upstream did not do what we asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// It understood and said no: a used code, an ended session. For good.
    #[error("the upstream refused: {0}")]
    Refused(String),
    /// It was not reached, was slow, overloaded or broken: trying again may help.
    #[error("the upstream is not available: {reason}")]
    Unavailable {
        /// What happened, without anything secret.
        reason: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// It answered with something that must not be believed: a forged or unfit ID token.
    #[error("the upstream's answer was not acceptable: {0}")]
    Unacceptable(String),
}

/// A provider that people sign in to.
#[async_trait]
pub trait Upstream: Send + Sync + fmt::Debug {
    /// What the rest of the server must know.
    fn profile(&self) -> &Profile;

    /// Whether the authorization response must carry `iss` (RFC 9207 §2.3), as far as known now.
    async fn requires_iss(&self) -> bool;

    /// Where to send the browser.
    async fn authorization_url(
        &self,
        redirect: AuthorizationRedirect<'_>,
    ) -> Result<Url, UpstreamError>;

    /// Exchanges a code, validates the answer and reads the identity.
    async fn exchange(&self, exchange: CodeExchange<'_>) -> Result<SignIn, UpstreamError>;

    /// Asks again with what is left from the last time: the refresh grant, or else the identity
    /// with the access token. `id` is whom the answer must be about.
    async fn refresh(
        &self,
        credential: &UpstreamCredential,
        id: &str,
        now: Timestamp,
    ) -> Result<SignIn, UpstreamError>;

    /// Ends the credential at the upstream, where that hurts nobody else.
    async fn revoke(&self, credential: &UpstreamCredential) -> Result<(), UpstreamError>;
}

/// Why an upstream cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the upstream `{upstream}` cannot be used: {cause}")]
pub struct BuildError {
    upstream: UpstreamName,
    #[source]
    cause: ClientError,
}

/// Makes an upstream. Nothing is fetched before it is needed, so a server starts while the provider
/// is away.
///
/// `callback_url` is our callback there, an absolute URL.
///
/// # Errors
///
/// [`BuildError`], if the upstream's own certificate authorities cannot be used.
pub fn build(
    settings: Settings,
    callback_url: String,
    http: &TrustedClient,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn Upstream>, BuildError> {
    let http = match &settings.extra_ca {
        Some(pem) => http.trusting(pem).map_err(|cause| BuildError {
            upstream: settings.profile.name.clone(),
            cause,
        })?,
        None => http.clone(),
    };
    let unfinished = unfinished::Unfinished::new(Arc::clone(&clock));
    let issuer = settings.issuer.clone();
    let kind = settings.kind;
    let client = client::Client {
        settings,
        http,
        callback_url,
    };
    Ok(match (kind, issuer) {
        (presets::Kind::Oidc, Some(issuer)) => {
            Arc::new(oidc::Oidc::new(client, issuer, unfinished, &clock))
        }
        _ => Arc::new(oauth2::OAuth2::new(client, unfinished)),
    })
}

fn unavailable(reason: impl Into<String>) -> UpstreamError {
    UpstreamError::Unavailable {
        reason: reason.into(),
        retry_after: None,
    }
}

/// Whether an access token may still be asked with.
fn check_end(expires_at: Option<Timestamp>, now: Timestamp) -> Result<(), UpstreamError> {
    if expires_at.is_some_and(|end| end.is_past(now)) {
        let reason = "the upstream's access token has ended, and it gave no refresh token";
        return Err(UpstreamError::Refused(reason.to_owned()));
    }
    Ok(())
}
