//! Sign-ins that broke off after the tokens had come: the code or refresh token is used up, but the
//! question who the person is was not answered.
//!
//! The tokens wait here for a minute, so that a client that tries again with the same code or
//! refresh token gets on, and the upstream is not sent either twice. Bounded; in this process only.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::token_response::TokenResponse;
use super::{SignIn, UpstreamError};
use crate::oauth::names::Secret;
use crate::time::Clock;

const LIFE: Duration = Duration::from_secs(60);
const MOST: usize = 1024;

/// The hash of what the tokens were had for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ticket([u8; 32]);

impl Ticket {
    pub(super) fn of(credential: &Secret) -> Self {
        Self(Sha256::digest(credential.expose()).into())
    }
}

/// Tokens that wait to be asked for again.
pub(super) struct Unfinished {
    clock: Arc<dyn Clock>,
    waiting: Mutex<HashMap<Ticket, (Duration, TokenResponse)>>,
}

impl Unfinished {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            waiting: Mutex::default(),
        }
    }

    /// The tokens that were had for this, if the sign-in broke off a moment ago.
    pub(super) fn find(&self, ticket: Ticket) -> Option<TokenResponse> {
        let now = self.clock.elapsed();
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, tokens) = waiting.get(&ticket)?;
        (now < *until).then(|| tokens.clone())
    }

    /// Keeps tokens until they are known to be used, or a minute has passed.
    pub(super) fn keep(&self, ticket: Ticket, tokens: &TokenResponse) {
        let now = self.clock.elapsed();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MOST {
            waiting.retain(|_, (until, _)| now < *until);
        }
        if waiting.len() < MOST {
            waiting.insert(ticket, (now + LIFE, tokens.clone()));
        }
    }

    /// Forgets the tokens, unless asking again may help.
    pub(super) fn settle(&self, ticket: Ticket, outcome: &Result<SignIn, UpstreamError>) {
        if matches!(outcome, Err(UpstreamError::Unavailable { .. })) {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(&ticket);
    }
}

impl fmt::Debug for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unfinished").finish_non_exhaustive()
    }
}
