//! The hop to the backend: connections, the request's target, and what its failures mean.
//!
//! Uses `hyper-util`'s pooled client over HTTP/1.1, or HTTP/2 where a backend offers it by ALPN.
//! Refuses to follow redirects and to pass an upgrade. Each resource has its own pool on each worker.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use hyper_rustls::builderstates::WantsSchemes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::{Service, ServiceExt as _};
use url::Url;

use super::answer::Denied;
use super::route::without_token;
use super::upload::{Upload, UploadError};
use crate::config::Resource;
use crate::workers::PerWorker;

/// Kept shorter than the five seconds after which common servers close an idle connection, so that
/// a request rarely meets one that is being closed.
const POOL_IDLE: Duration = Duration::from_secs(4);
const POOL_SIZE: usize = 4_096;
/// Bounds what is read from a backend at once. A stream to a client that reads slowly holds up to two
/// such pieces, beside the 32 KB that wait to be written.
const BUFFER: usize = 16 * 1024;
const WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// When the next of a name's addresses is tried beside a silent one.
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
const KEEP_ALIVE: Duration = Duration::from_secs(20);

type BoxError = Box<dyn Error + Send + Sync>;

/// A backend that cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// Its URL is not one of an HTTP server.
    #[error("the backend URL of {resource} cannot be used")]
    Url {
        /// Public path of the resource.
        resource: String,
    },
    /// No trust anchors, or no provider of cryptography.
    #[error("TLS toward the backend of {resource} cannot be set up")]
    Tls {
        /// Public path of the resource.
        resource: String,
        /// What went wrong.
        source: BoxError,
    },
}

/// One resource's backend.
#[derive(Debug)]
pub(crate) struct Backend {
    /// A pool for each worker: a connection is driven where it is used.
    clients: PerWorker<Client<Within<HttpsConnector<HttpConnector>>, Upload>>,
    scheme: Scheme,
    authority: Authority,
    /// What the client would write anew for each request; none where HTTP/2 may be spoken, which
    /// says it in another way.
    host: Option<HeaderValue>,
    path: String,
    origin: String,
}

impl Backend {
    /// The server at `url`, behind `resource`.
    pub(crate) fn new(url: &Url, resource: &Resource) -> Result<Self, BackendError> {
        let unusable = || BackendError::Url {
            resource: resource.path.clone(),
        };
        let scheme = Scheme::try_from(url.scheme()).map_err(|_| unusable())?;
        let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let authority = Authority::try_from(authority).map_err(|_| unusable())?;
        let connector =
            connector(url, resource.connect_timeout).map_err(|source| BackendError::Tls {
                resource: resource.path.clone(),
                source,
            })?;
        let host = (scheme == Scheme::HTTP)
            .then(|| HeaderValue::from_str(authority.as_str()).map_err(|_| unusable()))
            .transpose()?;
        Ok(Self {
            clients: PerWorker::new(|| client(connector.clone(), host.is_none())),
            scheme,
            authority,
            host,
            path: url.path().to_owned(),
            origin: url.origin().ascii_serialization(),
        })
    }

    /// Sends a request; the future ends with the head of the answer.
    pub(crate) fn send(
        &self,
        method: Method,
        target: Uri,
        mut headers: HeaderMap,
        body: Upload,
    ) -> hyper_util::client::legacy::ResponseFuture {
        if let Some(host) = &self.host {
            headers.insert(HOST, host.clone());
        }
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = target;
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = headers;
        self.clients.own().request(request)
    }

    /// Where a request goes: the backend's URL, what follows the resource's path, and the query.
    pub(crate) fn target(&self, rest: &str, query: Option<&str>) -> Option<Uri> {
        let base = if rest.starts_with('/') {
            self.path.trim_end_matches('/')
        } else {
            &self.path
        };
        let query = query.map(without_token).filter(|it| !it.is_empty());
        let mut target = String::with_capacity(
            base.len() + rest.len() + query.as_ref().map_or(0, |it| it.len()) + 1,
        );
        target.push_str(base);
        target.push_str(rest);
        if let Some(query) = &query {
            target.push('?');
            target.push_str(query);
        }
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::from_maybe_shared(target).ok()?);
        Uri::from_parts(parts).ok()
    }

    /// A redirect of the backend as the client must see it: at the public address, or, if it leads
    /// elsewhere on the backend's host, not at all. Redirects to other hosts stay as they are.
    pub(crate) fn public_location(
        &self,
        location: &HeaderValue,
        public: &str,
    ) -> Option<HeaderValue> {
        let text = location.to_str().ok()?;
        let ends = |rest: &str| rest.is_empty() || rest.starts_with(['/', '?', '#']);
        let path = match text.strip_prefix(&self.origin) {
            Some(path) if ends(path) => path,
            None if text.starts_with('/') && !text.starts_with("//") => text,
            _ => return Some(location.clone()),
        };
        let rest = path.strip_prefix(self.path.trim_end_matches('/'))?;
        ends(rest)
            .then(|| HeaderValue::try_from(format!("{public}{rest}")).ok())
            .flatten()
    }
}

/// `names_host` is whether the client is to write `Host` itself.
fn client<C>(connector: C, names_host: bool) -> Client<C, Upload>
where
    C: hyper_util::client::legacy::connect::Connect + Clone,
{
    Client::builder(TokioExecutor::new())
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_SIZE)
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .set_host(names_host)
        .http1_max_buf_size(BUFFER)
        .http2_initial_stream_window_size(WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .build(connector)
}

fn connector(
    url: &Url,
    limit: Duration,
) -> Result<Within<HttpsConnector<HttpConnector>>, BoxError> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let builder = HttpsConnectorBuilder::new();
    // The system's anchors, since a backend may have a certificate of the company's own; reading
    // them takes a while, so only where they are needed.
    let builder = if url.scheme() == "https" {
        builder.with_provider_and_native_roots(provider)?
    } else {
        builder.with_provider_and_webpki_roots(provider)?
    };
    Ok(within(builder, HttpConnector::new(), limit))
}

/// The connector over whatever TLS was chosen: HTTP/2 where the backend picks it by ALPN.
fn within<R>(
    tls: HttpsConnectorBuilder<WantsSchemes>,
    mut tcp: HttpConnector<R>,
    limit: Duration,
) -> Within<HttpsConnector<HttpConnector<R>>> {
    // Shared out among a name's addresses, so that a silent one leaves time for the others.
    tcp.set_connect_timeout(Some(limit));
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEP_ALIVE));
    tcp.set_happy_eyeballs_timeout(Some(NEXT_ADDRESS));
    let connector = tls
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(tcp);
    Within(Arc::new(Limited { connector, limit }))
}

/// Marks a failure to connect in time.
#[derive(Debug, thiserror::Error)]
#[error("connecting took too long")]
struct TooSlow;

/// A connector with a time limit on the whole of name, TCP and TLS. It is cloned for every request
/// but used for few, so its parts are behind one pointer.
#[derive(Debug)]
pub(crate) struct Within<C>(Arc<Limited<C>>);

#[derive(Debug)]
struct Limited<C> {
    connector: C,
    limit: Duration,
}

impl<C> Clone for Within<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> Service<Uri> for Within<C>
where
    C: Service<Uri, Error = BoxError> + Clone + Send + Sync + 'static,
    C::Response: Send,
    C::Future: Send,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let limit = self.0.limit;
        let connecting = self.0.connector.clone().oneshot(target);
        Box::pin(async move {
            tokio::time::timeout(limit, connecting)
                .await
                .unwrap_or_else(|_| Err(TooSlow.into()))
        })
    }
}

/// What a failure before the head of the answer means for the client.
pub(crate) fn denied(error: &hyper_util::client::legacy::Error) -> Denied {
    let is_connect = error.is_connect();
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref() {
            Some(UploadError::TooLarge) => return Denied::TooLarge,
            Some(UploadError::Stalled) => return Denied::UploadStalled,
            Some(UploadError::Broken) | None => {}
        }
        let io = error.downcast_ref().map(io::Error::kind);
        if error.is::<TooSlow>() || (is_connect && io == Some(io::ErrorKind::TimedOut)) {
            return Denied::ConnectTimeout;
        }
        cause = error.source();
    }
    if is_connect {
        Denied::Unreachable
    } else {
        Denied::Broken
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddr};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::BodyExt as _;
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use hyper_util::client::legacy::connect::dns::Name;
    use hyper_util::rt::TokioIo;
    use tokio::net::{TcpListener, TcpSocket, TcpStream};
    use tokio::time::{Instant, timeout};

    use super::super::pulse::Pulse;
    use super::*;

    fn backend(url: &str) -> Backend {
        let url = Url::parse(url).unwrap();
        Backend {
            clients: PerWorker::new(|| {
                client(connector(&url, Duration::from_secs(1)).unwrap(), true)
            }),
            host: None,
            scheme: Scheme::HTTP,
            authority: Authority::from_static("10.0.0.1:3000"),
            path: url.path().to_owned(),
            origin: url.origin().ascii_serialization(),
        }
    }

    #[test]
    fn target_joins_paths_and_queries() {
        for (url, rest, query, expected) in [
            ("/mcp", "", None, "/mcp"),
            ("/mcp", "/x", Some("a=1"), "/mcp/x?a=1"),
            ("/mcp", "/", None, "/mcp/"),
            ("/base/", "", None, "/base/"),
            ("/base/", "/x", None, "/base/x"),
            ("/", "/x", None, "/x"),
            ("/", "", None, "/"),
            ("/mcp", "", Some("access_token=x"), "/mcp"),
        ] {
            let backend = backend(&format!("http://10.0.0.1:3000{url}"));
            let target = backend.target(rest, query).unwrap();
            assert_eq!(target, *format!("http://10.0.0.1:3000{expected}"));
        }
    }

    // G16
    #[test]
    fn redirects_never_name_the_backend() {
        let backend = backend("http://10.0.0.1:3000/mcp");
        let public = |location: &'static str| {
            backend
                .public_location(
                    &HeaderValue::from_static(location),
                    "https://mcp.example.com/tools",
                )
                .map(|value| value.to_str().unwrap().to_owned())
        };
        for (location, expected) in [
            (
                "http://10.0.0.1:3000/mcp/",
                Some("https://mcp.example.com/tools/"),
            ),
            ("/mcp/x?y", Some("https://mcp.example.com/tools/x?y")),
            ("/mcpx", None),
            ("http://10.0.0.1:3000/admin", None),
            ("https://other.example/", Some("https://other.example/")),
            (
                "http://10.0.0.1:30001/mcp",
                Some("http://10.0.0.1:30001/mcp"),
            ),
            ("//other.example/mcp", Some("//other.example/mcp")),
            ("relative", Some("relative")),
        ] {
            assert_eq!(public(location).as_deref(), expected, "{location}");
        }
    }

    /// Serves one TLS connection after another and answers with what it was spoken to in.
    async fn tls(config: rustls::ServerConfig) -> (u16, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let socket = TokioIo::new(acceptor.accept(socket).await.unwrap());
                counted.fetch_add(1, Ordering::SeqCst);
                let service = service_fn(|request: Request<Incoming>| async move {
                    let host = request.headers().get(HOST).is_some();
                    let spoken = format!("{:?} {host} {}", request.version(), request.uri());
                    Ok::<_, std::convert::Infallible>(http::Response::new(spoken))
                });
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                tokio::spawn(async move {
                    let served = server.serve_connection(socket, service);
                    served.await.unwrap();
                });
            }
        });
        (port, connections)
    }

    /// A resolver that knows these addresses of every name.
    #[derive(Clone)]
    struct Known(Result<Vec<SocketAddr>, io::ErrorKind>);

    impl Service<Name> for Known {
        type Response = std::vec::IntoIter<SocketAddr>;
        type Error = io::Error;
        type Future = std::future::Ready<Result<Self::Response, io::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Name) -> Self::Future {
            let known = self.0.clone();
            std::future::ready(known.map(Vec::into_iter).map_err(io::Error::from))
        }
    }

    /// An address whose machine takes no connection: its queue is full, and nobody empties it.
    async fn silent(address: &str) -> io::Result<(SocketAddr, Vec<TcpStream>, TcpListener)> {
        let address: SocketAddr = address.parse().unwrap();
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.bind(address)?;
        let listener = socket.listen(0)?;
        let address = listener.local_addr()?;
        let mut waiting = Vec::new();
        while let Ok(connected) =
            timeout(Duration::from_millis(100), TcpStream::connect(address)).await
        {
            waiting.push(connected.unwrap());
            assert!(waiting.len() < 10, "the queue has no end");
        }
        Ok((address, waiting, listener))
    }

    // F37
    #[tokio::test]
    async fn dead_address_of_a_name_leaves_time_for_the_next() {
        const LIMIT: Duration = Duration::from_secs(1);
        let alive = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = alive.local_addr().unwrap();
        let service = axum::Router::new().fallback(|| async { "here" });
        tokio::spawn(async move { axum::serve(alive, service).await });
        let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refused = unused.local_addr().unwrap();
        drop(unused);
        let (black_v4, _queue_v4, _held_v4) = silent("127.0.0.1:0").await.unwrap();
        // On a computer without IPv6 an address of it is dead in its own way.
        let held_v6 = silent("[::1]:0").await;
        let unreachable = SocketAddr::from((Ipv6Addr::LOCALHOST, good.port()));
        let black_v6 = held_v6.as_ref().map_or(unreachable, |held| held.0);

        for (known, expected, at_most) in [
            (Ok(vec![refused, good]), Ok(()), LIMIT / 4),
            (Ok(vec![black_v6, good]), Ok(()), LIMIT / 2),
            (Ok(vec![black_v4, good]), Ok(()), LIMIT),
            (Ok(vec![refused]), Err("backend_unreachable"), LIMIT / 4),
            (
                Ok(vec![black_v4]),
                Err("backend_connect_timeout"),
                LIMIT * 3 / 2,
            ),
            (
                Ok(vec![black_v4, black_v4]),
                Err("backend_connect_timeout"),
                LIMIT * 3 / 2,
            ),
            (Ok(Vec::new()), Err("backend_unreachable"), LIMIT / 4),
            (
                Err(io::ErrorKind::NotFound),
                Err("backend_unreachable"),
                LIMIT / 4,
            ),
        ] {
            let provider = rustls::crypto::aws_lc_rs::default_provider();
            let tls = HttpsConnectorBuilder::new().with_provider_and_webpki_roots(provider);
            let tcp = HttpConnector::new_with_resolver(Known(known.clone()));
            let client = client(within(tls.unwrap(), tcp, LIMIT), true);
            let pulse = Pulse::new(LIMIT);
            let mut request = Request::new(Upload::new("".into(), 0, pulse, LIMIT));
            *request.uri_mut() = Uri::from_static("http://backend.internal/mcp");
            let begun = Instant::now();
            let answered = client.request(request).await;
            let took = begun.elapsed();
            let answered = answered.map(drop).map_err(|error| denied(&error).as_str());
            assert_eq!(answered, expected, "{known:?}");
            assert!(took < at_most, "{known:?} took {took:?}");
        }
    }

    #[tokio::test]
    async fn backend_that_offers_http2_gets_it_over_one_connection() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let (port, connections) = tls(server).await;

        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let trusting = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls = HttpsConnectorBuilder::new().with_tls_config(trusting);
        let connector = within(tls, HttpConnector::new(), Duration::from_secs(5));
        let url = format!("https://localhost:{port}/mcp");
        let backend = Backend {
            clients: PerWorker::new(|| client(connector.clone(), true)),
            scheme: Scheme::HTTPS,
            authority: Authority::try_from(format!("localhost:{port}")).unwrap(),
            ..backend(&url)
        };
        let pulse = Pulse::new(Duration::from_secs(1));
        for n in 0..3 {
            let target = backend.target(&format!("/{n}"), None).unwrap();
            let body = Upload::new("{}".into(), 2, pulse.clone(), Duration::from_secs(5));
            let sent = backend.send(Method::POST, target, HeaderMap::new(), body);
            let spoken = sent.await.unwrap().into_body().collect().await.unwrap();
            assert_eq!(spoken.to_bytes(), format!("HTTP/2.0 false {url}/{n}"));
        }
        assert_eq!(connections.load(Ordering::SeqCst), 1);
    }
}
