//! What a stranger may make us connect to: RFC 6890 and the registries that follow it.
//!
//! Pure functions. A URL that passes has one spelling, https, a public name, the usual port and a
//! document's path; an address that passes is globally reachable unicast. Refuses addresses as
//! hosts, names of private use, every special range, transition space, and cloud metadata.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Longest URL.
const MAX_URL: usize = 2048;

/// The policy for URLs and addresses that a stranger supplied.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guard {
    /// Development: this computer is allowed too, by plain http and on any port.
    pub allow_loopback: bool,
}

/// An address that we do not connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address is not public: {0}")]
pub struct Blocked(pub &'static str);

/// A URL that we do not fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the URL cannot be fetched: {0}")]
pub struct UnsafeUrl(pub &'static str);

type V4 = (Ipv4Addr, u32, &'static str);
type V6 = (Ipv6Addr, u32, &'static str);

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

const fn v6(a: u16, b: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0)
}

/// IANA IPv4 special-purpose address registry, multicast, reserved, and metadata addresses.
const SPECIAL_V4: [V4; 17] = [
    (v4(0, 0, 0, 0), 8, "this network"),
    (v4(10, 0, 0, 0), 8, "private"),
    (v4(100, 64, 0, 0), 10, "shared address space"),
    (v4(127, 0, 0, 0), 8, "loopback"),
    // A public address by number, the host's agent by meaning.
    (v4(168, 63, 129, 16), 32, "cloud platform"),
    (v4(169, 254, 0, 0), 16, "link local, cloud metadata"),
    (v4(172, 16, 0, 0), 12, "private"),
    (v4(192, 0, 0, 0), 24, "protocol assignments"),
    (v4(192, 0, 2, 0), 24, "documentation"),
    (v4(192, 88, 99, 0), 24, "6to4 relay"),
    (v4(192, 168, 0, 0), 16, "private"),
    (v4(198, 18, 0, 0), 15, "benchmarking"),
    (v4(198, 51, 100, 0), 24, "documentation"),
    (v4(203, 0, 113, 0), 24, "documentation"),
    (v4(224, 0, 0, 0), 4, "multicast"),
    (v4(240, 0, 0, 0), 4, "reserved"),
    (v4(255, 255, 255, 255), 32, "broadcast"),
];

/// Global unicast space: everything outside is special (RFC 4291 §2.4).
const GLOBAL_V6: V6 = (v6(0x2000, 0), 3, "not global unicast");

/// IANA IPv6 special-purpose address registry, as far as it lies in global unicast space.
const SPECIAL_V6: [V6; 4] = [
    // Teredo, ORCHID, benchmarking and the rest of the protocol assignments.
    (v6(0x2001, 0), 23, "protocol assignments"),
    (v6(0x2001, 0xdb8), 32, "documentation"),
    (v6(0x2002, 0), 16, "6to4"),
    (v6(0x3fff, 0), 20, "documentation"),
];

/// Names that never mean a public host (RFC 6761, RFC 6762, RFC 9476, ICANN's `.internal`).
const PRIVATE_SUFFIXES: [&str; 12] = [
    "localhost",
    "local",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "lan",
    "home.arpa",
    "test",
    "invalid",
    "onion",
];

impl Guard {
    /// Whether an address may be connected to.
    ///
    /// # Errors
    ///
    /// [`Blocked`] with the range that it is in.
    pub fn check_ip(&self, ip: IpAddr) -> Result<(), Blocked> {
        if self.allow_loopback && ip.is_loopback() {
            return Ok(());
        }
        let special = match ip {
            IpAddr::V4(ip) => SPECIAL_V4
                .iter()
                .find(|range| within_v4(ip, range))
                .map(|it| it.2),
            IpAddr::V6(ip) if !within_v6(ip, &GLOBAL_V6) => Some(GLOBAL_V6.2),
            IpAddr::V6(ip) => SPECIAL_V6
                .iter()
                .find(|range| within_v6(ip, range))
                .map(|it| it.2),
        };
        special.map_or(Ok(()), |range| Err(Blocked(range)))
    }

    /// Whether a URL may be fetched, before anything is resolved.
    ///
    /// # Errors
    ///
    /// [`UnsafeUrl`] with the first rule that it breaks.
    pub fn check_url(&self, text: &str) -> Result<Url, UnsafeUrl> {
        if text.len() > MAX_URL {
            return Err(UnsafeUrl("too long"));
        }
        let url = Url::parse(text).map_err(|_| UnsafeUrl("not a URL"))?;
        // One spelling: parsers disagree about the others, and so would whoever compares.
        if url.as_str() != text {
            return Err(UnsafeUrl("not in its canonical spelling"));
        }
        if text.contains(['@', '#', '?', '\\']) {
            return Err(UnsafeUrl("with user information, query or fragment"));
        }
        let lower = text.to_ascii_lowercase();
        if ["%2e", "%2f", "%5c", "%00"]
            .iter()
            .any(|it| lower.contains(it))
        {
            return Err(UnsafeUrl("with an encoded dot, slash or NUL"));
        }
        if url.path() == "/" || url.cannot_be_a_base() {
            return Err(UnsafeUrl("without a document's path"));
        }
        if self.allow_loopback && url.scheme() == "http" && super::is_loopback(&url) {
            return Ok(url);
        }
        if url.scheme() != "https" {
            return Err(UnsafeUrl("not https"));
        }
        // The parser drops :443, so any port left is another.
        if url.port().is_some() && !(self.allow_loopback && super::is_loopback(&url)) {
            return Err(UnsafeUrl("with a port"));
        }
        self.check_host(&url)?;
        Ok(url)
    }

    fn check_host(self, url: &Url) -> Result<(), UnsafeUrl> {
        let name = match url.host() {
            Some(Host::Domain(name)) => name,
            Some(_) if self.allow_loopback && super::is_loopback(url) => return Ok(()),
            Some(_) => return Err(UnsafeUrl("an address instead of a name")),
            None => return Err(UnsafeUrl("without a host")),
        };
        if self.allow_loopback && name == "localhost" {
            return Ok(());
        }
        let private = PRIVATE_SUFFIXES.iter().any(|suffix| {
            name.strip_suffix(suffix)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        });
        if private || name.ends_with('.') || !name.contains('.') {
            return Err(UnsafeUrl("not a public name"));
        }
        Ok(())
    }
}

fn within_v4(ip: Ipv4Addr, (base, prefix, _): &V4) -> bool {
    let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
    ip.to_bits() & mask == base.to_bits()
}

fn within_v6(ip: Ipv6Addr, (base, prefix, _): &V6) -> bool {
    let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
    ip.to_bits() & mask == base.to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_only_in_development() {
        let (strict, development) = (
            Guard::default(),
            Guard {
                allow_loopback: true,
            },
        );
        for url in [
            "http://127.0.0.1:8080/c",
            "http://localhost:1/c",
            "https://[::1]:9/c",
        ] {
            assert!(strict.check_url(url).is_err(), "{url}");
            assert!(development.check_url(url).is_ok(), "{url}");
        }
        for url in [
            "http://app.example/c",
            "http://10.0.0.1/c",
            "https://app.example:8443/c",
        ] {
            assert!(development.check_url(url).is_err(), "{url}");
        }
        assert!(development.check_ip(Ipv4Addr::LOCALHOST.into()).is_ok());
        assert!(
            development
                .check_ip(Ipv4Addr::new(10, 0, 0, 1).into())
                .is_err()
        );
    }

    #[test]
    fn platform_address_of_a_cloud_is_blocked() {
        let ip = Ipv4Addr::new(168, 63, 129, 16).into();
        assert_eq!(
            Guard::default().check_ip(ip),
            Err(Blocked("cloud platform"))
        );
    }
}
