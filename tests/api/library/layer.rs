//! The layer in front of a program's own routes.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, Method, StatusCode};
use axum::routing::{any, get};
use mcp_oauth::entropy;
use mcp_oauth::oauth::names::Secret;
use mcp_oauth::seal::passing_keys;
use mcp_oauth::time::{Clock as _, SystemClock};
use mcp_oauth::{Builder, DemoProvider, Identity, McpOauth, Resource, UnknownResource};
use tokio::net::TcpListener;
use tower::ServiceExt as _;

use super::visitor::Visitor;

/// A program that embeds the server.
struct Program {
    url: String,
    oauth: McpOauth,
    app: Router,
    keys: Secret,
    provider: DemoProvider,
}

impl Program {
    /// A program with the resources that `edit` adds and the routes that `routes` makes.
    async fn start(
        edit: impl FnOnce(Builder) -> Builder,
        routes: impl FnOnce(&McpOauth) -> Router,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let provider = DemoProvider::start(&url).await.unwrap();
        let keys = passing_keys(SystemClock::start().now(), &mut entropy::rng());
        let builder = builder(&url, &provider, &keys);
        let oauth = edit(builder).build().await.unwrap();
        let app = routes(&oauth).merge(oauth.router());
        let service = app
            .clone()
            .into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self {
            url,
            oauth,
            app,
            keys,
            provider,
        }
    }

    /// Another server with the same keys, provider and name.
    fn builder(&self) -> Builder {
        builder(&self.url, &self.provider, &self.keys)
    }

    /// One that greets at `/hello`.
    async fn greeting(edit: impl FnOnce(Resource) -> Resource) -> Self {
        let hello = Resource::new("/hello").scopes(["greet", "other"]);
        let add = |builder: Builder| builder.resource(edit(hello));
        Self::start(add, |oauth| protect(oauth, "/hello")).await
    }

    async fn visitor(&self, path: &str) -> Visitor {
        Visitor::register(&format!("{}{path}", self.url)).await
    }
}

fn builder(url: &str, provider: &DemoProvider, keys: &Secret) -> Builder {
    let builder = McpOauth::builder().public_url(url).demo(provider);
    builder.keys(keys.expose())
}

/// A route that shows the request as its handler sees it.
fn protect(oauth: &McpOauth, path: &str) -> Router {
    Router::new()
        .route(path, any(seen))
        .layer(oauth.layer(path).unwrap())
}

async fn seen(person: Option<Identity>, request: Request) -> String {
    let mut lines = match person {
        None => vec!["nobody".to_owned()],
        Some(person) => vec![
            person.subject().to_owned(),
            format!("{:?}", person.email()),
            format!("{:?}", person.preferred_username()),
            format!("{:?}", person.groups()),
            person.scopes().collect::<Vec<_>>().join(" "),
            format!("{}", person.client().len() > 20),
            format!("{:?}", person.upstream_token()),
        ],
    };
    lines.push(request.uri().to_string());
    let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    lines.push(names.join(" "));
    lines.join("\n")
}

// S1, S4, S5
#[tokio::test]
async fn embedded_route_knows_the_person_and_sees_no_credential() {
    let program = Program::greeting(|it| it.required_scopes(["greet"])).await;
    let visitor = program.visitor("/hello").await;
    visitor
        .get("/hello")
        .await
        .assert_challenge(StatusCode::UNAUTHORIZED, None);
    let tokens = visitor.sign_in("alice", "greet").await;
    let forged = [
        ("cookie", "session=of-the-program"),
        ("x-forwarded-user", "demo:bob"),
        ("x_forwarded_user", "demo:bob"),
        ("x-forwarded-access-token", "t"),
        ("x-forwarded-for", "192.0.2.1"),
        ("remote-user", "bob"),
        ("proxy-authorization", "Basic YTpi"),
        ("x-own", "passes"),
    ];
    let url = visitor.at("/hello?a=1&access_token=t");
    let answer = visitor
        .call(Method::GET, &url, &tokens.access, &forged, "")
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(
        answer.body,
        "demo:alice\n\
         Some(\"alice@example.com\")\n\
         Some(\"alice\")\n\
         []\n\
         greet\n\
         true\n\
         None\n\
         /hello?a=1\n\
         accept accept-encoding host traceparent user-agent x-own x-request-id"
    );
    // What is for one person is not kept for others.
    assert_eq!(answer.header("cache-control"), "no-store");
}

// S3
#[tokio::test]
async fn token_of_another_deployment_is_refused_by_the_layer() {
    let (here, elsewhere) = (
        Program::greeting(|it| it).await,
        Program::greeting(|it| it).await,
    );
    let tokens = elsewhere.visitor("/hello").await;
    let tokens = tokens.sign_in("alice", "greet").await;
    let answer = here.visitor("/hello").await.ask(&tokens.access).await;
    answer.assert_challenge(StatusCode::UNAUTHORIZED, Some("invalid_token"));
}

// P9
#[tokio::test]
async fn token_for_another_resource_is_refused_by_the_layer() {
    let two = |builder: Builder| {
        let [one, other] = ["/one", "/other"].map(Resource::new);
        builder.resource(one).resource(other)
    };
    let routes = |oauth: &McpOauth| protect(oauth, "/one").merge(protect(oauth, "/other"));
    let program = Program::start(two, routes).await;
    let (one, other) = (
        program.visitor("/one").await,
        program.visitor("/other").await,
    );
    let tokens = one.sign_in("alice", "mcp").await;
    assert_eq!(one.ask(&tokens.access).await.status, StatusCode::OK);
    let answer = other.ask(&tokens.access).await;
    answer.assert_challenge(StatusCode::UNAUTHORIZED, Some("invalid_token"));
    assert!(
        answer
            .header("www-authenticate")
            .contains("-resource/other")
    );
}

// W5
#[tokio::test]
async fn token_with_too_little_scope_is_refused_by_the_layer() {
    let program = Program::greeting(|it| it).await;
    let visitor = program.visitor("/hello").await;
    let tokens = visitor.sign_in("alice", "other").await;
    assert_eq!(visitor.ask(&tokens.access).await.status, StatusCode::OK);
    // The same resource after somebody made it ask for more.
    let hello = Resource::new("/hello").scopes(["greet", "other"]);
    let stricter = program.builder().resource(hello.required_scopes(["greet"]));
    let app = protect(&stricter.build().await.unwrap(), "/hello");
    let request = Request::get("/hello")
        .header("host", program.url.trim_start_matches("http://"))
        .header("authorization", format!("Bearer {}", tokens.access));
    let answer = app.oneshot(request.body(Body::empty()).unwrap()).await;
    let answer = answer.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains("error=\"insufficient_scope\""));
    assert!(challenge.contains("scope=\"greet\""), "{challenge}");
}

// V2
#[tokio::test]
async fn revoked_grant_is_refused_by_the_layer() {
    let program = Program::greeting(|it| it).await;
    let visitor = program.visitor("/hello").await;
    let (alice, bob) = (
        visitor.sign_in("alice", "greet").await,
        visitor.sign_in("bob", "greet").await,
    );
    assert_eq!(visitor.ask(&alice.access).await.status, StatusCode::OK);
    visitor.revoke(&alice).await;
    let answer = visitor.ask(&alice.access).await;
    answer.assert_challenge(StatusCode::UNAUTHORIZED, Some("invalid_token"));
    assert_eq!(visitor.ask(&bob.access).await.status, StatusCode::OK);
}

#[tokio::test]
async fn handler_that_needs_somebody_makes_clients_sign_in() {
    async fn greet(person: Identity) -> String {
        person.subject().to_owned()
    }
    let routes = |oauth: &McpOauth| {
        let layer = oauth.layer("/hello").unwrap();
        let open = get(async || "anybody");
        Router::new()
            .route("/hello", get(greet))
            .route("/hello/open", open)
            .layer(layer)
    };
    let add = |builder: Builder| builder.resource(Resource::new("/hello").optional());
    let program = Program::start(add, routes).await;
    let visitor = program.visitor("/hello").await;
    assert_eq!(visitor.get("/hello/open").await.body, "anybody");
    let answer = visitor.get("/hello").await;
    answer.assert_challenge(StatusCode::UNAUTHORIZED, None);
    let tokens = visitor.sign_in("bob", "mcp").await;
    assert_eq!(visitor.ask(&tokens.access).await.body, "demo:bob");
}

#[tokio::test]
async fn handler_outside_of_the_layer_knows_nobody() {
    let program = Program::greeting(|it| it).await;
    let bare = Router::new().route("/bare", get(async |_: Identity| "somebody"));
    let request = Request::get("/bare").body(Body::empty()).unwrap();
    let answer = bare.oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let unknown: UnknownResource = program.oauth.layer("/helo").unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "there is no resource at `/helo`; there are: `/hello`"
    );
}

// G2
#[tokio::test]
async fn embedded_route_is_not_reached_under_another_name() {
    let program = Program::greeting(Resource::optional).await;
    let ask = async |host: &str| {
        let request = Request::get("/hello").header("host", host);
        let request = request.body(Body::empty()).unwrap();
        program.app.clone().oneshot(request).await.unwrap().status()
    };
    let own = program.url.trim_start_matches("http://");
    assert_eq!(ask(own).await, StatusCode::OK);
    assert_eq!(ask("evil.example").await, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn everything_else_belongs_to_the_program() {
    let backend = Router::new().fallback(async |request: Request| request.uri().to_string());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, backend).await });
    let add = |builder: Builder| {
        let tools = Resource::new("/tools").backend(format!("http://{address}/mcp"));
        builder
            .resource(Resource::new("/hello"))
            .resource(tools.optional())
    };
    let routes = |oauth: &McpOauth| {
        Router::new()
            .route("/", get(async || "the program's page"))
            .fallback(async || "the program's fallback")
            .merge(protect(oauth, "/hello"))
    };
    let program = Program::start(add, routes).await;
    let visitor = program.visitor("/hello").await;
    for (path, body) in [
        ("/", "the program's page"),
        ("/healthz", "the program's fallback"),
        ("/toolset", "the program's fallback"),
        ("/tools", "/mcp"),
        ("/tools/", "/mcp/"),
        ("/tools/list?a=1", "/mcp/list?a=1"),
    ] {
        assert_eq!(visitor.get(path).await.body, body, "{path}");
    }
    let metadata = visitor
        .get("/.well-known/oauth-protected-resource/hello")
        .await;
    assert_eq!(metadata.status, StatusCode::OK);
}
