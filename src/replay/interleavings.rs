//! The memory store under every order of its locks that a thousand random schedules find.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use shuttle::scheduler::RandomScheduler;
use shuttle::{Config, Runner, thread};

use crate::oauth::names::{AssertionHash, AttemptId, GrantId, LeaseId, TokenHash};
use crate::replay::memory::MemoryStore;
use crate::replay::{
    Claim, Claimed, Commit, RefreshAttempt, RefreshTurn, ReplayStore, Rotation, StoreError,
};
use crate::time::{Clock, ManualClock, Timestamp};

const SCHEDULES: usize = 1_000;
const MINUTE: Duration = Duration::from_secs(60);
const START: Timestamp = Timestamp::from_secs(1_800_000_000);

fn store(capacity: usize) -> (Arc<MemoryStore>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(START));
    let store = MemoryStore::new(capacity, Arc::clone(&clock) as Arc<dyn Clock>);
    (Arc::new(store), clock)
}

/// The memory store answers at once.
fn now<T>(answer: impl Future<Output = T>) -> T {
    answer.now_or_never().expect("an answer at once")
}

/// Runs a race under many schedules.
fn explore(run: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    // A store is some dozens of kilobytes before it is on the heap.
    config.stack_size = 1 << 20;
    Runner::new(RandomScheduler::new(SCHEDULES), config).run(run);
}

/// What three threads come to.
fn race<T: Send + 'static>(run: impl Fn(u8) -> T + Send + Sync + 'static) -> Vec<T> {
    let run = Arc::new(run);
    let threads: Vec<_> = (0..3)
        .map(|number| {
            let run = Arc::clone(&run);
            thread::spawn(move || run(number))
        })
        .collect();
    threads
        .into_iter()
        .map(|it| it.join().expect("no panic"))
        .collect()
}

fn grant(number: u8) -> GrantId {
    GrantId::from_bytes([number + 1; 16])
}

fn claim(grant: GrantId, attempt: u8) -> Claim {
    Claim {
        grant,
        attempt: AttemptId::from_bytes([attempt + 1; 16]),
        issued_at: START,
        ttl: 3 * MINUTE,
        assertion: None,
    }
}

fn attempt(generation: u64, lease: u8) -> RefreshAttempt {
    RefreshAttempt {
        grant: grant(0),
        generation,
        token: TokenHash::of(&generation.to_string()),
        request: TokenHash::of("scope"),
        lease: LeaseId::from_bytes([lease + 1; 16]),
        lease_ttl: MINUTE,
        grace: 2 * MINUTE,
        grace_uses: 20,
        ttl: 60 * MINUTE,
        assertion: None,
    }
}

fn rotation(attempt: &RefreshAttempt) -> Rotation {
    Rotation {
        grant: attempt.grant,
        lease: attempt.lease,
        generation: attempt.generation + 1,
        token: TokenHash::of(&(attempt.generation + 1).to_string()),
        memo: vec![1],
        grace: attempt.grace,
        ttl: attempt.ttl,
    }
}

// TC4
#[test]
fn one_of_three_claims_is_granted_in_every_schedule() {
    explore(|| {
        let (store, clock) = store(10);
        let answers = race(move |number| {
            let claim = claim(grant(0), number);
            // The past is dropped in between.
            clock.advance(Duration::from_secs(11));
            let answer = now(store.claim(claim.clone())).expect("room");
            if answer == Claimed::Granted {
                assert!(now(store.settle(claim.grant, claim.attempt)).expect("an answer"));
            } else {
                assert!(!now(store.release(claim.grant, claim.attempt)).expect("an answer"));
            }
            answer
        });
        let granted = answers.iter().filter(|it| **it == Claimed::Granted);
        assert_eq!(granted.count(), 1, "{answers:?}");
    });
}

// TR4, F30
#[test]
fn one_of_three_refreshes_leads_in_every_schedule() {
    explore(|| {
        let (store, _) = store(10);
        let seen = Arc::clone(&store);
        let answers = race(move |number| {
            let attempt = attempt(0, number);
            for _ in 0..20 {
                match now(store.begin_refresh(attempt.clone())).expect("room") {
                    RefreshTurn::Wait => thread::yield_now(),
                    RefreshTurn::Lead => {
                        let commit = now(store.commit_refresh(rotation(&attempt)));
                        assert_eq!(commit.expect("an answer"), Commit::Committed);
                        return Some(true);
                    }
                    RefreshTurn::Repeat(memo) => {
                        assert_eq!(memo, [1]);
                        return Some(false);
                    }
                    refused => panic!("an honest request was refused: {refused:?}"),
                }
            }
            None
        });
        let led = answers.iter().filter(|it| **it == Some(true));
        assert_eq!(led.count(), 1, "{answers:?}");
        assert!(!seen.is_revoked(&grant(0)));
    });
}

// V2
#[test]
fn revocation_wins_in_every_schedule() {
    explore(|| {
        let (store, _) = store(10);
        let seen = Arc::clone(&store);
        race(move |number| {
            if number == 0 {
                now(store.revoke(grant(0), 60 * MINUTE)).expect("room");
                return;
            }
            let attempt = attempt(0, number);
            if now(store.begin_refresh(attempt.clone())).expect("room") == RefreshTurn::Lead {
                now(store.commit_refresh(rotation(&attempt))).expect("an answer");
            }
        });
        for generation in 0..2 {
            let turn = now(seen.begin_refresh(attempt(generation, 9))).expect("an answer");
            assert_eq!(turn, RefreshTurn::Revoked);
        }
    });
}

// F28
#[test]
fn room_for_two_takes_two_in_every_schedule() {
    explore(|| {
        let (store, _) = store(2);
        let answers = race(move |number| now(store.claim(claim(grant(number), number))));
        let full = answers
            .iter()
            .filter(|it| matches!(it, Err(StoreError::Full)));
        assert_eq!(full.count(), 1, "{answers:?}");
    });
}

#[test]
fn assertion_is_used_by_one_of_three_in_every_schedule() {
    explore(|| {
        let (store, _) = store(10);
        let shared = AssertionHash::of("one assertion");
        let seen = Arc::clone(&store);
        let answers = race(move |number| {
            let mut claim = claim(grant(number), number);
            claim.assertion = Some((shared, MINUTE));
            now(store.claim(claim)).expect("room")
        });
        let granted = answers.iter().filter(|it| **it == Claimed::Granted);
        assert_eq!(granted.count(), 1, "{answers:?}");
        // The codes of the others are untouched.
        for (number, answer) in (0..3).zip(&answers) {
            let again = now(seen.claim(claim(grant(number), 9))).expect("room");
            let expected = if *answer == Claimed::Granted {
                Claimed::Busy
            } else {
                Claimed::Granted
            };
            assert_eq!(again, expected);
        }
    });
}
