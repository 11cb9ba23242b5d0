//! Cookies: the browser's own secret, and one session per login in progress.
//!
//! `__Host-`, `Secure`, `HttpOnly`, `SameSite=Lax`, `Path=/`; without the prefix and `Secure` only
//! where `public_url` is plain http on this computer. Lax, since the callback is a cross-site
//! top-level GET. Bounded: at most [`MAX_LOGINS`] logins and [`MAX_BYTES`] in all; the oldest go.

use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

use super::App;
use crate::oauth::authorize::{PENDING_TTL, random_secret};
use crate::oauth::names::{Secret, StateHash};
use crate::oauth::records::PendingLogin;
use crate::seal::Sealed;
use crate::time::Timestamp;
use crate::{entropy, oauth::names::BrowserHash};

/// Logins of one browser that may be in progress at once.
pub(super) const MAX_LOGINS: usize = 8;
/// Bytes of all our cookies together.
pub(super) const MAX_BYTES: usize = 6 * 1024;

const BROWSER: &str = "mcp-oauth-browser";
const LOGIN: &str = "mcp-oauth-login-";

/// The cookies of one request, as far as they are ours.
pub(super) struct Browser<'a> {
    headers: &'a HeaderMap,
    secure: bool,
}

impl<'a> Browser<'a> {
    /// Reads the cookies of a request.
    pub(super) fn of(app: &App, headers: &'a HeaderMap) -> Self {
        Self {
            headers,
            secure: app.config.public_url.is_https(),
        }
    }

    /// The secret that a consent form is bound to.
    pub(super) fn secret(&self) -> Option<&'a str> {
        self.value(&self.name(BROWSER))
    }

    /// The hash to bind a form to, and the cookie to set. An existing secret is kept, so that a
    /// second tab and a reload do not break the first form.
    pub(super) fn bind(&self) -> (BrowserHash, HeaderValue) {
        let known = self
            .secret()
            .filter(|secret| secret.len() == 43)
            .map(Secret::new);
        let secret = known.unwrap_or_else(|| random_secret(&mut entropy::rng()));
        let cookie = self.set(&self.name(BROWSER), secret.expose());
        (BrowserHash::of(secret.expose()), cookie)
    }

    /// The session of the login that this `state` belongs to.
    pub(super) fn login(&self, state: StateHash) -> Option<Sealed<PendingLogin>> {
        self.value(&self.login_name(state)).map(Sealed::from_wire)
    }

    /// The cookie that keeps a login's session.
    pub(super) fn keep_login(
        &self,
        state: StateHash,
        session: &Sealed<PendingLogin>,
    ) -> HeaderValue {
        self.set(&self.login_name(state), session.as_str())
    }

    /// The cookie that ends a login's session.
    pub(super) fn end_login(&self, state: StateHash) -> HeaderValue {
        self.clear(&self.login_name(state))
    }

    /// Clears what would be too much beside a new session of `size` bytes: what does not open any
    /// more, and then the oldest.
    pub(super) fn make_room(&self, app: &App, size: usize, now: Timestamp) -> Vec<HeaderValue> {
        let prefix = self.name(LOGIN);
        let mut cleared = Vec::new();
        let mut live = Vec::new();
        for (name, value) in self.pairs().filter(|(name, _)| name.starts_with(&prefix)) {
            match app
                .keys
                .open(&Sealed::<PendingLogin>::from_wire(value), now)
            {
                Ok(opened) => live.push((opened.record.expires_at, name, name.len() + value.len())),
                Err(_) => cleared.push(self.clear(name)),
            }
        }
        live.sort_unstable();
        let mut total: usize = size + live.iter().map(|(_, _, bytes)| bytes).sum::<usize>();
        let mut count = live.len() + 1;
        for (_, name, bytes) in live {
            if count <= MAX_LOGINS && total <= MAX_BYTES {
                break;
            }
            cleared.push(self.clear(name));
            total -= bytes;
            count -= 1;
        }
        cleared
    }

    fn name(&self, name: &str) -> String {
        if self.secure {
            format!("__Host-{name}")
        } else {
            name.to_owned()
        }
    }

    fn login_name(&self, state: StateHash) -> String {
        format!("{}{state}", self.name(LOGIN))
    }

    fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.pairs()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    fn set(&self, name: &str, value: &str) -> HeaderValue {
        self.cookie(name, value, PENDING_TTL.as_secs())
    }

    fn clear(&self, name: &str) -> HeaderValue {
        self.cookie(name, "", 0)
    }

    fn cookie(&self, name: &str, value: &str, max_age: u64) -> HeaderValue {
        let secure = if self.secure { "; Secure" } else { "" };
        let cookie =
            format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age}{secure}");
        let mut cookie = HeaderValue::try_from(cookie).unwrap_or(HeaderValue::from_static(""));
        cookie.set_sensitive(true);
        cookie
    }
}

/// Adds cookies to an answer.
pub(super) fn with_cookies(
    mut response: Response,
    cookies: impl IntoIterator<Item = HeaderValue>,
) -> Response {
    for cookie in cookies {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}
