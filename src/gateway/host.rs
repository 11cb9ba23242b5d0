//! The `Host` check: a request that names another host is answered 421 (RFC 9110 §15.5.20).
//!
//! It stops DNS rebinding, where a page of another site reaches a server on this computer under
//! that site's name. Refuses a missing or repeated `Host`, another port, and an absolute-form
//! target that says something else. On a loopback `public_url` the other names of this computer pass.

use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use futures_util::future::{Either, Ready, ready};
use http::StatusCode;
use http::header::HOST;
use metrics::Counter;
use tower::{Layer, Service};
use url::Url;

use super::answer::problem;
use crate::config::PublicUrl;
use crate::figures::{self, Handles};

/// The authorities that requests may name.
#[derive(Clone, Debug)]
pub struct Hosts {
    accepted: Arc<[String]>,
    issuer: Arc<str>,
}

impl Hosts {
    /// The authorities of `public_url`.
    pub fn new(public_url: &PublicUrl) -> Self {
        let mut accepted = authorities(&public_url.url, public_url.url.host_str().unwrap_or(""));
        if public_url.is_loopback {
            for alias in ["localhost", "127.0.0.1", "[::1]"] {
                accepted.extend(authorities(&public_url.url, alias));
            }
        }
        Self {
            accepted: accepted.into(),
            issuer: public_url.issuer.as_str().into(),
        }
    }

    /// Whether a request names this server.
    pub fn accepts<B>(&self, request: &http::Request<B>) -> bool {
        let mut hosts = request.headers().get_all(HOST).iter();
        let host = hosts.next().map(http::HeaderValue::as_bytes);
        // RFC 9112 §3.2: more than one is malformed.
        if hosts.next().is_some() {
            return false;
        }
        // HTTP/2 and absolute-form: the target's authority; a Host beside it must agree.
        let target = request.uri().authority().map(|it| it.as_str().as_bytes());
        match (target, host) {
            (None, None) => false,
            (Some(only), None) | (None, Some(only)) => self.is_ours(only),
            (Some(target), Some(host)) => target.eq_ignore_ascii_case(host) && self.is_ours(target),
        }
    }

    fn is_ours(&self, authority: &[u8]) -> bool {
        self.accepted
            .iter()
            .any(|ours| ours.as_bytes().eq_ignore_ascii_case(authority))
    }

    /// The answer to a request that does not.
    pub fn misdirected(&self) -> Response {
        problem(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected_request",
            &format!(
                "This server answers at {} only: use that address. If you run it, make public_url the \
                 address that clients use, and let a proxy in front pass the Host header on",
                self.issuer
            ),
        )
    }
}

fn authorities(url: &Url, host: &str) -> Vec<String> {
    match url.port() {
        Some(port) => vec![format!("{host}:{port}")],
        None => {
            let known = url.port_or_known_default().unwrap_or_default();
            vec![host.to_owned(), format!("{host}:{known}")]
        }
    }
}

/// Puts the check before every route of a router.
#[derive(Clone, Debug)]
pub struct HostLayer {
    hosts: Hosts,
    denied: Arc<Handles<Counter>>,
}

impl HostLayer {
    /// A layer for these authorities.
    pub fn new(hosts: Hosts) -> Self {
        Self {
            hosts,
            denied: Arc::new(Handles::new(&figures::DENIED)),
        }
    }
}

impl<S> Layer<S> for HostLayer {
    type Service = HostCheck<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HostCheck {
            hosts: self.hosts.clone(),
            denied: Arc::clone(&self.denied),
            inner,
        }
    }
}

/// The service of [`HostLayer`].
#[derive(Clone, Debug)]
pub struct HostCheck<S> {
    hosts: Hosts,
    denied: Arc<Handles<Counter>>,
    inner: S,
}

impl<S> Service<Request> for HostCheck<S>
where
    S: Service<Request, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response, S::Error>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if self.hosts.accepts(&request) {
            Either::Right(self.inner.call(request))
        } else {
            self.denied.increment(&["host"]);
            Either::Left(ready(Ok(self.hosts.misdirected())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::names::Issuer;

    fn hosts(url: &str, is_loopback: bool) -> Hosts {
        Hosts::new(&PublicUrl {
            issuer: Issuer::new(url),
            url: Url::parse(url).unwrap(),
            is_loopback,
        })
    }

    fn request(target: &str, host: &[&str]) -> http::Request<()> {
        let mut builder = http::Request::builder().uri(target);
        for value in host {
            builder = builder.header(HOST, *value);
        }
        builder.body(()).unwrap()
    }

    // G2
    #[test]
    fn only_the_public_authority_is_accepted() {
        let hosts = hosts("https://mcp.example.com", false);
        for host in ["mcp.example.com", "MCP.Example.Com", "mcp.example.com:443"] {
            assert!(hosts.accepts(&request("/mcp", &[host])), "{host}");
        }
        for host in [
            "evil.example",
            "mcp.example.com:80",
            "mcp.example.com.",
            "localhost",
            "127.0.0.1",
            "mcp.example.com@evil.example",
            "",
        ] {
            assert!(!hosts.accepts(&request("/mcp", &[host])), "{host}");
        }
        assert!(!hosts.accepts(&request("/mcp", &[])));
        let twice = ["mcp.example.com", "mcp.example.com"];
        assert!(!hosts.accepts(&request("/mcp", &twice)));
    }

    #[test]
    fn absolute_target_and_host_must_agree() {
        let hosts = hosts("https://mcp.example.com", false);
        let target = "https://mcp.example.com/mcp";
        assert!(hosts.accepts(&request(target, &[])));
        assert!(hosts.accepts(&request(target, &["mcp.example.com"])));
        assert!(!hosts.accepts(&request(target, &["evil.example"])));
        assert!(!hosts.accepts(&request("https://evil.example/mcp", &["mcp.example.com"])));
    }

    #[test]
    fn loopback_has_three_names_and_one_port() {
        let hosts = hosts("http://127.0.0.1:8080", true);
        for host in ["127.0.0.1:8080", "localhost:8080", "[::1]:8080"] {
            assert!(hosts.accepts(&request("/mcp", &[host])), "{host}");
        }
        for host in ["localhost", "localhost:8081", "evil.example:8080"] {
            assert!(!hosts.accepts(&request("/mcp", &[host])), "{host}");
        }
    }
}
