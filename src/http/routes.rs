//! Every path of the authorization server.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{any, get, post};

use super::{App, authorize, callback, consent, index, metadata, register, respond, revoke, token};

/// The authorization server's endpoints. Everything else belongs to the gateway.
pub fn router(app: &Arc<App>) -> Router {
    let own = Router::new()
        .route("/", get(index::get))
        .route("/healthz", get(index::healthz))
        .method_not_allowed_fallback(respond::method_not_allowed)
        .with_state(Arc::clone(app));
    protocol(app).merge(own)
}

/// The endpoints that the protocol needs: all that a program with a front page of its own wants.
pub fn protocol(app: &Arc<App>) -> Router {
    // Browser clients call these from any origin.
    let cross_origin = Router::new()
        .route(
            "/.well-known/oauth-authorization-server",
            get(metadata::server),
        )
        .route(
            "/.well-known/oauth-authorization-server/{*path}",
            get(metadata::server_at),
        )
        .route(
            "/.well-known/oauth-protected-resource",
            get(metadata::resource_at_root),
        )
        .route(
            "/.well-known/oauth-protected-resource/{*path}",
            get(metadata::resource_at),
        )
        // A document under this name must be complete OpenID metadata, which we are not.
        .route("/.well-known/{*path}", any(metadata::nothing))
        .route("/token", post(token::post))
        .route("/revoke", post(revoke::post));
    let cross_origin = if app.config.clients.dcr {
        cross_origin.route("/register", post(register::register))
    } else {
        cross_origin.route("/register", any(metadata::nothing))
    };
    let cross_origin = cross_origin
        .method_not_allowed_fallback(respond::method_not_allowed)
        .layer(from_fn(respond::cross_origin))
        .with_state(Arc::clone(app));
    let same_origin = Router::new()
        .route("/authorize", get(authorize::get).post(authorize::post))
        .route("/consent", get(consent::get).post(consent::post))
        .method_not_allowed_fallback(respond::method_not_allowed)
        .with_state(Arc::clone(app));
    let callbacks = app.upstreams.iter().map(|(name, upstream)| {
        Router::new()
            .route(&upstream.profile().callback_path, get(callback::get))
            .method_not_allowed_fallback(respond::method_not_allowed)
            .with_state((Arc::clone(app), name.clone()))
    });
    callbacks.fold(cross_origin.merge(same_origin), Router::merge)
}
