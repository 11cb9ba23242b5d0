//! A client with a browser, over real sockets: from the URL of a resource to tokens, with whoever
//! signs in at the demo identity provider.

use std::collections::BTreeMap;

use axum::http::header::{CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, Method, StatusCode};
use mcp_oauth::net::{TrustedClient, TrustedOptions};
use mcp_oauth::oauth::names::Secret;
use mcp_oauth::oauth::pkce::CodeChallenge;
use serde_json::{Value, json};
use url::Url;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const REDIRECT: &str = "http://127.0.0.1:33418/callback";
const FORM: &str = "application/x-www-form-urlencoded";

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    fn location(&self) -> Url {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{self:?}");
        Url::parse(self.header(LOCATION.as_str())).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Insists on our challenge with this error; none is a challenge without one.
    pub(crate) fn assert_challenge(&self, status: StatusCode, error: Option<&str>) {
        assert_eq!(self.status, status, "{self:?}");
        let challenge = self.header("www-authenticate");
        let metadata = "/.well-known/oauth-protected-resource/";
        assert!(challenge.starts_with("Bearer "), "{challenge}");
        assert!(challenge.contains(metadata), "{challenge}");
        match error {
            Some(error) => assert!(challenge.contains(&format!("error=\"{error}\""))),
            None => assert!(!challenge.contains("error="), "{challenge}"),
        }
    }
}

/// The tokens of a grant.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

/// A registered client at one resource.
#[derive(Debug)]
pub(crate) struct Visitor {
    http: TrustedClient,
    resource: Url,
    client_id: String,
}

impl Visitor {
    /// Registers a client that means to use the resource.
    pub(crate) async fn register(resource: &str) -> Self {
        let mut visitor = Self {
            http: TrustedClient::new(TrustedOptions::default()).unwrap(),
            resource: Url::parse(resource).unwrap(),
            client_id: String::new(),
        };
        let metadata = json!({
            "client_name": "Visitor",
            "redirect_uris": [REDIRECT],
            "token_endpoint_auth_method": "none",
        });
        let url = visitor.at("/register");
        let kind = [(CONTENT_TYPE.as_str(), "application/json")];
        let answer = visitor
            .send(Method::POST, &url, &kind, metadata.to_string())
            .await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        visitor.client_id = answer.json()["client_id"].as_str().unwrap().to_owned();
        visitor
    }

    /// The whole way from the authorization request to tokens for a scope.
    pub(crate) async fn sign_in(&self, person: &str, scope: &str) -> Tokens {
        let mut cookies = BTreeMap::new();
        let mut authorize = self.at("/authorize");
        let challenge = CodeChallenge::of(&Secret::new(VERIFIER)).into_string();
        authorize.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", &self.client_id),
            ("redirect_uri", REDIRECT),
            ("state", "the state"),
            ("scope", scope),
            ("resource", self.resource.as_str()),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let page = self.browse(&authorize, &mut cookies, None).await;
        assert_eq!(page.status, StatusCode::OK, "{page:?}");
        let hidden = page.body.split(r#"name="consent" value=""#).nth(1).unwrap();
        let hidden = hidden.split('"').next().unwrap();
        let decision = encoded(&[("consent", hidden), ("decision", "allow")]);
        let consent = self.at("/consent");
        let allowed = self.browse(&consent, &mut cookies, Some(decision)).await;
        // The provider's page has one button for each person.
        let provider = allowed.location();
        let person = encoded(&[("user", person)]);
        let mut elsewhere = BTreeMap::new();
        let signed_in = self.browse(&provider, &mut elsewhere, Some(person));
        let callback = signed_in.await.location();
        let sent = self.browse(&callback, &mut cookies, None).await.location();
        let code = sent.query_pairs().find(|(name, _)| name == "code");
        self.redeem(&code.unwrap().1).await
    }

    async fn redeem(&self, code: &str) -> Tokens {
        let answer = self
            .post(
                "/token",
                &[
                    ("grant_type", "authorization_code"),
                    ("code", code),
                    ("client_id", &self.client_id),
                    ("redirect_uri", REDIRECT),
                    ("code_verifier", VERIFIER),
                ],
            )
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let answer = answer.json();
        Tokens {
            access: answer["access_token"].as_str().unwrap().to_owned(),
            refresh: answer["refresh_token"].as_str().unwrap().to_owned(),
        }
    }

    /// Revokes the grant.
    pub(crate) async fn revoke(&self, tokens: &Tokens) {
        let form = [
            ("token", tokens.refresh.as_str()),
            ("client_id", &self.client_id),
        ];
        assert_eq!(self.post("/revoke", &form).await.status, StatusCode::OK);
    }

    /// Asks the resource itself with a token.
    pub(crate) async fn ask(&self, token: &str) -> Answer {
        let url = self.resource.clone();
        self.call(Method::GET, &url, token, &[], "").await
    }

    /// Sends a request with a token.
    pub(crate) async fn call(
        &self,
        method: Method,
        url: &Url,
        token: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend(headers);
        self.send(method, url, &all, body.to_owned()).await
    }

    /// Sends a request without a token.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        let url = self.at(path);
        self.send(Method::GET, &url, &[], String::new()).await
    }

    /// A URL on the same origin.
    pub(crate) fn at(&self, path: &str) -> Url {
        self.resource.join(path).unwrap()
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let kind = [(CONTENT_TYPE.as_str(), FORM)];
        let url = self.at(path);
        self.send(Method::POST, &url, &kind, encoded(form)).await
    }

    /// A browser's request, with a form or without.
    async fn browse(
        &self,
        url: &Url,
        cookies: &mut BTreeMap<String, String>,
        form: Option<String>,
    ) -> Answer {
        let pairs = cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let line = pairs.collect::<Vec<_>>().join("; ");
        let origin = url.origin().ascii_serialization();
        let mut headers = vec![(COOKIE.as_str(), line.as_str())];
        let method = if form.is_some() {
            headers.push((CONTENT_TYPE.as_str(), FORM));
            headers.push((ORIGIN.as_str(), &origin));
            Method::POST
        } else {
            Method::GET
        };
        let answer = self
            .send(method, url, &headers, form.unwrap_or_default())
            .await;
        for cookie in answer.headers.get_all(SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            cookies.insert(name.to_owned(), value.to_owned());
        }
        answer
    }

    async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: &[(&str, &str)],
        body: String,
    ) -> Answer {
        let mut request = self.http.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.http.send(request.body(body)).await.unwrap();
        Answer {
            status: answer.status,
            headers: answer.headers,
            body: String::from_utf8(answer.body.to_vec()).unwrap(),
        }
    }
}

fn encoded(form: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish()
}
