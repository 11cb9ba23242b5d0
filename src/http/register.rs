//! `POST /register`: RFC 7591.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::limits::Endpoint;
use super::{App, form, respond};
use crate::audit::{Event, Kind};
use crate::entropy;
use crate::figures;
use crate::oauth::error::Reason;
use crate::oauth::names::{ClientHash, ClientId};
use crate::oauth::register::{Refused, Registration, RegistrationResponse};
use crate::seal::SealError;

/// Registers a client: seals what it says.
pub(super) async fn register(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let address = app.limits.address(request.extensions(), request.headers());
    if let Err(too_many) = app.limits.count(Endpoint::Register, address) {
        return too_many.into_response();
    }
    let body = match form::read_body(request.into_body(), form::REGISTRATION).await {
        Ok(body) => body,
        Err(too_large) => return too_large,
    };
    let allowed = &app.config.clients.redirect_schemes;
    let registration = match Registration::parse(&body, allowed, app.now()) {
        Ok(registration) => registration,
        Err(Refused { code, description }) => {
            tracing::info!(error = code.as_str(), description, "registration refused");
            return respond::error(code, StatusCode::BAD_REQUEST, &description);
        }
    };
    match seal(&app, registration) {
        Ok(answer) => {
            figures::REGISTRATIONS.counter(&[]).increment(1);
            Event::new(Kind::Registration)
                .client(ClientHash::of(answer.client_id().as_str()))
                .record();
            // RFC 7591 §3.2.1: 201.
            respond::json(StatusCode::CREATED, &answer)
        }
        Err(error) => respond::Refusal::from(Reason::Internal(error.to_string())).into_response(),
    }
}

fn seal(app: &App, registration: Registration) -> Result<RegistrationResponse, SealError> {
    let keys = app.keys.current();
    let client_id = keys
        .seal(registration.record(), &mut entropy::rng())?
        .into_wire();
    let secret = registration
        .needs_secret()
        .then(|| keys.client_secret(keys.active(), &client_id))
        .flatten();
    Ok(registration.response(ClientId::new(client_id), secret))
}
