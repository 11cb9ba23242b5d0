//! Refreshing, once every check has passed: turn → upstream → access rules → mint → commit.
//!
//! The upstream is asked exactly once per rotation, under the lease; a racing or retrying client
//! gets the same answer. Trouble is 503, never `invalid_grant`.

use std::sync::Arc;
use std::time::Duration;

use super::App;
use super::redeem::{count_replay, store_failure};
use super::respond::Refusal;
use super::vouch::upstream_failure;
use crate::audit::{Event, Kind};
use crate::entropy;
use crate::figures;
use crate::oauth::client::{Client, ClientSource};
use crate::oauth::error::Reason;
use crate::oauth::mint::{Minted, Vouched};
use crate::oauth::names::{AssertionHash, LeaseId, Secret};
use crate::oauth::records::Memo;
use crate::oauth::redirect::MatchedRedirect;
use crate::oauth::token::AuthenticatedRefresh;
use crate::replay::{Commit, RefreshAttempt, RefreshTurn, Rotation, StoreError};
use crate::seal::{SealError, Sealed};
use crate::upstream::UpstreamError;

/// How long one request may hold the right to ask the upstream.
const LEASE: Duration = Duration::from_secs(15);
/// How long the upstream may take.
const UPSTREAM: Duration = Duration::from_secs(8);
/// How long a request waits for another one's answer, and how often it looks.
const WAIT: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(40);
/// How often the previous token gets the same answer: a retrying client needs a few.
const GRACE_USES: u32 = 20;

/// One refresh.
pub(super) struct Refreshing {
    pub(super) app: Arc<App>,
    pub(super) token: AuthenticatedRefresh,
    pub(super) assertion: Option<(AssertionHash, Duration)>,
    pub(super) grace: Duration,
}

impl Refreshing {
    /// Refreshes, or repeats the answer that was given.
    pub(super) async fn run(self) -> Result<Secret, Refusal> {
        let record = self.token.record();
        let ended = self.app.revocations.has_ended(
            &record.grant,
            Some(&record.subject),
            &record.client,
            record.grant_issued_at,
        );
        if ended {
            return Err(Reason::Revoked.into());
        }
        self.app.look_for_others(record.instance, record.issued_at);
        self.app
            .upstream_of(&record.upstream, record.fingerprint, &record.resource)?;
        let lease = LeaseId::random(&mut entropy::rng());
        let mut waited = Duration::ZERO;
        loop {
            match self.turn(lease).await? {
                RefreshTurn::Lead => return self.lead(lease).await,
                RefreshTurn::Repeat(memo) => return self.repeat(memo),
                RefreshTurn::Wait if waited < WAIT => {
                    tokio::time::sleep(LOOK).await;
                    waited += LOOK;
                }
                // Overtaken while it waited: the client has newer tokens, and must not lose them.
                RefreshTurn::Superseded if !waited.is_zero() => {
                    return Err(Reason::LeaseBusy.into());
                }
                RefreshTurn::Wait => return Err(Reason::LeaseBusy.into()),
                refused => return Err(self.refused(&refused)),
            }
        }
    }

    /// Asks whose turn it is; once more where the answer was lost. A lease that may have been taken
    /// all the same is given back, or every retry would wait for its end.
    async fn turn(&self, lease: LeaseId) -> Result<RefreshTurn, Refusal> {
        let attempt = self.attempt(lease);
        let turn = match self.app.replay.begin_refresh(attempt.clone()).await {
            Err(StoreError::Unavailable(_)) => self.app.replay.begin_refresh(attempt).await,
            answer => answer,
        };
        turn.map_err(|error| {
            if matches!(error, StoreError::Unavailable(_)) {
                self.abandon_later(lease);
            }
            store_failure(&error)
        })
    }

    fn attempt(&self, lease: LeaseId) -> RefreshAttempt {
        let record = self.token.record();
        RefreshAttempt {
            grant: record.grant,
            generation: record.generation,
            token: self.token.token_hash(),
            request: self.token.question(),
            lease,
            lease_ttl: LEASE,
            grace: self.grace,
            grace_uses: GRACE_USES,
            ttl: self.rest_of_grant(),
            assertion: self.assertion,
        }
    }

    fn rest_of_grant(&self) -> Duration {
        self.token.record().grant_ends_at.since(self.app.now())
    }

    fn refused(&self, turn: &RefreshTurn) -> Refusal {
        let record = self.token.record();
        let audit = |kind| {
            Event::new(kind)
                .grant(record.grant, record.client)
                .subject(&record.subject)
                .record();
        };
        match turn {
            RefreshTurn::Reuse => {
                audit(Kind::RefreshReuse);
                count_replay("refresh", Reason::RefreshReplayed)
            }
            RefreshTurn::Fork => {
                audit(Kind::RefreshFork);
                count_replay("refresh_fork", Reason::RefreshForked)
            }
            RefreshTurn::Superseded => count_replay("grace", Reason::RefreshOvertaken),
            RefreshTurn::OtherRequest => Reason::RepeatedOtherwise.into(),
            RefreshTurn::TooOften => count_replay("grace", Reason::RepeatedTooOften),
            RefreshTurn::AssertionUsed => Reason::Assertion("used before".into()).into(),
            RefreshTurn::Revoked => Reason::Revoked.into(),
            RefreshTurn::Lead | RefreshTurn::Wait | RefreshTurn::Repeat(_) => {
                Reason::Internal("a turn was not taken".into()).into()
            }
        }
    }

    /// The answer that was given for this token, byte for byte.
    fn repeat(&self, memo: Vec<u8>) -> Result<Secret, Refusal> {
        let unreadable = || Reason::Store("a remembered answer cannot be read".into());
        let memo = String::from_utf8(memo).map_err(|_| unreadable())?;
        let binding = Secret::new(self.token.presented());
        let opened = self
            .app
            .keys
            .current()
            .open_bound(&Sealed::<Memo>::from_wire(memo), &binding, self.app.now())
            .map_err(|_| unreadable())?;
        figures::REFRESH_GRACE.counter(&[]).increment(1);
        Ok(opened.record.body)
    }

    async fn lead(&self, lease: LeaseId) -> Result<Secret, Refusal> {
        match self.vouched().await {
            Ok(vouched) => match self.mint(lease, &vouched) {
                Ok((body, Some(rotation))) => self.commit(rotation).await.map(|()| body),
                // The last answer of this grant: nothing was rotated.
                Ok((body, None)) => {
                    self.abandon(lease).await;
                    Ok(body)
                }
                Err(reason) => {
                    self.abandon(lease).await;
                    Err(reason.into())
                }
            },
            Err((reason, retry_after)) => {
                if reason.code().status().is_server_error() {
                    self.abandon(lease).await;
                } else {
                    // The upstream said no, or the rules do: the grant ends here.
                    let ended = self
                        .app
                        .end(self.token.record().grant, self.rest_of_grant());
                    if let Err(failed) = ended.await {
                        self.abandon_later(lease);
                        return Err(failed);
                    }
                    let record = self.token.record();
                    Event::new(Kind::GrantEnded)
                        .grant(record.grant, record.client)
                        .subject(&record.subject)
                        .reason(&reason)
                        .record();
                }
                Err(Refusal::from(reason).retry_after(retry_after))
            }
        }
    }

    /// Gives the lease back, so that the next request need not wait for its end.
    async fn abandon(&self, lease: LeaseId) {
        let grant = self.token.record().grant;
        if self.app.replay.abandon_refresh(grant, lease).await.is_err() {
            self.abandon_later(lease);
        }
    }

    fn abandon_later(&self, lease: LeaseId) {
        let grant = self.token.record().grant;
        self.app.tell_later("a lease", move |store| async move {
            store.abandon_refresh(grant, lease).await
        });
    }

    /// Asks the upstream, once.
    async fn vouched(&self) -> Result<Vouched, (Reason, Option<Duration>)> {
        let record = self.token.record();
        let upstream = self
            .app
            .upstream_of(&record.upstream, record.fingerprint, &record.resource)
            .map_err(|reason| (reason, None))?;
        let prefix = format!("{}:", record.upstream);
        let id = record
            .subject
            .as_str()
            .strip_prefix(&prefix)
            .unwrap_or_default();
        let asked = upstream.refresh(&record.credential, id, self.app.now());
        let answer = match tokio::time::timeout(UPSTREAM, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(UpstreamError::Unavailable {
                reason: "no answer in time".into(),
                retry_after: None,
            }),
        };
        let result = match &answer {
            Ok(_) => "ok",
            Err(UpstreamError::Unavailable { .. }) => "unavailable",
            Err(_) => "refused",
        };
        figures::UPSTREAM_REFRESH
            .counter(&[record.upstream.as_str(), result])
            .increment(1);
        let sign_in = answer.map_err(|error| {
            let retry_after = match &error {
                UpstreamError::Unavailable { retry_after, .. } => *retry_after,
                _ => None,
            };
            (upstream_failure(error), retry_after)
        })?;
        if sign_in.id != id {
            return Err((Reason::OtherPerson, None));
        }
        self.app
            .vouch(
                upstream,
                &record.resource,
                sign_in,
                (record.grant, record.client),
            )
            .map_err(|reason| (reason, None))
    }

    /// The answer, and what makes it the current one; nothing if it brings no refresh token.
    fn mint(
        &self,
        lease: LeaseId,
        vouched: &Vouched,
    ) -> Result<(Secret, Option<Rotation>), Reason> {
        let internal = |error: SealError| Reason::Internal(error.to_string());
        let resource = &self.token.record().resource;
        let rule = self
            .app
            .resources
            .at(resource)
            .ok_or(Reason::ResourceGone)?;
        let (keys, now) = (self.app.keys.current(), self.app.now());
        let rng = &mut entropy::rng();
        let Minted { body, refresh } = self
            .token
            .mint(rule, vouched, self.app.terms(), &keys, now, rng)
            .map_err(internal)?;
        let Some(refresh) = refresh else {
            return Ok((body, None));
        };
        let memo = Memo {
            body: body.clone(),
            expires_at: now.plus(self.grace),
        };
        let binding = Secret::new(self.token.presented());
        let memo = keys.seal_bound(&memo, &binding, rng).map_err(internal)?;
        let rotation = Rotation {
            grant: self.token.record().grant,
            lease,
            generation: refresh.generation,
            token: refresh.hash,
            memo: memo.into_wire().into_bytes(),
            grace: self.grace,
            ttl: self.rest_of_grant(),
        };
        Ok((body, Some(rotation)))
    }

    /// Makes the new token the current one. The upstream has rotated already, so this is told to
    /// the store until it hears: a retry then gets the answer that could not be given now.
    async fn commit(&self, rotation: Rotation) -> Result<(), Refusal> {
        let committed = match self.app.replay.commit_refresh(rotation.clone()).await {
            Err(StoreError::Unavailable(_)) => {
                self.app.replay.commit_refresh(rotation.clone()).await
            }
            answer => answer,
        };
        match committed {
            Ok(Commit::Committed) => Ok(()),
            Ok(Commit::Revoked) => Err(Reason::Revoked.into()),
            Ok(Commit::LeaseLost) => Err(Reason::LeaseBusy.into()),
            Err(error) => {
                self.app.tell_later("a rotation", move |store| {
                    let rotation = rotation.clone();
                    async move { store.commit_refresh(rotation).await.map(drop) }
                });
                Err(store_failure(&error))
            }
        }
    }
}

impl App {
    /// The grace of a client: its policy's, or the configured one.
    pub(super) fn grace_of(&self, client: &Client) -> Duration {
        let is_of = |host: &str| match &client.source {
            ClientSource::Document { host: known } => known == host,
            _ => client.redirect_uris.iter().any(|uri| {
                MatchedRedirect::find(std::slice::from_ref(uri), None)
                    .is_some_and(|redirect| redirect.host() == host)
            }),
        };
        self.config
            .clients
            .policies
            .iter()
            .filter(|policy| is_of(&policy.client_host))
            .find_map(|policy| policy.refresh_grace)
            .unwrap_or(self.config.tokens.refresh_grace)
    }
}
