//! The replay store in memory: time of its operations, and bytes of a claim and of a grant at a
//! million each (F26, F27).
//!
//! `cargo bench --bench replay`; the bytes are printed first, as resident memory.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion};
use futures_util::FutureExt as _;
use mcp_oauth::entropy;
use mcp_oauth::oauth::names::{AttemptId, GrantId, LeaseId, TokenHash};
use mcp_oauth::replay::memory::MemoryStore;
use mcp_oauth::replay::{Claim, Claimed, RefreshAttempt, ReplayStore, Rotation};
use mcp_oauth::time::{Clock, SystemClock, Timestamp};

const MILLION: usize = 1_000_000;

fn store(capacity: usize) -> MemoryStore {
    MemoryStore::new(capacity, Arc::new(SystemClock::start()) as Arc<dyn Clock>)
}

/// The memory store answers at once.
fn now<T>(answer: impl Future<Output = T>) -> T {
    answer.now_or_never().unwrap_or_else(|| unreachable!())
}

fn claim(grant: GrantId, attempt: AttemptId) -> Claim {
    Claim {
        grant,
        attempt,
        issued_at: Timestamp::from_secs(1_800_000_000),
        ttl: Duration::from_secs(180),
        assertion: None,
    }
}

/// Claims and settles a new code.
fn redeem(store: &MemoryStore) {
    let mut rng = entropy::rng();
    let (grant, attempt) = (GrantId::random(&mut rng), AttemptId::random(&mut rng));
    assert!(matches!(
        now(store.claim(claim(grant, attempt))),
        Ok(Claimed::Granted)
    ));
    assert!(matches!(now(store.settle(grant, attempt)), Ok(true)));
}

/// Resident memory of this process.
fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4_096)
}

#[expect(clippy::print_stdout, reason = "the figure is what the bench is for")]
fn print_bytes_of_a_claim() -> MemoryStore {
    let store = store(2 * MILLION);
    let before = resident();
    for _ in 0..MILLION {
        redeem(&store);
    }
    if let (Some(before), Some(after)) = (before, resident()) {
        let tenths = (after - before) * 10 / MILLION as u64;
        println!(
            "claim: {}.{} bytes each at 1,000,000 (resident)",
            tenths / 10,
            tenths % 10
        );
    }
    store
}

/// A million grants, each refreshed once; their answers are over.
#[expect(clippy::print_stdout, reason = "the figure is what the bench is for")]
fn print_bytes_of_a_grant() {
    let store = store(2 * MILLION);
    let mut rng = entropy::rng();
    let before = resident();
    for _ in 0..MILLION {
        let token = |it: u64| TokenHash::of(&it.to_string());
        let (attempt, rotation) = rotation(GrantId::random(&mut rng), 0, token(0), token(1));
        assert!(now(store.begin_refresh(attempt)).is_ok());
        assert!(now(store.commit_refresh(rotation)).is_ok());
    }
    if let (Some(before), Some(after)) = (before, resident()) {
        let each = (after - before) / MILLION as u64;
        println!("grant: {each} bytes each at 1,000,000, refreshed once (resident)");
    }
}

fn claims(criterion: &mut Criterion, full: &MemoryStore) {
    let mut group = criterion.benchmark_group("replay");
    let fresh = || {
        let mut rng = entropy::rng();
        claim(GrantId::random(&mut rng), AttemptId::random(&mut rng))
    };
    group.bench_function("claim_at_a_million", |bench| {
        bench.iter_batched(
            fresh,
            |claim| {
                let (grant, attempt) = (claim.grant, claim.attempt);
                let claimed = now(full.claim(claim));
                // Given back, so that the number stays.
                (claimed, now(full.release(grant, attempt)))
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("claim_refused_at_a_million", |bench| {
        let (grant, attempt) = (fresh().grant, fresh().attempt);
        assert!(now(full.claim(claim(grant, attempt))).is_ok());
        assert!(now(full.settle(grant, attempt)).is_ok());
        let other = fresh().attempt;
        bench.iter(|| now(full.claim(claim(grant, other))));
    });
    group.finish();
}

fn refreshes(criterion: &mut Criterion) {
    let store = store(MILLION);
    let mut rng = entropy::rng();
    let grants: Vec<GrantId> = (0..100_000).map(|_| GrantId::random(&mut rng)).collect();
    let mut turn = 0_usize;
    criterion.bench_function("replay/begin_and_commit_refresh", |bench| {
        bench.iter_batched(
            || {
                let generation = (turn / grants.len()) as u64;
                let grant = grants.get(turn % grants.len()).copied();
                turn += 1;
                let token = |it: u64| TokenHash::of(&format!("{grant:?} {it}"));
                grant.map(|it| rotation(it, generation, token(generation), token(generation + 1)))
            },
            |pair| {
                pair.map(|(attempt, rotation)| {
                    (
                        now(store.begin_refresh(attempt)),
                        now(store.commit_refresh(rotation)),
                    )
                })
            },
            BatchSize::SmallInput,
        );
    });
}

fn rotation(
    grant: GrantId,
    generation: u64,
    token: TokenHash,
    next: TokenHash,
) -> (RefreshAttempt, Rotation) {
    let lease = LeaseId::random(&mut entropy::rng());
    let ttl = Duration::from_secs(90 * 86_400);
    // No grace: a memo for each of a million would measure the allocator.
    let grace = Duration::ZERO;
    let attempt = RefreshAttempt {
        grant,
        generation,
        token,
        request: token,
        lease,
        lease_ttl: Duration::from_secs(15),
        grace,
        grace_uses: 20,
        ttl,
        assertion: None,
    };
    let rotation = Rotation {
        grant,
        lease,
        generation: generation + 1,
        token: next,
        memo: Vec::new(),
        grace,
        ttl,
    };
    (attempt, rotation)
}

fn revocations(criterion: &mut Criterion) {
    let store = store(MILLION);
    let mut rng = entropy::rng();
    for _ in 0..100_000 {
        let revoked = store.revoke(GrantId::random(&mut rng), Duration::from_secs(86_400));
        assert!(now(revoked).is_ok());
    }
    let grants: Vec<GrantId> = (0..1_024).map(|_| GrantId::random(&mut rng)).collect();
    let mut next = grants.iter().cycle();
    criterion.bench_function("replay/is_revoked_among_100_000", |bench| {
        bench.iter(|| next.next().map(|grant| store.is_revoked(black_box(grant))));
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    // Both before anything is freed: memory that is used again would not show.
    let full = print_bytes_of_a_claim();
    print_bytes_of_a_grant();
    claims(&mut criterion, &full);
    refreshes(&mut criterion);
    revocations(&mut criterion);
    criterion.final_summary();
}
