//! Revocations on their way to an upstream: again after trouble, a few at once, never too many.

use std::time::Duration;

use metrics::LocalRecorderGuard;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::support::client::{Client, Tokens};
use super::support::stub::Mood;
use super::support::world::World;

const SECOND: Duration = Duration::from_secs(1);
/// What may wait or be on its way.
const ROOM: usize = 1_024;

/// The figures of this test's thread.
struct Figures {
    handle: PrometheusHandle,
    _guard: LocalRecorderGuard<'static>,
}

impl Figures {
    fn start() -> Self {
        let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        let handle = recorder.handle();
        Self {
            handle,
            _guard: metrics::set_default_local_recorder(recorder),
        }
    }

    /// How many revocations ended so.
    fn told(&self, result: &str) -> usize {
        let start = format!(
            "mcp_oauth_upstream_revocations_total{{upstream=\"stub\",result=\"{result}\"}} "
        );
        let text = self.handle.render();
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        line.map_or(0, |count| count.parse().expect("a number"))
    }
}

async fn login(world: &World) -> (Client, Tokens) {
    let mut client = Client::register(world).await;
    let tokens = client.login(world, "alice").await;
    (client, tokens)
}

/// Revokes again and again: each time the upstream is to hear it.
async fn revoke(world: &World, client: &Client, tokens: &Tokens, times: usize) {
    for _ in 0..times {
        assert_eq!(client.revoke(world, &tokens.refresh).await.status, 200);
    }
}

// V3
#[tokio::test(start_paused = true)]
async fn upstream_that_is_down_is_told_when_it_is_back() {
    let (world, figures) = (World::new(), Figures::start());
    let (client, tokens) = login(&world).await;
    world.upstream.mood(Mood::Down);
    revoke(&world, &client, &tokens, 1).await;
    tokio::time::sleep(SECOND * 10).await;
    assert_eq!(world.upstream.counts().revocations, 3);
    assert_eq!(world.app.untold_upstreams(), 1);
    world.upstream.mood(Mood::Well);
    world.app.upstreams_are_told().await;
    assert_eq!(world.upstream.counts().revocations, 4);
    assert_eq!(figures.told("ok"), 1);
}

// V3
#[tokio::test(start_paused = true)]
async fn tries_are_bounded_and_a_refusal_is_final() {
    let (world, figures) = (World::new(), Figures::start());
    let (client, tokens) = login(&world).await;
    world.upstream.mood(Mood::Down);
    revoke(&world, &client, &tokens, 1).await;
    world.app.upstreams_are_told().await;
    assert_eq!(world.upstream.counts().revocations, 6);
    assert_eq!(figures.told("unavailable"), 1);
    // One that never answers is no better.
    world.upstream.mood(Mood::Slow(SECOND * 3_600));
    revoke(&world, &client, &tokens, 1).await;
    world.app.upstreams_are_told().await;
    assert_eq!(world.upstream.counts().revocations, 12);
    assert_eq!(figures.told("unavailable"), 2);
    world.upstream.mood(Mood::Refuses);
    revoke(&world, &client, &tokens, 1).await;
    world.app.upstreams_are_told().await;
    assert_eq!(world.upstream.counts().revocations, 13);
    assert_eq!(figures.told("refused"), 1);
}

// V3: none is lost below the bound, eight are on their way, and a full room is counted.
#[tokio::test(start_paused = true)]
async fn revocations_wait_for_their_turn_up_to_a_bound() {
    let (world, figures) = (World::new(), Figures::start());
    let (client, tokens) = login(&world).await;
    world.upstream.mood(Mood::Slow(SECOND));
    revoke(&world, &client, &tokens, ROOM + 3).await;
    // Those that are on their way begin.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(figures.told("dropped"), 3);
    assert_eq!(world.app.untold_upstreams(), ROOM);
    assert_eq!(world.upstream.counts().revocations, 8);
    world.app.upstreams_are_told().await;
    assert_eq!(figures.told("ok"), ROOM);
    assert_eq!(world.app.untold_upstreams(), 0);
}

// A process that stops waits for what is left, at most until its deadline, and else not at all.
#[tokio::test(start_paused = true)]
async fn end_of_the_process_waits_for_what_is_left_and_no_longer() {
    let (world, _figures) = (World::new(), Figures::start());
    let (client, tokens) = login(&world).await;
    let drain = SECOND * 25;
    for (mood, times, waited) in [
        (Mood::Well, 0, Duration::ZERO),
        (Mood::Slow(SECOND * 2), 8, SECOND * 2),
        (Mood::Down, 1, drain),
    ] {
        world.upstream.mood(mood.clone());
        revoke(&world, &client, &tokens, times).await;
        let asked = tokio::time::Instant::now();
        let deadline = tokio::time::sleep(drain);
        world.app.tell_upstreams_until(deadline).await;
        let took = asked.elapsed();
        assert!(
            (waited..waited + SECOND / 10).contains(&took),
            "{mood:?}: {took:?}"
        );
    }
    assert_eq!(world.app.untold_upstreams(), 1);
}
