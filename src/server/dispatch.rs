//! Which side of the server answers: the authorization server's routes, or the gateway.
//!
//! The router would come to the same end, since the gateway is what it falls back to, but it makes a
//! copy of the handler and two futures on the way, and nearly every request is the gateway's.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use futures_util::future::Either;
use tower::Service;

use crate::gateway::{self, Gateway};
use crate::request::{Endpoint, Endpoints};

/// Both sides as one service. Always ready.
#[derive(Clone, Debug)]
pub struct Dispatch {
    endpoints: Arc<Endpoints>,
    router: Router,
    gateway: Arc<Gateway>,
}

impl Dispatch {
    /// `routes` before `gateway`; `endpoints` are the paths that the routes know.
    pub(super) fn new(endpoints: Arc<Endpoints>, routes: Router, gateway: Arc<Gateway>) -> Self {
        Self {
            endpoints,
            router: routes.merge(gateway::router(Arc::clone(&gateway))),
            gateway,
        }
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl Service<Request> for Dispatch {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<RouteFuture<Infallible>, Answering>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if self.endpoints.of(request.uri().path()) != Endpoint::Gateway {
            return Either::Left(self.router.call(request));
        }
        let gateway = Arc::clone(&self.gateway);
        Either::Right(Box::pin(async move { Ok(gateway.handle(request).await) }))
    }
}
