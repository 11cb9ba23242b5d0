//! What the demo identity provider remembers: sign-ins, and the codes and tokens that belong to them.
//!
//! Everything hangs on its sign-in: when that is gone, so are its tokens. Bounded; the oldest go.
//! Refuses a second use of a code or a refresh token, and ends the sign-in on it (RFC 9700 §4.14.2).

use std::time::Duration;

use rand::CryptoRng;

use super::people::Person;
use crate::demo::shelf::Shelf;
use crate::oauth::authorize::random_secret;
use crate::oauth::names::{GrantId, Secret, TokenHash};
use crate::oauth::pkce::CodeVerifier;
use crate::time::Timestamp;

/// How long a code lives.
const CODE_TTL: Duration = Duration::from_secs(60);
/// How long an access token lives.
pub(super) const ACCESS_TTL: Duration = Duration::from_secs(3_600);

/// What somebody signed in for.
#[derive(Clone, Debug)]
pub(super) struct SignIn {
    pub(super) person: Person,
    pub(super) scope: String,
    pub(super) nonce: Option<String>,
}

/// A code, until it expires; used ones are kept to notice a second use.
struct Code {
    session: GrantId,
    challenge: String,
    expires_at: Timestamp,
    used: bool,
}

struct Access {
    session: GrantId,
    expires_at: Timestamp,
}

struct Refresh {
    session: GrantId,
    used: bool,
}

/// A new pair of tokens.
pub(super) struct Issued {
    pub(super) sign_in: SignIn,
    pub(super) access_token: Secret,
    pub(super) refresh_token: Secret,
}

/// The memory.
#[derive(Default)]
pub(super) struct Sessions {
    sign_ins: Shelf<GrantId, SignIn>,
    codes: Shelf<TokenHash, Code>,
    access: Shelf<TokenHash, Access>,
    refresh: Shelf<TokenHash, Refresh>,
}

impl Sessions {
    /// Signs a person in and makes the code that says so.
    pub(super) fn begin(
        &mut self,
        sign_in: SignIn,
        challenge: String,
        now: Timestamp,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Secret {
        let session = GrantId::random(rng);
        let code = random_secret(rng);
        self.sign_ins.put(session, sign_in);
        self.codes.put(
            TokenHash::of(code.expose()),
            Code {
                session,
                challenge,
                expires_at: now.plus(CODE_TTL),
                used: false,
            },
        );
        code
    }

    /// Redeems a code; `None` is `invalid_grant`.
    pub(super) fn redeem(
        &mut self,
        code: &str,
        verifier: &str,
        now: Timestamp,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Option<Issued> {
        let code = self.codes.find(&TokenHash::of(code))?;
        let proven = CodeVerifier::parse(verifier).is_some_and(|it| it.proves(&code.challenge));
        if !proven || code.expires_at.is_past(now) {
            return None;
        }
        let session = code.session;
        // RFC 6749 §4.1.2: once; a second use ends what the first one got.
        if std::mem::replace(&mut code.used, true) {
            self.sign_ins.take(&session);
            return None;
        }
        self.issue(session, now, rng)
    }

    /// Rotates a refresh token; `None` is `invalid_grant`.
    pub(super) fn rotate(
        &mut self,
        token: &str,
        now: Timestamp,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Option<Issued> {
        let refresh = self.refresh.find(&TokenHash::of(token))?;
        let session = refresh.session;
        // RFC 9700 §4.14.2: somebody holds a copy.
        if std::mem::replace(&mut refresh.used, true) {
            self.sign_ins.take(&session);
            return None;
        }
        self.issue(session, now, rng)
    }

    /// The person that an access token speaks for.
    pub(super) fn person(&mut self, token: &str, now: Timestamp) -> Option<Person> {
        let access = self.access.find(&TokenHash::of(token))?;
        if access.expires_at.is_past(now) {
            return None;
        }
        let session = access.session;
        self.sign_ins.find(&session).map(|sign_in| sign_in.person)
    }

    /// RFC 7009 §2.1: a refresh token takes its sign-in along, an access token goes alone.
    pub(super) fn revoke(&mut self, token: &str) {
        let hash = TokenHash::of(token);
        if let Some(refresh) = self.refresh.take(&hash) {
            self.sign_ins.take(&refresh.session);
        }
        self.access.take(&hash);
    }

    fn issue(
        &mut self,
        session: GrantId,
        now: Timestamp,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Option<Issued> {
        let sign_in = self.sign_ins.find(&session)?.clone();
        let (access_token, refresh_token) = (random_secret(rng), random_secret(rng));
        self.access.put(
            TokenHash::of(access_token.expose()),
            Access {
                session,
                expires_at: now.plus(ACCESS_TTL),
            },
        );
        self.refresh.put(
            TokenHash::of(refresh_token.expose()),
            Refresh {
                session,
                used: false,
            },
        );
        Some(Issued {
            sign_in,
            access_token,
            refresh_token,
        })
    }
}
