//! The server's own TLS on a real socket, and a certificate that changes while it runs.

use std::sync::Arc;

use axum::body::Body;
use http::header::STRICT_TRANSPORT_SECURITY;
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use mcp_oauth::config;
use mcp_oauth::listen;
use mcp_oauth::seal::KeySource;
use mcp_oauth::server::Server;
use mcp_oauth::time::SystemClock;
use mcp_oauth::tls::Tls;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::support::upstream::soon;

/// Certificate and key files of one's own making.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn config(&self) -> config::Tls {
        config::Tls {
            certificate: self.folder.path().join("tls.crt"),
            key: self.folder.path().join("tls.key"),
        }
    }

    /// Writes a new pair, and returns the certificate.
    fn renew(&self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(self.config().certificate, made.cert.pem()).unwrap();
        std::fs::write(self.config().key, made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }
}

async fn connect(
    address: std::net::SocketAddr,
    trusted: &CertificateDer<'static>,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

/// One request on a connection of its own.
async fn ask<IO>(stream: IO, host: &str, path: &str) -> Response<Incoming>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(path).header("host", host);
    let request = request.body(Body::empty()).unwrap();
    soon(sender.send_request(request)).await.unwrap()
}

/// A whole server at an address of this machine, until `stop`.
async fn whole(
    scheme: &str,
    tls: Option<config::Tls>,
    stop: CancellationToken,
) -> (String, TempDir) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("localhost:{}", listener.local_addr().unwrap().port());
    let text = format!(
        "public_url = \"{scheme}://{host}\"\n\
         [upstreams.idp]\nprovider = \"oidc\"\nissuer = \"https://idp.example\"\n\
         client_id = \"us\"\nclient_secret = \"upstream-secret\"\n\
         [[resources]]\npath = \"/mcp\"\nbackend = \"http://127.0.0.1:9/mcp\"\n\
         [access]\nallow_all = true\n[shutdown]\ndelay = \"0s\"\ndrain = \"1s\"\n"
    );
    let keys = tempfile::tempdir().unwrap();
    let mut config = config::parse(&text, "test.toml").unwrap();
    config.tls = tls;
    config.keys = KeySource::Directory {
        path: keys.path().to_owned(),
        create: true,
    };
    let server = Server::assemble(config, Arc::new(SystemClock::start())).await;
    let serving = server.unwrap().serve(listener, stop.cancelled_owned());
    tokio::spawn(serving);
    (host, keys)
}

// RFC 6797 §7.1, §7.2: said over TLS only.
#[tokio::test]
async fn browsers_are_told_to_stay_with_https_where_tls_ends_here() {
    let files = Files::new();
    let certificate = files.renew();
    let stop = CancellationToken::new();
    for (scheme, tls) in [("https", Some(files.config())), ("http", None)] {
        let is_tls = tls.is_some();
        let (host, _keys) = whole(scheme, tls, stop.clone()).await;
        for (path, status) in [("/healthz", 200), ("/mcp", 401), ("/nothing", 404)] {
            let answer = if is_tls {
                let address = host.parse::<http::uri::Authority>().unwrap();
                let address = ([127, 0, 0, 1], address.port_u16().unwrap()).into();
                let stream = connect(address, &certificate, &[b"http/1.1"]).await;
                ask(stream.unwrap(), &host, path).await
            } else {
                ask(TcpStream::connect(&host).await.unwrap(), &host, path).await
            };
            assert_eq!(answer.status(), status, "{scheme} {path}");
            let told = answer.headers().get(STRICT_TRANSPORT_SECURITY);
            let told = told.map(|it| it.to_str().unwrap());
            assert_eq!(
                told,
                is_tls.then_some("max-age=31536000"),
                "{scheme} {path}"
            );
        }
    }
    stop.cancel();
}

#[tokio::test]
async fn certificate_is_renewed_while_the_server_runs() {
    let files = Files::new();
    let first = files.renew();
    let tls = Arc::new(Tls::load(&files.config()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().route("/", axum::routing::get(|| async { "hello" }));
    let stop = CancellationToken::new();
    let serving = listen::serve(
        listener,
        router,
        Some(Arc::clone(&tls)),
        stop.clone(),
        CancellationToken::new(),
    );
    let serving = tokio::spawn(serving);

    let stream = connect(address, &first, &[b"h2", b"http/1.1"])
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let stream = connect(address, &first, &[b"http/1.1"]).await.unwrap();
    let answer = ask(stream, "localhost", "/").await;
    assert_eq!(answer.status(), StatusCode::OK);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&body[..], b"hello");

    let second = files.renew();
    assert!(connect(address, &second, &[]).await.is_err());
    assert!(tls.reload());
    assert!(!tls.reload());
    connect(address, &second, &[]).await.unwrap();
    assert!(connect(address, &first, &[]).await.is_err());

    // F24: what cannot be used changes nothing.
    std::fs::write(files.config().key, "half a file").unwrap();
    assert!(!tls.reload());
    connect(address, &second, &[]).await.unwrap();

    stop.cancel();
    soon(serving).await.unwrap();
}

#[tokio::test]
async fn plain_requests_to_a_tls_port_are_cut_and_hurt_nobody() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let files = Files::new();
    let certificate = files.renew();
    let tls = Arc::new(Tls::load(&files.config()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let never = CancellationToken::new();
    tokio::spawn(listen::serve(
        listener,
        axum::Router::new(),
        Some(tls),
        never.clone(),
        never,
    ));
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    // A TLS alert, or nothing: never an HTTP answer.
    let _ = soon(plain.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
    connect(address, &certificate, &[]).await.unwrap();
}

#[test]
fn unfit_files_are_refused_with_what_is_wrong() {
    let files = Files::new();
    let told = |files: &Files| Tls::load(&files.config()).unwrap_err().to_string();
    assert!(told(&files).starts_with("cannot read "), "{}", told(&files));

    files.renew();
    let other = Files::new();
    other.renew();
    std::fs::copy(other.config().key, files.config().key).unwrap();
    assert!(
        told(&files).contains("cannot be used together"),
        "{}",
        told(&files)
    );

    std::fs::write(files.config().key, "").unwrap();
    assert!(
        told(&files).contains("holds no PEM private key"),
        "{}",
        told(&files)
    );
    std::fs::write(files.config().certificate, "-----").unwrap();
    assert!(
        told(&files).contains("holds no PEM certificate"),
        "{}",
        told(&files)
    );
}
