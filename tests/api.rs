//! The server from outside, one module per capability.

mod api {
    mod seal;
    mod seal_golden;
    mod seal_keys;
    mod seal_samples;
    mod seal_vectors;
}
