//! `traceparent` (W3C Trace Context §3.2) and `X-Request-Id`, one pair per request.
//!
//! A valid inbound `traceparent` is continued as its child; anything else starts a new, unsampled
//! trace. Refuses to take a request id from anybody but a trusted proxy, and one that is more than
//! a word: it is written to logs.

use http::{HeaderMap, HeaderName, HeaderValue};
use rand::CryptoRng;

/// W3C Trace Context §3.2.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// W3C Trace Context §3.3.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// What a request is called in logs.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that is taken from a proxy.
const LONGEST_ID: usize = 64;
/// The length of a `traceparent` of version 00.
const PARENT: usize = 55;
/// Where the trace id begins in it, and where it ends.
const TRACE_ID: std::ops::Range<usize> = 3..35;

/// The ids of one request. Plain bytes, since every request is named and few names are read.
#[derive(Clone, Copy, Debug)]
pub struct Trace {
    request_id: Word,
    parent: [u8; PARENT],
    is_continued: bool,
}

/// A request id.
#[derive(Clone, Copy, Debug)]
struct Word {
    bytes: [u8; LONGEST_ID],
    length: usize,
}

impl Word {
    /// Whatever can stand in a log line as it is.
    fn parse(id: &[u8]) -> Option<Self> {
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if id.is_empty() || !id.iter().all(fits) {
            return None;
        }
        let mut bytes = [0; LONGEST_ID];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        let length = id.len();
        Some(Self { bytes, length })
    }

    fn random(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut bytes = [0; LONGEST_ID];
        let digits: [u8; 32] = random_digits(rng);
        if let Some(start) = bytes.first_chunk_mut() {
            *start = digits;
        }
        let length = digits.len();
        Self { bytes, length }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Trace {
    /// Continues the trace of a request, or begins one.
    pub fn of(headers: &HeaderMap, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        Self::named(Word::random(rng), headers, rng)
    }

    /// As [`Self::of`], for a request that comes from a trusted proxy: its id is kept if it is a
    /// word.
    pub fn of_proxied(headers: &HeaderMap, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut ids = headers.get_all(X_REQUEST_ID).iter();
        let only = ids.next().filter(|_| ids.next().is_none());
        match only.and_then(|id| Word::parse(id.as_bytes())) {
            Some(id) => Self::named(id, headers, rng),
            None => Self::of(headers, rng),
        }
    }

    fn named(request_id: Word, headers: &HeaderMap, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let new_trace: [u8; 32] = random_digits(rng);
        let span: [u8; 16] = random_digits(rng);
        let inbound = inbound(headers);
        let (trace_id, flags) = inbound.unwrap_or((&new_trace, b"00"));
        let mut parent = [b'-'; PARENT];
        for (at, field) in [(0, &b"00"[..]), (3, trace_id), (36, &span), (53, flags)] {
            let room = parent.get_mut(at..).unwrap_or_default();
            for (to, from) in room.iter_mut().zip(field) {
                *to = *from;
            }
        }
        Self {
            request_id,
            parent,
            is_continued: inbound.is_some(),
        }
    }

    /// What logs name the request by.
    pub fn request_id(&self) -> &str {
        std::str::from_utf8(self.request_id.as_bytes()).unwrap_or_default()
    }

    /// What the traces of other programs name it by.
    pub fn trace_id(&self) -> &str {
        let trace_id = self.parent.get(TRACE_ID).unwrap_or_default();
        std::str::from_utf8(trace_id).unwrap_or_default()
    }

    /// Whether the trace began before us, so that its `tracestate` belongs to it.
    pub const fn is_continued(&self) -> bool {
        self.is_continued
    }

    /// Adds both headers, for the backend.
    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert(TRACEPARENT, value(&self.parent));
        self.tell(headers);
    }

    /// Adds the request id, for the client.
    pub fn tell(&self, headers: &mut HeaderMap) {
        headers.insert(X_REQUEST_ID, value(self.request_id.as_bytes()));
    }
}

/// Random lower-case hex.
fn random_digits<const N: usize>(rng: &mut (impl CryptoRng + ?Sized)) -> [u8; N] {
    let mut digits = [0; N];
    rng.fill_bytes(&mut digits);
    // 256 is a multiple of 16, so every digit is as likely.
    digits.map(|byte| match byte % 16 {
        low @ 0..=9 => b'0' + low,
        high => b'a' + high - 10,
    })
}

/// Words and digits always fit into a header.
fn value(text: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(text).unwrap_or(HeaderValue::from_static("0"))
}

/// The trace id and flags of the one valid `traceparent`.
fn inbound(headers: &HeaderMap) -> Option<(&[u8], &[u8])> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let text = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let mut fields = text.split('-');
    let version = hex(fields.next()?, 2)?;
    let trace_id = hex(fields.next()?, 32)?;
    let parent_id = hex(fields.next()?, 16)?;
    let flags = hex(fields.next()?, 2)?;
    // §3.2.2.1: ff is invalid; version 00 has exactly four fields, later ones may have more.
    if version == "ff" || (version == "00" && fields.next().is_some()) {
        return None;
    }
    // §3.2.2.3, §3.2.2.4: all zeroes are invalid.
    let is_zero = |id: &str| id.bytes().all(|digit| digit == b'0');
    (!is_zero(trace_id) && !is_zero(parent_id)).then_some((trace_id.as_bytes(), flags.as_bytes()))
}

/// Lower-case hex of exactly this length.
fn hex(text: &str, length: usize) -> Option<&str> {
    let fits = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == length && text.bytes().all(fits)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(value: &str) -> Trace {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_str(value).unwrap());
        Trace::of(&headers, &mut crate::entropy::rng())
    }

    fn parent(trace: &Trace) -> &str {
        std::str::from_utf8(&trace.parent).unwrap()
    }

    // G4
    #[test]
    fn valid_trace_is_continued_as_a_child() {
        let inbound = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = trace(inbound);
        assert!(trace.is_continued());
        assert!(parent(&trace).starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert!(parent(&trace).ends_with("-01"));
        assert_ne!(parent(&trace), inbound);
        assert_eq!(parent(&trace).len(), 55);
        assert_eq!(trace.request_id().len(), 32);
        assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn invalid_trace_is_replaced() {
        for bad in [
            "",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        ] {
            let trace = trace(bad);
            assert!(!trace.is_continued(), "{bad}");
            assert!(parent(&trace).ends_with("-00"), "{bad}");
        }
    }

    #[test]
    fn request_id_of_a_proxy_is_kept_if_it_is_a_word() {
        let id = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(X_REQUEST_ID, HeaderValue::from_str(value).unwrap());
            }
            let rng = &mut crate::entropy::rng();
            Trace::of_proxied(&headers, rng).request_id().to_owned()
        };
        assert_eq!(id(&["a1-B2_c.3"]), "a1-B2_c.3");
        let long = "a".repeat(65);
        for odd in [&["a b"][..], &[""], &["\"x\""], &[&long], &["a", "b"], &[]] {
            assert_eq!(id(odd).len(), 32, "{odd:?}");
        }
    }
}
