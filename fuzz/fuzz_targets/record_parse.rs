//! Any JSON behind the lock, as if a key had leaked or a release had erred: no panic, and what
//! opens is stable: written again, it opens again as the same.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mcp_oauth::entropy;
use mcp_oauth::oauth::names::Issuer;
use mcp_oauth::oauth::records::{AccessToken, AuthorizationCode, PendingLogin, RefreshToken};
use mcp_oauth::seal::{Keyring, Purpose, Record, Sealed};
use mcp_oauth::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

static RING: LazyLock<Keyring> = LazyLock::new(|| {
    let issuer = Issuer::new("https://mcp.example.com");
    Keyring::generate(&issuer, &mut entropy::rng()).expect("a ring")
});

/// JSON that claims to be the record of a purpose.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Claimed<const PURPOSE: usize>(Box<RawValue>);

impl<const PURPOSE: usize> Record for Claimed<PURPOSE> {
    const PURPOSE: Purpose = Purpose::ALL[PURPOSE];

    fn expires_at(&self) -> Option<Timestamp> {
        None
    }
}

fn open<T: Record>(wire: String) -> Option<T> {
    let opened = RING.open(&Sealed::<T>::from_wire(wire), Timestamp::default());
    Some(opened.ok()?.record)
}

fn check<T: Record, const PURPOSE: usize>(json: &RawValue) {
    let claimed = Claimed::<PURPOSE>(json.to_owned());
    let Ok(sealed) = RING.seal(&claimed, &mut entropy::rng()) else {
        return;
    };
    if let Some(record) = open::<T>(sealed.into_wire()) {
        let again = RING
            .seal(&record, &mut entropy::rng())
            .expect("it was short enough");
        let again = open::<T>(again.into_wire()).expect("it opened before");
        let [one, two] = [&record, &again].map(|it| serde_json::to_string(it).expect("JSON"));
        assert_eq!(one, two);
    }
}

fuzz_target!(|json: &str| {
    if let Ok(json) = serde_json::from_str::<&RawValue>(json) {
        check::<PendingLogin, { Purpose::PendingLogin as usize }>(json);
        check::<AuthorizationCode, { Purpose::AuthorizationCode as usize }>(json);
        check::<AccessToken, { Purpose::AccessToken as usize }>(json);
        check::<RefreshToken, { Purpose::RefreshToken as usize }>(json);
    }
});
