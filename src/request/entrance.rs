//! The first layer around everything: names a request, times it, and tells its name in the answer.
//!
//! Refuses an `X-Request-Id` of anybody but a proxy of `[proxy] trusted`.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use http::StatusCode;
use ipnet::IpNet;
use metrics::Histogram;
use pin_project_lite::pin_project;
use tokio::task::futures::TaskLocalFuture;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::{CURRENT, Endpoint, Endpoints, Trace};
use crate::entropy;
use crate::figures::{self, Handles};

/// The layer.
#[derive(Clone, Debug)]
pub struct Entrance(Arc<Door>);

#[derive(Debug)]
struct Door {
    trusted: Vec<IpNet>,
    endpoints: Arc<Endpoints>,
    seconds: Handles<Histogram>,
}

impl Entrance {
    /// Believes the request ids of the `trusted` proxies; `endpoints` says what its figures are
    /// about.
    pub fn new(trusted: &[IpNet], endpoints: Arc<Endpoints>) -> Self {
        Self(Arc::new(Door {
            trusted: trusted.to_vec(),
            endpoints,
            seconds: Handles::new(&figures::SERVER_SECONDS),
        }))
    }
}

impl Door {
    fn trace(&self, request: &Request) -> Trace {
        let (headers, rng) = (request.headers(), &mut entropy::rng());
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let is_proxy = peer.is_some_and(|peer| {
            let address = peer.0.ip().to_canonical();
            self.trusted.iter().any(|net| net.contains(&address))
        });
        if is_proxy {
            Trace::of_proxied(headers, rng)
        } else {
            Trace::of(headers, rng)
        }
    }
}

const fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    }
}

impl<S> Layer<S> for Entrance {
    type Service = Entered<S>;

    fn layer(&self, inner: S) -> Entered<S> {
        Entered {
            door: Arc::clone(&self.0),
            inner,
        }
    }
}

/// The service of [`Entrance`].
#[derive(Clone, Debug)]
pub struct Entered<S> {
    door: Arc<Door>,
    inner: S,
}

impl<S> Service<Request> for Entered<S>
where
    S: Service<Request, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Named<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let trace = self.door.trace(&request);
        let endpoint = self.door.endpoints.of(request.uri().path());
        let started = Instant::now();
        // What is done before the first wait belongs to the request as well.
        let answer = CURRENT.sync_scope(trace, || self.inner.call(request));
        Named {
            answer: CURRENT.scope(trace, answer),
            trace,
            endpoint,
            started,
            door: Arc::clone(&self.door),
        }
    }
}

pin_project! {
    /// The answer to a request, on its way.
    #[derive(Debug)]
    pub struct Named<F> {
        #[pin]
        answer: TaskLocalFuture<Trace, F>,
        trace: Trace,
        endpoint: Endpoint,
        started: Instant,
        door: Arc<Door>,
    }
}

impl<F, E> Future for Named<F>
where
    F: Future<Output = Result<Response, E>>,
{
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = ready!(this.answer.poll(cx));
        if let Ok(response) = &mut answer {
            let status = class(response.status());
            let took = this.started.elapsed().as_secs_f64();
            let endpoint = this.endpoint.as_str();
            this.door.seconds.record(&[endpoint, status], took);
            this.trace.tell(response.headers_mut());
        }
        Poll::Ready(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Values;

    #[test]
    fn routes_and_statuses_are_those_of_the_table() {
        let [routes, statuses] = figures::SERVER_SECONDS.labels else {
            panic!("a route and a status")
        };
        let is_known = |values: Values, word: &str| match values {
            Values::Closed(known) => known.contains(&word),
            Values::Operators(_) => false,
        };
        let endpoints = Endpoints::new(["/back".to_owned()]);
        for (path, route) in [
            ("/", "index"),
            ("/healthz", "healthz"),
            ("/register", "register"),
            ("/authorize", "authorize"),
            ("/consent", "consent"),
            ("/token", "token"),
            ("/revoke", "revoke"),
            ("/.well-known/anything", "metadata"),
            ("/back", "callback"),
            ("/mcp", "gateway"),
            ("/tokens", "gateway"),
        ] {
            assert_eq!(endpoints.of(path).as_str(), route);
            assert!(is_known(routes.values, route), "{route}");
        }
        for status in 100..=999 {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(is_known(statuses.values, class(status)), "{status}");
        }
    }
}
