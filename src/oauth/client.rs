//! Clients: who they are, how they are known, and how they authenticate (OAuth 2.1 §2).

use crate::oauth::error::Reason;
use crate::oauth::names::{ClientHash, ClientId, Secret};
use crate::oauth::records::AuthMethod;

/// A client whose `client_id` was resolved.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its identifier as it sent it.
    pub id: ClientId,
    /// How it is known.
    pub source: ClientSource,
    /// Its redirect URIs.
    pub redirect_uris: Vec<String>,
    /// The name that it chose for itself, fit to be shown.
    pub name: Option<String>,
    /// How it authenticates.
    pub auth_method: AuthMethod,
}

/// How a client is known.
#[derive(Clone, Debug)]
pub enum ClientSource {
    /// By dynamic registration: it chose every value itself.
    Registration,
    /// By a metadata document at this host.
    Document {
        /// The host of the `client_id`.
        host: String,
    },
    /// By the operator's configuration.
    Configured,
}

impl Client {
    /// What records are bound to.
    pub fn hash(&self) -> ClientHash {
        self.id.hash()
    }

    /// Whether anybody can make such a client: its redirects are not to be followed before a
    /// person has seen where they lead.
    pub fn is_self_registered(&self) -> bool {
        !matches!(self.source, ClientSource::Configured)
    }
}

/// What a client presented to authenticate, each mechanism at most once (OAuth 2.1 §2.4).
#[derive(Clone, Debug)]
pub enum Presented {
    /// Nothing but its `client_id`.
    Nothing,
    /// A secret in the `Authorization` header.
    Basic(Secret),
    /// A secret in the form.
    Post(Secret),
    /// A signed assertion in the form.
    Assertion(Secret),
}

/// Proof that the client authenticated as it must. Cannot be made otherwise than by
/// [`authenticate_with_secret`] or from a verified assertion.
#[derive(Clone, Copy, Debug)]
pub struct Authenticated(());

impl Authenticated {
    /// For a verified assertion.
    ///
    /// # Security
    ///
    /// The caller has checked signature, issuer, audience and expiry (RFC 7523 §3); the `jti` is
    /// claimed together with the code.
    pub(crate) const fn by_assertion() -> Self {
        Self(())
    }
}

/// Checks a client that authenticates by secret or not at all. `secret` is its right secret.
///
/// # Errors
///
/// [`Reason::NotAuthenticated`] if it must authenticate in another way than it did, and
/// [`Reason::WrongSecret`].
pub fn authenticate_with_secret(
    method: AuthMethod,
    presented: &Presented,
    secret: Option<&Secret>,
) -> Result<Authenticated, Reason> {
    let given = match (method, presented) {
        (AuthMethod::None, Presented::Nothing) => return Ok(Authenticated(())),
        // A public client that sends a secret all the same proves nothing by it and loses nothing.
        (AuthMethod::None, Presented::Basic(_) | Presented::Post(_)) => {
            return Ok(Authenticated(()));
        }
        // OAuth 2.1 §2.4: secrets are accepted in either place; SDKs do not agree on which.
        (
            AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost,
            Presented::Basic(given) | Presented::Post(given),
        ) => given,
        _ => return Err(Reason::NotAuthenticated),
    };
    match secret {
        Some(secret) if secret.matches(given.expose()) => Ok(Authenticated(())),
        _ => Err(Reason::WrongSecret),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // T4, M5
    #[test]
    fn client_must_authenticate_as_registered() {
        let right = Secret::new("right");
        let check =
            |method, presented| authenticate_with_secret(method, &presented, Some(&right)).is_ok();
        let secret = |text: &str| Secret::new(text);

        assert!(check(AuthMethod::None, Presented::Nothing));
        for method in [AuthMethod::ClientSecretBasic, AuthMethod::ClientSecretPost] {
            assert!(check(method, Presented::Basic(secret("right"))));
            assert!(check(method, Presented::Post(secret("right"))));
            assert!(!check(method, Presented::Basic(secret("wrong"))));
            assert!(!check(method, Presented::Post(secret(""))));
            assert!(!check(method, Presented::Nothing));
        }
        assert!(!check(AuthMethod::PrivateKeyJwt, Presented::Nothing));
        assert!(!check(
            AuthMethod::PrivateKeyJwt,
            Presented::Basic(secret("right"))
        ));
    }
}
