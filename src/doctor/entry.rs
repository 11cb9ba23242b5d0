//! How clients get in: registration with the redirects of real clients, the authorization endpoint,
//! and whether the deployment has the keys that this configuration names.

use http::{Method, StatusCode};
use serde_json::json;
use url::form_urlencoded;

use super::finding::{Area, Notes};
use super::patient::Patient;
use crate::entropy;
use crate::oauth::names::Secret;
use crate::oauth::pkce::CodeChallenge;
use crate::oauth::records::{ApplicationType, AuthMethod, ClientRegistration};
use crate::seal::Keyring;

/// What well-known clients register.
const CLIENTS: [(&str, &[&str]); 5] = [
    (
        "Claude",
        &[
            "https://claude.ai/api/mcp/auth_callback",
            "https://claude.com/api/mcp/auth_callback",
        ],
    ),
    ("ChatGPT", &["https://chatgpt.com/connector/oauth/example"]),
    (
        "Cursor",
        &[
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "http://localhost:8787/callback",
        ],
    ),
    (
        "VS Code",
        &[
            "https://vscode.dev/redirect",
            "https://insiders.vscode.dev/redirect",
            "http://127.0.0.1/",
            "http://127.0.0.1:33418/",
        ],
    ),
    ("Codex", &["http://127.0.0.1:1455/callback/example"]),
];
/// Longest URL that every proxy passes.
const LONGEST_URL: usize = 8 * 1024;

/// Knocks at every door.
pub(super) async fn examine(patient: &Patient<'_>, keyring: Option<&Keyring>) -> Notes {
    let mut notes = Notes::about(Area::Clients);
    if patient.config().clients.dcr {
        for (client, redirects) in CLIENTS {
            register(patient, client, redirects, &mut notes).await;
        }
    } else {
        notes.warn(
            "clients cannot register: only documents and static clients get in",
            patient.fix("clients.dcr", "true, unless that is meant"),
        );
    }
    stranger(patient, &mut notes).await;
    if let Some(keyring) = keyring {
        same_keys(patient, keyring, &mut notes).await;
    }
    notes
}

/// Registers as the client does. Nothing is stored by that.
async fn register(patient: &Patient<'_>, client: &str, redirects: &[&str], notes: &mut Notes) {
    let body = json!({
        "client_name": format!("{client} (doctor)"),
        "redirect_uris": redirects,
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
    });
    let seen = match patient.post_json("/register", &body).await {
        Ok(seen) => seen,
        Err(failure) => {
            let change = "let the proxy pass POST /register to this server";
            notes.fail(
                format!("{client} cannot register: {failure}"),
                patient.fix("public_url", change),
            );
            return;
        }
    };
    if seen.status == StatusCode::TOO_MANY_REQUESTS {
        let change = "wait a minute and ask again";
        notes.warn(
            format!("{client} was not tried: too many registrations from here"),
            patient.fix("limits.register_per_minute", change),
        );
        return;
    }
    let id = seen.member("client_id").and_then(|it| it.as_str());
    let kept = seen
        .member("redirect_uris")
        .and_then(|it| it.as_array())
        .map_or(0, Vec::len);
    match id {
        Some(id) if seen.status == StatusCode::CREATED && kept == redirects.len() => {
            let bytes = id.len();
            notes.fine(format!(
                "{client} can register; its client_id has {bytes} bytes"
            ));
            authorize(patient, client, id, redirects, notes).await;
        }
        Some(_) if seen.status == StatusCode::CREATED => notes.warn(
            format!(
                "{client}: {kept} of {} redirects were accepted",
                redirects.len()
            ),
            patient.fix(
                "clients.redirect_schemes",
                "list the private-use redirects that clients need",
            ),
        ),
        _ => notes.fail(
            format!("{client} cannot register: {}", seen.in_words()),
            patient.fix("clients.dcr", "restart the server with this file"),
        ),
    }
}

/// The authorization request that the client's browser would open: the page, and short enough.
async fn authorize(
    patient: &Patient<'_>,
    client: &str,
    client_id: &str,
    redirects: &[&str],
    notes: &mut Notes,
) {
    let config = patient.config();
    let (Some(redirect), Some(resource)) = (redirects.first(), config.resources.first()) else {
        return;
    };
    let challenge = CodeChallenge::of(&Secret::new("doctor".repeat(9))).into_string();
    let resource = resource.uri.to_string();
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", redirect),
            ("state", "doctor"),
            ("resource", &resource),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ])
        .finish();
    let url = format!("/authorize?{query}");
    let whole = config.public_url.join(&url).len();
    match patient.ask(Method::GET, &url, &[], None).await {
        Ok(seen) if seen.status == StatusCode::OK && seen.text.contains("name=\"decision\"") => {
            if whole > LONGEST_URL / 2 {
                let change = "let the proxy pass URLs of 16 KB";
                notes.warn(
                    format!("{client}: its authorization URL has {whole} bytes"),
                    Patient::elsewhere(change),
                );
            } else {
                notes.fine(format!(
                    "{client} gets the consent page; its URL has {whole} bytes"
                ));
            }
        }
        other => {
            let why = other.map_or_else(|failure| failure.to_string(), |seen| seen.in_words());
            let change = "let the proxy pass GET /authorize with its whole query";
            notes.fail(
                format!("{client} gets no consent page: {why}"),
                patient.fix("public_url", change),
            );
        }
    }
}

/// A client that nobody knows gets a page, and its redirect nothing.
async fn stranger(patient: &Patient<'_>, notes: &mut Notes) {
    let url =
        "/authorize?response_type=code&client_id=doctor&redirect_uri=https%3A%2F%2Fexample.com%2F";
    let answer = patient.ask(Method::GET, url, &[], None).await;
    let is_page = answer.as_ref().is_ok_and(|seen| {
        seen.status == StatusCode::BAD_REQUEST && !seen.headers.contains_key("location")
    });
    let why = answer.map_or_else(|failure| failure.to_string(), |seen| seen.in_words());
    notes.expect(
        is_page,
        "an unknown client gets a page, and no redirect",
        format!("an unknown client does not get 400: {why}"),
        || patient.fix("public_url", "let the proxy pass /authorize unchanged"),
    );
}

/// A registration that is sealed here must open there: the same root key and the same issuer.
async fn same_keys(patient: &Patient<'_>, keyring: &Keyring, notes: &mut Notes) {
    let record = ClientRegistration {
        redirect_uris: vec!["http://127.0.0.1/doctor".to_owned()],
        client_name: Some("doctor".to_owned()),
        auth_method: AuthMethod::None,
        application_type: ApplicationType::Native,
        issued_at: patient.now,
    };
    let Ok(sealed) = keyring.seal(&record, &mut entropy::rng()) else {
        return;
    };
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("response_type", "code"),
            ("client_id", sealed.as_str()),
            ("redirect_uri", "http://127.0.0.1/doctor"),
        ])
        .finish();
    // Whatever else is missing is told at the redirect, and that only to a client that is known.
    let answer = patient
        .ask(Method::GET, &format!("/authorize?{query}"), &[], None)
        .await;
    let known = answer.as_ref().is_ok_and(|seen| {
        seen.header("location")
            .starts_with("http://127.0.0.1/doctor")
            || seen.status == StatusCode::OK
    });
    notes.expect(
        known,
        "the deployment has the keys that this file names",
        "the deployment does not open what these keys seal",
        || {
            let change = "give every replica the same keys, and the public_url of this file";
            patient.fix("keys.directory", change)
        },
    );
}
