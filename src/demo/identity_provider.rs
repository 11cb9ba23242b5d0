//! The demo's identity provider: a small OpenID provider where Alice and Bob sign in by a click.
//!
//! OpenID Connect Core §3.1 (code flow) and Discovery §3, RFC 6749 §5 and §6, RFC 7009, RFC 7636
//! (`S256`), RFC 9207. One client, known from the start. Nothing is remembered beyond the process.
//!
//! Refuses other clients and other redirect URIs with a page, requests without PKCE, codes and
//! refresh tokens that were used before, and token requests without the client's secret.

mod client;
mod people;
mod request;
mod sessions;
mod signing;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use askama::Template;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, LOCATION, PRAGMA, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use self::people::Person;
use self::request::{Refused, SignInRequest};
use self::sessions::{ACCESS_TTL, Issued, Sessions};
use self::signing::{SigningKey, Statement};
use crate::entropy;
use crate::oauth::authorize::random_secret;
use crate::oauth::names::Secret;
use crate::oauth::params::Params;
use crate::time::Clock;

/// The `client_id` of the one client.
pub const CLIENT_ID: &str = "mcp-oauth-demo";

const STYLE: &str = include_str!("pages/style.css");

/// The provider.
pub struct IdentityProvider {
    issuer: String,
    redirect_uri: String,
    client_secret: Secret,
    key: SigningKey,
    sessions: Mutex<Sessions>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for IdentityProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityProvider")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// The provider's key could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the demo identity provider has no key")]
pub struct NoKey(#[source] jsonwebtoken::errors::Error);

#[derive(Template)]
#[template(path = "sign_in.html", config = "src/demo/pages/askama.toml")]
struct SignInPage<'a> {
    style: &'static str,
    query: &'a str,
    people: [Person; 2],
}

impl IdentityProvider {
    /// Makes a provider with a fresh key and a fresh client secret. `issuer` is its origin,
    /// `redirect_uri` the callback of its one client.
    ///
    /// # Errors
    ///
    /// [`NoKey`], for one draw in 2^32.
    pub fn new(
        issuer: impl Into<String>,
        redirect_uri: impl Into<String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, NoKey> {
        let client_secret = random_secret(&mut entropy::rng());
        Self::with_secret(issuer, redirect_uri, client_secret, clock)
    }

    /// Makes a provider with a fresh key, whose client has this secret.
    ///
    /// # Errors
    ///
    /// [`NoKey`], for one draw in 2^32.
    pub fn with_secret(
        issuer: impl Into<String>,
        redirect_uri: impl Into<String>,
        client_secret: Secret,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, NoKey> {
        Ok(Arc::new(Self {
            issuer: issuer.into(),
            redirect_uri: redirect_uri.into(),
            client_secret,
            key: SigningKey::generate(&mut entropy::rng()).map_err(NoKey)?,
            sessions: Mutex::default(),
            clock,
        }))
    }

    /// The secret of [`CLIENT_ID`].
    ///
    /// # Security
    ///
    /// For the client's configuration only.
    pub fn client_secret(&self) -> &Secret {
        &self.client_secret
    }

    /// The endpoints.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(jwks))
            .route("/authorize", get(sign_in_page).post(sign_in))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo).post(userinfo))
            .route("/revoke", post(revoke))
            .layer(DefaultBodyLimit::max(16 * 1024))
            .with_state(Arc::clone(self))
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        // A panic elsewhere leaves the maps whole.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Provider = State<Arc<IdentityProvider>>;

/// OpenID Connect Discovery §3.
async fn discovery(State(provider): Provider) -> Json<Value> {
    let url = |path: &str| format!("{}{path}", provider.issuer);
    Json(json!({
        "issuer": provider.issuer,
        "authorization_endpoint": url("/authorize"),
        "token_endpoint": url("/token"),
        "userinfo_endpoint": url("/userinfo"),
        "revocation_endpoint": url("/revoke"),
        "jwks_uri": url("/jwks"),
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "revocation_endpoint_auth_methods_supported":
            ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "claims_supported": [
            "iss", "sub", "aud", "exp", "iat", "nonce", "at_hash",
            "name", "preferred_username", "email", "email_verified",
        ],
        "authorization_response_iss_parameter_supported": true,
    }))
}

async fn jwks(State(provider): Provider) -> Response {
    Json(provider.key.jwks()).into_response()
}

/// `GET /authorize`: asks who it is, every time.
async fn sign_in_page(State(provider): Provider, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    if let Err(refused) = SignInRequest::parse(&query, &provider.redirect_uri) {
        return provider.refuse(refused);
    }
    let page = SignInPage {
        style: STYLE,
        query: &query,
        people: Person::ALL,
    };
    match page.render() {
        Ok(page) => secured(Html(page).into_response()),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// `POST /authorize`: the button; the request is in the query still, and is checked again.
async fn sign_in(State(provider): Provider, RawQuery(query): RawQuery, body: Bytes) -> Response {
    let query = query.unwrap_or_default();
    let request = match SignInRequest::parse(&query, &provider.redirect_uri) {
        Ok(request) => request,
        Err(refused) => return provider.refuse(refused),
    };
    let form = Params::parse(&body).unwrap_or_default();
    let Some(person) = form.get("user").and_then(Person::named) else {
        return match form.get("decision") {
            Some("cancel") => provider.refuse(request.denied()),
            _ => page_of(StatusCode::BAD_REQUEST, "Nobody was chosen."),
        };
    };
    let (state, sign_in, challenge) = request.signed_in_as(person);
    let now = provider.clock.now();
    let code = provider
        .sessions()
        .begin(sign_in, challenge, now, &mut entropy::rng());
    provider.send_back(&[("code", code.expose())], state.as_deref())
}

/// `POST /token`.
async fn token(State(provider): Provider, headers: HeaderMap, body: Bytes) -> Response {
    let form = match client::form(&headers, &body, &provider.client_secret) {
        Ok(form) => form,
        Err(refused) => return client::refused(refused),
    };
    let (now, mut rng) = (provider.clock.now(), entropy::rng());
    let field = |name: &str| form.get(name).unwrap_or_default();
    let (issued, at_sign_in) = match field("grant_type") {
        // RFC 6749 §4.1.3: the code must have been sent to where the client says.
        "authorization_code" if field("redirect_uri") != provider.redirect_uri => (None, true),
        "authorization_code" => {
            let (code, verifier) = (field("code"), field("code_verifier"));
            let issued = provider.sessions().redeem(code, verifier, now, &mut rng);
            (issued, true)
        }
        "refresh_token" => {
            let presented = field("refresh_token");
            (provider.sessions().rotate(presented, now, &mut rng), false)
        }
        _ => return client::error(StatusCode::BAD_REQUEST, "unsupported_grant_type"),
    };
    match issued {
        Some(issued) => provider.answer(&issued, at_sign_in),
        None => client::error(StatusCode::BAD_REQUEST, "invalid_grant"),
    }
}

/// OpenID Connect Core §5.3.
async fn userinfo(State(provider): Provider, headers: HeaderMap) -> Response {
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token);
    let now = provider.clock.now();
    let Some(person) = token.and_then(|token| provider.sessions().person(token, now)) else {
        let challenge = HeaderValue::from_static(r#"Bearer error="invalid_token""#);
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, challenge)]).into_response();
    };
    client::json(
        StatusCode::OK,
        &json!({
            "sub": person.id(),
            "name": person.name(),
            "preferred_username": person.id(),
            "email": person.email(),
            "email_verified": true,
        }),
    )
}

/// RFC 7009: 200, also for what is not a token.
async fn revoke(State(provider): Provider, headers: HeaderMap, body: Bytes) -> Response {
    match client::form(&headers, &body, &provider.client_secret) {
        Ok(form) => {
            let token = form.get("token").unwrap_or_default();
            provider.sessions().revoke(token);
            StatusCode::OK.into_response()
        }
        Err(refused) => client::refused(refused),
    }
}

impl IdentityProvider {
    fn answer(&self, issued: &Issued, at_sign_in: bool) -> Response {
        let now = self.clock.now();
        let id_token = self.key.id_token(&Statement {
            issuer: &self.issuer,
            audience: CLIENT_ID,
            person: issued.sign_in.person,
            // OpenID Connect Core §12.2: not in the ID token of a refresh.
            nonce: issued.sign_in.nonce.as_deref().filter(|_| at_sign_in),
            access_token: &issued.access_token,
            issued_at: now,
            expires_at: now.plus(ACCESS_TTL),
        });
        let Ok(id_token) = id_token else {
            return client::error(StatusCode::INTERNAL_SERVER_ERROR, "server_error");
        };
        client::json(
            StatusCode::OK,
            &json!({
                "access_token": issued.access_token,
                "token_type": "Bearer",
                "expires_in": ACCESS_TTL.as_secs(),
                "refresh_token": issued.refresh_token,
                "id_token": id_token,
                "scope": issued.sign_in.scope,
            }),
        )
    }

    fn refuse(&self, refused: Refused) -> Response {
        match refused {
            Refused::Page(what) => page_of(StatusCode::BAD_REQUEST, what),
            Refused::Redirect { error, state } => {
                self.send_back(&[("error", error)], state.as_deref())
            }
        }
    }

    /// Back to the client. RFC 9207 §2: with `iss`, also when it is an error.
    fn send_back(&self, answer: &[(&str, &str)], state: Option<&str>) -> Response {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(answer);
        query.extend_pairs(state.map(|state| ("state", state)));
        query.append_pair("iss", &self.issuer);
        let location = format!("{}?{}", self.redirect_uri, query.finish());
        match HeaderValue::try_from(location) {
            Ok(mut location) => {
                location.set_sensitive(true);
                secured((StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response())
            }
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// A page in one sentence.
fn page_of(status: StatusCode, what: &'static str) -> Response {
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    secured((status, [(CONTENT_TYPE, text)], what).into_response())
}

/// What every answer to a browser carries. No `form-action`: it would apply to the way back, too.
fn secured(mut response: Response) -> Response {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert("content-security-policy", policy);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    response
}
