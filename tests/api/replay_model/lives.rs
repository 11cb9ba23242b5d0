//! Whole lives of codes and grants under faults: crashes, lost answers, retries, thieves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use mcp_oauth::oauth::names::{AttemptId, GrantId, LeaseId, TokenHash};
use mcp_oauth::replay::memory::MemoryStore;
use mcp_oauth::replay::{Claimed, Commit, RefreshAttempt, RefreshTurn, ReplayStore, Rotation};
use mcp_oauth::time::{Clock, ManualClock};
use proptest::prelude::*;

use crate::api::replay::{GRACE, LEASE, START, attempt, attempt_id, claim, grant, rotation};

/// How many rotations may overtake a request before it counts as a theft.
const OLDER: u64 = 4;
/// Life of a code: its claim lives longer.
const CODE: Duration = Duration::from_secs(60);

/// What happens to one step of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It works.
    Well,
    /// The process dies before the step.
    CrashBefore,
    /// The process dies after it.
    CrashAfter,
    /// The answer to the step is lost: it is asked again.
    AnswerLost,
    /// The upstream does not answer, or the client does not hear.
    Unheard,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Well),
        1 => Just(Fate::CrashBefore),
        1 => Just(Fate::CrashAfter),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::Unheard),
    ]
}

/// The world of one code or grant.
struct Life {
    clock: Arc<ManualClock>,
    store: MemoryStore,
    grant: GrantId,
}

impl Life {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(START));
        Self {
            store: store(&clock),
            clock,
            grant: grant(),
        }
    }

    fn wait(&self, by: Duration) {
        self.clock.advance(by);
    }
}

fn store(clock: &Arc<ManualClock>) -> MemoryStore {
    MemoryStore::new(100, Arc::clone(clock) as Arc<dyn Clock>)
}

/// The memory store answers at once.
fn now<T>(answer: impl Future<Output = T>) -> T {
    answer.now_or_never().expect("an answer at once")
}

/// Where a redemption has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Redemption {
    Claiming,
    Exchanging,
    Settling,
    Over,
}

/// A code, its upstream's code, and who tries.
struct CodeLife {
    life: Life,
    /// What the upstream enforces.
    upstream_used: bool,
    tries: Vec<(AttemptId, Redemption)>,
    successes: usize,
    /// How often the upstream was sent the code.
    exchanges: usize,
    /// How often it may have to be sent again: its answer, or the store, was lost.
    losses: usize,
}

impl CodeLife {
    fn new() -> Self {
        Self {
            life: Life::new(),
            upstream_used: false,
            tries: Vec::new(),
            successes: 0,
            exchanges: 0,
            losses: 0,
        }
    }

    /// The process starts again: what was under way is gone, and what was remembered.
    fn lose_store(&mut self) {
        self.life.store = store(&self.life.clock);
        self.tries.clear();
        self.losses += 1;
    }

    fn step(&mut self, which: usize, fate: Fate) {
        if which >= self.tries.len() {
            self.tries.push((attempt_id(), Redemption::Claiming));
        }
        let which = which.min(self.tries.len() - 1);
        let (attempt, at) = self.tries[which];
        if fate == Fate::CrashBefore {
            self.tries[which].1 = Redemption::Over;
            return;
        }
        let next = match at {
            Redemption::Claiming => self.claim(attempt, fate),
            Redemption::Exchanging => self.exchange(attempt, fate),
            Redemption::Settling => self.settle(attempt, fate),
            Redemption::Over => Redemption::Over,
        };
        let crashed = fate == Fate::CrashAfter;
        self.tries[which].1 = if crashed { Redemption::Over } else { next };
    }

    fn claim(&self, attempt: AttemptId, fate: Fate) -> Redemption {
        if self.life.clock.elapsed() >= CODE {
            // An expired code is refused before it is claimed.
            return Redemption::Over;
        }
        let ask = || now(self.life.store.claim(claim(self.life.grant, attempt))).unwrap();
        let mut answer = ask();
        if fate == Fate::AnswerLost {
            let again = ask();
            assert_eq!(answer, again, "asking again changed the answer");
            answer = again;
        }
        match answer {
            Claimed::Granted => Redemption::Exchanging,
            _ => Redemption::Over,
        }
    }

    fn exchange(&mut self, attempt: AttemptId, fate: Fate) -> Redemption {
        let grant = self.life.grant;
        let not_reached = fate == Fate::Unheard && !self.upstream_used;
        if not_reached {
            assert!(now(self.life.store.release(grant, attempt)).unwrap());
            return Redemption::Over;
        }
        self.exchanges += 1;
        let accepted = !std::mem::replace(&mut self.upstream_used, true);
        match (accepted, fate) {
            (true, Fate::AnswerLost) => {
                // Used up there, unknown here: given back, and refused at the next try.
                now(self.life.store.release(grant, attempt)).unwrap();
                self.losses += 1;
                Redemption::Over
            }
            (true, _) => Redemption::Settling,
            (false, _) => {
                now(self.life.store.settle(grant, attempt)).unwrap();
                Redemption::Over
            }
        }
    }

    fn settle(&mut self, attempt: AttemptId, fate: Fate) -> Redemption {
        let ask = || now(self.life.store.settle(self.life.grant, attempt)).unwrap();
        let mut settled = ask();
        if fate == Fate::AnswerLost {
            settled = ask();
        }
        if settled && fate != Fate::CrashAfter {
            self.successes += 1;
        }
        Redemption::Over
    }
}

#[derive(Clone, Debug)]
enum CodeEvent {
    Step(usize, Fate),
    Wait(u64),
    StoreLost,
}

fn code_events() -> impl Strategy<Value = Vec<CodeEvent>> {
    let event = prop_oneof![
        20 => (0..5_usize, fate()).prop_map(|(which, fate)| CodeEvent::Step(which, fate)),
        2 => (1..60_u64).prop_map(CodeEvent::Wait),
        1 => Just(CodeEvent::StoreLost),
    ];
    proptest::collection::vec(event, 1..50)
}

/// A refresh token, as a client holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Token {
    generation: u64,
    hash: TokenHash,
}

impl Token {
    /// Each leader mints another.
    fn minted_for(attempt: &RefreshAttempt) -> Self {
        Self {
            generation: attempt.generation + 1,
            hash: TokenHash::of(&format!("minted under {}", attempt.lease)),
        }
    }

    /// The sealed answer that brings it.
    fn to_memo(self) -> Vec<u8> {
        [&self.generation.to_be_bytes()[..], self.hash.as_bytes()].concat()
    }

    fn from_memo(memo: &[u8]) -> Self {
        let (generation, hash) = memo.split_at(8);
        Self {
            generation: u64::from_be_bytes(generation.try_into().expect("eight bytes")),
            hash: TokenHash::from_bytes(hash.try_into().expect("sixteen bytes")),
        }
    }
}

/// Where a refresh has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refresh {
    Beginning,
    Asking,
    Committing,
    Answering(Token),
    Over,
}

struct Request {
    attempt: RefreshAttempt,
    at: Refresh,
}

/// A grant and its honest client, which may send one token several times at once, retries within
/// the grace, and uses a new token while older requests of its own are still under way.
struct GrantLife {
    life: Life,
    held: Token,
    requests: Vec<Request>,
    /// Of every token that was replaced: by which lease, and when.
    replaced: HashMap<TokenHash, (LeaseId, Duration)>,
}

impl GrantLife {
    fn new() -> Self {
        Self {
            life: Life::new(),
            held: Token {
                generation: 0,
                hash: TokenHash::of("the first token"),
            },
            requests: Vec::new(),
            replaced: HashMap::new(),
        }
    }

    fn begin(&self, attempt: &RefreshAttempt) -> RefreshTurn {
        now(self.life.store.begin_refresh(attempt.clone())).unwrap()
    }

    fn attempt_with(&self, token: Token) -> RefreshAttempt {
        RefreshAttempt {
            token: token.hash,
            ..attempt(self.life.grant, token.generation)
        }
    }

    fn live(&mut self, event: &GrantEvent) {
        match *event {
            GrantEvent::Send => {
                let is_busy = self.requests.len() == 4;
                let has_ancient = self
                    .requests
                    .iter()
                    .any(|it| it.attempt.generation + OLDER < self.held.generation);
                if !is_busy && !has_ancient {
                    let attempt = self.attempt_with(self.held);
                    self.requests.push(Request {
                        attempt,
                        at: Refresh::Beginning,
                    });
                }
            }
            GrantEvent::Step(which, fate) if !self.requests.is_empty() => {
                let which = which % self.requests.len();
                self.step(which, fate);
            }
            GrantEvent::Step(..) => {}
            GrantEvent::Wait(seconds) => self.wait(Duration::from_secs(seconds)),
        }
    }

    /// Waits, but never so long that a retry would come after the grace.
    fn wait(&self, by: Duration) {
        let then = self.life.clock.elapsed() + by;
        let in_use = self.requests.iter().map(|it| it.attempt.token);
        let in_time = in_use.chain([self.held.hash]).all(|token| {
            let replaced = self.replaced.get(&token);
            replaced.is_none_or(|(_, at)| then < *at + GRACE)
        });
        if in_time {
            self.life.wait(by);
        }
    }

    fn step(&mut self, which: usize, fate: Fate) {
        let Request { attempt, at } = &self.requests[which];
        let (attempt, at) = (attempt.clone(), *at);
        let next = match fate {
            Fate::CrashBefore => Refresh::Over,
            _ => self.advance(&attempt, at, fate),
        };
        let next = if fate == Fate::CrashAfter {
            Refresh::Over
        } else {
            next
        };
        self.requests[which].at = next;
        self.requests.retain(|it| it.at != Refresh::Over);
    }

    fn advance(&mut self, attempt: &RefreshAttempt, at: Refresh, fate: Fate) -> Refresh {
        match (at, fate) {
            (Refresh::Beginning, _) => {
                let mut turn = self.begin(attempt);
                if fate == Fate::AnswerLost && turn == RefreshTurn::Lead {
                    turn = self.begin(attempt);
                    assert_eq!(turn, RefreshTurn::Lead, "asking again changed the answer");
                }
                match turn {
                    RefreshTurn::Lead => Refresh::Asking,
                    RefreshTurn::Wait => Refresh::Beginning,
                    RefreshTurn::Repeat(memo) => Refresh::Answering(Token::from_memo(&memo)),
                    RefreshTurn::TooOften | RefreshTurn::Superseded => Refresh::Over,
                    refused => panic!("an honest client was refused: {refused:?}"),
                }
            }
            (Refresh::Asking, Fate::Unheard) => {
                now(self
                    .life
                    .store
                    .abandon_refresh(attempt.grant, attempt.lease))
                .unwrap();
                Refresh::Over
            }
            (Refresh::Asking, _) => Refresh::Committing,
            (Refresh::Committing, _) => self.commit(attempt, fate),
            (Refresh::Answering(_), Fate::Unheard) | (Refresh::Over, _) => Refresh::Over,
            (Refresh::Answering(token), _) => {
                if token.generation > self.held.generation {
                    self.held = token;
                }
                Refresh::Over
            }
        }
    }

    fn commit(&mut self, attempt: &RefreshAttempt, fate: Fate) -> Refresh {
        let token = Token::minted_for(attempt);
        let rotation = Rotation {
            token: token.hash,
            memo: token.to_memo(),
            ..rotation(attempt)
        };
        let mut committed = now(self.life.store.commit_refresh(rotation.clone())).unwrap();
        if fate == Fate::AnswerLost {
            let again = now(self.life.store.commit_refresh(rotation)).unwrap();
            assert_eq!(committed, again, "asking again changed the answer");
            committed = again;
        }
        match committed {
            Commit::Committed => {
                let at = self.life.clock.elapsed();
                let known = self.replaced.insert(attempt.token, (attempt.lease, at));
                assert_eq!(known, None, "two branches of one token");
                Refresh::Answering(token)
            }
            Commit::LeaseLost => Refresh::Over,
            Commit::Revoked => panic!("an honest grant was revoked"),
        }
    }

    /// The client finishes what it began and refreshes once more, without a fault.
    fn settle_down(&mut self) {
        for _ in 0..40 {
            if self.requests.is_empty() {
                return;
            }
            for which in (0..self.requests.len()).rev() {
                self.step(which, Fate::Well);
            }
        }
        // A leader died: its lease has to run out.
        self.wait(LEASE);
        while !self.requests.is_empty() {
            self.step(0, Fate::Well);
        }
    }
}

#[derive(Clone, Debug)]
enum GrantEvent {
    Send,
    Step(usize, Fate),
    Wait(u64),
}

fn grant_events() -> impl Strategy<Value = Vec<GrantEvent>> {
    let event = prop_oneof![
        4 => Just(GrantEvent::Send),
        20 => (0..4_usize, fate()).prop_map(|(which, fate)| GrantEvent::Step(which, fate)),
        2 => (1..20_u64).prop_map(GrantEvent::Wait),
    ];
    proptest::collection::vec(event, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    // TC4, F2: also when the store's memory is lost in between.
    #[test]
    fn code_succeeds_at_most_once(events in code_events()) {
        let mut code = CodeLife::new();
        for event in events {
            match event {
                CodeEvent::Step(which, fate) => code.step(which, fate),
                CodeEvent::Wait(seconds) => code.life.wait(Duration::from_secs(seconds)),
                CodeEvent::StoreLost => code.lose_store(),
            }
            prop_assert!(code.successes <= 1);
            prop_assert!(code.exchanges <= 1 + code.losses);
        }
    }

    // TR4, F30
    #[test]
    fn honest_client_that_retries_within_grace_is_never_revoked(events in grant_events()) {
        let mut honest = GrantLife::new();
        for event in &events {
            honest.live(event);
        }
        honest.settle_down();
        prop_assert!(!honest.life.store.is_revoked(&honest.life.grant));
        let turn = honest.begin(&honest.attempt_with(honest.held));
        let goes_on = matches!(
            turn,
            RefreshTurn::Lead | RefreshTurn::Wait | RefreshTurn::Repeat(_) | RefreshTurn::TooOften
        );
        prop_assert!(goes_on, "{turn:?}");
    }

    // TR3
    #[test]
    fn stolen_token_after_its_grace_always_ends_the_grant(
        before in grant_events(),
        after in grant_events(),
        late in 0..1_000_u64,
    ) {
        let mut honest = GrantLife::new();
        for event in &before {
            honest.live(event);
        }
        let stolen = honest.held;
        for event in &after {
            honest.live(event);
        }
        honest.settle_down();
        let Some((_, at)) = honest.replaced.get(&stolen.hash).copied() else {
            // It is still the one that is in use: no theft shows yet.
            return Ok(());
        };
        let past = (at + GRACE).saturating_sub(honest.life.clock.elapsed());
        honest.life.wait(past + Duration::from_secs(late));
        let turn = honest.begin(&honest.attempt_with(stolen));
        prop_assert_eq!(turn, RefreshTurn::Reuse);
        prop_assert!(honest.life.store.is_revoked(&honest.life.grant));
        let turn = honest.begin(&honest.attempt_with(honest.held));
        prop_assert_eq!(turn, RefreshTurn::Revoked);
    }
}
