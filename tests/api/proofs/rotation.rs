//! A root key is added, promoted, and the old one retired, while people sign in at two replicas that
//! do not notice at the same moment.

use std::sync::Arc;
use std::time::Instant;

use mcp_oauth::entropy;
use mcp_oauth::oauth::records::AccessToken;
use mcp_oauth::replay::memory::MemoryStore;
use mcp_oauth::seal::{KeySource, Keys, Sealed};
use mcp_oauth::time::ManualClock;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{count, measured, thousands};
use crate::api::cli_keys::keys_at;
use crate::api::support::client::{Client, Tokens};
use crate::api::support::world::{Answer, START, World};

/// Sign-ins at once.
const AT_ONCE: usize = 8;
/// Sign-ins in each stage that a step finds unfinished, and clients from before the first step.
const HELD: usize = 20;

/// Two replicas on one store that read one folder of keys.
struct Pair {
    replicas: [World; 2],
    directory: TempDir,
}

impl Pair {
    fn start(sign_ins: usize) -> Self {
        let directory = TempDir::new().expect("a directory");
        keys_at(START, &directory, "generate", "").expect("a key");
        let keys = || {
            let source = KeySource::Directory {
                path: directory.path().to_owned(),
                create: false,
            };
            let issuer = "https://mcp.example.com";
            let issuer = mcp_oauth::oauth::names::Issuer::new(issuer);
            Arc::new(Keys::load(&source, &issuer, START, &mut entropy::rng()).expect("keys"))
        };
        let clock = Arc::new(ManualClock::at(START));
        // A code and a grant for each sign-in, those that steps find unfinished, and some room.
        let room = 3 * sign_ins + 100 * HELD;
        let store = MemoryStore::new(room, Arc::clone(&clock) as _);
        let one = World::over(|_| Arc::new(store));
        let two = one.replica_on_the_store(clock);
        Self {
            replicas: [one.keyed(keys()), two.keyed(keys())],
            directory,
        }
    }

    fn command(&self, command: &str) {
        keys_at(START, &self.directory, command, "").unwrap_or_else(|error| panic!("{error}"));
    }

    /// The replica whose turn it is at a step of a sign-in.
    fn at(&self, sign_in: usize, step: usize) -> &World {
        &self.replicas[(sign_in + step) % 2]
    }

    /// Whether both replicas let these tokens in.
    fn accept(&self, tokens: &Tokens) {
        for replica in &self.replicas {
            let token = Sealed::<AccessToken>::from_wire(tokens.access.as_str());
            replica.app.keys.open(&token, START).expect("an open token");
        }
    }
}

/// A sign-in as far as it has come.
enum Stage {
    Registered,
    Asked(Answer),
    Allowed(Answer),
    Code(String),
    Tokens(Tokens),
}

/// One person's sign-in: every request goes to the other replica.
struct SignIn {
    number: usize,
    client: Client,
    stage: Stage,
}

impl SignIn {
    async fn begin(pair: &Pair, number: usize) -> Self {
        Self {
            number,
            client: Client::register(pair.at(number, 0)).await,
            stage: Stage::Registered,
        }
    }

    async fn step(mut self, pair: &Pair) -> Self {
        let at = |step| pair.at(self.number, step);
        let client = &mut self.client;
        self.stage = match self.stage {
            Stage::Registered => {
                let request = client.request();
                Stage::Asked(client.authorize(at(1), &request).await)
            }
            Stage::Asked(page) => {
                assert_eq!(page.status, 200, "{}", page.body);
                Stage::Allowed(client.browser.decide(at(2), &page, "allow").await)
            }
            Stage::Allowed(sent) => {
                let person = format!("person-{}.1", self.number);
                let back = client.callback(at(3), &sent, &person).await;
                Stage::Code(back.sent("code").unwrap_or_else(|| panic!("{back:?}")))
            }
            Stage::Code(code) => {
                let tokens = Tokens::of(&client.redeem(at(4), &code).await);
                pair.accept(&tokens);
                Stage::Tokens(tokens)
            }
            Stage::Tokens(tokens) => {
                let next = Tokens::of(&client.refresh(at(5), &tokens.refresh).await);
                pair.accept(&next);
                Stage::Tokens(next)
            }
        };
        self
    }

    async fn steps(self, pair: &Pair, count: usize) -> Self {
        let mut sign_in = self;
        for _ in 0..count {
            sign_in = sign_in.step(pair).await;
        }
        sign_in
    }
}

/// From registration to a refreshed token.
const WHOLE: usize = 5;

/// So many whole sign-ins, several at once.
async fn sign_in(pair: &Arc<Pair>, numbers: &mut std::ops::RangeFrom<usize>, count: usize) {
    let mut tasks = JoinSet::new();
    for worker in 0..AT_ONCE {
        let share = (worker..count).step_by(AT_ONCE).count();
        let mine: Vec<usize> = numbers.take(share).collect();
        let pair = Arc::clone(pair);
        tasks.spawn(async move {
            for number in mine {
                SignIn::begin(&pair, number).await.steps(&pair, WHOLE).await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a sign-in");
    }
}

/// Sign-ins in every stage.
async fn unfinished(pair: &Pair, numbers: &mut std::ops::RangeFrom<usize>) -> Vec<SignIn> {
    let mut held = Vec::new();
    for (place, number) in numbers.take(HELD * WHOLE).enumerate() {
        let begun = SignIn::begin(pair, number).await;
        held.push(begun.steps(pair, place % WHOLE).await);
    }
    held
}

/// Takes every sign-in to its end, and one refresh further.
async fn finish(pair: &Pair, held: Vec<SignIn>) {
    for sign_in in held {
        sign_in.steps(pair, WHOLE).await;
    }
}

// F22
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_ins_go_on_through_every_step_of_a_rotation() {
    let count = count(140);
    let pair = Arc::new(Pair::start(count));
    let (begun, mut numbers) = (Instant::now(), 0..);
    let mut oldest = Vec::new();
    for number in numbers.by_ref().take(HELD) {
        let begun = SignIn::begin(&pair, number).await;
        oldest.push(begun.steps(&pair, WHOLE).await);
    }
    let old = pair.replicas[0].app.keys.current().active().to_string();
    // Before, and twice for each of the three steps.
    let lot = count.div_ceil(7);
    sign_in(&pair, &mut numbers, lot).await;
    for command in ["rotate", "rotate --promote --now", &format!("retire {old}")] {
        let (mut early, mut late) = (Vec::new(), Vec::new());
        for (place, held) in unfinished(&pair, &mut numbers)
            .await
            .into_iter()
            .enumerate()
        {
            if (place / WHOLE).is_multiple_of(2) {
                &mut early
            } else {
                &mut late
            }
            .push(held);
        }
        pair.command(command);
        // One replica knows, the other does not yet.
        assert!(pair.replicas[0].app.keys.reload(), "{command}");
        finish(&pair, early).await;
        sign_in(&pair, &mut numbers, lot).await;
        assert!(pair.replicas[1].app.keys.reload(), "{command}");
        finish(&pair, late).await;
        sign_in(&pair, &mut numbers, lot).await;
        // Clients from before: their registrations were sealed with the first key.
        for sign_in in std::mem::take(&mut oldest) {
            oldest.push(sign_in.step(&pair).await);
        }
    }
    let new = pair.replicas[1].app.keys.current().active().to_string();
    assert_ne!(old, new);
    measured(&format!(
        "{} sign-ins at two replicas in {:.0} s, {} of them unfinished at a step, and {HELD} clients from before: 0 failed",
        thousands(7 * lot),
        begun.elapsed().as_secs_f64(),
        3 * HELD * WHOLE,
    ));
}
