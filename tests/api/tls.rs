//! The server's own TLS on a real socket, and a certificate that changes while it runs.

use std::sync::Arc;

use http::StatusCode;
use http_body_util::BodyExt as _;
use mcp_oauth::config;
use mcp_oauth::listen;
use mcp_oauth::tls::Tls;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
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
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("/")
        .header("host", "localhost")
        .body(axum::body::Body::empty())
        .unwrap();
    let answer = soon(sender.send_request(request)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&body[..], b"hello");
    drop(sender);
    soon(connection).await.unwrap().unwrap();

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
