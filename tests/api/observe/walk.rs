//! Every flow once, right and wrong, with everything noted that nobody else may learn.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::Request;
use mcp_oauth::oauth::names::Secret;
use mcp_oauth::oauth::pkce::CodeChallenge;
use mcp_oauth::time::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::super::support::client::{LOOPBACK, hidden};
use super::super::support::upstream::{CLIENT_SECRET, MARK, TOKEN};
use super::super::support::world::{Answer, encode, form_request};
use super::deployment::{BACKEND_KEY, BACKEND_SESSION, Deployment, STATIC_REDIRECT, STATIC_SECRET};
use super::search::Secrets;

const VERIFIER: &str = "walked-verifier-of-more-than-forty-three-characters-0";
const STATE: &str = "the-clients-own-state-value";
const BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Who walks.
#[derive(Clone)]
struct Client {
    id: String,
    redirect_uri: String,
    secret: Option<String>,
}

/// A walk through a deployment.
pub(super) struct Walk<'d> {
    at: &'d Deployment,
    cookies: BTreeMap<String, String>,
    pub(super) secrets: Secrets,
    /// The request ids of answers, with what they were.
    pub(super) named: Vec<(&'static str, Answer)>,
}

impl<'d> Walk<'d> {
    pub(super) fn new(at: &'d Deployment) -> Self {
        let mut secrets = Secrets::default();
        for (what, secret) in [
            ("verifier", VERIFIER),
            ("state", STATE),
            ("secret at the provider", CLIENT_SECRET),
            ("code or token of the provider", MARK),
            ("key for the backend", BACKEND_KEY),
            ("session of the backend", BACKEND_SESSION),
            ("secret of the static client", STATIC_SECRET),
            ("address of a person", "alice@example.com"),
            ("address of a person", "mallory@example.com"),
        ] {
            secrets.add(what, secret);
        }
        Self {
            at,
            cookies: BTreeMap::new(),
            secrets,
            named: Vec::new(),
        }
    }

    /// All of it.
    pub(super) async fn all(&mut self) {
        let public = self.register("none").await;
        self.people(&public).await;
        self.tokens(&public).await;
        self.confidential().await;
        self.documented().await;
        self.without_grace().await;
        self.gateway(&public).await;
        self.ended_by_the_provider(&public).await;
        self.faults().await;
        self.too_often().await;
        self.keys().await;
        self.gather();
    }

    async fn register(&mut self, method: &str) -> Client {
        let body = json!({
            "client_name": "Walker", "redirect_uris": [LOOPBACK],
            "token_endpoint_auth_method": method,
        });
        let answer = self.at.send(post_json("/register", &body)).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let answer = answer.json();
        let secret = answer["client_secret"].as_str().map(str::to_owned);
        if let Some(secret) = &secret {
            self.secrets.add("secret of a client", secret);
        }
        Client {
            id: answer["client_id"].as_str().unwrap().to_owned(),
            redirect_uri: LOOPBACK.to_owned(),
            secret,
        }
    }

    /// Sends a request as the browser.
    async fn browse(&mut self, mut request: Request<Body>) -> Answer {
        let cookies = self.cookies.iter();
        let line: Vec<_> = cookies.map(|(name, it)| format!("{name}={it}")).collect();
        if !line.is_empty() {
            let line = line.join("; ").parse().unwrap();
            request.headers_mut().insert("cookie", line);
        }
        let answer = self.at.send(request).await;
        for cookie in answer.headers.get_all("set-cookie") {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.secrets.add("cookie", value);
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    async fn open(&mut self, path: &str) -> Answer {
        self.browse(get(path)).await
    }

    async fn consent_page(&mut self, client: &Client, resource: &str) -> Answer {
        let challenge = CodeChallenge::of(&Secret::new(VERIFIER)).into_string();
        let resource = format!("{}{resource}", self.at.origin());
        let query = encode(&[
            ("response_type", "code"),
            ("client_id", &client.id),
            ("redirect_uri", &client.redirect_uri),
            ("state", STATE),
            ("resource", &resource),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let page = self.open(&format!("/authorize?{query}")).await;
        assert_eq!(page.status, 200, "{}", page.body);
        self.secrets.add("consent form", &hidden(&page));
        page
    }

    async fn decide(&mut self, page: &Answer, decision: &str, site: &str) -> Answer {
        let form = [("consent", hidden(page)), ("decision", decision.to_owned())];
        let form = form.each_ref().map(|(name, value)| (*name, value.as_str()));
        let mut request = form_request("/consent", &form);
        let site = site.parse().unwrap();
        request.headers_mut().insert("sec-fetch-site", site);
        self.browse(request).await
    }

    /// From the request to our code.
    async fn code(&mut self, client: &Client, resource: &str) -> String {
        let page = self.consent_page(client, resource).await;
        let allowed = self.decide(&page, "allow", "same-origin").await;
        assert_eq!(allowed.status, 303, "{}", allowed.body);
        let state = allowed.sent("state").unwrap();
        self.secrets.add("state toward the provider", &state);
        let back = self.at.upstream.visit(&allowed.location()).await;
        let back: Vec<_> = back.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let query = encode(&back);
        let answer = self.open(&format!("/callback/idp?{query}")).await;
        let code = answer.sent("code").unwrap_or_else(|| panic!("{answer:?}"));
        self.secrets.add("code", &code);
        code
    }

    async fn token(&mut self, client: &Client, form: &[(&str, &str)]) -> Answer {
        let mut form = form.to_vec();
        form.push(("client_id", &client.id));
        if let Some(secret) = &client.secret {
            form.push(("client_secret", secret));
        }
        let answer = self.at.send(form_request("/token", &form)).await;
        if answer.status == 200 {
            let tokens = answer.json();
            for name in ["access_token", "refresh_token"] {
                self.secrets.add(name, tokens[name].as_str().unwrap());
            }
        }
        answer
    }

    async fn redeem(&mut self, client: &Client, code: &str, more: &[(&str, &str)]) -> Answer {
        let redirect_uri = client.redirect_uri.clone();
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri.as_str()),
        ];
        form.extend_from_slice(more);
        if !more.iter().any(|(name, _)| *name == "code_verifier") {
            form.push(("code_verifier", VERIFIER));
        }
        self.token(client, &form).await
    }

    async fn refresh(&mut self, client: &Client, token: &str) -> Answer {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.token(client, &form).await
    }

    async fn login(&mut self, client: &Client, resource: &str) -> Value {
        let code = self.code(client, resource).await;
        let answer = self.redeem(client, &code, &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    /// What people do, and what others try to do in their name.
    async fn people(&mut self, client: &Client) {
        let page = self.consent_page(client, "/mcp").await;
        let denied = self.decide(&page, "deny", "same-origin").await;
        assert_eq!(denied.sent("error").as_deref(), Some("access_denied"));
        let page = self.consent_page(client, "/mcp").await;
        let foreign = self.decide(&page, "allow", "cross-site").await;
        assert_eq!(foreign.status, 403);
        self.named.push(("page", foreign));
        let query = encode(&[
            ("code", "a-code-nobody-gave"),
            ("state", "a-state-nobody-gave"),
        ]);
        self.secrets.add("made-up code", "a-code-nobody-gave");
        let foreign = self.open(&format!("/callback/idp?{query}")).await;
        assert_eq!(foreign.status, 400);
        let query = encode(&[("client_id", "nobody"), ("state", STATE)]);
        let unknown = self.open(&format!("/authorize?{query}")).await;
        assert_eq!(unknown.status, 400);
        self.at.upstream.sign_in_as("mallory");
        let code = self.code(client, "/mcp").await;
        let refused = self.redeem(client, &code, &[]).await;
        assert_eq!(refused.error(), "invalid_grant");
        self.at.upstream.sign_in_as("alice");
    }

    /// A public client's tokens, to their end by a code that comes twice.
    async fn tokens(&mut self, client: &Client) {
        let code = self.code(client, "/mcp").await;
        let wrong = [(
            "code_verifier",
            "wrong-verifier-of-more-than-forty-three-chars",
        )];
        self.secrets.add("wrong verifier", wrong[0].1);
        let refused = self.redeem(client, &code, &wrong).await;
        assert_eq!(refused.error(), "invalid_grant");
        self.named.push(("refused", refused));
        let answer = self.redeem(client, &code, &[]).await;
        let first = answer.json()["refresh_token"].as_str().unwrap().to_owned();
        for _ in 0..2 {
            assert_eq!(self.refresh(client, &first).await.status, 200);
        }
        let replayed = self.redeem(client, &code, &[]).await;
        assert_eq!(replayed.error(), "invalid_grant");
        let again = self.login(client, "/mcp").await;
        for name in ["access_token", "refresh_token"] {
            let form = [
                ("token", again[name].as_str().unwrap()),
                ("client_id", client.id.as_str()),
            ];
            let answer = self.at.send(form_request("/revoke", &form)).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
        let odd = [
            ("grant_type", "password"),
            ("password", "a-persons-password"),
        ];
        self.secrets.add("password", "a-persons-password");
        assert_eq!(
            self.token(client, &odd).await.error(),
            "unsupported_grant_type"
        );
    }

    /// A client with a secret, in the form and in the header, right and wrong.
    async fn confidential(&mut self) {
        let client = self.register("client_secret_post").await;
        self.login(&client, "/mcp").await;
        let wrong = Client {
            secret: Some("a-wrong-secret-of-a-client".to_owned()),
            ..client.clone()
        };
        self.secrets
            .add("wrong secret", "a-wrong-secret-of-a-client");
        let code = self.code(&client, "/mcp").await;
        let refused = self.redeem(&wrong, &code, &[]).await;
        assert_eq!(refused.error(), "invalid_client");
    }

    /// A client with a document and keys.
    async fn documented(&mut self) {
        let client = Client {
            id: self.at.document.clone(),
            redirect_uri: LOOPBACK.to_owned(),
            secret: None,
        };
        let now = SystemClock::start().now().as_secs();
        let claims = json!({
            "iss": client.id, "sub": client.id, "aud": self.at.origin(),
            "iat": now, "exp": now + 200, "jti": "walked-once",
        });
        let assertion = self.at.key.sign(&claims);
        self.secrets.add("assertion", &assertion);
        let code = self.code(&client, "/mcp").await;
        let proof = [
            ("client_assertion_type", BEARER),
            ("client_assertion", assertion.as_str()),
        ];
        let answer = self.redeem(&client, &code, &proof).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// The operator's own client, whose refreshes have no grace: a token that comes again is reuse.
    async fn without_grace(&mut self) {
        let client = Client {
            id: "agent".to_owned(),
            redirect_uri: STATIC_REDIRECT.to_owned(),
            secret: Some(STATIC_SECRET.to_owned()),
        };
        let tokens = self.login(&client, "/mcp").await;
        let first = tokens["refresh_token"].as_str().unwrap().to_owned();
        assert_eq!(self.refresh(&client, &first).await.status, 200);
        let reused = self.refresh(&client, &first).await;
        assert_eq!(reused.error(), "invalid_grant");
    }

    /// Calls with each kind of forwarding, and calls that are refused.
    async fn gateway(&mut self, client: &Client) {
        for resource in ["/mcp", "/token-of-upstream", "/as-upstream"] {
            let tokens = self.login(client, resource).await;
            let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
            let call = with(post_json(resource, &json!({})), "authorization", &bearer);
            let answer = self.at.send(call).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            let session = answer.header("mcp-session-id").to_owned();
            self.secrets.add("session", &session);
            let call = with(post_json(resource, &json!({})), "authorization", &bearer);
            let call = with(call, "mcp-session-id", &session);
            assert_eq!(self.at.send(call).await.status, 200);
            self.named.push(("call", answer));
        }
        let query = "a-secret-in-a-query";
        self.secrets.add("query", query);
        self.secrets
            .add("bad token", "a-bad-token-that-nobody-made");
        for authorization in [
            "",
            "Bearer a-bad-token-that-nobody-made",
            "Basic a-bad-token-that-nobody-made",
        ] {
            let call = post_json(&format!("/mcp?access_token={query}"), &json!({}));
            let call = with(call, "authorization", authorization);
            let answer = self.at.send(call).await;
            assert_eq!(answer.status, 401);
        }
        let elsewhere = with(get("/mcp"), "host", "evil.example");
        assert_eq!(self.at.send(elsewhere).await.status, 421);
        for path in ["/", "/healthz", "/.well-known/oauth-authorization-server"] {
            assert_eq!(self.at.send(get(path)).await.status, 200);
        }
    }

    async fn ended_by_the_provider(&mut self, client: &Client) {
        let tokens = self.login(client, "/mcp").await;
        self.at.upstream.end_sessions();
        let token = tokens["refresh_token"].as_str().unwrap();
        let ended = self.refresh(client, token).await;
        assert_eq!(ended.error(), "invalid_grant");
    }

    /// What no client would send.
    async fn faults(&mut self) {
        for (path, body) in [
            ("/token", "grant_type=%ff&code=a-broken-code-of-someone"),
            ("/token", "client_secret=a-lonely-secret-of-someone"),
            (
                "/register",
                "{\"client_secret\":\"a-lonely-secret-of-someone\"",
            ),
        ] {
            let request = Request::post(path)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Body::from(body))
                .unwrap();
            assert!(self.at.send(request).await.status.is_client_error());
        }
        self.secrets.add("broken code", "a-broken-code-of-someone");
        self.secrets
            .add("lonely secret", "a-lonely-secret-of-someone");
    }

    async fn too_often(&mut self) {
        for _ in 0..10 {
            self.at.send(post_json("/register", &json!({}))).await;
        }
        let answer = self.at.send(post_json("/register", &json!({}))).await;
        assert_eq!(answer.status, 429);
    }

    /// New keys, keys that are no good, and a changed configuration, while it runs.
    async fn keys(&mut self) {
        let rotated = super::deployment::program(&self.at.home)
            .args(["keys", "rotate"])
            .output()
            .await
            .unwrap();
        assert!(rotated.status.success(), "{rotated:?}");
        self.at.signal("HUP").await;
        self.at.says("the root keys changed").await;
        let broken = self.at.path("keys/broken.json");
        let text = "{\"kty\":\"oct\",\"k\":\"a-key-that-is-much-too-short\"}";
        self.secrets
            .add("broken key", "a-key-that-is-much-too-short");
        super::deployment::write_private(&broken, text);
        self.at.signal("HUP").await;
        self.at.says("the changed root keys cannot be used").await;
        std::fs::remove_file(&broken).unwrap();
        let file = self.at.path("mcp-oauth.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let text = format!("{text}[revocation]\nnot_before = \"2020-01-01T00:00:00Z\"\n");
        super::deployment::write_private(&file, &text);
        self.at.says("the configuration changed").await;
    }

    /// What the others have noted.
    fn gather(&mut self) {
        for request in self.at.upstream.requests(TOKEN) {
            if let Some(basic) = request.header("authorization") {
                self.secrets.add("credentials at the provider", basic);
            }
            if let Some(verifier) = request.form("code_verifier") {
                self.secrets.add("verifier toward the provider", &verifier);
            }
        }
        let seen = self.at.seen.lock().unwrap().clone();
        assert!(seen.iter().any(|it| it.starts_with("Bearer ")), "{seen:?}");
        for value in seen {
            assert!(value.contains(MARK), "{value}");
        }
        for file in std::fs::read_dir(self.at.path("keys")).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let Ok(jwk) = serde_json::from_str::<Value>(&text) else {
                continue;
            };
            self.secrets.add("root key", jwk["k"].as_str().unwrap());
        }
    }
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn post_json(path: &str, body: &Value) -> Request<Body> {
    Request::post(path)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    if !value.is_empty() {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request
}
