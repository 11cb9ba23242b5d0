//! Sealed tokens: JWE compact serialization (RFC 7516 §3.1) with `A256KW` and `A256GCM`.
//!
//! ```text
//!  record ── JSON ── A256GCM(fresh content key, fresh IV, AAD = header) ──► header.key.iv.data.tag
//!                          └ A256KW(wrapping key)                            │
//!  root key ── HKDF(issuer, typ) ── wrapping key, one per purpose            ▼
//!            ┌─────────────── Keyring: header segment → (purpose, prepared key) ◄─ compared,
//!            │                                                                     never parsed
//!  Keys ─────┴ hot-reloaded handle: files are polled, an unknown kid makes it look at once
//!
//!  open: length → four dots → header known → base64url → unwrap → tag → JSON → issuer → expiry
//! ```
//!
//! Refuses every header that it did not write itself, so that there is nothing to negotiate
//! (RFC 8725 §3.1); a token of one purpose where another is asked (RFC 8725 §3.11); a token of
//! another issuer under the same root key.
//!
//! ```
//! use mcp_oauth::entropy;
//! use mcp_oauth::oauth::names::{Issuer, Subject};
//! use mcp_oauth::oauth::records::SessionId;
//! use mcp_oauth::seal::{Keyring, Sealed};
//! use mcp_oauth::time::Timestamp;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let issuer = Issuer::new("https://mcp.example.com");
//! let keyring = Keyring::generate(&issuer, &mut entropy::rng())?;
//! let session = SessionId {
//!     id: "7c1e".into(),
//!     subject: Some(Subject::new("github:583231")),
//!     resource: "/mcp".into(),
//! };
//!
//! let sealed = keyring.seal(&session, &mut entropy::rng())?;
//! let wire: String = sealed.into_wire();
//!
//! let token = Sealed::<SessionId>::from_wire(wire);
//! let opened = keyring.open(&token, Timestamp::from_secs(1_700_000_000))?;
//! assert_eq!(opened.record.id, "7c1e");
//! # Ok(())
//! # }
//! ```
//!
//! What a token is for is in its type. A code does not compile where an access token is asked:
//!
//! ```compile_fail,E0308
//! use mcp_oauth::oauth::records::{AccessToken, AuthorizationCode};
//! use mcp_oauth::seal::Sealed;
//!
//! fn bearer(_: &Sealed<AccessToken>) {}
//! bearer(&Sealed::<AuthorizationCode>::from_wire("…"));
//! ```

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::time::Timestamp;

mod ages;
mod directory;
mod jwe;
mod keyfile;
mod keyring;
mod meters;
#[cfg(test)]
mod vectors;
mod watch;

pub use ages::Ages;
pub use directory::{KeyDirectory, KeyFile};
pub use keyfile::{KeyError, KeyProblem, KeyState, RootKey};
pub use keyring::{Keyring, Kid};
pub use watch::{KeySource, Keys};

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

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 8] = [
        Self::ClientRegistration,
        Self::PendingConsent,
        Self::PendingLogin,
        Self::AuthorizationCode,
        Self::AccessToken,
        Self::RefreshToken,
        Self::SessionId,
        Self::Memo,
    ];

    /// The `typ` header: what it is, and the version of its meaning.
    pub const fn typ(self) -> &'static str {
        match self {
            Self::ClientRegistration => "cl1",
            Self::PendingConsent => "cs1",
            Self::PendingLogin => "lg1",
            Self::AuthorizationCode => "ac1",
            Self::AccessToken => "at1",
            Self::RefreshToken => "rt1",
            Self::SessionId => "ms1",
            Self::Memo => "mm1",
        }
    }
}

impl Purpose {
    /// A word for metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ClientRegistration => "client_registration",
            Self::PendingConsent => "pending_consent",
            Self::PendingLogin => "pending_login",
            Self::AuthorizationCode => "authorization_code",
            Self::AccessToken => "access_token",
            Self::RefreshToken => "refresh_token",
            Self::SessionId => "session_id",
            Self::Memo => "memo",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientRegistration => "client registration",
            Self::PendingConsent => "pending consent",
            Self::PendingLogin => "pending login",
            Self::AuthorizationCode => "authorization code",
            Self::AccessToken => "access token",
            Self::RefreshToken => "refresh token",
            Self::SessionId => "session id",
            Self::Memo => "memo",
        })
    }
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

impl<T> Clone for Sealed<T> {
    fn clone(&self) -> Self {
        Self {
            wire: self.wire.clone(),
            record: PhantomData,
        }
    }
}

impl<T: Record> fmt::Debug for Sealed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed<{:?}>(…)", T::PURPOSE)
    }
}

/// A token that was opened: its record, and the root key that it was sealed with.
#[derive(Debug)]
pub struct Opened<T> {
    /// The plaintext.
    pub record: T,
    /// The root key.
    pub kid: Kid,
}

/// Why a token did not open, in the order of the checks. For the log; the outside hears one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// More than 16 KiB.
    #[error("it is longer than 16 KiB")]
    TooLong,
    /// Not five segments, or a header that this server does not write.
    #[error("it is not a token of this server")]
    NotSealed,
    /// A header of ours, but with a key that is not in the ring.
    #[error("its key is not known here")]
    UnknownKey,
    /// A token of ours for something else.
    #[error("it is a token for another purpose")]
    WrongPurpose,
    /// Its key is retired: only client registrations open with it.
    #[error("its key is retired")]
    RetiredKey,
    /// Its key is revoked.
    #[error("its key is revoked")]
    RevokedKey,
    /// A segment is not canonical base64url of the right length.
    #[error("it is damaged: a segment is not canonical base64url of the right length")]
    Malformed,
    /// The content key does not unwrap.
    #[error("its content key does not unwrap: it was altered, or sealed for another `public_url`")]
    WrongKey,
    /// The authentication tag does not match.
    #[error("it was altered: the authentication tag does not match")]
    Tampered,
    /// The plaintext is not the record that its purpose promises.
    #[error("its content is not the record that its purpose promises")]
    BadRecord,
    /// The issuer inside is not ours.
    #[error("it was issued under another `public_url`")]
    WrongIssuer,
    /// Its end has passed.
    #[error("it has expired")]
    Expired,
}

impl OpenError {
    /// Every cause.
    pub const ALL: [Self; 12] = [
        Self::TooLong,
        Self::NotSealed,
        Self::UnknownKey,
        Self::WrongPurpose,
        Self::RetiredKey,
        Self::RevokedKey,
        Self::Malformed,
        Self::WrongKey,
        Self::Tampered,
        Self::BadRecord,
        Self::WrongIssuer,
        Self::Expired,
    ];

    /// A word for metrics and logs.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::NotSealed => "not_sealed",
            Self::UnknownKey => "unknown_key",
            Self::WrongPurpose => "wrong_purpose",
            Self::RetiredKey => "retired_key",
            Self::RevokedKey => "revoked_key",
            Self::Malformed => "malformed",
            Self::WrongKey => "wrong_key",
            Self::Tampered => "tampered",
            Self::BadRecord => "bad_record",
            Self::WrongIssuer => "wrong_issuer",
            Self::Expired => "expired",
        }
    }
}

/// Why a record could not be sealed: always a fault of ours.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The record did not become JSON.
    #[error("the record cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// The token would be longer than what is opened again.
    #[error("the token would be longer than 16 KiB")]
    TooLong,
    /// The binding of a bound token could not be turned into a key.
    #[error("the wrapping key cannot be derived")]
    Key,
    /// The cipher refused, which it does for absurd lengths only.
    #[error("the cipher refused the record")]
    Cipher,
}
