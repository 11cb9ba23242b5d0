//! The whole way of one client: from a call without a token to its tools, and once more after a
//! refresh. The server is complete: authorization server, gateway, and a backend on a socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use axum::middleware::map_request;
use base64::Engine as _;
use jsonwebtoken::Algorithm;
use mcp_oauth::config::StaticClient;
use mcp_oauth::gateway::{Gateway, GatewayParts, Patience, Stopping};
use mcp_oauth::oauth::names::Secret;
use mcp_oauth::server;
use mcp_oauth::time::Clock as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::super::documents::Key;
use super::super::support::client::{Browser, Client, Tokens, VERIFIER};
use super::super::support::world::{Answer, PUBLIC_URL, World, encode, form_request};
use super::fixture::{Ask, Fixture, Way};

const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A whole server, with the documents and the configured clients of the fixtures.
pub(crate) struct Site {
    pub(crate) world: World,
    key: Key,
}

impl Site {
    pub(crate) async fn new(fixtures: &[Fixture]) -> Self {
        let backend = backend().await;
        let mut world = World::with(|config| {
            config.resources[0].backend = Some(backend.parse().unwrap());
            for way in fixtures.iter().flat_map(|it| &it.ways) {
                if let Way::Configured { client } = way {
                    config.clients.fixed.push(configured(client));
                }
            }
        });
        let key = Key::of(Algorithm::RS256);
        for way in fixtures.iter().flat_map(|it| &it.ways) {
            if let Way::Document { document } = way {
                let url = document["client_id"].as_str().unwrap();
                world.web.publish(url, document);
                if let Some(keys) = document["jwks_uri"].as_str() {
                    world.web.publish(keys, &json!({"keys": [key.public()]}));
                }
            }
        }
        world.router = whole(&world);
        Self { world, key }
    }

    /// The client as it is after it made itself known.
    pub(crate) async fn client(&self, fixture: &Fixture, way: &Way) -> Client {
        let (client_id, secret) = match way {
            Way::Registers { body, .. } => {
                let client = Client::register_with(&self.world, body).await;
                (client.client_id, client.secret)
            }
            Way::Document { document } => (document["client_id"].as_str().unwrap().into(), None),
            Way::Configured { client } => (
                client["client_id"].as_str().unwrap().to_owned(),
                client["secret"].as_str().map(str::to_owned),
            ),
        };
        assert!(!client_id.is_empty(), "{}", fixture.client);
        Client {
            client_id,
            secret,
            redirect_uri: String::new(),
            browser: Browser::default(),
        }
    }

    /// From nothing to the tools. Returns the headers that the backend got.
    pub(crate) async fn walk(&self, fixture: &Fixture, way: &Way, ask: &Ask) -> Value {
        let name = format!("{} {}", fixture.client, ask.redirect_uri);
        self.discovered(way).await;
        let mut client = self.client(fixture, way).await;
        client.redirect_uri.clone_from(&ask.redirect_uri);
        let code = self.consented(&mut client, ask, &name).await;
        let tokens = Tokens::of(&self.redeemed(&client, ask, &code).await);
        self.called(&tokens, &name).await;
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", tokens.refresh.as_str()),
        ];
        let refreshed = Tokens::of(&self.proving(&client, ask, &form).await);
        assert_ne!(refreshed.refresh, tokens.refresh, "{name}");
        self.called(&refreshed, &name).await
    }

    /// A call without a token leads to everything that a client must know.
    async fn discovered(&self, way: &Way) {
        let challenged = self.call(None).await;
        assert_eq!(challenged.status, 401);
        let challenge = challenged.header("www-authenticate");
        let (_, rest) = challenge.split_once("resource_metadata=\"").unwrap();
        let at = rest.split('"').next().unwrap();
        let resource = self.world.get(at.strip_prefix(PUBLIC_URL).unwrap()).await;
        let resource = resource.json();
        assert_eq!(resource["resource"], "https://mcp.example.com/mcp");
        assert_eq!(resource["authorization_servers"], json!([PUBLIC_URL]));
        let server = self.world.get("/.well-known/oauth-authorization-server");
        let server = server.await.json();
        assert_eq!(server["issuer"], PUBLIC_URL);
        match way {
            Way::Registers { .. } => {
                let endpoint = format!("{PUBLIC_URL}/register");
                assert_eq!(server["registration_endpoint"], endpoint);
            }
            Way::Document { .. } => {
                assert_eq!(server["client_id_metadata_document_supported"], true);
            }
            Way::Configured { .. } => {}
        }
    }

    /// Authorization request, consent page, the provider, and the redirect with the code.
    async fn consented(&self, client: &mut Client, ask: &Ask, name: &str) -> String {
        let mut request = client.request();
        match &ask.scope {
            Some(scope) => request.insert("scope".into(), scope.clone()),
            None => request.remove("scope"),
        };
        let page = client.authorize(&self.world, &request).await;
        assert_eq!(page.status, 200, "{name}: {}", page.body);
        let shown = format!("<b>{}</b>", ask.shown);
        assert!(page.body.contains(&shown), "{name}: {}", page.body);
        let on_this_computer = page.body.contains("just started this yourself");
        assert_eq!(
            on_this_computer,
            !ask.redirect_uri.starts_with("https:"),
            "{name}"
        );
        let allowed = client.browser.decide(&self.world, &page, "allow").await;
        let answer = client.callback(&self.world, &allowed, &person(name)).await;
        assert_eq!(answer.status, 303, "{name}: {}", answer.body);
        let location = answer.header("location").to_owned();
        assert!(location.starts_with(&format!("{}?", ask.redirect_uri)));
        for (parameter, value) in [("state", "the client's state"), ("iss", PUBLIC_URL)] {
            let sent = sent(&location, parameter);
            assert_eq!(sent.as_slice(), [value], "{name}: {parameter}");
        }
        sent(&location, "code").remove(0)
    }

    async fn redeemed(&self, client: &Client, ask: &Ask, code: &str) -> Answer {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", ask.redirect_uri.as_str()),
            ("code_verifier", VERIFIER),
            ("resource", "https://mcp.example.com/mcp"),
        ];
        self.proving(client, ask, &form).await
    }

    /// A request to `/token`, authenticated as the client does it.
    async fn proving(&self, client: &Client, ask: &Ask, form: &[(&str, &str)]) -> Answer {
        let id = client.client_id.as_str();
        let mut form = form.to_vec();
        let secret = client.secret.as_deref().unwrap_or_default();
        let assertion;
        let mut basic = None;
        match ask.authenticates.as_str() {
            "none" => form.push(("client_id", id)),
            "client_secret_post" => form.extend([("client_id", id), ("client_secret", secret)]),
            "client_secret_basic" => basic = Some(format!("{id}:{secret}")),
            "private_key_jwt" => {
                assertion = self.assertion(id, form[1].1);
                form.extend([
                    ("client_id", id),
                    ("client_assertion_type", ASSERTION),
                    ("client_assertion", assertion.as_str()),
                ]);
            }
            other => panic!("{other}"),
        }
        let mut request = form_request("/token", &form);
        if let Some(pair) = basic {
            let pair = base64::engine::general_purpose::STANDARD.encode(pair);
            let value = format!("Basic {pair}").parse().unwrap();
            request.headers_mut().insert("authorization", value);
        }
        self.world.send(request).await
    }

    fn assertion(&self, id: &str, unique: &str) -> String {
        let now = self.world.clock.now().as_secs();
        // What is redeemed is sealed, so its end is unlike any other's.
        let unique = &unique[unique.len() - 24..];
        self.key.sign(&json!({
            "iss": id, "sub": id, "aud": format!("{PUBLIC_URL}/token"),
            "iat": now, "exp": now + 60, "jti": unique,
        }))
    }

    /// A call with a token: what the backend got, none of it the client's.
    async fn called(&self, tokens: &Tokens, name: &str) -> Value {
        let answer = self.call(Some(&tokens.access)).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
        assert!(!answer.body.contains(&tokens.access), "{name}");
        let got = answer.json();
        assert!(got.get("authorization").is_none(), "{name}: {got}");
        assert_eq!(got["mcp-protocol-version"], "2025-11-25", "{name}");
        got
    }

    async fn call(&self, token: Option<&str>) -> Answer {
        let mut request = Request::post("/mcp")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-11-25");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
        let body = Body::from(body.to_string());
        self.world.send(request.body(body).unwrap()).await
    }
}

/// The upstream's code names the person and works once, so each walk has one of its own.
fn person(name: &str) -> String {
    static WALKS: AtomicU64 = AtomicU64::new(0);
    let unique: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("alice.{unique}{}", WALKS.fetch_add(1, Ordering::Relaxed))
}

/// Every value of a query parameter. Not every location is a URL with a host.
fn sent(location: &str, name: &str) -> Vec<String> {
    let (_, query) = location.split_once('?').unwrap();
    url::form_urlencoded::parse(query.as_bytes())
        .filter(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
        .collect()
}

fn configured(client: &Value) -> StaticClient {
    let texts = client["redirect_uris"].as_array().unwrap().iter();
    StaticClient {
        client_id: client["client_id"].as_str().unwrap().to_owned(),
        secret: client["secret"].as_str().map(Secret::new),
        redirect_uris: texts.map(|it| it.as_str().unwrap().to_owned()).collect(),
    }
}

/// Authorization server and gateway as the binary serves them, for requests without a `Host`.
pub(crate) fn whole(world: &World) -> Router {
    let app = &world.app;
    let fingerprint = |(name, upstream): (&_, &Arc<dyn mcp_oauth::upstream::Upstream>)| {
        (Clone::clone(name), upstream.profile().fingerprint)
    };
    let gateway = Gateway::new(GatewayParts {
        config: Arc::clone(&app.config),
        keys: Arc::clone(&app.keys),
        clock: Arc::clone(&app.clock),
        ended: Arc::clone(&app.revocations) as _,
        upstreams: app.upstreams.iter().map(fingerprint).collect(),
        stopping: Stopping::default(),
        patience: Patience::default(),
    });
    let named = |mut request: Request<Body>| async move {
        let host = "mcp.example.com".parse().unwrap();
        request.headers_mut().entry("host").or_insert(host);
        request
    };
    Router::new()
        .fallback_service(server::front(app, gateway.unwrap()))
        .layer(map_request(named))
}

/// A backend that answers with the headers that it got.
async fn backend() -> String {
    async fn echo(headers: HeaderMap) -> axum::Json<Value> {
        let pairs = headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), Value::String(value))
        });
        axum::Json(Value::Object(pairs.collect()))
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(echo);
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/mcp")
}

/// For a test that asks with other headers.
pub(crate) async fn opened(world: &World, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    world.send(request.body(Body::empty()).unwrap()).await
}

/// A query that is encoded.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    encode(pairs)
}
