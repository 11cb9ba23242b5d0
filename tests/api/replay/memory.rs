//! The contract on the memory store, and what only it promises: bounds, and races of threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use mcp_oauth::oauth::names::{AttemptId, GrantId, LeaseId, TokenHash};
use mcp_oauth::replay::memory::MemoryStore;
use mcp_oauth::replay::{Claimed, Commit, RefreshTurn, ReplayStore, StoreError};
use mcp_oauth::time::{Clock, ManualClock};

use super::{
    CLAIM, GRACE, GRANT, SLACK, START, World, assertion, attempt, attempt_id, claim, contract,
    grant, memo, rotation,
};

contract!(Some(World::in_memory()));

/// A store for few entries.
fn small(capacity: usize) -> (MemoryStore, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(START));
    let store = MemoryStore::new(capacity, Arc::clone(&clock) as Arc<dyn Clock>);
    (store, clock)
}

/// The memory store answers at once.
fn now<T>(answer: impl Future<Output = T>) -> T {
    answer.now_or_never().expect("an answer at once")
}

// F28
#[tokio::test]
async fn full_of_claims_it_refuses_and_forgets_nothing() {
    let (store, clock) = small(10);
    let claimed: Vec<(GrantId, AttemptId)> = (0..10).map(|_| (grant(), attempt_id())).collect();
    for (grant, attempt) in &claimed {
        let answer = store.claim(claim(*grant, *attempt)).await.unwrap();
        assert_eq!(answer, Claimed::Granted);
    }
    for _ in 0..100 {
        let refused = store.claim(claim(grant(), attempt_id())).await;
        assert!(matches!(refused, Err(StoreError::Full)));
    }
    for (grant, attempt) in &claimed {
        let again = store.claim(claim(*grant, attempt_id())).await.unwrap();
        assert_eq!(again, Claimed::Busy);
        assert!(store.settle(*grant, *attempt).await.unwrap());
        let again = store.claim(claim(*grant, attempt_id())).await.unwrap();
        assert_eq!(again, Claimed::Done);
    }
    clock.advance(CLAIM + SLACK);
    let answer = store.claim(claim(grant(), attempt_id())).await.unwrap();
    assert_eq!(answer, Claimed::Granted);
}

#[tokio::test]
async fn released_claim_makes_room() {
    let (store, _) = small(1);
    for _ in 0..10 {
        let (grant, attempt) = (grant(), attempt_id());
        let answer = store.claim(claim(grant, attempt)).await.unwrap();
        assert_eq!(answer, Claimed::Granted);
        assert!(store.release(grant, attempt).await.unwrap());
    }
}

// F28
#[tokio::test]
async fn full_of_records_it_refuses_new_grants_only() {
    let (store, clock) = small(1);
    let known = attempt(grant(), 0);
    assert_eq!(
        store.begin_refresh(known.clone()).await.unwrap(),
        RefreshTurn::Lead
    );
    let refused = store.begin_refresh(attempt(grant(), 0)).await;
    assert!(matches!(refused, Err(StoreError::Full)));
    let committed = store.commit_refresh(rotation(&known)).await.unwrap();
    assert_eq!(committed, Commit::Committed);
    let again = store.begin_refresh(attempt(known.grant, 0)).await.unwrap();
    assert_eq!(again, RefreshTurn::Repeat(memo(0)));
    // A revoked grant needs no record any more.
    store.revoke(known.grant, GRANT).await.unwrap();
    let other = store.begin_refresh(attempt(grant(), 0)).await.unwrap();
    assert_eq!(other, RefreshTurn::Lead);
    clock.advance(GRANT + SLACK);
    let other = store.begin_refresh(attempt(grant(), 0)).await.unwrap();
    assert_eq!(other, RefreshTurn::Lead);
}

// F28
#[tokio::test]
async fn full_of_assertions_it_refuses_and_leaves_the_code_untouched() {
    let (store, _) = small(1);
    let used = assertion();
    assert!(store.use_assertion(used, CLAIM).await.unwrap());
    let refused = store.use_assertion(assertion(), CLAIM).await;
    assert!(matches!(refused, Err(StoreError::Full)));
    let mut code = claim(grant(), attempt_id());
    code.assertion = Some((assertion(), CLAIM));
    assert!(matches!(
        store.claim(code.clone()).await,
        Err(StoreError::Full)
    ));
    code.assertion = None;
    assert_eq!(store.claim(code).await.unwrap(), Claimed::Granted);
    assert!(!store.use_assertion(used, CLAIM).await.unwrap());
}

// V4, F28
#[tokio::test]
async fn full_of_revocations_it_says_so_and_a_theft_opens_nothing() {
    let (store, _) = small(1);
    let stolen = attempt(grant(), 0);
    store.begin_refresh(stolen.clone()).await.unwrap();
    store.commit_refresh(rotation(&stolen)).await.unwrap();
    store.revoke(grant(), GRANT).await.unwrap();
    let refused = store.revoke(grant(), GRANT).await;
    assert!(matches!(refused, Err(StoreError::Full)));
    let mut fork = attempt(stolen.grant, 1);
    fork.token = TokenHash::of("another");
    assert!(matches!(
        store.begin_refresh(fork).await,
        Err(StoreError::Full)
    ));
}

#[tokio::test]
async fn full_of_blobs_it_refuses_to_park() {
    let (store, clock) = small(2);
    for _ in 0..2 {
        store.park(grant(), vec![0; 100], CLAIM).await.unwrap();
    }
    let refused = store.park(grant(), vec![0], CLAIM).await;
    assert!(matches!(refused, Err(StoreError::Full)));
    clock.advance(CLAIM + SLACK);
    store.park(grant(), vec![0], CLAIM).await.unwrap();

    let (store, _) = small(1_000);
    let refused = store.park(grant(), vec![0; 300 << 20], CLAIM).await;
    assert!(
        matches!(refused, Err(StoreError::Full)),
        "more than all blobs together may be"
    );
    store.park(grant(), vec![0], CLAIM).await.unwrap();
}

// F26, F29: everything that was kept is let go.
#[tokio::test]
async fn nothing_is_kept_after_its_end() {
    let (store, clock) = small(1_000);
    for _ in 0..500 {
        let (grant, attempt_id) = (grant(), attempt_id());
        let mut code = claim(grant, attempt_id);
        code.assertion = Some((assertion(), CLAIM));
        store.claim(code).await.unwrap();
        store.settle(grant, attempt_id).await.unwrap();
        store.park(grant, vec![0; 50], CLAIM).await.unwrap();
        let first = attempt(grant, 0);
        store.begin_refresh(first.clone()).await.unwrap();
        store.commit_refresh(rotation(&first)).await.unwrap();
    }
    for _ in 0..500 {
        store.revoke(grant(), GRANT).await.unwrap();
    }
    let kept = format!("{store:?}");
    for (what, count) in [("claims", 500), ("records", 500), ("parked", 500)] {
        assert!(kept.contains(&format!("{what}: {count}")), "{kept}");
    }
    clock.advance(GRACE + CLAIM + SLACK);
    store.release(grant(), attempt_id()).await.unwrap();
    let kept = format!("{store:?}");
    for what in [
        "claims: 0",
        "parked: 0",
        "assertions: 0",
        "blob_bytes: 0",
        "records: 500",
    ] {
        assert!(kept.contains(what), "{kept}");
    }
    clock.advance(GRANT);
    store.release(grant(), attempt_id()).await.unwrap();
    let kept = format!("{store:?}");
    assert!(
        kept.contains("records: 0") && kept.contains("revoked: 0"),
        "{kept}"
    );
}

// F26: without traffic too.
#[tokio::test(start_paused = true)]
async fn keeps_itself_tidy() {
    let (store, clock) = small(10);
    let store = Arc::new(store);
    store.keep_tidy();
    store.claim(claim(grant(), attempt_id())).await.unwrap();
    assert!(format!("{store:?}").contains("claims: 1"));
    clock.advance(CLAIM + SLACK);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(format!("{store:?}").contains("claims: 0"));
}

#[tokio::test]
async fn among_others_a_fork_is_no_theft_but_reuse_is() {
    let clock = Arc::new(ManualClock::at(START));
    let store = MemoryStore::among_others(10, clock);
    let first = attempt(grant(), 0);
    store.begin_refresh(first.clone()).await.unwrap();
    store.commit_refresh(rotation(&first)).await.unwrap();
    // Another process answered the same request, and the client kept its answer.
    let mut other = attempt(first.grant, 1);
    other.token = TokenHash::of("minted by another process");
    assert_eq!(
        store.begin_refresh(other.clone()).await.unwrap(),
        RefreshTurn::Lead
    );
    store.commit_refresh(rotation(&other)).await.unwrap();
    let reuse = store.begin_refresh(first).await.unwrap();
    assert_eq!(reuse, RefreshTurn::Reuse);
}

/// Runs on 64 threads at once.
fn race(run: impl Fn(u8) + Sync) {
    let barrier = std::sync::Barrier::new(64);
    std::thread::scope(|threads| {
        for number in 0..64 {
            let (run, barrier) = (&run, &barrier);
            threads.spawn(move || {
                barrier.wait();
                run(number);
            });
        }
    });
}

// TC4
#[test]
fn of_sixty_four_threads_one_redeems() {
    let (store, _) = small(1_000);
    for _ in 0..200 {
        let (grant, granted) = (grant(), AtomicUsize::new(0));
        race(|number| {
            let attempt = AttemptId::from_bytes([number; 16]);
            let answer = now(store.claim(claim(grant, attempt))).unwrap();
            if answer == Claimed::Granted {
                granted.fetch_add(1, Ordering::SeqCst);
                assert!(now(store.settle(grant, attempt)).unwrap());
            }
        });
        assert_eq!(granted.load(Ordering::SeqCst), 1);
    }
}

// TR4, F30
#[test]
fn of_sixty_four_threads_one_rotates_and_all_get_its_answer() {
    let (store, _) = small(1_000);
    let grant = grant();
    for generation in 0..100 {
        let led = AtomicUsize::new(0);
        race(|number| {
            let mut attempt = attempt(grant, generation);
            attempt.lease = LeaseId::from_bytes([number; 16]);
            attempt.grace_uses = 64;
            loop {
                match now(store.begin_refresh(attempt.clone())).unwrap() {
                    RefreshTurn::Lead => {
                        led.fetch_add(1, Ordering::SeqCst);
                        let commit = now(store.commit_refresh(rotation(&attempt))).unwrap();
                        assert_eq!(commit, Commit::Committed);
                        return;
                    }
                    RefreshTurn::Wait => std::thread::yield_now(),
                    RefreshTurn::Repeat(answer) => {
                        assert_eq!(answer, memo(generation));
                        return;
                    }
                    refused => panic!("{refused:?}"),
                }
            }
        });
        assert_eq!(led.load(Ordering::SeqCst), 1);
    }
}

// V2: whichever comes first, a revoked grant never goes on.
#[test]
fn revocation_wins_over_racing_refreshes() {
    let (store, _) = small(1_000);
    for _ in 0..200 {
        let grant = grant();
        race(|number| {
            if number == 0 {
                now(store.revoke(grant, GRANT)).unwrap();
                return;
            }
            let attempt = attempt(grant, 0);
            if now(store.begin_refresh(attempt.clone())).unwrap() == RefreshTurn::Lead {
                now(store.commit_refresh(rotation(&attempt))).unwrap();
            }
        });
        for generation in 0..2 {
            let turn = now(store.begin_refresh(attempt(grant, generation))).unwrap();
            assert_eq!(turn, RefreshTurn::Revoked);
        }
    }
}

// F28: the bound holds to the entry.
#[test]
fn capacity_is_exact_under_a_race() {
    let (store, _) = small(100);
    let granted = AtomicUsize::new(0);
    race(|_| {
        for _ in 0..10 {
            let answer = now(store.claim(claim(grant(), attempt_id())));
            granted.fetch_add(usize::from(answer.is_ok()), Ordering::SeqCst);
        }
    });
    assert_eq!(granted.load(Ordering::SeqCst), 100);
}
