//! The process as it is stopped: by signals, with connections open on every worker.

use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::backend::{Backend, SOON, streaming};

/// From the signal to the end of listening.
const DELAY: Duration = Duration::from_secs(1);
/// More connections than workers on most computers: each worker gets several.
const MANY: usize = 24;

/// `mcp-oauth serve` before a backend that asks for no token.
struct Process {
    child: Child,
    address: SocketAddr,
    _home: tempfile::TempDir,
}

impl Process {
    async fn start(backend: SocketAddr) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("mcp-oauth.toml");
        let configuration = format!(
            "public_url = \"http://{address}\"\nlisten = \"{address}\"\n\
             [upstreams.idp]\nprovider = \"oidc\"\nissuer = \"https://id.example\"\n\
             client_id = \"c\"\nclient_secret = \"s\"\n\
             [access]\nallow_all = true\n\
             [shutdown]\ndelay = \"{}s\"\ndrain = \"25s\"\n\
             [[resources]]\npath = \"/mcp\"\nbackend = \"http://{backend}/mcp\"\nauth = \"optional\"\n",
            DELAY.as_secs()
        );
        std::fs::write(&file, configuration).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_mcp-oauth"))
            .args(["serve", "--config"])
            .arg(file)
            .current_dir(&home)
            .env_clear()
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let process = Self {
            child,
            address,
            _home: home,
        };
        let listening = async {
            while TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(SOON * 3, listening).await.unwrap();
        process
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A connection that is kept after the answer to one call.
    async fn called(&self) -> TcpStream {
        let mut socket = self.connect().await;
        let head = format!("POST /mcp HTTP/1.1\r\nHost: {}\r\n", self.address);
        let request = format!("{head}Content-Length: 2\r\n\r\n{{}}");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // The last chunk.
        while !answer.ends_with(b"\r\n0\r\n\r\n") {
            let read = socket.read_buf(&mut answer);
            let read = tokio::time::timeout(SOON, read).await.unwrap().unwrap();
            assert_ne!(read, 0, "{}", String::from_utf8_lossy(&answer));
        }
        socket
    }

    /// A connection in the middle of a stream of events.
    async fn listening(&self) -> TcpStream {
        let mut socket = self.connect().await;
        let head = format!("GET /mcp HTTP/1.1\r\nHost: {}\r\n", self.address);
        let request = format!("{head}Accept: text/event-stream\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let read = socket.read_buf(&mut answer);
            tokio::time::timeout(SOON, read).await.unwrap().unwrap();
        }
        socket
    }

    /// An HTTP/2 connection that is kept after the answer to one call.
    async fn called_over_http2(&self) -> hyper::client::conn::http2::SendRequest<Body> {
        let io = TokioIo::new(self.connect().await);
        let made = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
        let (mut sender, connection) = made.await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post(format!("http://{}/mcp", self.address));
        let answer = sender.send_request(request.body("{}".into()).unwrap());
        let answer = answer.await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(answer.to_bytes(), "from the backend");
        sender
    }

    async fn ask_to_stop(&self) {
        let kill = format!("kill -TERM {}", self.child.id().unwrap());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.await.unwrap().success());
    }

    async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(SOON * 4, self.child.wait());
        ended.await.unwrap().unwrap()
    }
}

// F4
#[tokio::test]
async fn process_with_nothing_but_idle_connections_ends_right_after_the_delay() {
    let backend = Backend::start().await;
    let mut process = Process::start(backend.address).await;
    let mut held = Vec::new();
    for _ in 0..MANY {
        held.push(process.connect().await);
        held.push(process.called().await);
    }
    let over_http2 = process.called_over_http2().await;

    process.ask_to_stop().await;
    let asked = Instant::now();
    // Until the delay is over everything is as before.
    tokio::time::sleep(DELAY / 2).await;
    held.push(process.called().await);
    held.push(process.connect().await);

    let status = process.ended().await;
    let took = asked.elapsed();
    assert!(status.success(), "{status}");
    assert!(took >= DELAY && took < DELAY * 2, "{took:?}");
    for mut socket in held {
        assert_eq!(socket.read(&mut [0; 1]).await.unwrap_or(0), 0);
    }
    drop(over_http2);
}

// F4
#[tokio::test]
async fn second_signal_ends_the_process_at_once() {
    let (backend, events) = streaming().await;
    let mut process = Process::start(backend.address).await;
    let socket = process.listening().await;
    process.ask_to_stop().await;
    let asked = Instant::now();
    tokio::time::sleep(DELAY / 4).await;
    process.ask_to_stop().await;
    let status = process.ended().await;
    assert_eq!(status.code(), Some(1));
    assert!(asked.elapsed() < DELAY, "{:?}", asked.elapsed());
    drop((socket, events));
}
