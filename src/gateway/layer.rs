//! The gateway's checks before a service of your own, for programs that embed the server.
//!
//! [`BearerLayer`] does for a service in this program what the gateway does for a backend: judges
//! path and origin, answers preflights, checks the bearer token, opens the session id, and hands on
//! only the headers that a backend would see, with the [`Principal`] in the request's extensions. The
//! answer ends when the grant does. Refused requests get the same answers as at the gateway.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{OriginalUri, Request};
use axum::response::{IntoResponse, Response};
use futures_util::future::{Either, select};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Uri, header};
use tower::{Layer, Service};

use super::answer::Denied;
use super::cors::Origin;
use super::proxy::declared_length;
use super::route::{canonical, without_token};
use super::session::{self, MCP_SESSION_ID};
use super::streams::{Active, Answer};
use super::upload::Upload;
use super::warrant::Warrant;
use super::{Gateway, Route, browser, headers};
use crate::oauth::bearer::Principal;
use crate::request::{self, TRACESTATE, Trace};

/// Protects a service as the resource with a given path.
#[derive(Clone, Debug)]
pub struct BearerLayer {
    gateway: Arc<Gateway>,
    /// Index into the gateway's routes.
    route: usize,
}

impl BearerLayer {
    /// The layer for the resource whose configured path is `path`, if there is one.
    pub fn new(gateway: Arc<Gateway>, path: &str) -> Option<Self> {
        let route = gateway
            .routes
            .iter()
            .position(|route| route.resource.path == path)?;
        Some(Self { gateway, route })
    }
}

impl<S> Layer<S> for BearerLayer {
    type Service = BearerService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        BearerService {
            layer: self.clone(),
            inner,
        }
    }
}

/// The service of [`BearerLayer`].
#[derive(Clone, Debug)]
pub struct BearerService<S> {
    layer: BearerLayer,
    inner: S,
}

impl<S> Service<Request> for BearerService<S>
where
    S: Service<Request, Error = Infallible>,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let gateway = &self.layer.gateway;
        gateway.pulses.own().start();
        let origin = gateway.origins.judge(request.headers());
        let admitted = self.layer.admit(request, &origin);
        let called = admitted.map(|(request, entry)| (self.inner.call(request), entry));
        let layer = self.layer.clone();
        Box::pin(async move {
            let answered = match called {
                Ok((answering, entry)) => layer.answer(answering, entry).await,
                Err(Halt::Preflight(answer)) => Ok(*answer),
                Err(Halt::Denied(denied)) => Err(denied),
            };
            let denied = answered.as_ref().err().map(Denied::as_str);
            let mut response = answered.unwrap_or_else(Denied::into_response);
            let origins = &layer.gateway.origins;
            origins.decorate(&origin, response.headers_mut());
            layer.gateway.record(denied);
            Ok(response)
        })
    }
}

/// Why a request does not get to the service.
enum Halt {
    /// It asked what a browser may send.
    Preflight(Box<Response>),
    /// It was refused.
    Denied(Denied),
}

impl From<Denied> for Halt {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

/// What is remembered of a request while the service answers it.
struct Entry {
    principal: Option<Principal>,
    session: Option<session::Presented>,
    warrant: Warrant,
}

impl BearerLayer {
    fn route(&self) -> Result<&Route, Denied> {
        self.gateway
            .routes
            .get(self.route)
            .ok_or(Denied::NoResource)
    }

    /// The gateway's checks, in its order.
    fn admit(&self, request: Request, origin: &Origin) -> Result<(Request, Entry), Halt> {
        let gateway = &*self.gateway;
        let (mut parts, body) = request.into_parts();
        canonical(asked_for(&parts).path()).map_err(|_| Denied::OddPath)?;
        if let Some(answer) = browser(&parts, origin)? {
            return Err(Halt::Preflight(Box::new(answer)));
        }
        let route = self.route()?;
        let resource = &route.resource;
        let now = gateway.conditions.clock.now();
        let principal = gateway.admit(route, &parts, now)?;
        let session = session::open(
            &parts.headers,
            &gateway.keys,
            principal.as_ref(),
            &resource.path,
            now,
        )
        .map_err(|_| Denied::Session)?;
        if declared_length(&parts.headers).is_some_and(|it| it > resource.max_body) {
            return Err(Denied::TooLarge.into());
        }
        let warrant = gateway.warrant(principal.as_ref(), &parts);

        hand_over(&mut parts, session.as_ref());
        if let Some(principal) = &principal {
            parts.extensions.insert(principal.clone());
        }
        let patience = gateway.patience.upload;
        let body = Upload::new(
            body,
            resource.max_body,
            gateway.pulses.own().clone(),
            patience,
        );
        let entry = Entry {
            principal,
            session,
            warrant,
        };
        Ok((Request::from_parts(parts, Body::new(body)), entry))
    }

    /// Waits for the service's answer for as long as the request may go on, and makes the answer end
    /// with the grant.
    async fn answer<R: IntoResponse>(
        &self,
        answering: impl Future<Output = Result<R, Infallible>>,
        entry: Entry,
    ) -> Result<Response, Denied> {
        let (gateway, route) = (&*self.gateway, self.route()?);
        let mut answering = pin!(answering);
        let answer = loop {
            let beat = pin!(gateway.pulses.own().next());
            if let Either::Left((answer, _)) = select(&mut answering, beat).await {
                break answer;
            }
            if let Some(end) = entry.warrant.end() {
                return Err(route.ended(end));
            }
        };
        let (mut head, body) = answer.into_response().into_parts();
        route.judge(head.status, entry.principal.as_ref())?;
        headers::keep_private(&mut head.headers);
        if let Some(named) = head.headers.remove(MCP_SESSION_ID) {
            let sealed = session::seal(
                &named,
                entry.session.as_ref(),
                &gateway.keys,
                entry.principal.as_ref(),
                &route.resource.path,
                &mut crate::entropy::rng(),
            );
            let sealed = sealed.ok_or(Denied::Broken)?;
            head.headers.insert(MCP_SESSION_ID, sealed);
        }
        let events = headers::is_event_stream(&head.headers)
            .then(|| Active::count(&gateway.meters.active_streams));
        let idle = route.resource.idle_timeout;
        let body = Answer::new(
            body,
            entry.warrant,
            gateway.pulses.own().clone(),
            idle,
            events,
        );
        Ok(Response::from_parts(head, Body::new(body)))
    }
}

/// What the client asked for: routers that are nested cut the path down.
fn asked_for(parts: &Parts) -> &Uri {
    let original = parts.extensions.get::<OriginalUri>();
    original.map_or(&parts.uri, |OriginalUri(uri)| uri)
}

/// Takes from a request what a backend would not see either, and adds what it would.
fn hand_over(parts: &mut Parts, session: Option<&session::Presented>) {
    let trace =
        request::current().unwrap_or_else(|| Trace::of(&parts.headers, &mut crate::entropy::rng()));
    let mut built = headers::for_service(&parts.headers);
    if let Some(session) = session {
        built.insert(MCP_SESSION_ID, session.bare.clone());
    }
    // Compressors hold events back.
    if headers::accepts_events(&parts.headers) {
        built.remove(header::ACCEPT_ENCODING);
    }
    if trace.is_continued() {
        for value in parts.headers.get_all(TRACESTATE) {
            built.append(TRACESTATE, value.clone());
        }
    }
    trace.write(&mut built);
    parts.headers = built;
    clean_query(&mut parts.uri);
    if let Some(OriginalUri(uri)) = parts.extensions.get_mut::<OriginalUri>() {
        clean_query(uri);
    }
}

/// Takes a token out of the query.
fn clean_query(uri: &mut Uri) {
    let Some(query) = uri.query() else { return };
    let kept = without_token(query);
    if kept.len() == query.len() {
        return;
    }
    let target = match &*kept {
        "" => uri.path().to_owned(),
        kept => format!("{}?{kept}", uri.path()),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(target).ok();
    // A part of a query that is one remains one.
    *uri = Uri::from_parts(parts).unwrap_or_default();
}
