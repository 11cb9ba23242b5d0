//! Dynamic client registration: RFC 7591. The answer's `client_id` is the sealed registration.
//!
//! Lenient where real clients differ: unknown members are ignored, unsupported grants dropped, and
//! unacceptable redirect URIs left out as long as one is left. Refuses script schemes, clear text
//! to other computers, and shared keys that it could not keep.

use serde::Serialize;
use serde_json::{Map, Value};
use unicode_segmentation::UnicodeSegmentation as _;

use crate::oauth::error::ErrorCode;
use crate::oauth::names::{ClientId, Secret};
use crate::oauth::records::{ApplicationType, AuthMethod, ClientRegistration};
use crate::oauth::redirect::{self, RedirectError, RedirectKind};
use crate::oauth::scope::Scope;
use crate::time::Timestamp;

/// Most redirect URIs of one client.
pub const MAX_REDIRECT_URIS: usize = 10;
/// Most bytes of all redirect URIs together: the `client_id` must fit into a URL that proxies pass.
pub const MAX_REDIRECT_BYTES: usize = 2_560;
/// Longest name that is kept, in graphemes.
pub const MAX_NAME: usize = 64;

/// Why a registration was refused (RFC 7591 §3.2.2). The text is for the client's developer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// `invalid_redirect_uri` or `invalid_client_metadata`.
    pub code: ErrorCode,
    /// What to change.
    pub description: String,
}

/// A registration request whose every member was checked.
#[derive(Clone, Debug)]
pub struct Registration {
    record: ClientRegistration,
    grant_types: Vec<&'static str>,
    scope: Option<Scope>,
}

/// RFC 7591 §3.2.1: what was registered.
#[derive(Debug, Serialize)]
pub struct RegistrationResponse {
    client_id: ClientId,
    client_id_issued_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_expires_at: Option<u8>,
    redirect_uris: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_name: Option<String>,
    token_endpoint_auth_method: AuthMethod,
    grant_types: Vec<&'static str>,
    response_types: [&'static str; 1],
    application_type: ApplicationType,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<Scope>,
}

impl RegistrationResponse {
    /// The new client's id.
    pub const fn client_id(&self) -> &ClientId {
        &self.client_id
    }
}

impl Registration {
    /// Checks a request body. `private_use` lists the private-use redirect URIs that are allowed.
    ///
    /// # Errors
    ///
    /// [`Refused`], ready for the wire.
    pub fn parse(body: &[u8], private_use: &[String], now: Timestamp) -> Result<Self, Refused> {
        let Ok(Value::Object(members)) = serde_json::from_slice(body) else {
            return Err(metadata("the body must be a JSON object"));
        };
        let auth_method = auth_method(&members)?;
        let grant_types = grant_types(&members)?;
        response_types(&members)?;
        let declared = application_type(&members)?;
        let redirect_uris = redirect_uris(&members)?;
        let (redirect_uris, application_type) = acceptable(redirect_uris, declared, private_use)?;
        let client_name = text(&members, "client_name")?.and_then(displayable);
        let scope = text(&members, "scope")
            .ok()
            .flatten()
            .and_then(|it| Scope::parse(it).ok());
        let record = ClientRegistration {
            redirect_uris,
            client_name,
            auth_method,
            application_type,
            issued_at: now,
        };
        Ok(Self {
            record,
            grant_types,
            scope,
        })
    }

    /// What is sealed into the `client_id`.
    pub fn record(&self) -> &ClientRegistration {
        &self.record
    }

    /// Whether a secret is due.
    pub fn needs_secret(&self) -> bool {
        // RFC 7591 §2: absent means basic, and then there must be a secret; never one with `none`.
        self.record.auth_method != AuthMethod::None
    }

    /// The answer.
    pub fn response(
        self,
        client_id: ClientId,
        client_secret: Option<Secret>,
    ) -> RegistrationResponse {
        let ClientRegistration {
            redirect_uris,
            client_name,
            auth_method,
            application_type,
            issued_at,
        } = self.record;
        RegistrationResponse {
            client_id,
            client_id_issued_at: issued_at,
            // RFC 7591 §3.2.1: required with a secret; 0 is "never".
            client_secret_expires_at: client_secret.is_some().then_some(0),
            client_secret,
            redirect_uris,
            client_name,
            token_endpoint_auth_method: auth_method,
            grant_types: self.grant_types,
            response_types: ["code"],
            application_type,
            scope: self.scope.filter(|scope| !scope.is_empty()),
        }
    }
}

fn metadata(description: impl Into<String>) -> Refused {
    Refused {
        code: ErrorCode::InvalidClientMetadata,
        description: description.into(),
    }
}

fn redirect_refused(description: impl Into<String>) -> Refused {
    Refused {
        code: ErrorCode::InvalidRedirectUri,
        description: description.into(),
    }
}

/// A text member; null and empty count as absent.
fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Refused> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(metadata(format!("{name} must be a string"))),
    }
}

/// A list of texts; null counts as absent.
fn list<'a>(members: &'a Map<String, Value>, name: &str) -> Option<Result<Vec<&'a str>, ()>> {
    match members.get(name)? {
        Value::Null => None,
        Value::Array(items) => Some(items.iter().map(|item| item.as_str().ok_or(())).collect()),
        _ => Some(Err(())),
    }
}

fn auth_method(members: &Map<String, Value>) -> Result<AuthMethod, Refused> {
    match text(members, "token_endpoint_auth_method")? {
        Some("none") => Ok(AuthMethod::None),
        // RFC 7591 §2: the default.
        None | Some("client_secret_basic") => Ok(AuthMethod::ClientSecretBasic),
        Some("client_secret_post") => Ok(AuthMethod::ClientSecretPost),
        // The keys would have to ride in every URL: a metadata document is the place for them.
        Some("private_key_jwt") => Err(metadata(
            "private_key_jwt needs a client metadata document as client_id",
        )),
        Some(_) => Err(metadata(
            "token_endpoint_auth_method must be none, client_secret_basic or client_secret_post",
        )),
    }
}

fn grant_types(members: &Map<String, Value>) -> Result<Vec<&'static str>, Refused> {
    let wanted = match list(members, "grant_types") {
        None => return Ok(vec!["authorization_code"]),
        Some(Err(())) => return Err(metadata("grant_types must be a list of strings")),
        Some(Ok(wanted)) if wanted.is_empty() => return Ok(vec!["authorization_code"]),
        Some(Ok(wanted)) => wanted,
    };
    // RFC 7591 §2: the server may leave out what it does not support (VS Code asks for device_code).
    let kept: Vec<_> = ["authorization_code", "refresh_token"]
        .into_iter()
        .filter(|supported| wanted.contains(supported))
        .collect();
    if kept.contains(&"authorization_code") {
        Ok(kept)
    } else {
        Err(metadata("grant_types must include authorization_code"))
    }
}

fn response_types(members: &Map<String, Value>) -> Result<(), Refused> {
    match list(members, "response_types") {
        None => Ok(()),
        Some(Ok(types)) if types.is_empty() || types.contains(&"code") => Ok(()),
        _ => Err(metadata("response_types must include code")),
    }
}

fn application_type(members: &Map<String, Value>) -> Result<Option<ApplicationType>, Refused> {
    match text(members, "application_type")? {
        None => Ok(None),
        Some("web") => Ok(Some(ApplicationType::Web)),
        Some("native") => Ok(Some(ApplicationType::Native)),
        Some(_) => Err(metadata("application_type must be web or native")),
    }
}

fn redirect_uris(members: &Map<String, Value>) -> Result<Vec<&str>, Refused> {
    let uris = match list(members, "redirect_uris") {
        None => return Err(redirect_refused("redirect_uris is required")),
        Some(Err(())) => return Err(redirect_refused("redirect_uris must be a list of strings")),
        Some(Ok(uris)) if uris.is_empty() => {
            return Err(redirect_refused("redirect_uris must not be empty"));
        }
        Some(Ok(uris)) => uris,
    };
    if uris.len() > MAX_REDIRECT_URIS {
        return Err(redirect_refused(format!(
            "at most {MAX_REDIRECT_URIS} redirect_uris"
        )));
    }
    if uris.iter().map(|uri| uri.len()).sum::<usize>() > MAX_REDIRECT_BYTES {
        return Err(redirect_refused(format!(
            "redirect_uris must not be longer than {MAX_REDIRECT_BYTES} bytes together"
        )));
    }
    Ok(uris)
}

/// The URIs that can be used, and what kind of application they make. Unusable ones are left out.
fn acceptable(
    uris: Vec<&str>,
    declared: Option<ApplicationType>,
    private_use: &[String],
) -> Result<(Vec<String>, ApplicationType), Refused> {
    let mut kept = Vec::new();
    let mut all_web = true;
    let mut first_problem = None;
    for uri in uris {
        match fit(uri, declared, private_use) {
            Ok(kind) => {
                all_web &= kind == RedirectKind::Web;
                if !kept.iter().any(|it| it == uri) {
                    kept.push(uri.to_owned());
                }
            }
            Err(problem) => first_problem = first_problem.or(Some(problem)),
        }
    }
    if kept.is_empty() {
        let problem = first_problem.unwrap_or_else(|| "is not usable".to_owned());
        return Err(redirect_refused(format!(
            "no redirect URI can be used: the first {problem}"
        )));
    }
    // OIDC Registration §2 would make it `web` when absent; a loopback URI says native.
    let inferred = if all_web {
        ApplicationType::Web
    } else {
        ApplicationType::Native
    };
    Ok((kept, declared.unwrap_or(inferred)))
}

fn fit(
    uri: &str,
    declared: Option<ApplicationType>,
    private_use: &[String],
) -> Result<RedirectKind, String> {
    let kind = redirect::check(uri, private_use).map_err(|problem| match problem {
        RedirectError::Scheme => "has a scheme that is not allowed".to_owned(),
        other => other.to_string(),
    })?;
    // OIDC Registration §2: web clients use https and no loopback host.
    if declared == Some(ApplicationType::Web) && kind != RedirectKind::Web {
        return Err("is not https, as application_type web requires".to_owned());
    }
    Ok(kind)
}

/// A text from a stranger, made fit to be shown: no control, bidirectional or invisible characters,
/// white space collapsed, at most [`MAX_NAME`] graphemes. `None` if nothing is left.
pub fn displayable(text: &str) -> Option<String> {
    let visible: String = text
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !c.is_control() && !is_invisible(*c))
        .collect();
    let collapsed = visible
        .split(' ')
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    let short: String = collapsed.graphemes(true).take(MAX_NAME).collect();
    // A single grapheme can carry any number of combining marks.
    let short: String = short.chars().take(4 * MAX_NAME).collect();
    Some(short).filter(|it| !it.is_empty())
}

/// Characters that change or hide other text: bidirectional controls, zero-width characters, tags,
/// variation selectors, fillers, and private use.
const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CURSOR: &str = "cursor://anysphere.cursor-mcp/oauth/callback";

    fn register(body: &Value) -> Result<Registration, Refused> {
        let now = Timestamp::from_secs(1_700_000_000);
        Registration::parse(body.to_string().as_bytes(), &[CURSOR.to_owned()], now)
    }

    fn refused(body: &Value) -> &'static str {
        register(body).unwrap_err().code.as_str()
    }

    fn answer(body: &Value) -> Value {
        let registration = register(body).unwrap();
        let secret = registration.needs_secret().then(|| Secret::new("s"));
        serde_json::to_value(registration.response(ClientId::new("id"), secret)).unwrap()
    }

    // R4, R5
    #[test]
    fn absent_method_is_basic_with_a_secret_and_none_has_none() {
        let basic = answer(&json!({"redirect_uris": ["https://a.example/cb"]}));
        assert_eq!(basic["token_endpoint_auth_method"], "client_secret_basic");
        assert_eq!(
            (&basic["client_secret"], &basic["client_secret_expires_at"]),
            (&json!("s"), &json!(0))
        );
        let none = answer(
            &json!({"redirect_uris": ["https://a.example/cb"], "token_endpoint_auth_method": "none"}),
        );
        assert_eq!(none["token_endpoint_auth_method"], "none");
        assert!(
            none.get("client_secret").is_none() && none.get("client_secret_expires_at").is_none()
        );
        let post = answer(
            &json!({"redirect_uris": ["https://a.example/cb"], "token_endpoint_auth_method": "client_secret_post"}),
        );
        assert_eq!(
            (&post["token_endpoint_auth_method"], &post["client_secret"]),
            (&json!("client_secret_post"), &json!("s"))
        );
    }

    // R3, R6, R10
    #[test]
    fn what_is_not_understood_is_left_out() {
        let answer = answer(&json!({
            "redirect_uris": [CURSOR, "https://www.cursor.com/agents/mcp/oauth/callback", "http://localhost:8787/callback", "javascript:alert(1)"],
            "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
            "token_endpoint_auth_method": "none", "scope": null, "software_id": 7, "contacts": [], "jwks": {}, "client_uri": "",
        }));
        assert_eq!(answer["redirect_uris"].as_array().unwrap().len(), 3);
        assert_eq!(
            answer["grant_types"],
            json!(["authorization_code", "refresh_token"])
        );
        assert_eq!(answer["application_type"], "native");
        assert!(answer.get("registration_access_token").is_none()); // R16
    }

    // R11
    #[test]
    fn application_type_is_inferred_from_the_redirects() {
        let kind = |body: Value| answer(&body)["application_type"].clone();
        assert_eq!(
            kind(json!({"redirect_uris": ["http://127.0.0.1:19876/mcp/oauth/callback"]})),
            "native"
        );
        assert_eq!(
            kind(json!({"redirect_uris": ["https://a.example/cb"]})),
            "web"
        );
        assert_eq!(
            kind(json!({"redirect_uris": ["https://a.example/cb"], "application_type": "native"})),
            "native"
        );
        assert_eq!(
            refused(&json!({"redirect_uris": ["http://localhost/cb"], "application_type": "web"})),
            "invalid_redirect_uri"
        );
    }

    // R12
    #[test]
    fn wrong_types_and_values_get_the_right_code() {
        for (body, code) in [
            (json!([]), "invalid_client_metadata"),
            (json!({}), "invalid_redirect_uri"),
            (
                json!({"redirect_uris": "https://a.example/cb"}),
                "invalid_redirect_uri",
            ),
            (json!({"redirect_uris": [1]}), "invalid_redirect_uri"),
            (json!({"redirect_uris": []}), "invalid_redirect_uri"),
            (
                json!({"redirect_uris": vec!["https://a.example/cb"; 10_000]}),
                "invalid_redirect_uri",
            ),
            (
                json!({"redirect_uris": ["https://a.example/cb"], "client_name": 1}),
                "invalid_client_metadata",
            ),
            (
                json!({"redirect_uris": ["https://a.example/cb"], "grant_types": ["client_credentials"]}),
                "invalid_client_metadata",
            ),
            (
                json!({"redirect_uris": ["https://a.example/cb"], "response_types": ["token"]}),
                "invalid_client_metadata",
            ),
            (
                json!({"redirect_uris": ["https://a.example/cb"], "token_endpoint_auth_method": "private_key_jwt"}),
                "invalid_client_metadata",
            ),
            (
                json!({"redirect_uris": ["https://a.example/cb"], "application_type": "desktop"}),
                "invalid_client_metadata",
            ),
        ] {
            assert_eq!(refused(&body), code, "{body}");
        }
    }

    // C11, R17
    #[test]
    fn names_are_made_fit_to_be_shown() {
        assert_eq!(
            displayable("Claude\u{202e}\u{200b}\u{0} \n Code").as_deref(),
            Some("Claude Code")
        );
        assert_eq!(displayable("\u{200b}\u{feff}"), None);
        assert_eq!(
            displayable(&"ä".repeat(500)).unwrap().chars().count(),
            MAX_NAME
        );
        let zalgo = format!("a{}", "\u{301}".repeat(10_000));
        assert!(displayable(&zalgo).unwrap().chars().count() <= 4 * MAX_NAME);
    }
}
