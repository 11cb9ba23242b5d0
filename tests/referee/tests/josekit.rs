//! `josekit` opens what we seal, given the key, and we open what it seals with our header: the
//! tokens are standard JWE (RFC 7516), not something like it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use josekit::jwe::{A256KW, JweHeader, deserialize_compact, serialize_compact};
use mcp_oauth::entropy;
use mcp_oauth::oauth::names::Issuer;
use mcp_oauth::oauth::records::{
    AccessToken, AuthorizationCode, ClientRegistration, Memo, PendingConsent, PendingLogin,
    RefreshToken, SessionId,
};
use mcp_oauth::seal::{KeyState, Keyring, OpenError, Record, RootKey, Sealed};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

#[path = "../../api/seal_samples.rs"]
mod samples;

/// The wrapping key of a purpose, derived here from the JWK as the documentation says.
fn wrapping_key(jwk: &str, issuer: &Issuer, typ: &str) -> Vec<u8> {
    let jwk: Value = serde_json::from_str(jwk).unwrap();
    let root = URL_SAFE_NO_PAD.decode(jwk["k"].as_str().unwrap()).unwrap();
    let salt = Sha256::digest(["mcp-oauth/1\0", issuer.as_str()].concat());
    let mut key = vec![0; 32];
    Hkdf::<Sha256>::new(Some(&salt), &root)
        .expand(["kek\0", typ].concat().as_bytes(), &mut key)
        .unwrap();
    key
}

struct Referee {
    jwk: String,
    ring: Keyring,
}

impl Referee {
    fn new() -> Self {
        let key = RootKey::generate(KeyState::Active, samples::NOW, &mut entropy::rng());
        let jwk = key.to_jwk().expose().to_owned();
        let ring = Keyring::new(&[key], &samples::issuer(), "referee").unwrap();
        Self { jwk, ring }
    }

    fn key<T: Record>(&self) -> Vec<u8> {
        wrapping_key(&self.jwk, &samples::issuer(), T::PURPOSE.typ())
    }

    fn header<T: Record>(&self, kid: &str) -> JweHeader {
        let mut header = JweHeader::new();
        header.set_algorithm("A256KW");
        header.set_content_encryption("A256GCM");
        header.set_key_id(kid);
        header.set_token_type(T::PURPOSE.typ());
        header
    }

    fn agree<T: Record>(&self, record: &T) {
        let json = serde_json::to_value(record).unwrap();
        let kid = self.ring.active().to_string();

        let ours = self.ring.seal(record, &mut entropy::rng()).unwrap();
        let decrypter = A256KW.decrypter_from_bytes(self.key::<T>()).unwrap();
        let (plaintext, header) = deserialize_compact(ours.as_str(), &decrypter).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&plaintext).unwrap(), json);
        assert_eq!(header, self.header::<T>(&kid));

        let encrypter = A256KW.encrypter_from_bytes(self.key::<T>()).unwrap();
        let theirs = serialize_compact(&plaintext, &self.header::<T>(&kid), &encrypter).unwrap();
        // Its members are sorted as ours are, so that the header has the same bytes.
        let header = |wire: &str| wire.split('.').next().unwrap().to_owned();
        assert_eq!(header(&theirs), header(ours.as_str()));
        let opened = self
            .ring
            .open(&Sealed::<T>::from_wire(theirs), samples::NOW)
            .unwrap();
        assert_eq!(serde_json::to_value(&opened.record).unwrap(), json);
    }
}

#[test]
fn every_record_goes_both_ways() {
    let referee = Referee::new();
    referee.agree::<ClientRegistration>(&samples::registration(4));
    referee.agree::<PendingConsent>(&samples::consent());
    referee.agree::<PendingLogin>(&samples::login(43));
    referee.agree::<AuthorizationCode>(&samples::code(1_300));
    referee.agree::<AccessToken>(&samples::access(None));
    referee.agree::<AccessToken>(&samples::access(Some(2_500)));
    referee.agree::<RefreshToken>(&samples::refresh(800));
    referee.agree::<SessionId>(&samples::session());
    referee.agree::<Memo>(&samples::memo());
}

#[test]
fn authentic_token_under_another_header_is_refused() {
    let referee = Referee::new();
    let kid = referee.ring.active().to_string();
    let plaintext = serde_json::to_vec(&samples::session()).unwrap();
    let encrypter = A256KW
        .encrypter_from_bytes(referee.key::<SessionId>())
        .unwrap();
    let open = |change: &dyn Fn(&mut JweHeader)| {
        let mut header = referee.header::<SessionId>(&kid);
        change(&mut header);
        let wire = serialize_compact(&plaintext, &header, &encrypter).unwrap();
        let opened = referee
            .ring
            .open(&Sealed::<SessionId>::from_wire(wire), samples::NOW);
        opened.map(|opened| opened.record.id)
    };
    assert_eq!(open(&|_| {}), Ok(samples::session().id));
    assert_eq!(open(&|it| it.set_key_id("k1")), Err(OpenError::NotSealed));
    assert_eq!(
        open(&|it| it.set_key_id("000000000000")),
        Err(OpenError::UnknownKey)
    );
    assert_eq!(
        open(&|it| it.set_token_type("JWT")),
        Err(OpenError::NotSealed)
    );
    assert_eq!(
        open(&|it| it.set_token_type("mm1")),
        Err(OpenError::WrongPurpose)
    );
    assert_eq!(
        open(&|it| it.set_content_type("JWT")),
        Err(OpenError::NotSealed)
    );
    assert_eq!(
        open(&|it| it.set_compression("DEF")),
        Err(OpenError::NotSealed)
    );
    assert_eq!(
        open(&|it| it.set_content_encryption("A128GCM")),
        Err(OpenError::NotSealed)
    );
}
