//! The contract restated as plainly as possible, and compared answer by answer.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::FutureExt as _;
use mcp_oauth::oauth::names::{AssertionHash, AttemptId, GrantId, LeaseId, TokenHash};
use mcp_oauth::replay::{Claim, Claimed, Commit, RefreshAttempt, RefreshTurn, Rotation};
use proptest::prelude::*;

use crate::api::replay::{CLAIM, GRACE, GRANT, LEASE, SLACK, World, claim, memo, token};

/// One question; small numbers stand for ids, so that they meet often.
#[derive(Clone, Debug)]
pub(in crate::api) enum Question {
    Claim {
        grant: u8,
        attempt: u8,
        assertion: Option<u8>,
    },
    Settle {
        grant: u8,
        attempt: u8,
    },
    Release {
        grant: u8,
        attempt: u8,
    },
    Begin(Beginning),
    Commit {
        grant: u8,
        lease: u8,
        generation: u64,
        strict: bool,
    },
    Abandon {
        grant: u8,
        lease: u8,
    },
    Revoke {
        grant: u8,
    },
    Wait(u64),
}

/// A token presented.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct Beginning {
    grant: u8,
    generation: u64,
    forged: bool,
    lease: u8,
    request: u8,
    assertion: Option<u8>,
}

pub(in crate::api) fn questions(most: usize) -> impl Strategy<Value = Vec<Question>> {
    let (grant, attempt, lease) = (0..2_u8, 0..3_u8, 0..3_u8);
    let assertion = proptest::option::weighted(0.2, 0..3_u8);
    let question = prop_oneof![
        4 => (grant.clone(), attempt.clone(), assertion.clone())
            .prop_map(|(grant, attempt, assertion)| Question::Claim { grant, attempt, assertion }),
        2 => (grant.clone(), attempt.clone())
            .prop_map(|(grant, attempt)| Question::Settle { grant, attempt }),
        2 => (grant.clone(), attempt)
            .prop_map(|(grant, attempt)| Question::Release { grant, attempt }),
        8 => (grant.clone(), 0..4_u64, prop::bool::weighted(0.05), lease.clone(), 0..2_u8, assertion)
            .prop_map(|(grant, generation, forged, lease, request, assertion)| {
                Question::Begin(Beginning { grant, generation, forged, lease, request, assertion })
            }),
        6 => (grant.clone(), lease.clone(), 1..5_u64, prop::bool::weighted(0.1))
            .prop_map(|(grant, lease, generation, strict)| Question::Commit {
                grant, lease, generation, strict,
            }),
        1 => (grant.clone(), lease).prop_map(|(grant, lease)| Question::Abandon { grant, lease }),
        1 => grant.prop_map(|grant| Question::Revoke { grant }),
        3 => prop::sample::select(vec![1, 14, 16, 100, 121, 200, 300]).prop_map(Question::Wait),
    ];
    proptest::collection::vec(question, 1..most)
}

/// What a grant's code has come to.
struct Claimant {
    attempt: u8,
    is_done: bool,
    end: Duration,
}

/// What is known of a grant's refresh tokens; a token is its generation and its hash.
struct Family {
    current: (u64, TokenHash),
    replaced: Option<Replaced>,
    /// Those before that, and the end of each one's grace.
    older: Vec<((u64, TokenHash), Duration)>,
    /// Its id, its end, its request.
    lease: Option<(u8, Duration, u8)>,
}

/// The token before the current one.
struct Replaced {
    token: (u64, TokenHash),
    at: Duration,
    grace: Duration,
    request: u8,
    uses: u32,
}

/// The contract, as one who never saw the code would write it down.
#[derive(Default)]
struct Reference {
    now: Duration,
    claims: HashMap<u8, Claimant>,
    families: HashMap<u8, Family>,
    revoked: Vec<u8>,
    assertions: HashMap<u8, String>,
}

const USES: u32 = 2;

impl Reference {
    fn spend(&mut self, assertion: Option<u8>, user: &str) -> bool {
        let Some(assertion) = assertion else {
            return true;
        };
        self.assertions
            .entry(assertion)
            .or_insert_with(|| user.to_owned())
            == user
    }

    fn claim(&mut self, grant: u8, attempt: u8, assertion: Option<u8>) -> Claimed {
        let found = self.claims.get(&grant).map(|it| (it.attempt, it.is_done));
        if found == Some((attempt, false)) {
            return Claimed::Granted;
        }
        if !self.spend(assertion, &format!("attempt {attempt}")) {
            return Claimed::AssertionUsed;
        }
        match found {
            Some((_, true)) => Claimed::Done,
            Some((_, false)) => Claimed::Busy,
            None if self.revoked.contains(&grant) => Claimed::Done,
            None => {
                let end = self.now + CLAIM;
                self.claims.insert(
                    grant,
                    Claimant {
                        attempt,
                        is_done: false,
                        end,
                    },
                );
                Claimed::Granted
            }
        }
    }

    fn settle(&mut self, grant: u8, attempt: u8) -> bool {
        let claim = self
            .claims
            .get_mut(&grant)
            .filter(|it| it.attempt == attempt);
        claim.map(|it| it.is_done = true).is_some()
    }

    fn release(&mut self, grant: u8, attempt: u8) -> bool {
        let is_held = |it: &Claimant| it.attempt == attempt && !it.is_done;
        let held = self.claims.get(&grant).is_some_and(is_held);
        held && self.claims.remove(&grant).is_some()
    }

    fn abandon(&mut self, grant: u8, lease: u8) {
        if let Some(family) = self.families.get_mut(&grant) {
            family.lease = family.lease.filter(|it| it.0 != lease);
        }
    }

    fn begin(&mut self, beginning: Beginning) -> RefreshTurn {
        let Beginning {
            grant,
            generation,
            lease,
            ..
        } = beginning;
        if self.revoked.contains(&grant) {
            return RefreshTurn::Revoked;
        }
        let presented = (generation, beginning.hash());
        let known = self.families.get(&grant);
        let is_current = known.is_some_and(|it| it.current == presented);
        if is_current
            && known
                .and_then(|it| it.lease)
                .is_some_and(|it| it.0 == lease)
        {
            return RefreshTurn::Lead;
        }
        if !self.spend(beginning.assertion, &format!("lease {lease}")) {
            return RefreshTurn::AssertionUsed;
        }
        let now = self.now;
        let lead = Some((lease, now + LEASE, beginning.request));
        let turn = match self.families.get_mut(&grant) {
            Some(family) if generation < family.current.0 => family.previous(beginning, now),
            Some(family) if generation == family.current.0 => match family.lease {
                _ if !is_current => RefreshTurn::Fork,
                Some((_, end, _)) if now < end => RefreshTurn::Wait,
                _ => {
                    family.lease = lead;
                    RefreshTurn::Lead
                }
            },
            _ => {
                let family = Family {
                    current: presented,
                    replaced: None,
                    older: Vec::new(),
                    lease: lead,
                };
                self.families.insert(grant, family);
                RefreshTurn::Lead
            }
        };
        if matches!(turn, RefreshTurn::Fork | RefreshTurn::Reuse) {
            self.revoked.push(grant);
        }
        turn
    }

    fn commit(&mut self, grant: u8, lease: u8, generation: u64, grace: Duration) -> Commit {
        if self.revoked.contains(&grant) {
            return Commit::Revoked;
        }
        let Some(family) = self.families.get_mut(&grant) else {
            return Commit::LeaseLost;
        };
        let new = (generation, token(grant_id(grant), generation));
        if family.current == new {
            return Commit::Committed;
        }
        match family.lease {
            Some((holder, _, request)) if holder == lease && generation > family.current.0 => {
                let before = family.replaced.take();
                family
                    .older
                    .extend(before.map(|it| (it.token, it.at + it.grace)));
                family.replaced = Some(Replaced {
                    token: family.current,
                    at: self.now,
                    grace,
                    request,
                    uses: 0,
                });
                family.current = new;
                family.lease = None;
                Commit::Committed
            }
            _ => Commit::LeaseLost,
        }
    }
}

impl Family {
    /// A token that is not the current one.
    fn previous(&mut self, beginning: Beginning, now: Duration) -> RefreshTurn {
        let replaced = self.replaced.as_mut();
        let Some(replaced) = replaced.filter(|it| it.token.0 == beginning.generation) else {
            let is_it = |it: &&((u64, TokenHash), Duration)| it.0.0 == beginning.generation;
            return match self.older.iter().find(is_it) {
                Some((_, end)) if now >= *end => RefreshTurn::Reuse,
                Some((token, _)) if token.1 != beginning.hash() => RefreshTurn::Fork,
                Some(_) => RefreshTurn::Superseded,
                None => RefreshTurn::Reuse,
            };
        };
        if replaced.token.1 != beginning.hash() {
            RefreshTurn::Fork
        } else if now >= replaced.at + replaced.grace {
            RefreshTurn::Reuse
        } else if replaced.request != beginning.request {
            RefreshTurn::OtherRequest
        } else if replaced.uses == USES {
            RefreshTurn::TooOften
        } else {
            replaced.uses += 1;
            RefreshTurn::Repeat(memo(beginning.generation))
        }
    }
}

impl Beginning {
    fn hash(self) -> TokenHash {
        if self.forged {
            TokenHash::of("forged")
        } else {
            token(grant_id(self.grant), self.generation)
        }
    }

    fn attempt(self) -> RefreshAttempt {
        RefreshAttempt {
            grant: grant_id(self.grant),
            generation: self.generation,
            token: self.hash(),
            request: TokenHash::of(&self.request.to_string()),
            lease: lease_id(self.lease),
            lease_ttl: LEASE,
            grace: GRACE,
            grace_uses: USES,
            ttl: GRANT,
            assertion: assertion_of(self.assertion),
        }
    }
}

fn grant_id(grant: u8) -> GrantId {
    GrantId::from_bytes([grant + 1; 16])
}

fn attempt_id(attempt: u8) -> AttemptId {
    AttemptId::from_bytes([attempt + 1; 16])
}

fn lease_id(lease: u8) -> LeaseId {
    LeaseId::from_bytes([lease + 101; 16])
}

fn assertion_of(assertion: Option<u8>) -> Option<(AssertionHash, Duration)> {
    assertion.map(|it| (AssertionHash::of(&it.to_string()), GRANT))
}

/// Asks both, and compares.
pub(in crate::api) async fn agree(world: &World, questions: Vec<Question>) {
    let mut reference = Reference::default();
    for question in questions {
        ask(world, &mut reference, &question).await;
        for grant in 0..2 {
            let is_revoked = world.store.is_revoked(&grant_id(grant));
            assert_eq!(
                is_revoked,
                reference.revoked.contains(&grant),
                "{question:?}"
            );
        }
    }
}

async fn ask(world: &World, reference: &mut Reference, question: &Question) {
    match *question {
        Question::Revoke { grant } => {
            reference.revoked.push(grant);
            world.store.revoke(grant_id(grant), GRANT).await.unwrap();
        }
        Question::Wait(seconds) => wait(world, reference, Duration::from_secs(seconds)).await,
        Question::Claim { .. } | Question::Settle { .. } | Question::Release { .. } => {
            forget_old_claims(world, reference).await;
            ask_about_code(world, reference, question).await;
        }
        _ => ask_about_refresh(world, reference, question).await,
    }
}

async fn ask_about_code(world: &World, reference: &mut Reference, question: &Question) {
    match *question {
        Question::Claim {
            grant,
            attempt,
            assertion,
        } => {
            let claim = Claim {
                assertion: assertion_of(assertion),
                ..claim(grant_id(grant), attempt_id(attempt))
            };
            let expected = reference.claim(grant, attempt, assertion);
            let claimed = world.store.claim(claim).await.unwrap();
            assert_eq!(claimed, expected, "{question:?}");
        }
        Question::Settle { grant, attempt } => {
            let expected = reference.settle(grant, attempt);
            let settled = world
                .store
                .settle(grant_id(grant), attempt_id(attempt))
                .await;
            assert_eq!(settled.unwrap(), expected, "{question:?}");
        }
        Question::Release { grant, attempt } => {
            let expected = reference.release(grant, attempt);
            let released = world
                .store
                .release(grant_id(grant), attempt_id(attempt))
                .await;
            assert_eq!(released.unwrap(), expected, "{question:?}");
        }
        _ => unreachable!("not about a code: {question:?}"),
    }
}

async fn ask_about_refresh(world: &World, reference: &mut Reference, question: &Question) {
    match *question {
        Question::Begin(beginning) => {
            let expected = reference.begin(beginning);
            let turn = world.begin(beginning.attempt()).await;
            assert_eq!(turn, expected, "{question:?}");
        }
        Question::Commit {
            grant,
            lease,
            generation,
            strict,
        } => {
            let grace = if strict { Duration::ZERO } else { GRACE };
            let replaces = reference.families.get(&grant).map_or(0, |it| it.current.0);
            let rotation = Rotation {
                grant: grant_id(grant),
                lease: lease_id(lease),
                generation,
                token: token(grant_id(grant), generation),
                memo: memo(replaces),
                grace,
                ttl: GRANT,
            };
            let expected = reference.commit(grant, lease, generation, grace);
            assert_eq!(world.commit(rotation).await, expected, "{question:?}");
        }
        Question::Abandon { grant, lease } => {
            reference.abandon(grant, lease);
            let abandoned = world
                .store
                .abandon_refresh(grant_id(grant), lease_id(lease));
            abandoned.await.unwrap();
        }
        _ => unreachable!("not about a refresh: {question:?}"),
    }
}

async fn wait(world: &World, reference: &mut Reference, by: Duration) {
    reference.now += by;
    world.advance(by).await;
}

/// Between its end and a little later a claim may be remembered or not: waits until it is not.
async fn forget_old_claims(world: &World, reference: &mut Reference) {
    let is_vague = |it: &Claimant, now: Duration| it.end <= now && now < it.end + SLACK;
    while reference
        .claims
        .values()
        .any(|it| is_vague(it, reference.now))
    {
        wait(world, reference, SLACK).await;
    }
    let now = reference.now;
    reference.claims.retain(|_, it| now < it.end);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn memory_store_answers_as_the_contract_says(questions in questions(60)) {
        let world = World::in_memory();
        // The memory store never waits, so neither does its future.
        agree(&world, questions).now_or_never().expect("an answer at once");
    }
}
