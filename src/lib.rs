//! OAuth 2.1 in front of a remote MCP server: stateless, sealed tokens, no database.

pub mod admin;
pub mod audit;
pub mod cli;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod entropy;
pub mod figures;
pub mod gateway;
pub mod http;
pub mod listen;
pub mod net;
pub mod oauth;
pub mod replay;
pub mod request;
pub mod seal;
pub mod server;
pub mod telemetry;
pub mod time;
pub mod tls;
pub mod upstream;
