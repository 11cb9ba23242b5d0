//! The listener's bounds: what a hostile or a slow peer can hold, and how a server ends.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use mcp_oauth::listen::{self, LAST_WORDS};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backend::{Backend, Front, SOON, streaming};
use crate::api::support::world::World;

/// A server with the product's listener.
struct Listening {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    deadline: CancellationToken,
    serving: JoinHandle<()>,
}

impl Listening {
    async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, deadline) = (CancellationToken::new(), CancellationToken::new());
        let serving = listen::serve(listener, router, None, stop.clone(), deadline.clone());
        Self {
            address,
            stop,
            deadline,
            serving: tokio::spawn(serving),
        }
    }

    async fn connect(&self, bytes: impl AsRef<[u8]>) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(bytes.as_ref()).await.unwrap();
        socket
    }

    /// Everything that is answered until the connection ends.
    async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        rest(self.connect(bytes).await).await
    }
}

async fn rest(mut socket: TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset is an end as well.
    let _ = socket.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn plain() -> Router {
    Router::new().route("/", get(|| async { "fine" })).route(
        "/",
        post(|body: String| async move { body.len().to_string() }),
    )
}

const HEAD: &str = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";

// F4
#[tokio::test]
async fn answers_that_run_at_the_deadline_still_get_their_end_onto_the_wire() {
    let (backend, events) = streaming().await;
    let (stop, deadline) = (CancellationToken::new(), CancellationToken::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let resources = format!(
        "[[resources]]\npath = \"/mcp\"\nbackend = \"http://{}/mcp\"\nauth = \"optional\"\n",
        backend.address
    );
    let mut serving = None;
    let front = Front::serve(&resources, listener, |listener, router| {
        let served = listen::serve(listener, router, None, stop.clone(), deadline.clone());
        serving = Some(tokio::spawn(served));
    });
    let request = front.request(Method::POST, "/mcp").body(Body::empty());
    let answer = front.open(request.unwrap()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let mut body = answer.into_body();
    events.send(Ok("data: 1\n\n")).await.unwrap();
    body.frame().await.unwrap().unwrap();

    stop.cancel();
    front.stopping.deadline.cancel();
    deadline.cancel();
    // A clean end: a connection that is merely dropped would be an error here.
    let end = tokio::time::timeout(SOON, body.frame()).await.unwrap();
    assert!(end.is_none(), "{end:?}");
    tokio::time::timeout(SOON, serving.unwrap())
        .await
        .unwrap()
        .unwrap();
}

// F4
#[tokio::test(start_paused = true)]
async fn requests_that_never_end_keep_the_process_no_longer_than_the_last_words() {
    let begun = Arc::new(Notify::new());
    let told = Arc::clone(&begun);
    let router = Router::new().route(
        "/",
        get(move || async move {
            told.notify_one();
            std::future::pending::<String>().await
        }),
    );
    let server = Listening::start(router).await;
    let socket = server.connect("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    begun.notified().await;
    server.stop.cancel();
    server.deadline.cancel();
    let asked = Instant::now();
    server.serving.await.unwrap();
    let took = asked.elapsed();
    assert!(
        took >= LAST_WORDS && took <= LAST_WORDS * 2,
        "{took:?} instead of {LAST_WORDS:?}"
    );
    drop(socket);
}

// F3
#[tokio::test]
async fn connections_that_were_made_before_the_stop_are_answered() {
    let server = Listening::start(plain()).await;
    // In this thread nobody else gets a turn: the system takes the connections, we have not yet.
    let connect = || {
        let socket = std::net::TcpStream::connect(server.address).unwrap();
        socket.set_nonblocking(true).unwrap();
        TcpStream::from_std(socket).unwrap()
    };
    let sockets: Vec<TcpStream> = (0..32).map(|_| connect()).collect();
    server.stop.cancel();
    // Nobody is taken any more, as soon as the server had its turn.
    while TcpStream::connect(server.address).await.is_ok() {}
    let request = format!("{HEAD}Content-Length: 3\r\n\r\nabc");
    for mut socket in sockets {
        socket.write_all(request.as_bytes()).await.unwrap();
        let answer = rest(socket).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    server.serving.await.unwrap();
}

// F20
#[tokio::test(start_paused = true)]
async fn head_that_never_ends_is_cut_after_ten_seconds() {
    let server = Listening::start(plain()).await;
    let begun = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..50 {
        slow.push(
            server
                .connect("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")
                .await,
        );
        // Nor does one that never begins.
        slow.push(server.connect("").await);
    }
    // Nobody else waits for them.
    let honest = server.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(honest.await.ends_with("fine"));
    for socket in slow {
        assert_eq!(rest(socket).await, "");
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(10), "{took:?}");
    assert!(took < Duration::from_secs(15), "{took:?}");
}

// F20, G15
#[tokio::test(start_paused = true)]
async fn form_that_never_ends_is_a_request_timeout() {
    let server = Listening::start(World::new().router).await;
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    for path in ["/token", "/register", "/revoke", "/consent"] {
        let begun = Instant::now();
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{kind}Content-Length: 9\r\n\r\na=");
        let answer = server.raw(head).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{path}: {answer}");
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}

// G15
#[tokio::test]
async fn heads_over_the_bounds_are_431() {
    let server = Listening::start(plain()).await;
    let fields = |count: u32| {
        (0..count)
            .map(|n| format!("X-{n}: 1\r\n"))
            .collect::<Vec<_>>()
            .concat()
    };
    let fits = fields(90);
    let answer = server.raw(format!("{HEAD}{fits}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let long = format!("{HEAD}X-Long: {}\r\n\r\n", "a".repeat(33 * 1024));
    let many = fields(101);
    for head in [long, format!("{HEAD}{many}\r\n")] {
        let answer = server.raw(head).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
}

// G15
#[tokio::test]
async fn body_without_end_is_413_long_before_it_fills_anything() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "max_body = \"64KB\"").await;
    let mut socket = TcpStream::connect(front.address).await.unwrap();
    let head = format!("{}Transfer-Encoding: chunked\r\n\r\n", front.raw_head());
    socket.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let mut sent = 0;
    // Until the gateway no longer listens; sockets hold some of it.
    while sent < 64 << 20 && socket.write_all(chunk.as_bytes()).await.is_ok() {
        sent += 0x1000;
    }
    assert!(sent < 64 << 20, "{sent} bytes were taken");
    assert!(backend.seen().is_empty());
}

/// An HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const END_STREAM: u8 = 1;
/// `:method POST`, `:scheme http`, `:path /`, `:authority a`, in HPACK's static table.
const POST: &[u8] = &[0x83, 0x86, 0x84, 0x41, 0x01, b'a'];

fn preface() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes
}

/// More frames than any bound of ours.
const MOST: u32 = 20_000;

/// Sends frames until the server hangs up; how many it took.
async fn flood(server: &Listening, first: Vec<u8>, frames: impl Fn(u32) -> Vec<u8>) -> u32 {
    let (mut reader, mut writer) = server.connect(first).await.into_split();
    // What is answered must be read, or the flood only waits for itself.
    let reading = tokio::spawn(async move { reader.read_to_end(&mut Vec::new()).await });
    let mut sent = 0;
    while sent < MOST {
        let batch: Vec<u8> = (sent..sent + 100).flat_map(&frames).collect();
        if writer.write_all(&batch).await.is_err() || reading.is_finished() {
            return sent;
        }
        sent += 100;
        // The server has this thread too, and sees what arrives only when nobody else runs.
        tokio::task::yield_now().await;
    }
    sent
}

// F33
#[tokio::test]
async fn floods_of_http2_frames_end_the_connection() {
    let server = Listening::start(plain()).await;
    let id = |n: u32| 2 * n + 1;
    let resets = |n| {
        let mut both = frame(HEADERS, END_HEADERS | END_STREAM, id(n), POST);
        both.extend(frame(RST_STREAM, 0, id(n), &[0, 0, 0, 8]));
        both
    };
    let mut open = preface();
    open.extend(frame(HEADERS, 0, 1, POST));
    let continued = |_| frame(CONTINUATION, 0, 1, &[0, 1, b'a', 1, b'b'].repeat(100));
    let mut posting = preface();
    posting.extend(frame(HEADERS, END_HEADERS, 1, POST));
    let empty = |_| frame(DATA, 0, 1, &[]);
    let settings = |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]);
    for (name, sent) in [
        ("resets", flood(&server, preface(), resets).await),
        ("CONTINUATION", flood(&server, open, continued).await),
        ("empty DATA", flood(&server, posting, empty).await),
    ] {
        assert!(sent < MOST, "{name}: the connection outlived {sent} frames");
    }
    // Each of these is answered, and costs no more than its answer.
    for (name, frames) in [
        (
            "PING",
            &(|_| frame(PING, 0, 0, &[0; 8])) as &dyn Fn(u32) -> Vec<u8>,
        ),
        ("SETTINGS", &settings),
    ] {
        flood(&server, preface(), frames).await;
        let honest = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        assert!(server.raw(honest).await.ends_with("fine"), "{name}");
    }
}

// F21
#[tokio::test]
async fn process_without_descriptors_says_so_once_and_recovers() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let home = tempfile::tempdir().unwrap();
    let log = std::fs::File::create(home.path().join("log")).unwrap();
    let script = format!(
        "ulimit -n 64; exec {} demo --listen {address}",
        env!("CARGO_BIN_EXE_mcp-oauth")
    );
    let mut process = tokio::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(&home)
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut held = Vec::new();
    let said = || {
        let text = std::fs::read_to_string(home.path().join("log")).unwrap();
        text.matches("no connection was accepted").count()
    };
    let filling = async {
        while said() == 0 {
            match TcpStream::connect(address).await {
                Ok(socket) => held.push(socket),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON * 3, filling).await.unwrap();
    held.clear();
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let answer = tokio::time::timeout(SOON, rest(socket)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(said(), 1);
    process.kill().await.unwrap();
}
