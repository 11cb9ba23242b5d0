//! An upstream without a network: every answer is scripted, every call counted.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use mcp_oauth::oauth::names::{Secret, UpstreamFingerprint, UpstreamName};
use mcp_oauth::oauth::records::{Identity, UpstreamCredential};
use mcp_oauth::time::Timestamp;
use mcp_oauth::upstream::{
    AuthorizationRedirect, CodeExchange, ExchangeAt, Profile, SignIn, Upstream, UpstreamError,
};
use url::Url;

/// How the stub behaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As it should.
    #[default]
    Well,
    /// Refuses for good.
    Refuses,
    /// Does not answer.
    Down,
    /// Answers only after a while.
    Slow(Duration),
    /// Vouches for somebody else at refresh.
    SwapsPerson,
    /// Leaves nothing to ask with the next time.
    LeavesNothing,
    /// Tells more about a person than fits into a token. Its refresh token stays as it was.
    Verbose,
}

/// What was asked of the stub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) exchanges: u32,
    pub(crate) refreshes: u32,
    pub(crate) revocations: u32,
}

#[derive(Debug, Default)]
struct State {
    mood: Mood,
    counts: Counts,
    used_codes: HashSet<String>,
    live_refresh: HashSet<String>,
}

/// The stub.
#[derive(Debug)]
pub(crate) struct Stub {
    profile: Profile,
    state: Mutex<State>,
}

impl Stub {
    pub(crate) fn new(name: &str) -> Self {
        let profile = Profile {
            name: UpstreamName::new(name),
            display_name: "Stub".to_owned(),
            fingerprint: UpstreamFingerprint::of_upstream("https://idp.example", "us"),
            exchange: ExchangeAt::Token,
            code_ttl: Duration::from_secs(60),
            callback_path: format!("/callback/{name}"),
            scopes: vec!["openid".to_owned()],
            issuer: Some("https://idp.example".to_owned()),
            revokes_one_token: true,
        };
        Self {
            profile,
            state: Mutex::default(),
        }
    }

    pub(crate) fn edit(mut self, edit: impl FnOnce(&mut Profile)) -> Self {
        edit(&mut self.profile);
        self
    }

    pub(crate) fn mood(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    pub(crate) fn counts(&self) -> Counts {
        self.state.lock().unwrap().counts
    }

    async fn behave(&self) -> Result<(), UpstreamError> {
        let mood = self.state.lock().unwrap().mood.clone();
        match mood {
            Mood::Well | Mood::SwapsPerson | Mood::LeavesNothing | Mood::Verbose => Ok(()),
            Mood::Refuses => Err(UpstreamError::Refused("scripted".into())),
            Mood::Down => Err(UpstreamError::Unavailable {
                reason: "scripted".into(),
                retry_after: None,
            }),
            Mood::Slow(wait) => {
                tokio::time::sleep(wait).await;
                Ok(())
            }
        }
    }

    fn sign_in(&self, person: &str, generation: u32) -> SignIn {
        let refresh = format!("upstream-refresh.{person}.{generation}");
        self.state
            .lock()
            .unwrap()
            .live_refresh
            .insert(refresh.clone());
        let mood = self.state.lock().unwrap().mood.clone();
        SignIn {
            id: person.to_owned(),
            identity: Identity {
                email: Some(format!("{person}@example.com")),
                preferred_username: Some(person.to_owned()),
                groups: vec!["group".repeat(4_000); usize::from(mood == Mood::Verbose)],
            },
            access_token: Secret::new(format!("upstream-access.{person}.{generation}")),
            access_expires_at: None,
            credential: if mood == Mood::LeavesNothing {
                UpstreamCredential::Nothing
            } else {
                UpstreamCredential::Refresh(Secret::new(refresh))
            },
        }
    }
}

#[async_trait]
impl Upstream for Stub {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn requires_iss(&self) -> bool {
        false
    }

    async fn authorization_url(
        &self,
        redirect: AuthorizationRedirect<'_>,
    ) -> Result<Url, UpstreamError> {
        self.behave().await?;
        let mut url = Url::parse("https://idp.example/authorize").unwrap();
        url.query_pairs_mut()
            .append_pair("state", redirect.state.expose())
            .append_pair("redirect_uri", redirect.redirect_uri)
            .append_pair(
                "prompt",
                if redirect.choose_account {
                    "select_account"
                } else {
                    ""
                },
            );
        Ok(url)
    }

    /// A code names the person: `alice.1`. Each works once.
    async fn exchange(&self, exchange: CodeExchange<'_>) -> Result<SignIn, UpstreamError> {
        self.state.lock().unwrap().counts.exchanges += 1;
        self.behave().await?;
        let code = exchange.code.expose().to_owned();
        if !self.state.lock().unwrap().used_codes.insert(code.clone()) {
            return Err(UpstreamError::Refused("invalid_grant".into()));
        }
        Ok(self.sign_in(code.split('.').next().unwrap(), 0))
    }

    /// Rotates: the presented token works once.
    async fn refresh(
        &self,
        credential: &UpstreamCredential,
        id: &str,
        _now: Timestamp,
    ) -> Result<SignIn, UpstreamError> {
        self.state.lock().unwrap().counts.refreshes += 1;
        self.behave().await?;
        let UpstreamCredential::Refresh(token) = credential else {
            return Err(UpstreamError::Refused("nothing to ask with".into()));
        };
        if !self
            .state
            .lock()
            .unwrap()
            .live_refresh
            .remove(token.expose())
        {
            return Err(UpstreamError::Refused("invalid_grant".into()));
        }
        let generation = token
            .expose()
            .rsplit('.')
            .next()
            .unwrap()
            .parse::<u32>()
            .unwrap();
        let mood = self.state.lock().unwrap().mood.clone();
        if mood == Mood::Verbose {
            let mut state = self.state.lock().unwrap();
            state.live_refresh.insert(token.expose().to_owned());
        }
        let swaps = mood == Mood::SwapsPerson;
        let person = if swaps { "mallory" } else { id };
        Ok(self.sign_in(person, generation + 1))
    }

    async fn revoke(&self, _credential: &UpstreamCredential) -> Result<(), UpstreamError> {
        self.state.lock().unwrap().counts.revocations += 1;
        self.behave().await
    }
}
