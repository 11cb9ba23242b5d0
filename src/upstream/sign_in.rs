//! From tokens to a [`SignIn`]: what the next refresh asks with, and when the access token ends.

use super::raw::Reauth;
use super::settings::Settings;
use super::token_response::TokenResponse;
use super::{SignIn, UpstreamError};
use crate::oauth::names::Secret;
use crate::oauth::records::{Identity, UpstreamCredential};
use crate::time::Timestamp;

/// Who the person is, as far as the provider says.
#[derive(Clone, Debug, Default)]
pub(super) struct Person {
    pub(super) id: Option<String>,
    pub(super) identity: Identity,
}

impl Settings {
    /// A finished sign-in or refresh. `known` is whom a refresh must be about; `before` what it
    /// asked with; `can_ask` whether the identity can be asked with an access token.
    pub(super) fn sign_in(
        &self,
        tokens: TokenResponse,
        person: Person,
        known: Option<&str>,
        before: Option<&UpstreamCredential>,
        can_ask: bool,
        now: Timestamp,
    ) -> Result<SignIn, UpstreamError> {
        let id = same_person(person.id, known)?;
        let access_expires_at = tokens.expires_in.map(|life| now.plus(life));
        let credential = match (tokens.refresh_token, before) {
            (Some(token), _) => UpstreamCredential::Refresh(token),
            // RFC 6749 §6: the old refresh token stays unless another one comes.
            (None, Some(UpstreamCredential::Refresh(token))) => {
                UpstreamCredential::Refresh(token.clone())
            }
            (None, _) if can_ask => UpstreamCredential::Access {
                token: tokens.access_token.clone(),
                expires_at: access_expires_at,
            },
            (None, _) if self.reauth == Reauth::Never => UpstreamCredential::Kept {
                token: tokens.access_token.clone(),
                expires_at: access_expires_at,
                identity: person.identity.clone(),
            },
            (None, _) => UpstreamCredential::Nothing,
        };
        Ok(SignIn {
            id,
            identity: person.identity,
            access_token: tokens.access_token,
            access_expires_at,
            credential,
        })
    }

    /// The answer to a refresh by an access token, once the identity was asked with it.
    pub(super) fn confirmed(
        credential: &UpstreamCredential,
        token: &Secret,
        expires_at: Option<Timestamp>,
        person: Person,
        known: &str,
    ) -> Result<SignIn, UpstreamError> {
        Ok(SignIn {
            id: same_person(person.id, Some(known))?,
            identity: person.identity,
            access_token: token.clone(),
            access_expires_at: expires_at,
            credential: credential.clone(),
        })
    }

    /// The answer to a refresh that nobody can be asked about.
    pub(super) fn unasked(
        &self,
        credential: &UpstreamCredential,
        known: &str,
    ) -> Result<SignIn, UpstreamError> {
        if self.reauth != Reauth::Never {
            let reason = "the access token has ended, and there is nothing to ask with";
            return Err(UpstreamError::Refused(reason.to_owned()));
        }
        let (access_token, access_expires_at, identity) = match credential {
            UpstreamCredential::Kept {
                token,
                expires_at,
                identity,
            } => (token.clone(), *expires_at, identity.clone()),
            _ => (Secret::default(), None, Identity::default()),
        };
        Ok(SignIn {
            id: known.to_owned(),
            identity,
            access_token,
            access_expires_at,
            credential: credential.clone(),
        })
    }
}

/// The person's id: what the provider says, which must be what is known; or what is known, since
/// the credential was given for that person.
fn same_person(told: Option<String>, known: Option<&str>) -> Result<String, UpstreamError> {
    let unacceptable = |reason: &str| Err(UpstreamError::Unacceptable(reason.to_owned()));
    match (told, known) {
        (Some(told), Some(known)) if told != known => {
            unacceptable("the answer is about another person")
        }
        (Some(told), _) => Ok(told),
        (None, Some(known)) => Ok(known.to_owned()),
        (None, None) => unacceptable("the answer does not say who the person is"),
    }
}
