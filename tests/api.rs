//! The server from outside, one module per capability.

#[cfg(test)]
mod api {
    mod config;
    mod gateway;
    mod replay;
    mod seal;
}
