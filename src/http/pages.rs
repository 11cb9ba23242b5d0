//! Pages for people: consent, problems, and what this server is. No script, no remote content, and
//! every text of a stranger escaped.

mod remedy;
pub mod visitors;
mod words;

use std::sync::LazyLock;

use askama::Template;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use self::remedy::Remedy;
use self::words::Words;
use super::index::AddResource;
use super::{App, respond};
use crate::entropy;
use crate::oauth::authorize::ErrorRedirect;
use crate::oauth::error::{ErrorCode, Reason};
use crate::oauth::resource::ResourceRule;
use crate::request::{self, Trace};

const STYLE: &str = include_str!("pages/style.css");

/// No `form-action`: Chromium applies it to every redirect that follows a form post, and approval
/// would silently go nowhere.
static CONTENT_SECURITY_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src 'self' data:; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// How a client is known, in the words of the consent page.
#[derive(Debug)]
pub(super) enum KnownBy {
    /// A metadata document at this host.
    Document(String),
    /// Its own word.
    Registration,
    /// The operator's configuration.
    Operator,
}

/// The consent page.
#[derive(Template)]
#[template(path = "consent.html", config = "src/http/pages/askama.toml")]
pub(super) struct ConsentPage<'a> {
    pub(super) style: &'static str,
    pub(super) operator: &'a str,
    pub(super) contact: Option<&'a str>,
    pub(super) client_name: &'a str,
    pub(super) known_by: KnownBy,
    pub(super) redirect_host: String,
    pub(super) redirect_note: Option<&'static str>,
    pub(super) loopback: bool,
    pub(super) resource_name: &'a str,
    pub(super) resource_uri: &'a str,
    pub(super) scopes: Vec<String>,
    pub(super) upstream_name: &'a str,
    pub(super) upstream_scopes: String,
    pub(super) sealed: &'a str,
}

/// The styles, to be put into each page.
pub(super) const fn style() -> &'static str {
    STYLE
}

impl ConsentPage<'_> {
    /// The page as an answer.
    pub(super) fn answer(&self) -> Response {
        let mut response = html(StatusCode::OK, self.render());
        // With `no-referrer` a browser posts the form with `Origin: null`.
        response
            .headers_mut()
            .insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        response
    }
}

#[derive(Template)]
#[template(path = "index.html", config = "src/http/pages/askama.toml")]
struct IndexPage<'a> {
    style: &'static str,
    operator: &'a str,
    contact: Option<&'a str>,
    resources: Vec<AddResource>,
}

/// The page at `/`.
pub(super) fn index(app: &App, resources: Vec<AddResource>) -> Response {
    let page = IndexPage {
        style: STYLE,
        operator: app.operator(),
        contact: app.contact(),
        resources,
    };
    html(StatusCode::OK, page.render())
}

struct Link {
    location: String,
    host: String,
}

#[derive(Template)]
#[template(path = "problem.html", config = "src/http/pages/askama.toml")]
struct ProblemPage<'a> {
    style: &'static str,
    operator: &'a str,
    contact: Option<&'a str>,
    title: &'static str,
    what: &'static str,
    todo: &'static str,
    whose: &'static str,
    remedy: Option<&'static Remedy>,
    link: Option<Link>,
    error_id: &'a str,
}

/// The page for a refusal on a browser endpoint.
pub(super) fn problem(app: &App, reason: &Reason, back: Option<&ErrorRedirect>) -> Response {
    page(app, reason, back, None)
}

/// The page for an app that this server does not know, or not with this redirect URI. Where it
/// wants to be answered chooses the words, and nothing else.
pub(super) fn unknown_app(app: &App, reason: &Reason, asked: &Asked) -> Response {
    let healed_by_registering = matches!(
        reason,
        Reason::UnknownClient(_) | Reason::RegistrationEnded | Reason::RedirectNotRegistered
    );
    let remedy = healed_by_registering
        .then(|| remedy::of(asked.redirect_uri.as_deref(), asked.client_id.as_deref()))
        .flatten();
    page(app, reason, None, remedy)
}

/// What an authorization request says of its app, believed in nothing.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) client_id: Option<String>,
    pub(super) redirect_uri: Option<String>,
}

fn page(
    app: &App,
    reason: &Reason,
    back: Option<&ErrorRedirect>,
    remedy: Option<&'static Remedy>,
) -> Response {
    let error_id = error_id();
    let code = reason.code();
    tracing::warn!(error_id, error = code.as_str(), %reason, "page");
    let words = Words::of(reason);
    // OAuth 2.1 §4.1.2.1 knows no `invalid_grant` at this endpoint.
    let told = if code == ErrorCode::InvalidGrant {
        ErrorCode::AccessDenied
    } else {
        code
    };
    let link = back.map(|to| Link {
        location: to.location(told, reason.description(), &app.config.public_url.issuer),
        host: to.host().to_owned(),
    });
    let page = ProblemPage {
        style: STYLE,
        operator: app.operator(),
        contact: app.contact(),
        title: words.title,
        what: words.what,
        todo: words.todo,
        whose: words.whose,
        remedy,
        link,
        error_id: &error_id,
    };
    let mut response = html(words.status, page.render());
    if words.status.is_server_error() {
        response
            .headers_mut()
            .insert("retry-after", HeaderValue::from_static("5"));
    }
    response
}

/// The page for somebody who asks too often.
pub(super) fn too_many(app: &App, refusal: &respond::Refusal) -> Response {
    let mut response = problem(app, refusal.reason(), None);
    response.headers_mut().insert("retry-after", refusal.wait());
    response
}

impl App {
    /// Who runs this server, for a heading.
    pub(super) fn operator(&self) -> &str {
        let host = || self.config.public_url.url.host_str().unwrap_or_default();
        self.config.operator.name.as_deref().unwrap_or_else(host)
    }

    /// Whom to ask.
    pub(super) fn contact(&self) -> Option<&str> {
        self.config.operator.contact.as_deref()
    }
}

/// What people call a resource.
pub(super) fn resource_name(rule: &ResourceRule) -> &str {
    rule.name.as_deref().unwrap_or("this server’s tools")
}

/// Something to quote, which is in the log as well: the name of the request.
fn error_id() -> String {
    let trace = request::current();
    let trace = trace.unwrap_or_else(|| Trace::of(&HeaderMap::new(), &mut entropy::rng()));
    trace.request_id().to_owned()
}

const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");

fn html(status: StatusCode, page: Result<String, askama::Error>) -> Response {
    let Ok(page) = page else {
        return respond::Refusal::from(Reason::Internal("a page was not rendered".into()))
            .into_response();
    };
    let mut response = (status, page).into_response();
    secure(response.headers_mut());
    response
}

/// The headers of every page. No `Cross-Origin-Opener-Policy`: clients open us in popups and wait
/// for the answer there.
fn secure(headers: &mut HeaderMap) {
    respond::no_store(headers);
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert("content-security-policy", CONTENT_SECURITY_POLICY.clone());
    headers.insert("x-frame-options", HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        "permissions-policy",
        HeaderValue::from_static("interest-cohort=()"),
    );
}
