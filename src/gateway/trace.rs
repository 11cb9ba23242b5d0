//! `traceparent` (W3C Trace Context §3.2) and `X-Request-Id`, one pair per request.
//!
//! A valid inbound `traceparent` is continued as its child; anything else starts a new, unsampled
//! trace. Refuses to take a request id from outside: it is written to logs.

use http::{HeaderMap, HeaderName, HeaderValue};
use rand::CryptoRng;

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The ids of one request.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    /// What logs name the request by.
    pub(crate) request_id: HeaderValue,
    parent: HeaderValue,
    /// Whether the trace began before us, so that its `tracestate` belongs to it.
    pub(crate) is_continued: bool,
}

impl Trace {
    /// Continues the trace of a request, or begins one.
    pub(crate) fn of(headers: &HeaderMap, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let request_id: [u8; 32] = random_digits(rng);
        let new_trace: [u8; 32] = random_digits(rng);
        let span: [u8; 16] = random_digits(rng);
        let inbound = inbound(headers);
        let (trace_id, flags) = inbound.unwrap_or((&new_trace, b"00"));
        let parent = [b"00", trace_id, &span, flags].join(&b'-');
        Self {
            request_id: digits(&request_id),
            parent: digits(&parent),
            is_continued: inbound.is_some(),
        }
    }

    /// Adds both headers.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        headers.insert(TRACEPARENT, self.parent.clone());
        headers.insert(X_REQUEST_ID, self.request_id.clone());
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

/// Digits and hyphens always fit into a header.
fn digits(text: &[u8]) -> HeaderValue {
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
        trace.parent.to_str().unwrap()
    }

    // G4
    #[test]
    fn valid_trace_is_continued_as_a_child() {
        let inbound = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = trace(inbound);
        assert!(trace.is_continued);
        assert!(parent(&trace).starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert!(parent(&trace).ends_with("-01"));
        assert_ne!(trace.parent, inbound);
        assert_eq!(parent(&trace).len(), 55);
        assert_eq!(trace.request_id.as_bytes().len(), 32);
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
            assert!(!trace.is_continued, "{bad}");
            assert!(parent(&trace).ends_with("-00"), "{bad}");
        }
    }
}
