//! From a `client_id` to a client: a sealed registration, a metadata document, or a configured one.

use super::App;
use super::client_auth::Credentials;
use super::documents::Documents;
use crate::audit::{Event, Kind};
use crate::config::StaticClient;
use crate::oauth::assertion::{self, AssertionError, ExpectedAssertion};
use crate::oauth::client::{
    Authenticated, Client, ClientSource, Presented, authenticate_with_secret,
};
use crate::oauth::document::{DocumentError, DocumentUrl};
use crate::oauth::error::Reason;
use crate::oauth::jws::JwsError;
use crate::oauth::names::{AssertionHash, ClientId, Secret};
use crate::oauth::records::{AuthMethod, ClientRegistration};
use crate::seal::Sealed;
use std::time::Duration;

/// A client and, if it has one, its right secret.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) client: Client,
    pub(super) secret: Option<Secret>,
}

/// Proof that a client authenticated, and the assertion that must not be used again.
#[derive(Debug)]
pub(super) struct Proof {
    pub(super) proof: Authenticated,
    pub(super) assertion: Option<(AssertionHash, Duration)>,
}

impl App {
    /// Finds the client of an authorization request, with its document if it has one.
    pub(super) async fn client(&self, id: ClientId) -> Result<Client, Reason> {
        let mut client = self.resolve(id)?.client;
        if let ClientSource::Document { .. } = client.source {
            let url = self.document_url(&client.id)?;
            let allowed = &self.config.clients.redirect_schemes;
            let document = self
                .documents
                .document(&url, allowed)
                .await
                .map_err(|error| document_failure(&error))?;
            client.redirect_uris = document.redirect_uris;
            client.name = Some(document.name);
            client.auth_method = document.auth_method;
        }
        Ok(client)
    }

    /// Finds the client that a `client_id` stands for. A document is not fetched: what the person
    /// consented to is pinned in the code, so a vendor's outage logs nobody out.
    pub(super) fn resolve(&self, id: ClientId) -> Result<Resolved, Reason> {
        if let Some(fixed) = self
            .config
            .clients
            .fixed
            .iter()
            .find(|it| it.client_id == id.as_str())
        {
            return Ok(configured(id, fixed));
        }
        // CIMD §3: a URL names a metadata document. A sealed registration never looks like one.
        if id.as_str().starts_with("https://") || id.as_str().starts_with("http://") {
            let host = self.document_url(&id)?.host().to_owned();
            let client = Client {
                id,
                source: ClientSource::Document { host },
                redirect_uris: Vec::new(),
                name: None,
                auth_method: AuthMethod::None,
            };
            return Ok(Resolved {
                client,
                secret: None,
            });
        }
        self.registered(id)
    }

    fn document_url(&self, id: &ClientId) -> Result<DocumentUrl, Reason> {
        if !self.config.clients.cimd {
            return Err(Reason::DocumentsOff);
        }
        Documents::url(&self.config, id.as_str())
            .map_err(|error| Reason::DocumentUrl(error.to_string()))
    }

    fn registered(&self, id: ClientId) -> Result<Resolved, Reason> {
        let sealed = Sealed::<ClientRegistration>::from_wire(id.as_str());
        let opened = self
            .keys
            .open(&sealed, self.now())
            .map_err(Reason::UnknownClient)?;
        let record = opened.record;
        if self.revocations.registration_has_ended(record.issued_at) {
            return Err(Reason::RegistrationEnded);
        }
        let secret = (record.auth_method != AuthMethod::None)
            .then(|| self.keys.current().client_secret(&opened.kid, id.as_str()))
            .flatten();
        let client = Client {
            id,
            source: ClientSource::Registration,
            redirect_uris: record.redirect_uris,
            name: record.client_name,
            auth_method: record.auth_method,
        };
        Ok(Resolved { client, secret })
    }

    /// Checks what a client presents against how it must authenticate.
    pub(super) async fn authenticate(
        &self,
        method: AuthMethod,
        resolved: &Resolved,
        credentials: &Credentials,
    ) -> Result<Proof, Reason> {
        let proof = self.proof(method, resolved, credentials).await;
        if let Err(
            reason @ (Reason::NotAuthenticated | Reason::WrongSecret | Reason::Assertion(_)),
        ) = &proof
        {
            Event::new(Kind::ClientRefused)
                .client(resolved.client.hash())
                .reason(reason)
                .record();
        }
        proof
    }

    async fn proof(
        &self,
        method: AuthMethod,
        resolved: &Resolved,
        credentials: &Credentials,
    ) -> Result<Proof, Reason> {
        match (method, &credentials.presented) {
            (AuthMethod::PrivateKeyJwt, Presented::Assertion(jwt)) => {
                self.by_assertion(&resolved.client, jwt).await
            }
            (_, presented) => {
                let secret = resolved.secret.as_ref();
                let proof = authenticate_with_secret(method, presented, secret)?;
                Ok(Proof {
                    proof,
                    assertion: None,
                })
            }
        }
    }

    /// RFC 7523 §3, with the client's keys as they are now.
    async fn by_assertion(&self, client: &Client, jwt: &Secret) -> Result<Proof, Reason> {
        let url = self.document_url(&client.id)?;
        let allowed = &self.config.clients.redirect_schemes;
        let document = self
            .documents
            .document(&url, allowed)
            .await
            .map_err(|error| document_failure(&error))?;
        let public_url = &self.config.public_url;
        let audiences = [public_url.issuer.as_str(), &public_url.join("/token")];
        let expected = ExpectedAssertion {
            client_id: &client.id,
            audiences: &audiences,
            now: self.now(),
        };
        let keys = self
            .documents
            .keys(&document.keys, false)
            .await
            .map_err(|error| document_failure(&error))?;
        let verified = match assertion::verify(jwt.expose(), &keys, expected) {
            Err(AssertionError::Signature(JwsError::UnknownKey)) => {
                let keys = self
                    .documents
                    .keys(&document.keys, true)
                    .await
                    .map_err(|error| document_failure(&error))?;
                assertion::verify(jwt.expose(), &keys, expected)
            }
            answer => answer,
        };
        let verified = verified.map_err(|error| Reason::Assertion(error.to_string()))?;
        Ok(Proof {
            proof: verified.proof,
            assertion: Some(verified.single_use),
        })
    }
}

/// A document that cannot be had now: trouble that may pass.
fn document_failure(error: &DocumentError) -> Reason {
    Reason::Document(error.to_string())
}

fn configured(id: ClientId, fixed: &StaticClient) -> Resolved {
    let method = if fixed.secret.is_some() {
        AuthMethod::ClientSecretBasic
    } else {
        AuthMethod::None
    };
    let client = Client {
        name: Some(fixed.client_id.clone()),
        id,
        source: ClientSource::Configured,
        redirect_uris: fixed.redirect_uris.clone(),
        auth_method: method,
    };
    Resolved {
        client,
        secret: fixed.secret.clone(),
    }
}
