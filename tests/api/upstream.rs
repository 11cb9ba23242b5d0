//! Providers: what is asked of them, what of their answers is believed, and what their faults become.

mod answers;
mod asking;
mod faults;
mod forged;
mod identity;
mod jose;
mod oidc;
mod presets;
mod refreshing;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use mcp_oauth::net::{TrustedClient, TrustedOptions};
use mcp_oauth::oauth::names::{Secret, UpstreamName};
use mcp_oauth::oauth::records::UpstreamCredential;
use mcp_oauth::time::{Clock, ManualClock, Timestamp};
use mcp_oauth::upstream::{
    self, AuthorizationRedirect, CodeExchange, RawUpstream, Secrets, SignIn, Upstream,
    UpstreamError,
};

use super::support::upstream::{CLIENT_ID, CLIENT_SECRET, FakeUpstream};

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);
const CALLBACK: &str = "https://mcp.example.com/callback/idp";
const OIDC: &str = "provider = 'oidc'\nissuer = 'ORIGIN'\n";
const OAUTH2: &str = "provider = 'oauth2'\nauthorize_url = 'ORIGIN/authorize'\ntoken_url = 'ORIGIN/token'\nuserinfo_url = 'ORIGIN/userinfo'\nsubject = 'sub'\nscopes = ['read']\n";

/// A provider and our side of it.
struct Provider {
    fake: FakeUpstream,
    clock: Arc<ManualClock>,
    upstream: Arc<dyn Upstream>,
    nonce: Secret,
    verifier: Secret,
}

fn table(text: &str) -> RawUpstream {
    toml::from_str(text).unwrap()
}

impl Provider {
    /// `settings` is a table; `ORIGIN` in it is the provider's.
    async fn with(settings: &str) -> Self {
        Self::patient(settings, Duration::from_secs(10)).await
    }

    /// The same, with little patience for answers.
    async fn impatient(settings: &str) -> Self {
        Self::patient(settings, Duration::from_millis(400)).await
    }

    async fn patient(settings: &str, total: Duration) -> Self {
        let clock = Arc::new(ManualClock::at(NOW));
        let fake = FakeUpstream::start_at(Arc::clone(&clock) as _).await;
        let options = TrustedOptions {
            total,
            ..TrustedOptions::default()
        };
        let http = TrustedClient::new(options).unwrap();
        let mut raw = table(&settings.replace("ORIGIN", &fake.issuer()));
        raw.client_id = raw.client_id.or_else(|| Some(CLIENT_ID.to_owned()));
        raw.client_secret = raw
            .client_secret
            .or_else(|| Some(Secret::new(CLIENT_SECRET)));
        let settings = raw
            .resolve(UpstreamName::new("idp"), Secrets::default())
            .unwrap();
        let upstream = upstream::build(
            settings,
            CALLBACK.to_owned(),
            &http,
            Arc::clone(&clock) as _,
        )
        .unwrap();
        Self {
            fake,
            clock,
            upstream,
            nonce: Secret::new("the-nonce"),
            verifier: Secret::new("v".repeat(43)),
        }
    }

    fn redirect<'a>(&'a self, state: &'a Secret) -> AuthorizationRedirect<'a> {
        AuthorizationRedirect {
            state,
            nonce: &self.nonce,
            verifier: &self.verifier,
            redirect_uri: CALLBACK,
            choose_account: false,
        }
    }

    /// Where the browser is sent.
    async fn url(&self, choose_account: bool) -> url::Url {
        let state = Secret::new("the-state");
        let redirect = AuthorizationRedirect {
            choose_account,
            ..self.redirect(&state)
        };
        self.upstream.authorization_url(redirect).await.unwrap()
    }

    /// A code for whoever the provider signs in.
    async fn code(&self) -> Secret {
        let callback = self.fake.visit(&self.url(false).await).await;
        Secret::new(&callback["code"])
    }

    async fn exchange(&self, code: &Secret) -> Result<SignIn, UpstreamError> {
        let exchange = CodeExchange {
            code,
            verifier: &self.verifier,
            nonce: &self.nonce,
            redirect_uri: CALLBACK,
            now: self.clock.now(),
        };
        self.upstream.exchange(exchange).await
    }

    async fn sign_in(&self) -> Result<SignIn, UpstreamError> {
        let code = self.code().await;
        self.exchange(&code).await
    }

    async fn refresh(&self, before: &SignIn) -> Result<SignIn, UpstreamError> {
        self.refresh_with(&before.credential, &before.id).await
    }

    async fn refresh_with(
        &self,
        credential: &UpstreamCredential,
        id: &str,
    ) -> Result<SignIn, UpstreamError> {
        self.upstream
            .refresh(credential, id, self.clock.now())
            .await
    }
}

/// What an outcome is, in one word.
fn word<T>(outcome: &Result<T, UpstreamError>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(UpstreamError::Refused(_)) => "refused",
        Err(UpstreamError::Unavailable { .. }) => "unavailable",
        Err(UpstreamError::Unacceptable(_)) => "unacceptable",
        Err(_) => "unknown",
    }
}

fn refresh_token(sign_in: &SignIn) -> &str {
    match &sign_in.credential {
        UpstreamCredential::Refresh(token) => token.expose(),
        other => panic!("no refresh token but {other:?}"),
    }
}
