//! `GET /callback/{upstream}`: the upstream sends the browser back. Mints our code, and nothing
//! else: a repeated callback can only make another code of the same grant.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::browser::{Browser, with_cookies};
use super::vouch::upstream_failure;
use super::{App, pages, respond};
use crate::audit::{Event, Kind};
use crate::entropy;
use crate::figures;
use crate::oauth::authorize::CodeTerms;
use crate::oauth::error::{ErrorCode, Reason};
use crate::oauth::names::{Secret, StateHash, UpstreamName};
use crate::oauth::params::Params;
use crate::oauth::records::{PendingLogin, UpstreamLeg};
use crate::upstream::{CodeExchange, ExchangeAt, Upstream};

/// Why a callback did not lead to a code.
enum Failed {
    /// Nothing is known about who should hear it, or it must not be trusted: a page.
    Page(Reason),
    /// The login is known: the client hears it.
    Client(Reason, Box<PendingLogin>),
    /// The person is to blame or to be told: a page, with a way back.
    Person(Reason, Box<PendingLogin>),
}

/// Finishes a login.
pub(super) async fn get(
    State((app, upstream)): State<(Arc<App>, UpstreamName)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let browser = Browser::of(&app, &headers);
    let Ok(params) = Params::parse(query.as_deref().unwrap_or_default().as_bytes()) else {
        return pages::problem(&app, &Reason::NotAForm, None);
    };
    let Some(state) = params.get("state").map(StateHash::of) else {
        return pages::problem(&app, &Reason::NoLogin, None);
    };
    let outcome = finish(&app, &upstream, &browser, &params, state).await;
    if let Err(Failed::Page(
        reason @ (Reason::NoLogin | Reason::Login(_) | Reason::CallbackIssuer),
    )) = &outcome
    {
        Event::new(Kind::ForeignCallback)
            .upstream(upstream.as_str())
            .reason(reason)
            .record();
    }
    let result = match &outcome {
        Ok(_) => "code",
        Err(Failed::Client(..)) => "error",
        Err(_) => "refused",
    };
    figures::CALLBACK
        .counter(&[upstream.as_str(), result])
        .increment(1);
    let answer = outcome.unwrap_or_else(|failed| failed.answer(&app));
    with_cookies(answer, [browser.end_login(state)])
}

async fn finish(
    app: &App,
    upstream: &UpstreamName,
    browser: &Browser<'_>,
    params: &Params,
    state: StateHash,
) -> Result<Response, Failed> {
    let (login, upstream) = session(app, upstream, browser, state).map_err(Failed::Page)?;
    // RFC 9207 §2.4: a mix-up is not reported to anybody but the person.
    issuer(upstream, params).await.map_err(Failed::Page)?;
    let code = match (params.get("code"), params.get("error")) {
        (_, Some(error)) => return Err(Failed::Client(reported(error), Box::new(login))),
        (Some(code), None) => Secret::new(code),
        (None, None) => return Err(Failed::Page(Reason::EmptyCallback)),
    };
    match upstream.profile().exchange {
        ExchangeAt::Token => {
            let leg = UpstreamLeg::Late {
                code,
                verifier: login.verifier.clone(),
                nonce: login.nonce.clone(),
            };
            mint(app, &login, leg, upstream).map(|(location, _)| respond::see_other(&location))
        }
        ExchangeAt::Callback => exchange(app, login, &code, upstream).await,
    }
}

/// The session that belongs to this `state`, in this browser, for this upstream.
fn session<'a>(
    app: &'a App,
    name: &UpstreamName,
    browser: &Browser<'_>,
    state: StateHash,
) -> Result<(PendingLogin, &'a dyn Upstream), Reason> {
    let sealed = browser.login(state).ok_or(Reason::NoLogin)?;
    let login = app
        .keys
        .open(&sealed, app.now())
        .map_err(Reason::Login)?
        .record;
    // RFC 6749 §10.12
    if !login.state_hash.matches(&state) || login.upstream != *name {
        return Err(Reason::NoLogin);
    }
    let upstream = app.upstream_of(name, login.fingerprint, &login.request.resource)?;
    Ok((login, upstream))
}

async fn issuer(upstream: &dyn Upstream, params: &Params) -> Result<(), Reason> {
    match (params.get("iss"), &upstream.profile().issuer) {
        // RFC 9207 §2.4: simple string comparison.
        (Some(iss), Some(issuer)) if iss == issuer => Ok(()),
        (Some(_), Some(_)) => Err(Reason::CallbackIssuer),
        (None, _) if upstream.requires_iss().await => Err(Reason::CallbackIssuer),
        _ => Ok(()),
    }
}

/// OAuth 2.1 §4.1.2.1: the upstream's error as ours; its description stays here.
fn reported(error: &str) -> Reason {
    match error {
        "access_denied" | "consent_required" | "interaction_required" => Reason::Denied,
        "temporarily_unavailable" => Reason::UpstreamUnavailable("temporarily_unavailable".into()),
        "server_error" => Reason::UpstreamError("server_error"),
        "invalid_scope" => Reason::UpstreamError("invalid_scope"),
        "unauthorized_client" => Reason::UpstreamError("unauthorized_client"),
        "invalid_request" => Reason::UpstreamError("invalid_request"),
        "login_required" => Reason::UpstreamError("login_required"),
        _ => Reason::UpstreamError("an error outside the registry"),
    }
}

/// Mints our code; returns where the browser goes, and the code.
fn mint(
    app: &App,
    login: &PendingLogin,
    leg: UpstreamLeg,
    upstream: &dyn Upstream,
) -> Result<(String, Secret), Failed> {
    let terms = CodeTerms {
        ttl: app.config.tokens.code_ttl,
        upstream_code_ttl: upstream.profile().code_ttl,
        instance: app.instance,
    };
    let code = login.code(leg, terms, app.now());
    let sealed = app
        .keys
        .current()
        .seal(&code, &mut entropy::rng())
        .map_err(|error| Failed::Page(Reason::Internal(error.to_string())))?;
    let location = login.answer(sealed.as_str(), &app.config.public_url.issuer);
    Ok((location, Secret::new(sealed.into_wire())))
}

/// `exchange = "callback"`: asks the upstream now, so that a person who is refused gets a page; the
/// tokens wait in the replay store, sealed under a key that needs the code.
async fn exchange(
    app: &App,
    login: PendingLogin,
    code: &Secret,
    upstream: &dyn Upstream,
) -> Result<Response, Failed> {
    let request = CodeExchange {
        code,
        verifier: &login.verifier,
        nonce: &login.nonce,
        redirect_uri: &app.callback_url(upstream),
        now: app.now(),
    };
    let sign_in = upstream
        .exchange(request)
        .await
        .map_err(|error| Failed::Page(upstream_failure(error)))?;
    let whose = (login.grant, login.request.client);
    if let Err(reason) = app.vouch(upstream, &login.request.resource, sign_in.clone(), whose) {
        return Err(Failed::Person(reason, Box::new(login)));
    }
    let (location, code) = mint(app, &login, UpstreamLeg::Parked, upstream)?;
    app.park(login.grant, &code, &sign_in)
        .await
        .map_err(Failed::Page)?;
    Ok(respond::see_other(&location))
}

impl Failed {
    fn answer(self, app: &App) -> Response {
        let issuer = &app.config.public_url.issuer;
        match self {
            Self::Page(reason) => pages::problem(app, &reason, None),
            Self::Person(reason, login) => pages::problem(app, &reason, Some(&login.failed())),
            Self::Client(reason, login) => {
                respond::log(&reason);
                let code = match reason.code() {
                    // OAuth 2.1 §4.1.2.1 knows no `invalid_grant` here.
                    ErrorCode::InvalidGrant => ErrorCode::ServerError,
                    code => code,
                };
                respond::see_other(&login.failed().location(code, reason.description(), issuer))
            }
        }
    }
}
