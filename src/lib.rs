//! OAuth 2.1 in front of a remote MCP server: stateless, sealed tokens, no database.

#[doc(hidden)]
pub mod admin;
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

pub use config::{Problem, Problems, Severity};
pub use demo::DemoProvider;
pub use embed::{
    BuildError, Builder, Identity, McpOauth, NotSignedIn, ProtectLayer, ProtectService, Resource,
    UnknownResource, Upstream, UpstreamToken,
};
