//! The replay store in Redis or Valkey: exact over any number of replicas.
//!
//! Each operation is one script, so one round trip: a code costs one before the upstream is asked
//! and one after, a refresh the same. Times are the store's own. The user needs, on the keys under
//! the prefix, `+@read +@write +@scripting +@connection +time +info`.
//!
//! Refuses to guess: a store that is slow, down, full, read-only, evicting or that lost its memory
//! is an error or a [`Claimed::Discontinuity`], never a "no".

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use redis::{IntoConnectionInfo as _, RedisError, TlsCertificates, Value};
use tokio::time::Instant;
use tokio::time::error::Elapsed;

use crate::entropy;
use crate::oauth::names::{AssertionHash, AttemptId, GrantId, LeaseId, Secret};
use crate::replay::revoked::Revoked;
use crate::replay::shards::{Millis, after, millis};
use crate::replay::{
    Claim, Claimed, Commit, RefreshAttempt, RefreshTurn, ReplayStore, Rotation, StoreError,
};
use crate::time::Clock;

mod answers;
mod keeper;
mod keys;
mod link;
mod scripts;
mod server;

use answers::ClaimAnswer;
use keys::KeyNames;
use link::{Link, Request, describe};
use scripts::{ABANDON, ASSERTION, BEGIN, CLAIM, COMMIT, Call, READY, RELEASE, REVOKE, SETTLE};

/// How far clocks of replicas may be apart: codes that are younger than a loss by no more than this
/// may have been used before it.
const SKEW: Duration = Duration::from_secs(60);
/// How long the first connection is tried for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the store is.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// `redis://` or `rediss://`, with credentials and a database if need be.
    pub url: Secret,
    /// Start of every key.
    pub prefix: String,
    /// Most revocations that are kept at once.
    pub capacity: usize,
    /// PEM of the only authorities that are trusted; none means the public ones.
    pub authorities: Option<Vec<u8>>,
}

/// Why the store could not be opened. Names nothing that is secret.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL or the authorities cannot be used.
    #[error("the replay store's address is wrong: {0}")]
    Address(String),
    /// It must not be used as it is set up.
    #[error("the replay store is not fit: {0}")]
    Refused(String),
    /// It did not answer.
    #[error("the replay store is not reached: {0}")]
    Unreachable(String),
}

impl From<RedisError> for OpenError {
    fn from(error: RedisError) -> Self {
        Self::Unreachable(describe(&error))
    }
}

impl From<Elapsed> for OpenError {
    fn from(_: Elapsed) -> Self {
        Self::Unreachable("no answer in time".into())
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        Self::Unreachable(error.to_string())
    }
}

/// The store for `store = "redis"`.
pub struct RedisStore(Arc<Inner>);

struct Inner {
    client: redis::Client,
    keys: KeyNames,
    capacity: usize,
    clock: Arc<dyn Clock>,
    link: Link,
    revoked: Revoked,
    /// The store's epoch, once it was met.
    epoch: ArcSwapOption<Arc<str>>,
    /// The number of the last revocation that was read.
    seen: AtomicU64,
    /// When revocations were last read.
    looked: AtomicU64,
}

impl RedisStore {
    /// Connects, makes sure that the store is fit, and reads what is revoked. From then on a task
    /// on the current Tokio runtime keeps the connection, until the store is dropped.
    pub async fn open(settings: RedisSettings, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let inner = Arc::new(Inner {
            client: client(&settings)?,
            keys: KeyNames::under(settings.prefix),
            capacity: settings.capacity,
            link: Link::new(),
            revoked: Revoked::for_up_to(settings.capacity),
            epoch: ArcSwapOption::empty(),
            seen: AtomicU64::new(0),
            looked: AtomicU64::new(millis(clock.elapsed())),
            clock,
        });
        let deadline = Instant::now() + PATIENCE;
        loop {
            match inner.dial().await {
                Ok(()) => break,
                Err(OpenError::Unreachable(_)) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                Err(error) => return Err(error),
            }
        }
        tokio::spawn(keeper::keep(Arc::downgrade(&inner)));
        Ok(Self(inner))
    }
}

fn client(settings: &RedisSettings) -> Result<redis::Client, OpenError> {
    let wrong = |error: RedisError| OpenError::Address(error.category().to_owned());
    let info = settings
        .url
        .expose()
        .into_connection_info()
        .map_err(wrong)?;
    match settings.authorities.clone() {
        None => redis::Client::open(info).map_err(wrong),
        Some(authorities) => {
            let certificates = TlsCertificates {
                client_tls: None,
                root_cert: Some(authorities),
            };
            redis::Client::build_with_tls(info, certificates).map_err(wrong)
        }
    }
}

/// A hundred years: more would overflow the store's own clock.
const FOREVER: Millis = 100 * 365 * 86_400_000;

/// What the store takes as a time to live: never zero, which would be an error.
fn ttl(duration: Duration) -> Millis {
    millis(duration).clamp(1, FOREVER)
}

impl Inner {
    fn now(&self) -> Millis {
        millis(self.clock.elapsed())
    }

    async fn ask(&self, call: Call) -> Result<Value, StoreError> {
        self.link.ask(&Request::Script(call)).await
    }

    async fn try_claim(&self, claim: &Claim) -> Result<ClaimAnswer, StoreError> {
        let line = self.link.line().await?;
        let mut call = Call::of(&CLAIM)
            .key(self.keys.epoch())
            .key(self.keys.claim(&claim.grant))
            .key(self.keys.mark(&claim.grant))
            .text(&line.epoch)
            .show(&claim.issued_at)
            .show(&SKEW.as_secs())
            .show(&claim.attempt)
            .show(&ttl(claim.ttl));
        if let Some((assertion, life)) = &claim.assertion {
            call = call.key(self.keys.assertion(assertion)).show(&ttl(*life));
        }
        let answer = answers::claim(self.ask(call).await?)?;
        if matches!(answer, ClaimAnswer::OtherEpoch) {
            self.link.hang_up(line.serial);
        }
        Ok(answer)
    }

    /// The keys of a grant and of all revocations, and the arguments of a revocation.
    fn revoke_call(&self, grant: &GrantId, life: Duration) -> Call {
        self.grant_keys(Call::of(&REVOKE), grant)
            .key(self.keys.log())
            .key(self.keys.ends())
            .key(self.keys.count())
            .show(grant)
            .show(&ttl(life))
            .show(&self.capacity)
    }

    fn grant_keys(&self, call: Call, grant: &GrantId) -> Call {
        call.key(self.keys.mark(grant))
            .key(self.keys.record(grant))
            .key(self.keys.memo(grant))
    }

    fn begin_call(&self, attempt: &RefreshAttempt) -> Call {
        let (assertion, life) = attempt.assertion.unzip();
        let call = self
            .grant_keys(Call::of(&BEGIN), &attempt.grant)
            .key(self.keys.log())
            .key(self.keys.ends())
            .key(self.keys.count())
            .show(&attempt.grant)
            .show(&attempt.generation)
            .show(&attempt.token)
            .show(&attempt.request)
            .show(&attempt.lease)
            .show(&ttl(attempt.lease_ttl))
            .show(&millis(attempt.grace).min(FOREVER))
            .show(&attempt.grace_uses)
            .show(&ttl(attempt.ttl))
            .show(&ttl(life.unwrap_or_default()))
            .show(&self.capacity);
        match assertion {
            Some(assertion) => call.key(self.keys.assertion(&assertion)),
            None => call,
        }
    }

    /// Remembers here what the store was told.
    fn mark(&self, grant: GrantId, life: Duration) -> Result<(), StoreError> {
        self.revoked.insert(grant, after(self.now(), life))
    }
}

#[async_trait]
impl ReplayStore for RedisStore {
    async fn claim(&self, claim: Claim) -> Result<Claimed, StoreError> {
        // A store that lost its memory is met again, and then asked again.
        for _ in 0..2 {
            if let ClaimAnswer::Claimed(claimed) = self.0.try_claim(&claim).await? {
                return Ok(claimed);
            }
        }
        Err(StoreError::Unavailable("it lost its memory".into()))
    }

    async fn settle(&self, grant: GrantId, attempt: AttemptId) -> Result<bool, StoreError> {
        let call = Call::of(&SETTLE)
            .key(self.0.keys.claim(&grant))
            .show(&attempt);
        answers::truth(&self.0.ask(call).await?)
    }

    async fn release(&self, grant: GrantId, attempt: AttemptId) -> Result<bool, StoreError> {
        let call = Call::of(&RELEASE)
            .key(self.0.keys.claim(&grant))
            .show(&attempt);
        answers::truth(&self.0.ask(call).await?)
    }

    async fn begin_refresh(&self, attempt: RefreshAttempt) -> Result<RefreshTurn, StoreError> {
        if self.0.revoked.contains(&attempt.grant) {
            return Ok(RefreshTurn::Revoked);
        }
        let call = self.0.begin_call(&attempt);
        let turn = answers::turn(self.0.ask(call).await?)?;
        if matches!(turn, RefreshTurn::Reuse | RefreshTurn::Fork) {
            self.0.mark(attempt.grant, attempt.ttl)?;
        }
        Ok(turn)
    }

    async fn commit_refresh(&self, rotation: Rotation) -> Result<Commit, StoreError> {
        if self.0.revoked.contains(&rotation.grant) {
            return Ok(Commit::Revoked);
        }
        let call = self
            .0
            .grant_keys(Call::of(&COMMIT), &rotation.grant)
            .show(&rotation.lease)
            .show(&rotation.generation)
            .show(&rotation.token)
            .bytes(rotation.memo)
            .show(&millis(rotation.grace).min(FOREVER))
            .show(&ttl(rotation.ttl));
        answers::commit(self.0.ask(call).await?)
    }

    async fn abandon_refresh(&self, grant: GrantId, lease: LeaseId) -> Result<(), StoreError> {
        let call = Call::of(&ABANDON)
            .key(self.0.keys.record(&grant))
            .show(&lease);
        answers::truth(&self.0.ask(call).await?).map(drop)
    }

    async fn use_assertion(
        &self,
        assertion: AssertionHash,
        life: Duration,
    ) -> Result<bool, StoreError> {
        // A user of its own, so that asking again after a broken connection is no second use.
        let user = AttemptId::random(&mut entropy::rng());
        let call = Call::of(&ASSERTION)
            .key(self.0.keys.assertion(&assertion))
            .show(&user)
            .show(&ttl(life));
        answers::truth(&self.0.ask(call).await?)
    }

    async fn revoke(&self, grant: GrantId, life: Duration) -> Result<(), StoreError> {
        let call = self.0.revoke_call(&grant, life);
        if !answers::truth(&self.0.ask(call).await?)? {
            return Err(StoreError::Full);
        }
        self.0.mark(grant, life)
    }

    fn is_revoked(&self, grant: &GrantId) -> bool {
        self.0.revoked.contains(grant)
    }

    async fn park(&self, grant: GrantId, blob: Vec<u8>, life: Duration) -> Result<(), StoreError> {
        let mut set = redis::cmd("SET");
        set.arg(self.0.keys.parked(&grant))
            .arg(blob)
            .arg("PX")
            .arg(ttl(life));
        self.0.link.ask(&Request::Plain(set)).await.map(drop)
    }

    async fn parked(&self, grant: GrantId) -> Result<Option<Vec<u8>>, StoreError> {
        let mut get = redis::cmd("GET");
        get.arg(self.0.keys.parked(&grant));
        answers::blob(self.0.link.ask(&Request::Plain(get)).await?)
    }

    async fn ready(&self) -> Result<(), StoreError> {
        let call = Call::of(&READY).key(self.0.keys.epoch());
        if !answers::truth(&self.0.ask(call).await?)? {
            return Err(StoreError::Unavailable(answers::CLOSED.into()));
        }
        Ok(())
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("keys", &self.0.keys)
            .field("connected", &self.0.link.current().is_some())
            .field("revoked", &self.0.revoked.len())
            .finish_non_exhaustive()
    }
}
