//! `POST /revoke`: RFC 7009. Either token ends the whole grant.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::client_auth;
use super::clients::Resolved;
use super::form::Form;
use super::redeem::store_failure;
use super::respond::Refusal;
use super::{App, form, metadata, respond};
use crate::audit::{Event, Kind};
use crate::oauth::client::ClientSource;
use crate::oauth::error::Reason;
use crate::oauth::names::{ClientHash, GrantId, UpstreamFingerprint, UpstreamName};
use crate::oauth::records::{AccessToken, AuthMethod, RefreshToken, UpstreamCredential};
use crate::request;
use crate::seal::{Purpose, Sealed};

/// Ends a grant.
pub(super) async fn post(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    if !app.revokes() {
        return metadata::not_found();
    }
    let form = match form::read_form(request).await {
        Ok(form) => form,
        Err(refusal) => return refusal,
    };
    match revoke(&app, &form).await {
        // RFC 7009 §2.2: 200, also for a token that is not ours, or no more.
        Ok(()) => respond::json(StatusCode::OK, &serde_json::json!({})),
        Err(refusal) => refusal
            .after_basic(client_auth::uses_basic(&form.headers))
            .into_response(),
    }
}

async fn revoke(app: &Arc<App>, form: &Form) -> Result<(), Refusal> {
    let credentials = client_auth::read(&form.headers, &form.params)?;
    let resolved = app.resolve(credentials.client_id.clone())?;
    let wire = form.params.required("token")?;
    let Some(ending) = app.ending(wire) else {
        // Nothing to end; the client must still be who it says.
        app.authenticate(resolved.client.auth_method, &resolved, &credentials)
            .await?;
        return Ok(());
    };
    let proof = app
        .authenticate(method(&ending, &resolved), &resolved, &credentials)
        .await?;
    if let Some((assertion, ttl)) = proof.assertion
        && !app
            .replay
            .use_assertion(assertion, ttl)
            .await
            .map_err(|error| store_failure(&error))?
    {
        return Err(Reason::Assertion("used before".into()).into());
    }
    // RFC 7009 §2.1: another client's token is not revoked, and that is not told.
    if !ending.client.matches(&resolved.client.hash()) {
        return Ok(());
    }
    app.end(ending.grant, ending.rest).await?;
    Event::new(Kind::Revoke)
        .grant(ending.grant, ending.client)
        .record();
    app.tell_upstream(ending);
    Ok(())
}

/// How the client must authenticate: as pinned in the grant where it is, else as registered.
fn method(ending: &Ending, resolved: &Resolved) -> AuthMethod {
    match resolved.client.source {
        ClientSource::Document { .. } => ending.auth_method.unwrap_or(AuthMethod::None),
        _ => resolved.client.auth_method,
    }
}

/// A grant that is about to end.
struct Ending {
    grant: GrantId,
    client: ClientHash,
    auth_method: Option<AuthMethod>,
    rest: Duration,
    upstream: Option<(UpstreamName, UpstreamFingerprint, UpstreamCredential)>,
}

impl App {
    /// The grant that a token belongs to; the hint is not needed, since the header says the kind.
    fn ending(&self, wire: &str) -> Option<Ending> {
        let now = self.now();
        let is_access = self.keys.current().purpose_of(wire) == Some(Purpose::AccessToken);
        if !is_access
            && let Ok(opened) = self
                .keys
                .open(&Sealed::<RefreshToken>::from_wire(wire), now)
        {
            let token = opened.record;
            return Some(Ending {
                grant: token.grant,
                client: token.client,
                auth_method: Some(token.auth_method),
                rest: token.grant_ends_at.since(now),
                upstream: Some((token.upstream, token.fingerprint, token.credential)),
            });
        }
        let token = self
            .keys
            .open(&Sealed::<AccessToken>::from_wire(wire), now)
            .ok()?
            .record;
        let end = token
            .grant_issued_at
            .plus(self.config.tokens.refresh_max_ttl);
        Some(Ending {
            grant: token.grant,
            client: token.client_id,
            auth_method: None,
            rest: end.max(token.exp).since(now),
            upstream: None,
        })
    }

    /// Tells the upstream where that ends nothing but this grant. The client does not wait.
    fn tell_upstream(self: &Arc<Self>, ending: Ending) {
        let Some((name, fingerprint, credential)) = ending.upstream else {
            return;
        };
        let Ok(permit) = Arc::clone(&self.upstream_revocations).try_acquire_owned() else {
            tracing::warn!(upstream = %name, "too many revocations wait for the upstream; one was dropped");
            return;
        };
        let app = Arc::clone(self);
        tokio::spawn(request::carried(async move {
            let _permit = permit;
            let Some(upstream) = app.upstreams.get(&name) else {
                return;
            };
            let profile = upstream.profile();
            if profile.fingerprint != fingerprint || !profile.revokes_one_token {
                return;
            }
            if let Err(error) = upstream.revoke(&credential).await {
                tracing::warn!(upstream = %name, %error, "the upstream was not told of a revocation");
            }
        }));
    }
}
