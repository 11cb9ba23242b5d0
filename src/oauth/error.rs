//! Protocol errors: what goes on the wire.

use std::fmt;

use crate::oauth::pkce::InvalidChallenge;
use crate::seal::OpenError;

/// The registered error codes that we use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// RFC 6749 §4.1.2.1, §5.2: a parameter is missing, repeated or malformed.
    InvalidRequest,
    /// RFC 6749 §5.2: client authentication failed, or the client is unknown. Clients register again.
    InvalidClient,
    /// RFC 6749 §5.2: the code or refresh token is no good. Clients drop their tokens.
    InvalidGrant,
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
}

impl ErrorCode {
    /// Every code, for the reference in the documentation; a test compares it with the `enum`.
    pub const ALL: [Self; 14] = [
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::InvalidGrant,
        Self::UnsupportedGrantType,
        Self::UnsupportedResponseType,
        Self::InvalidScope,
        Self::InvalidTarget,
        Self::AccessDenied,
        Self::ServerError,
        Self::TemporarilyUnavailable,
        Self::InvalidRedirectUri,
        Self::InvalidClientMetadata,
        Self::InvalidToken,
        Self::InsufficientScope,
    ];

    /// The code on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
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

/// Why a request was refused, precisely: for the log, the audit trail and the tests. What the
/// outside hears follows from it: [`Self::code`] and [`Self::description`], and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The body or query is not a form, or not UTF-8.
    #[error("the parameters are not form-encoded UTF-8")]
    NotAForm,
    /// OAuth 2.1 §3.1, §3.2: a parameter appears twice.
    #[error("parameter {0} appears more than once")]
    Repeated(&'static str),
    /// A required parameter is absent or empty.
    #[error("parameter {0} is missing")]
    Missing(&'static str),
    /// A parameter is too long or does not keep to its grammar.
    #[error("parameter {0} is malformed")]
    Malformed(&'static str),
    /// `state`, `scope` and `redirect_uri` together are longer than a login cookie can hold.
    #[error("state, scope and redirect_uri are too long together")]
    TooLong,
    /// PKCE.
    #[error(transparent)]
    Challenge(#[from] InvalidChallenge),
    /// Anything but `code`.
    #[error("response_type is not code")]
    ResponseType,
    /// Anything but the query: a code never rides a fragment, and a form post would lose our cookies.
    #[error("response_mode is not query")]
    ResponseMode,
    /// The redirect URI is none of the client's.
    #[error("redirect_uri is not registered for this client")]
    RedirectNotRegistered,
    /// RFC 8707 §2.
    #[error("resource is not one of ours, or more than one was asked for")]
    UnknownResource,
    /// The grant is for another resource.
    #[error("resource is not the one that was granted")]
    OtherResource,
    /// RFC 6749 §3.3.
    #[error("scope breaks the grammar")]
    ScopeGrammar,
    /// RFC 6749 §6.
    #[error("scope exceeds what was granted")]
    ScopeExceedsGrant,
    /// The `client_id` does not open.
    #[error("client_id is unknown: {0}")]
    UnknownClient(OpenError),
    /// The `client_id` is a URL, and such clients are not accepted.
    #[error("client metadata documents are not accepted here")]
    DocumentsOff,
    /// The `client_id` is a URL that is not acceptable.
    #[error("the client_id cannot be used: {0}")]
    DocumentUrl(String),
    /// The document behind the `client_id` is no good.
    #[error("the client metadata document cannot be used: {0}")]
    Document(String),
    /// `[revocation] registrations_before`.
    #[error("this registration was ended by the operator")]
    RegistrationEnded,
    /// OAuth 2.1 §2.4: one mechanism per request.
    #[error("more than one client authentication mechanism")]
    SeveralMechanisms,
    /// The client must authenticate and did not, or did in another way.
    #[error("the client did not authenticate as registered")]
    NotAuthenticated,
    /// The secret is wrong.
    #[error("the client secret is wrong")]
    WrongSecret,
    /// The assertion is no good.
    #[error("the client assertion is no good: {0}")]
    Assertion(String),
    /// OAuth 2.1 §3.2.4.
    #[error("grant_type is not supported")]
    GrantType,
    /// The code does not open.
    #[error("the code does not open: {0}")]
    Code(OpenError),
    /// The refresh token does not open.
    #[error("the refresh token does not open: {0}")]
    RefreshToken(OpenError),
    /// The code or token was issued to another client.
    #[error("issued to another client")]
    OtherClient,
    /// The redirect URI is not the one that the code was sent to.
    #[error("redirect_uri is not the one of the authorization request")]
    OtherRedirect,
    /// RFC 7636 §4.6.
    #[error("code_verifier does not prove code_challenge")]
    Verifier,
    /// Another request is redeeming this code.
    #[error("the code is being redeemed")]
    CodeBusy,
    /// The code was redeemed before.
    #[error("the code was redeemed before")]
    CodeReplayed,
    /// The upstream refused.
    #[error("the upstream refused: {0}")]
    UpstreamRefused(String),
    /// The upstream's answer must not be believed.
    #[error("the upstream's answer was not acceptable: {0}")]
    UpstreamUnacceptable(String),
    /// The upstream now vouches for somebody else.
    #[error("the upstream answered for another person")]
    OtherPerson,
    /// The upstream's name points at another provider, or the resource at another upstream.
    #[error("the upstream was replaced since this was issued")]
    OtherUpstream,
    /// The resource is not configured any more.
    #[error("the resource is gone")]
    ResourceGone,
    /// No access rule lets this person in.
    #[error("no access rule lets this person in")]
    NotAllowed,
    /// The grant was revoked, or ended by an epoch.
    #[error("the grant was revoked")]
    Revoked,
    /// A superseded refresh token came again after the grace.
    #[error("a superseded refresh token was used again")]
    RefreshReplayed,
    /// A token older than the previous one came within its own grace.
    #[error("a refresh token was overtaken by two rotations")]
    RefreshOvertaken,
    /// Two different tokens of one generation.
    #[error("the grant was forked")]
    RefreshForked,
    /// The previous refresh token came more often than a retrying client would.
    #[error("the previous refresh token was repeated too often")]
    RepeatedTooOften,
    /// The previous refresh token came with another scope.
    #[error("the previous refresh token was repeated with another scope")]
    RepeatedOtherwise,
    /// The person pressed Deny, or the upstream says so.
    #[error("the person did not allow it")]
    Denied,
    /// The form is not of this browser.
    #[error("the consent form belongs to another browser, or its cookie was lost")]
    OtherBrowser,
    /// The form came from another site.
    #[error("the consent form was posted from another site")]
    CrossSite,
    /// The form does not open.
    #[error("the consent form does not open: {0}")]
    ConsentForm(OpenError),
    /// No cookie for this `state`.
    #[error("no login of this browser belongs to this callback")]
    NoLogin,
    /// The login session does not open.
    #[error("the login session does not open: {0}")]
    Login(OpenError),
    /// RFC 9207 §2.4.
    #[error("the callback's iss is not the upstream's")]
    CallbackIssuer,
    /// The upstream sent neither a code nor an error.
    #[error("the callback brings neither code nor error")]
    EmptyCallback,
    /// The upstream sent an error that is not about the person.
    #[error("the upstream reported {0}")]
    UpstreamError(&'static str),
    /// The replay store did not answer.
    #[error("{0}")]
    Store(String),
    /// The upstream did not answer.
    #[error("the upstream is not available: {0}")]
    UpstreamUnavailable(String),
    /// Another request holds the lease for too long.
    #[error("another refresh of this grant takes too long")]
    LeaseBusy,
    /// Too many requests.
    #[error("too many requests")]
    TooManyRequests,
    /// A fault of ours.
    #[error("internal: {0}")]
    Internal(String),
}

impl Reason {
    /// One of each, for the reference in the documentation; a test compares it with the `enum`.
    #[expect(clippy::too_many_lines, reason = "one list, a line for each cause")]
    pub fn one_of_each() -> Vec<Self> {
        let open = OpenError::Expired;
        let text = String::new;
        vec![
            Self::NotAForm,
            Self::Repeated(""),
            Self::Missing(""),
            Self::Malformed(""),
            Self::TooLong,
            Self::ResponseType,
            Self::ResponseMode,
            Self::RedirectNotRegistered,
            Self::UnknownResource,
            Self::OtherResource,
            Self::ScopeGrammar,
            Self::ScopeExceedsGrant,
            Self::UnknownClient(open),
            Self::DocumentsOff,
            Self::DocumentUrl(text()),
            Self::Document(text()),
            Self::RegistrationEnded,
            Self::SeveralMechanisms,
            Self::NotAuthenticated,
            Self::WrongSecret,
            Self::Assertion(text()),
            Self::GrantType,
            Self::Code(open),
            Self::RefreshToken(open),
            Self::OtherClient,
            Self::OtherRedirect,
            Self::Verifier,
            Self::CodeBusy,
            Self::CodeReplayed,
            Self::UpstreamRefused(text()),
            Self::UpstreamUnacceptable(text()),
            Self::OtherPerson,
            Self::OtherUpstream,
            Self::ResourceGone,
            Self::NotAllowed,
            Self::Revoked,
            Self::RefreshReplayed,
            Self::RefreshOvertaken,
            Self::RefreshForked,
            Self::RepeatedTooOften,
            Self::RepeatedOtherwise,
            Self::Denied,
            Self::OtherBrowser,
            Self::CrossSite,
            Self::ConsentForm(open),
            Self::NoLogin,
            Self::Login(open),
            Self::CallbackIssuer,
            Self::EmptyCallback,
            Self::UpstreamError(""),
            Self::Store(text()),
            Self::UpstreamUnavailable(text()),
            Self::LeaseBusy,
            Self::TooManyRequests,
            Self::Internal(text()),
            Self::Challenge(InvalidChallenge::Missing),
            Self::Challenge(InvalidChallenge::Method),
            Self::Challenge(InvalidChallenge::Form),
        ]
    }

    /// The code for the wire. Trouble on our side is never a code that makes clients throw their
    /// credentials away.
    pub const fn code(&self) -> ErrorCode {
        use ErrorCode as Code;
        match self {
            Self::NotAForm
            | Self::Repeated(_)
            | Self::Missing(_)
            | Self::Malformed(_)
            | Self::TooLong
            | Self::Challenge(_)
            | Self::ResponseMode
            | Self::RedirectNotRegistered
            | Self::SeveralMechanisms
            | Self::OtherBrowser
            | Self::CrossSite
            | Self::ConsentForm(_)
            | Self::NoLogin
            | Self::Login(_)
            | Self::CallbackIssuer
            | Self::EmptyCallback => Code::InvalidRequest,
            Self::ResponseType => Code::UnsupportedResponseType,
            Self::UnknownResource | Self::OtherResource => Code::InvalidTarget,
            Self::ScopeGrammar | Self::ScopeExceedsGrant | Self::RepeatedOtherwise => {
                Code::InvalidScope
            }
            Self::UnknownClient(_)
            | Self::DocumentsOff
            | Self::DocumentUrl(_)
            | Self::RegistrationEnded
            | Self::NotAuthenticated
            | Self::WrongSecret
            | Self::Assertion(_) => Code::InvalidClient,
            Self::GrantType => Code::UnsupportedGrantType,
            Self::Code(_)
            | Self::RefreshToken(_)
            | Self::OtherClient
            | Self::OtherRedirect
            | Self::Verifier
            | Self::CodeBusy
            | Self::CodeReplayed
            | Self::UpstreamRefused(_)
            | Self::UpstreamUnacceptable(_)
            | Self::OtherPerson
            | Self::OtherUpstream
            | Self::ResourceGone
            | Self::NotAllowed
            | Self::Revoked
            | Self::RefreshReplayed
            | Self::RefreshForked
            | Self::RefreshOvertaken
            | Self::RepeatedTooOften => Code::InvalidGrant,
            Self::Denied => Code::AccessDenied,
            Self::UpstreamError(_) | Self::Internal(_) => Code::ServerError,
            Self::Document(_)
            | Self::Store(_)
            | Self::UpstreamUnavailable(_)
            | Self::LeaseBusy
            | Self::TooManyRequests => Code::TemporarilyUnavailable,
        }
    }

    /// The `error_description` for the wire: printable ASCII without quote and backslash (RFC 6749
    /// §5.2), fixed, and about what the caller can do.
    #[expect(clippy::too_many_lines, reason = "one table, a line for each cause")]
    pub const fn description(&self) -> &'static str {
        match self {
            Self::NotAForm => "the parameters must be form-encoded UTF-8",
            Self::Repeated(_) => "a parameter appears more than once",
            Self::Missing(name) => missing(name),
            Self::Malformed(_) => "a parameter is malformed or too long",
            Self::TooLong => "state, scope and redirect_uri are too long together",
            Self::Challenge(challenge) => challenge.description(),
            Self::ResponseType => "response_type must be code",
            Self::ResponseMode => "response_mode must be query",
            Self::RedirectNotRegistered => "redirect_uri is not registered for this client",
            Self::UnknownResource => "resource is not served here; see the resource metadata",
            Self::OtherResource => "resource is not the one that was granted",
            Self::ScopeGrammar => "scope is malformed",
            Self::ScopeExceedsGrant => "scope exceeds what was granted",
            Self::UnknownClient(_) | Self::RegistrationEnded => {
                "client_id is not known here; register again"
            }
            Self::DocumentsOff => "client metadata documents are not accepted here",
            Self::DocumentUrl(_) => "client_id is not the URL of a document that is accepted here",
            Self::Document(_) => "the client metadata document could not be used at the moment",
            Self::SeveralMechanisms => "use one client authentication mechanism only",
            Self::NotAuthenticated => "client authentication is required, as registered",
            Self::WrongSecret => "client authentication failed",
            Self::Assertion(_) => "the client assertion is not acceptable",
            Self::GrantType => "grant_type must be authorization_code or refresh_token",
            Self::Code(_) => "the code is not valid or has expired",
            Self::RefreshToken(_) => "the refresh token is not valid or has expired",
            Self::OtherClient => "issued to another client",
            Self::OtherRedirect => "redirect_uri is not the one of the authorization request",
            Self::Verifier => "code_verifier does not match code_challenge",
            Self::CodeBusy | Self::CodeReplayed => "the code was used before",
            Self::UpstreamRefused(_) => "the identity provider refused; sign in again",
            Self::UpstreamUnacceptable(_) | Self::OtherPerson => {
                "the identity provider's answer could not be accepted; sign in again"
            }
            Self::OtherUpstream | Self::ResourceGone => {
                "the server's configuration changed; sign in again"
            }
            Self::NotAllowed => {
                "this account is not allowed here; ask the operator or use another account"
            }
            Self::Revoked => "the grant was revoked; sign in again",
            Self::RefreshReplayed | Self::RefreshForked => {
                "the refresh token was used before; sign in again"
            }
            Self::RefreshOvertaken | Self::RepeatedTooOften => {
                "the refresh token was used before; use the newer one"
            }
            Self::RepeatedOtherwise => "repeat the refresh with the scope of the first time",
            Self::Denied => "access was denied",
            Self::OtherBrowser | Self::NoLogin => {
                "this browser did not start this sign-in; start again from your client"
            }
            Self::CrossSite => "the form must be sent from its own page",
            Self::ConsentForm(_) | Self::Login(_) => {
                "the sign-in took too long; start again from your client"
            }
            Self::CallbackIssuer | Self::EmptyCallback => {
                "the identity provider's answer was incomplete; start again from your client"
            }
            Self::UpstreamError(_) => "the identity provider reported an error",
            Self::Store(_) | Self::LeaseBusy => "temporarily unavailable; try again",
            Self::UpstreamUnavailable(_) => "the identity provider does not answer; try again",
            Self::TooManyRequests => "too many requests; try again later",
            Self::Internal(_) => "internal error",
        }
    }
}

/// A description for each parameter whose absence a client may want explained.
const fn missing(name: &str) -> &'static str {
    match name.as_bytes() {
        b"client_id" => "client_id is missing",
        b"redirect_uri" => "redirect_uri is missing",
        b"code" => "code is missing",
        b"code_verifier" => "code_verifier is missing",
        b"refresh_token" => "refresh_token is missing",
        b"grant_type" => "grant_type is missing",
        b"response_type" => "response_type is missing",
        b"token" => "token is missing",
        _ => "a parameter is missing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // T3
    #[test]
    fn descriptions_keep_to_the_grammar() {
        let samples = [
            Reason::NotAForm,
            Reason::Missing("code"),
            Reason::Challenge(InvalidChallenge::Missing),
            Reason::UnknownClient(OpenError::Expired),
            Reason::UpstreamRefused("\"\\\n".into()),
            Reason::NotAllowed,
            Reason::Internal("\u{1}".into()),
        ];
        for reason in samples {
            // RFC 6749 §5.2: %x20-21 / %x23-5B / %x5D-7E
            let fits = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
            assert!(reason.description().bytes().all(fits), "{reason:?}");
        }
    }

    // E2, B12
    #[test]
    fn our_trouble_never_costs_a_client_its_credentials() {
        for reason in [
            Reason::Store("down".into()),
            Reason::UpstreamUnavailable("slow".into()),
            Reason::LeaseBusy,
            Reason::TooManyRequests,
            Reason::Internal("bug".into()),
        ] {
            assert!(reason.code().status().is_server_error(), "{reason:?}");
        }
    }
}
