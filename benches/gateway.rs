//! The gateway's costs: the bearer check alone, then a call and a stream of events beside a plain
//! proxy of the same parts without any check.
//!
//! Measured in processor time of the threads at work (Linux only), so that neither a busy machine
//! nor the client and the backend in the same process disturb much.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up has nothing to measure"
)]

use std::collections::HashMap;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use futures_util::stream;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use mcp_oauth::config;
use mcp_oauth::entropy::rng;
use mcp_oauth::gateway::{Gateway, GatewayParts, Patience, Stopping, router};
use mcp_oauth::oauth::bearer::{Ended, ProtectedResource};
use mcp_oauth::oauth::names::{
    ClientHash, GrantId, Issuer, ResourceUri, Secret, Subject, TokenId, UpstreamFingerprint,
    UpstreamName,
};
use mcp_oauth::oauth::records::AccessToken;
use mcp_oauth::oauth::scope::Scope;
use mcp_oauth::seal::{Keyring, Keys, Sealed};
use mcp_oauth::time::{Clock as _, SystemClock, Timestamp};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

const EVENTS: usize = 2_000;
const CLIENTS: u64 = 16;
/// The thread that runs the benchmarks.
const MAIN: &str = "";

/// Processor time of the threads with this name.
struct ProcessorTime(&'static str);

impl ProcessorTime {
    fn now(&self) -> Duration {
        let mut spent = Duration::ZERO;
        for task in std::fs::read_dir("/proc/self/task").unwrap() {
            let task = task.unwrap().path();
            let name = std::fs::read_to_string(task.join("comm")).unwrap();
            let is_main =
                task.file_name().unwrap().to_str() == Some(&std::process::id().to_string());
            if name.trim_end() == self.0 || (is_main && self.0 == MAIN) {
                let text = std::fs::read_to_string(task.join("schedstat")).unwrap();
                let nanoseconds = text.split(' ').next().unwrap().parse().unwrap();
                spent += Duration::from_nanos(nanoseconds);
            }
        }
        spent
    }
}

impl Measurement for ProcessorTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        self.now()
    }

    fn end(&self, begun: Duration) -> Duration {
        self.now().saturating_sub(begun)
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

#[derive(Debug)]
struct Nothing;

impl Ended for Nothing {
    fn has_ended(&self, _: &AccessToken) -> bool {
        false
    }
}

fn record(issuer: &str, now: Timestamp, upstream_token: usize) -> AccessToken {
    AccessToken {
        iss: issuer.to_owned(),
        sub: Subject::new("google:108012345678901234567"),
        aud: format!("{issuer}/mcp"),
        client_id: ClientHash::of("client"),
        scope: Scope::parse("mcp").unwrap(),
        iat: now,
        exp: now.plus(Duration::from_secs(86_400)),
        jti: TokenId::random(&mut rng()),
        grant: GrantId::random(&mut rng()),
        grant_issued_at: now,
        fingerprint: upstream(),
        email: Some("alice@example.com".to_owned()),
        preferred_username: Some("alice".to_owned()),
        groups: Vec::new(),
        upstream_token: (upstream_token > 0).then(|| Secret::new("x".repeat(upstream_token))),
    }
}

fn upstream() -> UpstreamFingerprint {
    UpstreamFingerprint::of_upstream("https://id.example", "c")
}

fn bearer(c: &mut Criterion<ProcessorTime>) {
    let issuer = Issuer::new("https://mcp.example.com");
    let keys = Keys::fixed(Keyring::generate(&issuer, &mut rng()).unwrap());
    let now = SystemClock::start().now();
    let resource = ProtectedResource::new(
        &issuer,
        ResourceUri::new("https://mcp.example.com/mcp"),
        "/mcp",
        Scope::parse("mcp").unwrap(),
        upstream(),
        false,
    );
    let mut group = c.benchmark_group("bearer");
    // The time of a thread that runs is told a few times in a second, so samples must be long.
    group.sampling_mode(SamplingMode::Flat);
    group.sample_size(20);
    for (name, upstream_token) in [("identity", 0), ("1KB", 250), ("2KB", 1_000)] {
        let record = record(issuer.as_str(), now, upstream_token);
        let token = keys
            .current()
            .seal(&record, &mut rng())
            .unwrap()
            .into_wire();
        group.bench_function(format!("{name} ({} characters)", token.len()), |b| {
            b.iter(|| {
                resource
                    .check(black_box(&token), &keys, &Nothing, now)
                    .unwrap()
            });
        });
        group.bench_function(format!("{name}, opening alone"), |b| {
            b.iter(|| {
                let sealed = Sealed::<AccessToken>::from_wire(black_box(&token).as_str());
                keys.open(&sealed, now).unwrap()
            });
        });
    }
    let garbage = "A".repeat(600);
    group.bench_function("garbage", |b| {
        b.iter(|| {
            resource
                .check(black_box(&garbage), &keys, &Nothing, now)
                .unwrap_err()
        });
    });
}

fn runtime(name: &str) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(name)
        .enable_all()
        .build()
        .unwrap()
}

/// Serves a router in a runtime of its own; the address is known before.
async fn serve(runtime: &Runtime, app: impl FnOnce(SocketAddr) -> Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listener = listener.into_std().unwrap();
    let app = app(address);
    runtime.spawn(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        let listener = listener.tap_io(|socket| socket.set_nodelay(true).unwrap());
        axum::serve(listener, app).await
    });
    address
}

fn backend() -> Router {
    let events = || async {
        let event = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n";
        let events = stream::iter((0..EVENTS).map(move |_| Ok::<_, std::io::Error>(event)));
        http::Response::builder()
            .header("content-type", "text/event-stream")
            .body(Body::from_stream(events))
            .unwrap()
    };
    let call = || async { "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[]}}" };
    Router::new()
        .route("/mcp", post(call))
        .route("/mcp", get(events))
}

/// The same server and client without a check, a header rule or a limit.
fn plain(backend: SocketAddr) -> Router {
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    Router::new().fallback(move |mut request: Request| {
        let client = client.clone();
        async move {
            let target = format!("http://{backend}{}", request.uri().path());
            *request.uri_mut() = target.parse().unwrap();
            client.request(request).await.unwrap().map(Body::new)
        }
    })
}

/// The gateway, and a token that it takes.
fn gateway(address: SocketAddr, backend: SocketAddr) -> (Router, String) {
    let text = format!(
        "public_url = \"http://{address}\"\n\
         [upstreams.idp]\nprovider = \"oidc\"\nissuer = \"https://id.example\"\n\
         client_id = \"c\"\nclient_secret = \"s\"\n\
         [access]\nallow_all = true\n\
         [[resources]]\npath = \"/mcp\"\nbackend = \"http://{backend}/mcp\"\n"
    );
    let config = Arc::new(config::parse(&text, "bench").unwrap());
    let keys = Keyring::generate(&config.public_url.issuer, &mut rng()).unwrap();
    let keys = Arc::new(Keys::fixed(keys));
    let clock = Arc::new(SystemClock::start());
    let record = record(config.public_url.issuer.as_str(), clock.now(), 0);
    let token = keys
        .current()
        .seal(&record, &mut rng())
        .unwrap()
        .into_wire();
    let gateway = Gateway::new(GatewayParts {
        config,
        keys,
        clock,
        ended: Arc::new(Nothing),
        upstreams: HashMap::from([(UpstreamName::new("idp"), upstream())]),
        stopping: Stopping::default(),
        patience: Patience::default(),
    });
    (router(Arc::new(gateway.unwrap())), token)
}

fn request(method: &str, address: SocketAddr, token: &str) -> Request {
    let body = match method {
        "POST" => Body::from("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\"}"),
        _ => Body::empty(),
    };
    Request::builder()
        .method(method)
        .uri(format!("http://{address}/mcp"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("user-agent", "bench/1")
        .body(body)
        .unwrap()
}

async fn exchange(client: &Client<HttpConnector, Body>, request: Request) -> usize {
    let response = client.request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().into_data().unwrap().len();
    }
    length
}

/// Every client sends `count` requests, all clients at once.
async fn load(client: &Client<HttpConnector, Body>, request: impl Fn() -> Request, count: u64) {
    let clients = (0..CLIENTS).map(|_| {
        let request = &request;
        async move {
            for _ in 0..count {
                exchange(client, request()).await;
            }
        }
    });
    futures_util::future::join_all(clients).await;
}

fn hop(c: &mut Criterion<ProcessorTime>) {
    let (behind, between, client_side) = (runtime("backend"), runtime("proxy"), runtime("client"));
    let (plain, front, token) = client_side.block_on(async {
        let behind = serve(&behind, |_| backend()).await;
        let plain = serve(&between, |_| plain(behind)).await;
        let mut token = String::new();
        let front = serve(&between, |address| {
            let (app, minted) = gateway(address, behind);
            token = minted;
            app
        });
        (plain, front.await, token)
    });
    let client = Client::builder(TokioExecutor::new()).build_http();
    for (name, method, elements) in [
        ("call", "POST", CLIENTS),
        ("events", "GET", CLIENTS * EVENTS as u64),
    ] {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(elements));
        for (way, address) in [("plain", plain), ("gateway", front)] {
            group.bench_function(way, |b| {
                b.iter_custom(|count| {
                    let clock = ProcessorTime("proxy");
                    let begun = clock.start();
                    let request = || request(method, address, &token);
                    client_side.block_on(load(&client, request, count));
                    clock.end(begun)
                });
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ProcessorTime(MAIN));
    targets = bearer
}
criterion_group! {
    name = hops;
    config = Criterion::default().with_measurement(ProcessorTime("proxy"));
    targets = hop
}
criterion_main!(benches, hops);
