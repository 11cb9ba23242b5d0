//! From a `client_id` to a client: a sealed registration or a configured one.

use super::App;
use crate::config::StaticClient;
use crate::oauth::client::{Client, ClientSource};
use crate::oauth::error::Reason;
use crate::oauth::names::{ClientId, Secret};
use crate::oauth::records::{AuthMethod, ClientRegistration};
use crate::seal::Sealed;

/// A client and, if it has one, its right secret.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) client: Client,
    pub(super) secret: Option<Secret>,
}

impl App {
    /// Finds the client that a `client_id` stands for.
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
            return Err(Reason::DocumentsOff);
        }
        self.registered(id)
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
