//! What the MCP server receives, and what becomes of its answer.
//!
//! The backend's challenges and 401s never reach a client as if they were ours: a refused upstream
//! token is our `invalid_token`, a 401 to a request without a token is our challenge, and any other
//! is a fault between the two servers. Everything else passes with its status and its bytes.

use std::pin::pin;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use futures_util::future::{Either, select};
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy::ResponseFuture;

use super::answer::Denied;
use super::session::{self, MCP_SESSION_ID};
use super::streams::{Active, Answer};
use super::upload::Upload;
use super::warrant::{End, Warrant};
use super::{Backend, Gateway, Route, backend, headers};
use crate::oauth::bearer::{Principal, Refusal};
use crate::request::{TRACESTATE, Trace};
use crate::seal::OpenError;

/// MCP 2026-07-28: the method of the message in the body.
const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");

/// A request that may pass: every check is behind it.
pub(super) struct Passage<'r> {
    pub(super) parts: &'r Parts,
    pub(super) principal: Option<Principal>,
    pub(super) session: Option<session::Presented>,
    pub(super) target: Uri,
    pub(super) backend: &'r Backend,
}

impl Gateway {
    /// Sends a request to the backend and hands on the answer.
    pub(super) async fn pass(
        &self,
        route: &Route,
        passage: Passage<'_>,
        body: Body,
        trace: &Trace,
    ) -> Result<Response, Denied> {
        let resource = &route.resource;
        if declared_length(&passage.parts.headers).is_some_and(|it| it > resource.max_body) {
            return Err(Denied::TooLarge);
        }
        let headers = route.request_headers(&passage, trace);
        let warrant = self.warrant(passage.principal.as_ref(), passage.parts);
        let patience = self.patience.upload;
        let body = Upload::new(body, resource.max_body, self.pulses.own().clone(), patience);

        let begun = self.conditions.clock.elapsed();
        let method = passage.parts.method.clone();
        let target = passage.target.clone();
        let sent = passage.backend.send(method, target, headers, body);
        let head = self.head(route, sent, &warrant).await;
        let took = self.conditions.clock.elapsed().saturating_sub(begun);
        self.meters.backend_seconds.record(took);

        self.answer_of(route, &passage, warrant, head?)
    }

    /// Waits for the head of the answer, for as long as the request may go on.
    async fn head(
        &self,
        route: &Route,
        sent: ResponseFuture,
        warrant: &Warrant,
    ) -> Result<http::Response<Incoming>, Denied> {
        let idle = route.resource.idle_timeout;
        let pulse = self.pulses.own();
        let begun = pulse.count();
        let mut sent = sent;
        loop {
            let beat = pin!(pulse.next());
            if let Either::Left((head, _)) = select(&mut sent, beat).await {
                return head.map_err(|error| {
                    let denied = backend::denied(&error);
                    // The error names addresses and causes, nothing of the request.
                    tracing::debug!(error = &error as &dyn std::error::Error, "backend failed");
                    denied
                });
            }
            match warrant.end() {
                Some(end) => return Err(route.ended(end)),
                None if pulse.is_over(idle, begun) => return Err(Denied::Silent),
                None => {}
            }
        }
    }

    fn answer_of(
        &self,
        route: &Route,
        passage: &Passage<'_>,
        warrant: Warrant,
        head: http::Response<Incoming>,
    ) -> Result<Response, Denied> {
        let (head, body) = head.into_parts();
        route.judge(head.status, passage.principal.as_ref())?;

        let mut headers = headers::for_client(&head.headers);
        if let Some(named) = head.headers.get(MCP_SESSION_ID) {
            let sealed = session::seal(
                named,
                passage.session.as_ref(),
                &self.keys,
                passage.principal.as_ref(),
                &route.resource.path,
                &mut crate::entropy::rng(),
            );
            headers.insert(MCP_SESSION_ID, sealed.ok_or(Denied::Broken)?);
        }
        if let Some(location) = headers.remove(LOCATION)
            && let Some(location) = passage.backend.public_location(&location, &route.public)
        {
            headers.insert(LOCATION, location);
        }
        let events =
            headers::is_event_stream(&headers).then(|| Active::count(&self.meters.active_streams));
        let idle = route.resource.idle_timeout;
        let pulse = self.pulses.own().clone();
        let answer = Answer::new(body, warrant, pulse, idle, events);

        let mut response = Response::new(Body::new(answer));
        *response.status_mut() = head.status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    /// What the answer may outlive: an answer that was authorized when it began runs to its end, a
    /// stream without end only for as long as the token lives.
    pub(super) fn warrant(&self, principal: Option<&Principal>, parts: &Parts) -> Warrant {
        let is_listening = is_listening(parts);
        let past_expiry = if is_listening {
            self.patience.listen_past_expiry
        } else {
            self.patience.answer_past_expiry
        };
        let principal = principal.cloned();
        Warrant {
            conditions: Arc::clone(&self.conditions),
            ends_at: principal
                .as_ref()
                .map(|it| it.token().exp.plus(past_expiry)),
            principal,
            is_listening,
        }
    }
}

impl Route {
    fn request_headers(&self, passage: &Passage<'_>, trace: &Trace) -> HeaderMap {
        let inbound = &passage.parts.headers;
        let operator = &self.resource.backend_headers;
        let mut built = headers::for_backend(inbound, operator);
        // Compressors hold events back.
        if headers::accepts_events(inbound) {
            built.remove(ACCEPT_ENCODING);
        }
        for (name, value) in operator {
            built.insert(name.clone(), value.clone());
        }
        if let Some(session) = &passage.session {
            built.insert(MCP_SESSION_ID, session.bare.clone());
        }
        if trace.is_continued() {
            for value in inbound.get_all(TRACESTATE) {
                built.append(TRACESTATE, value.clone());
            }
        }
        trace.write(&mut built);
        if let Some(principal) = &passage.principal {
            headers::add_identity(&mut built, self.resource.forward, principal);
        }
        built
    }

    /// The answer to a request whose time is over before its answer begins.
    pub(super) fn ended(&self, end: End) -> Denied {
        match end {
            End::Revoked => self.refuse(Refusal::Ended),
            End::Expired => self.refuse(Refusal::NotOpened(OpenError::Expired)),
            End::Draining | End::Stopping => Denied::Stopping,
        }
    }

    /// Answers that must not pass.
    pub(super) fn judge(
        &self,
        status: StatusCode,
        principal: Option<&Principal>,
    ) -> Result<(), Denied> {
        match status {
            StatusCode::UNAUTHORIZED => Err(match principal {
                // Clients start to sign in on a challenge only.
                None => self.refuse(Refusal::NoToken),
                Some(_) if self.resource.forward.needs_upstream_token() => {
                    self.refuse(Refusal::UpstreamTokenRefused)
                }
                Some(_) => Denied::BackendRefused,
            }),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Err(Denied::BackendRefused),
            // Nothing was asked to be upgraded.
            status if status.is_informational() => Err(Denied::Broken),
            _ => Ok(()),
        }
    }

    /// The refusal of a request, with this resource's challenge.
    pub(super) fn refuse(&self, refusal: Refusal) -> Denied {
        Denied::Bearer(refusal, self.protected.challenge(refusal).cloned())
    }
}

pub(super) fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether the answer has no end of its own: the GET stream of earlier revisions, or a subscription.
fn is_listening(parts: &Parts) -> bool {
    parts.method == Method::GET
        || parts
            .headers
            .get(MCP_METHOD)
            .is_some_and(|method| method == "subscriptions/listen")
}
