//! What is inside each sealed token. All records together are the server's schema.
//!
//! Member names are short because sealing costs by the byte and clients have size limits.
//! [`AccessToken`] uses the JWT claim names (RFC 7519 §4.1, RFC 9068 §2.2).
//!
//! A changed meaning is a new `typ` (see [`Purpose`]), never a silent edit here.

use serde::{Deserialize, Serialize};

use crate::oauth::names::{
    BrowserHash, ClientHash, GrantId, InstanceId, RedirectHash, Secret, StateHash, Subject,
    TokenId, UpstreamFingerprint, UpstreamName,
};
use crate::oauth::scope::Scope;
use crate::seal::{Purpose, Record};
use crate::time::Timestamp;

/// How a client authenticates at `/token` and `/revoke` (RFC 7591 §2, OIDC Core §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthMethod {
    /// A public client: `client_id` alone.
    #[serde(rename = "none")]
    None,
    /// The secret in the `Authorization` header.
    #[serde(rename = "client_secret_basic")]
    ClientSecretBasic,
    /// The secret in the form body.
    #[serde(rename = "client_secret_post")]
    ClientSecretPost,
    /// A signed assertion (RFC 7523 §3).
    #[serde(rename = "private_key_jwt")]
    PrivateKeyJwt,
}

/// `application_type` of OpenID Connect Registration §2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApplicationType {
    /// Redirects to https.
    Web,
    /// Redirects to this computer, or to a private-use scheme.
    Native,
}

/// `cl1`: what a client told us when it registered; sealed, it *is* the `client_id`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientRegistration {
    /// The redirect URIs that were accepted, byte for byte.
    #[serde(rename = "r")]
    pub redirect_uris: Vec<String>,
    /// The name that the client chose for itself.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// How it authenticates.
    #[serde(rename = "m")]
    pub auth_method: AuthMethod,
    /// Web or native.
    #[serde(rename = "t")]
    pub application_type: ApplicationType,
    /// When it registered.
    #[serde(rename = "i")]
    pub issued_at: Timestamp,
}

/// A validated authorization request, waiting for the person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PendingRequest {
    /// Who asks.
    #[serde(rename = "c")]
    pub client: ClientHash,
    /// How that client must authenticate at `/token`: pinned here, with the redirect.
    #[serde(rename = "m")]
    pub auth_method: AuthMethod,
    /// Where the answer goes: already matched against the client.
    #[serde(rename = "r")]
    pub redirect_uri: String,
    /// The client's `state`, to be returned as it came.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// What is asked for, after unknown words were dropped.
    #[serde(rename = "sc")]
    pub scope: Scope,
    /// Public path of the resource that the grant is for.
    #[serde(rename = "rs")]
    pub resource: String,
    /// The client's PKCE challenge, S256.
    #[serde(rename = "cc")]
    pub code_challenge: String,
}

/// `cs1`: the hidden field of the consent form.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PendingConsent {
    /// What the person is asked to allow.
    #[serde(flatten)]
    pub request: PendingRequest,
    /// The browser that was shown the form.
    #[serde(rename = "b")]
    pub browser: BrowserHash,
    /// End of life.
    #[serde(rename = "exp")]
    pub expires_at: Timestamp,
}

/// `lg1`: the session of one login, in a cookie named after the state's hash.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PendingLogin {
    /// What the person allowed.
    #[serde(flatten)]
    pub request: PendingRequest,
    /// The grant that begins here.
    #[serde(rename = "g")]
    pub grant: GrantId,
    /// Where the person signs in.
    #[serde(rename = "u")]
    pub upstream: UpstreamName,
    /// Which provider that name meant when the login began.
    #[serde(rename = "f")]
    pub fingerprint: UpstreamFingerprint,
    /// Our PKCE verifier toward the upstream.
    #[serde(rename = "v")]
    pub verifier: Secret,
    /// Our OpenID nonce toward the upstream.
    #[serde(rename = "n")]
    pub nonce: Secret,
    /// The `state` that the callback must bring.
    #[serde(rename = "h")]
    pub state_hash: StateHash,
    /// End of life.
    #[serde(rename = "exp")]
    pub expires_at: Timestamp,
}

/// Where the upstream's side of a login is when our code is redeemed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum UpstreamLeg {
    /// `exchange = "token"`: the upstream's code travels inside ours and is exchanged at `/token`.
    #[serde(rename = "l")]
    Late {
        /// The upstream's code.
        #[serde(rename = "c")]
        code: Secret,
        /// Our PKCE verifier for it.
        #[serde(rename = "v")]
        verifier: Secret,
        /// Our nonce in its ID token.
        #[serde(rename = "n")]
        nonce: Secret,
    },
    /// `exchange = "callback"`: the tokens wait, sealed, in the replay store.
    #[serde(rename = "p")]
    Parked,
}

/// `ac1`: our authorization code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuthorizationCode {
    /// The client that may redeem it.
    #[serde(rename = "c")]
    pub client: ClientHash,
    /// How that client must authenticate.
    #[serde(rename = "m")]
    pub auth_method: AuthMethod,
    /// The `redirect_uri` that it was sent to.
    #[serde(rename = "r")]
    pub redirect: RedirectHash,
    /// The client's PKCE challenge, S256.
    #[serde(rename = "cc")]
    pub code_challenge: String,
    /// Public path of the resource.
    #[serde(rename = "rs")]
    pub resource: String,
    /// What was allowed.
    #[serde(rename = "sc")]
    pub scope: Scope,
    /// The grant; also the key of the claim that makes the code single-use.
    #[serde(rename = "g")]
    pub grant: GrantId,
    /// The process that minted it.
    #[serde(rename = "in")]
    pub instance: InstanceId,
    /// Where the person signed in.
    #[serde(rename = "u")]
    pub upstream: UpstreamName,
    /// Which provider that was.
    #[serde(rename = "f")]
    pub fingerprint: UpstreamFingerprint,
    /// What we need to finish with the upstream.
    #[serde(rename = "l")]
    pub leg: UpstreamLeg,
    /// When it was minted: the grant's issue time.
    #[serde(rename = "iat")]
    pub issued_at: Timestamp,
    /// End of life.
    #[serde(rename = "exp")]
    pub expires_at: Timestamp,
}

/// What the upstream says about the person, as far as a rule or a resource may need it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// E-mail address, present only when verified.
    #[serde(rename = "em", default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The name that the person goes by at the upstream.
    #[serde(rename = "un", default, skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<String>,
    /// Groups that a rule or a resource asked for.
    #[serde(rename = "gr", default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

/// `at1`: our access token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccessToken {
    /// The issuer, `public_url`.
    pub iss: String,
    /// Who signed in.
    pub sub: Subject,
    /// The resource that it opens.
    pub aud: String,
    /// The client that holds it.
    pub client_id: ClientHash,
    /// What it allows.
    pub scope: Scope,
    /// When it was minted.
    pub iat: Timestamp,
    /// End of life.
    pub exp: Timestamp,
    /// Its own id, for the ledgers of whoever receives it.
    pub jti: TokenId,
    /// The grant that it belongs to.
    #[serde(rename = "g")]
    pub grant: GrantId,
    /// When that grant began: what revocation epochs are compared with.
    #[serde(rename = "gi")]
    pub grant_issued_at: Timestamp,
    /// Which provider vouched for the person.
    #[serde(rename = "f")]
    pub fingerprint: UpstreamFingerprint,
    /// The person's e-mail address, verified, where the resource wants to know it.
    // The members of `Identity`, one by one: a flattened struct is read by way of a copy of every
    // member that is not its own, and this record is read at every call.
    #[serde(rename = "em", default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The name that the person goes by at the upstream.
    #[serde(rename = "un", default, skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<String>,
    /// The person's groups.
    #[serde(rename = "gr", default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The upstream's access token, only for a resource that forwards it.
    #[serde(rename = "ut", default, skip_serializing_if = "Option::is_none")]
    pub upstream_token: Option<Secret>,
}

/// What we can ask the upstream with at a refresh.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum UpstreamCredential {
    /// Its refresh token.
    #[serde(rename = "r")]
    Refresh(Secret),
    /// Its access token, where it gives no refresh token: asked for the identity again.
    #[serde(rename = "a")]
    Access {
        /// The token.
        #[serde(rename = "t")]
        token: Secret,
        /// Its end, where the upstream told one.
        #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
    },
    /// The sign-in itself, where the upstream can be asked nothing and is configured with
    /// `reauth = "never"`.
    #[serde(rename = "k")]
    Kept {
        /// Its access token.
        #[serde(rename = "t")]
        token: Secret,
        /// That token's end, where the upstream told one.
        #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
        /// What the upstream said about the person.
        #[serde(rename = "i")]
        identity: Identity,
    },
    /// Nothing: the grant ends with the access token.
    #[serde(rename = "n")]
    Nothing,
}

/// `rt1`: our refresh token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RefreshToken {
    /// Who signed in.
    #[serde(rename = "s")]
    pub subject: Subject,
    /// The client that may use it.
    #[serde(rename = "c")]
    pub client: ClientHash,
    /// How that client must authenticate.
    #[serde(rename = "m")]
    pub auth_method: AuthMethod,
    /// Public path of the resource.
    #[serde(rename = "rs")]
    pub resource: String,
    /// What was allowed: never grows.
    #[serde(rename = "sc")]
    pub scope: Scope,
    /// The grant.
    #[serde(rename = "g")]
    pub grant: GrantId,
    /// When the grant began.
    #[serde(rename = "gi")]
    pub grant_issued_at: Timestamp,
    /// How many rotations this grant has seen; the first refresh token is 0.
    #[serde(rename = "k")]
    pub generation: u64,
    /// When the grant ends whatever happens.
    #[serde(rename = "ge")]
    pub grant_ends_at: Timestamp,
    /// The process that minted it.
    #[serde(rename = "in")]
    pub instance: InstanceId,
    /// Where the person signed in.
    #[serde(rename = "u")]
    pub upstream: UpstreamName,
    /// Which provider that was.
    #[serde(rename = "f")]
    pub fingerprint: UpstreamFingerprint,
    /// What the upstream is asked with.
    #[serde(rename = "uc")]
    pub credential: UpstreamCredential,
    /// When it was minted.
    #[serde(rename = "iat")]
    pub issued_at: Timestamp,
    /// Idle end of life, never after `grant_ends_at`.
    #[serde(rename = "exp")]
    pub expires_at: Timestamp,
}

/// `ms1`: the backend's `Mcp-Session-Id`, bound to the person and the route.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SessionId {
    /// The backend's own session id.
    #[serde(rename = "i")]
    pub id: String,
    /// The person that it was made for; none on a resource with optional sign-in.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// Public path of the resource.
    #[serde(rename = "rs")]
    pub resource: String,
}

/// `mm1`: the answer to a refresh, kept through the grace so that a repeat gets the same bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Memo {
    /// The body of the answer.
    #[serde(rename = "b")]
    pub body: Secret,
    /// End of the grace.
    #[serde(rename = "exp")]
    pub expires_at: Timestamp,
}

macro_rules! record {
    ($name:ident, $expires:expr) => {
        impl Record for $name {
            const PURPOSE: Purpose = Purpose::$name;

            fn expires_at(&self) -> Option<Timestamp> {
                let expires: fn(&Self) -> Option<Timestamp> = $expires;
                expires(self)
            }
        }
    };
}

record!(ClientRegistration, |_| None);
record!(PendingConsent, |it| Some(it.expires_at));
record!(PendingLogin, |it| Some(it.expires_at));
record!(AuthorizationCode, |it| Some(it.expires_at));
record!(RefreshToken, |it| Some(it.expires_at));
record!(SessionId, |_| None);
record!(Memo, |it| Some(it.expires_at));

impl Record for AccessToken {
    const PURPOSE: Purpose = Purpose::AccessToken;

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.exp)
    }

    fn issuer(&self) -> Option<&str> {
        Some(&self.iss)
    }
}
