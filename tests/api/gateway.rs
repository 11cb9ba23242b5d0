//! The gateway over real sockets, before a backend that echoes and misbehaves.

#[path = "support/backend.rs"]
mod backend;

mod bearer;
mod browser;
mod faults;
mod headers;
mod layer;
mod listen;
mod paths;
mod session;
mod smuggling;
mod stopping;
mod streams;
mod traces;
mod unread;
