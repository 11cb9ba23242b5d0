//! The authorization request: OAuth 2.1 §4.1.1, and everything up to the code.
//!
//! [`AuthorizeParams`] → [`AuthorizationRequest`] → [`PendingConsent`] → [`PendingLogin`] →
//! [`AuthorizationCode`]: each arrow consumes its state, so no step can be left out. Refuses to
//! redirect before the redirect URI is known to be the client's.

use std::time::Duration;

use rand::CryptoRng;

use crate::oauth::client::Client;
use crate::oauth::error::{ErrorCode, Reason};
use crate::oauth::names::{
    BrowserHash, GrantId, InstanceId, Issuer, RedirectHash, Secret, StateHash, UpstreamFingerprint,
    UpstreamName,
};
use crate::oauth::params::Params;
use crate::oauth::pkce::CodeChallenge;
use crate::oauth::records::{
    AuthorizationCode, PendingConsent, PendingLogin, PendingRequest, UpstreamLeg,
};
use crate::oauth::redirect::{MatchedRedirect, RedirectKind};
use crate::oauth::resource::{ResourceRule, Resources};
use crate::oauth::scope::Scope;
use crate::time::Timestamp;

/// How long a person may look at the consent page, and how long they may take to sign in.
pub const PENDING_TTL: Duration = Duration::from_secs(600);

/// Most bytes of `state`, `scope` and `redirect_uri` together, as JSON writes them: they travel in a
/// cookie, and browsers keep 4 KB.
pub const MAX_CARRIED: usize = 2_400;

/// The parameters of an authorization request, unchecked but for repetition.
#[derive(Debug)]
pub struct AuthorizeParams {
    params: Params,
}

/// An authorization request that passed every check.
#[derive(Debug)]
pub struct AuthorizationRequest {
    pending: PendingRequest,
    redirect: MatchedRedirect,
}

/// Where an error answer goes. Exists only for a redirect URI that is the client's.
#[derive(Clone, Debug)]
pub struct ErrorRedirect {
    redirect: MatchedRedirect,
    state: Option<String>,
}

/// Why an authorization request was refused, and how to say so. An open redirect cannot be typed:
/// only a [`MatchedRedirect`] leads away.
#[derive(Debug)]
pub enum AuthorizeError {
    /// OAuth 2.1 §4.1.2.1: on a page; the redirect URI is not known to be the client's.
    Render(Reason),
    /// OAuth 2.1 §7.12.2: on a page with a link; the redirect is the client's, but anybody could
    /// have registered that client, and no person has acted yet.
    Offer(Reason, ErrorRedirect),
    /// By redirect.
    Redirect(Reason, ErrorRedirect),
}

impl AuthorizeError {
    /// The precise cause.
    pub fn reason(&self) -> &Reason {
        match self {
            Self::Render(reason) | Self::Offer(reason, _) | Self::Redirect(reason, _) => reason,
        }
    }
}

impl ErrorRedirect {
    /// The location that tells the client about an error.
    pub fn location(&self, code: ErrorCode, description: &str, issuer: &Issuer) -> String {
        let state = self.state.as_deref().map(|state| ("state", state));
        let error = [("error", code.as_str()), ("error_description", description)];
        // RFC 9207 §2: errors carry `iss` as well.
        let iss = [("iss", issuer.as_str())];
        self.redirect
            .with_query(error.into_iter().chain(state).chain(iss))
    }

    /// The host that the person would be sent to.
    pub fn host(&self) -> &str {
        self.redirect.host()
    }
}

impl AuthorizeParams {
    /// Takes the parameters of a request.
    pub fn new(params: Params) -> Self {
        Self { params }
    }

    /// Who asks, by its own word.
    ///
    /// # Errors
    ///
    /// [`Reason::Missing`].
    pub fn client_id(&self) -> Result<&str, Reason> {
        self.params.required("client_id")
    }

    /// Checks the request against the client that it names.
    ///
    /// # Errors
    ///
    /// The first check that fails, with the way to say so.
    pub fn against(
        self,
        client: &Client,
        resources: &Resources,
    ) -> Result<AuthorizationRequest, AuthorizeError> {
        let params = &self.params;
        // OAuth 2.1 §4.1.1, RFC 9700 §4.1.3: exact match against the client's own.
        let redirect = MatchedRedirect::find(&client.redirect_uris, params.get("redirect_uri"))
            .ok_or(AuthorizeError::Render(Reason::RedirectNotRegistered))?;
        let state = params.get("state").map(str::to_owned);
        let refuse = |reason| refusal(reason, client, &redirect, state.as_ref());

        fits(&redirect, state.as_deref(), params.get("scope")).map_err(AuthorizeError::Render)?;
        let (resource, scope) = asked(params, resources).map_err(refuse)?;
        // OAuth 2.1 §4.1.1: PKCE for every client.
        let challenge = CodeChallenge::parse(
            params.get("code_challenge"),
            params.get("code_challenge_method"),
        )
        .map_err(|problem| refusal(problem.into(), client, &redirect, state.as_ref()))?;
        let pending = PendingRequest {
            client: client.hash(),
            auth_method: client.auth_method,
            redirect_uri: redirect.as_str().to_owned(),
            state,
            scope: resource.grantable(&scope),
            resource: resource.path.clone(),
            code_challenge: challenge.into_string(),
        };
        Ok(AuthorizationRequest { pending, redirect })
    }
}

/// The checks between the redirect URI and PKCE, in order.
fn asked<'a>(
    params: &Params,
    resources: &'a Resources,
) -> Result<(&'a ResourceRule, Scope), Reason> {
    // OAuth 2.1 §4.1.1
    if params.required("response_type")? != "code" {
        return Err(Reason::ResponseType);
    }
    // OAuth 2.0 Multiple Response Types §2.1
    if params
        .get("response_mode")
        .is_some_and(|mode| mode != "query")
    {
        return Err(Reason::ResponseMode);
    }
    // RFC 8707 §2
    let resource = resources.requested(params.all("resource"))?;
    // RFC 6749 §3.3
    let scope =
        Scope::parse(params.get("scope").unwrap_or_default()).map_err(|_| Reason::ScopeGrammar)?;
    Ok((resource, scope))
}

fn fits(
    redirect: &MatchedRedirect,
    state: Option<&str>,
    scope: Option<&str>,
) -> Result<(), Reason> {
    let carried = [Some(redirect.as_str()), state, scope];
    let size = carried
        .into_iter()
        .flatten()
        .map(json_length)
        .sum::<usize>();
    if size > MAX_CARRIED {
        Err(Reason::TooLong)
    } else {
        Ok(())
    }
}

/// How long a text is once JSON has escaped it.
fn json_length(text: &str) -> usize {
    text.bytes()
        .map(|byte| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
            0x00..=0x1f => 6,
            _ => 1,
        })
        .sum()
}

fn refusal(
    reason: Reason,
    client: &Client,
    redirect: &MatchedRedirect,
    state: Option<&String>,
) -> AuthorizeError {
    let to = ErrorRedirect {
        redirect: redirect.clone(),
        state: state.cloned(),
    };
    // OAuth 2.1 §7.12.2: we must not become an open redirector for clients that anybody can make.
    // A loopback redirect leads nowhere else; the operator's own clients are trusted.
    if client.is_self_registered() && redirect.kind() != RedirectKind::Loopback {
        AuthorizeError::Offer(reason, to)
    } else {
        AuthorizeError::Redirect(reason, to)
    }
}

impl AuthorizationRequest {
    /// What the person is asked about.
    pub fn pending(&self) -> &PendingRequest {
        &self.pending
    }

    /// Where the answer will go.
    pub fn redirect(&self) -> &MatchedRedirect {
        &self.redirect
    }

    /// Binds the request to the browser that is shown the form.
    pub fn consent(self, browser: BrowserHash, now: Timestamp) -> PendingConsent {
        PendingConsent {
            request: self.pending,
            browser,
            expires_at: now.plus(PENDING_TTL),
        }
    }
}

/// A login that is about to begin: its session, and the secret `state` for the upstream.
#[derive(Debug)]
pub struct StartedLogin {
    /// What goes into the cookie.
    pub login: PendingLogin,
    /// What goes to the upstream.
    pub state: Secret,
}

/// The provider that a login is about to begin with.
#[derive(Clone, Copy, Debug)]
pub struct ChosenUpstream<'a> {
    /// Its name.
    pub name: &'a UpstreamName,
    /// Which provider that is.
    pub fingerprint: UpstreamFingerprint,
}

impl PendingConsent {
    /// Whether the form was posted by the browser that it was shown to.
    ///
    /// # Errors
    ///
    /// [`Reason::OtherBrowser`].
    pub fn of_browser(self, cookie: Option<&str>) -> Result<ConfirmedConsent, Reason> {
        // MCP security best practices, consent: bound to the browser by a cookie.
        let same = cookie.is_some_and(|cookie| BrowserHash::of(cookie).matches(&self.browser));
        if same {
            Ok(ConfirmedConsent {
                request: self.request,
            })
        } else {
            Err(Reason::OtherBrowser)
        }
    }
}

/// A consent form that came back from the browser that it was shown to.
#[derive(Debug)]
pub struct ConfirmedConsent {
    request: PendingRequest,
}

impl ConfirmedConsent {
    /// What the person was asked about.
    pub fn request(&self) -> &PendingRequest {
        &self.request
    }

    /// The person said no: where to say so. They have seen the host, so a redirect is due.
    pub fn deny(self) -> ErrorRedirect {
        error_redirect(&self.request)
    }

    /// The person said yes: the grant begins.
    pub fn approve(
        self,
        upstream: ChosenUpstream<'_>,
        now: Timestamp,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> StartedLogin {
        // RFC 6749 §10.12: 256 bits that nobody can guess, made after consent only.
        let state = random_secret(rng);
        let login = PendingLogin {
            request: self.request,
            grant: GrantId::random(rng),
            upstream: upstream.name.clone(),
            fingerprint: upstream.fingerprint,
            // RFC 7636 §4.1: 32 random octets make a verifier of 43 characters.
            verifier: random_secret(rng),
            nonce: random_secret(rng),
            state_hash: StateHash::of(state.expose()),
            expires_at: now.plus(PENDING_TTL),
        };
        StartedLogin { login, state }
    }
}

/// 256 random bits in base64url.
pub fn random_secret(rng: &mut (impl CryptoRng + ?Sized)) -> Secret {
    use base64::Engine as _;
    let mut bits = zeroize::Zeroizing::new([0; 32]);
    rng.fill_bytes(bits.as_mut());
    Secret::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bits.as_ref()))
}

fn error_redirect(request: &PendingRequest) -> ErrorRedirect {
    let redirect = MatchedRedirect::trusted(&request.redirect_uri);
    ErrorRedirect {
        redirect,
        state: request.state.clone(),
    }
}

/// How long a code lives, and who minted it.
#[derive(Clone, Copy, Debug)]
pub struct CodeTerms {
    /// The configured life.
    pub ttl: Duration,
    /// The life of the upstream's code that travels inside.
    pub upstream_code_ttl: Duration,
    /// This process.
    pub instance: InstanceId,
}

impl PendingLogin {
    /// Where to tell the client that the login failed.
    pub fn failed(&self) -> ErrorRedirect {
        error_redirect(&self.request)
    }

    /// The login is done: our code.
    pub fn code(&self, leg: UpstreamLeg, terms: CodeTerms, now: Timestamp) -> AuthorizationCode {
        let ttl = match leg {
            // Ours must not outlive the upstream's, which has been on its way already.
            UpstreamLeg::Late { .. } => terms.ttl.min(
                terms
                    .upstream_code_ttl
                    .saturating_sub(Duration::from_secs(5)),
            ),
            UpstreamLeg::Parked => terms.ttl,
        };
        AuthorizationCode {
            client: self.request.client,
            auth_method: self.request.auth_method,
            redirect: RedirectHash::of(&self.request.redirect_uri),
            code_challenge: self.request.code_challenge.clone(),
            resource: self.request.resource.clone(),
            scope: self.request.scope.clone(),
            grant: self.grant,
            instance: terms.instance,
            upstream: self.upstream.clone(),
            fingerprint: self.fingerprint,
            leg,
            issued_at: now,
            expires_at: now.plus(ttl),
        }
    }

    /// Where the client gets the code.
    pub fn answer(&self, code: &str, issuer: &Issuer) -> String {
        let redirect = MatchedRedirect::trusted(&self.request.redirect_uri);
        let state = self.request.state.as_deref().map(|state| ("state", state));
        // RFC 9207 §2
        let iss = ("iss", issuer.as_str());
        redirect.with_query([("code", code)].into_iter().chain(state).chain([iss]))
    }
}
