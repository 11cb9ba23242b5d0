//! From the MCP URL to the authorization server: RFC 9728 §5.1, RFC 9728 §3, RFC 8414 §3.

use axum::http::StatusCode;
use serde_json::Value;
use url::Url;

use super::agent::Agent;
use super::mcp;
use super::noted;
use super::report::{Mismatch, Noted, ensure, ensure_same};

/// What a 401 says.
#[derive(Debug)]
pub(super) struct Challenge {
    metadata: Url,
    scope: Option<String>,
}

/// What the resource says.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) mcp_url: Url,
    pub(super) issuer: String,
    pub(super) scope: String,
}

/// What the authorization server says.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) issuer: String,
    pub(super) authorize: Url,
    pub(super) token: Url,
    pub(super) register: Url,
    pub(super) revoke: Url,
}

/// A request without a token: where to go from here.
pub(super) async fn challenge(agent: &Agent, mcp_url: &Url) -> Result<Noted<Challenge>, Mismatch> {
    let answer = agent.post_json(mcp_url, &mcp::initialization()).await?;
    answer.expect(StatusCode::UNAUTHORIZED)?;
    answer.expect_no_store()?;
    let header = answer.header("www-authenticate");
    let parameters = bearer_parameters(header)
        .ok_or_else(|| Mismatch::new("WWW-Authenticate: Bearer name=\"value\", …", header))?;
    let find = |name: &str| {
        let mut all = parameters.iter();
        all.find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
    };
    // RFC 6750 §3.1: no error where no token was sent.
    ensure(find("error").is_none(), "a challenge without error", header)?;
    let metadata = Url::parse(&find("resource_metadata").unwrap_or_default())
        .map_err(|_| Mismatch::new("resource_metadata with an absolute URL", header))?;
    let note = metadata.to_string();
    let scope = find("scope");
    Ok(noted(Challenge { metadata, scope }, note))
}

/// RFC 9728 §3.3: the resource must be the one that was asked for, byte for byte.
pub(super) async fn resource(
    agent: &Agent,
    mcp_url: &Url,
    challenge: &Challenge,
) -> Result<Noted<Resource>, Mismatch> {
    let answer = agent.get(&challenge.metadata).await?;
    answer.expect(StatusCode::OK)?;
    let document = answer.json()?;
    ensure_same("resource", mcp_url.as_str(), &text(&document, "resource"))?;
    let methods = strings(&document, "bearer_methods_supported");
    ensure(
        methods.iter().any(|method| method == "header"),
        "bearer_methods_supported with header",
        methods.join(" "),
    )?;
    let issuer = strings(&document, "authorization_servers")
        .into_iter()
        .next()
        .ok_or_else(|| Mismatch::new("an authorization server", "none"))?;
    // MCP, authorization: the challenge's scope goes before the document's.
    let supported = strings(&document, "scopes_supported").join(" ");
    let scope = challenge.scope.clone().unwrap_or(supported);
    let note = format!("issuer {issuer}");
    let resource = Resource {
        mcp_url: mcp_url.clone(),
        issuer,
        scope,
    };
    Ok(noted(resource, note))
}

/// RFC 8414 §3.3: the issuer must be the one that was asked for, byte for byte.
pub(super) async fn server(agent: &Agent, issuer: &str) -> Result<Noted<Server>, Mismatch> {
    // RFC 8414 §3.1; an issuer with a path would have it behind the well-known part.
    let url = Url::parse(&format!("{issuer}/.well-known/oauth-authorization-server"));
    let url = url.map_err(|_| Mismatch::new("an issuer that is a URL", issuer))?;
    let answer = agent.get(&url).await?;
    answer.expect(StatusCode::OK)?;
    let document = answer.json()?;
    ensure_same("issuer", issuer, &text(&document, "issuer"))?;
    for (member, needed) in [
        ("code_challenge_methods_supported", "S256"),
        ("response_types_supported", "code"),
        ("grant_types_supported", "authorization_code"),
        ("grant_types_supported", "refresh_token"),
        ("token_endpoint_auth_methods_supported", "none"),
    ] {
        let listed = strings(&document, member);
        let holds = listed.iter().any(|it| it == needed);
        ensure(holds, format!("{member} with {needed}"), listed.join(" "))?;
    }
    let tells_issuer = document.get("authorization_response_iss_parameter_supported");
    ensure(
        tells_issuer == Some(&Value::Bool(true)),
        "authorization_response_iss_parameter_supported",
        "not supported",
    )?;
    let endpoint = |name: &str| {
        let url = text(&document, name);
        Url::parse(&url).map_err(|_| Mismatch::new(format!("{name} with a URL"), url))
    };
    let server = Server {
        issuer: issuer.to_owned(),
        authorize: endpoint("authorization_endpoint")?,
        token: endpoint("token_endpoint")?,
        register: endpoint("registration_endpoint")?,
        revoke: endpoint("revocation_endpoint")?,
    };
    Ok(noted(server, "PKCE S256, iss, registration, revocation"))
}

/// A member that is a string; empty if it is not.
pub(super) fn text(document: &Value, name: &str) -> String {
    document
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn strings(document: &Value, name: &str) -> Vec<String> {
    let list = document.get(name).and_then(Value::as_array);
    let strings = list.into_iter().flatten().filter_map(Value::as_str);
    strings.map(str::to_owned).collect()
}

/// The parameters of a single `Bearer` challenge, quoted strings only (RFC 9110 §11.6.1).
fn bearer_parameters(header: &str) -> Option<Vec<(String, String)>> {
    let mut rest = header.strip_prefix("Bearer ")?.trim();
    let mut parameters = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        parameters.push((name.trim().to_ascii_lowercase(), value.to_owned()));
        let after = after.trim();
        rest = match after.strip_prefix(',') {
            Some(more) => more.trim(),
            None if after.is_empty() => after,
            None => return None,
        };
    }
    Some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    // W1, W7
    #[test]
    fn challenge_is_read_strictly() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            bearer_parameters(r#"Bearer resource_metadata="http://a/b", scope="x y, z""#),
            Some(vec![
                pair("resource_metadata", "http://a/b"),
                pair("scope", "x y, z")
            ])
        );
        for bad in [
            "",
            "Basic realm=\"x\"",
            "Bearer a=b",
            "Bearer a=\"b\" c=\"d\"",
        ] {
            assert_eq!(bearer_parameters(bad), None, "{bad}");
        }
    }
}
