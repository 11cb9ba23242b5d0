//! OAuth 2.1 in front of a remote MCP server: stateless, sealed tokens, no database.
//!
//! As a command, `mcp-oauth` stands in front of an MCP server of any make. As this library it is a part
//! of an [axum](https://docs.rs/axum) program: toward MCP clients the authorization server, toward GitHub,
//! Google, Entra or any OpenID or OAuth 2 provider the client, and in front of the program's routes the
//! check that says who calls.
//!
//! # Example
//!
//! ```no_run
//! use axum::{Router, routing::post};
//! use mcp_oauth::{Identity, McpOauth, Resource, Upstream};
//!
//! # async fn serve(secret: String) -> Result<(), Box<dyn std::error::Error>> {
//! let oauth = McpOauth::builder()
//!     .public_url("https://mcp.example.com")
//!     .upstream("github", Upstream::preset("github").client_id("Iv1.0123").client_secret(secret))
//!     .resource(Resource::new("/mcp").name("Example tools"))
//!     .allow_emails(["*@example.com"])
//!     .build()
//!     .await?;
//! let app = Router::new()
//!     .route("/mcp", post(async |person: Identity| format!("Hello, {}", person.subject())))
//!     .layer(oauth.layer("/mcp")?)
//!     .merge(oauth.router());
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! axum::serve(listener, app.into_make_service_with_connect_info::<std::net::SocketAddr>()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/axum.rs` and `examples/rmcp.rs` are whole programs that run without an account anywhere:
//! [`DemoProvider`] signs people in. `docs/library.md` says how to embed, and what the layer does not
//! cover.
//!
//! # Design
//!
//! - [`McpOauth::builder`] takes settings, a text in the form of the command's configuration file, or
//!   both, and refuses what cannot be meant with [every problem](Problems) at once.
//! - [`McpOauth::router`] holds what clients and browsers need: metadata, registration, consent, tokens,
//!   revocation, and the gateway for resources with a backend elsewhere.
//! - [`McpOauth::layer`] protects routes of the program. Handlers find an [`Identity`]; the token
//!   itself, cookies and headers that claim an identity never reach them.
//! - Every session, code and token is encrypted and carries its own state. A process needs root keys and
//!   nothing else; [`Builder::redis`] shares revocations and single use among several.
//! - Events go to [`tracing`](https://docs.rs/tracing), figures to [`metrics`](https://docs.rs/metrics):
//!   the program decides where they end.
//!
//! No type of an HTTP client or of a store is part of this interface, so that they can change without
//! you.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `redis` | yes | the shared replay store: Redis or Valkey |
//! | `mimalloc` | yes | nothing here: the allocator of the command |
//!
//! # Where things are
//!
//! Modules are private or not part of the interface; the source is laid out as rooms that import one way:
//! `seal` (encryption), `oauth` (the protocol, pure), `replay` (what has been used), `upstream`
//! (providers), `config`, `http` (endpoints), `gateway` (the bearer check and the stream to a backend),
//! `server` (puts them together), `demo`, `embed` (this interface), `cli`.

#[doc(hidden)]
pub mod admin;
#[doc(hidden)]
pub mod audit;
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod demo;
#[doc(hidden)]
pub mod doctor;
mod embed;
#[doc(hidden)]
pub mod entropy;
#[doc(hidden)]
pub mod figures;
#[doc(hidden)]
pub mod gateway;
#[doc(hidden)]
pub mod http;
#[doc(hidden)]
pub mod listen;
#[doc(hidden)]
pub mod net;
#[doc(hidden)]
pub mod oauth;
#[doc(hidden)]
pub mod replay;
#[doc(hidden)]
pub mod request;
#[doc(hidden)]
pub mod seal;
#[doc(hidden)]
pub mod server;
#[doc(hidden)]
pub mod telemetry;
#[doc(hidden)]
pub mod time;
#[doc(hidden)]
pub mod tls;
#[doc(hidden)]
pub mod upstream;
#[doc(hidden)]
pub mod workers;

pub use config::{Problem, Problems, Severity};
pub use demo::DemoProvider;
pub use embed::{
    BuildError, Builder, Identity, McpOauth, NotSignedIn, ProtectLayer, ProtectService, Resource,
    UnknownResource, Upstream, UpstreamToken,
};

/// The program in `docs/library.md`, compiled.
#[cfg(doctest)]
#[doc = include_str!("../docs/library.md")]
mod document {}
