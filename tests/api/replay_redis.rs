//! The replay store's contract on a real Redis or Valkey, and what only a server can do wrong.
//!
//! Runs where `MCP_OAUTH_TEST_REDIS_SERVER` names a server's binary; each test starts one of its
//! own, on a free loopback port, and ends it. Without the variable the tests pass and say so.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mcp_oauth::oauth::names::Secret;
use mcp_oauth::replay::redis::{OpenError, RedisSettings, RedisStore};
use mcp_oauth::time::{Clock, ManualClock, SystemClock};

use super::replay::{Time, World, contract};
use super::replay_model::reference;
use proptest::test_runner::{Config, TestRunner};
use server::Server;

mod doctor;
mod faults;
mod fit;
mod proxy;
mod server;

/// Start of every key in these tests.
const PREFIX: &str = "test:";

contract!(world().await);

/// A store on a server of its own; `None` where no server is named.
async fn world() -> Option<World> {
    let rig = Rig::start().await?;
    let store = rig.first().await;
    Some(World {
        store: Arc::new(store),
        time: Box::new(rig),
    })
}

#[test]
fn redis_answers_as_the_contract_says() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let config = Config {
        cases: 30,
        ..Config::default()
    };
    let tried = TestRunner::new(config).run(&reference::questions(60), |questions| {
        runtime.block_on(async {
            // A server for each, since the small ids are the same.
            if let Some(world) = world().await {
                reference::agree(&world, questions).await;
            }
        });
        Ok(())
    });
    tried.unwrap_or_else(|failure| panic!("{failure}"));
}

/// A server, and clocks for the stores on it.
struct Rig {
    server: Server,
    clock: Arc<ManualClock>,
}

impl Rig {
    async fn start() -> Option<Self> {
        Self::start_with(&[]).await
    }

    async fn start_with(arguments: &[&str]) -> Option<Self> {
        let server = Server::start(arguments).await?;
        let clock = Arc::new(ManualClock::at(SystemClock::start().now()));
        Some(Self { server, clock })
    }

    /// Another replica.
    async fn replica(&self) -> RedisStore {
        open(&self.server.url(), self.clock.clone())
            .await
            .expect("the store opens")
    }

    /// The first replica, on a store that has passed its first seconds.
    async fn first(&self) -> RedisStore {
        let store = self.replica().await;
        self.advance(Duration::from_secs(5)).await;
        store
    }
}

#[async_trait]
impl Time for Rig {
    /// Makes everything in the store older.
    async fn advance(&self, by: Duration) {
        self.server.age(by).await;
        ManualClock::advance(&self.clock, by);
    }
}

async fn open(url: &str, clock: Arc<ManualClock>) -> Result<RedisStore, OpenError> {
    let settings = RedisSettings {
        url: Secret::new(url),
        prefix: PREFIX.into(),
        capacity: 1_000,
        authorities: None,
    };
    RedisStore::open(settings, clock).await
}
