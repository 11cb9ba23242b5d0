//! The check in front of routes of the program: the gateway's own, with an [`Identity`] for handlers.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use tower::{Layer, Service};

use super::Identity;
use crate::gateway::host::{HostCheck, HostLayer, Hosts};
use crate::gateway::{BearerLayer, BearerService};
use crate::http::App;
use crate::http::visitors::{Reception, Visitors};
use crate::oauth::bearer::Principal;
use crate::request::{Entered, Entrance};
use crate::server;

/// Protects routes as one resource: what [`McpOauth::layer`](super::McpOauth::layer) gives.
///
/// A request is let in if
///
/// 1. its `Host` is the one of `public_url`, and its path has one reading,
/// 2. its `Origin`, if there is one, is allowed (`OPTIONS` is answered here),
/// 3. its `Authorization` header holds one access token, sealed by this server, not expired, for this
///    resource and this provider, of a grant that was not revoked, with every required scope; or
///    there is none, where signing in is optional,
/// 4. its `Mcp-Session-Id`, if there is one, was made for this person here,
/// 5. and its body stays within `max_body`.
///
/// Anything else is answered as at the gateway, with the challenge by which clients sign in.
///
/// The service behind it finds an [`Identity`] in the extensions, and in the headers what a backend
/// would see: not the token, no cookie, nothing of the `X-Forwarded-` family or of others by which
/// proxies name a person, no `access_token` in the query.
///
/// An answer that runs when the grant is revoked ends within five seconds. A 401 of the service never
/// passes: without a token it becomes the challenge, with the provider's token `invalid_token`, else
/// 502, since no sign-in would change it.
#[derive(Clone)]
pub struct ProtectLayer {
    entrance: Entrance,
    visitors: Visitors,
    host: HostLayer,
    bearer: BearerLayer,
}

impl ProtectLayer {
    pub(super) fn new(app: &Arc<App>, bearer: BearerLayer) -> Self {
        Self {
            entrance: server::entrance(app),
            visitors: server::visitors(app),
            host: HostLayer::new(Hosts::new(&app.config.public_url)),
            bearer,
        }
    }
}

impl fmt::Debug for ProtectLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtectLayer").finish_non_exhaustive()
    }
}

impl<S> Layer<S> for ProtectLayer {
    type Service = ProtectService<S>;

    fn layer(&self, inner: S) -> ProtectService<S> {
        let introduced = Introduce(inner);
        let checked = self.host.layer(self.bearer.layer(introduced));
        ProtectService(self.entrance.layer(self.visitors.layer(checked)))
    }
}

/// The service of [`ProtectLayer`].
#[derive(Clone)]
pub struct ProtectService<S>(Entered<Reception<HostCheck<BearerService<Introduce<S>>>>>);

impl<S> fmt::Debug for ProtectService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtectService").finish_non_exhaustive()
    }
}

impl<S> Service<Request> for ProtectService<S>
where
    S: Service<Request, Error = Infallible>,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Box::pin(self.0.call(request))
    }
}

/// Puts an [`Identity`] in the place of the proof that the check left.
#[derive(Clone, Debug)]
struct Introduce<S>(S);

impl<S: Service<Request>> Service<Request> for Introduce<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> S::Future {
        let extensions = request.extensions_mut();
        // Only the layer itself says who somebody is.
        extensions.remove::<Identity>();
        if let Some(principal) = extensions.remove::<Principal>() {
            extensions.insert(Identity::of(principal));
        }
        self.0.call(request)
    }
}
