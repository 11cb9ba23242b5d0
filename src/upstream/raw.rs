//! What can be written in an `[upstreams.NAME]` table: what a preset says, and what the operator
//! says over it. Nothing is judged here; `settings.rs` does.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::ExchangeAt;
use crate::oauth::names::Secret;

/// What a refresh asks the upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reauth {
    /// The refresh grant, or else the identity.
    #[default]
    Refresh,
    /// Nothing, where it can do neither: the sign-in holds to the end of our grant.
    Never,
}

/// Whether an upstream knows PKCE (RFC 7636).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pkce {
    /// It refuses requests without.
    Required,
    /// It checks a challenge that it is sent.
    #[default]
    Supported,
    /// It depends on how the app is registered.
    Optional,
    /// It does not.
    None,
    /// Sources disagree.
    Unknown,
}

/// How we authenticate at the upstream's token endpoint (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// In the body.
    Post,
    /// In the `Authorization` header.
    Basic,
    /// As the discovery document says.
    #[default]
    Either,
    /// Not at all: a public client.
    None,
}

/// How requests to the token endpoint are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenBody {
    /// As the standard says.
    #[default]
    Form,
    /// As JSON.
    Json,
}

/// Where the person's identity is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentitySource {
    /// The ID token, completed by userinfo where a claim is wanted and missing.
    IdToken,
    /// The userinfo endpoint, or what takes its place.
    Userinfo,
    /// The answer of the token endpoint.
    TokenResponse,
    /// A GraphQL query.
    Graphql,
    /// Token introspection (RFC 7662).
    Introspect,
}

/// The method of the userinfo request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum UserinfoMethod {
    /// As the standard says.
    #[default]
    #[serde(rename = "GET")]
    Get,
    /// With an empty body.
    #[serde(rename = "POST")]
    Post,
}

/// How a token is revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum RevocationStyle {
    /// RFC 7009, written as token requests are.
    #[serde(rename = "rfc7009")]
    Rfc7009,
    /// A call with the access token that is to end.
    #[serde(rename = "bearer-self")]
    BearerSelf,
    /// `DELETE` with Basic authentication and the access token in JSON.
    #[serde(rename = "github")]
    Github,
    /// It cannot be.
    #[default]
    #[serde(rename = "none")]
    None,
}

/// What a revocation ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RevocationScope {
    /// The one token.
    Token,
    /// More than that, or nobody knows.
    #[default]
    All,
}

macro_rules! raw {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)*) => {
        /// One `[upstreams.NAME]` table; a key that was not written is `None`.
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct RawUpstream {
            $($(#[$doc])* pub $field: Option<$type>,)*
        }

        impl RawUpstream {
            /// Every key that can be written.
            pub const KEYS: &'static [&'static str] = &[$(stringify!($field)),*];

            /// These values, and `base`'s where there is none.
            pub(super) fn over(self, base: Self) -> Self {
                Self { $($field: self.$field.or(base.$field),)* }
            }
        }
    };
}

raw! {
    /// A preset, `oidc` or `oauth2`.
    provider: String,
    /// The issuer.
    issuer: String,
    /// Our client id there.
    client_id: String,
    /// Our client secret there; the configuration puts the contents of `client_secret_file` here.
    client_secret: Secret,
    /// What is asked for.
    scopes: Vec<String>,
    /// When the code is exchanged.
    exchange: ExchangeAt,
    /// Path of our callback; `/callback/NAME` by default.
    callback_path: String,
    /// What a refresh asks.
    reauth: Reauth,
    /// Whether its e-mail addresses count as verified without its saying so.
    trust_email: bool,
    /// Whether our revocations are passed on whatever else they end.
    revoke_upstream: bool,
    /// The claim that lists groups.
    groups_claim: String,
    /// A further certificate authority; its contents come with [`super::Secrets`].
    extra_ca_file: PathBuf,

    /// Template variable: a host name.
    host: String,
    /// Template variable: a domain.
    domain: String,
    /// Template variable: Entra's tenant.
    tenant: String,
    /// Template variable: Keycloak's realm.
    realm: String,
    /// Template variable: Okta's authorization server.
    as_id: String,

    /// What people call it.
    display: String,
    /// Other spellings of the issuer in ID tokens.
    issuer_aliases: Vec<String>,
    /// Where the browser is sent.
    authorize_url: String,
    /// Where codes are exchanged.
    token_url: String,
    /// Where refresh tokens are used, if not there.
    refresh_url: String,
    /// Where identity is read.
    userinfo_url: String,
    /// Its method.
    userinfo_method: UserinfoMethod,
    /// A GraphQL query for it.
    userinfo_query: String,
    /// Where e-mail addresses are listed, if not there (GitHub's shape).
    email_url: String,
    /// RFC 7662.
    introspection_url: String,
    /// Where tokens are revoked.
    revocation_url: String,
    /// How.
    revocation_style: RevocationStyle,
    /// What that ends.
    revocation_scope: RevocationScope,
    /// Whether PKCE is known there.
    pkce: Pkce,
    /// Whether we send it, where `pkce` does not settle it.
    send_pkce: bool,
    /// How we authenticate.
    client_auth: ClientAuth,
    /// How token requests are written.
    token_body: TokenBody,
    /// Further headers of token requests.
    token_headers: BTreeMap<String, String>,
    /// Further headers of identity requests.
    api_headers: BTreeMap<String, String>,
    /// Name of the scope parameter; empty for none.
    scope_param: String,
    /// What separates scopes.
    scope_sep: String,
    /// Further parameters of the authorization request.
    authorize_params: BTreeMap<String, String>,
    /// The same when the person wants to choose an account.
    account_params: BTreeMap<String, String>,
    /// Whether token requests repeat the scope.
    repeat_scope: bool,
    /// Whether refreshes repeat the callback.
    repeat_redirect_uri: bool,
    /// Where the tokens are in the answer: the first that has one.
    token_path: Vec<String>,
    /// Errors by which it refuses for good, besides the standard ones.
    refused_errors: Vec<String>,
    /// Where identity is read.
    identity: IdentitySource,
    /// Path of the stable id; several joined by `+`.
    subject: String,
    /// Path of the e-mail address.
    email: String,
    /// Path of what says that it is verified.
    email_verified: String,
    /// Path of the name that the person goes by.
    username: String,
    /// How long its codes live.
    code_ttl_s: u64,
}
