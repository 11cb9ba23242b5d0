//! The demo in several processes: its identity provider or its MCP server alone, beside real
//! servers. For trying a deployment of several containers without an account.
//!
//! Refuses to start without the secrets that [`make_secrets`] has put into the directory, and an
//! identity provider that is not on this computer: everybody can be Alice there.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;

use super::backend::{Backend, GATEWAY_KEY};
use super::identity_provider::IdentityProvider;
use super::{DemoError, UPSTREAM, bind, serve};
use crate::entropy;
use crate::oauth::authorize::random_secret;
use crate::oauth::names::Secret;
use crate::seal::KeyDirectory;
use crate::time::{Clock, Timestamp};

/// The client secret of [`super::identity_provider::CLIENT_ID`], for `client_secret_file`.
const CLIENT_SECRET: &str = "client-secret";
/// What the backend asks of the gateway, for `backend_headers_file`.
const BACKEND_HEADERS: &str = "backend-headers";
/// The root keys, for `keys.directory`.
const KEYS: &str = "keys";

/// A part of the demo, ready to serve.
#[derive(Debug)]
pub struct Part {
    listener: TcpListener,
    router: Router,
    url: String,
}

impl Part {
    /// Makes the identity provider. Clients know it as `issuer`, or else by where it listens; the
    /// one client is the server at `public_url`.
    ///
    /// # Errors
    ///
    /// [`DemoError`], with what to change.
    pub async fn identity_provider(
        directory: &Path,
        listen: SocketAddr,
        issuer: Option<&str>,
        public_url: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DemoError> {
        if !listen.ip().is_loopback() {
            return Err(DemoError::NotLoopback(listen));
        }
        let secret = read(directory, CLIENT_SECRET)?;
        let (listener, url) = bind(listen).await?;
        let issuer = issuer.map_or_else(|| url.clone(), str::to_owned);
        let redirect_uri = format!("{public_url}/callback/{UPSTREAM}");
        let provider = IdentityProvider::with_secret(issuer, redirect_uri, secret, clock)?;
        Ok(Self {
            listener,
            router: provider.router(),
            url,
        })
    }

    /// Makes the MCP server. It may listen anywhere: it serves only who sends the gateway's key.
    ///
    /// # Errors
    ///
    /// [`DemoError`], with what to change.
    pub async fn backend(directory: &Path, listen: SocketAddr) -> Result<Self, DemoError> {
        let header = read(directory, BACKEND_HEADERS)?;
        let key = header.expose().split_once(": ").map(|(_, key)| key);
        let key = key.ok_or_else(|| DemoError::Secret {
            path: directory.join(BACKEND_HEADERS),
            cause: io::Error::other("it holds no header"),
        })?;
        let backend = Backend::with_gateway_key(Secret::new(key));
        let (listener, url) = bind(listen).await?;
        Ok(Self {
            listener,
            router: backend.router(),
            url,
        })
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Serves until `shutdown` is over.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = serve(self.listener, self.router) => {}
            () = shutdown => {}
        }
    }
}

/// Puts into a directory what the processes of one demo have in common: a root key, the client's
/// secret at the identity provider, and the gateway's key at the MCP server. What is there stays.
///
/// # Errors
///
/// [`DemoError`], with the file.
pub fn make_secrets(directory: &Path, now: Timestamp) -> Result<(), DemoError> {
    let rng = &mut entropy::rng();
    let keys = KeyDirectory::new(directory.join(KEYS));
    if keys.read().map_err(DemoError::Keys)?.is_empty() {
        keys.create_first(now, rng).map_err(DemoError::Keys)?;
    }
    let secret = random_secret(rng);
    make(directory, CLIENT_SECRET, secret.expose())?;
    let key = random_secret(rng);
    make(
        directory,
        BACKEND_HEADERS,
        &format!("{GATEWAY_KEY}: {}", key.expose()),
    )
}

fn make(directory: &Path, name: &str, text: &str) -> Result<(), DemoError> {
    let path = directory.join(name);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(&path) {
        Ok(mut file) => writeln!(file, "{text}"),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
    .map_err(|cause| DemoError::Secret { path, cause })
}

fn read(directory: &Path, name: &str) -> Result<Secret, DemoError> {
    let path = directory.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Secret::new(text.trim_end())),
        Err(cause) => Err(DemoError::Secret { path, cause }),
    }
}
