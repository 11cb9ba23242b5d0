//! How long a request may go on: the gateway's patience, and what ends an answer before its backend
//! does.
//!
//! An answer that was authorized when it began runs to its end; a stream without end only for as
//! long as its token lives. Refuses to go on once the grant has ended (RFC 7009 §2.1) or the process
//! must stop.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::oauth::bearer::{Ended, Principal};
use crate::time::{Clock, Timestamp};

/// The patience of the gateway; the defaults are right outside tests.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How often a stream looks whether it may go on: at most 5 s, since revocation waits for it.
    pub tick: Duration,
    /// How long a client may send nothing in the middle of a body.
    pub upload: Duration,
    /// How long after the token's end an answer runs that was authorized when it began.
    pub answer_past_expiry: Duration,
    /// How long after the token's end a stream without end runs.
    pub listen_past_expiry: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(1),
            upload: Duration::from_secs(30),
            answer_past_expiry: Duration::from_secs(3_600),
            listen_past_expiry: Duration::from_secs(30),
        }
    }
}

/// How the process stops: two signals that the server gives.
#[derive(Clone, Debug, Default)]
pub struct Stopping {
    /// Streams without end are to finish at the next event border, so that clients connect elsewhere.
    pub drain: CancellationToken,
    /// The deadline: everything is to end now.
    pub deadline: CancellationToken,
}

/// Why a stream ends before its backend ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The grant has ended.
    Revoked,
    /// The token's time, and the patience after it, is over.
    Expired,
    /// The process would like it to end.
    Draining,
    /// The process stops.
    Stopping,
}

/// What every request's time depends on. Shared as a whole: each request holds on to it.
#[derive(Debug)]
pub(crate) struct Conditions {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ended: Arc<dyn Ended>,
    pub(crate) stopping: Stopping,
}

/// What allows a stream to go on.
#[derive(Debug)]
pub(crate) struct Warrant {
    pub(crate) conditions: Arc<Conditions>,
    pub(crate) principal: Option<Principal>,
    /// When it ends for lack of a live token.
    pub(crate) ends_at: Option<Timestamp>,
    /// A stream without end of its own: a GET, or a subscription.
    pub(crate) is_listening: bool,
}

impl Warrant {
    /// Why it must not go on, if so.
    pub(crate) fn end(&self) -> Option<End> {
        let Conditions {
            clock,
            ended,
            stopping,
        } = &*self.conditions;
        if stopping.deadline.is_cancelled() {
            return Some(End::Stopping);
        }
        if let Some(principal) = &self.principal
            && ended.has_ended(principal.token())
        {
            return Some(End::Revoked);
        }
        if self.ends_at.is_some_and(|end| end.is_past(clock.now())) {
            return Some(End::Expired);
        }
        (self.is_listening && stopping.drain.is_cancelled()).then_some(End::Draining)
    }
}
