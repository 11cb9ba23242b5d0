//! The authorization request at the demo identity provider: OpenID Connect Core §3.1.2.1.
//!
//! Refuses another client or redirect URI with a page, and everything else at the redirect URI: other
//! response types, a scope without `openid`, a missing or weak PKCE challenge, `prompt=none`.

use super::CLIENT_ID;
use super::people::Person;
use super::sessions::SignIn;
use crate::oauth::params::Params;
use crate::oauth::pkce::CodeChallenge;

/// A request that may be answered by a sign-in.
#[derive(Debug)]
pub(super) struct SignInRequest {
    state: Option<String>,
    nonce: Option<String>,
    scope: String,
    challenge: CodeChallenge,
}

/// Why a request is not.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Nobody is known who should hear it.
    Page(&'static str),
    /// The client hears it.
    Redirect {
        error: &'static str,
        state: Option<String>,
    },
}

impl SignInRequest {
    /// Checks the query of a request, in order.
    pub(super) fn parse(query: &str, redirect_uri: &str) -> Result<Self, Refused> {
        let params = Params::parse(query.as_bytes())
            .map_err(|_| Refused::Page("A parameter is malformed or there twice."))?;
        if params.get("client_id") != Some(CLIENT_ID) {
            return Err(Refused::Page("This app is not known here."));
        }
        // OpenID Connect Core §3.1.2.1: simple string comparison.
        if params.get("redirect_uri") != Some(redirect_uri) {
            return Err(Refused::Page("The app's return address is not known here."));
        }

        let text = |name: &str| params.get(name).map(str::to_owned);
        let refuse = |error| Refused::Redirect {
            error,
            state: text("state"),
        };
        if params.get("response_type") != Some("code") {
            return Err(refuse("unsupported_response_type"));
        }
        if !matches!(params.get("response_mode"), None | Some("query")) {
            return Err(refuse("invalid_request"));
        }
        let scope = text("scope").unwrap_or_default();
        if !scope.split(' ').any(|token| token == "openid") {
            return Err(refuse("invalid_scope"));
        }
        let challenge = CodeChallenge::parse(
            params.get("code_challenge"),
            params.get("code_challenge_method"),
        )
        .map_err(|_| refuse("invalid_request"))?;
        // OpenID Connect Core §3.1.2.6: nobody is ever signed in already.
        if params.get("prompt") == Some("none") {
            return Err(refuse("login_required"));
        }
        Ok(Self {
            state: text("state"),
            nonce: text("nonce"),
            scope,
            challenge,
        })
    }

    /// The person left.
    pub(super) fn denied(self) -> Refused {
        Refused::Redirect {
            error: "access_denied",
            state: self.state,
        }
    }

    /// The person chose: the client's `state`, what was signed in for, and the challenge.
    pub(super) fn signed_in_as(self, person: Person) -> (Option<String>, SignIn, String) {
        let sign_in = SignIn {
            person,
            scope: self.scope,
            nonce: self.nonce,
        };
        (self.state, sign_in, self.challenge.into_string())
    }
}
