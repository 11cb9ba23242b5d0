//! The server from outside, one module per capability.

mod api {
    mod config;}
