//! The protocol: pure and synchronous, without IO, clock or randomness of its own.

pub mod access;
pub mod assertion;
pub mod authorize;
pub mod bearer;
pub mod client;
pub mod document;
pub mod error;
pub mod jws;
pub mod metadata;
pub mod mint;
pub mod names;
pub mod params;
pub mod pkce;
pub mod records;
pub mod redirect;
pub mod register;
pub mod resource;
pub mod revoke;
pub mod scope;
pub mod token;
