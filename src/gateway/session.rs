//! `Mcp-Session-Id` (MCP before 2026-07-28), bound to a person and a resource.
//!
//! The client gets the backend's id sealed; only the person that it was made for can use it, and
//! only at the same resource. One that was made for nobody, where signing in is optional, goes on
//! when its client signs in: clients keep it across the sign-in that a backend asks for. Refuses a
//! bare id, a forged one and another person's. Possession of an id proves nothing: the bearer check
//! comes first.

use http::{HeaderMap, HeaderName, HeaderValue};
use rand::CryptoRng;

use crate::oauth::bearer::Principal;
use crate::oauth::records::SessionId;
use crate::seal::{Keys, Sealed};
use crate::time::Timestamp;

/// The header, in both directions.
pub(crate) const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// A session id that must be answered with 404, so that the client initializes again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnknownSession;

/// A session id as a request brought it.
#[derive(Debug)]
pub(crate) struct Presented {
    /// Toward the client.
    pub(crate) sealed: HeaderValue,
    /// Toward the backend.
    pub(crate) bare: HeaderValue,
}

/// Opens the session id of a request, if it has one.
pub(crate) fn open(
    headers: &HeaderMap,
    keys: &Keys,
    principal: Option<&Principal>,
    resource: &str,
    now: Timestamp,
) -> Result<Option<Presented>, UnknownSession> {
    let mut values = headers.get_all(MCP_SESSION_ID).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(UnknownSession);
    }
    let wire = value.to_str().map_err(|_| UnknownSession)?;
    let session: SessionId = keys
        .open(&Sealed::from_wire(wire), now)
        .map_err(|_| UnknownSession)?
        .record;
    let presenter = principal.map(|it| &it.token().sub);
    let is_anothers = session
        .subject
        .as_ref()
        .is_some_and(|owner| presenter != Some(owner));
    if session.resource != resource || is_anothers {
        return Err(UnknownSession);
    }
    let bare = HeaderValue::from_str(&session.id).map_err(|_| UnknownSession)?;
    Ok(Some(Presented {
        sealed: value.clone(),
        bare,
    }))
}

/// What the client is told when the backend names a session: the id that it knows already, or a
/// newly sealed one. None if the backend's id is unfit.
pub(crate) fn seal(
    named: &HeaderValue,
    presented: Option<&Presented>,
    keys: &Keys,
    principal: Option<&Principal>,
    resource: &str,
    rng: &mut (impl CryptoRng + ?Sized),
) -> Option<HeaderValue> {
    if let Some(known) = presented.filter(|it| it.bare == *named) {
        return Some(known.sealed.clone());
    }
    let record = SessionId {
        // MCP: visible ASCII only.
        id: named.to_str().ok()?.to_owned(),
        subject: principal.map(|it| it.token().sub.clone()),
        resource: resource.to_owned(),
    };
    let sealed = keys.current().seal(&record, rng).ok()?;
    HeaderValue::from_str(sealed.as_str()).ok()
}
