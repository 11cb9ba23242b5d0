//! Who makes a request, as handlers see it.
//!
//! Refuses to show the provider's token by accident: it has no `Display`, and redacts in `Debug`.

use std::convert::Infallible;
use std::fmt;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use crate::oauth::bearer::Principal;
use crate::oauth::names::Secret;

/// The person who signed in, and the client that acts for them: in the extensions of every request
/// that [`ProtectLayer`](super::ProtectLayer) let in with a token. Also an extractor; where signing in is
/// optional, as `Option<Identity>`.
#[derive(Clone)]
pub struct Identity {
    principal: Principal,
}

impl Identity {
    pub(super) const fn of(principal: Principal) -> Self {
        Self { principal }
    }

    /// The person, as `{upstream}:{stable id}`: what to store. Never an address or a name.
    pub fn subject(&self) -> &str {
        self.principal.token().sub.as_str()
    }

    /// The e-mail address, only if the provider has verified it.
    pub fn email(&self) -> Option<&str> {
        self.principal.token().email.as_deref()
    }

    /// The name that the person goes by at the provider. People can change it.
    pub fn preferred_username(&self) -> Option<&str> {
        self.principal.token().preferred_username.as_deref()
    }

    /// The person's groups, as the provider lists them.
    pub fn groups(&self) -> &[String] {
        &self.principal.token().groups
    }

    /// What the person allowed the client, scope by scope.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.principal.token().scope.iter()
    }

    /// Whether the person allowed this.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.principal.token().scope.contains(scope)
    }

    /// The client, as the hash of its `client_id` by which the log names it.
    pub fn client(&self) -> String {
        self.principal.token().client_id.to_string()
    }

    /// The provider's access token, for a resource
    /// [that asks for it](super::Resource::with_upstream_token).
    pub fn upstream_token(&self) -> Option<UpstreamToken> {
        let token = self.principal.token().upstream_token.clone();
        token.map(UpstreamToken)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("subject", &self.subject())
            .finish_non_exhaustive()
    }
}

/// The provider's access token of the person. Wiped from memory when it is dropped.
#[derive(Clone)]
pub struct UpstreamToken(Secret);

impl UpstreamToken {
    /// The token itself.
    ///
    /// # Security
    ///
    /// For the `Authorization` header of a request to the provider. Neither the client nor a log may
    /// see it.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl fmt::Debug for UpstreamToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UpstreamToken([redacted])")
    }
}

/// A handler needs an [`Identity`] and there is none. Behind the layer it is answered with the
/// challenge to sign in, elsewhere with a bare 401.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("nobody is signed in")]
pub struct NotSignedIn;

impl IntoResponse for NotSignedIn {
    fn into_response(self) -> Response {
        StatusCode::UNAUTHORIZED.into_response()
    }
}

impl<S: Sync> FromRequestParts<S> for Identity {
    type Rejection = NotSignedIn;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotSignedIn> {
        parts.extensions.get().cloned().ok_or(NotSignedIn)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Identity {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get().cloned())
    }
}
