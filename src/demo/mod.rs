//! The whole system in one process, on this computer: the server, a demo identity provider and a
//! demo MCP server. For the first minute, and for a check of the complete flow.
//!
//! ```text
//!  client ──▶ the server, /mcp ──▶ demo MCP server     whoami, echo, count
//!                 │
//!                 └──▶ demo identity provider          Alice, Bob
//!
//! identity_provider   an OpenID provider             selfcheck    drives the flow without a browser
//! backend             an MCP server, both eras       invitation   how to add it to a client
//! parts               each of the two in a process of its own
//! ```
//!
//! The server itself is the real one, with a configuration as an operator would write it. Refuses to listen anywhere but on this computer, since everybody can be
//! Alice here.

pub mod backend;
pub mod identity_provider;
mod invitation;
mod paint;
pub mod parts;
mod provider;
pub mod selfcheck;
mod shelf;

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::backend::{Backend, GATEWAY_KEY};
use self::identity_provider::{CLIENT_ID, IdentityProvider, NoKey};
use crate::config::{self, KeySource, Problems};
use crate::entropy;
use crate::seal::{KeyError, passing_keys};
use crate::server::{Server, StartError};
use crate::time::Clock;

pub use self::paint::Paint;
pub use self::provider::{DEMO, DemoProvider};

/// Where the demo listens unless it is told otherwise.
pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Any free port on this computer: for a check that must not meet another server.
pub const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Public path of the demo's MCP server.
const PATH: &str = "/mcp";
/// Name of the upstream; the people are `demo:alice` and `demo:bob`.
const UPSTREAM: &str = DEMO;

/// Why the demo does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// The address is not on this computer.
    #[error(
        "{0} is not an address of this computer; the demo lets everybody in: --listen {LISTEN}"
    )]
    NotLoopback(SocketAddr),
    /// Somebody else listens there.
    #[error("{0} is taken; choose another port: --listen {next}", next = another(*.0))]
    Taken(SocketAddr),
    /// Listening failed otherwise.
    #[error("cannot listen on {address}; choose another address: --listen {LISTEN}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// The identity provider has no key.
    #[error(transparent)]
    NoKey(#[from] NoKey),
    /// The root keys of a demo in several processes cannot be made.
    #[error(transparent)]
    Keys(KeyError),
    /// What the processes of a demo have in common cannot be read or written.
    #[error(
        "cannot use {path}; make it with `mcp-oauth demo --only secrets`",
        path = .path.display()
    )]
    Secret {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// The demo's own configuration was refused.
    #[error("the demo's configuration was refused\n{0}")]
    Configuration(Problems),
    /// The server cannot start: the keys, most likely.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Another port to try; not the next one, where a demo that runs has its identity provider.
fn another(taken: SocketAddr) -> SocketAddr {
    SocketAddr::new(taken.ip(), taken.port().checked_add(10).unwrap_or(0))
}

/// Which root key the demo seals with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootKeys {
    /// The ones in `keys/`, made at the first start: clients stay registered over restarts.
    Kept,
    /// One of its own, gone with the process.
    Passing,
}

/// The whole system, ready to serve.
#[derive(Debug)]
pub struct Demo {
    server: Server,
    listener: TcpListener,
    mcp_url: String,
    provider: String,
    /// The identity provider and the MCP server; they end when this is dropped.
    running: JoinSet<()>,
}

impl Demo {
    /// Starts the identity provider and the MCP server on ports of their own, takes the server's
    /// port, and puts the server together.
    ///
    /// # Errors
    ///
    /// [`DemoError`], with what to change.
    pub async fn start(
        listen: SocketAddr,
        keys: RootKeys,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DemoError> {
        if !listen.ip().is_loopback() {
            return Err(DemoError::NotLoopback(listen));
        }
        let (listener, public_url) = bind(listen).await?;
        let (provider_listener, issuer) = bind_beside(listen).await?;
        let (backend_listener, backend_url) = bind(SocketAddr::new(listen.ip(), 0)).await?;

        let redirect_uri = format!("{public_url}/callback/{UPSTREAM}");
        let provider = IdentityProvider::new(&*issuer, redirect_uri, Arc::clone(&clock))?;
        let backend = Backend::new();
        let configuration = configuration(&Addresses {
            public_url: &public_url,
            issuer: &issuer,
            client_secret: provider.client_secret().expose(),
            backend: &backend_url,
            gateway_key: backend.gateway_key().expose(),
        });
        let mut config =
            config::parse(&configuration, "the demo").map_err(DemoError::Configuration)?;
        if keys == RootKeys::Passing {
            let keys = passing_keys(clock.now(), &mut entropy::rng());
            config.keys = KeySource::Inline(keys);
        }
        let mut running = JoinSet::new();
        running.spawn(serve(provider_listener, provider.router()));
        running.spawn(serve(backend_listener, backend.router()));
        Ok(Self {
            server: Server::assemble(config, clock).await?,
            listener,
            mcp_url: format!("{public_url}{PATH}"),
            provider: issuer,
            running,
        })
    }

    /// What clients are given.
    pub fn mcp_url(&self) -> &str {
        &self.mcp_url
    }

    /// Says where everything is, and how to add it to a client.
    ///
    /// # Errors
    ///
    /// What could not be written to `out`.
    pub fn introduce(&self, out: &mut dyn Write, paint: Paint) -> io::Result<()> {
        invitation::write(&self.mcp_url, &self.provider, out, paint)
    }

    /// Serves until `shutdown` is over, and ends in good order.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) {
        self.server.serve(self.listener, shutdown).await;
        drop(self.running);
    }
}

/// The identity provider's place: the next port if it is free, so that a sign-in survives a restart
/// of the demo, or else any.
async fn bind_beside(listen: SocketAddr) -> Result<(TcpListener, String), DemoError> {
    let next = listen.port().checked_add(1).filter(|next| *next > 1);
    if let Some(next) = next
        && let Ok(bound) = bind(SocketAddr::new(listen.ip(), next)).await
    {
        return Ok(bound);
    }
    bind(SocketAddr::new(listen.ip(), 0)).await
}

/// Listens, and says under which origin.
async fn bind(address: SocketAddr) -> Result<(TcpListener, String), DemoError> {
    let failed = |cause: io::Error| match cause.kind() {
        io::ErrorKind::AddrInUse => DemoError::Taken(address),
        _ => DemoError::Listen { address, cause },
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, format!("http://{bound}")))
}

async fn serve(listener: TcpListener, router: Router) {
    // Answers are small; one must not wait for the acknowledgement of the last.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "a part of the demo stopped");
    }
}

/// What differs from one start to the next.
struct Addresses<'a> {
    public_url: &'a str,
    issuer: &'a str,
    client_secret: &'a str,
    backend: &'a str,
    gateway_key: &'a str,
}

/// The configuration file that an operator would write for this system.
fn configuration(at: &Addresses<'_>) -> String {
    let listen = at.public_url.trim_start_matches("http://");
    let Addresses {
        public_url,
        issuer,
        client_secret,
        backend,
        gateway_key,
    } = at;
    format!(
        r#"
public_url = "{public_url}"
listen = "{listen}"

[upstreams.{UPSTREAM}]
provider = "oidc"
display = "Demo identity provider"
issuer = "{issuer}"
client_id = "{CLIENT_ID}"
client_secret = "{client_secret}"

[[resources]]
path = "{PATH}"
backend = "{backend}/mcp"
backend_headers = {{ {GATEWAY_KEY} = "{gateway_key}" }}
name = "Demo tools"
scopes = ["tools"]
required_scopes = ["tools"]
forward = ["identity"]

[access]
allow_all = true

[scopes.tools]
title = "Use the demo tools: whoami, echo, count"

[consent]
name = "mcp-oauth demo"

[shutdown]
delay = "0s"
drain = "2s"
"#
    )
}
