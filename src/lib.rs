//! OAuth 2.1 in front of a remote MCP server: stateless, sealed tokens, no database.

pub mod config;
pub mod entropy;
pub mod gateway;
pub mod http;
pub mod net;
pub mod oauth;
pub mod replay;
pub mod seal;
pub mod server;
pub mod time;
pub mod upstream;
