//! A hundred thousand grants that refresh every ten minutes: how long each waits, and what the store
//! holds. One of the long proofs.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mcp_oauth::entropy;
use mcp_oauth::oauth::names::GrantId;
use mcp_oauth::oauth::records::RefreshToken;
use mcp_oauth::seal::Sealed;
use tokio::task::JoinSet;

use super::Rig;
use crate::api::proofs::{count, measured, thousands};
use crate::api::replay::Time as _;
use crate::api::support::client::{Client, Tokens};
use crate::api::support::frugal::Frugal;
use crate::api::support::world::{START, World};

/// How often a grant refreshes, in seconds.
const PERIOD: usize = 600;
/// In one second of so many, ten times as many refresh; in the others fewer.
const BURST_EVERY: usize = 30;
/// F29. A machine that is busy with other things is the reason for three times as long.
const P99: Duration = Duration::from_millis(50);
const MEMORY: u64 = 100_000_000;
/// How many refresh at once while the store is filled.
const AT_ONCE: usize = 16;
/// From so many on, times are judged.
const MANY: usize = 1_000;

/// Every grant's refresh token as it is now.
struct Grants {
    world: World,
    client: Client,
    tokens: Vec<Mutex<String>>,
}

impl Grants {
    /// Sealed from one that a sign-in gave.
    async fn sealed(world: World, count: usize) -> Self {
        let mut client = Client::register(&world).await;
        let token = client.login(&world, "alice").await.refresh;
        let keys = world.app.keys.current();
        let token = keys.open(&Sealed::<RefreshToken>::from_wire(token), START);
        let mut token = token.expect("a refresh token").record;
        let mut seal = || {
            token.grant = GrantId::random(&mut entropy::rng());
            let sealed = keys.seal(&token, &mut entropy::rng()).expect("sealed");
            Mutex::new(sealed.into_wire())
        };
        let tokens = (0..count).map(|_| seal()).collect();
        Self {
            world,
            client,
            tokens,
        }
    }

    /// Refreshes one; false where the store was too busy, which is 503.
    async fn refresh(&self, number: usize) -> bool {
        let place = &self.tokens[number % self.tokens.len()];
        let token = place.lock().expect("nobody panicked").clone();
        let answer = self.client.refresh(&self.world, &token).await;
        if answer.status == 503 {
            return false;
        }
        *place.lock().expect("nobody panicked") = Tokens::of(&answer).refresh;
        true
    }
}

/// Every grant refreshes once, many at a time, again where it is told to.
async fn fill(grants: &Arc<Grants>) {
    let mut tasks = JoinSet::new();
    for worker in 0..AT_ONCE {
        let grants = Arc::clone(grants);
        tasks.spawn(async move {
            for number in (worker..grants.tokens.len()).step_by(AT_ONCE) {
                while !grants.refresh(number).await {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a refresh");
    }
}

/// How many refresh in a second: so many on average.
fn in_second(second: usize, average: usize) -> usize {
    match second % BURST_EVERY {
        1 => 10 * average,
        _ => average * (BURST_EVERY - 10) / (BURST_EVERY - 1),
    }
}

/// Refreshes at their due times, whether or not earlier ones are done; how long each took from then.
async fn steadily(grants: &Arc<Grants>, seconds: usize, average: usize) -> Vec<Duration> {
    let (begun, mut tasks) = (Instant::now(), JoinSet::new());
    let mut number = 0;
    for second in 0..seconds {
        let many = in_second(second, average);
        for place in 0..many {
            let place = u32::try_from(place).expect("few");
            let pause = Duration::from_secs(1) / u32::try_from(many).expect("few") * place;
            let due = begun + Duration::from_secs(second as u64) + pause;
            tokio::time::sleep_until(due.into()).await;
            let (grants, this) = (Arc::clone(grants), number);
            tasks.spawn(async move {
                assert!(grants.refresh(this).await, "told to come back");
                due.elapsed()
            });
            number += 1;
        }
    }
    let mut times = Vec::with_capacity(number);
    while let Some(done) = tasks.join_next().await {
        times.push(done.expect("a refresh"));
    }
    times.sort();
    times
}

impl Rig {
    /// What the store says that it uses, in bytes.
    async fn memory(&self) -> u64 {
        let info = self.server.tell(&["INFO", "memory"]).await;
        let info: String = redis::from_redis_value(info).expect("text");
        let line = info.lines().find_map(|it| it.strip_prefix("used_memory:"));
        line.expect("a line").trim().parse().expect("a number")
    }
}

// F29
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_of_many_grants_are_quick_and_small() {
    let Some(rig) = Rig::start().await else {
        return;
    };
    let count = count(300);
    let store = Arc::new(rig.first().await);
    let world = Frugal::behind(World::over(|_| store), |config| {
        // Answers of the filling must not count.
        config.tokens.refresh_grace = Duration::from_secs(1);
    });
    rig.advance(Duration::from_secs(5)).await;
    let grants = Arc::new(Grants::sealed(world, count).await);
    fill(&grants).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let Some(Grants {
        world,
        client,
        tokens,
    }) = Arc::into_inner(grants)
    else {
        panic!("somebody still refreshes");
    };
    let grants = Arc::new(Grants {
        world: Frugal::behind(world, |config| {
            config.tokens.refresh_grace = Duration::from_secs(120);
        }),
        client,
        tokens,
    });
    // Longer than the grace, so that the store holds as many answers as it ever does.
    let (seconds, average) = match count {
        ..MANY => (3, 20),
        _ => (150, count.div_ceil(PERIOD)),
    };
    let times = steadily(&grants, seconds, average).await;
    let memory = rig.memory().await;
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    measured(&format!(
        "{} grants, {} refreshes in {seconds} s ({average} a second, bursts of {}): 0 failed, \
         p50 {:.1} ms, p99 {:.1} ms, slowest {:.0} ms; the store uses {:.0} MB",
        thousands(count),
        thousands(times.len()),
        thousands(10 * average),
        p50.as_secs_f64() * 1e3,
        p99.as_secs_f64() * 1e3,
        times[times.len() - 1].as_secs_f64() * 1e3,
        f64::from(u32::try_from(memory >> 10).expect("little")) * 1.024e-3,
    ));
    // A few tell nothing about times: the build is unoptimized and others run beside it.
    assert!(memory < MEMORY && (count < MANY || p99 < 3 * P99));
}
