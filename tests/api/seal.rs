//! Sealed tokens through the public door: what opens, and what must not.

use std::time::Duration;

use mcp_oauth::entropy;
use mcp_oauth::oauth::names::{Issuer, Secret};
use mcp_oauth::oauth::records::{Memo, SessionId};
use mcp_oauth::seal::{Keyring, OpenError, Sealed};
use mcp_oauth::time::Timestamp;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn issuer() -> Issuer {
    Issuer::new("https://mcp.example.com")
}

fn ring() -> Keyring {
    Keyring::generate(&issuer(), &mut entropy::rng()).unwrap()
}

fn session() -> SessionId {
    SessionId {
        id: "7c1e".to_owned(),
        subject: None,
        resource: "/mcp".to_owned(),
    }
}

fn memo() -> Memo {
    Memo {
        body: Secret::new(r#"{"access_token":"…"}"#),
        expires_at: NOW.plus(Duration::from_secs(120)),
    }
}

#[test]
fn sealed_record_opens_with_the_key_that_sealed_it() {
    let ring = ring();
    let sealed = ring.seal(&session(), &mut entropy::rng()).unwrap();
    let opened = ring.open(&sealed, NOW).unwrap();
    assert_eq!(opened.record.id, "7c1e");
    assert_eq!(&opened.kid, ring.active());
}

#[test]
fn token_is_refused_from_the_second_of_its_end() {
    let ring = ring();
    let sealed = ring.seal(&memo(), &mut entropy::rng()).unwrap();
    let end = memo().expires_at;
    assert!(
        ring.open(&sealed, end.minus(Duration::from_secs(1)))
            .is_ok()
    );
    assert_eq!(ring.open(&sealed, end).unwrap_err(), OpenError::Expired);
}

#[test]
fn bound_token_opens_with_its_binding_only() {
    let ring = ring();
    let binding = Secret::new("the presented token");
    let sealed = ring
        .seal_bound(&memo(), &binding, &mut entropy::rng())
        .unwrap();
    assert!(ring.open_bound(&sealed, &binding, NOW).is_ok());
    let other = ring.open_bound(&sealed, &Secret::new("another"), NOW);
    assert_eq!(other.unwrap_err(), OpenError::WrongKey);
    assert_eq!(ring.open(&sealed, NOW).unwrap_err(), OpenError::WrongKey);
}

#[test]
fn other_purpose_is_named_before_anything_is_decrypted() {
    let ring = ring();
    let sealed = ring.seal(&session(), &mut entropy::rng()).unwrap();
    let relabelled = Sealed::<Memo>::from_wire(sealed.into_wire());
    let refused = ring.open(&relabelled, NOW);
    assert_eq!(refused.unwrap_err(), OpenError::WrongPurpose);
}
