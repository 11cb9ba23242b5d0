//! Claims and used assertions in memory, in the fewest bytes (RFC 6749 §4.1.2, RFC 7523 §3).
//!
//! Refuses a second claim of a grant, by whichever code of that grant, and evicts nothing alive.

use std::collections::HashMap;

use crate::oauth::names::{AssertionHash, AttemptId, GrantId};
use crate::replay::Claimed;
use crate::replay::shards::{Buckets, ByOwnBits, Millis};

/// The claims of one shard.
#[derive(Debug, Default)]
pub(super) struct Claims(Buckets<Bucket>);

/// Claims that end together. A settled claim is sixteen bytes: 96 bits of a random grant id are
/// told apart as surely as 128, and the rest knows its attempt again.
#[derive(Debug, Default)]
struct Bucket {
    busy: HashMap<GrantId, AttemptId, ByOwnBits>,
    done: HashMap<[u8; 12], [u8; 4], ByOwnBits>,
}

impl Claims {
    /// What a claim would be answered; `None` if the grant is free.
    pub(super) fn find(&self, grant: &GrantId, attempt: &AttemptId) -> Option<Claimed> {
        self.0.iter().find_map(|bucket| {
            if let Some(holder) = bucket.busy.get(grant) {
                return Some(if holder == attempt {
                    Claimed::Granted
                } else {
                    Claimed::Busy
                });
            }
            let is_done = bucket.done.contains_key(&short(grant));
            is_done.then_some(Claimed::Done)
        })
    }

    /// Holds the claim for the attempt. The grant is free.
    pub(super) fn hold(&mut self, grant: GrantId, attempt: AttemptId, end: Millis) {
        if let Some(bucket) = self.0.until(end) {
            bucket.busy.insert(grant, attempt);
        }
    }

    /// Marks the attempt's claim as done; false if it is not the attempt's.
    pub(super) fn settle(&mut self, grant: &GrantId, attempt: &AttemptId) -> bool {
        self.0.iter_mut().any(|bucket| {
            if bucket.busy.get(grant) == Some(attempt) {
                bucket.busy.remove(grant);
                bucket.done.insert(short(grant), tag(attempt));
                return true;
            }
            bucket.done.get(&short(grant)) == Some(&tag(attempt))
        })
    }

    /// Gives the attempt's claim back; false if it is not the attempt's.
    pub(super) fn release(&mut self, grant: &GrantId, attempt: &AttemptId) -> bool {
        self.0.iter_mut().any(|bucket| {
            let is_ours = bucket.busy.get(grant) == Some(attempt);
            is_ours && bucket.busy.remove(grant).is_some()
        })
    }

    /// Takes out what has ended, and how many claims that is.
    pub(super) fn take_ended(&mut self, now: Millis) -> (usize, impl Sized + use<>) {
        let ended = self.0.take_ended(now);
        let sizes = ended.iter().map(|it| it.busy.len() + it.done.len());
        (sizes.sum(), ended)
    }
}

fn short(grant: &GrantId) -> [u8; 12] {
    let [head @ .., _, _, _, _] = grant.as_bytes();
    *head
}

fn tag(attempt: &AttemptId) -> [u8; 4] {
    let [head @ .., _, _, _, _, _, _, _, _, _, _, _, _] = attempt.as_bytes();
    *head
}

/// The used assertions of one shard, each with the attempt or lease that used it. Clients choose
/// `jti`, so the tables are keyed by a secret of their own.
#[derive(Debug, Default)]
pub(super) struct Assertions(Buckets<HashMap<AssertionHash, [u8; 16]>>);

impl Assertions {
    /// Who used it.
    pub(super) fn user(&self, assertion: &AssertionHash) -> Option<&[u8; 16]> {
        self.0.iter().find_map(|bucket| bucket.get(assertion))
    }

    /// Remembers who used it. Nobody has yet.
    pub(super) fn insert(&mut self, assertion: AssertionHash, user: [u8; 16], end: Millis) {
        if let Some(bucket) = self.0.until(end) {
            bucket.insert(assertion, user);
        }
    }

    /// Takes out what has ended, and how many assertions that is.
    pub(super) fn take_ended(&mut self, now: Millis) -> (usize, impl Sized + use<>) {
        let ended = self.0.take_ended(now);
        (ended.iter().map(HashMap::len).sum(), ended)
    }
}
