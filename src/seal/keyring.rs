//! The keys in memory: which header belongs to which purpose and key (RFC 7516 §4.1, RFC 5869).
//!
//! Refuses a header that is not in its map, a purpose that is not the one asked for, a key that is
//! retired or revoked, duplicate members and trailing data in a record, a foreign issuer, and
//! whatever has expired.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::CryptoRng;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::jwe::{BASE64, Plaintext, Segments, WrappingKey};
use super::keyfile::{KeyError, KeyState, RootKey};
use super::meters::Meters;
use super::{OpenError, Opened, Purpose, Record, SealError, Sealed};
use crate::oauth::names::{Issuer, Secret};
use crate::time::Timestamp;

/// The id of a root key, derived from the key itself: 12 hexadecimal digits of its JWK thumbprint
/// (RFC 7638 §3), short because every token carries it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kid([u8; 6]);

impl Kid {
    pub(super) fn of(secret: &[u8; 32]) -> Self {
        let mut thumbprint = Sha256::new();
        // RFC 7638 §3.2: the required members of an `oct` key in lexicographic order.
        thumbprint.update(br#"{"k":""#);
        thumbprint.update(Zeroizing::new(BASE64.encode(secret)).as_bytes());
        thumbprint.update(br#"","kty":"oct"}"#);
        let mut kid = [0; 6];
        for (to, from) in kid.iter_mut().zip(thumbprint.finalize()) {
            *to = from;
        }
        Self(kid)
    }

    /// Reads the 12 digits that `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let number = u64::from_str_radix(text, 16).ok()?;
        let [_, _, kid @ ..] = number.to_be_bytes();
        let kid = Self(kid);
        (kid.to_string() == text).then_some(kid)
    }
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kid({self})")
    }
}

/// All keys as of one moment: immutable, shared, free of per-request set-up.
pub struct Keyring {
    issuer: Issuer,
    roots: Vec<Root>,
    /// Header segment → what it stands for.
    headers: HashMap<Box<str>, Slot>,
    /// Headers and keys that seal, in the order of [`Purpose::ALL`].
    sealing: Vec<(Box<str>, Arc<WrappingKey>)>,
    active: Kid,
    meters: Meters,
}

/// One root key, taken apart.
struct Root {
    kid: Kid,
    state: KeyState,
    created_at: Timestamp,
    /// HKDF's pseudorandom key, for wrapping keys that depend on a binding.
    extracted: Zeroizing<[u8; 32]>,
    /// The key of derived client secrets.
    client_secrets: Zeroizing<[u8; 32]>,
}

/// What a header segment stands for.
struct Slot {
    purpose: Purpose,
    root: usize,
    lock: Lock,
}

enum Lock {
    Opens(Arc<WrappingKey>),
    Refuses(OpenError),
}

impl Lock {
    /// What a key of some state still does for a purpose.
    fn of(state: KeyState, purpose: Purpose, extracted: &[u8; 32]) -> Result<Self, KeyError> {
        match state {
            KeyState::Revoked => return Ok(Self::Refuses(OpenError::RevokedKey)),
            KeyState::Retired if purpose != Purpose::ClientRegistration => {
                return Ok(Self::Refuses(OpenError::RetiredKey));
            }
            KeyState::Retired | KeyState::Active | KeyState::Accept => {}
        }
        let info: [&[u8]; 2] = [b"kek\0", purpose.typ().as_bytes()];
        let key = derive(extracted, &info).ok_or(KeyError::Derivation)?;
        Ok(Self::Opens(Arc::new(WrappingKey::new(&key))))
    }
}

impl Keyring {
    /// Puts keys together for an issuer. `place` names them in an error.
    pub fn new(keys: &[RootKey], issuer: &Issuer, place: &str) -> Result<Self, KeyError> {
        if keys.is_empty() {
            return Err(KeyError::Missing(place.to_owned()));
        }
        let active =
            RootKey::sealing(keys).ok_or_else(|| KeyError::NoneActive(place.to_owned()))?;
        let mut ring = Self {
            issuer: issuer.clone(),
            roots: Vec::with_capacity(keys.len()),
            headers: HashMap::with_capacity(keys.len() * Purpose::ALL.len()),
            sealing: Vec::with_capacity(Purpose::ALL.len()),
            active: active.kid().clone(),
            meters: Meters::new(),
        };
        for key in keys {
            ring.add(key)?;
        }
        Ok(ring)
    }

    /// A ring of one new key, which is forgotten with it: for tests and demonstrations.
    pub fn generate(
        issuer: &Issuer,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, KeyError> {
        let key = RootKey::generate(KeyState::Active, Timestamp::default(), rng);
        Self::new(&[key], issuer, "memory")
    }

    fn add(&mut self, key: &RootKey) -> Result<(), KeyError> {
        if self.root(key.kid()).is_some() {
            return Err(KeyError::Twice(key.kid().clone()));
        }
        let salt = Sha256::new()
            .chain_update("mcp-oauth/1\0")
            .chain_update(self.issuer.as_str())
            .finalize();
        let (extracted, _) = Hkdf::<Sha256>::extract(Some(&salt), key.secret());
        let extracted = Zeroizing::new(extracted.into());
        for purpose in Purpose::ALL {
            let segment = header(key.kid(), purpose);
            let lock = Lock::of(key.state, purpose, &extracted)?;
            if let Lock::Opens(wrapping_key) = &lock
                && *key.kid() == self.active
            {
                let sealing = (segment.clone(), Arc::clone(wrapping_key));
                self.sealing.push(sealing);
            }
            let slot = Slot {
                purpose,
                root: self.roots.len(),
                lock,
            };
            self.headers.insert(segment, slot);
        }
        let client_secrets = derive(&extracted, &[b"client_secret"]).ok_or(KeyError::Derivation)?;
        self.roots.push(Root {
            kid: key.kid().clone(),
            state: key.state,
            created_at: key.created_at,
            extracted,
            client_secrets,
        });
        Ok(())
    }

    /// Seals a record with the active key.
    pub fn seal<T: Record>(
        &self,
        record: &T,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Sealed<T>, SealError> {
        let (header, key) = self.sealing(T::PURPOSE)?;
        let wire = key.seal(header, write(record)?, rng)?;
        self.meters.sealed(T::PURPOSE, wire.len());
        Ok(Sealed::from_wire(wire))
    }

    /// Opens a token: length, shape, header, encoding, unwrap, decrypt, JSON, issuer, expiry.
    pub fn open<T: Record>(
        &self,
        token: &Sealed<T>,
        now: Timestamp,
    ) -> Result<Opened<T>, OpenError> {
        self.noted(self.opened(token, now))
    }

    /// Counts a token that did not open.
    pub(super) fn noted<T: Record>(
        &self,
        opened: Result<Opened<T>, OpenError>,
    ) -> Result<Opened<T>, OpenError> {
        opened.inspect_err(|error| self.meters.not_opened(T::PURPOSE, *error))
    }

    /// As [`Self::open`], without counting: the caller may look for another ring first.
    pub(super) fn opened<T: Record>(
        &self,
        token: &Sealed<T>,
        now: Timestamp,
    ) -> Result<Opened<T>, OpenError> {
        let segments = Segments::split(token.as_str())?;
        let (key, root) = self.find::<T>(segments.header)?;
        self.admit(root, &key.open(&segments)?, now)
    }

    /// Seals under a key that also needs `binding` (a presented token) to open.
    pub fn seal_bound<T: Record>(
        &self,
        record: &T,
        binding: &Secret,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Sealed<T>, SealError> {
        let (header, _) = self.sealing(T::PURPOSE)?;
        let root = self.root(&self.active).ok_or(SealError::Key)?;
        let key = root.bound_key(T::PURPOSE, binding).ok_or(SealError::Key)?;
        let wire = key.seal(header, write(record)?, rng)?;
        self.meters.sealed(T::PURPOSE, wire.len());
        Ok(Sealed::from_wire(wire))
    }

    /// Opens what [`Self::seal_bound`] sealed with the same `binding`.
    pub fn open_bound<T: Record>(
        &self,
        token: &Sealed<T>,
        binding: &Secret,
        now: Timestamp,
    ) -> Result<Opened<T>, OpenError> {
        let opened = Segments::split(token.as_str()).and_then(|segments| {
            let (_, root) = self.find::<T>(segments.header)?;
            let key = root.bound_key(T::PURPOSE, binding);
            let key = key.ok_or(OpenError::WrongKey)?;
            self.admit(root, &key.open(&segments)?, now)
        });
        self.noted(opened)
    }

    /// The client secret that belongs to a `client_id`, derived from the root key `kid` (the one
    /// that sealed it; the active key for a client that is registered now).
    pub fn client_secret(&self, kid: &Kid, client_id: &str) -> Option<Secret> {
        let root = self.root(kid)?;
        if root.state == KeyState::Revoked {
            return None;
        }
        let mut mac = Hmac::<Sha256>::new_from_slice(root.client_secrets.as_slice()).ok()?;
        mac.update(client_id.as_bytes());
        Some(Secret::new(BASE64.encode(mac.finalize().into_bytes())))
    }

    /// The key that seals now.
    pub const fn active(&self) -> &Kid {
        &self.active
    }

    /// Every key with its state and when it was made: for metrics and for the log.
    pub fn states(&self) -> impl Iterator<Item = (&Kid, KeyState, Timestamp)> {
        self.roots
            .iter()
            .map(|root| (&root.kid, root.state, root.created_at))
    }

    /// Every key with its state, in one line for the log.
    pub(super) fn summary(&self) -> String {
        let keys: Vec<String> = self
            .states()
            .map(|(kid, state, _)| format!("{kid} {state}"))
            .collect();
        keys.join(", ")
    }

    /// What a token claims to be for, by its header alone; `None` if that is not one of ours.
    ///
    /// # Security
    ///
    /// Nothing is verified: a claim, not a finding.
    pub fn purpose_of(&self, wire: &str) -> Option<Purpose> {
        let (header, _) = wire.split_once('.')?;
        self.headers.get(header).map(|slot| slot.purpose)
    }

    fn sealing(&self, purpose: Purpose) -> Result<(&str, &WrappingKey), SealError> {
        let (header, key) = self.sealing.get(purpose as usize).ok_or(SealError::Key)?;
        Ok((header, key))
    }

    fn root(&self, kid: &Kid) -> Option<&Root> {
        self.roots.iter().find(|root| root.kid == *kid)
    }

    fn find<T: Record>(&self, header: &str) -> Result<(&WrappingKey, &Root), OpenError> {
        let Some(slot) = self.headers.get(header) else {
            return Err(stranger(header));
        };
        // RFC 8725 §3.11, §3.12: tokens of one kind are not accepted as another.
        if slot.purpose != T::PURPOSE {
            return Err(OpenError::WrongPurpose);
        }
        let root = self.roots.get(slot.root).ok_or(OpenError::UnknownKey)?;
        match &slot.lock {
            Lock::Opens(key) => Ok((key, root)),
            Lock::Refuses(refusal) => Err(*refusal),
        }
    }

    /// The checks of the content. Expiry is here and nowhere else, so no record can forget it.
    fn admit<T: Record>(
        &self,
        root: &Root,
        plaintext: &Plaintext,
        now: Timestamp,
    ) -> Result<Opened<T>, OpenError> {
        // Checked once as a whole; the parser would check every string of it.
        let text = std::str::from_utf8(plaintext.as_slice()).map_err(|_| OpenError::BadRecord)?;
        let record: T = serde_json::from_str(text).map_err(|_| OpenError::BadRecord)?;
        // RFC 9068 §4: the issuer must match exactly.
        if record.issuer().is_some_and(|it| it != self.issuer.as_str()) {
            return Err(OpenError::WrongIssuer);
        }
        // RFC 7519 §4.1.4: on or after `exp` it must not be accepted.
        if record.expires_at().is_some_and(|end| end.is_past(now)) {
            return Err(OpenError::Expired);
        }
        Ok(Opened {
            record,
            kid: root.kid.clone(),
        })
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states: Vec<_> = self.states().map(|(kid, state, _)| (kid, state)).collect();
        f.debug_struct("Keyring")
            .field("issuer", &self.issuer)
            .field("active", &self.active)
            .field("keys", &states)
            .finish_non_exhaustive()
    }
}

impl Root {
    /// The wrapping key of a bound token: made when needed, since a binding is met once or twice.
    fn bound_key(&self, purpose: Purpose, binding: &Secret) -> Option<WrappingKey> {
        let binding = Sha256::digest(binding.expose());
        let info: [&[u8]; 4] = [b"kek\0", purpose.typ().as_bytes(), b"\0", &binding];
        Some(WrappingKey::new(&*derive(&self.extracted, &info)?))
    }
}

/// HKDF-Expand (RFC 5869 §2.3).
fn derive(extracted: &[u8; 32], info: &[&[u8]]) -> Option<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::from_prk(extracted)
        .ok()?
        .expand_multi_info(info, key.as_mut_slice())
        .ok()?;
    Some(key)
}

fn write<T: Record>(record: &T) -> Result<Plaintext, SealError> {
    let mut plaintext = Plaintext::empty();
    serde_json::to_writer(&mut plaintext, record)?;
    Ok(plaintext)
}

/// What comes before the `kid`: 39 bytes, so that the base64url of the three pieces of a header can
/// be put side by side.
const BEFORE_KID: &str = r#"{"alg":"A256KW","enc":"A256GCM","kid":""#;

fn after_kid(purpose: Purpose) -> String {
    format!(r#"","typ":"{}"}}"#, purpose.typ())
}

/// The header segment of a key and purpose, in exactly one spelling.
fn header(kid: &Kid, purpose: Purpose) -> Box<str> {
    let json = format!("{BEFORE_KID}{kid}{}", after_kid(purpose));
    BASE64.encode(json).into_boxed_str()
}

/// Tells a header of ours with an unknown key from one that we never write, by comparing encoded
/// pieces: nothing is decoded.
#[cold]
fn stranger(header: &str) -> OpenError {
    const KID_CHARS: usize = 16;
    let ours = header
        .strip_prefix(&BASE64.encode(BEFORE_KID))
        .and_then(|rest| rest.get(KID_CHARS..))
        .is_some_and(|rest| {
            Purpose::ALL
                .iter()
                .any(|purpose| rest == BASE64.encode(after_kid(*purpose)))
        });
    if ours {
        OpenError::UnknownKey
    } else {
        OpenError::NotSealed
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Session {
        id: String,
    }

    impl Record for Session {
        const PURPOSE: Purpose = Purpose::SessionId;

        fn expires_at(&self) -> Option<Timestamp> {
            None
        }
    }

    #[test]
    fn pieces_of_a_header_encode_side_by_side() {
        assert_eq!(BEFORE_KID.len() % 3, 0);
        let kid = Kid([0xab; 6]);
        assert_eq!(kid.to_string().len() % 3, 0);
        for purpose in Purpose::ALL {
            assert_eq!(stranger(&header(&kid, purpose)), OpenError::UnknownKey);
        }
        assert_eq!(stranger("eyJhbGciOiJkaXIifQ"), OpenError::NotSealed);
        let cut = BASE64.encode(BEFORE_KID);
        assert_eq!(stranger(&cut), OpenError::NotSealed);
        assert_eq!(stranger(&format!("{cut}äöüäöüäöü")), OpenError::NotSealed);
    }

    #[test]
    fn data_after_the_record_is_refused() {
        let jwk = r#"{"kty":"oct","k":"W1vBUI1-5HARc-qyT8hcYBt6q9sFNsztBrhlbl9W2CA"}"#;
        let keys = [RootKey::from_jwk(jwk, "test").unwrap()];
        let ring = Keyring::new(&keys, &Issuer::new("https://mcp.example.com"), "test").unwrap();
        let open = |content: &str| {
            let mut plaintext = Plaintext::empty();
            plaintext.write_all(content.as_bytes()).unwrap();
            ring.admit::<Session>(&ring.roots[0], &plaintext, Timestamp::default())
                .map(|opened| opened.record.id)
        };
        let record = r#"{"id":"7c1e"}"#;
        assert_eq!(open(record), Ok("7c1e".to_owned()));
        for after in ["x", "{}", ",", "\0", "\u{feff}", record] {
            let refused = open(&format!("{record}{after}"));
            assert_eq!(refused, Err(OpenError::BadRecord), "{after:?}");
        }
        assert_eq!(open(""), Err(OpenError::BadRecord));
    }
}
