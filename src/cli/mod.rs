//! The command line: one file per command.

pub mod keys;
pub mod token;
