//! What the tests share: a server in this process, an upstream that can misbehave, and a client
//! that drives the whole dance and lets a test bend one step.

pub mod client;
pub mod stub;
pub mod upstream;
pub mod web;
pub mod world;
