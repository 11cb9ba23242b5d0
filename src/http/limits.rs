//! Requests per client address and minute: RFC 6585 §4.
//!
//! `/register` and `/authorize` count requests per address. `/token` counts refusals per address,
//! so that honest clients behind one address do not pay for a broken one, and requests per grant.
//! Refuses to believe `X-Forwarded-For` unless it comes from a trusted proxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap};
use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use ipnet::IpNet;

use super::respond::Refusal;
use crate::config::{Config, Limits as Figures};
use crate::figures;
use crate::oauth::error::Reason;
use crate::oauth::names::GrantId;
use crate::time::Clock;

/// Keys that are kept before those without recent requests are dropped.
const TIDY_AT: usize = 50_000;
/// How often that is done: it looks at every key, so not for every request of a flood.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// Our clock as the library wants it: monotonic.
#[derive(Clone, Debug)]
struct Elapsed(Arc<dyn Clock>);

impl governor::clock::Clock for Elapsed {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

type Counter<K> = RateLimiter<K, DashMapStateStore<K>, Elapsed, NoOpMiddleware<Duration>>;

/// One limit; without a counter it is off.
struct Limit<K: std::hash::Hash + Eq + Clone> {
    counter: Option<Counter<K>>,
    clock: Elapsed,
    /// Milliseconds on the monotonic clock.
    tidied_at: AtomicU64,
}

impl<K: std::hash::Hash + Eq + Clone> Limit<K> {
    fn new(per_minute: u32, clock: &Arc<dyn Clock>) -> Self {
        let clock = Elapsed(Arc::clone(clock));
        let counter = NonZeroU32::new(per_minute).map(|most| {
            RateLimiter::new(
                Quota::per_minute(most),
                DashMapStateStore::default(),
                clock.clone(),
            )
        });
        Self {
            counter,
            clock,
            tidied_at: AtomicU64::new(0),
        }
    }

    /// Counts one; an error says how long to wait.
    fn count(&self, key: &K) -> Result<(), Duration> {
        let Some(counter) = &self.counter else {
            return Ok(());
        };
        if counter.len() > TIDY_AT && self.tidying_is_due() {
            counter.retain_recent();
        }
        counter
            .check_key(key)
            .map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }

    /// Whether nobody tidied lately; if so, the caller does it.
    fn tidying_is_due(&self) -> bool {
        let now = u64::try_from(self.clock.now().as_millis()).unwrap_or(u64::MAX);
        let last = self.tidied_at.load(Ordering::Relaxed);
        let due = now.saturating_sub(last) >= u64::try_from(TIDY_EVERY.as_millis()).unwrap_or(0);
        due && self
            .tidied_at
            .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

/// Every limit of the authorization server.
pub(super) struct Limits {
    register: Limit<Address>,
    authorize: Limit<Address>,
    token: Limit<Address>,
    grant: Limit<GrantId>,
    trusted: Vec<IpNet>,
}

/// A client's address as far as it identifies one: IPv4, or the /64 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address(IpAddr);

/// What is limited.
#[derive(Clone, Copy, Debug)]
pub(super) enum Endpoint {
    Register,
    Authorize,
    Token,
}

impl Limits {
    pub(super) fn new(config: &Config, clock: &Arc<dyn Clock>) -> Self {
        let Figures {
            register_per_minute,
            authorize_per_minute,
            token_per_minute,
        } = config.limits;
        Self {
            register: Limit::new(register_per_minute, clock),
            authorize: Limit::new(authorize_per_minute, clock),
            token: Limit::new(token_per_minute, clock),
            grant: Limit::new(token_per_minute, clock),
            trusted: config.trusted_proxies.clone(),
        }
    }

    /// Counts a request, or for `/token` a refusal.
    pub(super) fn count(&self, endpoint: Endpoint, address: Address) -> Result<(), Refusal> {
        let (limit, name) = match endpoint {
            Endpoint::Register => (&self.register, "register"),
            Endpoint::Authorize => (&self.authorize, "authorize"),
            Endpoint::Token => (&self.token, "token"),
        };
        limit.count(&address).map_err(|wait| too_many(name, wait))
    }

    /// Counts a request for a grant.
    pub(super) fn count_grant(&self, grant: GrantId) -> Result<(), Refusal> {
        self.grant
            .count(&grant)
            .map_err(|wait| too_many("token", wait))
    }

    /// Who sends a request: the peer, or what a trusted proxy says.
    pub(super) fn address(&self, extensions: &Extensions, headers: &HeaderMap) -> Address {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>();
        let mut address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |it| {
            it.0.ip().to_canonical()
        });
        let forwarded = headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|value| value.to_str().ok());
        let hops: Vec<_> = forwarded.flat_map(|line| line.split(',')).collect();
        // From the nearest hop outward, as long as the one who reports it is trusted.
        for hop in hops.into_iter().rev() {
            if !self.trusted.iter().any(|net| net.contains(&address)) {
                break;
            }
            match hop.trim().parse::<IpAddr>() {
                Ok(next) => address = next.to_canonical(),
                Err(_) => break,
            }
        }
        Address(narrowed(address))
    }
}

/// IPv6 clients have a /64 each, and change within it.
fn narrowed(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
    }
}

fn too_many(endpoint: &'static str, wait: Duration) -> Refusal {
    figures::RATE_LIMITED.counter(&[endpoint]).increment(1);
    Refusal::from(Reason::TooManyRequests).retry_after(Some(wait))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{ManualClock, Timestamp};

    fn limits(trusted: &[&str]) -> Limits {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp::from_secs(1)));
        Limits {
            register: Limit::new(2, &clock),
            authorize: Limit::new(0, &clock),
            token: Limit::new(2, &clock),
            grant: Limit::new(2, &clock),
            trusted: trusted.iter().map(|net| net.parse().unwrap()).collect(),
        }
    }

    fn address(limits: &Limits, peer: &str, forwarded: &[&str]) -> String {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        limits.address(&extensions, &headers).0.to_string()
    }

    // R17
    #[test]
    fn forwarded_address_is_believed_from_trusted_proxies_only() {
        let none = limits(&[]);
        assert_eq!(address(&none, "192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        let some = limits(&["10.0.0.0/8"]);
        assert_eq!(address(&some, "10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        // What the client itself wrote in front is not believed.
        assert_eq!(
            address(&some, "10.0.0.1", &["1.1.1.1, 203.0.113.9"]),
            "203.0.113.9"
        );
        assert_eq!(
            address(&some, "10.0.0.1", &["1.1.1.1", "203.0.113.9, 10.0.0.2"]),
            "203.0.113.9"
        );
        assert_eq!(address(&some, "192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(address(&some, "10.0.0.1", &["nonsense"]), "10.0.0.1");
    }

    #[test]
    fn ipv6_clients_are_counted_by_their_network() {
        let limits = limits(&[]);
        assert_eq!(address(&limits, "2001:db8::1:2:3:4", &[]), "2001:db8::");
        assert_eq!(address(&limits, "::ffff:192.0.2.1", &[]), "192.0.2.1");
    }

    #[test]
    fn over_the_limit_is_told_how_long_to_wait() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1)));
        let limit = Limit::new(2, &(Arc::clone(&clock) as Arc<dyn Clock>));
        let [a, b] = ["192.0.2.1", "192.0.2.2"].map(|ip| Address(ip.parse().unwrap()));
        assert!(limit.count(&a).is_ok() && limit.count(&a).is_ok());
        assert_eq!(limit.count(&a), Err(Duration::from_secs(30)));
        assert!(limit.count(&b).is_ok());
        clock.advance(Duration::from_secs(30));
        assert!(limit.count(&a).is_ok() && limit.count(&a).is_err());
    }

    // F25: what is remembered of an address is gone when it could begin anew.
    #[test]
    fn addresses_that_could_begin_anew_are_forgotten() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1)));
        let limit = Limit::new(20, &(Arc::clone(&clock) as Arc<dyn Clock>));
        let kept = || limit.counter.as_ref().unwrap().len();
        let address = |n: u32| Address(Ipv4Addr::from_bits(n).into());
        for n in 0..2 * 50_000 {
            assert!(limit.count(&address(n)).is_ok());
        }
        assert_eq!(kept(), 2 * 50_000);
        clock.advance(Duration::from_secs(60));
        assert!(limit.count(&address(0)).is_ok());
        assert_eq!(kept(), 1);
    }
}
