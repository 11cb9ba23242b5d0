//! Bearer tokens at a protected resource: RFC 6750, RFC 9728 §5.1.

use crate::oauth::records::AccessToken;

/// Who makes a request: the proof that a bearer token passed every check for this resource.
#[derive(Clone, Debug)]
pub struct Principal {
    token: AccessToken,
}

impl Principal {
    /// The token's record.
    pub fn token(&self) -> &AccessToken {
        &self.token
    }
}
