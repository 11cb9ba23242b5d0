//! The demo's identity provider on a port of its own, for programs that embed the server.
//!
//! Refuses a server that others can reach, since everybody can be Alice here.

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use url::Url;

use super::identity_provider::{CLIENT_ID, IdentityProvider};
use super::{ANY_PORT, serve};
use crate::net::is_loopback;
use crate::time::SystemClock;

/// Name of the upstream that [`DemoProvider`] is.
pub const DEMO: &str = "demo";

/// An identity provider on this computer where Alice and Bob sign in by a click: to try a program
/// without an account anywhere. Ends when it is dropped.
pub struct DemoProvider {
    provider: Arc<IdentityProvider>,
    issuer: String,
    _running: JoinSet<()>,
}

impl DemoProvider {
    /// Starts it on a free port, for the server at `public_url`.
    ///
    /// # Errors
    ///
    /// If `public_url` is not on this computer, or no port is free.
    pub async fn start(public_url: &str) -> io::Result<Self> {
        if !Url::parse(public_url).is_ok_and(|url| is_loopback(&url)) {
            let message = "the demo identity provider lets everybody in: only for a public_url on \
                           this computer, such as http://127.0.0.1:8080";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let listener = TcpListener::bind(ANY_PORT).await?;
        let issuer = format!("http://{}", listener.local_addr()?);
        let callback = format!("{public_url}/callback/{DEMO}");
        let clock = Arc::new(SystemClock::start());
        let provider =
            IdentityProvider::new(&*issuer, callback, clock).map_err(io::Error::other)?;
        let mut running = JoinSet::new();
        running.spawn(serve(listener, provider.router()));
        Ok(Self {
            provider,
            issuer,
            _running: running,
        })
    }

    /// Its issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Where an access token of it shows whose it is (OpenID Connect Core §5.3).
    pub fn userinfo_url(&self) -> String {
        format!("{}/userinfo", self.issuer)
    }

    /// The id of its one client.
    pub fn client_id(&self) -> &str {
        CLIENT_ID
    }

    /// The secret of its one client, made at the start.
    pub fn client_secret(&self) -> &str {
        self.provider.client_secret().expose()
    }
}

impl fmt::Debug for DemoProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DemoProvider")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}
