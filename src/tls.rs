//! Our own TLS, where no proxy ends it: TLS 1.2 and 1.3 by rustls, with HTTP/2 offered.
//!
//! The files are followed while the server runs, as the keys are: content is compared, and what
//! cannot be used is said once while the certificate that works stays. Refuses a key that is not the
//! certificate's.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, MissedTickBehavior, Sleep, sleep_until};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use zeroize::Zeroizing;

use crate::config;

/// How often the files are compared.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the first byte may take.
const FIRST: Duration = Duration::from_secs(10);

/// Why the certificate or the key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}", path = .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// There is no certificate in the file.
    #[error("{path} holds no PEM certificate", path = .0.display())]
    NoCertificate(PathBuf),
    /// There is no key in the file.
    #[error("{path} holds no PEM private key", path = .0.display())]
    NoKey(PathBuf),
    /// They are not a pair, or not for TLS.
    #[error("the certificate and the key cannot be used together")]
    Unfit(#[source] rustls::Error),
}

/// The live certificate.
pub struct Tls {
    files: config::Tls,
    live: ArcSwap<ServerConfig>,
    /// Of the files' bytes, or of the error, that was last met.
    seen: Mutex<[u8; 32]>,
}

/// Both files as they are.
struct Contents {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if they cannot be used.
    pub fn load(files: &config::Tls) -> Result<Self, TlsError> {
        let contents = Contents::read(files)?;
        let config = contents.understand(files)?;
        Ok(Self {
            files: files.clone(),
            live: ArcSwap::from_pointee(config),
            seen: Mutex::new(contents.digest()),
        })
    }

    /// Looks at the files now. Returns whether the certificate was replaced.
    pub fn reload(&self) -> bool {
        // A poisoned lock guards nothing but a digest.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let read = Contents::read(&self.files);
        let digest = match &read {
            Ok(contents) => contents.digest(),
            Err(error) => Sha256::digest(error.to_string()).into(),
        };
        if *seen == digest {
            return false;
        }
        *seen = digest;
        match read.and_then(|contents| contents.understand(&self.files)) {
            Ok(config) => {
                self.live.store(Arc::new(config));
                tracing::info!("the certificate changed");
                true
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "the changed certificate cannot be used; the old one stays");
                false
            }
        }
    }

    /// Keeps the certificate up to date. Never ends.
    pub async fn watch(self: Arc<Self>) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let tls = Arc::clone(&self);
            // Fails only when the runtime is shutting down.
            let _ = tokio::task::spawn_blocking(move || tls.reload()).await;
        }
    }

    async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(self.live.load_full());
        tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await?
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tls = f.debug_struct("Tls");
        tls.field("certificate", &self.files.certificate)
            .finish_non_exhaustive()
    }
}

impl Contents {
    fn read(files: &config::Tls) -> Result<Self, TlsError> {
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: Zeroizing::new(read(&files.key)?),
        })
    }

    fn digest(&self) -> [u8; 32] {
        Sha256::new()
            .chain_update(Sha256::digest(&self.certificate))
            .chain_update(Sha256::digest(&*self.key))
            .finalize()
            .into()
    }

    fn understand(&self, files: &config::Tls) -> Result<ServerConfig, TlsError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .unwrap_or_default();
        if chain.is_empty() {
            return Err(TlsError::NoCertificate(files.certificate.clone()));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| TlsError::NoKey(files.key.clone()))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unfit)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(TlsError::Unfit)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })
}

/// The cryptography, named: with two providers in a program, rustls would not choose.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A connection, in the clear or under TLS. One whose peer says nothing fails.
pub(crate) struct Connection<S> {
    stream: Stream<S>,
    silence: Silence,
}

enum Stream<S> {
    Plain(S),
    Secure(Box<TlsStream<S>>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Begins TLS, where there is any.
    pub(crate) async fn begin(tls: Option<&Tls>, stream: S) -> io::Result<Self> {
        let stream = match tls {
            Some(tls) => Stream::Secure(Box::new(tls.accept(stream).await?)),
            None => Stream::Plain(stream),
        };
        let silence = Silence::Unbroken(None);
        Ok(Self { stream, silence })
    }
}

/// Whether the peer has said anything. Whoever reads heads limits their time from the first byte on
/// only.
enum Silence {
    Unbroken(Option<Pin<Box<Sleep>>>),
    Broken,
}

impl Silence {
    /// Fails when a read that found nothing makes the silence too long.
    fn judge(&mut self, read: Poll<io::Result<()>>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self::Unbroken(timer) = self else {
            return read;
        };
        if read.is_ready() {
            *self = Self::Broken;
            return read;
        }
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + FIRST)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Secure(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        this.silence.judge(read, cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Secure(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Secure(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Secure(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Secure(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Secure(stream) => stream.is_write_vectored(),
        }
    }
}
