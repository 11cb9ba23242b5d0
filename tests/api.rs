//! The server from outside, one module per capability.

#[cfg(test)]
mod api {
    mod authorize;
    mod callback;
    mod cli_keys;
    mod cli_providers;
    mod clients;
    mod code;
    mod config;
    mod consent;
    mod demo;
    mod doctor;
    mod documents;
    mod foreign;
    mod gateway;
    mod limits;
    mod metadata;
    mod net;
    mod observe;
    mod pages;
    mod refresh;
    #[cfg(target_os = "linux")]
    mod register_memory;
    mod replay;
    mod replay_model;
    #[cfg(feature = "redis")]
    mod replay_redis;
    mod replicas;
    mod revoke;
    mod seal;
    mod seal_golden;
    mod seal_keys;
    mod seal_samples;
    mod seal_vectors;
    mod several;
    mod sign_in;
    mod store_trouble;
    mod support;
    mod tls;
    mod upstream;
    mod wire;
}
