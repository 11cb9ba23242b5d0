//! Which of few things a request is about, by its path.
//!
//! The path itself is a stranger's: it is in no figure and no log line. What is not listed here is
//! the gateway's.

/// What a path is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The page about this server.
    Index,
    /// Whether the process lives.
    Healthz,
    /// Client registration (RFC 7591).
    Register,
    /// The authorization endpoint (RFC 6749 §3.1).
    Authorize,
    /// Our consent page.
    Consent,
    /// The token endpoint (RFC 6749 §3.2).
    Token,
    /// Revocation (RFC 7009).
    Revoke,
    /// Metadata (RFC 8414, RFC 9728).
    Metadata,
    /// Where a provider sends people back to.
    Callback,
    /// A resource, or nothing.
    Gateway,
}

impl Endpoint {
    /// Its name in figures.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Healthz => "healthz",
            Self::Register => "register",
            Self::Authorize => "authorize",
            Self::Consent => "consent",
            Self::Token => "token",
            Self::Revoke => "revoke",
            Self::Metadata => "metadata",
            Self::Callback => "callback",
            Self::Gateway => "gateway",
        }
    }
}

/// The endpoints of one server.
#[derive(Clone, Debug)]
pub struct Endpoints {
    callbacks: Vec<String>,
}

impl Endpoints {
    /// `callbacks` are the paths to which providers send people back.
    pub fn new(callbacks: impl IntoIterator<Item = String>) -> Self {
        Self {
            callbacks: callbacks.into_iter().collect(),
        }
    }

    /// What a path is about.
    pub fn of(&self, path: &str) -> Endpoint {
        match path {
            "/" => Endpoint::Index,
            "/healthz" => Endpoint::Healthz,
            "/register" => Endpoint::Register,
            "/authorize" => Endpoint::Authorize,
            "/consent" => Endpoint::Consent,
            "/token" => Endpoint::Token,
            "/revoke" => Endpoint::Revoke,
            _ if path.starts_with("/.well-known/") => Endpoint::Metadata,
            _ if self.callbacks.iter().any(|callback| callback == path) => Endpoint::Callback,
            _ => Endpoint::Gateway,
        }
    }
}
