//! `POST /token`: OAuth 2.1 §3.2. The order of the checks is in [`crate::oauth::token`]; what
//! happens once they have passed is in `redeem.rs` and `refresh.rs`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::client_auth::{self, Credentials};
use super::clients::Resolved;
use super::form::Form;
use super::limits::Endpoint;
use super::redeem::Redemption;
use super::refresh::Refreshing;
use super::respond::Refusal;
use super::{App, form, respond};
use crate::figures;
use crate::oauth::error::Reason;
use crate::oauth::names::Secret;
use crate::oauth::token::{CodeRequest, RefreshRequest, TokenRequest};
use crate::request;

/// Answers a token request.
pub(super) async fn post(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let form = match form::read_form(request).await {
        Ok(form) => form,
        Err(refusal) => return refusal,
    };
    let grant = match form.params.get("grant_type") {
        Some("authorization_code") => "authorization_code",
        Some("refresh_token") => "refresh_token",
        _ => "other",
    };
    match answer(&app, &form).await {
        Ok(body) => {
            figures::TOKENS_ISSUED.counter(&[grant]).increment(1);
            respond::json_text(StatusCode::OK, body.expose().to_owned())
        }
        Err(refusal) => {
            let error = refusal.reason().code().as_str();
            figures::TOKEN_REFUSED.counter(&[grant, error]).increment(1);
            counted(&app, &form, refusal)
                .after_basic(client_auth::uses_basic(&form.headers))
                .into_response()
        }
    }
}

/// Counts a refusal that the caller earned; trouble of ours costs nobody.
fn counted(app: &App, form: &Form, refusal: Refusal) -> Refusal {
    if refusal.reason().code().status().is_server_error() {
        return refusal;
    }
    let address = app.limits.address(&form.extensions, &form.headers);
    app.limits
        .count(Endpoint::Token, address)
        .err()
        .unwrap_or(refusal)
}

async fn answer(app: &Arc<App>, form: &Form) -> Result<Secret, Refusal> {
    let credentials = client_auth::read(&form.headers, &form.params)?;
    // An unknown client hears `invalid_client` whatever else it sends: it registers again on that.
    let resolved = app.resolve(credentials.client_id.clone())?;
    match TokenRequest::parse(&form.params)? {
        TokenRequest::Code(request) => redeem(app, request, &resolved, &credentials).await,
        TokenRequest::Refresh(request) => refresh(app, request, &resolved, &credentials).await,
    }
}

async fn redeem(
    app: &Arc<App>,
    request: CodeRequest,
    resolved: &Resolved,
    credentials: &Credentials,
) -> Result<Secret, Refusal> {
    let code = request
        .open(&app.keys, app.now())?
        .check(&resolved.client, &app.resources)?;
    let proof = app
        .authenticate(code.auth_method(), resolved, credentials)
        .await?;
    let redemption = Redemption {
        app: Arc::clone(app),
        code: code.authenticated(proof.proof),
        assertion: proof.assertion,
    };
    to_its_end(redemption.run()).await
}

async fn refresh(
    app: &Arc<App>,
    request: RefreshRequest,
    resolved: &Resolved,
    credentials: &Credentials,
) -> Result<Secret, Refusal> {
    let token = request
        .open(&app.keys, app.now())?
        .check(&resolved.client, &app.resources)?;
    let proof = app
        .authenticate(token.auth_method(), resolved, credentials)
        .await?;
    app.limits.count_grant(token.grant())?;
    let grace = app.grace_of(&resolved.client);
    let refreshing = Refreshing {
        app: Arc::clone(app),
        token: token.authenticated(proof.proof),
        assertion: proof.assertion,
        grace,
    };
    to_its_end(refreshing.run()).await
}

/// Runs to the end even if the client goes away: between the upstream's answer and our commit lies
/// a grant that would be lost.
async fn to_its_end(
    work: impl Future<Output = Result<Secret, Refusal>> + Send + 'static,
) -> Result<Secret, Refusal> {
    match tokio::spawn(request::carried(work)).await {
        Ok(result) => result,
        Err(_) => Err(Reason::Internal("a token request did not finish".into()).into()),
    }
}
