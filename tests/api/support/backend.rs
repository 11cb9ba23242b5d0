//! An MCP backend in this process, behind a real socket: it echoes what it receives, and a test
//! decides how else it behaves. With it, a gateway on a real socket and a raw client.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, stream};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mcp_oauth::config;
use mcp_oauth::entropy::rng;
use mcp_oauth::gateway::host::{HostLayer, Hosts};
use mcp_oauth::gateway::{Gateway, GatewayParts, Patience, Stopping, router};
use mcp_oauth::oauth::bearer::Ended;
use mcp_oauth::oauth::names::{
    ClientHash, GrantId, Secret, Subject, TokenId, UpstreamFingerprint, UpstreamName,
};
use mcp_oauth::oauth::records::AccessToken;
use mcp_oauth::oauth::scope::Scope;
use mcp_oauth::seal::{Keyring, Keys};
use mcp_oauth::time::{Clock as _, ManualClock, Timestamp};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// When the tests begin.
pub(crate) const START: Timestamp = Timestamp::from_secs(1_800_000_000);
/// How long a test waits for what must happen: generous, since it is only ever used up by a failure.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A request as the backend saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// Every value of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let values = self.headers.get_all(name).iter();
        values.map(|value| value.to_str().unwrap()).collect()
    }
}

type Behaviour = Arc<dyn Fn(Seen) -> BoxFuture<'static, Response> + Send + Sync>;

/// The backend.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Requests whose answer the gateway no longer wants.
    abandoned: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Backend {
    /// A backend that answers 200 with a short text.
    pub(crate) async fn start() -> Self {
        Self::with(|_| async { Response::new(Body::from("from the backend")) }.boxed()).await
    }

    /// A backend that behaves as told.
    pub(crate) async fn with(
        behaviour: impl Fn(Seen) -> BoxFuture<'static, Response> + Send + Sync + 'static,
    ) -> Self {
        let behaviour: Behaviour = Arc::new(behaviour);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let abandoned = Arc::new(AtomicUsize::new(0));
        let connections = Arc::new(AtomicUsize::new(0));
        let handler = {
            let (seen, abandoned) = (seen.clone(), abandoned.clone());
            move |request: Request| handle(request, behaviour, seen, abandoned)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counted = connections.clone();
        let listener = axum::serve::ListenerExt::tap_io(listener, move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let app = Router::new().fallback(handler);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self {
            address,
            seen,
            abandoned,
            connections,
        }
    }

    /// What it has received.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The one request that it has received.
    pub(crate) fn only(&self) -> Seen {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }

    /// Connections that were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until it has noticed `count` times that nobody wants its answer any more.
    pub(crate) async fn abandoned(&self, count: usize) {
        until(|| self.abandoned.load(Ordering::SeqCst) >= count).await;
    }
}

async fn handle(
    request: Request,
    behaviour: Behaviour,
    seen: Arc<Mutex<Vec<Seen>>>,
    abandoned: Arc<AtomicUsize>,
) -> Response {
    let (parts, body) = request.into_parts();
    let guard = Unfinished(Some(abandoned));
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return Response::new(Body::empty());
    };
    let request = Seen {
        method: parts.method,
        target: parts.uri.to_string(),
        headers: parts.headers,
        body: body.to_vec(),
    };
    seen.lock().unwrap().push(request.clone());
    let (head, body) = behaviour(request).await.into_parts();
    let state = (body, guard);
    let watched = stream::unfold(state, |(mut body, mut guard)| async move {
        match body.frame().await {
            Some(frame) => {
                let piece = frame.map(|it| it.into_data().unwrap_or_default());
                Some((piece, (body, guard)))
            }
            None => {
                drop(guard.0.take());
                None
            }
        }
    });
    Response::from_parts(head, Body::from_stream(watched))
}

/// Counts an answer that was dropped before its end.
struct Unfinished(Option<Arc<AtomicUsize>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Waits for a condition.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.unwrap();
}

/// A stream of events that the test feeds: an error breaks the backend's connection.
pub(crate) fn events() -> (mpsc::Sender<Result<&'static str, std::io::Error>>, Response) {
    let (sender, receiver) = mpsc::channel::<Result<&'static str, std::io::Error>>(64);
    let pieces = stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    });
    let response = Response::builder()
        .header("content-type", "text/event-stream")
        .body(Body::from_stream(pieces))
        .unwrap();
    (sender, response)
}

/// A backend whose one answer is a stream of events that the test feeds.
pub(crate) async fn streaming() -> (Backend, mpsc::Sender<Result<&'static str, std::io::Error>>) {
    let (sender, response) = events();
    let response = Arc::new(Mutex::new(Some(response)));
    let backend = Backend::with(move |_| {
        let response = response.lock().unwrap().take();
        async move { response.expect("only one request") }.boxed()
    })
    .await;
    (backend, sender)
}

/// Grants that a test has ended.
#[derive(Debug, Default)]
pub(crate) struct EndedGrants(pub(crate) Mutex<Vec<GrantId>>);

impl Ended for EndedGrants {
    fn has_ended(&self, token: &AccessToken) -> bool {
        self.0.lock().unwrap().contains(&token.grant)
    }
}

/// A gateway on a socket.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) ended: Arc<EndedGrants>,
    pub(crate) stopping: Stopping,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) issuer: String,
}

/// Quick enough for tests that wait for the gateway's patience to end.
pub(crate) const QUICK: Patience = Patience {
    tick: Duration::from_millis(5),
    upload: Duration::from_millis(40),
    answer_past_expiry: Duration::from_secs(3_600),
    listen_past_expiry: Duration::from_secs(30),
};

impl Front {
    /// A gateway with one resource `/mcp` before `backend`; `more` are lines of that resource.
    pub(crate) async fn before(backend: &Backend, more: &str) -> Self {
        let url = format!("http://{}/mcp", backend.address);
        Self::start(&format!(
            "[[resources]]\npath = \"/mcp\"\nbackend = \"{url}\"\n{more}\n"
        ))
        .await
    }

    /// A gateway with these resources, and whatever else the text configures.
    pub(crate) async fn start(resources: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let serve = |listener, app| tokio::spawn(axum::serve(listener, app).into_future());
        Self::serve(resources, listener, serve)
    }

    /// The same, with a server of the test's own.
    pub(crate) fn serve<T>(
        resources: &str,
        listener: TcpListener,
        serve: impl FnOnce(TcpListener, Router) -> T,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let issuer = format!("http://{address}");
        let text = format!(
            "public_url = \"{issuer}\"\n\
             [upstreams.idp]\nprovider = \"oidc\"\nissuer = \"https://id.example\"\n\
             client_id = \"c\"\nclient_secret = \"s\"\n\
             [access]\nallow_all = true\n{resources}"
        );
        let mut config = config::parse(&text, "test").unwrap();
        for resource in &mut config.resources {
            // The least that can be configured is a second, which is long for a test.
            resource.idle_timeout /= 20;
        }
        let config = Arc::new(config);
        let keys = Keyring::generate(&config.public_url.issuer, &mut rng()).unwrap();
        let keys = Arc::new(Keys::fixed(keys));
        let clock = Arc::new(ManualClock::at(START));
        let ended = Arc::new(EndedGrants::default());
        let stopping = Stopping::default();
        let gateway = Gateway::new(GatewayParts {
            config: config.clone(),
            keys: keys.clone(),
            clock: clock.clone(),
            ended: ended.clone(),
            upstreams: HashMap::from([(UpstreamName::new("idp"), upstream())]),
            stopping: stopping.clone(),
            patience: QUICK,
        });
        let gateway = Arc::new(gateway.unwrap());
        let app = router(gateway.clone()).layer(HostLayer::new(Hosts::new(&config.public_url)));
        serve(listener, app);
        Self {
            address,
            clock,
            keys,
            ended,
            stopping,
            gateway,
            issuer,
        }
    }

    /// A token record that is good for `/mcp` for an hour.
    pub(crate) fn record(&self) -> AccessToken {
        let now = self.clock.now();
        AccessToken {
            iss: self.issuer.clone(),
            sub: Subject::new("idp:alice"),
            aud: format!("{}/mcp", self.issuer),
            client_id: ClientHash::of("client"),
            scope: Scope::parse("mcp").unwrap(),
            iat: now,
            exp: now.plus(Duration::from_secs(3_600)),
            jti: TokenId::random(&mut rng()),
            grant: GrantId::random(&mut rng()),
            grant_issued_at: now,
            fingerprint: upstream(),
            email: None,
            preferred_username: None,
            groups: Vec::new(),
            upstream_token: None,
        }
    }

    /// A record, sealed.
    pub(crate) fn seal(&self, record: &AccessToken) -> String {
        let sealed = self.keys.current().seal(record, &mut rng()).unwrap();
        sealed.into_wire()
    }

    /// A good token of Alice's.
    pub(crate) fn token(&self) -> String {
        self.seal(&self.record())
    }

    /// A good token of somebody's.
    pub(crate) fn token_of(&self, subject: &str) -> String {
        let mut record = self.record();
        record.sub = Subject::new(subject);
        self.seal(&record)
    }

    /// A good token with an upstream token inside.
    pub(crate) fn token_with(&self, upstream_token: &str) -> String {
        let mut record = self.record();
        record.upstream_token = Some(Secret::new(upstream_token));
        self.seal(&record)
    }

    /// Starts a request to a path.
    pub(crate) fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.issuer))
    }

    /// A POST to `/mcp` with a good token.
    pub(crate) fn post(&self) -> http::request::Builder {
        self.request(Method::POST, "/mcp")
            .header("authorization", format!("Bearer {}", self.token()))
            .header("content-type", "application/json")
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&self, request: Request) -> Answer {
        let (head, body) = self.open(request).await.into_parts();
        let body = tokio::time::timeout(SOON, body.collect()).await.unwrap();
        Answer {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap(),
        }
    }

    /// Sends a request and reads the head of the answer.
    pub(crate) async fn open(&self, request: Request) -> http::Response<hyper::body::Incoming> {
        let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
        let sent = client.request(request);
        tokio::time::timeout(SOON, sent).await.unwrap().unwrap()
    }

    /// Writes bytes to a new connection and reads until the gateway closes it.
    pub(crate) async fn raw(&self, bytes: &str) -> String {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(bytes.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let reading = socket.read_to_end(&mut answer);
        tokio::time::timeout(SOON, reading).await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// The head of a raw POST to `/mcp` with a good token, without its last empty line.
    pub(crate) fn raw_head(&self) -> String {
        format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: Bearer {}\r\n",
            self.address,
            self.token()
        )
    }
}

/// The provider behind every resource here.
pub(crate) fn upstream() -> UpstreamFingerprint {
    UpstreamFingerprint::of_upstream("https://id.example", "c")
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// One header's only value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().unwrap();
        assert!(values.next().is_none(), "{name} twice");
        Some(value)
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_str(&self.body).unwrap()
    }

    /// The `error` member of a JSON body.
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }
}
