//! The gateway's checks before a service of your own, for programs that embed the server.
//!
//! [`BearerLayer`] judges the origin, answers preflights, checks the bearer token and leaves the
//! [`Principal`] in the request's extensions, where handlers find it; the token itself is removed.
//! Refused requests get the same answers as at the gateway.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::AUTHORIZATION;
use tower::{Layer, Service};

use super::answer::Denied;
use super::cors::Origin;
use super::{Gateway, browser};

#[cfg(doc)]
use crate::oauth::bearer::Principal;

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
        let gateway = self.layer.gateway.clone();
        let origin = gateway.origins.judge(request.headers());
        let admitted = match self.layer.admit(request, &origin) {
            Ok(request) => Ok(self.inner.call(request)),
            Err(response) => Err(response),
        };
        Box::pin(async move {
            let mut response = match admitted {
                Ok(answer) => answer.await?.into_response(),
                Err(response) => *response,
            };
            gateway.origins.decorate(&origin, response.headers_mut());
            Ok(response)
        })
    }
}

impl BearerLayer {
    fn admit(&self, request: Request, origin: &Origin) -> Result<Request, Box<Response>> {
        let (mut parts, body) = request.into_parts();
        let refused = |denied: Denied| {
            self.gateway.record(Some(denied.as_str()));
            Box::new(denied.into_response())
        };
        if let Some(answer) = browser(&parts, origin).map_err(refused)? {
            return Err(Box::new(answer));
        }
        let route = self.gateway.routes.get(self.route);
        let route = route.ok_or(Denied::NoResource).map_err(refused)?;
        let principal = self.gateway.admit(route, &parts).map_err(refused)?;
        parts.headers.remove(AUTHORIZATION);
        if let Some(principal) = principal {
            parts.extensions.insert(principal);
        }
        Ok(Request::from_parts(parts, body))
    }
}
