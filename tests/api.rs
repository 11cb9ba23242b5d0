//! The server from outside, one module per capability.

#[cfg(test)]
mod api {
    mod authorize;
    mod callback;
    mod code;
    mod config;
    mod consent;
    mod metadata;
    mod refresh;
    mod replay;
    mod replay_model;
    #[cfg(feature = "redis")]
    mod replay_redis;
    mod replicas;
    mod revoke;
    mod seal;
    mod support;
    mod wire;
}
