//! `GET /.well-known/…`: RFC 8414 and RFC 9728, in root and path form.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, PRAGMA, VARY};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use super::{App, respond};
use crate::config::StoreKind;
use crate::oauth::error::ErrorCode;
use crate::oauth::metadata::{Features, ResourceMetadata, ServerMetadata};
use crate::oauth::resource::ResourceRule;

impl App {
    fn features(&self) -> Features {
        Features {
            registration: self.config.clients.dcr,
            documents: self.config.clients.cimd,
            revocation: self.revokes(),
        }
    }

    /// Whether `/revoke` is there. Without a store, several processes can only rely on the upstream,
    /// which must then be able to end one token alone.
    pub(super) fn revokes(&self) -> bool {
        !matches!(self.config.replay.store, StoreKind::Upstream)
            || self
                .upstreams
                .values()
                .all(|upstream| upstream.profile().revokes_one_token)
    }
}

/// The authorization server's document.
pub(super) async fn server(State(app): State<Arc<App>>) -> Response {
    let issuer = &app.config.public_url.issuer;
    public(&ServerMetadata::new(issuer, &app.resources, app.features()))
}

/// The same under the path of a resource, where clients look as well.
pub(super) async fn server_at(State(app): State<Arc<App>>, Path(path): Path<String>) -> Response {
    match at(&app, &path) {
        Some(_) => server(State(app)).await,
        None => not_found(),
    }
}

/// A resource's document.
pub(super) async fn resource_at(State(app): State<Arc<App>>, Path(path): Path<String>) -> Response {
    match at(&app, &path) {
        Some(rule) => resource(&app, rule),
        None => not_found(),
    }
}

/// The document of the only resource, or of the one at the origin.
pub(super) async fn resource_at_root(State(app): State<Arc<App>>) -> Response {
    let mut all = app.resources.iter();
    let only = all.next().filter(|_| all.next().is_none());
    match app.resources.at("").or(only) {
        Some(rule) => resource(&app, rule),
        None => not_found(),
    }
}

/// The resource of a path, which may end in a slash: people paste URLs that do.
fn at<'a>(app: &'a App, path: &str) -> Option<&'a ResourceRule> {
    app.resources
        .at(&format!("/{}", path.strip_suffix('/').unwrap_or(path)))
}

fn resource(app: &App, rule: &ResourceRule) -> Response {
    public(&ResourceMetadata::new(&app.config.public_url.issuer, rule))
}

fn public(document: &impl serde::Serialize) -> Response {
    let mut response = respond::json(StatusCode::OK, document);
    let headers = response.headers_mut();
    headers.remove(PRAGMA);
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=300"),
    );
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    response
}

/// 404 in JSON: a page here would be taken for a document.
pub(super) fn not_found() -> Response {
    respond::error(
        ErrorCode::InvalidRequest,
        StatusCode::NOT_FOUND,
        "there is nothing at this path",
    )
}

/// Anything else under `/.well-known/`.
pub(super) async fn nothing() -> Response {
    not_found()
}
