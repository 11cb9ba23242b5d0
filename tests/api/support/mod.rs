//! What the tests share: a server in this process, an upstream that can misbehave, and a client
//! that drives the whole dance and lets a test bend one step.

pub(crate) mod client;
pub(crate) mod flaky;
pub(crate) mod frugal;
pub(crate) mod logs;
pub(crate) mod stub;
pub(crate) mod upstream;
pub(crate) mod web;
pub(crate) mod world;
