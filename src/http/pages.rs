//! Pages for people: consent, problems, and what this server is. No script, no remote content, and
//! every text of a stranger escaped.

use std::sync::LazyLock;

use askama::Template;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::{App, respond};
use crate::entropy;
use crate::oauth::authorize::ErrorRedirect;
use crate::oauth::error::{ErrorCode, Reason};

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
    pub(super) redirect_host: &'a str,
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

/// One resource on the index page.
#[derive(Debug)]
pub(super) struct IndexResource {
    pub(super) name: String,
    pub(super) uri: String,
    pub(super) short: String,
    pub(super) cursor: String,
    pub(super) vscode: String,
}

#[derive(Template)]
#[template(path = "index.html", config = "src/http/pages/askama.toml")]
struct IndexPage<'a> {
    style: &'static str,
    operator: &'a str,
    contact: Option<&'a str>,
    resources: Vec<IndexResource>,
}

/// The page at `/`.
pub(super) fn index(app: &App, resources: Vec<IndexResource>) -> Response {
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
    link: Option<Link>,
    error_id: &'a str,
}

/// The page for a refusal on a browser endpoint.
pub(super) fn problem(app: &App, reason: &Reason, back: Option<&ErrorRedirect>) -> Response {
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

/// What a page says about a refusal: what happened, whose side it is, and what to do.
struct Words {
    status: StatusCode,
    title: &'static str,
    what: &'static str,
    todo: &'static str,
    whose: &'static str,
}

const APP: &str = "This is on the app's side.";
const SERVER: &str = "This is on this server's side.";
const PROVIDER: &str = "This is on the identity provider's side.";
const PERSON: &str = "Nothing is broken.";

impl Words {
    fn of(reason: &Reason) -> Self {
        match reason {
            Reason::UnknownClient(_) | Reason::RegistrationEnded => Self::new(
                400,
                "This app needs to register again",
                "The app used an identity that this server does not know (any more).",
                "Remove this server from the app and add it again. Claude Code: “/mcp”, then clear \
                 authentication. VS Code: “MCP: List Servers”, then disconnect the account. Cursor: \
                 log out of the server in its MCP settings. mcp-remote: delete its ~/.mcp-auth folder.",
                APP,
            ),
            Reason::DocumentsOff | Reason::DocumentUrl(_) | Reason::Document(_) => Self::new(
                400,
                "This app’s description cannot be used",
                "The app identifies itself by a web document, and this server could not use it.",
                "Try again in a few minutes. If it stays, tell the makers of the app, or the operator.",
                APP,
            ),
            Reason::RedirectNotRegistered => Self::new(
                400,
                "This app asked to be answered at an unknown place",
                "The return address in the link is not one that the app registered, so you were not \
                 sent there.",
                "Start again from the app. If it stays, remove this server from the app and add it again.",
                APP,
            ),
            Reason::OtherBrowser | Reason::NoLogin => Self::new(
                400,
                "This sign-in was started elsewhere",
                "This page belongs to a sign-in that another browser started, that is finished, or \
                 whose cookies were lost.",
                "Start again from the app, in this browser, with cookies allowed for this site. If the \
                 app shows pages in a small window of its own, let it open your normal browser.",
                PERSON,
            ),
            Reason::CrossSite => Self::new(
                403,
                "The answer came from another site",
                "Your decision must be sent from this server’s own page. Another site tried to send it.",
                "Start again from the app, and close the page that you came from.",
                PERSON,
            ),
            Reason::ConsentForm(_) | Reason::Login(_) => Self::new(
                400,
                "That took too long",
                "A sign-in must be finished within ten minutes, and this one was not.",
                "Start again from the app.",
                PERSON,
            ),
            Reason::NotAllowed => Self::new(
                403,
                "This account is not allowed here",
                "You signed in, but the operator’s rules do not let this account in.",
                "Ask the operator for access, or start again from the app and use another account.",
                PERSON,
            ),
            other => Self::rest(other),
        }
    }

    fn rest(reason: &Reason) -> Self {
        match reason {
            Reason::UpstreamUnavailable(_) => Self::new(
                503,
                "The identity provider does not answer",
                "This server could not reach the provider that you sign in with.",
                "Wait a moment and reload this page.",
                PROVIDER,
            ),
            Reason::UpstreamRefused(_)
            | Reason::UpstreamUnacceptable(_)
            | Reason::UpstreamError(_)
            | Reason::OtherPerson
            | Reason::CallbackIssuer
            | Reason::EmptyCallback => Self::new(
                502,
                "The identity provider’s answer was not usable",
                "The provider sent something that this server must not accept.",
                "Start again from the app. If it stays, tell the operator the error id.",
                PROVIDER,
            ),
            Reason::OtherUpstream | Reason::ResourceGone => Self::new(
                400,
                "This server was reconfigured",
                "While you were signing in, the operator changed what you were signing in to.",
                "Start again from the app.",
                SERVER,
            ),
            Reason::TooManyRequests => Self::new(
                429,
                "Too many attempts",
                "There were too many sign-in attempts from your network within a minute.",
                "Wait a minute and try again.",
                PERSON,
            ),
            reason if reason.code().status().is_server_error() => Self::new(
                503,
                "Something is wrong here",
                "This server cannot do what it should at the moment.",
                "Wait a moment and reload this page. If it stays, tell the operator the error id.",
                SERVER,
            ),
            _ => Self::new(
                400,
                "The app’s request was not valid",
                "The app sent a request that does not follow the rules of OAuth, so nothing was done.",
                "Start again from the app. If it stays, update the app or tell its makers.",
                APP,
            ),
        }
    }

    fn new(
        status: u16,
        title: &'static str,
        what: &'static str,
        todo: &'static str,
        whose: &'static str,
    ) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        Self {
            status,
            title,
            what,
            todo,
            whose,
        }
    }
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

/// Something short to quote, which is in the log as well.
fn error_id() -> String {
    use rand::Rng as _;
    let mut bits = [0; 6];
    entropy::rng().fill_bytes(&mut bits);
    URL_SAFE_NO_PAD.encode(bits)
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
