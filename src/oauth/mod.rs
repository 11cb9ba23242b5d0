//! The protocol: pure and synchronous, without IO, clock or randomness of its own.

pub mod access;
pub mod bearer;
pub mod error;
pub mod names;
pub mod records;
pub mod revoke;
pub mod scope;
