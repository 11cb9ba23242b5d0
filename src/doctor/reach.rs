//! Whether the public URL leads to this server, and how long its certificate lasts.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::finding::{Area, Fix, Notes};
use super::patient::Patient;
use crate::config::PublicUrl;
use crate::net::Failure;
use crate::tls::{self, Tls};

/// When a certificate should have been replaced.
const SOON: Duration = Duration::from_secs(14 * 86_400);
/// How long a handshake may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// Asks for the page that says that the process answers. Returns whether it does.
pub(super) async fn examine(patient: &Patient<'_>) -> (bool, Notes) {
    let mut notes = Notes::about(Area::Reach);
    let config = patient.config();
    if let Some(files) = &config.tls {
        match Tls::load(files) {
            Ok(_) => notes.fine("the certificate and key of [tls] fit each other"),
            Err(error) => notes.fail(
                error.to_string(),
                patient.fix("tls.certificate", "name a PEM chain and its key"),
            ),
        }
    }
    let url = &config.public_url.issuer;
    let reached = match patient.ask(Method::GET, "/healthz", &[], None).await {
        Ok(seen) if seen.status.is_success() => {
            notes.fine(format!("{url} is reached"));
            true
        }
        Ok(seen) => {
            let why = seen.in_words();
            notes.fail(
                format!("{url}/healthz is not this server: {why}"),
                unreached(patient, None),
            );
            // Something answers: what the clients get from it is worth knowing.
            true
        }
        Err(failure) => {
            notes.fail(
                format!("{url}: {failure}"),
                unreached(patient, Some(&failure)),
            );
            false
        }
    };
    if reached && config.public_url.is_https() {
        certificate(patient, &config.public_url, &mut notes).await;
    }
    (reached, notes)
}

fn unreached(patient: &Patient<'_>, failure: Option<&Failure>) -> Fix {
    let change = match failure {
        Some(Failure::Name) => "this name does not resolve: add its DNS record",
        Some(Failure::Connect) => "nobody listens there: start the proxy and the server",
        Some(Failure::Tls(_)) => "clients refuse this certificate: use one that they trust",
        Some(Failure::Timeout) => "no answer: is a firewall in between?",
        _ => "let the proxy pass the whole origin to this server, with its Host",
    };
    patient.fix("public_url", change)
}

/// The certificate as it is served, judged as of now and as of a fortnight from now.
async fn certificate(patient: &Patient<'_>, public_url: &PublicUrl, notes: &mut Notes) {
    let Some((chain, name)) = served(public_url).await else {
        return;
    };
    let then = Duration::from_secs(patient.now.as_secs()) + SOON;
    if is_good(&chain, &name, then) {
        notes.fine("the certificate is good for more than a fortnight");
    } else {
        let change = "renew it now; the server and most proxies take the new file by themselves";
        notes.warn(
            "the certificate ends within a fortnight",
            patient.fix("public_url", change),
        );
    }
}

/// The chain that is served there. A certificate that clients refuse was already told.
async fn served(
    public_url: &PublicUrl,
) -> Option<(Vec<CertificateDer<'static>>, ServerName<'static>)> {
    let host = public_url
        .url
        .host_str()?
        .trim_matches(['[', ']'])
        .to_owned();
    let port = public_url.url.port_or_known_default()?;
    let name = ServerName::try_from(host.clone()).ok()?;
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots())
        .with_no_client_auth();
    let handshake = async {
        let stream = TcpStream::connect((host.as_str(), port)).await.ok()?;
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name.clone(), stream).await.ok()
    };
    let stream = tokio::time::timeout(PATIENCE, handshake).await.ok()??;
    let (_, session) = stream.get_ref();
    let chain = session.peer_certificates()?;
    Some((
        chain.iter().map(|it| it.clone().into_owned()).collect(),
        name,
    ))
}

fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn is_good(chain: &[CertificateDer<'_>], name: &ServerName<'_>, at: Duration) -> bool {
    let Some((leaf, between)) = chain.split_first() else {
        return false;
    };
    let provider = tls::provider();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots()), provider).build();
    let at = UnixTime::since_unix_epoch(at);
    verifier.is_ok_and(|it| it.verify_server_cert(leaf, between, name, &[], at).is_ok())
}
