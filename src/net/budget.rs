//! How much fetching strangers may cause: at once and per minute, per host and altogether.
//!
//! Refuses instead of queueing, so that a flood costs nothing but refusals. What is remembered is
//! bounded: hosts are forgotten when they have their whole budget again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::time::Clock;

/// The limits.
#[derive(Clone, Copy, Debug)]
pub struct BudgetLimits {
    /// Fetches at once.
    pub at_once: u32,
    /// Fetches at once from one host.
    pub at_once_per_host: u32,
    /// Fetches per minute.
    pub per_minute: u32,
    /// Fetches per minute from one host.
    pub per_minute_per_host: u32,
    /// Hosts that are remembered.
    pub hosts: usize,
}

impl Default for BudgetLimits {
    fn default() -> Self {
        Self {
            at_once: 64,
            at_once_per_host: 4,
            per_minute: 600,
            per_minute_per_host: 30,
            hosts: 4096,
        }
    }
}

/// The budget is used up for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many fetches at the moment")]
pub struct Exhausted;

/// Counts fetches.
#[derive(Debug)]
pub struct Budget {
    limits: BudgetLimits,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    all: Account,
    hosts: HashMap<String, Account>,
}

#[derive(Debug, Default)]
struct Account {
    running: u32,
    /// What was used of the minute's budget, in thousandths of a fetch, as of `at`.
    used: u64,
    at: Duration,
}

/// The right to one fetch; gives its place back when dropped.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    host: String,
}

impl Account {
    fn refill(&mut self, per_minute: u32, now: Duration) {
        let passed = now.saturating_sub(self.at).as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let back = passed.saturating_mul(u64::from(per_minute)) / 60;
        self.used = self.used.saturating_sub(back);
        self.at = now;
    }

    fn has_room(&self, at_once: u32, per_minute: u32) -> bool {
        self.running < at_once && self.used + 1000 <= u64::from(per_minute) * 1000
    }

    fn take(&mut self) {
        self.running += 1;
        self.used += 1000;
    }
}

impl Budget {
    /// An untouched budget.
    pub fn new(limits: BudgetLimits, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            limits,
            clock,
            state: Mutex::default(),
        })
    }

    /// Takes the right to one fetch from `host`.
    ///
    /// # Errors
    ///
    /// [`Exhausted`]; nothing is taken then.
    pub fn take(self: &Arc<Self>, host: &str) -> Result<Permit, Exhausted> {
        let (limits, now) = (self.limits, self.clock.elapsed());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { all, hosts } = &mut *state;
        all.refill(limits.per_minute, now);
        if !all.has_room(limits.at_once, limits.per_minute) {
            return Err(Exhausted);
        }
        if hosts.len() >= limits.hosts && !hosts.contains_key(host) {
            hosts.retain(|_, account| {
                account.refill(limits.per_minute_per_host, now);
                account.running > 0 || account.used > 0
            });
            if hosts.len() >= limits.hosts {
                return Err(Exhausted);
            }
        }
        let account = hosts.entry(host.to_owned()).or_default();
        account.refill(limits.per_minute_per_host, now);
        if !account.has_room(limits.at_once_per_host, limits.per_minute_per_host) {
            return Err(Exhausted);
        }
        account.take();
        all.take();
        drop(state);
        Ok(Permit {
            budget: Arc::clone(self),
            host: host.to_owned(),
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self
            .budget
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        state.all.running = state.all.running.saturating_sub(1);
        if let Some(account) = state.hosts.get_mut(&self.host) {
            account.running = account.running.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{ManualClock, Timestamp};

    fn budget(limits: BudgetLimits) -> (Arc<Budget>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(0)));
        (Budget::new(limits, Arc::clone(&clock) as _), clock)
    }

    #[test]
    fn one_host_cannot_use_up_what_others_need() {
        let (budget, clock) = budget(BudgetLimits::default());
        let held: Vec<_> = (0..4).map(|_| budget.take("a").unwrap()).collect();
        assert_eq!(budget.take("a").unwrap_err(), Exhausted);
        assert!(budget.take("b").is_ok());
        drop(held);
        for _ in 4..30 {
            assert!(budget.take("a").is_ok());
        }
        assert_eq!(budget.take("a").unwrap_err(), Exhausted);
        clock.advance(Duration::from_secs(2));
        assert!(budget.take("a").is_ok());
        assert_eq!(budget.take("a").unwrap_err(), Exhausted);
    }

    #[test]
    fn many_hosts_share_one_budget_and_bounded_memory() {
        let limits = BudgetLimits {
            per_minute: 10,
            hosts: 10,
            ..BudgetLimits::default()
        };
        let (budget, clock) = budget(limits);
        for n in 0..10 {
            assert!(budget.take(&n.to_string()).is_ok());
        }
        assert_eq!(budget.take("x").unwrap_err(), Exhausted);
        clock.advance(Duration::from_secs(60));
        assert!(budget.take("x").is_ok());
        assert!(budget.state.lock().unwrap().hosts.len() <= 10);
    }
}
