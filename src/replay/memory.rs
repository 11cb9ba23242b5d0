//! The replay store of one process: exact, and forgotten when the process ends.
//!
//! Every grant belongs to one of 64 shards with a lock each, so an operation on a grant is one
//! critical section. Ends are counted on the monotonic clock. Refuses another entry when there is
//! no room; what is alive is never evicted, what has ended is dropped in lots.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::oauth::names::{AssertionHash, AttemptId, GrantId, LeaseId};
use crate::replay::revoked::Revoked;
use crate::replay::shards::{ByOwnBits, Due, Millis, Room, Sharded, TICK, after, millis};
use crate::replay::sync::{AtomicU64, Mutex, MutexGuard};
use crate::replay::{
    Claim, Claimed, Commit, RefreshAttempt, RefreshTurn, ReplayStore, Rotation, StoreError,
};
use crate::time::Clock;

mod claims;
mod refresh;

use claims::{Assertions, Claims};
use refresh::{Peers, RefreshRecord};

/// Bytes of sealed answers and parked tokens that are kept at once, whatever the capacity.
const BLOB_BYTES: usize = 256 << 20;

/// The store for `store = "memory"` and, one in each process, for `store = "upstream"`.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    peers: Peers,
    grants: Sharded<Mutex<Shard>>,
    assertions: Sharded<Mutex<Assertions>>,
    revoked: Revoked,
    rooms: Rooms,
    /// The tick up to which the past was dropped.
    swept: AtomicU64,
}

#[derive(Default)]
struct Shard {
    claims: Claims,
    records: HashMap<GrantId, RefreshRecord, ByOwnBits>,
    records_due: Due,
    parked: HashMap<GrantId, Parked, ByOwnBits>,
    parked_due: Due,
}

struct Parked {
    blob: Vec<u8>,
    ends: Millis,
}

struct Rooms {
    claims: Room,
    records: Room,
    parked: Room,
    assertions: Room,
    blobs: Room,
}

impl MemoryStore {
    /// The store of the only process, for up to `capacity` entries of each kind.
    pub fn new(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        Self::with_peers(Peers::None, capacity, clock)
    }

    /// The store of one process among several that share nothing. Two refresh tokens of one
    /// generation are no theft here: two processes may have answered one client.
    pub fn among_others(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        Self::with_peers(Peers::Unseen, capacity, clock)
    }

    fn with_peers(peers: Peers, capacity: usize, clock: Arc<dyn Clock>) -> Self {
        let room = || Room::for_up_to(capacity);
        Self {
            clock,
            peers,
            grants: Sharded::default(),
            assertions: Sharded::default(),
            revoked: Revoked::for_up_to(capacity),
            rooms: Rooms {
                claims: room(),
                records: room(),
                parked: room(),
                assertions: room(),
                blobs: Room::for_up_to(BLOB_BYTES),
            },
            swept: AtomicU64::new(0),
        }
    }

    /// Drops the past every few seconds, so that memory shrinks without traffic too, until the
    /// store itself is dropped. Runs on the current Tokio runtime.
    pub fn keep_tidy(self: &Arc<Self>) {
        let store = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(TICK));
            loop {
                ticks.tick().await;
                let Some(store) = store.upgrade() else { return };
                store.tidy(store.now());
            }
        });
    }

    fn now(&self) -> Millis {
        millis(self.clock.elapsed())
    }

    fn shard(&self, grant: &GrantId) -> MutexGuard<'_, Shard> {
        lock(self.grants.of(grant.as_bytes()))
    }

    /// Remembers that the assertion was used `by` this attempt or lease; false if another used it.
    fn spend(
        &self,
        assertion: Option<(AssertionHash, Duration)>,
        by: [u8; 16],
        now: Millis,
    ) -> Result<bool, StoreError> {
        let Some((hash, ttl)) = assertion else {
            return Ok(true);
        };
        let mut used = lock(self.assertions.of(hash.as_bytes()));
        if let Some(known) = used.user(&hash) {
            return Ok(*known == by);
        }
        self.rooms.assertions.take(1)?;
        used.insert(hash, by, after(now, ttl));
        Ok(true)
    }

    fn turn(&self, attempt: &RefreshAttempt) -> Result<RefreshTurn, StoreError> {
        let now = self.now();
        self.tidy(now);
        let mut shard = self.shard(&attempt.grant);
        if self.revoked.contains(&attempt.grant) {
            return Ok(RefreshTurn::Revoked);
        }
        let known = shard.records.get(&attempt.grant);
        if known.is_some_and(|it| it.is_led_by(attempt)) {
            return Ok(RefreshTurn::Lead);
        }
        let is_new = known.is_none();
        self.rooms.records.take(usize::from(is_new))?;
        match self.spend(attempt.assertion, *attempt.lease.as_bytes(), now) {
            Ok(true) => {}
            refused => {
                self.rooms.records.give_back(usize::from(is_new));
                return refused.map(|_| RefreshTurn::AssertionUsed);
            }
        }
        let turn = shard.turn(attempt, self.peers, now, &self.rooms);
        match turn {
            RefreshTurn::Reuse | RefreshTurn::Fork => {
                self.end(&mut shard, attempt.grant, after(now, attempt.ttl))?;
            }
            // No room for the answer: better said before the upstream is asked.
            RefreshTurn::Lead if self.rooms.blobs.is_full() => {
                shard.abandon(&attempt.grant, &attempt.lease);
                return Err(StoreError::Full);
            }
            _ => {}
        }
        Ok(turn)
    }

    /// Revokes a grant and drops its record.
    fn end(&self, shard: &mut Shard, grant: GrantId, end: Millis) -> Result<(), StoreError> {
        self.revoked.insert(grant, end)?;
        if let Some(record) = shard.records.remove(&grant) {
            self.rooms.records.give_back(1);
            self.rooms.blobs.give_back(record.memo_length());
        }
        Ok(())
    }

    /// Drops what has ended, once a tick.
    fn tidy(&self, now: Millis) {
        let tick = now / TICK;
        if self.swept.load(Ordering::Relaxed) < tick
            && self.swept.fetch_max(tick, Ordering::Relaxed) < tick
        {
            self.sweep(now);
        }
    }

    fn sweep(&self, now: Millis) {
        for shard in self.grants.iter() {
            let (count, ended) = lock(shard).claims.take_ended(now);
            self.rooms.claims.give_back(count);
            drop(ended);
            while lock(shard).sweep_records(now, &self.rooms) {}
            while lock(shard).sweep_parked(now, &self.rooms) {}
        }
        for shard in self.assertions.iter() {
            let (count, ended) = lock(shard).take_ended(now);
            self.rooms.assertions.give_back(count);
            drop(ended);
        }
        self.revoked.sweep(now);
    }
}

impl Shard {
    /// Asks the grant's record, or begins one.
    fn turn(
        &mut self,
        attempt: &RefreshAttempt,
        peers: Peers,
        now: Millis,
        rooms: &Rooms,
    ) -> RefreshTurn {
        let Some(record) = self.records.get_mut(&attempt.grant) else {
            let record = RefreshRecord::adopt(attempt, now);
            self.records_due.push(record.ends, attempt.grant);
            self.records.insert(attempt.grant, record);
            return RefreshTurn::Lead;
        };
        let before = record.memo_length();
        let turn = record.turn(attempt, peers, now);
        rooms.blobs.give_back(before - record.memo_length());
        turn
    }

    fn abandon(&mut self, grant: &GrantId, lease: &LeaseId) {
        if let Some(record) = self.records.get_mut(grant) {
            record.abandon(lease);
        }
    }

    /// Looks at the next lot of records that is due; false if there is none.
    fn sweep_records(&mut self, now: Millis, rooms: &Rooms) -> bool {
        let Some(lot) = self.records_due.pop(now) else {
            return false;
        };
        for grant in lot {
            let Some(record) = self.records.get_mut(&grant) else {
                continue;
            };
            rooms.blobs.give_back(record.forget_memo(now));
            if record.ends <= now {
                rooms.blobs.give_back(record.memo_length());
                rooms.records.give_back(1);
                self.records.remove(&grant);
            }
        }
        true
    }

    /// Looks at the next lot of parked blobs that is due; false if there is none.
    fn sweep_parked(&mut self, now: Millis, rooms: &Rooms) -> bool {
        let Some(lot) = self.parked_due.pop(now) else {
            return false;
        };
        for grant in lot {
            let has_ended = self.parked.get(&grant).is_some_and(|it| it.ends <= now);
            if has_ended && let Some(parked) = self.parked.remove(&grant) {
                rooms.blobs.give_back(parked.blob.len());
                rooms.parked.give_back(1);
            }
        }
        true
    }
}

fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl ReplayStore for MemoryStore {
    async fn claim(&self, claim: Claim) -> Result<Claimed, StoreError> {
        let now = self.now();
        self.tidy(now);
        let mut shard = self.shard(&claim.grant);
        let found = shard.claims.find(&claim.grant, &claim.attempt);
        if found == Some(Claimed::Granted) {
            return Ok(Claimed::Granted);
        }
        // A revoked grant's code opens nothing.
        let is_revoked = found.is_none() && self.revoked.contains(&claim.grant);
        let found = found.or_else(|| is_revoked.then_some(Claimed::Done));
        let is_new = usize::from(found.is_none());
        self.rooms.claims.take(is_new)?;
        match self.spend(claim.assertion, *claim.attempt.as_bytes(), now) {
            Ok(true) => {}
            refused => {
                self.rooms.claims.give_back(is_new);
                return refused.map(|_| Claimed::AssertionUsed);
            }
        }
        Ok(found.unwrap_or_else(|| {
            let end = after(now, claim.ttl);
            shard.claims.hold(claim.grant, claim.attempt, end);
            Claimed::Granted
        }))
    }

    async fn settle(&self, grant: GrantId, attempt: AttemptId) -> Result<bool, StoreError> {
        self.tidy(self.now());
        Ok(self.shard(&grant).claims.settle(&grant, &attempt))
    }

    async fn release(&self, grant: GrantId, attempt: AttemptId) -> Result<bool, StoreError> {
        self.tidy(self.now());
        let released = self.shard(&grant).claims.release(&grant, &attempt);
        self.rooms.claims.give_back(usize::from(released));
        Ok(released)
    }

    async fn begin_refresh(&self, attempt: RefreshAttempt) -> Result<RefreshTurn, StoreError> {
        self.turn(&attempt)
    }

    async fn commit_refresh(&self, rotation: Rotation) -> Result<Commit, StoreError> {
        let now = self.now();
        let grant = rotation.grant;
        let mut shard = self.shard(&grant);
        if self.revoked.contains(&grant) {
            return Ok(Commit::Revoked);
        }
        let grace_ends = after(now, rotation.grace);
        let Shard {
            records,
            records_due,
            ..
        } = &mut *shard;
        let Some(record) = records.get_mut(&grant) else {
            return Ok(Commit::LeaseLost);
        };
        let before = record.memo_length();
        let commit = record.commit(rotation, now);
        // The upstream was asked already: this answer is kept even above the limit.
        self.rooms.blobs.take_anyway(record.memo_length());
        self.rooms.blobs.give_back(before);
        if record.memo_length() > 0 {
            records_due.push(grace_ends, grant);
        }
        Ok(commit)
    }

    async fn abandon_refresh(&self, grant: GrantId, lease: LeaseId) -> Result<(), StoreError> {
        self.shard(&grant).abandon(&grant, &lease);
        Ok(())
    }

    async fn use_assertion(
        &self,
        assertion: AssertionHash,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        let now = self.now();
        self.tidy(now);
        let mut used = lock(self.assertions.of(assertion.as_bytes()));
        if used.user(&assertion).is_some() {
            return Ok(false);
        }
        self.rooms.assertions.take(1)?;
        used.insert(assertion, [0; 16], after(now, ttl));
        Ok(true)
    }

    async fn revoke(&self, grant: GrantId, ttl: Duration) -> Result<(), StoreError> {
        let now = self.now();
        self.tidy(now);
        let mut shard = self.shard(&grant);
        self.end(&mut shard, grant, after(now, ttl))
    }

    fn is_revoked(&self, grant: &GrantId) -> bool {
        self.revoked.contains(grant)
    }

    async fn park(&self, grant: GrantId, blob: Vec<u8>, ttl: Duration) -> Result<(), StoreError> {
        let now = self.now();
        self.tidy(now);
        let ends = after(now, ttl);
        let mut shard = self.shard(&grant);
        let before = shard.parked.get(&grant).map(|it| it.blob.len());
        self.rooms.blobs.take(blob.len())?;
        if before.is_none()
            && let Err(full) = self.rooms.parked.take(1)
        {
            self.rooms.blobs.give_back(blob.len());
            return Err(full);
        }
        self.rooms.blobs.give_back(before.unwrap_or(0));
        shard.parked.insert(grant, Parked { blob, ends });
        shard.parked_due.push(ends, grant);
        Ok(())
    }

    async fn parked(&self, grant: GrantId) -> Result<Option<Vec<u8>>, StoreError> {
        let now = self.now();
        let shard = self.shard(&grant);
        let parked = shard.parked.get(&grant).filter(|it| now < it.ends);
        Ok(parked.map(|it| it.blob.clone()))
    }

    async fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("peers", &self.peers)
            .field("claims", &self.rooms.claims.taken())
            .field("records", &self.rooms.records.taken())
            .field("parked", &self.rooms.parked.taken())
            .field("assertions", &self.rooms.assertions.taken())
            .field("blob_bytes", &self.rooms.blobs.taken())
            .field("revoked", &self.revoked.len())
            .finish_non_exhaustive()
    }
}
