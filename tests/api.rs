//! The server from outside, one module per capability.

#[cfg(test)]
mod api {
    mod replay;
    mod seal;
}
