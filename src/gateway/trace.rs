//! `traceparent` (W3C Trace Context §3.2) and `X-Request-Id`, one pair per request.
//!
//! A valid inbound `traceparent` is continued as its child; anything else starts a new, unsampled
//! trace. Refuses to take a request id from outside: it is written to logs.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};
use rand::CryptoRng;

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The ids of one request.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    /// What logs name the request by.
    pub(crate) request_id: String,
    parent: String,
    /// Whether the trace began before us, so that its `tracestate` belongs to it.
    pub(crate) is_continued: bool,
}

impl Trace {
    /// Continues the trace of a request, or begins one.
    pub(crate) fn of(headers: &HeaderMap, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut random = [0; 40];
        rng.fill_bytes(&mut random);
        let mut digits = String::with_capacity(80);
        for byte in random {
            // Writing to a string cannot fail.
            let _ = write!(digits, "{byte:02x}");
        }
        let (request_id, rest) = digits.split_at(32);
        let (new_trace, span) = rest.split_at(32);
        let inbound = inbound(headers);
        let (trace_id, flags) = inbound.unwrap_or((new_trace, "00"));
        Self {
            request_id: request_id.to_owned(),
            parent: format!("00-{trace_id}-{span}-{flags}"),
            is_continued: inbound.is_some(),
        }
    }

    /// Adds both headers.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        for (name, text) in [
            (TRACEPARENT, &self.parent),
            (X_REQUEST_ID, &self.request_id),
        ] {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        }
    }
}

/// The trace id and flags of the one valid `traceparent`.
fn inbound(headers: &HeaderMap) -> Option<(&str, &str)> {
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
    (!is_zero(trace_id) && !is_zero(parent_id)).then_some((trace_id, flags))
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

    // G4
    #[test]
    fn valid_trace_is_continued_as_a_child() {
        let inbound = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = trace(inbound);
        assert!(trace.is_continued);
        assert!(
            trace
                .parent
                .starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-")
        );
        assert!(trace.parent.ends_with("-01"));
        assert_ne!(trace.parent, inbound);
        assert_eq!(trace.parent.len(), 55);
        assert_eq!(trace.request_id.len(), 32);
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
            assert!(trace.parent.ends_with("-00"), "{bad}");
        }
    }
}
