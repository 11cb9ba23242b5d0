//! Sealed tokens: JWE compact serialization (RFC 7516 §3.1) with `A256KW` and `A256GCM`.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::time::Timestamp;

/// What a sealed token is for. Each has its own `typ` and its own wrapping key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// `cl1`, a client registration.
    ClientRegistration,
    /// `cs1`, the hidden field of a consent form.
    PendingConsent,
    /// `lg1`, a login session.
    PendingLogin,
    /// `ac1`, an authorization code.
    AuthorizationCode,
    /// `at1`, an access token.
    AccessToken,
    /// `rt1`, a refresh token.
    RefreshToken,
    /// `ms1`, a backend's session id.
    SessionId,
    /// `mm1`, a remembered refresh answer.
    Memo,
}

/// A struct that can be sealed.
pub trait Record: Serialize + DeserializeOwned {
    /// What tokens of this kind are for.
    const PURPOSE: Purpose;

    /// When a token of this kind ends; `None` if it does not.
    fn expires_at(&self) -> Option<Timestamp>;

    /// The issuer written in it, where the record carries one.
    fn issuer(&self) -> Option<&str> {
        None
    }
}

/// A token on the wire whose plaintext is a `T`, once opened.
pub struct Sealed<T> {
    wire: String,
    record: PhantomData<fn() -> T>,
}

impl<T: Record> Sealed<T> {
    /// Takes a string from the wire. Nothing is checked before it is opened.
    pub fn from_wire(wire: impl Into<String>) -> Self {
        Self {
            wire: wire.into(),
            record: PhantomData,
        }
    }

    /// The token as it goes over the wire.
    pub fn as_str(&self) -> &str {
        &self.wire
    }

    /// The token as it goes over the wire.
    pub fn into_wire(self) -> String {
        self.wire
    }
}

impl<T: Record> fmt::Debug for Sealed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed<{:?}>(…)", T::PURPOSE)
    }
}

mod keyring;
pub use keyring::{Keyring, Keys, Kid};

/// A token that was opened: its record, and the root key that it was sealed with.
#[derive(Debug)]
pub struct Opened<T> {
    /// The plaintext.
    pub record: T,
    /// The root key.
    pub kid: Kid,
}

/// Why a token did not open. For the log; the outside hears one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Its end has passed.
    #[error("it has expired")]
    Expired,
}

/// Why a record could not be sealed: always a fault of ours.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The record did not become JSON.
    #[error("the record cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}
