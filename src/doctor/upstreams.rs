//! The providers: their description, their endpoints, and whether they take our credentials.

use std::sync::Arc;

use http::{HeaderMap, Method};

use super::finding::{Area, Notes};
use super::patient::{Patient, ask};
use crate::entropy;
use crate::oauth::names::{Secret, TokenId, UpstreamName};
use crate::time::Clock;
use crate::upstream::{self, AuthorizationRedirect, CodeExchange, Upstream, UpstreamError};

/// What providers answer when client id or secret are wrong, or the app may not do this.
const CREDENTIALS: [&str; 5] = [
    "invalid_client",
    "unauthorized_client",
    "incorrect_client_credentials",
    "bad_client_secret",
    "status 401",
];

/// Asks every provider.
pub(super) async fn examine(patient: &Patient<'_>, clock: &Arc<dyn Clock>) -> Notes {
    let mut notes = Notes::about(Area::Upstreams);
    for settings in &patient.config().upstreams {
        let name = settings.profile().name.clone();
        let callback = callback_url(patient, &settings.profile().callback_path);
        let built = upstream::build(
            settings.clone(),
            callback.clone(),
            &patient.http,
            Arc::clone(clock),
        );
        match built {
            Ok(upstream) => one(patient, &*upstream, &callback, &mut notes).await,
            Err(error) => {
                let change = "a file of PEM certificates";
                notes.fail(
                    error.to_string(),
                    fix(patient, &name, "extra_ca_file", change),
                );
            }
        }
    }
    notes
}

fn callback_url(patient: &Patient<'_>, path: &str) -> String {
    patient.config().public_url.join(path)
}

fn fix(patient: &Patient<'_>, name: &UpstreamName, key: &str, change: &str) -> super::finding::Fix {
    patient.fix(&format!("upstreams.{name}.{key}"), change)
}

async fn one(patient: &Patient<'_>, upstream: &dyn Upstream, callback: &str, notes: &mut Notes) {
    let profile = upstream.profile();
    let (name, display) = (&profile.name, &profile.display_name);
    let random = || Secret::new(TokenId::random(&mut entropy::rng()).to_string().repeat(2));
    let (state, nonce, verifier) = (random(), random(), random());
    let redirect = AuthorizationRedirect {
        state: &state,
        nonce: &nonce,
        verifier: &verifier,
        redirect_uri: callback,
        choose_account: false,
    };
    let url = match upstream.authorization_url(redirect).await {
        Ok(url) => url,
        Err(error) => {
            let key = if profile.issuer.is_some() {
                "issuer"
            } else {
                "authorize_url"
            };
            let change = "is this the provider, and is it reached from here?";
            notes.fail(
                format!("{display}: {error}"),
                fix(patient, name, key, change),
            );
            return;
        }
    };
    let host = url.host_str().unwrap_or_default().to_owned();
    notes.fine(format!("{display}: described; people sign in at {host}"));
    page(patient, upstream, &url, callback, notes).await;
    let exchange = CodeExchange {
        code: &random(),
        verifier: &verifier,
        nonce: &nonce,
        redirect_uri: callback,
        now: patient.now,
    };
    credentials(
        patient,
        upstream,
        callback,
        upstream.exchange(exchange).await,
        notes,
    );
}

/// The provider's page, as far as it can be asked without a person: a client id or a callback that
/// it does not know is often refused at once.
async fn page(
    patient: &Patient<'_>,
    upstream: &dyn Upstream,
    url: &url::Url,
    callback: &str,
    notes: &mut Notes,
) {
    let profile = upstream.profile();
    let display = &profile.display_name;
    match ask(&patient.http, Method::GET, url, HeaderMap::new(), None).await {
        Ok(seen) if seen.status.is_client_error() => {
            let message = format!("{display} refuses the sign-in page: {}", seen.in_words());
            let change =
                format!("is this client id registered there, with the callback {callback}?");
            notes.warn(message, fix(patient, &profile.name, "client_id", &change));
        }
        Ok(_) => notes.fine(format!(
            "{display} shows its sign-in page; register the callback {callback}"
        )),
        Err(failure) => {
            let change = "is the provider reached from here? browsers must reach it as well";
            notes.warn(
                format!("{display}: the sign-in page: {failure}"),
                fix(patient, &profile.name, "provider", change),
            );
        }
    }
}

/// A made-up code: a provider that takes our credentials says that the code is no good.
fn credentials(
    patient: &Patient<'_>,
    upstream: &dyn Upstream,
    callback: &str,
    outcome: Result<upstream::SignIn, UpstreamError>,
    notes: &mut Notes,
) {
    let profile = upstream.profile();
    let (name, display) = (&profile.name, &profile.display_name);
    match outcome {
        Err(UpstreamError::Refused(reason)) => notes.fine(format!(
            "{display} takes our credentials: a made-up code is refused ({reason})"
        )),
        Err(UpstreamError::Unavailable { reason, .. }) => {
            let is_ours = CREDENTIALS.iter().any(|known| reason.contains(known));
            let is_callback = reason.contains("redirect_uri");
            if is_ours {
                let change = "copy client id and secret from the provider again";
                let message = format!("{display} does not take our credentials: {reason}");
                notes.fail(message, fix(patient, name, "client_secret", change));
            } else if is_callback {
                let change = format!("register {callback} at the provider");
                let message = format!("{display} does not know our callback: {reason}");
                notes.fail(message, fix(patient, name, "callback_path", &change));
            } else {
                let change = "is the provider up, and is this its token endpoint?";
                let message = format!("{display} could not be asked about a code: {reason}");
                notes.fail(message, fix(patient, name, "token_url", change));
            }
        }
        Err(error) => {
            let change = "is this the provider's token endpoint?";
            notes.warn(
                format!("{display} answers a made-up code with: {error}"),
                fix(patient, name, "token_url", change),
            );
        }
        Ok(_) => {
            let change = "this is no OAuth provider: it takes any code";
            notes.fail(
                format!("{display} took a made-up code"),
                fix(patient, name, "token_url", change),
            );
        }
    }
}
