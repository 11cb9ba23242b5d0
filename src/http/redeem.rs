//! Redeeming a code, once every check has passed: claim → upstream → access rules → mint.
//!
//! The local claim always comes first, so that one process never sends an upstream code twice: the
//! upstream would end the winner's tokens for it.

use std::sync::Arc;
use std::time::Duration;

use super::App;
use super::respond::Refusal;
use super::vouch::upstream_failure;
use crate::audit::{Event, Kind};
use crate::entropy;
use crate::figures;
use crate::oauth::error::Reason;
use crate::oauth::mint::Vouched;
use crate::oauth::names::{AssertionHash, AttemptId, GrantId, Secret};
use crate::oauth::records::{AuthorizationCode, Memo, UpstreamLeg};
use crate::oauth::token::{AuthenticatedCode, ClaimGranted, RedeemableCode};
use crate::replay::{Claim, Claimed, StoreError};
use crate::seal::Sealed;
use crate::upstream::{CodeExchange, SignIn, UpstreamError};

/// A claim outlives its code by this much, so that clock skew between replicas cannot re-open it.
const SKEW: Duration = Duration::from_secs(120);

/// One attempt to redeem a code.
pub(super) struct Redemption {
    pub(super) app: Arc<App>,
    pub(super) code: AuthenticatedCode,
    pub(super) assertion: Option<(AssertionHash, Duration)>,
}

impl Redemption {
    /// Redeems the code.
    pub(super) async fn run(self) -> Result<Secret, Refusal> {
        let Self {
            app,
            code,
            assertion,
        } = self;
        let record = code.record();
        if app
            .revocations
            .has_ended(&record.grant, None, &record.client, record.issued_at)
        {
            return Err(Reason::Revoked.into());
        }
        app.look_for_others(record.instance, record.issued_at);
        let (grant, attempt) = (record.grant, AttemptId::random(&mut entropy::rng()));
        let proof = app.claim(record, attempt, assertion).await?;
        let code = code.claimed(proof);
        match app.vouched(&code).await {
            Ok(vouched) => app.mint(code, &vouched, attempt).await,
            Err(failure) => Err(app.give_up(grant, attempt, failure).await),
        }
    }
}

/// Why a claimed code was not redeemed.
struct Failure {
    reason: Reason,
    retry_after: Option<Duration>,
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            retry_after: None,
        }
    }
}

impl From<UpstreamError> for Failure {
    fn from(error: UpstreamError) -> Self {
        let retry_after = match &error {
            UpstreamError::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        };
        Self {
            reason: upstream_failure(error),
            retry_after,
        }
    }
}

impl App {
    async fn claim(
        self: &Arc<Self>,
        code: &AuthorizationCode,
        attempt: AttemptId,
        assertion: Option<(AssertionHash, Duration)>,
    ) -> Result<ClaimGranted, Refusal> {
        let claim = Claim {
            grant: code.grant,
            attempt,
            issued_at: code.issued_at,
            ttl: code.expires_at.since(self.now()) + SKEW,
            assertion,
        };
        // An answer that was lost is asked for again: the same attempt gets the same answer.
        let claimed = match self.replay.claim(claim.clone()).await {
            Err(StoreError::Unavailable(_)) => self.replay.claim(claim).await,
            answer => answer,
        };
        let claimed = claimed.map_err(|error| {
            // It may be held all the same, and would refuse the client's retry as busy.
            if matches!(error, StoreError::Unavailable(_)) {
                self.release_later(code.grant, attempt);
            }
            store_failure(&error)
        })?;
        match claimed {
            Claimed::Granted => Ok(ClaimGranted::by_store()),
            Claimed::Busy => Err(count_replay("code_busy", Reason::CodeBusy)),
            Claimed::AssertionUsed => Err(Reason::Assertion("used before".into()).into()),
            Claimed::Discontinuity => {
                Err(Reason::Store("the store lost its memory a moment ago".into()).into())
            }
            Claimed::Done => {
                // RFC 6749 §4.1.2: tokens that were issued for it are revoked.
                Event::new(Kind::CodeReplay)
                    .grant(code.grant, code.client)
                    .record();
                self.end(code.grant, self.config.tokens.refresh_max_ttl)
                    .await?;
                Err(count_replay("code", Reason::CodeReplayed))
            }
        }
    }

    fn release_later(self: &Arc<Self>, grant: GrantId, attempt: AttemptId) {
        self.tell_later("a claim", move |store| async move {
            store.release(grant, attempt).await.map(drop)
        });
    }

    /// Ends a grant in the store.
    pub(super) async fn end(&self, grant: GrantId, ttl: Duration) -> Result<(), Refusal> {
        self.revocations
            .revoke(grant, ttl + SKEW)
            .await
            .map_err(|error| store_failure(&error))
    }

    /// What the upstream says about the person, if the access rules let them in.
    async fn vouched(&self, redeemable: &RedeemableCode) -> Result<Vouched, Failure> {
        let code = redeemable.record();
        let upstream = self.upstream_of(&code.upstream, code.fingerprint, &code.resource)?;
        let sign_in = match &code.leg {
            UpstreamLeg::Late {
                code,
                verifier,
                nonce,
            } => {
                let redirect_uri = self.callback_url(upstream);
                let now = self.now();
                upstream
                    .exchange(CodeExchange {
                        code,
                        verifier,
                        nonce,
                        redirect_uri: &redirect_uri,
                        now,
                    })
                    .await?
            }
            UpstreamLeg::Parked => self.unpark(redeemable).await?,
        };
        let vouched = self.vouch(upstream, &code.resource, sign_in, (code.grant, code.client))?;
        // Only now is it known whose grant it is.
        let subject = Some(&vouched.subject);
        if self
            .revocations
            .has_ended(&code.grant, subject, &code.client, code.issued_at)
        {
            return Err(Reason::Revoked.into());
        }
        Ok(vouched)
    }

    async fn mint(
        self: &Arc<Self>,
        code: RedeemableCode,
        vouched: &Vouched,
        attempt: AttemptId,
    ) -> Result<Secret, Refusal> {
        let (grant, client) = (code.record().grant, code.record().client);
        let resource = code.record().resource.clone();
        let is_parked = matches!(code.record().leg, UpstreamLeg::Parked);
        let minted = {
            let rule = self
                .resources
                .at(&code.record().resource)
                .ok_or(Reason::ResourceGone)?;
            let keys = self.keys.current();
            code.mint(
                rule,
                vouched,
                self.terms(),
                &keys,
                self.now(),
                &mut entropy::rng(),
            )
            .map_err(|error| Reason::Internal(error.to_string()))?
        };
        // Tokens leave only after the code is known to be used up by this very attempt.
        let settled = match self.replay.settle(grant, attempt).await {
            Err(StoreError::Unavailable(_)) => self.replay.settle(grant, attempt).await,
            answer => answer,
        };
        let settled = settled.map_err(|error| {
            // The upstream's code is used up, but tokens that are parked can be had again.
            if is_parked {
                self.release_later(grant, attempt);
            }
            store_failure(&error)
        })?;
        if !settled {
            return Err(Reason::Store("the claim was lost".into()).into());
        }
        Event::new(Kind::Login)
            .grant(grant, client)
            .subject(&vouched.subject)
            .email(vouched.identity.email.as_deref())
            .resource(&resource)
            .record();
        Ok(minted.body)
    }

    /// Settles or releases the claim of a code that was not redeemed.
    async fn give_up(
        self: &Arc<Self>,
        grant: GrantId,
        attempt: AttemptId,
        failure: Failure,
    ) -> Refusal {
        let Failure {
            reason,
            retry_after,
        } = failure;
        let ours = reason.code().status().is_server_error();
        let kept = if ours {
            self.replay.release(grant, attempt).await
        } else {
            self.replay.settle(grant, attempt).await
        };
        match kept {
            Ok(_) => {}
            Err(_) if ours => self.release_later(grant, attempt),
            Err(error) => {
                tracing::warn!(%error, %grant, "the claim could not be settled; it ends by itself");
            }
        }
        Refusal::from(reason).retry_after(retry_after)
    }

    /// Keeps the tokens of an `exchange = "callback"` login until the code is redeemed.
    pub(super) async fn park(
        &self,
        grant: GrantId,
        code: &Secret,
        sign_in: &SignIn,
    ) -> Result<(), Reason> {
        let internal = |error: &dyn std::fmt::Display| Reason::Internal(error.to_string());
        let ttl = self.config.tokens.code_ttl + SKEW;
        let body = serde_json::to_string(sign_in).map_err(|error| internal(&error))?;
        let memo = Memo {
            body: Secret::new(body),
            expires_at: self.now().plus(ttl),
        };
        let sealed = self
            .keys
            .current()
            .seal_bound(&memo, code, &mut entropy::rng())
            .map_err(|error| internal(&error))?;
        let blob = sealed.into_wire().into_bytes();
        self.replay
            .park(grant, blob, ttl)
            .await
            .map_err(|error| Reason::Store(error.to_string()))
    }

    async fn unpark(&self, code: &RedeemableCode) -> Result<SignIn, Failure> {
        let unavailable = |error: StoreError| Reason::Store(error.to_string());
        let blob = self
            .replay
            .parked(code.record().grant)
            .await
            .map_err(unavailable)?;
        // Gone with the store's memory: the person signs in again.
        let blob = blob
            .and_then(|blob| String::from_utf8(blob).ok())
            .ok_or(Reason::Revoked)?;
        let binding = Secret::new(code.presented());
        let memo = self
            .keys
            .current()
            .open_bound(&Sealed::<Memo>::from_wire(blob), &binding, self.now())
            .map_err(Reason::Code)?
            .record;
        serde_json::from_str(memo.body.expose())
            .map_err(|error| Reason::Internal(error.to_string()).into())
    }
}

/// Trouble with the store: always 503.
pub(super) fn store_failure(error: &StoreError) -> Refusal {
    if matches!(error, StoreError::Full) {
        figures::REPLAY.counter(&["full"]).increment(1);
    }
    Reason::Store(error.to_string()).into()
}

/// Counts what the replay store refused.
pub(super) fn count_replay(kind: &'static str, reason: Reason) -> Refusal {
    figures::REPLAY.counter(&[kind]).increment(1);
    reason.into()
}
