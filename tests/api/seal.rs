//! Sealed tokens through the public door: what opens, and what must not.

use std::collections::HashSet;
use std::marker::PhantomData;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mcp_oauth::entropy;
use mcp_oauth::oauth::names::{Issuer, Secret};
use mcp_oauth::oauth::records::{
    AccessToken, AuthorizationCode, ClientRegistration, Memo, PendingConsent, PendingLogin,
    RefreshToken, SessionId,
};
use mcp_oauth::seal::{Keyring, OpenError, Purpose, Record, RootKey, Sealed};
use mcp_oauth::time::Timestamp;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::seal_samples as sample;
use super::seal_samples::{NOW, issuer};

fn ring() -> Keyring {
    Keyring::generate(&issuer(), &mut entropy::rng()).unwrap()
}

/// Seals the sample record of a purpose.
pub(super) fn seal(ring: &Keyring, purpose: Purpose) -> String {
    fn wire<T: Record>(ring: &Keyring, record: &T) -> String {
        ring.seal(record, &mut entropy::rng()).unwrap().into_wire()
    }
    match purpose {
        Purpose::ClientRegistration => wire(ring, &sample::registration(2)),
        Purpose::PendingConsent => wire(ring, &sample::consent()),
        Purpose::PendingLogin => wire(ring, &sample::login(43)),
        Purpose::AuthorizationCode => wire(ring, &sample::code(110)),
        Purpose::AccessToken => wire(ring, &sample::access(Some(1_200))),
        Purpose::RefreshToken => wire(ring, &sample::refresh(800)),
        Purpose::SessionId => wire(ring, &sample::session()),
        Purpose::Memo => wire(ring, &sample::memo()),
    }
}

/// Opens a token as one of a purpose, and gives back its record as JSON.
pub(super) fn open(ring: &Keyring, purpose: Purpose, wire: &str) -> Result<String, OpenError> {
    fn json<T: Record>(ring: &Keyring, wire: &str) -> Result<String, OpenError> {
        let opened = ring.open(&Sealed::<T>::from_wire(wire), NOW)?;
        Ok(serde_json::to_string(&opened.record).unwrap())
    }
    match purpose {
        Purpose::ClientRegistration => json::<ClientRegistration>(ring, wire),
        Purpose::PendingConsent => json::<PendingConsent>(ring, wire),
        Purpose::PendingLogin => json::<PendingLogin>(ring, wire),
        Purpose::AuthorizationCode => json::<AuthorizationCode>(ring, wire),
        Purpose::AccessToken => json::<AccessToken>(ring, wire),
        Purpose::RefreshToken => json::<RefreshToken>(ring, wire),
        Purpose::SessionId => json::<SessionId>(ring, wire),
        Purpose::Memo => json::<Memo>(ring, wire),
    }
}

/// Any JSON, sealed as a record of a kind by somebody who has the key.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Raw<T> {
    json: Box<RawValue>,
    #[serde(skip)]
    kind: PhantomData<fn() -> T>,
}

impl<T: Record> Record for Raw<T> {
    const PURPOSE: Purpose = T::PURPOSE;

    fn expires_at(&self) -> Option<Timestamp> {
        None
    }
}

/// Seals JSON as a record and opens it as one.
fn open_as<T: Record>(json: &str) -> Result<T, OpenError> {
    let ring = ring();
    let raw = Raw::<T> {
        json: RawValue::from_string(json.to_owned()).unwrap(),
        kind: PhantomData,
    };
    let wire = ring.seal(&raw, &mut entropy::rng()).unwrap().into_wire();
    ring.open(&Sealed::from_wire(wire), NOW)
        .map(|opened| opened.record)
}

/// The same for an access token.
fn open_raw(json: &str) -> Result<AccessToken, OpenError> {
    open_as(json)
}

fn access_json() -> String {
    serde_json::to_string(&sample::access(None)).unwrap()
}

#[test]
fn every_purpose_opens_what_was_sealed() {
    let ring = ring();
    for purpose in Purpose::ALL {
        let wire = seal(&ring, purpose);
        assert_eq!(ring.purpose_of(&wire), Some(purpose));
        assert!(open(&ring, purpose, &wire).is_ok(), "{purpose}");
    }
    let wire = seal(&ring, Purpose::SessionId);
    let opened = ring
        .open(&Sealed::<SessionId>::from_wire(wire), NOW)
        .unwrap();
    assert_eq!(opened.record.id, sample::session().id);
    assert_eq!(&opened.kid, ring.active());
}

// K3
#[test]
fn header_has_exactly_one_form() {
    let ring = ring();
    for purpose in Purpose::ALL {
        let wire = seal(&ring, purpose);
        let segments: Vec<_> = wire.split('.').collect();
        let header = URL_SAFE_NO_PAD.decode(segments[0]).unwrap();
        let kid = ring.active();
        let typ = purpose.typ();
        assert_eq!(
            String::from_utf8(header).unwrap(),
            format!(r#"{{"alg":"A256KW","enc":"A256GCM","kid":"{kid}","typ":"{typ}"}}"#)
        );
        let lengths: Vec<_> = segments.iter().map(|segment| segment.len()).collect();
        assert_eq!([lengths[1], lengths[2], lengths[4]], [54, 16, 22]);
    }
}

// K3
#[test]
fn purposes_have_distinct_types() {
    let types: HashSet<_> = Purpose::ALL.iter().map(|purpose| purpose.typ()).collect();
    assert_eq!(types.len(), Purpose::ALL.len());
}

// K3
#[test]
fn same_record_is_never_sealed_alike() {
    let ring = ring();
    let (one, two) = (seal(&ring, Purpose::Memo), seal(&ring, Purpose::Memo));
    let changed = one.split('.').zip(two.split('.')).skip(1);
    for (one, two) in changed {
        assert_ne!(one, two);
    }
}

// K3
#[test]
fn any_two_purposes_refuse_each_other() {
    let ring = ring();
    for from in Purpose::ALL {
        let wire = seal(&ring, from);
        let (_, rest) = wire.split_once('.').unwrap();
        for to in Purpose::ALL.into_iter().filter(|to| *to != from) {
            assert_eq!(open(&ring, to, &wire), Err(OpenError::WrongPurpose));
            // The type alone does not hold: relabelled, it meets the other wrapping key.
            let target = seal(&ring, to);
            let (header, _) = target.split_once('.').unwrap();
            let relabelled = format!("{header}.{rest}");
            assert_eq!(open(&ring, to, &relabelled), Err(OpenError::WrongKey));
        }
    }
}

#[test]
fn other_issuer_with_the_same_root_key_refuses() {
    let key = || {
        let jwk = include_str!("../golden/0.1.0.json");
        let golden: serde_json::Value = serde_json::from_str(jwk).unwrap();
        RootKey::from_jwk(&golden["key"].to_string(), "golden").unwrap()
    };
    let ours = Keyring::new(&[key()], &issuer(), "test").unwrap();
    let other = Issuer::new("https://mcp.example.org");
    let theirs = Keyring::new(&[key()], &other, "test").unwrap();
    for purpose in Purpose::ALL {
        let wire = seal(&theirs, purpose);
        assert_eq!(open(&ours, purpose, &wire), Err(OpenError::WrongKey));
    }
}

#[test]
fn other_root_key_is_unknown() {
    let wire = seal(&ring(), Purpose::AccessToken);
    let refused = open(&ring(), Purpose::AccessToken, &wire);
    assert_eq!(refused, Err(OpenError::UnknownKey));
    assert_eq!(ring().purpose_of(&wire), None);
}

#[test]
fn issuer_inside_must_be_ours() {
    let record = access_json().replace("mcp.example.com\"", "mcp.example.org\"");
    assert_eq!(open_raw(&record).unwrap_err(), OpenError::WrongIssuer);
}

#[test]
fn token_is_refused_from_the_second_of_its_end() {
    let ring = ring();
    let sealed = ring.seal(&sample::memo(), &mut entropy::rng()).unwrap();
    let end = sample::memo().expires_at;
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
        .seal_bound(&sample::memo(), &binding, &mut entropy::rng())
        .unwrap();
    assert!(ring.open_bound(&sealed, &binding, NOW).is_ok());
    let other = ring.open_bound(&sealed, &Secret::new("another"), NOW);
    assert_eq!(other.unwrap_err(), OpenError::WrongKey);
    assert_eq!(ring.open(&sealed, NOW).unwrap_err(), OpenError::WrongKey);

    let unbound = ring.seal(&sample::memo(), &mut entropy::rng()).unwrap();
    let refused = ring.open_bound(&unbound, &Secret::new(""), NOW);
    assert_eq!(refused.unwrap_err(), OpenError::WrongKey);
}

// F10: what is inside is held to one reading as well.
#[test]
fn duplicate_member_is_refused_and_unknown_member_is_not() {
    let good = access_json();
    assert!(open_raw(&good).is_ok());
    let (_, members) = good.split_once('{').unwrap();
    assert!(open_raw(&format!(r#"{{"later":[{{}}],{members}"#)).is_ok());

    for twice in [
        r#""iss":"https://mcp.example.com""#,
        r#""em":"a@b.c""#,
        r#""gr":[]"#,
    ] {
        assert!(good.contains(&twice[..5]), "{twice}");
        let doubled = format!("{{{twice},{members}");
        assert_eq!(
            open_raw(&doubled).unwrap_err(),
            OpenError::BadRecord,
            "{twice}"
        );
        // Spelt with an escape it is the same member.
        let escaped = doubled.replacen("\"e", "\"\\u0065", 1);
        assert_eq!(open_raw(&escaped).unwrap_err(), OpenError::BadRecord);
    }

    // One that stands in the record itself, one that stands in a flattened part of it.
    let good = serde_json::to_string(&sample::consent()).unwrap();
    assert!(open_as::<PendingConsent>(&good).is_ok());
    let (_, members) = good.split_once('{').unwrap();
    for twice in [r#""exp":1800000600"#, r#""cc":"challenge""#] {
        assert!(good.contains(&twice[..5]), "{twice}");
        let doubled = open_as::<PendingConsent>(&format!("{{{twice},{members}"));
        assert_eq!(doubled.unwrap_err(), OpenError::BadRecord, "{twice}");
    }
}

#[test]
fn record_of_another_shape_is_refused() {
    for json in ["null", "[]", "\"\"", "{}", "1e999", r#"{"iss":1}"#] {
        let Ok(raw) = RawValue::from_string(json.to_owned()) else {
            continue;
        };
        assert_eq!(
            open_raw(raw.get()).unwrap_err(),
            OpenError::BadRecord,
            "{json}"
        );
    }
}

#[test]
fn deep_unknown_member_does_not_exhaust_the_stack() {
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let with_deep = |record: &str| record.replacen('{', &format!(r#"{{"later":{deep},"#), 1);
    // Skipped without recursion.
    assert!(open_raw(&with_deep(&access_json())).is_ok());
    // Flattened records buffer what they do not know: the parser bounds its own depth.
    let consent = serde_json::to_string(&sample::consent()).unwrap();
    let refused = open_as::<PendingConsent>(&with_deep(&consent));
    assert_eq!(refused.unwrap_err(), OpenError::BadRecord);
}

#[test]
fn token_longer_than_the_cap_is_neither_opened_nor_made() {
    let ring = ring();
    let wire = "a".repeat(16 * 1024 + 1);
    let refused = open(&ring, Purpose::AccessToken, &wire);
    assert_eq!(refused, Err(OpenError::TooLong));
    let refused = open(&ring, Purpose::AccessToken, &wire[1..]);
    assert_eq!(refused, Err(OpenError::NotSealed));

    let bulky = sample::access(Some(12_000));
    assert!(ring.seal(&bulky, &mut entropy::rng()).is_err());
    let large = sample::access(Some(11_000));
    let sealed = ring.seal(&large, &mut entropy::rng()).unwrap();
    assert!(ring.open(&sealed, NOW).is_ok());
}

#[test]
fn anything_but_five_segments_is_not_a_token() {
    let ring = ring();
    let wire = seal(&ring, Purpose::Memo);
    let (four, _) = wire.rsplit_once('.').unwrap();
    for text in [
        "",
        ".",
        "....",
        "a.b.c",
        four,
        &format!("{wire}."),
        &format!(".{wire}"),
    ] {
        assert_eq!(
            open(&ring, Purpose::Memo, text),
            Err(OpenError::NotSealed),
            "{text}"
        );
    }
}

/// Every other spelling of the same bytes is another string, and refused.
#[test]
fn token_has_exactly_one_spelling() {
    let ring = ring();
    let wire = seal(&ring, Purpose::SessionId);
    let segments: Vec<_> = wire.split('.').collect();
    for (index, segment) in segments.iter().enumerate().skip(1) {
        let with = |changed: String| {
            let mut segments: Vec<_> = segments.iter().map(ToString::to_string).collect();
            segments[index] = changed;
            open(&ring, Purpose::SessionId, &segments.join("."))
        };
        let refused = Err(OpenError::Malformed);
        for suffix in ["=", "==", " ", "\n", "\0", "%3D", "+", "/", "é"] {
            let changed = format!("{segment}{suffix}");
            assert_eq!(with(changed), refused, "{index} {suffix:?}");
        }
        for suffix in ["A", "AA", "AAAA"] {
            assert!(with(format!("{segment}{suffix}")).is_err());
        }
        assert_eq!(with(format!(" {segment}")), refused);
        assert!(with(String::new()).is_err());
        if segment.len() % 4 != 0 {
            // The last character carries unused bits: its neighbour decodes to the same bytes.
            let last = segment.chars().last().unwrap();
            let stray = char::from_u32(u32::from(last) + 1).unwrap();
            let neighbour = format!("{}{stray}", &segment[..segment.len() - 1]);
            assert_eq!(with(neighbour), refused);
        }
    }
}

#[test]
fn every_changed_character_is_noticed() {
    let ring = ring();
    let wire = seal(&ring, Purpose::SessionId);
    for index in 0..wire.len() {
        for replacement in [b'A', b'B', b'_', b'.', b'=', b' ', 0x7f] {
            let mut bytes = wire.clone().into_bytes();
            if bytes[index] == replacement {
                continue;
            }
            bytes[index] = replacement;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(
                open(&ring, Purpose::SessionId, &changed).is_err(),
                "{index}"
            );
        }
    }
}

#[test]
fn client_secret_belongs_to_key_and_client() {
    let (one, two) = (ring(), ring());
    let secret = one.client_secret(one.active(), "client").unwrap();
    assert_eq!(secret.expose().len(), 43);
    let again = one.client_secret(one.active(), "client").unwrap();
    assert!(again.matches(secret.expose()));
    let other_client = one.client_secret(one.active(), "another").unwrap();
    assert!(!other_client.matches(secret.expose()));
    let other_key = two.client_secret(two.active(), "client").unwrap();
    assert!(!other_key.matches(secret.expose()));
    assert!(one.client_secret(two.active(), "client").is_none());
}

#[test]
fn nothing_secret_shows_in_debug() {
    let ring = ring();
    let wire = seal(&ring, Purpose::AccessToken);
    let sealed = Sealed::<AccessToken>::from_wire(wire.clone());
    assert_eq!(format!("{sealed:?}"), "Sealed<AccessToken>(…)");
    let opened = ring.open(&sealed, NOW).unwrap();
    assert!(!format!("{opened:?}").contains(&sample::opaque(20)));
    let shown = format!("{ring:?}");
    assert!(
        shown.contains(&ring.active().to_string()) && shown.len() < 200,
        "{shown}"
    );
}

/// Realistic provider tokens: GitHub's code has 20 characters, Google's 73, Keycloak's 110, Entra's
/// up to 1,300; refresh tokens 40, 103, 800, 1,500; access tokens 40, 220, 1,300, 2,500.
#[test]
fn tokens_stay_within_their_size_budget() {
    fn size<T: Record>(record: &T) -> usize {
        ring()
            .seal(record, &mut entropy::rng())
            .unwrap()
            .as_str()
            .len()
    }
    let within = |what: &str, size: usize, budget: usize| {
        assert!(size <= budget, "{what}: {size} > {budget}");
    };
    for short in [20, 73, 110] {
        within(
            "code with a short upstream code",
            size(&sample::code(short)),
            900,
        );
    }
    within(
        "code with the longest upstream code",
        size(&sample::code(1_300)),
        2_500,
    );
    within("client_id of one URI", size(&sample::registration(1)), 700);
    within(
        "client_id of four URIs",
        size(&sample::registration(4)),
        1_200,
    );
    within(
        "access token with identity only",
        size(&sample::access(None)),
        1_200,
    );
    for short in [40, 103] {
        within(
            "refresh token with a short one",
            size(&sample::refresh(short)),
            1_200,
        );
    }
    within(
        "access token with a JWT",
        size(&sample::access(Some(2_500))),
        4_096,
    );
    within(
        "access token with the longest",
        size(&sample::access(Some(4_500))),
        7_000,
    );
    // Everything that the client chooses, together, at its limit.
    let mut login = sample::login(0);
    let chosen = login.request.redirect_uri.len() + login.request.scope.to_string().len();
    login.request.state = Some(sample::opaque(2_400 - chosen));
    // RFC 6265bis §5.6: browsers keep 4,096 bytes of name and value; the name takes up to 200.
    within("login cookie", size(&login), 3_890);
    within("consent field", size(&sample::consent()), 1_200);
    within("session id", size(&sample::session()), 500);
}

proptest! {
    #[test]
    fn any_session_comes_back_as_it_went(id in ".{0,400}", subject in proptest::option::of(".{0,80}"), resource in "(/[a-z]{1,9}){0,4}") {
        let ring = ring();
        let record = SessionId {
            id,
            subject: subject.map(mcp_oauth::oauth::names::Subject::new),
            resource,
        };
        let sealed = ring.seal(&record, &mut entropy::rng()).unwrap();
        let opened = ring.open(&sealed, NOW).unwrap().record;
        prop_assert_eq!(opened.id, record.id);
        prop_assert_eq!(opened.subject, record.subject);
        prop_assert_eq!(opened.resource, record.resource);
    }

    #[test]
    fn any_length_comes_back_as_it_went(length in 0_usize..9_000) {
        let ring = ring();
        let mut record = sample::memo();
        record.body = Secret::new("\"".repeat(length / 4) + &sample::opaque(length / 2));
        let sealed = ring.seal(&record, &mut entropy::rng()).unwrap();
        let opened = ring.open(&sealed, NOW).unwrap().record;
        prop_assert!(opened.body.matches(record.body.expose()));
    }

    #[test]
    fn any_flipped_bit_is_noticed(purpose in 0..Purpose::ALL.len(), position in any::<prop::sample::Index>(), bit in 0_u32..7) {
        let ring = ring();
        let purpose = Purpose::ALL[purpose];
        let mut bytes = seal(&ring, purpose).into_bytes();
        let position = position.index(bytes.len());
        bytes[position] ^= 1 << bit;
        let changed = String::from_utf8(bytes).unwrap();
        prop_assert!(open(&ring, purpose, &changed).is_err());
    }

    #[test]
    fn any_text_is_refused_without_a_panic(text in "(?s).{0,300}", cut in any::<prop::sample::Index>()) {
        let ring = ring();
        let wire = seal(&ring, Purpose::AccessToken);
        let cut = cut.index(wire.len());
        for text in [text.clone(), format!("{}{text}", &wire[..cut]), format!("{text}{}", &wire[cut..])] {
            if text == wire {
                continue;
            }
            for purpose in Purpose::ALL {
                prop_assert!(open(&ring, purpose, &text).is_err());
            }
            ring.purpose_of(&text);
        }
    }
}
