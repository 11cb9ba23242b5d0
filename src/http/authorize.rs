//! `/authorize`: checks the request and shows the consent page. No side effect, so it may be
//! repeated; nothing is sent anywhere before a person has decided.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request};
use axum::response::Response;

use super::browser::{Browser, with_cookies};
use super::limits::Endpoint;
use super::pages::{self, ConsentPage, KnownBy};
use super::{App, form, respond};
use crate::entropy;
use crate::figures;
use crate::oauth::authorize::{AuthorizationRequest, AuthorizeError, AuthorizeParams};
use crate::oauth::client::{Client, ClientSource};
use crate::oauth::error::Reason;
use crate::oauth::names::ClientId;
use crate::oauth::params::Params;
use crate::oauth::redirect::{MatchedRedirect, RedirectKind};

/// Shows the consent page, or says what is wrong.
pub(super) async fn get(State(app): State<Arc<App>>, http: Request<Body>) -> Response {
    let headers = http.headers();
    let address = app.limits.address(http.extensions(), headers);
    if let Err(too_many) = app.limits.count(Endpoint::Authorize, address) {
        return pages::too_many(&app, &too_many);
    }
    let query = http.uri().query().unwrap_or_default();
    match request(&app, query).await {
        Ok((request, client)) => {
            count(Some(&client), "consent");
            consent_page(&app, request, &client, headers)
        }
        Err(error) => {
            count(None, "refused");
            refuse(&app, &error, query)
        }
    }
}

/// A client may post (OAuth 2.1 §3.1): sent on as GET, so that a page can be reloaded and browsers
/// attach the cookies that they hold back from a cross-site post.
pub(super) async fn post(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let body = match form::read_body(request.into_body(), form::FORM).await {
        Ok(body) => body,
        Err(too_large) => return too_large,
    };
    match std::str::from_utf8(&body) {
        Ok(query) => respond::see_other(&format!("/authorize?{query}")),
        Err(_) => pages::problem(&app, &Reason::NotAForm, None),
    }
}

async fn request(app: &App, query: &str) -> Result<(AuthorizationRequest, Client), AuthorizeError> {
    let params = Params::parse(query.as_bytes()).map_err(AuthorizeError::Render)?;
    let params = AuthorizeParams::new(params);
    let client_id = ClientId::new(params.client_id().map_err(AuthorizeError::Render)?);
    let client = app
        .client(client_id)
        .await
        .map_err(AuthorizeError::Render)?;
    let request = params.against(&client, &app.resources)?;
    Ok((request, client))
}

fn refuse(app: &App, error: &AuthorizeError, query: &str) -> Response {
    match error {
        AuthorizeError::Render(reason) => pages::unknown_app(app, reason, &asked(query)),
        AuthorizeError::Offer(reason, to) => pages::problem(app, reason, Some(to)),
        AuthorizeError::Redirect(reason, to) => {
            respond::log(reason);
            let issuer = &app.config.public_url.issuer;
            respond::see_other(&to.location(reason.code(), reason.description(), issuer))
        }
    }
}

/// What the request says of its app, for the page that it gets instead of an answer.
fn asked(query: &str) -> pages::Asked {
    let Ok(params) = Params::parse(query.as_bytes()) else {
        return pages::Asked::default();
    };
    let text = |name| params.get(name).map(str::to_owned);
    pages::Asked {
        client_id: text("client_id"),
        redirect_uri: text("redirect_uri"),
    }
}

fn consent_page(
    app: &App,
    request: AuthorizationRequest,
    client: &Client,
    headers: &HeaderMap,
) -> Response {
    let browser = Browser::of(app, headers);
    let (hash, cookie) = browser.bind();
    let redirect = request.redirect().clone();
    let Some(resource) = app.resources.at(&request.pending().resource) else {
        return pages::problem(app, &Reason::ResourceGone, None);
    };
    let scopes = words(app, request.pending());
    let form = request.consent(hash, app.now());
    let sealed = match app.keys.current().seal(&form, &mut entropy::rng()) {
        Ok(sealed) => sealed,
        Err(error) => return pages::problem(app, &Reason::Internal(error.to_string()), None),
    };
    let Some(upstream) = app.upstreams.get(&resource.upstream) else {
        return pages::problem(app, &Reason::ResourceGone, None);
    };
    let page = ConsentPage {
        style: pages::style(),
        operator: app.operator(),
        contact: app.contact(),
        client_name: client.name.as_deref().unwrap_or("An app without a name"),
        known_by: known_by(client),
        redirect_host: shown(&redirect),
        redirect_note: note(redirect.kind()),
        loopback: redirect.kind() != RedirectKind::Web,
        resource_name: pages::resource_name(resource),
        resource_uri: resource.uri.as_str(),
        scopes,
        upstream_name: &upstream.profile().display_name,
        upstream_scopes: upstream.profile().scopes.join(", "),
        sealed: sealed.as_str(),
    };
    with_cookies(page.answer(), [cookie])
}

/// Where the answer goes, as a person reads it.
fn shown(redirect: &MatchedRedirect) -> String {
    match redirect.kind() {
        RedirectKind::PrivateUse => format!("{}://", redirect.host()),
        RedirectKind::Web | RedirectKind::Loopback => redirect.host().to_owned(),
    }
}

const fn note(kind: RedirectKind) -> Option<&'static str> {
    match kind {
        RedirectKind::Web => None,
        RedirectKind::Loopback => Some("a program on this computer"),
        RedirectKind::PrivateUse => Some("the app on this computer that opens such links"),
    }
}

fn known_by(client: &Client) -> KnownBy {
    match &client.source {
        ClientSource::Registration => KnownBy::Registration,
        ClientSource::Document { host } => KnownBy::Document(host.clone()),
        ClientSource::Configured => KnownBy::Operator,
    }
}

/// Scopes in the operator's words, or as they are.
fn words(app: &App, pending: &crate::oauth::records::PendingRequest) -> Vec<String> {
    let word = |scope: &str| {
        app.config.scopes.get(scope).map_or_else(
            || usual_words(scope).to_owned(),
            |words| words.title.clone(),
        )
    };
    pending.scope.iter().map(word).collect()
}

/// What a scope means where the operator says nothing: the one that a resource has by itself.
fn usual_words(scope: &str) -> &str {
    match scope {
        "mcp" => "Use the tools of this server",
        other => other,
    }
}

fn count(client: Option<&Client>, result: &'static str) {
    let registration = match client.map(|client| &client.source) {
        Some(ClientSource::Registration) => "dcr",
        Some(ClientSource::Document { .. }) => "cimd",
        Some(ClientSource::Configured) => "static",
        None => "unknown",
    };
    figures::AUTHORIZE
        .counter(&[registration, result])
        .increment(1);
}
