//! The contract restated as plainly as possible, and compared answer by answer.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::FutureExt as _;
use mcp_oauth::oauth::names::{AssertionHash, AttemptId, GrantId, LeaseId, TokenHash};
use mcp_oauth::replay::{Claim, Claimed, Commit, RefreshAttempt, RefreshTurn, Rotation};
use proptest::prelude::*;

use crate::api::replay::{CLAIM, GRACE, GRANT, LEASE, SLACK, START, World, memo, token};

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
    Begin {
        grant: u8,
        generation: u64,
        forged: bool,
        lease: u8,
        request: u8,
        assertion: Option<u8>,
    },
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
            .prop_map(|(grant, generation, forged, lease, request, assertion)| Question::Begin {
                grant, generation, forged, lease, request, assertion,
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

#[derive(Default)]
struct Family {
    generation: u64,
    current: Option<TokenHash>,
    /// Every commit: generation and hash that it replaced, when, grace, request, answers given.
    replaced: Vec<(u64, TokenHash, Duration, Duration, u8, u32)>,
    lease: Option<(u8, Duration, u8)>,
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
    fn spend(&mut self, assertion: Option<u8>, user: String) -> bool {
        let Some(assertion) = assertion else {
            return true;
        };
        *self
            .assertions
            .entry(assertion)
            .or_insert_with(|| user.clone())
            == user
    }

    fn claim(&mut self, grant: u8, attempt: u8, assertion: Option<u8>) -> Claimed {
        let found = self.claims.get(&grant).map(|it| (it.attempt, it.is_done));
        if found == Some((attempt, false)) {
            return Claimed::Granted;
        }
        if !self.spend(assertion, format!("attempt {attempt}")) {
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

    fn begin(&mut self, question: &Question) -> RefreshTurn {
        let Question::Begin {
            grant,
            generation,
            forged,
            lease,
            request,
            assertion,
        } = *question
        else {
            panic!("not a beginning");
        };
        if self.revoked.contains(&grant) {
            return RefreshTurn::Revoked;
        }
        let now = self.now;
        let presented = hash(grant, generation, forged);
        let holder = self
            .families
            .get(&grant)
            .and_then(|it| it.lease)
            .map(|it| it.0);
        let is_current = self
            .families
            .get(&grant)
            .is_some_and(|it| it.current == Some(presented) && it.generation == generation);
        if is_current && holder == Some(lease) {
            return RefreshTurn::Lead;
        }
        if !self.spend(assertion, format!("lease {lease}")) {
            return RefreshTurn::AssertionUsed;
        }
        let family = self.families.entry(grant).or_default();
        let lead = Some((lease, now + LEASE, request));
        if family.current.is_none() || generation > family.generation {
            *family = Family {
                generation,
                current: Some(presented),
                lease: lead,
                ..Family::default()
            };
            return RefreshTurn::Lead;
        }
        let turn = if generation == family.generation {
            match family.lease {
                _ if !is_current => RefreshTurn::Fork,
                Some((_, end, _)) if now < end => RefreshTurn::Wait,
                _ => {
                    family.lease = lead;
                    RefreshTurn::Lead
                }
            }
        } else {
            match family.replaced.last_mut() {
                Some((known, hash, ..)) if *known == generation && *hash != presented => {
                    RefreshTurn::Fork
                }
                Some((known, _, at, grace, asked, uses))
                    if *known == generation && now < *at + *grace =>
                {
                    if *asked != request {
                        RefreshTurn::OtherRequest
                    } else if *uses == USES {
                        RefreshTurn::TooOften
                    } else {
                        *uses += 1;
                        RefreshTurn::Repeat(memo(generation))
                    }
                }
                _ => RefreshTurn::Reuse,
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
        let new = hash(grant, generation, false);
        if family.generation == generation && family.current == Some(new) {
            return Commit::Committed;
        }
        match (family.lease, family.current) {
            (Some((holder, _, request)), Some(old))
                if holder == lease && generation > family.generation =>
            {
                let replaced = (family.generation, old, self.now, grace, request, 0);
                family.replaced.push(replaced);
                family.generation = generation;
                family.current = Some(new);
                family.lease = None;
                Commit::Committed
            }
            _ => Commit::LeaseLost,
        }
    }
}

fn hash(grant: u8, generation: u64, forged: bool) -> TokenHash {
    let honest = token(grant_id(grant), generation);
    if forged {
        TokenHash::of("forged")
    } else {
        honest
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
    let store = &world.store;
    match *question {
        Question::Claim {
            grant,
            attempt,
            assertion,
        } => {
            forget_old_claims(world, reference).await;
            let claim = Claim {
                grant: grant_id(grant),
                attempt: attempt_id(attempt),
                issued_at: START,
                ttl: CLAIM,
                assertion: assertion_of(assertion),
            };
            let expected = reference.claim(grant, attempt, assertion);
            assert_eq!(store.claim(claim).await.unwrap(), expected, "{question:?}");
        }
        Question::Settle { grant, attempt } => {
            forget_old_claims(world, reference).await;
            let claim = reference
                .claims
                .get_mut(&grant)
                .filter(|it| it.attempt == attempt);
            let expected = claim.map(|it| it.is_done = true).is_some();
            let settled = store.settle(grant_id(grant), attempt_id(attempt)).await;
            assert_eq!(settled.unwrap(), expected, "{question:?}");
        }
        Question::Release { grant, attempt } => {
            forget_old_claims(world, reference).await;
            let is_held = |it: &Claimant| it.attempt == attempt && !it.is_done;
            let expected = reference.claims.get(&grant).is_some_and(is_held);
            if expected {
                reference.claims.remove(&grant);
            }
            let released = store.release(grant_id(grant), attempt_id(attempt)).await;
            assert_eq!(released.unwrap(), expected, "{question:?}");
        }
        Question::Begin {
            grant,
            generation,
            forged,
            lease,
            request,
            assertion,
        } => {
            let attempt = RefreshAttempt {
                grant: grant_id(grant),
                generation,
                token: hash(grant, generation, forged),
                request: TokenHash::of(&request.to_string()),
                lease: lease_id(lease),
                lease_ttl: LEASE,
                grace: GRACE,
                grace_uses: USES,
                ttl: GRANT,
                assertion: assertion_of(assertion),
            };
            let expected = reference.begin(question);
            let turn = store.begin_refresh(attempt).await.unwrap();
            assert_eq!(turn, expected, "{question:?}");
        }
        Question::Commit {
            grant,
            lease,
            generation,
            strict,
        } => {
            let grace = if strict { Duration::ZERO } else { GRACE };
            let family = reference.families.get(&grant);
            let rotation = Rotation {
                grant: grant_id(grant),
                lease: lease_id(lease),
                generation,
                token: hash(grant, generation, false),
                memo: memo(family.map_or(0, |it| it.generation)),
                grace,
                ttl: GRANT,
            };
            let expected = reference.commit(grant, lease, generation, grace);
            let committed = store.commit_refresh(rotation).await.unwrap();
            assert_eq!(committed, expected, "{question:?}");
        }
        Question::Abandon { grant, lease } => {
            if let Some(family) = reference.families.get_mut(&grant) {
                family.lease = family.lease.filter(|it| it.0 != lease);
            }
            store
                .abandon_refresh(grant_id(grant), lease_id(lease))
                .await
                .unwrap();
        }
        Question::Revoke { grant } => {
            reference.revoked.push(grant);
            store.revoke(grant_id(grant), GRANT).await.unwrap();
        }
        Question::Wait(seconds) => {
            let by = Duration::from_secs(seconds);
            reference.now += by;
            world.advance(by).await;
        }
    }
}

/// Between its end and a little later a claim may be remembered or not: waits until it is not.
async fn forget_old_claims(world: &World, reference: &mut Reference) {
    let is_vague = |it: &Claimant, now: Duration| it.end <= now && now < it.end + SLACK;
    while reference
        .claims
        .values()
        .any(|it| is_vague(it, reference.now))
    {
        reference.now += SLACK;
        world.advance(SLACK).await;
    }
    let now = reference.now;
    reference.claims.retain(|_, it| now < it.end);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn memory_store_answers_as_the_contract_says(questions in questions(60)) {
        let world = World::in_memory();
        // The memory store never waits, so neither does its future.
        agree(&world, questions).now_or_never().expect("an answer at once");
    }
}
