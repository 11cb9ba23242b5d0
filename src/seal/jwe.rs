//! The envelope: JWE compact serialization with `A256KW` and `A256GCM` (RFC 7516 §3.1,
//! RFC 7518 §4.4 and §5.3). The only file that touches AES.
//!
//! Knows nothing of headers beyond their bytes: they are authenticated, never decoded. Refuses
//! anything but five segments of canonical base64url with the lengths that this pair of algorithms
//! has, and a content key or tag that does not verify.

use std::fmt;
use std::io;
use std::sync::LazyLock;

use aes_gcm::aead::AeadInOut as _;
use aes_gcm::{Aes256Gcm, KeyInit as _};
use aes_kw::KwAes256;
use base64::Engine as _;
use base64::engine::general_purpose::NO_PAD;
use rand::CryptoRng;
use zeroize::{Zeroize as _, Zeroizing};

use super::{OpenError, SealError};

/// The longest token that is looked at.
pub(super) const MAX_LENGTH: usize = 16 * 1024;

/// Content key plus the eight bytes that key wrapping adds (RFC 3394 §2.2.1).
const WRAPPED: usize = 40;
const IV: usize = 12;
const TAG: usize = 16;
/// Base64url characters of the fixed-length segments, and four dots.
const FIXED_CHARS: usize = 54 + 16 + 22 + 4;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
type Base64 = base64::engine::Simd;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
type Base64 = base64::engine::GeneralPurpose;

/// Base64url without padding; refuses padding, other characters and stray bits (RFC 7515 §2). The
/// vector engine because the crate's usual constants are scalar, and slower than the encryption.
pub(super) static BASE64: LazyLock<Base64> = LazyLock::new(|| {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    let engine = Base64::url_safe(NO_PAD);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let engine = Base64::new(&base64::alphabet::URL_SAFE, NO_PAD);
    engine
});

/// The five segments of a token, still encoded.
pub(super) struct Segments<'a> {
    pub(super) header: &'a str,
    wrapped_key: &'a str,
    iv: &'a str,
    ciphertext: &'a str,
    tag: &'a str,
}

impl<'a> Segments<'a> {
    /// Cuts a token at its dots.
    pub(super) fn split(wire: &'a str) -> Result<Self, OpenError> {
        if wire.len() > MAX_LENGTH {
            return Err(OpenError::TooLong);
        }
        let mut segments = wire.split('.');
        let mut next = || segments.next().ok_or(OpenError::NotSealed);
        let cut = Self {
            header: next()?,
            wrapped_key: next()?,
            iv: next()?,
            ciphertext: next()?,
            tag: next()?,
        };
        // RFC 7516 §3.1: exactly four period characters.
        match segments.next() {
            None => Ok(cut),
            Some(_) => Err(OpenError::NotSealed),
        }
    }
}

/// A prepared key-encryption key: the AES key schedule is computed once.
pub(super) struct WrappingKey(KwAes256);

impl WrappingKey {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(KwAes256::new(key.into()))
    }

    /// Encrypts under a fresh content key and a fresh IV.
    pub(super) fn seal(
        &self,
        header: &str,
        mut plaintext: Plaintext,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<String, SealError> {
        let mut content_key = Zeroizing::new([0; 32]);
        rng.fill_bytes(content_key.as_mut_slice());
        let mut iv = [0; IV];
        rng.fill_bytes(&mut iv);

        let mut wrapped_key = [0; WRAPPED];
        self.0
            .wrap_key(content_key.as_slice(), &mut wrapped_key)
            .map_err(|_| SealError::Cipher)?;
        // RFC 7516 §5.1 step 14: the encoded header is the additional authenticated data.
        let tag = Aes256Gcm::new((&*content_key).into())
            .encrypt_inout_detached(
                &iv.into(),
                header.as_bytes(),
                plaintext.0.as_mut_slice().into(),
            )
            .map_err(|_| SealError::Cipher)?;

        let length = header.len() + FIXED_CHARS + plaintext.0.len().div_ceil(3) * 4;
        if length > MAX_LENGTH {
            return Err(SealError::TooLong);
        }
        let mut wire = String::with_capacity(length);
        wire.push_str(header);
        for segment in [wrapped_key.as_slice(), &iv, &plaintext.0, tag.as_slice()] {
            wire.push('.');
            BASE64.encode_string(segment, &mut wire);
        }
        Ok(wire)
    }

    /// Decrypts. What does not verify is never decrypted at all.
    pub(super) fn open(&self, segments: &Segments<'_>) -> Result<Plaintext, OpenError> {
        let wrapped_key: [u8; WRAPPED] = decode::<_, { WRAPPED + 2 }>(segments.wrapped_key)?;
        let iv: [u8; IV] = decode::<_, IV>(segments.iv)?;
        let tag: [u8; TAG] = decode::<_, { TAG + 2 }>(segments.tag)?;
        let mut plaintext = Plaintext(Vec::new());
        BASE64
            .decode_vec(segments.ciphertext, &mut plaintext.0)
            .map_err(|_| OpenError::Malformed)?;

        let mut content_key = Zeroizing::new([0; 32]);
        self.0
            .unwrap_key(&wrapped_key, content_key.as_mut_slice())
            .map_err(|_| OpenError::WrongKey)?;
        Aes256Gcm::new((&*content_key).into())
            .decrypt_inout_detached(
                &iv.into(),
                segments.header.as_bytes(),
                plaintext.0.as_mut_slice().into(),
                &tag.into(),
            )
            .map_err(|_| OpenError::Tampered)?;
        Ok(plaintext)
    }
}

impl fmt::Debug for WrappingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrappingKey(…)")
    }
}

/// Decodes exactly `N` bytes; the decoder wants `ROOM` for its upper estimate.
fn decode<const N: usize, const ROOM: usize>(segment: &str) -> Result<[u8; N], OpenError> {
    let mut room = [0; ROOM];
    match BASE64.decode_slice(segment, &mut room) {
        Ok(length) if length == N => room.first_chunk::<N>().copied().ok_or(OpenError::Malformed),
        _ => Err(OpenError::Malformed),
    }
}

/// A record in the clear, on its way in or out. Wiped when it is dropped or outgrown.
pub(super) struct Plaintext(Vec<u8>);

impl Plaintext {
    /// Room for most records.
    const ROOM: usize = 1024;

    pub(super) fn empty() -> Self {
        Self(Vec::with_capacity(Self::ROOM))
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Moves to a bigger buffer, without leaving a copy behind as `Vec` itself would.
    #[cold]
    fn grow(&mut self, extra: usize) {
        let room = (self.0.len() + extra).max(self.0.capacity() * 2);
        let mut bigger = Vec::with_capacity(room);
        bigger.extend_from_slice(&self.0);
        *self = Self(bigger);
    }
}

impl io::Write for Plaintext {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.capacity() - self.0.len() < bytes.len() {
            self.grow(bytes.len());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes).map(drop)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Plaintext {
    fn drop(&mut self) {
        // Emptied first: spare capacity is wiped in bulk, elements one by one.
        self.0.clear();
        self.0.zeroize();
    }
}
