//! The keys in memory.
use rand::CryptoRng;

use super::{OpenError, Opened, Record, SealError, Sealed};
use crate::oauth::names::Secret;
use crate::time::Timestamp;

/// The id of a root key, derived from the key itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kid(String);

/// All keys as of one moment: immutable, shared, free of per-request set-up.
#[derive(Debug)]
pub struct Keyring {}

impl Keyring {
    /// Seals a record with the active key.
    pub fn seal<T: Record>(
        &self,
        _record: &T,
        _rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Sealed<T>, SealError> {
        todo!()
    }

    /// Opens a token: length, shape, header, encoding, unwrap, decrypt, JSON, issuer, expiry.
    pub fn open<T: Record>(
        &self,
        _token: &Sealed<T>,
        _now: Timestamp,
    ) -> Result<Opened<T>, OpenError> {
        todo!()
    }

    /// Seals under a key that also needs `binding` (a presented token) to open.
    pub fn seal_bound<T: Record>(
        &self,
        _record: &T,
        _binding: &Secret,
        _rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Sealed<T>, SealError> {
        todo!()
    }

    /// Opens what [`Self::seal_bound`] sealed with the same `binding`.
    pub fn open_bound<T: Record>(
        &self,
        _token: &Sealed<T>,
        _binding: &Secret,
        _now: Timestamp,
    ) -> Result<Opened<T>, OpenError> {
        todo!()
    }

    /// The client secret that belongs to a `client_id`, derived from the root key `kid` (the one that sealed it; the
    /// active key for a client that is registered now).
    pub fn client_secret(&self, _kid: &Kid, _client_id: &str) -> Option<Secret> {
        todo!()
    }

    /// The key that seals now.
    pub fn active(&self) -> &Kid {
        todo!()
    }
}

/// The live handle on the keys: hot-reloaded, shared by the whole process.
#[derive(Debug)]
pub struct Keys {}

impl Keys {
    /// The keys as of now, for sealing.
    pub fn current(&self) -> std::sync::Arc<Keyring> {
        todo!()
    }

    /// As [`Keyring::open`]; an unknown `kid` in a well-formed header makes it look for new keys once.
    pub fn open<T: Record>(
        &self,
        _token: &Sealed<T>,
        _now: Timestamp,
    ) -> Result<Opened<T>, OpenError> {
        todo!()
    }
}
