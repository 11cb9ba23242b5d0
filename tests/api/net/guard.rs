//! M1, M8: the corpus of addresses and URLs.

use mcp_oauth::net::Guard;
use serde_json::Value;

pub(crate) fn corpus() -> Value {
    serde_json::from_str(include_str!("../../vectors/ssrf/cases.json")).unwrap()
}

#[test]
fn addresses_of_the_corpus_are_judged_as_they_should() {
    let corpus = corpus();
    let cases = corpus["addresses"].as_array().unwrap();
    assert_eq!(cases.len(), 75);
    for case in cases {
        let ip = case["input"].as_str().unwrap().parse().unwrap();
        let allowed = Guard::default().check_ip(ip).is_ok();
        assert_eq!(allowed, case["expect"] == "allow", "{case}");
        // The switch of development opens this computer and nothing else.
        let development = Guard {
            allow_loopback: true,
        };
        let opened = development.check_ip(ip).is_ok();
        assert_eq!(opened, allowed || ip.is_loopback(), "{case}");
    }
}

#[test]
fn urls_of_the_corpus_are_judged_as_they_should() {
    let corpus = corpus();
    let cases = corpus["urls"].as_array().unwrap();
    assert_eq!(cases.len(), 54);
    for case in cases {
        let url = case["input"].as_str().unwrap();
        let outcome = Guard::default().check_url(url);
        assert_eq!(
            outcome.is_ok(),
            case["expect"] == "accept-syntax",
            "{case}: {outcome:?}"
        );
        if let Ok(parsed) = outcome {
            assert_eq!(parsed.as_str(), url);
        }
    }
}

#[test]
fn loopback_of_development_is_by_name_or_address_and_nothing_else() {
    let development = Guard {
        allow_loopback: true,
    };
    for url in [
        "http://localhost.evil.example/c",
        "http://127.0.0.1.nip.io/c",
        "http://app.example/c",
        "http://10.0.0.1/c",
        "http://169.254.169.254/c",
        "http://[::ffff:127.0.0.1]/c",
        "http://0.0.0.0/c",
        "ftp://localhost/c",
        "https://foo.localhost/c",
        "https://app.example:8443/c",
        "http://u@localhost/c",
    ] {
        assert!(development.check_url(url).is_err(), "{url}");
    }
}

proptest::proptest! {
    // IPv4 inside IPv6 is never a way around: whatever embeds an address is refused.
    #[test]
    fn embedded_addresses_are_refused(bits: u32) {
        let v4 = u128::from(bits);
        for base in [0_u128, 0xffff << 32, 0xffff_0000_u128 << 32, 0x0064_ff9b << 96] {
            let ip = std::net::Ipv6Addr::from_bits(base | v4);
            proptest::prop_assert!(Guard::default().check_ip(ip.into()).is_err(), "{}", ip);
        }
        let six_to_four = std::net::Ipv6Addr::from_bits((0x2002 << 112) | (v4 << 80));
        proptest::prop_assert!(Guard::default().check_ip(six_to_four.into()).is_err());
    }

    #[test]
    fn accepted_urls_have_one_spelling(url in "https?://[a-z0-9.@:\\[\\]%-]{1,20}/[a-zA-Z0-9/.%#?\\\\-]{0,20}") {
        if let Ok(parsed) = Guard::default().check_url(&url) {
            proptest::prop_assert_eq!(parsed.as_str(), url.as_str());
            proptest::prop_assert_eq!(parsed.scheme(), "https");
            proptest::prop_assert!(parsed.port().is_none() && parsed.query().is_none());
        }
    }
}
