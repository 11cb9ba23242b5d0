//! Client ID metadata documents: draft-ietf-oauth-client-id-metadata-document.
//!
//! Pure: which URLs may be fetched, and what a fetched document says. Refuses URLs in any spelling
//! but their own, documents that name another client, shared secrets, and keys that are not to be
//! had over https.

use jsonwebtoken::jwk::JwkSet;
use serde::Deserialize as _;
use serde_json::{Map, Value};
use url::Url;

use crate::oauth::records::AuthMethod;
use crate::oauth::redirect;
use crate::oauth::register::{MAX_REDIRECT_URIS, displayable};

/// Longest URL that is accepted as a `client_id`.
pub const MAX_URL: usize = 512;
/// Largest document (draft §6.6 recommends 5 KB).
pub const MAX_DOCUMENT: usize = 5 * 1024;

/// A `client_id` that may be fetched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DocumentUrl(Url);

/// Why a document cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Draft §3: https, a path, no dot segments, fragment or user information, one spelling.
    #[error("the client_id is not a usable URL: {0}")]
    Url(&'static str),
    /// The operator's lists.
    #[error("documents of this host are not accepted here")]
    Host,
    /// Not fetched.
    #[error("the document was not fetched: {0}")]
    NotFetched(String),
    /// Draft §4.1.
    #[error("the document is not usable: {0}")]
    Content(&'static str),
}

impl DocumentUrl {
    /// Checks a `client_id`. `loopback` also allows plain http on this computer, for development.
    ///
    /// # Errors
    ///
    /// [`DocumentError::Url`].
    pub fn parse(client_id: &str, loopback: bool) -> Result<Self, DocumentError> {
        let bad = DocumentError::Url;
        if client_id.len() > MAX_URL {
            return Err(bad("too long"));
        }
        let url = Url::parse(client_id).map_err(|_| bad("not a URL"))?;
        // One spelling: the client_id is compared as a string (draft §4.1), dot segments included.
        if url.as_str() != client_id {
            return Err(bad("not in its canonical spelling"));
        }
        let is_loopback = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
        match url.scheme() {
            "https" => {}
            "http" if loopback && is_loopback => {}
            _ => return Err(bad("not https")),
        }
        if url.path() == "/" {
            return Err(bad("without a path"));
        }
        if url.fragment().is_some() || client_id.contains('#') {
            return Err(bad("with a fragment"));
        }
        if !url.username().is_empty() || url.password().is_some() || client_id.contains('@') {
            return Err(bad("with user information"));
        }
        let encoded = client_id.to_ascii_lowercase();
        if ["%2e", "%2f", "%5c", "%00"]
            .iter()
            .any(|it| encoded.contains(it))
        {
            return Err(bad("with an encoded dot, slash or NUL"));
        }
        Ok(Self(url))
    }

    /// The URL.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Its host: what people are shown, and what the operator's lists name.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

/// Where a client's keys are.
#[derive(Clone, Debug)]
pub enum ClientKeys {
    /// None: a public client.
    None,
    /// In the document.
    Inline(JwkSet),
    /// At an https URL.
    At(Url),
}

/// A document that passed every check.
#[derive(Clone, Debug)]
pub struct ClientDocument {
    /// The redirect URIs that can be used.
    pub redirect_uris: Vec<String>,
    /// The client's name, fit to be shown.
    pub name: String,
    /// How it must authenticate.
    pub auth_method: AuthMethod,
    /// With which keys.
    pub keys: ClientKeys,
}

impl ClientDocument {
    /// Reads a document. `private_use` lists the private-use redirect URIs that are allowed.
    ///
    /// # Errors
    ///
    /// [`DocumentError::Content`].
    pub fn parse(
        url: &DocumentUrl,
        body: &[u8],
        private_use: &[String],
    ) -> Result<Self, DocumentError> {
        let bad = DocumentError::Content;
        if body.len() > MAX_DOCUMENT {
            return Err(bad("larger than 5 KB"));
        }
        let Ok(Value::Object(members)) = serde_json::from_slice(body) else {
            return Err(bad("not a JSON object"));
        };
        // Draft §4.1: simple string comparison.
        if members.get("client_id").and_then(Value::as_str) != Some(url.0.as_str()) {
            return Err(bad("client_id is not the document's URL"));
        }
        // Draft §4.1: a shared secret cannot be public.
        if members.keys().any(|name| name.starts_with("client_secret")) {
            return Err(bad("it holds a client secret"));
        }
        let name = members
            .get("client_name")
            .and_then(Value::as_str)
            .and_then(displayable);
        let name = name.ok_or_else(|| bad("client_name is missing"))?;
        let redirect_uris = redirect_uris(&members, private_use)?;
        let (auth_method, keys) = authentication(&members)?;
        Ok(Self {
            redirect_uris,
            name,
            auth_method,
            keys,
        })
    }
}

fn redirect_uris(
    members: &Map<String, Value>,
    private_use: &[String],
) -> Result<Vec<String>, DocumentError> {
    let uris = members.get("redirect_uris").and_then(Value::as_array);
    let uris = uris.ok_or(DocumentError::Content("redirect_uris is missing"))?;
    let usable: Vec<_> = uris
        .iter()
        .filter_map(Value::as_str)
        .filter(|uri| redirect::check(uri, private_use).is_ok())
        .take(MAX_REDIRECT_URIS)
        .map(str::to_owned)
        .collect();
    if usable.is_empty() {
        return Err(DocumentError::Content("no redirect URI can be used"));
    }
    Ok(usable)
}

/// The strongest method that both sides have: a client with keys must use them, so that nobody can
/// do without (draft §6.2).
fn authentication(members: &Map<String, Value>) -> Result<(AuthMethod, ClientKeys), DocumentError> {
    let one = members
        .get("token_endpoint_auth_method")
        .and_then(Value::as_str);
    let many = members
        .get("token_endpoint_auth_methods_supported")
        .and_then(Value::as_array);
    let listed: Vec<&str> = many
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .chain(one)
        .collect();
    if listed.contains(&"private_key_jwt") {
        return Ok((AuthMethod::PrivateKeyJwt, keys(members)?));
    }
    // Absent means public here: a document cannot hold the secret that RFC 7591 would default to.
    if listed.is_empty() || listed.contains(&"none") {
        return Ok((AuthMethod::None, ClientKeys::None));
    }
    Err(DocumentError::Content(
        "token_endpoint_auth_method must be none or private_key_jwt",
    ))
}

fn keys(members: &Map<String, Value>) -> Result<ClientKeys, DocumentError> {
    let bad = DocumentError::Content;
    match (
        members.get("jwks"),
        members.get("jwks_uri").and_then(Value::as_str),
    ) {
        // RFC 7591 §2: not both.
        (Some(_), Some(_)) => Err(bad("it has jwks and jwks_uri")),
        (Some(set), None) => JwkSet::deserialize(set)
            .ok()
            .filter(|set| !set.keys.is_empty())
            .map(ClientKeys::Inline)
            .ok_or_else(|| bad("jwks holds no usable key")),
        (None, Some(uri)) => Url::parse(uri)
            .ok()
            .filter(|url| url.scheme() == "https" && url.username().is_empty())
            .map(ClientKeys::At)
            .ok_or_else(|| bad("jwks_uri is not an https URL")),
        (None, None) => Err(bad("private_key_jwt without jwks or jwks_uri")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const URL: &str = "https://client.example/oauth/client.json";

    // M1
    #[test]
    fn only_plain_https_urls_with_a_path_name_a_client() {
        for good in [
            URL,
            "https://client.example:8443/c",
            "https://client.example/c?v=1",
            "https://claude.ai/oauth/mcp-oauth-client-metadata",
        ] {
            assert!(DocumentUrl::parse(good, false).is_ok(), "{good}");
        }
        for bad in [
            "http://client.example/c",
            "https://client.example",
            "https://client.example/",
            "https://client.example/a/../c",
            "https://client.example/%2e%2e/c",
            "https://client.example/a/./c",
            "https://client.example/c#f",
            "https://client.example/c#",
            "https://u:p@client.example/c",
            "https://u@client.example/c",
            "HTTPS://client.example/c",
            "https://CLIENT.example/c",
            "https://client.example:443/c",
            "https://client.example\\c",
            "https://client.example/a%2fc",
            " https://client.example/c",
            "https://ä.example/c",
            "ftp://client.example/c",
            "https:///c",
            "http://127.0.0.1/c",
        ] {
            assert!(DocumentUrl::parse(bad, false).is_err(), "{bad}");
        }
        assert!(DocumentUrl::parse("http://127.0.0.1:3000/c", true).is_ok());
        assert!(DocumentUrl::parse("http://client.example/c", true).is_err());
    }

    fn read(edit: impl FnOnce(&mut Value)) -> Result<ClientDocument, DocumentError> {
        let mut body = json!({
            "client_id": URL, "client_name": "Example", "redirect_uris": ["https://client.example/cb", "javascript:x"],
            "grant_types": ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"], "unknown": {},
        });
        edit(&mut body);
        let url = DocumentUrl::parse(URL, false).unwrap();
        ClientDocument::parse(&url, body.to_string().as_bytes(), &[])
    }

    // M3, M6
    #[test]
    fn document_must_name_itself_and_its_redirects() {
        let document = read(|_| {}).unwrap();
        assert_eq!(document.redirect_uris, ["https://client.example/cb"]);
        assert_eq!(document.auth_method, AuthMethod::None);
        for member in ["client_id", "client_name", "redirect_uris"] {
            assert!(
                read(|body| {
                    body.as_object_mut().unwrap().remove(member);
                })
                .is_err(),
                "{member}"
            );
        }
        assert!(read(|body| body["client_id"] = json!(format!("{URL}/"))).is_err());
        assert!(
            read(|body| body["client_id"] = json!("https://client.example/OAuth/client.json"))
                .is_err()
        );
        assert!(read(|body| body["redirect_uris"] = json!(["http://evil.example/"])).is_err());
        assert!(read(|body| body["pad"] = json!("x".repeat(MAX_DOCUMENT))).is_err());
    }

    // M4, M5
    #[test]
    fn method_is_the_strongest_of_both_sides() {
        let method = |edit: Value| {
            read(|body| {
                body.as_object_mut()
                    .unwrap()
                    .extend(edit.as_object().unwrap().clone());
            })
            .map(|it| it.auth_method)
        };
        assert_eq!(
            method(json!({"token_endpoint_auth_method": "none"})),
            Ok(AuthMethod::None)
        );
        let keys = "https://client.example/jwks.json";
        let jwt = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": keys});
        assert_eq!(method(jwt), Ok(AuthMethod::PrivateKeyJwt));
        let both = json!({"token_endpoint_auth_methods_supported": ["none", "private_key_jwt"], "jwks_uri": keys});
        assert_eq!(method(both), Ok(AuthMethod::PrivateKeyJwt));
        for bad in [
            json!({"token_endpoint_auth_method": "client_secret_post"}),
            json!({"client_secret": "s"}),
            json!({"client_secret_expires_at": 0}),
            json!({"token_endpoint_auth_method": "private_key_jwt"}),
            json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "http://client.example/jwks.json"}),
            json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": keys, "jwks": {"keys": []}}),
            json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": []}}),
        ] {
            assert!(method(bad.clone()).is_err(), "{bad}");
        }
    }
}
