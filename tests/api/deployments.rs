//! What each mode of the replay store promises, row by row, and how far each promise goes.

use std::sync::Arc;
use std::time::Duration;

use mcp_oauth::config::{self, Config, KeySource, StoreKind};
use mcp_oauth::entropy;
use mcp_oauth::oauth::names::{LeaseId, TokenHash};
use mcp_oauth::oauth::records::{AccessToken, RefreshToken};
use mcp_oauth::oauth::revoke::Epochs;
use mcp_oauth::replay::{RefreshAttempt, RefreshTurn};
use mcp_oauth::seal::Sealed;
use mcp_oauth::server::Server;
use mcp_oauth::time::{Clock as _, SystemClock};

use super::support::client::{Client, Tokens};
use super::support::logs::Lines;
use super::support::stub::Mood;
use super::support::world::World;

const SECOND: Duration = Duration::from_secs(1);

fn shares_nothing(config: &mut Config) {
    config.replay.store = StoreKind::Upstream;
}

/// Two replicas that share nothing but keys.
fn two() -> (World, World) {
    let one = World::with(shares_nothing);
    let two = one.replica_edited(shares_nothing);
    (one, two)
}

/// Whether a replica still lets an access token in.
fn lets_in(world: &World, tokens: &Tokens) -> bool {
    let token = Sealed::<AccessToken>::from_wire(tokens.access.as_str());
    let token = world.app.keys.open(&token, world.clock.now());
    !world
        .app
        .revocations
        .access_has_ended(&token.expect("an access token").record)
}

// RC4: what a client's impatient retry looks like.
#[tokio::test(start_paused = true)]
async fn second_use_while_the_first_runs_ends_nothing() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let code = client.code(&world, "alice").await;
    world.upstream.mood(Mood::Slow(SECOND));
    let retry = async {
        tokio::time::sleep(SECOND / 2).await;
        client.redeem(&world, &code).await
    };
    let first = client.redeem(&world, &code);
    let (first, second) = futures_util::future::join(first, retry).await;
    assert_eq!(second.error(), "invalid_grant");
    let tokens = Tokens::of(&first);
    assert!(lets_in(&world, &tokens));
    assert_eq!(client.refresh(&world, &tokens.refresh).await.status, 200);
    assert_eq!(world.upstream.counts().exchanges, 1);
}

// RF5: its holder died; whoever comes later is told to come back, and may lead once it is over.
#[tokio::test(start_paused = true)]
async fn lease_of_somebody_else_is_waited_for_ten_seconds() {
    let world = World::new();
    let mut client = Client::register(&world).await;
    let tokens = client.login(&world, "alice").await;
    let token = Sealed::<RefreshToken>::from_wire(tokens.refresh.as_str());
    let record = world.app.keys.open(&token, world.clock.now());
    let taken = world.app.replay.begin_refresh(RefreshAttempt {
        grant: record.expect("a refresh token").record.grant,
        generation: 0,
        token: TokenHash::of(&tokens.refresh),
        request: TokenHash::of("another question"),
        lease: LeaseId::random(&mut entropy::rng()),
        lease_ttl: SECOND * 15,
        grace: SECOND * 120,
        grace_uses: 20,
        ttl: SECOND * 3_600,
        assertion: None,
    });
    assert_eq!(taken.await.expect("an answer"), RefreshTurn::Lead);
    let asked = tokio::time::Instant::now();
    let told = client.refresh(&world, &tokens.refresh).await;
    let waited = asked.elapsed();
    assert_eq!(told.status, 503, "{}", told.body);
    assert!(told.headers.contains_key("retry-after"));
    assert!((SECOND * 10..SECOND * 11).contains(&waited), "{waited:?}");
    assert_eq!(world.upstream.counts().refreshes, 0);
    world.clock.advance(SECOND * 16);
    assert_eq!(client.refresh(&world, &tokens.refresh).await.status, 200);
}

// DP3: absorbed by the replica that gave the answer; elsewhere the upstream decides.
#[tokio::test]
async fn lost_answer_without_a_store_is_given_again_where_it_was_given() {
    let (one, two) = two();
    let mut client = Client::register(&one).await;
    let tokens = client.login(&one, "alice").await;
    let first = client.refresh(&one, &tokens.refresh).await;
    let again = client.refresh(&one, &tokens.refresh).await;
    assert_eq!((again.status.as_u16(), &again.body), (200, &first.body));
    assert_eq!(one.upstream.counts().refreshes, 1);
    // This upstream's refresh tokens work once.
    let elsewhere = client.refresh(&two, &tokens.refresh).await;
    assert_eq!(elsewhere.error(), "invalid_grant");
    assert_eq!(one.upstream.counts().refreshes, 2);
}

// DP2: noticed by the replica that saw the rotation.
#[tokio::test]
async fn reuse_without_a_store_is_noticed_where_the_rotation_was_seen() {
    let (one, two) = two();
    let mut client = Client::register(&one).await;
    let tokens = client.login(&one, "alice").await;
    let next = Tokens::of(&client.refresh(&one, &tokens.refresh).await);
    for world in [&one, &two] {
        world.clock.advance(SECOND * 121);
    }
    let reused = client.refresh(&one, &tokens.refresh).await;
    assert_eq!(reused.error(), "invalid_grant");
    assert!(!lets_in(&one, &next) && lets_in(&two, &next));
}

// DP4: per replica, and at the upstream; what the configuration ends has ended everywhere.
#[tokio::test]
async fn revocation_without_a_store_is_the_replicas_and_the_upstreams() {
    let (one, two) = two();
    let mut client = Client::register(&one).await;
    let tokens = client.login(&one, "alice").await;
    assert_eq!(client.revoke(&one, &tokens.refresh).await.status, 200);
    one.app.upstreams_are_told().await;
    assert_eq!(one.upstream.counts().revocations, 1);
    assert!(!lets_in(&one, &tokens) && lets_in(&two, &tokens));
    for world in [&one, &two] {
        world.app.revocations.set_epochs(Epochs {
            not_before: Some(world.clock.now().plus(SECOND)),
            ..Epochs::default()
        });
        assert!(!lets_in(world, &tokens));
    }
}

// DP4: at once, and forgotten at a restart; what the configuration ends stays ended.
#[tokio::test]
async fn revocation_in_memory_is_at_once_and_forgotten_at_a_restart() {
    let before = World::new();
    let mut client = Client::register(&before).await;
    let tokens = client.login(&before, "alice").await;
    assert_eq!(client.revoke(&before, &tokens.access).await.status, 200);
    assert!(!lets_in(&before, &tokens));
    let after = before.replica();
    assert!(lets_in(&after, &tokens));
    after.app.revocations.set_epochs(Epochs {
        not_before: Some(after.clock.now().plus(SECOND)),
        ..Epochs::default()
    });
    assert!(!lets_in(&after, &tokens));
}

// DP6
#[tokio::test]
async fn column_is_told_at_start_and_the_weaker_one_as_a_warning() {
    for (store, level, promise) in [
        (
            "memory",
            "INFO",
            "exact; after a restart the upstream's own rule",
        ),
        (
            "upstream",
            "WARN",
            "the upstream's own rule, and once per replica",
        ),
    ] {
        let directory = tempfile::TempDir::new().expect("a directory");
        let text = format!(
            "public_url = \"http://127.0.0.1:8080\"\n\
             [upstreams.idp]\nprovider = \"oidc\"\nissuer = \"https://idp.example\"\n\
             client_id = \"us\"\nclient_secret = \"upstream-secret\"\n\
             [[resources]]\npath = \"/mcp\"\nbackend = \"http://127.0.0.1:9/mcp\"\n\
             [access]\nallow_all = true\n[replay]\nstore = \"{store}\"\n"
        );
        let mut config = config::parse(&text, "test.toml").expect("a configuration");
        config.keys = KeySource::Directory {
            path: directory.path().to_owned(),
            create: true,
        };
        let server = Server::assemble(config, Arc::new(SystemClock::start())).await;
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(lines.clone())
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        server.expect("a server").guarantees().log();
        drop(guard);
        let text = lines.text();
        assert!(text.contains(level) && text.contains(promise), "{text}");
    }
}
