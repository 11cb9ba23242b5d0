//! A server in a process of its own, with a provider, a backend and a client's document in this one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::{IntoResponse as _, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use mcp_oauth::time::SystemClock;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use super::super::documents::Key;
use super::super::support::upstream::{CLIENT_ID, CLIENT_SECRET, FakeUpstream, soon};
use super::super::support::world::Answer;

/// Between two looks at what the process did.
const PAUSE: Duration = Duration::from_millis(100);
/// What the operator's headers, the backend and a client of the operator's keep to themselves.
pub(super) const BACKEND_KEY: &str = "the-operators-key-for-the-backend";
pub(super) const BACKEND_SESSION: &str = "the-backends-own-session-id";
pub(super) const STATIC_SECRET: &str = "the-static-clients-secret-of-length";
/// Where the client of the operator's listens; its refreshes have no grace.
pub(super) const STATIC_REDIRECT: &str = "https://agent.example/callback";

/// A program of this package's, in a folder of its own.
pub(super) fn program(home: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-oauth"));
    command
        .current_dir(home)
        .env_remove("MCP_OAUTH_TEST_REDIS_SERVER")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

pub(super) fn free_port() -> SocketAddr {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap()
}

/// The server and what is around it.
pub(super) struct Deployment {
    pub(super) address: SocketAddr,
    admin: SocketAddr,
    pub(super) home: TempDir,
    process: Child,
    http: Client<HttpConnector, Body>,
    pub(super) upstream: FakeUpstream,
    /// Values that reached the backend in headers with secrets.
    pub(super) seen: Arc<Mutex<Vec<String>>>,
    pub(super) document: String,
    pub(super) key: Key,
}

impl Deployment {
    pub(super) async fn start(format: &str) -> Self {
        let upstream = FakeUpstream::start_at(Arc::new(SystemClock::start())).await;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let backend = serve(backend(Arc::clone(&seen))).await;
        let key = Key::of(jsonwebtoken::Algorithm::ES256);
        let document = document(&key).await;
        let (address, admin) = (free_port(), free_port());
        let home = tempfile::tempdir().unwrap();
        let config = configuration(address, admin, backend, &upstream.issuer(), format);
        write_private(&home.path().join("mcp-oauth.toml"), &config);
        let log = std::fs::File::create(home.path().join("log")).unwrap();
        let process = program(&home)
            .args(["serve", "--config", "mcp-oauth.toml"])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut this = Self {
            address,
            admin,
            home,
            process,
            http: Client::builder(TokioExecutor::new()).build_http(),
            upstream,
            seen,
            document,
            key,
        };
        soon(this.is_up()).await;
        this
    }

    async fn is_up(&mut self) {
        while tokio::net::TcpStream::connect(self.admin).await.is_err() {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended: {}", self.log());
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(super) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that the process wrote.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap()
    }

    /// Waits until the log says it.
    pub(super) async fn says(&self, text: &str) {
        soon(async {
            while !self.log().contains(text) {
                tokio::time::sleep(PAUSE).await;
            }
        })
        .await;
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Sends a request to the server, and reads the whole answer.
    pub(super) async fn send(&self, mut request: Request<Body>) -> Answer {
        let target = format!("{}{}", self.origin(), request.uri());
        *request.uri_mut() = target.parse().unwrap();
        self.fetch(request).await
    }

    async fn fetch(&self, request: Request<Body>) -> Answer {
        let response = soon(self.http.request(request)).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = soon(axum::body::to_bytes(Body::new(body), 1 << 20))
            .await
            .unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// An admin endpoint.
    pub(super) async fn admin(&self, path: &str) -> Answer {
        let uri = format!("http://{}{path}", self.admin);
        self.fetch(Request::get(uri).body(Body::empty()).unwrap())
            .await
    }

    /// Sends the process a signal.
    pub(super) async fn signal(&self, name: &str) {
        let id = self.process.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().await;
        assert!(sent.unwrap().success());
    }

    pub(super) async fn ended(&mut self) -> ExitStatus {
        soon(self.process.wait()).await.unwrap()
    }

    /// Asks the process to stop, and waits until it has.
    pub(super) async fn stop(&mut self) -> ExitStatus {
        self.signal("TERM").await;
        self.ended().await
    }
}

pub(super) fn write_private(path: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Answers with a session, or with events that never end.
fn backend(seen: Arc<Mutex<Vec<String>>>) -> Router {
    Router::new().fallback(move |request: Request<Body>| {
        let headers = ["authorization", "x-forwarded-access-token"];
        let values = headers.iter().filter_map(|it| request.headers().get(*it));
        let values = values.map(|it| it.to_str().unwrap().to_owned());
        seen.lock().unwrap().extend(values);
        let is_stream = request.uri().path().ends_with("/events");
        let answer: Response = if is_stream {
            let events =
                futures_util::stream::once(async { Ok::<_, std::io::Error>(": begun\n\n") });
            let events = futures_util::StreamExt::chain(events, futures_util::stream::pending());
            let kind = [("content-type", "text/event-stream")];
            (kind, Body::from_stream(events)).into_response()
        } else {
            let session = [("mcp-session-id", BACKEND_SESSION)];
            (
                session,
                axum::Json(json!({"jsonrpc": "2.0", "id": 1, "result": {}})),
            )
                .into_response()
        };
        async move { answer }
    })
}

/// The document of a client with keys; its URL.
async fn document(key: &Key) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let url = format!("{origin}/client.json");
    let document: Value = json!({
        "client_id": url, "client_name": "Documented",
        "redirect_uris": ["http://127.0.0.1/callback"],
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [key.public()]},
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
    });
    let app = Router::new().route(
        "/client.json",
        axum::routing::get(move || async move { axum::Json(document) }),
    );
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

fn configuration(
    address: SocketAddr,
    admin: SocketAddr,
    backend: SocketAddr,
    issuer: &str,
    format: &str,
) -> String {
    let resource = |path: &str, forward: &str| {
        format!(
            "[[resources]]\npath = \"{path}\"\nbackend = \"http://{backend}{path}\"\n\
             forward = [\"{forward}\"]\nbackend_headers = {{ x-gateway-key = \"{BACKEND_KEY}\" }}\n"
        )
    };
    format!(
        "public_url = \"http://{address}\"\nlisten = \"{address}\"\n\
         [upstreams.idp]\nprovider = \"oidc\"\nissuer = \"{issuer}\"\n\
         client_id = \"{CLIENT_ID}\"\nclient_secret = \"{CLIENT_SECRET}\"\nrevoke_upstream = true\n\
         {}{}{}\
         [access]\nallow_emails = [\"alice@example.com\", \"bob@example.com\"]\n\
         [clients]\ncimd_allow_loopback = true\n\
         [[clients.static]]\nclient_id = \"agent\"\nclient_secret = \"{STATIC_SECRET}\"\n\
         redirect_uris = [\"{STATIC_REDIRECT}\"]\n\
         [[clients.policy]]\nclient_host = \"agent.example\"\nrefresh_grace = \"0s\"\n\
         [limits]\nregister_per_minute = 6\nauthorize_per_minute = 0\ntoken_per_minute = 0\n\
         [admin]\nlisten = \"{admin}\"\n\
         [shutdown]\ndelay = \"0s\"\ndrain = \"20s\"\n\
         [log]\nformat = \"{format}\"\nlevel = \"trace\"\n",
        resource("/mcp", "identity"),
        resource("/token-of-upstream", "access_token"),
        resource("/as-upstream", "authorization"),
    )
}
