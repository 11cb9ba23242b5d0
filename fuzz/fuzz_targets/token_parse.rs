//! Any bytes at the door of every purpose: no panic, and nothing opens but the very tokens that
//! were sealed, byte for byte. The seeds are tokens of every purpose under the key used here.
#![no_main]

use std::collections::HashSet;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mcp_oauth::oauth::names::Issuer;
use mcp_oauth::oauth::records::{
    AccessToken, AuthorizationCode, ClientRegistration, Memo, PendingConsent, PendingLogin,
    RefreshToken, SessionId,
};
use mcp_oauth::seal::{Keyring, Record, RootKey, Sealed};
use mcp_oauth::time::Timestamp;
use serde_json::Value;

static GOLDEN: LazyLock<(Keyring, HashSet<String>)> = LazyLock::new(|| {
    let golden: Value =
        serde_json::from_str(include_str!("../../tests/golden/0.1.0.json")).expect("JSON");
    let key = RootKey::from_jwk(&golden["key"].to_string(), "golden").expect("a key");
    let issuer = Issuer::new(golden["issuer"].as_str().expect("an issuer"));
    let tokens = golden["tokens"].as_array().expect("tokens").iter();
    let tokens = tokens.map(|it| it["token"].as_str().expect("a token").to_owned());
    let ring = Keyring::new(&[key], &issuer, "golden").expect("a ring");
    (ring, tokens.collect())
});

fn check<T: Record>(wire: &str) {
    let (ring, seeds) = &*GOLDEN;
    let token = Sealed::<T>::from_wire(wire);
    if ring.open(&token, Timestamp::default()).is_ok() {
        assert!(seeds.contains(wire), "a token that was never sealed opened");
        assert_eq!(ring.purpose_of(wire), Some(T::PURPOSE));
    }
}

fuzz_target!(|wire: &str| {
    check::<ClientRegistration>(wire);
    check::<PendingConsent>(wire);
    check::<PendingLogin>(wire);
    check::<AuthorizationCode>(wire);
    check::<AccessToken>(wire);
    check::<RefreshToken>(wire);
    check::<SessionId>(wire);
    check::<Memo>(wire);
});
