//! The client's part of the flow: RFC 7591, OAuth 2.1 §4.1, §4.3, RFC 7009, RFC 8707, RFC 9207.

use axum::http::StatusCode;
use serde_json::{Value, json};
use url::Url;

use super::agent::{Agent, Answer, Browser, query};
use super::discovery::{Resource, Server, text};
use super::form::Form;
use super::noted;
use super::report::{Mismatch, Noted, ensure, ensure_same};
use crate::entropy;
use crate::oauth::authorize::random_secret;
use crate::oauth::names::Secret;
use crate::oauth::pkce::{CodeChallenge, METHOD};

const NAME: &str = "mcp-oauth selfcheck";
/// What is registered, and where the client really listens: any port will do on this computer
/// (RFC 8252 §7.3). Nobody is there; the driver takes the code from the redirect.
const REGISTERED: &str = "http://127.0.0.1:33418/callback";
const LISTENING: &str = "http://127.0.0.1:50917/callback";

/// A registered client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) agent: Agent,
    pub(super) resource: Resource,
    server: Server,
    pub(super) id: String,
}

/// An authorization request, and what only its client knows.
#[derive(Debug)]
pub(super) struct Request {
    url: Url,
    state: Secret,
    verifier: Secret,
}

/// The consent page.
#[derive(Debug)]
pub(super) struct Page {
    url: Url,
    form: Form,
}

/// A code and its verifier.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) code: Secret,
    verifier: Secret,
}

/// What a grant consists of.
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) access: Secret,
    pub(super) refresh: Secret,
    body: Secret,
}

impl Client {
    /// RFC 7591 §3: 201, everything said back, no secret for a client that wants none.
    pub(super) async fn register(
        agent: Agent,
        resource: Resource,
        server: Server,
    ) -> Result<Noted<Self>, Mismatch> {
        let metadata = json!({
            "client_name": NAME,
            "redirect_uris": [REGISTERED],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
            "application_type": "native",
        });
        let answer = agent.post_json(&server.register, &metadata).await?;
        answer.expect(StatusCode::CREATED)?;
        answer.expect_no_store()?;
        let document = answer.json()?;
        let id = text(&document, "client_id");
        ensure(!id.is_empty(), "a client_id", "none")?;
        let redirects = document.get("redirect_uris").unwrap_or(&Value::Null);
        ensure(
            *redirects == json!([REGISTERED]),
            format!("redirect_uris = [{REGISTERED:?}]"),
            redirects,
        )?;
        ensure_same("client_name", NAME, &text(&document, "client_name"))?;
        let method = text(&document, "token_endpoint_auth_method");
        ensure_same("token_endpoint_auth_method", "none", &method)?;
        ensure(
            document.get("client_secret").is_none(),
            "no client_secret for a public client",
            "one",
        )?;
        let issued = document.get("client_id_issued_at").and_then(Value::as_u64);
        ensure(issued.is_some(), "client_id_issued_at", "none")?;
        let note = format!("client_id of {} bytes", id.len());
        let client = Self {
            agent,
            resource,
            server,
            id,
        };
        Ok(noted(client, note))
    }

    /// Prepares a request.
    pub(super) fn request(&self) -> Request {
        let mut rng = entropy::rng();
        let (state, verifier) = (random_secret(&mut rng), random_secret(&mut rng));
        let challenge = CodeChallenge::of(&verifier);
        let pairs = [
            ("response_type", "code"),
            ("client_id", &self.id),
            ("redirect_uri", LISTENING),
            ("state", state.expose()),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", METHOD),
            ("resource", self.resource.mcp_url.as_str()),
            ("scope", &self.resource.scope),
        ];
        let given = pairs.into_iter().filter(|(_, value)| !value.is_empty());
        let mut url = self.server.authorize.clone();
        url.query_pairs_mut().extend_pairs(given);
        Request {
            url,
            state,
            verifier,
        }
    }

    /// `GET /authorize`: the consent page, and nothing else yet.
    pub(super) async fn consent_page(
        &self,
        browser: &mut Browser,
        request: &Request,
    ) -> Result<Noted<Page>, Mismatch> {
        let answer = browser.open(&request.url).await?;
        answer.expect(StatusCode::OK)?;
        answer.expect_no_store()?;
        let policy = answer.header("content-security-policy");
        let is_framed = !policy.contains("frame-ancestors 'none'");
        ensure(!is_framed, "frame-ancestors 'none'", policy)?;
        let page = html(&answer)?;
        for shown in [NAME, "127.0.0.1", self.resource.mcp_url.as_str()] {
            let expected = format!("a consent page that shows {shown}");
            ensure(page.contains(shown), expected, "one that does not")?;
        }
        ensure(
            !page.contains("<script"),
            "a page without script",
            "one with",
        )?;
        let form = Form::of(&page)?;
        ensure_same("action", "/consent", &form.action)?;
        form.button("decision", "deny")?;
        let url = request.url.clone();
        Ok(noted(
            Page { url, form },
            "consent page shows client, host and resource",
        ))
    }

    /// Allow: on to the upstream, with PKCE and a state of its own.
    pub(super) async fn allow(
        &self,
        browser: &mut Browser,
        page: &Page,
    ) -> Result<Noted<Url>, Mismatch> {
        let before = browser.cookies_of(&page.url);
        let button = page.form.button("decision", "allow")?;
        let answer = browser.submit(&page.url, &page.form, button).await?;
        let upstream = answer.location()?;
        answer.expect_no_store()?;
        ensure_same(
            "code_challenge_method",
            METHOD,
            &query(&upstream, "code_challenge_method")?,
        )?;
        ensure(
            query(&upstream, "state")?.len() >= 22,
            "a state of 128 bits or more",
            "a shorter one",
        )?;
        // The upstream hears nothing that we could be recognised by.
        let is_ours = upstream.query_pairs().any(|(_, value)| value == *self.id);
        ensure(!is_ours, "no client_id of ours upstream", "ours")?;
        // SBP, state: the session begins with the approval.
        ensure(
            browser.cookies_of(&page.url) > before,
            "a cookie that keeps this sign-in",
            "none",
        )?;
        let note = format!("on to {}", upstream.origin().ascii_serialization());
        Ok(noted(upstream, note))
    }

    /// The person signs in there, and is sent back.
    pub(super) async fn sign_in_upstream(
        &self,
        browser: &mut Browser,
        upstream: &Url,
        person: &str,
    ) -> Result<Noted<Url>, Mismatch> {
        let answer = browser.open(upstream).await?;
        answer.expect(StatusCode::OK)?;
        let form = Form::of(&html(&answer)?)?;
        let button = form.button("user", person)?;
        let answer = browser.submit(upstream, &form, button).await?;
        let callback = answer.location()?;
        query(&callback, "code")?;
        Ok(noted(callback, format!("as {person}")))
    }

    /// Back at the server, and on to the client: `code`, `state` and `iss`, each once.
    pub(super) async fn code(
        &self,
        browser: &mut Browser,
        callback: &Url,
        request: Request,
    ) -> Result<Noted<Code>, Mismatch> {
        let answer = browser.open(callback).await?;
        let location = answer.location()?;
        answer.expect_no_store()?;
        let (to, _) = location.as_str().split_once('?').unwrap_or_default();
        ensure_same("redirect_uri", LISTENING, to)?;
        let state = query(&location, "state")?;
        ensure(request.state.matches(&state), "our state", "another")?;
        // RFC 9207 §2.4
        ensure_same("iss", &self.server.issuer, &query(&location, "iss")?)?;
        let code = Secret::new(query(&location, "code")?);
        let note = format!("code of {} bytes, state, iss", code.expose().len());
        let verifier = request.verifier;
        Ok(noted(Code { code, verifier }, note))
    }

    /// `POST /token` with a code.
    pub(super) async fn redeem(&self, code: &Code) -> Result<Answer, Mismatch> {
        self.post_token(&[
            ("grant_type", "authorization_code"),
            ("code", code.code.expose()),
            ("redirect_uri", LISTENING),
            ("code_verifier", code.verifier.expose()),
        ])
        .await
    }

    /// `POST /token` with a refresh token.
    pub(super) async fn refresh(&self, token: &str) -> Result<Answer, Mismatch> {
        self.post_token(&[("grant_type", "refresh_token"), ("refresh_token", token)])
            .await
    }

    async fn post_token(&self, form: &[(&str, &str)]) -> Result<Answer, Mismatch> {
        let mut form = form.to_vec();
        form.push(("client_id", &self.id));
        form.push(("resource", self.resource.mcp_url.as_str()));
        self.agent.post_form(&self.server.token, &form).await
    }

    /// A code becomes tokens.
    pub(super) async fn redeemed(&self, code: &Code) -> Result<Noted<Tokens>, Mismatch> {
        Tokens::of(&self.redeem(code).await?)
    }

    /// A refresh token becomes new tokens.
    pub(super) async fn refreshed(&self, tokens: &Tokens) -> Result<Noted<Tokens>, Mismatch> {
        let renewed = Tokens::of(&self.refresh(tokens.refresh.expose()).await?)?;
        let is_rotated = !renewed.value.refresh.matches(tokens.refresh.expose());
        ensure(is_rotated, "another refresh token", "the same")?;
        Ok(renewed)
    }

    /// As after a lost answer: the same question gets the same answer, byte for byte.
    pub(super) async fn refreshed_again(
        &self,
        tokens: &Tokens,
        renewed: &Tokens,
    ) -> Result<Noted<()>, Mismatch> {
        let again = Tokens::of(&self.refresh(tokens.refresh.expose()).await?)?;
        let is_same = renewed.body.matches(again.value.body.expose());
        ensure(is_same, "the same answer, byte for byte", "another")?;
        Ok(noted((), "the same answer, byte for byte"))
    }

    /// RFC 7009 §2.2.
    pub(super) async fn revoked(&self, tokens: &Tokens) -> Result<Noted<()>, Mismatch> {
        let form = [
            ("token", tokens.refresh.expose()),
            ("token_type_hint", "refresh_token"),
            ("client_id", &self.id),
        ];
        let answer = self.agent.post_form(&self.server.revoke, &form).await?;
        answer.expect(StatusCode::OK)?;
        Ok(noted((), ""))
    }

    /// Everything from the request to the code in one go, in a browser of its own.
    pub(super) async fn signed_in(&self, person: &str) -> Result<Code, Mismatch> {
        let mut browser = Browser::new(self.agent.clone());
        let request = self.request();
        let page = self.consent_page(&mut browser, &request).await?.value;
        let upstream = self.allow(&mut browser, &page).await?.value;
        let callback = self.sign_in_upstream(&mut browser, &upstream, person);
        let callback = callback.await?.value;
        Ok(self.code(&mut browser, &callback, request).await?.value)
    }
}

impl Tokens {
    /// OAuth 2.1 §3.2.3.
    fn of(answer: &Answer) -> Result<Noted<Self>, Mismatch> {
        answer.expect(StatusCode::OK)?;
        answer.expect_no_store()?;
        let document = answer.json()?;
        ensure_same("token_type", "Bearer", &text(&document, "token_type"))?;
        let lasts = document.get("expires_in").and_then(Value::as_u64);
        ensure(
            lasts.is_some_and(|it| it > 0),
            "expires_in as a number",
            "none",
        )?;
        let token = |name: &str| {
            let token = text(&document, name);
            ensure(!token.is_empty(), name, "none").map(|()| Secret::new(token))
        };
        let (access, refresh) = (token("access_token")?, token("refresh_token")?);
        let note = format!(
            "access {} bytes, refresh {} bytes, {} s",
            access.expose().len(),
            refresh.expose().len(),
            lasts.unwrap_or_default(),
        );
        let body = Secret::new(String::from_utf8_lossy(&answer.body));
        let tokens = Self {
            access,
            refresh,
            body,
        };
        Ok(noted(tokens, note))
    }
}

fn html(answer: &Answer) -> Result<String, Mismatch> {
    let kind = answer.header("content-type");
    ensure(kind.starts_with("text/html"), "text/html", kind)?;
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}
