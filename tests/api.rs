//! The server from outside, one module per capability.

#[cfg(test)]
mod api {
    mod cli_keys;
    mod seal;
    mod seal_golden;
    mod seal_keys;
    mod seal_samples;
    mod seal_vectors;
}
