//! A client and the person's browser: the whole dance in one call, each step on its own for a test
//! that bends it.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::Request;
use mcp_oauth::oauth::names::Secret;
use mcp_oauth::oauth::pkce::CodeChallenge;
use serde_json::{Value, json};

use super::world::{Answer, PUBLIC_URL, World, encode};

/// The verifier that every client here uses.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// Where a native client listens.
pub(crate) const LOOPBACK: &str = "http://127.0.0.1:33418/callback";

/// A browser: cookies and nothing else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Browser {
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser {
    /// Sends a request with the cookies, and keeps those that come back.
    pub(crate) async fn send(&mut self, world: &World, mut request: Request<Body>) -> Answer {
        let line: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !line.is_empty() {
            request
                .headers_mut()
                .insert("cookie", line.join("; ").parse().unwrap());
        }
        let answer = world.send(request).await;
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            let (pair, attributes) = cookie.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    pub(crate) async fn get(&mut self, world: &World, uri: &str) -> Answer {
        self.send(world, Request::get(uri).body(Body::empty()).unwrap())
            .await
    }

    /// Presses a button of a consent page.
    pub(crate) async fn decide(&mut self, world: &World, page: &Answer, decision: &str) -> Answer {
        let form = [("consent", hidden(page).as_str()), ("decision", decision)]
            .map(|(a, b)| (a, b.to_owned()));
        let form: Vec<_> = form.iter().map(|(a, b)| (*a, b.as_str())).collect();
        self.send(world, consent_post(&form)).await
    }
}

/// A consent form as the browser posts it from our own page.
pub(crate) fn consent_post(form: &[(&str, &str)]) -> Request<Body> {
    Request::post("/consent")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("origin", PUBLIC_URL)
        .header("sec-fetch-site", "same-origin")
        .body(Body::from(encode(form)))
        .unwrap()
}

/// The hidden field of a consent page.
pub(crate) fn hidden(page: &Answer) -> String {
    let start = page
        .body
        .find(r#"name="consent" value=""#)
        .unwrap_or_else(|| panic!("{}", page.body));
    page.body[start + 22..]
        .split('"')
        .next()
        .unwrap()
        .to_owned()
}

/// A registered client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) client_id: String,
    pub(crate) secret: Option<String>,
    pub(crate) redirect_uri: String,
    pub(crate) browser: Browser,
}

/// The tokens of a grant.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Tokens {
    pub(crate) fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.body);
        let whole = answer.json();
        let text = |name: &str| whole[name].as_str().unwrap_or_default().to_owned();
        Self {
            access: text("access_token"),
            refresh: text("refresh_token"),
        }
    }
}

impl Client {
    /// Registers a public native client.
    pub(crate) async fn register(world: &World) -> Self {
        Self::register_with(
            world,
            &json!({
                "client_name": "Test client",
                "redirect_uris": [LOOPBACK],
                "token_endpoint_auth_method": "none",
            }),
        )
        .await
    }

    pub(crate) async fn register_with(world: &World, body: &Value) -> Self {
        let answer = world.post_json("/register", body).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let answer = answer.json();
        Self {
            client_id: answer["client_id"].as_str().unwrap().to_owned(),
            secret: answer["client_secret"].as_str().map(str::to_owned),
            redirect_uri: answer["redirect_uris"][0].as_str().unwrap().to_owned(),
            browser: Browser::default(),
        }
    }

    /// The parameters of an authorization request.
    pub(crate) fn request(&self) -> BTreeMap<String, String> {
        let challenge = CodeChallenge::of(&Secret::new(VERIFIER)).into_string();
        [
            ("response_type", "code"),
            ("client_id", &self.client_id),
            ("redirect_uri", &self.redirect_uri),
            ("scope", "mcp"),
            ("state", "the client's state"),
            ("resource", "https://mcp.example.com/mcp"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// Opens the authorization request in the browser.
    pub(crate) async fn authorize(
        &mut self,
        world: &World,
        request: &BTreeMap<String, String>,
    ) -> Answer {
        let pairs: Vec<_> = request
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        self.browser
            .get(world, &format!("/authorize?{}", encode(&pairs)))
            .await
    }

    /// From the request to the upstream: the answer to "Allow".
    pub(crate) async fn allow(&mut self, world: &World) -> Answer {
        let page = self.authorize(world, &self.request()).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let answer = self.browser.decide(world, &page, "allow").await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        answer
    }

    /// The upstream sends the browser back with a code that names the person.
    pub(crate) async fn callback(&mut self, world: &World, allowed: &Answer, code: &str) -> Answer {
        let state = allowed.sent("state").unwrap();
        self.browser
            .get(
                world,
                &format!(
                    "/callback/stub?{}",
                    encode(&[("code", code), ("state", &state)])
                ),
            )
            .await
    }

    /// From the request to our code.
    pub(crate) async fn code(&mut self, world: &World, person: &str) -> String {
        let allowed = self.allow(world).await;
        let answer = self.callback(world, &allowed, person).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        answer.sent("code").unwrap_or_else(|| panic!("{answer:?}"))
    }

    /// The form that redeems a code.
    pub(crate) fn redemption<'a>(&'a self, code: &'a str) -> Vec<(&'a str, &'a str)> {
        vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("client_id", &self.client_id),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", VERIFIER),
        ]
    }

    pub(crate) async fn redeem(&self, world: &World, code: &str) -> Answer {
        world.post_form("/token", &self.redemption(code)).await
    }

    pub(crate) async fn refresh(&self, world: &World, token: &str) -> Answer {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("client_id", &self.client_id),
        ];
        world.post_form("/token", &form).await
    }

    pub(crate) async fn revoke(&self, world: &World, token: &str) -> Answer {
        world
            .post_form(
                "/revoke",
                &[("token", token), ("client_id", &self.client_id)],
            )
            .await
    }

    /// The whole dance.
    pub(crate) async fn login(&mut self, world: &World, person: &str) -> Tokens {
        let code = self.code(world, person).await;
        Tokens::of(&self.redeem(world, &code).await)
    }
}
