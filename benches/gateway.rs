//! The gateway's costs: the bearer check alone, and a call and a stream beside the same without it.
//!
//! Measured in processor time of the whole process (Linux only), so that a busy machine disturbs
//! little; the client and the backend are in it, on both sides of every comparison.

use std::collections::HashMap;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::{get, post};
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
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
use mcp_oauth::oauth::records::{AccessToken, Identity};
use mcp_oauth::oauth::scope::Scope;
use mcp_oauth::seal::{Keyring, Keys, Sealed};
use mcp_oauth::time::{Clock as _, SystemClock, Timestamp};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

const EVENTS: usize = 10_000;

/// Processor time of all threads.
struct ProcessorTime;

impl ProcessorTime {
    fn now() -> Duration {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let spent = tasks.map(|task| {
            let text = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
            let nanoseconds: u64 = text.split(' ').next().unwrap().parse().unwrap();
            Duration::from_nanos(nanoseconds)
        });
        spent.sum()
    }
}

impl Measurement for ProcessorTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        Self::now()
    }

    fn end(&self, begun: Duration) -> Duration {
        Self::now().saturating_sub(begun)
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
        identity: Identity {
            email: Some("alice@example.com".to_owned()),
            preferred_username: Some("alice".to_owned()),
            groups: Vec::new(),
        },
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

async fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let events = || async {
        let event = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n";
        let events = stream::iter((0..EVENTS).map(move |_| Ok::<_, std::io::Error>(event)));
        http::Response::builder()
            .header("content-type", "text/event-stream")
            .body(Body::from_stream(events))
            .unwrap()
    };
    let call = || async { "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[]}}" };
    let app = Router::new()
        .route("/mcp", post(call))
        .route("/mcp", get(events));
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Starts a gateway; returns its address and a token.
async fn gateway(backend: SocketAddr) -> (SocketAddr, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
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
    let app = router(Arc::new(gateway.unwrap()));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, token)
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

fn hop(c: &mut Criterion<ProcessorTime>) {
    let runtime = Runtime::new().unwrap();
    let (behind, front, token) = runtime.block_on(async {
        let behind = backend().await;
        let (front, token) = gateway(behind).await;
        (behind, front, token)
    });
    let client = Client::builder(TokioExecutor::new()).build_http();
    for (name, method, elements) in [("call", "POST", 1), ("events", "GET", EVENTS)] {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(elements.try_into().unwrap()));
        for (way, address) in [("direct", behind), ("gateway", front)] {
            group.bench_function(way, |b| {
                b.iter(|| runtime.block_on(exchange(&client, request(method, address, &token))));
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ProcessorTime);
    targets = bearer, hop
}
criterion_main!(benches);
