//! Discovery documents: RFC 8414 for the authorization server, RFC 9728 for each resource.

use serde::Serialize;

use crate::oauth::names::{Issuer, ResourceUri};
use crate::oauth::pkce;
use crate::oauth::resource::{ResourceRule, Resources};
use crate::oauth::scope::Scope;

/// What is switched on. Nothing is advertised that does not answer.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// RFC 7591.
    pub registration: bool,
    /// Client ID metadata documents.
    pub documents: bool,
    /// RFC 7009.
    pub revocation: bool,
}

/// RFC 8414 §2.
#[derive(Debug, Serialize)]
pub struct ServerMetadata {
    issuer: Issuer,
    authorization_endpoint: String,
    token_endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_endpoint: Option<String>,
    response_types_supported: [&'static str; 1],
    response_modes_supported: [&'static str; 1],
    grant_types_supported: [&'static str; 2],
    token_endpoint_auth_methods_supported: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    token_endpoint_auth_signing_alg_values_supported: Option<&'static [&'static str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_endpoint_auth_methods_supported: Option<&'static [&'static str]>,
    code_challenge_methods_supported: [&'static str; 1],
    scopes_supported: Vec<String>,
    authorization_response_iss_parameter_supported: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    client_id_metadata_document_supported: bool,
}

/// With `none` first: some clients take the first that they know.
const SECRET_METHODS: &[&str] = &["none", "client_secret_basic", "client_secret_post"];
const ALL_METHODS: &[&str] = &[
    "none",
    "client_secret_basic",
    "client_secret_post",
    "private_key_jwt",
];

/// RFC 8414 §2: algorithms of client assertions. Never `none`, never a shared key.
pub const ASSERTION_ALGORITHMS: &[&str] = &["RS256", "PS256", "ES256", "EdDSA"];

impl ServerMetadata {
    /// The document of this server.
    pub fn new(issuer: &Issuer, resources: &Resources, features: Features) -> Self {
        let url = |path: &str| format!("{issuer}{path}");
        // Keys come from metadata documents only, so the method is there when those are.
        let methods = if features.documents {
            ALL_METHODS
        } else {
            SECRET_METHODS
        };
        Self {
            issuer: issuer.clone(),
            authorization_endpoint: url("/authorize"),
            token_endpoint: url("/token"),
            registration_endpoint: features.registration.then(|| url("/register")),
            revocation_endpoint: features.revocation.then(|| url("/revoke")),
            response_types_supported: ["code"],
            response_modes_supported: ["query"],
            grant_types_supported: ["authorization_code", "refresh_token"],
            token_endpoint_auth_methods_supported: methods,
            token_endpoint_auth_signing_alg_values_supported: features
                .documents
                .then_some(ASSERTION_ALGORITHMS),
            revocation_endpoint_auth_methods_supported: features.revocation.then_some(methods),
            code_challenge_methods_supported: [pkce::METHOD],
            scopes_supported: resources.all_scopes().iter().map(str::to_owned).collect(),
            authorization_response_iss_parameter_supported: true,
            client_id_metadata_document_supported: features.documents,
        }
    }
}

/// RFC 9728 §2.
#[derive(Debug, Serialize)]
pub struct ResourceMetadata {
    resource: ResourceUri,
    authorization_servers: [Issuer; 1],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes_supported: Vec<String>,
    bearer_methods_supported: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_name: Option<String>,
}

impl ResourceMetadata {
    /// The document of one resource.
    pub fn new(issuer: &Issuer, rule: &ResourceRule) -> Self {
        let baseline: Scope = rule.default_scope();
        Self {
            resource: rule.uri.clone(),
            authorization_servers: [issuer.clone()],
            scopes_supported: baseline.iter().map(str::to_owned).collect(),
            bearer_methods_supported: ["header"],
            resource_name: rule.name.clone(),
        }
    }
}
