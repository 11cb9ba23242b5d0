//! `POST /consent`: the person decided.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ALLOW, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::Response;

use super::browser::{Browser, with_cookies};
use super::form::Form;
use super::{App, form, pages, respond};
use crate::audit::{Event, Kind};
use crate::entropy;
use crate::figures;
use crate::oauth::authorize::{ChosenUpstream, ConfirmedConsent};
use crate::oauth::error::Reason;
use crate::oauth::names::StateHash;
use crate::oauth::records::PendingConsent;
use crate::seal::Sealed;
use crate::upstream::{AuthorizationRedirect, UpstreamError};

/// Sends the browser to the upstream, or back to the client.
pub(super) async fn post(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let form = match form::read_form(request).await {
        Ok(form) => form,
        Err(refusal) => return refusal,
    };
    let consent = match confirmed(&app, &form) {
        Ok(consent) => consent,
        Err(reason) => {
            Event::new(Kind::ForeignForm).reason(&reason).record();
            return pages::problem(&app, &reason, None);
        }
    };
    match form.params.get("decision") {
        Some("allow") => {
            count("allow");
            allow(&app, consent, &form)
                .await
                .unwrap_or_else(|reason| pages::problem(&app, &reason, None))
        }
        Some("deny") => {
            count("deny");
            deny(&app, consent)
        }
        _ => pages::problem(&app, &Reason::Missing("decision"), None),
    }
}

/// A person who came back to the form's address without a form.
pub(super) async fn get(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    if !pages::visitors::accepts_html(&headers) {
        return respond::method_not_allowed().await;
    }
    let mut page = pages::problem(&app, &Reason::NoLogin, None);
    *page.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    page.headers_mut()
        .insert(ALLOW, HeaderValue::from_static("POST"));
    page
}

/// The checks that bind the form to this browser and this site, in order.
fn confirmed(app: &App, form: &Form) -> Result<ConfirmedConsent, Reason> {
    same_origin(app, &form.headers)?;
    let sealed = Sealed::<PendingConsent>::from_wire(form.params.required("consent")?);
    let consent = app
        .keys
        .open(&sealed, app.now())
        .map_err(Reason::ConsentForm)?
        .record;
    consent.of_browser(Browser::of(app, &form.headers).secret())
}

/// MCP security best practices, consent: the form must come from its own page.
fn same_origin(app: &App, headers: &HeaderMap) -> Result<(), Reason> {
    if let Some(site) = headers.get("sec-fetch-site") {
        return if site == "same-origin" {
            Ok(())
        } else {
            Err(Reason::CrossSite)
        };
    }
    match headers.get(ORIGIN) {
        Some(origin) if origin != app.config.public_url.issuer.as_str() => Err(Reason::CrossSite),
        _ => Ok(()),
    }
}

fn deny(app: &App, consent: ConfirmedConsent) -> Response {
    Event::new(Kind::ConsentDeny)
        .client(consent.request().client)
        .resource(&consent.request().resource)
        .record();
    let reason = Reason::Denied;
    let issuer = &app.config.public_url.issuer;
    respond::see_other(
        &consent
            .deny()
            .location(reason.code(), reason.description(), issuer),
    )
}

async fn allow(app: &App, consent: ConfirmedConsent, form: &Form) -> Result<Response, Reason> {
    let resource = app
        .resources
        .at(&consent.request().resource)
        .ok_or(Reason::ResourceGone)?;
    let upstream = app
        .upstreams
        .get(&resource.upstream)
        .ok_or(Reason::ResourceGone)?
        .as_ref();
    let chosen = ChosenUpstream {
        name: &resource.upstream,
        fingerprint: upstream.profile().fingerprint,
    };
    let now = app.now();
    let started = consent.approve(chosen, now, &mut entropy::rng());
    Event::new(Kind::ConsentAllow)
        .grant(started.login.grant, started.login.request.client)
        .resource(&started.login.request.resource)
        .record();
    let location = upstream
        .authorization_url(AuthorizationRedirect {
            state: &started.state,
            nonce: &started.login.nonce,
            verifier: &started.login.verifier,
            redirect_uri: &app.callback_url(upstream),
            choose_account: form.params.get("account") == Some("other"),
        })
        .await
        .map_err(|error| not_reached(&error))?;
    let session = app
        .keys
        .current()
        .seal(&started.login, &mut entropy::rng())
        .map_err(|error| Reason::Internal(error.to_string()))?;
    let browser = Browser::of(app, &form.headers);
    let cookie = browser.keep_login(StateHash::of(started.state.expose()), &session);
    let mut cookies = browser.make_room(app, cookie.len(), now);
    cookies.push(cookie);
    Ok(with_cookies(respond::see_other(location.as_str()), cookies))
}

fn not_reached(error: &UpstreamError) -> Reason {
    Reason::UpstreamUnavailable(error.to_string())
}

fn count(decision: &'static str) {
    figures::CONSENT.counter(&[decision]).increment(1);
}
