//! OpenID Connect Discovery 1.0: the provider's own description of itself.
//!
//! Refuses a document of another issuer (§4.3) and endpoints that are not confidential. The one
//! exception: a shared tenant of Entra, whose document names `{tenantid}` in place of a tenant.

use serde_json::Value;
use url::Url;

use super::token_response::{Barred, read_json};
use super::{UpstreamError, unavailable};
use crate::net::{TrustedClient, is_confidential};

/// What we need of a discovery document.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    pub(super) issuer: String,
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    pub(super) jwks_uri: Url,
    pub(super) userinfo_endpoint: Option<Url>,
    pub(super) revocation_endpoint: Option<Url>,
    pub(super) introspection_endpoint: Option<Url>,
    pub(super) code_challenge_methods_supported: Option<Vec<String>>,
    pub(super) token_endpoint_auth_methods_supported: Option<Vec<String>>,
    pub(super) sends_iss: bool,
}

impl Metadata {
    /// Reads a document; the error is the name of the member that is missing or wrong.
    fn read(document: &Value) -> Result<Self, &'static str> {
        let url = |name: &'static str| match document.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let url = value.as_str().and_then(|it| Url::parse(it).ok());
                url.filter(is_confidential).map(Some).ok_or(name)
            }
        };
        let required = |name: &'static str| url(name)?.ok_or(name);
        let words = |name: &str| {
            let list = document.get(name)?.as_array()?;
            let words = list.iter().filter_map(Value::as_str);
            Some(words.map(str::to_owned).collect())
        };
        let issuer = document.get("issuer").and_then(Value::as_str);
        Ok(Self {
            issuer: issuer.ok_or("issuer")?.to_owned(),
            authorization_endpoint: required("authorization_endpoint")?,
            token_endpoint: required("token_endpoint")?,
            jwks_uri: required("jwks_uri")?,
            userinfo_endpoint: url("userinfo_endpoint")?,
            revocation_endpoint: url("revocation_endpoint")?,
            introspection_endpoint: url("introspection_endpoint")?,
            code_challenge_methods_supported: words("code_challenge_methods_supported"),
            token_endpoint_auth_methods_supported: words("token_endpoint_auth_methods_supported"),
            // RFC 9207 §3
            sends_iss: document.get("authorization_response_iss_parameter_supported")
                == Some(&Value::Bool(true)),
        })
    }
}

/// What a shared tenant's document has in place of the tenant.
pub(super) const TENANT: &str = "{tenantid}";

/// Entra's tenant of all personal accounts.
const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// Where the document of an issuer is (Discovery §4): appended to its path.
fn location(issuer: &str) -> Option<Url> {
    let base = issuer.strip_suffix('/').unwrap_or(issuer);
    Url::parse(&format!("{base}/.well-known/openid-configuration")).ok()
}

/// Fetches and checks the document of an issuer.
pub(super) async fn fetch(http: &TrustedClient, issuer: &str) -> Result<Metadata, UpstreamError> {
    let url = location(issuer).ok_or_else(|| unavailable("the issuer is not a URL"))?;
    let about = |error| match error {
        UpstreamError::Unavailable {
            reason,
            retry_after,
        } => UpstreamError::Unavailable {
            reason: format!("discovery: {reason}"),
            retry_after,
        },
        other => other,
    };
    let answer = http
        .send(http.request(http::Method::GET, &url))
        .await
        .map_err(|failure| about(failure.into()))?;
    let document = read_json(&answer, &[], Barred::Us).map_err(about)?;
    let metadata = Metadata::read(&document)
        .map_err(|name| unavailable(format!("discovery: `{name}` is missing or no https URL")))?;
    // Discovery §4.3: exactly the issuer that was asked.
    if metadata.issuer != issuer && !is_template_of(&metadata.issuer, issuer) {
        let reason = "discovery: the document is of another issuer than configured";
        return Err(unavailable(reason));
    }
    Ok(metadata)
}

/// Whether a document's issuer is the configured one with the shared tenant as a variable, or, for
/// personal accounts, as its id.
fn is_template_of(template: &str, issuer: &str) -> bool {
    let filled = |variable: &str, tenant: &str| {
        template.contains(variable) && template.replacen(variable, tenant, 1) == issuer
    };
    ["common", "organizations", "consumers"]
        .iter()
        .any(|tenant| filled(TENANT, tenant))
        || filled(PERSONAL, "consumers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_is_below_the_issuer() {
        let at = |issuer| location(issuer).unwrap().to_string();
        let tail = ".well-known/openid-configuration";
        assert_eq!(at("https://a.example"), format!("https://a.example/{tail}"));
        assert_eq!(
            at("https://a.example/"),
            format!("https://a.example/{tail}")
        );
        assert_eq!(
            at("https://a.example/realms/x"),
            format!("https://a.example/realms/x/{tail}")
        );
    }

    #[test]
    fn only_a_shared_tenant_may_be_a_template() {
        let template = "https://login.example/{tenantid}/v2.0";
        assert!(is_template_of(
            template,
            "https://login.example/common/v2.0"
        ));
        assert!(!is_template_of(
            template,
            "https://login.example/tenant-1/v2.0"
        ));
        assert!(!is_template_of(template, "https://login.other/common/v2.0"));
        assert!(!is_template_of(
            "https://login.example/x/v2.0",
            "https://login.example/x/v2.0"
        ));
    }
}
