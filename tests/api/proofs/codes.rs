//! A million codes that are never redeemed, and a million redeemed within the life of a claim.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mcp_oauth::entropy;
use mcp_oauth::oauth::names::GrantId;
use mcp_oauth::oauth::records::AuthorizationCode;
use mcp_oauth::replay::memory::MemoryStore;
use mcp_oauth::seal::Sealed;
use mcp_oauth::time::ManualClock;
use tokio::task::JoinSet;

use super::{count, is_alone, measured, thousands};
use crate::api::support::client::Client;
use crate::api::support::frugal::Frugal;
use crate::api::support::world::{START, World};

/// What warms it up: allocators, buffers, counters.
const WARM: usize = 300;
/// Redemptions at once.
const AT_ONCE: usize = 8;
/// F26, in bytes.
const MOST: u64 = 80 << 20;
const LEFT: u64 = 10 << 20;
/// F27, in bytes.
const UNREDEEMED: u64 = 10 << 20;
/// From then on nothing of a code that was redeemed at the start is remembered.
const OVER: Duration = Duration::from_secs(300);

/// Resident memory of this process in bytes.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.unwrap().trim().strip_suffix(" kB").unwrap();
    kilobytes.parse::<u64>().unwrap() << 10
}

/// Redeems so many fresh codes at `/token`, several at once.
async fn redeem(world: &Arc<World>, client: &Arc<Client>, code: &AuthorizationCode, count: usize) {
    let mut tasks = JoinSet::new();
    for worker in 0..AT_ONCE {
        let (world, client, mut code) = (Arc::clone(world), Arc::clone(client), code.clone());
        tasks.spawn(async move {
            for _ in (worker..count).step_by(AT_ONCE) {
                code.grant = GrantId::random(&mut entropy::rng());
                let keys = world.app.keys.current();
                let sealed = keys.seal(&code, &mut entropy::rng()).unwrap();
                let answer = client.redeem(&world, sealed.as_str()).await;
                assert_eq!(answer.status, 200, "{}", answer.body);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// Signs in so many times, several at once, and leaves the codes where they are.
async fn mint(world: &Arc<World>, client: &Client, count: usize) {
    let mut tasks = JoinSet::new();
    for worker in 0..AT_ONCE {
        let (world, mut client) = (Arc::clone(world), client.clone());
        tasks.spawn(async move {
            for _ in (worker..count).step_by(AT_ONCE) {
                client.code(&world, "alice").await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

// F27
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_that_nobody_redeems_leave_nothing() {
    let count = count(200);
    let world = Arc::new(Frugal::behind(World::new(), |_| {}));
    let client = Client::register(&world).await;
    mint(&world, &client, WARM).await;
    let before = memory();
    let begun = Instant::now();
    mint(&world, &client, count).await;
    let (took, after) = (begun.elapsed().as_secs_f64(), memory());
    let growth = after.saturating_sub(before);
    let rate = f64::from(u32::try_from(count).unwrap()) / took;
    measured(&format!(
        "{} codes in {took:.0} s ({rate:.0} a second): {} KB before, {} KB more after",
        thousands(count),
        thousands(usize::try_from(before >> 10).unwrap()),
        thousands(usize::try_from(growth >> 10).unwrap()),
    ));
    assert!(!is_alone() || growth < UNREDEEMED);
}

// F26
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_for_redeemed_codes_is_bounded_and_comes_back() {
    let count = count(300);
    let clock = Arc::new(ManualClock::at(START));
    let store = Arc::new(MemoryStore::new(2 * count + WARM, Arc::clone(&clock) as _));
    store.keep_tidy();
    let world = Frugal::behind(World::over(|_| store), |_| {});
    let mut client = Client::register(&world).await;
    let code = client.code(&world, "alice").await;
    let code = Sealed::<AuthorizationCode>::from_wire(code);
    let code = world.app.keys.open(&code, START).unwrap().record;
    let (world, client) = (Arc::new(world), Arc::new(client));
    redeem(&world, &client, &code, WARM).await;
    let before = memory();
    let begun = Instant::now();
    redeem(&world, &client, &code, count).await;
    let (took, peak) = (begun.elapsed().as_secs_f64(), memory());
    clock.advance(OVER);
    // It tidies up every ten seconds.
    let begun = Instant::now();
    while is_alone() && memory() > before + LEFT && begun.elapsed() < Duration::from_secs(40) {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let after = memory();
    let growth = peak.saturating_sub(before);
    let left = after.saturating_sub(before);
    let rate = f64::from(u32::try_from(count).unwrap()) / took;
    measured(&format!(
        "{} codes in {took:.0} s ({rate:.0} a second): {} MB before, {} MB more at the peak, {} MB more after",
        thousands(count),
        before >> 20,
        growth >> 20,
        left >> 20,
    ));
    assert!(!is_alone() || growth <= MOST && left <= LEFT);
}
