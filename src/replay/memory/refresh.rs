//! The refresh record: tells a lost answer from a stolen token (OAuth 2.1 §4.3.1).
//!
//! Pure: one record, one question, the time. Refuses a token that was superseded, once the grace
//! is over, and a second token of one generation at once.

use crate::oauth::names::{LeaseId, TokenHash};
use crate::replay::shards::{Millis, after};
use crate::replay::{Commit, RefreshAttempt, RefreshTurn, Rotation};

/// What is known of one grant's refresh tokens.
#[derive(Debug)]
pub(super) struct RefreshRecord {
    generation: u64,
    current: TokenHash,
    previous: Option<Box<Previous>>,
    lease: Option<Lease>,
    /// When the grant ends.
    pub(super) ends: Millis,
}

#[derive(Debug)]
struct Previous {
    generation: u64,
    token: TokenHash,
    rotated_at: Millis,
    grace_ends: Millis,
    request: TokenHash,
    uses: u32,
    memo: Option<Vec<u8>>,
    older: Vec<Superseded>,
}

/// A token before the previous one, that its client may still hold in good faith.
#[derive(Debug)]
struct Superseded {
    generation: u64,
    token: TokenHash,
    rotated_at: Millis,
    grace_ends: Millis,
}

/// How many of them are remembered.
const OLDER: usize = 4;

#[derive(Debug)]
struct Lease {
    id: LeaseId,
    ends: Millis,
    request: TokenHash,
}

/// What a fork means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peers {
    /// Nobody else rotates: two tokens of one generation are a theft.
    None,
    /// Other processes rotate unseen: two tokens of one generation may be an honest race.
    Unseen,
}

impl RefreshRecord {
    /// A record that begins with the presented token, under its lease.
    pub(super) fn adopt(attempt: &RefreshAttempt, now: Millis) -> Self {
        let mut record = Self {
            generation: attempt.generation,
            current: attempt.token,
            previous: None,
            lease: None,
            ends: after(now, attempt.ttl),
        };
        record.lead(attempt, now);
        record
    }

    /// Whether the attempt holds the lease already: its answer was lost.
    pub(super) fn is_led_by(&self, attempt: &RefreshAttempt) -> bool {
        let holds = self.lease.as_ref().is_some_and(|it| it.id == attempt.lease);
        holds && self.is_current(attempt)
    }

    /// Whose turn it is. After `Reuse` and `Fork` the caller revokes the grant.
    pub(super) fn turn(
        &mut self,
        attempt: &RefreshAttempt,
        peers: Peers,
        now: Millis,
    ) -> RefreshTurn {
        self.ends = self.ends.max(after(now, attempt.ttl));
        if attempt.generation > self.generation {
            return self.start_from(attempt, now);
        }
        if attempt.generation == self.generation {
            if !self.is_current(attempt) {
                return match peers {
                    Peers::None => RefreshTurn::Fork,
                    Peers::Unseen => self.start_from(attempt, now),
                };
            }
            return match &self.lease {
                Some(lease) if lease.id != attempt.lease && now < lease.ends => RefreshTurn::Wait,
                _ => self.lead(attempt, now),
            };
        }
        match &mut self.previous {
            Some(previous) if previous.generation == attempt.generation => {
                previous.turn(attempt, now)
            }
            Some(previous) => previous.older_turn(attempt, now),
            None => RefreshTurn::Reuse,
        }
    }

    /// Makes the rotation's token the current one.
    pub(super) fn commit(&mut self, rotation: Rotation, now: Millis) -> Commit {
        if self.generation == rotation.generation && self.current.matches(&rotation.token) {
            // The answer to this very commit was lost.
            return Commit::Committed;
        }
        // A lease past its time is still held until another takes it: what the upstream gave for
        // it is not thrown away. The record only ever moves forward.
        let moves_on = rotation.generation > self.generation;
        let held = self.lease.take_if(|it| moves_on && it.id == rotation.lease);
        let Some(lease) = held else {
            return Commit::LeaseLost;
        };
        let has_grace = !rotation.grace.is_zero();
        let older = self.previous.take().map(|it| it.into_older(now));
        self.previous = Some(Box::new(Previous {
            generation: self.generation,
            token: self.current,
            rotated_at: now,
            grace_ends: after(now, rotation.grace),
            request: lease.request,
            uses: 0,
            memo: has_grace.then_some(rotation.memo),
            older: older.unwrap_or_default(),
        }));
        self.generation = rotation.generation;
        self.current = rotation.token;
        self.ends = self.ends.max(after(now, rotation.ttl));
        Commit::Committed
    }

    /// Gives the lease back, if it is this one.
    pub(super) fn abandon(&mut self, lease: &LeaseId) {
        self.lease.take_if(|it| it.id == *lease);
    }

    /// Length of the remembered answer.
    pub(super) fn memo_length(&self) -> usize {
        let memo = self.previous.as_ref().and_then(|it| it.memo.as_ref());
        memo.map_or(0, Vec::len)
    }

    /// Forgets an answer whose grace is over, and says how long it was.
    pub(super) fn forget_memo(&mut self, now: Millis) -> usize {
        let length = self.memo_length();
        let Some(previous) = &mut self.previous else {
            return 0;
        };
        previous.older.retain(|it| now < it.grace_ends);
        previous.older.shrink_to_fit();
        if previous.grace_ends > now {
            return 0;
        }
        previous.memo = None;
        length
    }

    fn is_current(&self, attempt: &RefreshAttempt) -> bool {
        self.generation == attempt.generation && self.current.matches(&attempt.token)
    }

    /// The record only ever moves forward: what it did not see happen, it believes.
    fn start_from(&mut self, attempt: &RefreshAttempt, now: Millis) -> RefreshTurn {
        self.generation = attempt.generation;
        self.current = attempt.token;
        self.previous = None;
        self.lead(attempt, now)
    }

    fn lead(&mut self, attempt: &RefreshAttempt, now: Millis) -> RefreshTurn {
        self.lease = Some(Lease {
            id: attempt.lease,
            ends: after(now, attempt.lease_ttl),
            request: attempt.request,
        });
        RefreshTurn::Lead
    }
}

impl Previous {
    fn turn(&mut self, attempt: &RefreshAttempt, now: Millis) -> RefreshTurn {
        if !self.token.matches(&attempt.token) {
            return RefreshTurn::Fork;
        }
        // The shorter of the two graces: the answer is kept no longer than was said at the commit.
        let grace_ends = self.grace_ends.min(after(self.rotated_at, attempt.grace));
        let Some(memo) = self.memo.as_ref().filter(|_| now < grace_ends) else {
            return RefreshTurn::Reuse;
        };
        if self.request != attempt.request {
            return RefreshTurn::OtherRequest;
        }
        if self.uses >= attempt.grace_uses {
            return RefreshTurn::TooOften;
        }
        self.uses += 1;
        RefreshTurn::Repeat(memo.clone())
    }

    /// What an older token is answered: nothing that it could use, whatever its age.
    fn older_turn(&self, attempt: &RefreshAttempt, now: Millis) -> RefreshTurn {
        let is_it = |it: &&Superseded| it.generation == attempt.generation;
        let Some(older) = self.older.iter().find(is_it) else {
            return RefreshTurn::Reuse;
        };
        let grace_ends = older.grace_ends.min(after(older.rotated_at, attempt.grace));
        if now >= grace_ends {
            RefreshTurn::Reuse
        } else if older.token.matches(&attempt.token) {
            RefreshTurn::Superseded
        } else {
            RefreshTurn::Fork
        }
    }

    /// What stays known once another token is the previous one.
    fn into_older(self, now: Millis) -> Vec<Superseded> {
        let mut older = self.older;
        older.push(Superseded {
            generation: self.generation,
            token: self.token,
            rotated_at: self.rotated_at,
            grace_ends: self.grace_ends,
        });
        older.retain(|it| now < it.grace_ends);
        let surplus = older.len().saturating_sub(OLDER);
        older.drain(..surplus);
        older
    }
}
