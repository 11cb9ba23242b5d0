//! The token request: OAuth 2.1 §3.2, §4.1.3, §4.3.
//!
//! ```text
//! CodeRequest ──open──► OpenedCode ──check──► CheckedCode ──authenticated──► AuthenticatedCode
//!     ──(claim)──► RedeemableCode ──mint──► Minted
//! RefreshRequest ──open──► OpenedRefresh ──check──► CheckedRefresh ──authenticated──►
//!     AuthenticatedRefresh ──(lease)──► mint ──► Minted
//! ```
//!
//! Each arrow consumes its state: a code cannot be claimed before every check has passed, so that a
//! stolen code without its verifier does not burn the victim's; and no token exists without a claim.

use crate::oauth::client::{Authenticated, Client};
use crate::oauth::error::Reason;
use crate::oauth::names::{GrantId, RedirectHash, TokenHash};
use crate::oauth::params::Params;
use crate::oauth::pkce::CodeVerifier;
use crate::oauth::records::{AuthMethod, AuthorizationCode, RefreshToken};
use crate::oauth::resource::{ResourceRule, Resources};
use crate::oauth::scope::Scope;
use crate::seal::{Keys, Sealed};
use crate::time::Timestamp;

/// What `/token` is asked for.
#[derive(Debug)]
pub enum TokenRequest {
    /// `grant_type=authorization_code`
    Code(CodeRequest),
    /// `grant_type=refresh_token`
    Refresh(RefreshRequest),
}

impl TokenRequest {
    /// Reads the parameters that belong to the grant.
    ///
    /// # Errors
    ///
    /// A missing parameter, or a grant type that is not ours.
    pub fn parse(params: &Params) -> Result<Self, Reason> {
        let resource = params.all("resource").to_vec();
        match params.required("grant_type")? {
            "authorization_code" => Ok(Self::Code(CodeRequest {
                code: Sealed::from_wire(params.required("code")?),
                redirect_uri: params.get("redirect_uri").map(str::to_owned),
                verifier: verifier(params.required("code_verifier")?)?,
                resource,
            })),
            "refresh_token" => Ok(Self::Refresh(RefreshRequest {
                token: Sealed::from_wire(params.required("refresh_token")?),
                scope: params.get("scope").map(str::to_owned),
                resource,
            })),
            _ => Err(Reason::GrantType),
        }
    }
}

fn verifier(text: &str) -> Result<CodeVerifier, Reason> {
    CodeVerifier::parse(text).ok_or(Reason::Malformed("code_verifier"))
}

/// A request to redeem a code, unchecked.
#[derive(Debug)]
pub struct CodeRequest {
    code: Sealed<AuthorizationCode>,
    redirect_uri: Option<String>,
    verifier: CodeVerifier,
    resource: Vec<String>,
}

/// A code that is ours and has not expired.
#[derive(Debug)]
pub struct OpenedCode {
    record: AuthorizationCode,
    request: CodeRequest,
}

impl CodeRequest {
    /// Opens the code.
    ///
    /// # Errors
    ///
    /// [`Reason::Code`].
    pub fn open(self, keys: &Keys, now: Timestamp) -> Result<OpenedCode, Reason> {
        let record = keys.open(&self.code, now).map_err(Reason::Code)?.record;
        Ok(OpenedCode {
            record,
            request: self,
        })
    }
}

/// A code that belongs to this client, redirect, resource and verifier.
#[derive(Debug)]
pub struct CheckedCode(OpenedCode);

impl OpenedCode {
    /// Checks everything that binds the code.
    ///
    /// # Errors
    ///
    /// The first binding that does not hold. Nothing has been used up by then.
    pub fn check(self, client: &Client, resources: &Resources) -> Result<CheckedCode, Reason> {
        let Self { record, request } = &self;
        // OAuth 2.1 §4.1.3: issued to this client.
        if !record.client.matches(&client.hash()) {
            return Err(Reason::OtherClient);
        }
        // OAuth 2.1 §10.2: need not be sent, but must be the same if it is.
        if request
            .redirect_uri
            .as_ref()
            .is_some_and(|uri| !RedirectHash::of(uri).matches(&record.redirect))
        {
            return Err(Reason::OtherRedirect);
        }
        // RFC 8707 §2.2
        within_grant(&request.resource, &record.resource, resources)?;
        // RFC 7636 §4.6
        if !request.verifier.proves(&record.code_challenge) {
            return Err(Reason::Verifier);
        }
        Ok(CheckedCode(self))
    }
}

/// RFC 8707 §2.2: a `resource` in a token request must be within the grant.
fn within_grant<'a>(
    requested: &[String],
    granted: &str,
    resources: &'a Resources,
) -> Result<&'a ResourceRule, Reason> {
    let rule = resources.at(granted).ok_or(Reason::ResourceGone)?;
    if requested.is_empty() {
        return Ok(rule);
    }
    match resources.requested(requested) {
        Ok(asked) if asked.path == granted => Ok(rule),
        _ => Err(Reason::OtherResource),
    }
}

/// A code whose client has authenticated: only the claim is left.
#[derive(Debug)]
pub struct AuthenticatedCode {
    record: AuthorizationCode,
    wire: Sealed<AuthorizationCode>,
}

impl CheckedCode {
    /// How the client must authenticate: pinned when the person consented.
    pub fn auth_method(&self) -> AuthMethod {
        self.0.record.auth_method
    }

    /// The client has authenticated.
    pub fn authenticated(self, _proof: Authenticated) -> AuthenticatedCode {
        AuthenticatedCode {
            record: self.0.record,
            wire: self.0.request.code,
        }
    }
}

impl AuthenticatedCode {
    /// What is in the code.
    pub fn record(&self) -> &AuthorizationCode {
        &self.record
    }

    /// The claim was granted to this attempt: the code can be redeemed, once.
    pub fn claimed(self, _claim: ClaimGranted) -> RedeemableCode {
        RedeemableCode {
            record: self.record,
            wire: self.wire,
        }
    }
}

/// Proof that the replay store granted the claim.
#[derive(Debug)]
pub struct ClaimGranted(());

impl ClaimGranted {
    /// Only for whoever has just been told so by the store.
    pub(crate) const fn by_store() -> Self {
        Self(())
    }
}

/// A code that is claimed: tokens can be minted for it.
#[derive(Debug)]
pub struct RedeemableCode {
    record: AuthorizationCode,
    wire: Sealed<AuthorizationCode>,
}

impl RedeemableCode {
    /// What is in the code.
    pub fn record(&self) -> &AuthorizationCode {
        &self.record
    }

    /// The code as it was presented, which parked tokens are bound to.
    pub fn presented(&self) -> &str {
        self.wire.as_str()
    }
}

/// A request to refresh, unchecked.
#[derive(Debug)]
pub struct RefreshRequest {
    token: Sealed<RefreshToken>,
    scope: Option<String>,
    resource: Vec<String>,
}

/// A refresh token that is ours and has not expired.
#[derive(Debug)]
pub struct OpenedRefresh {
    record: RefreshToken,
    request: RefreshRequest,
}

impl RefreshRequest {
    /// Opens the token.
    ///
    /// # Errors
    ///
    /// [`Reason::RefreshToken`].
    pub fn open(self, keys: &Keys, now: Timestamp) -> Result<OpenedRefresh, Reason> {
        let record = keys
            .open(&self.token, now)
            .map_err(Reason::RefreshToken)?
            .record;
        Ok(OpenedRefresh {
            record,
            request: self,
        })
    }
}

/// A refresh token that belongs to this client, and a request that stays within its grant.
#[derive(Debug)]
pub struct CheckedRefresh(AuthenticatedRefresh);

impl OpenedRefresh {
    /// Checks everything that binds the token.
    ///
    /// # Errors
    ///
    /// The first binding that does not hold. Nothing has been used up by then.
    pub fn check(self, client: &Client, resources: &Resources) -> Result<CheckedRefresh, Reason> {
        let Self { record, request } = self;
        // OAuth 2.1 §4.3.1: bound to the client.
        if !record.client.matches(&client.hash()) {
            return Err(Reason::OtherClient);
        }
        // RFC 8707 §2.2, before anything is rotated.
        let rule = within_grant(&request.resource, &record.resource, resources)?;
        let scope = narrowed(request.scope.as_deref(), &record.scope, rule)?;
        let token = Presented {
            hash: TokenHash::of(request.token.as_str()),
            wire: request.token,
        };
        Ok(CheckedRefresh(AuthenticatedRefresh {
            record,
            scope,
            token,
        }))
    }
}

/// OAuth 2.1 §4.3: the scope must not exceed the grant; left out, it is the grant's.
fn narrowed(
    requested: Option<&str>,
    granted: &Scope,
    rule: &ResourceRule,
) -> Result<Scope, Reason> {
    let Some(text) = requested else {
        return Ok(granted.clone());
    };
    let asked = Scope::parse(text).map_err(|_| Reason::ScopeGrammar)?;
    // Words that clients always send, and words that were dropped at the authorization request,
    // are no widening; a scope of the resource that was not granted is.
    let known = asked.intersection(&rule.scopes);
    if !known.is_subset(granted) {
        return Err(Reason::ScopeExceedsGrant);
    }
    if known.is_empty() {
        Ok(granted.clone())
    } else {
        Ok(known.union(&rule.required_scopes).intersection(granted))
    }
}

impl CheckedRefresh {
    /// The grant.
    pub fn grant(&self) -> GrantId {
        self.0.record.grant
    }

    /// How the client must authenticate: pinned when the person consented.
    pub fn auth_method(&self) -> AuthMethod {
        self.0.record.auth_method
    }

    /// The client has authenticated.
    pub fn authenticated(self, _proof: Authenticated) -> AuthenticatedRefresh {
        self.0
    }
}

/// The refresh token as it was presented.
#[derive(Debug)]
struct Presented {
    hash: TokenHash,
    wire: Sealed<RefreshToken>,
}

/// A refresh that passed every check: the replay store decides whose turn it is.
#[derive(Debug)]
pub struct AuthenticatedRefresh {
    record: RefreshToken,
    scope: Scope,
    token: Presented,
}

impl AuthenticatedRefresh {
    /// What is in the token.
    pub fn record(&self) -> &RefreshToken {
        &self.record
    }

    /// The scope of the new access token.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The token's hash, for the replay store.
    pub fn token_hash(&self) -> TokenHash {
        self.token.hash
    }

    /// The hash of the question: a remembered answer is for the same question only.
    pub fn question(&self) -> TokenHash {
        TokenHash::of(&format!("scope {}", self.scope))
    }

    /// The presented token, which the remembered answer is bound to.
    pub fn presented(&self) -> &str {
        self.token.wire.as_str()
    }
}
