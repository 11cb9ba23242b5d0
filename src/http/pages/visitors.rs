//! People at addresses that are for programs: a browser that opens an MCP URL, `/token`, a path where
//! nothing is, or this server under another name, gets the same status and headers with a page as
//! body.
//!
//! Only for what this server itself refuses: an answer of a backend is never touched. Refuses to
//! show a page to scripts, and to whoever sends a token.

use std::sync::Arc;
use std::task::{Context, Poll};

use askama::Template;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, VARY};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use futures_util::FutureExt as _;
use futures_util::future::{Either, Map};
use tower::{Layer, Service};

use super::{STYLE, secure};
use crate::http::App;
use crate::http::index::{self, AddResource};
use crate::http::respond;
use crate::oauth::resource::ResourceRule;

/// Whether an answer is a refusal of the gateway's own.
pub type IsRefusal = fn(&Response) -> bool;

/// Puts pages where a browser would otherwise show JSON.
#[derive(Clone, Debug)]
pub struct Visitors {
    app: Arc<App>,
    is_refusal: IsRefusal,
}

impl Visitors {
    /// A layer around everything; `is_refusal` tells the gateway's own answers from a backend's.
    pub const fn new(app: Arc<App>, is_refusal: IsRefusal) -> Self {
        Self { app, is_refusal }
    }
}

impl<S> Layer<S> for Visitors {
    type Service = Reception<S>;

    fn layer(&self, inner: S) -> Reception<S> {
        Reception {
            visitors: self.clone(),
            inner,
        }
    }
}

/// The service of [`Visitors`].
#[derive(Clone, Debug)]
pub struct Reception<S> {
    visitors: Visitors,
    inner: S,
}

type Dressing<E> = Box<dyn FnOnce(Result<Response, E>) -> Result<Response, E> + Send>;

impl<S> Service<Request> for Reception<S>
where
    S: Service<Request, Response = Response>,
    S::Error: 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<S::Future, Map<S::Future, Dressing<S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if !is_a_person(&request) {
            return Either::Left(self.inner.call(request));
        }
        let path = request.uri().path().to_owned();
        let visitors = self.visitors.clone();
        let dress: Dressing<S::Error> =
            Box::new(move |answer| answer.map(|answer| visitors.dress(&path, answer)));
        Either::Right(self.inner.call(request).map(dress))
    }
}

/// A browser that goes to an address: what scripts and MCP clients send looks different.
fn is_a_person(request: &Request) -> bool {
    let headers = request.headers();
    request.method() == Method::GET
        && !headers.contains_key(AUTHORIZATION)
        && accepts_html(headers)
        && headers
            .get("sec-fetch-mode")
            .is_none_or(|mode| mode == "navigate")
}

/// Whether the asker would rather read a page.
pub(in crate::http) fn accepts_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter();
    accepted
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/html"))
}

#[derive(Template)]
#[template(path = "visitor.html", config = "src/http/pages/askama.toml")]
struct VisitorPage<'a> {
    style: &'static str,
    operator: &'a str,
    contact: Option<&'a str>,
    title: &'static str,
    what: &'static str,
    todo: &'static str,
    operators_hint: Option<&'static str>,
    resources: Vec<AddResource>,
}

/// What a page tells a visitor.
struct Told {
    title: &'static str,
    what: &'static str,
    todo: &'static str,
    operators_hint: Option<&'static str>,
    lists: Lists,
}

/// Which addresses stand on the page.
#[derive(Clone, Copy)]
enum Lists {
    TheOneHere,
    All,
    None,
}

const FOR_APPS: Told = Told {
    title: "This address is for an AI app",
    what: "You have opened the address of an MCP server. AI apps use it; a browser cannot. Nothing is \
           broken.",
    todo: "Add this address to your app. The app will open a page here, where you sign in and decide \
           what it may do.",
    operators_hint: None,
    lists: Lists::TheOneHere,
};

const FOR_PROGRAMS: Told = Told {
    title: "This address is for programs",
    what: "Apps and this server talk to each other here, and there is no page to see. Nothing is \
           broken.",
    todo: "Close this page. If you want to add this server to an app, use an address below.",
    operators_hint: None,
    lists: Lists::All,
};

const NOTHING_HERE: Told = Told {
    title: "There is nothing at this address",
    what: "This server does not know the address that you have opened.",
    todo: "Look for a typing error. What is here is listed below.",
    operators_hint: None,
    lists: Lists::All,
};

const OTHER_NAME: Told = Told {
    title: "This server has another name",
    what: "It was asked for under a name that is not its own, so nothing was done.",
    todo: "Use one of the addresses below, exactly as it is written.",
    operators_hint: Some(
        "public_url must be the address that people and apps use, and a proxy in front must pass on \
         the Host that it was asked for.",
    ),
    lists: Lists::All,
};

const NO_ANSWER: Told = Told {
    title: "The tools at this address do not answer",
    what: "This is the address of an MCP server, and that server cannot be reached at the moment. Your \
           app and your account are not the cause.",
    todo: "Wait a moment, then try again in your app. If it stays, tell the operator.",
    operators_hint: Some("“mcp-oauth doctor” says which backend does not answer, and why."),
    lists: Lists::None,
};

const fn told(status: StatusCode) -> Option<&'static Told> {
    match status {
        StatusCode::UNAUTHORIZED => Some(&FOR_APPS),
        StatusCode::METHOD_NOT_ALLOWED => Some(&FOR_PROGRAMS),
        // A path with more than one reading is no address of ours either.
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Some(&NOTHING_HERE),
        StatusCode::MISDIRECTED_REQUEST => Some(&OTHER_NAME),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Some(&NO_ANSWER)
        }
        _ => None,
    }
}

impl Visitors {
    fn dress(&self, path: &str, mut answer: Response) -> Response {
        if !(self.is_refusal)(&answer) && !respond::is_for_programs(&answer) {
            return answer;
        }
        let Some(Ok(page)) = self.page(path, answer.status()).map(|page| page.render()) else {
            return answer;
        };
        let headers = answer.headers_mut();
        headers.remove(CONTENT_LENGTH);
        headers.append(VARY, HeaderValue::from_static("Accept"));
        secure(headers);
        *answer.body_mut() = Body::from(page);
        answer
    }

    fn page(&self, path: &str, status: StatusCode) -> Option<VisitorPage<'_>> {
        let app = &*self.app;
        let Told {
            title,
            what,
            todo,
            operators_hint,
            lists,
        } = *told(status)?;
        let resources = match lists {
            Lists::TheOneHere => vec![index::listed(app, self.resource_of(path)?, true)],
            Lists::All => index::all(app),
            Lists::None => Vec::new(),
        };
        Some(VisitorPage {
            style: STYLE,
            operator: app.operator(),
            contact: app.contact(),
            title,
            what,
            todo,
            operators_hint,
            resources,
        })
    }

    /// The resource at or above a path.
    fn resource_of(&self, path: &str) -> Option<&ResourceRule> {
        let above = |rule: &&ResourceRule| {
            path.strip_prefix(rule.path.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.app
            .resources
            .iter()
            .filter(above)
            .max_by_key(|rule| rule.path.len())
    }
}
