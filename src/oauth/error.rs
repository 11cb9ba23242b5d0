//! Protocol errors: what goes on the wire.

use std::fmt;

/// The registered error codes that we use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// RFC 6749 §4.1.2.1, §5.2: a parameter is missing, repeated or malformed.
    InvalidRequest,
    /// RFC 6749 §5.2: client authentication failed, or the client is unknown. Clients register again.
    InvalidClient,
    /// RFC 6749 §5.2: the code or refresh token is no good. Clients drop their tokens.
    InvalidGrant,
    /// RFC 6749 §5.2: this client may not do that.
    UnauthorizedClient,
    /// RFC 6749 §5.2: not a grant type of ours.
    UnsupportedGrantType,
    /// RFC 6749 §4.1.2.1: not a response type of ours.
    UnsupportedResponseType,
    /// RFC 6749 §4.1.2.1, §5.2: the scope is malformed or exceeds the grant.
    InvalidScope,
    /// RFC 8707 §2: the resource is not ours, or not within the grant.
    InvalidTarget,
    /// RFC 6749 §4.1.2.1: the person said no.
    AccessDenied,
    /// RFC 6749 §4.1.2.1: something is wrong on our side.
    ServerError,
    /// RFC 6749 §4.1.2.1: something on our side is not reachable at the moment.
    TemporarilyUnavailable,
    /// RFC 7591 §3.2.2: a redirect URI is not acceptable.
    InvalidRedirectUri,
    /// RFC 7591 §3.2.2: another registration member is not acceptable.
    InvalidClientMetadata,
    /// RFC 6750 §3.1: the access token is no good.
    InvalidToken,
    /// RFC 6750 §3.1: the access token is good for less than this.
    InsufficientScope,
    /// RFC 7009 §2.2.1: the server cannot revoke this kind of token.
    UnsupportedTokenType,
}

impl ErrorCode {
    /// The code on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::AccessDenied => "access_denied",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::UnsupportedTokenType => "unsupported_token_type",
        }
    }

    /// The HTTP status of a direct answer with this code.
    pub const fn status(self) -> http::StatusCode {
        match self {
            Self::InvalidClient | Self::InvalidToken => http::StatusCode::UNAUTHORIZED,
            Self::InsufficientScope | Self::AccessDenied => http::StatusCode::FORBIDDEN,
            Self::ServerError => http::StatusCode::INTERNAL_SERVER_ERROR,
            Self::TemporarilyUnavailable => http::StatusCode::SERVICE_UNAVAILABLE,
            _ => http::StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
