//! A provider in this process, on a real loopback port: OpenID Connect and plain OAuth 2.0. It signs
//! in whoever it is told to, without a page, and it can be told to misbehave.
//!
//! Codes work once and are bound to their PKCE challenge and callback; refresh tokens rotate, and a
//! used code or refresh token ends what was given for it.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http_body_util::BodyExt as _;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use mcp_oauth::time::Clock;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

pub(crate) const DISCOVERY: &str = "/.well-known/openid-configuration";
pub(crate) const KEYS: &str = "/keys";
pub(crate) const AUTHORIZE: &str = "/authorize";
pub(crate) const TOKEN: &str = "/token";
pub(crate) const USERINFO: &str = "/userinfo";
pub(crate) const EMAILS: &str = "/emails";
pub(crate) const REVOKE: &str = "/revoke";

/// Our client at the provider.
pub(crate) const CLIENT_ID: &str = "us";
pub(crate) const CLIENT_SECRET: &str = "upstream-secret";

/// At the end of every code and token that the provider makes, so that a test can look for all.
pub(crate) const MARK: &str = "of-the-provider";

/// How an endpoint answers instead of as it should.
#[derive(Clone, Debug)]
pub(crate) enum Misbehaviour {
    /// A whole answer.
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// The connection ends without an answer.
    Reset,
    /// The connection ends within the answer.
    Truncated,
    /// No answer at all.
    Silence,
    /// A body without end.
    Endless,
}

impl Misbehaviour {
    /// An answer without a body worth reading.
    pub(crate) fn status(status: u16) -> Self {
        Self::says(status, "text/plain", "no")
    }

    /// An answer with a body.
    pub(crate) fn says(status: u16, content_type: &str, body: impl Into<String>) -> Self {
        Self::Answer {
            status,
            headers: vec![("content-type", content_type.to_owned())],
            body: body.into(),
        }
    }

    /// An answer in JSON.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::says(status, "application/json", body.to_string())
    }

    /// The same with a further header.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Recorded {
    /// A field of a form body.
    pub(crate) fn form(&self, name: &str) -> Option<String> {
        pairs(&self.body).get(name).cloned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A key that signs ID tokens.
#[derive(Clone)]
pub(crate) struct SigningKey {
    pub(crate) kid: String,
    pub(crate) algorithm: Algorithm,
    private: EncodingKey,
}

impl SigningKey {
    /// The key of the test tree for an algorithm.
    pub(crate) fn fixed(kid: &str, algorithm: Algorithm) -> Self {
        let private = match algorithm {
            Algorithm::ES256 => EncodingKey::from_ec_der(include_bytes!("../../keys/es256.der")),
            Algorithm::EdDSA => EncodingKey::from_ed_der(include_bytes!("../../keys/eddsa.der")),
            _ => EncodingKey::from_rsa_der(include_bytes!("../../keys/rs256.der")),
        };
        Self {
            kid: kid.to_owned(),
            algorithm,
            private,
        }
    }

    /// A new key.
    pub(crate) fn fresh(kid: &str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Self {
            kid: kid.to_owned(),
            algorithm: Algorithm::ES256,
            private: EncodingKey::from_ec_der(&pair.serialize_der()),
        }
    }

    /// Its public half.
    pub(crate) fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.kid.clone());
        serde_json::to_value(jwk).unwrap()
    }

    /// Signs claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.private).unwrap()
    }

    /// Signs any header and payload.
    pub(crate) fn sign_raw(&self, header: &Value, payload: &str) -> String {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", encode(&header.to_string()), encode(payload));
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &self.private, self.algorithm);
        format!("{signed}.{}", signature.unwrap())
    }
}

type Edit = Arc<dyn Fn(&mut Map<String, Value>) + Send + Sync>;

/// What was given for one sign-in.
#[derive(Clone)]
struct Given {
    person: String,
    nonce: Option<String>,
    challenge: Option<String>,
    redirect_uri: String,
    scope: String,
}

#[derive(Default)]
struct State {
    person: String,
    misbehaving: HashMap<String, Vec<Misbehaviour>>,
    requests: Vec<Recorded>,
    codes: HashMap<String, Given>,
    used: HashSet<String>,
    access: HashMap<String, Given>,
    refresh: HashMap<String, Given>,
    keys: Vec<SigningKey>,
    claims: Option<Edit>,
    tokens: Option<Edit>,
    discovery: Option<Edit>,
    users: HashMap<String, Value>,
    answers: HashMap<String, Value>,
}

struct Shared {
    origin: String,
    clock: Arc<dyn Clock>,
    counter: AtomicU64,
    state: Mutex<State>,
}

/// The provider.
pub(crate) struct FakeUpstream {
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for FakeUpstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FakeUpstream {
    /// Starts a provider that goes by a clock.
    pub(crate) async fn start_at(clock: Arc<dyn Clock>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let state = State {
            person: "alice".to_owned(),
            keys: vec![SigningKey::fixed("key-1", Algorithm::ES256)],
            ..State::default()
        };
        let shared = Arc::new(Shared {
            origin,
            clock,
            counter: AtomicU64::new(0),
            state: Mutex::new(state),
        });
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self { shared, server }
    }

    /// The issuer, which is also the origin of every endpoint.
    pub(crate) fn issuer(&self) -> String {
        self.shared.origin.clone()
    }

    /// The URL of an endpoint.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.shared.origin)
    }

    fn edit<R>(&self, edit: impl FnOnce(&mut State) -> R) -> R {
        edit(&mut self.shared.state.lock().unwrap())
    }

    /// Who signs in from now on.
    pub(crate) fn sign_in_as(&self, person: &str) {
        self.edit(|state| person.clone_into(&mut state.person));
    }

    /// What userinfo says about a person, in place of the usual claims.
    pub(crate) fn describe(&self, person: &str, userinfo: Value) {
        self.edit(|state| state.users.insert(person.to_owned(), userinfo));
    }

    /// What a path of a provider's own making answers, to whoever has a live access token.
    pub(crate) fn publish(&self, path: &str, answer: Value) {
        self.edit(|state| state.answers.insert(path.to_owned(), answer));
    }

    /// Answers a path like this until told otherwise.
    pub(crate) fn misbehave(&self, path: &str, how: Misbehaviour) {
        self.edit(|state| state.misbehaving.insert(path.to_owned(), vec![how]));
    }

    /// Answers a path like this once, and then as it should.
    pub(crate) fn misbehave_once(&self, path: &str, how: Misbehaviour) {
        // An empty list after the first use means: as it should.
        self.edit(|state| state.misbehaving.insert(format!("{path}#once"), vec![how]));
    }

    /// Answers everything as it should.
    pub(crate) fn behave(&self) {
        self.edit(|state| state.misbehaving.clear());
    }

    /// Changes the claims of every ID token.
    pub(crate) fn edit_claims(
        &self,
        edit: impl Fn(&mut Map<String, Value>) + Send + Sync + 'static,
    ) {
        self.edit(|state| state.claims = Some(Arc::new(edit)));
    }

    /// Changes every answer of the token endpoint that holds tokens.
    pub(crate) fn edit_tokens(
        &self,
        edit: impl Fn(&mut Map<String, Value>) + Send + Sync + 'static,
    ) {
        self.edit(|state| state.tokens = Some(Arc::new(edit)));
    }

    /// Changes the discovery document.
    pub(crate) fn edit_discovery(
        &self,
        edit: impl Fn(&mut Map<String, Value>) + Send + Sync + 'static,
    ) {
        self.edit(|state| state.discovery = Some(Arc::new(edit)));
    }

    /// Signs with another key from now on; the old one is not published any more.
    pub(crate) fn rotate_keys(&self, key: SigningKey) {
        self.edit(|state| state.keys = vec![key]);
    }

    /// Ends every access and refresh token.
    pub(crate) fn end_sessions(&self) {
        self.edit(|state| {
            state.access.clear();
            state.refresh.clear();
        });
    }

    /// Whether a token still works.
    pub(crate) fn knows(&self, token: &str) -> bool {
        self.edit(|state| state.access.contains_key(token) || state.refresh.contains_key(token))
    }

    /// How often a path was asked.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.requests(path).len()
    }

    /// How often each path was asked.
    pub(crate) fn counts(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        self.edit(|state| {
            for request in &state.requests {
                *counts.entry(request.path.clone()).or_default() += 1;
            }
        });
        counts
    }

    /// Every request to a path.
    pub(crate) fn requests(&self, path: &str) -> Vec<Recorded> {
        self.edit(|state| {
            let of_path = |it: &&Recorded| it.path == path;
            state.requests.iter().filter(of_path).cloned().collect()
        })
    }

    /// The last request to a path.
    pub(crate) fn last(&self, path: &str) -> Recorded {
        self.requests(path)
            .pop()
            .unwrap_or_else(|| panic!("nobody asked {path}"))
    }

    /// Goes through the authorization endpoint as a browser does, and returns the callback's query.
    pub(crate) async fn visit(&self, authorization_url: &url::Url) -> HashMap<String, String> {
        let request = Request::get(authorization_url.as_str())
            .body(Body::empty())
            .unwrap();
        let answer = self.shared.answer(request).await;
        let location = answer.headers()["location"].to_str().unwrap();
        pairs(url::Url::parse(location).unwrap().query().unwrap())
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let shared = Arc::clone(&shared);
                async move { shared.respond(request).await }
            });
            // A connection that is broken off on purpose ends here.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl Shared {
    /// Answers, or misbehaves.
    async fn respond<B>(&self, request: Request<B>) -> Result<Response<Body>, std::io::Error>
    where
        B: hyper::body::Body<Data = bytes::Bytes> + Send,
        B::Error: std::fmt::Debug,
    {
        let path = request.uri().path().to_owned();
        let how = {
            let mut state = self.state.lock().unwrap();
            let once = state.misbehaving.remove(&format!("{path}#once"));
            once.or_else(|| state.misbehaving.get(&path).cloned())
        };
        let Some(how) = how.and_then(|mut list| list.pop()) else {
            return Ok(self.answer(request).await);
        };
        self.record(request).await;
        let broken = || std::io::Error::other("broken off");
        let endless = futures_util::stream::repeat_with(|| Ok::<_, Infallible>(vec![b' '; 16_384]));
        match how {
            Misbehaviour::Reset => Err(broken()),
            Misbehaviour::Silence => std::future::pending().await,
            Misbehaviour::Endless => Ok(Response::builder()
                .header("content-type", "application/json")
                .body(Body::from_stream(endless))
                .unwrap()),
            Misbehaviour::Truncated => Ok(Response::builder()
                .header("content-type", "application/json")
                .header("content-length", "1000")
                .body(Body::from_stream(futures_util::stream::iter([
                    Ok(bytes::Bytes::from_static(b"{\"access_token\":\"cut")),
                    Err(broken()),
                ])))
                .unwrap()),
            Misbehaviour::Answer {
                status,
                headers,
                body,
            } => {
                let mut response = Response::builder().status(status);
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                Ok(response.body(Body::from(body)).unwrap())
            }
        }
    }

    async fn record<B>(&self, request: Request<B>) -> Recorded
    where
        B: hyper::body::Body<Data = bytes::Bytes> + Send,
        B::Error: std::fmt::Debug,
    {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let recorded = Recorded {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        };
        self.state.lock().unwrap().requests.push(recorded.clone());
        recorded
    }

    /// Answers as it should.
    async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: hyper::body::Body<Data = bytes::Bytes> + Send,
        B::Error: std::fmt::Debug,
    {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let request = self.record(request).await;
        match request.path.as_str() {
            DISCOVERY => self.discovery(),
            KEYS => {
                let keys = self.state.lock().unwrap().keys.clone();
                let keys: Vec<_> = keys.iter().map(SigningKey::public).collect();
                json_answer(200, &json!({ "keys": keys }))
            }
            AUTHORIZE => self.authorize(&pairs(&query)),
            TOKEN => self.token(&request),
            REVOKE => self.revoke(&request),
            path => self.identity(path, &request),
        }
    }

    fn discovery(&self) -> Response<Body> {
        let url = |path: &str| format!("{}{path}", self.origin);
        let mut document = json!({
            "issuer": self.origin,
            "authorization_endpoint": url(AUTHORIZE),
            "token_endpoint": url(TOKEN),
            "jwks_uri": url(KEYS),
            "userinfo_endpoint": url(USERINFO),
            "revocation_endpoint": url(REVOKE),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "authorization_response_iss_parameter_supported": true,
        });
        let edit = self.state.lock().unwrap().discovery.clone();
        if let Some(edit) = edit {
            edit(document.as_object_mut().unwrap());
        }
        json_answer(200, &document)
    }

    fn authorize(&self, query: &HashMap<String, String>) -> Response<Body> {
        let get = |name: &str| query.get(name).cloned();
        let redirect_uri = get("redirect_uri").unwrap();
        let code = self.unique("code");
        let mut state = self.state.lock().unwrap();
        let given = Given {
            person: state.person.clone(),
            nonce: get("nonce"),
            challenge: get("code_challenge"),
            redirect_uri: redirect_uri.clone(),
            scope: get("scope").unwrap_or_default(),
        };
        state.codes.insert(code.clone(), given);
        let mut location = url::Url::parse(&redirect_uri).unwrap();
        location
            .query_pairs_mut()
            .append_pair("code", &code)
            .append_pair("state", &get("state").unwrap_or_default())
            .append_pair("iss", &self.origin);
        Response::builder()
            .status(StatusCode::FOUND)
            .header("location", location.as_str())
            .body(Body::empty())
            .unwrap()
    }

    fn token(&self, request: &Recorded) -> Response<Body> {
        let params = if request.header("content-type") == Some("application/json") {
            let members: HashMap<String, Value> = serde_json::from_str(&request.body).unwrap();
            let text = |value: Value| value.as_str().unwrap().to_owned();
            members
                .into_iter()
                .map(|(name, value)| (name, text(value)))
                .collect()
        } else {
            pairs(&request.body)
        };
        if !authenticates(request, &params) {
            return json_answer(401, &json!({ "error": "invalid_client" }));
        }
        let given = match params.get("grant_type").map(String::as_str) {
            Some("authorization_code") => self.redeem(&params),
            Some("refresh_token") => self.renew(&params),
            _ => return json_answer(400, &json!({ "error": "unsupported_grant_type" })),
        };
        match given {
            Some(given) => self.tokens(given),
            None => json_answer(
                400,
                &json!({ "error": "invalid_grant", "error_description": "secret detail" }),
            ),
        }
    }

    fn redeem(&self, params: &HashMap<String, String>) -> Option<Given> {
        let mut state = self.state.lock().unwrap();
        let code = params.get("code")?;
        if state.used.contains(code) {
            // As strict providers do: the tokens of a code that comes twice end.
            state.access.clear();
            state.refresh.clear();
            return None;
        }
        let given = state.codes.get(code)?.clone();
        let verifies = match &given.challenge {
            Some(challenge) => params.get("code_verifier").is_some_and(|verifier| {
                URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) == *challenge
            }),
            None => !params.contains_key("code_verifier"),
        };
        if !verifies || params.get("redirect_uri") != Some(&given.redirect_uri) {
            return None;
        }
        state.used.insert(code.clone());
        Some(given)
    }

    fn renew(&self, params: &HashMap<String, String>) -> Option<Given> {
        let mut state = self.state.lock().unwrap();
        let token = params.get("refresh_token")?;
        let given = state.refresh.remove(token)?;
        Some(Given {
            nonce: None,
            ..given
        })
    }

    fn tokens(&self, given: Given) -> Response<Body> {
        let access_token = self.unique("access");
        let refresh_token = self.unique("refresh");
        let mut answer = json!({
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": 3600,
            "refresh_token": refresh_token,
        });
        let mut state = self.state.lock().unwrap();
        if given.scope.split(' ').any(|scope| scope == "openid") {
            let now = self.clock.now().as_secs();
            let hash = Sha256::digest(&access_token);
            let mut claims = profile(&state, &given.person);
            let own = json!({
                "iss": self.origin, "aud": CLIENT_ID, "iat": now, "exp": now + 300,
                "at_hash": URL_SAFE_NO_PAD.encode(&hash[..16]),
            });
            claims.extend(own.as_object().unwrap().clone());
            if let Some(nonce) = &given.nonce {
                claims.insert("nonce".to_owned(), json!(nonce));
            }
            if let Some(edit) = &state.claims {
                edit(&mut claims);
            }
            let token = state.keys[0].sign(&Value::Object(claims));
            answer["id_token"] = json!(token);
        }
        state.access.insert(access_token, given.clone());
        state.refresh.insert(refresh_token, given);
        if let Some(edit) = state.tokens.clone() {
            edit(answer.as_object_mut().unwrap());
        }
        json_answer(200, &answer)
    }

    fn identity(&self, path: &str, request: &Recorded) -> Response<Body> {
        let state = self.state.lock().unwrap();
        let bearer = request
            .header("authorization")
            .and_then(|it| it.strip_prefix("Bearer "));
        let presented = bearer.map(str::to_owned).or_else(|| request.form("token"));
        let Some(given) = presented.and_then(|it| state.access.get(&it)) else {
            return json_answer(401, &json!({ "error": "invalid_token" }));
        };
        match (state.answers.get(path), path) {
            (Some(answer), _) => json_answer(200, answer),
            (None, USERINFO) => json_answer(200, &Value::Object(profile(&state, &given.person))),
            (None, _) => json_answer(404, &json!({ "message": "not found" })),
        }
    }

    fn revoke(&self, request: &Recorded) -> Response<Body> {
        let mut state = self.state.lock().unwrap();
        if let Some(token) = request.form("token") {
            state.access.remove(&token);
            state.refresh.remove(&token);
        }
        json_answer(200, &json!({}))
    }

    fn unique(&self, what: &str) -> String {
        let number = self.counter.fetch_add(1, Ordering::SeqCst);
        format!("{what}-{number}-{MARK}")
    }
}

fn profile(state: &State, person: &str) -> Map<String, Value> {
    let usual = json!({
        "sub": person,
        "email": format!("{person}@example.com"),
        "email_verified": true,
        "preferred_username": person,
    });
    let told = state.users.get(person).unwrap_or(&usual);
    told.as_object().unwrap().clone()
}

fn authenticates(request: &Recorded, params: &HashMap<String, String>) -> bool {
    let basic = STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"));
    let by_header = request.header("authorization") == Some(&format!("Basic {basic}"));
    let by_body = params.get("client_id").is_some_and(|it| it == CLIENT_ID)
        && params
            .get("client_secret")
            .is_some_and(|it| it == CLIENT_SECRET);
    by_header || by_body
}

fn json_answer(status: u16, body: &Value) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

fn pairs(form: &str) -> HashMap<String, String> {
    url::form_urlencoded::parse(form.as_bytes())
        .into_owned()
        .collect()
}

/// Waits for what must happen soon, or fails.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what)
        .await
        .expect("it takes too long")
}
