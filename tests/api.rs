//! The server from outside, one module per capability.

#[cfg(test)]
mod api {
    mod config;
    mod replay;
    mod seal;
}
