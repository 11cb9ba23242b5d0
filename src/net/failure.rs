//! Why an exchange over HTTP failed: for the log and for decisions, without URL, query or body.

use std::error::Error;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Neither https nor this computer.
    #[error("the URL is neither https nor on this computer")]
    NotConfidential,
    /// The request could not be written down.
    #[error("the request cannot be sent")]
    Request,
    /// The name does not resolve.
    #[error("the name was not resolved")]
    Name,
    /// No connection.
    #[error("no connection")]
    Connect,
    /// The certificate or the handshake was no good.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// Not within the time.
    #[error("no answer in time")]
    Timeout,
    /// The connection ended within the answer, or the answer is not HTTP.
    #[error("the connection broke")]
    Broken,
    /// Over the cap.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// A content coding, though none was offered.
    #[error("the answer is compressed, which was not offered")]
    Encoded,
}

impl Failure {
    /// Reads what the HTTP client says.
    pub(super) fn of(error: &reqwest::Error) -> Self {
        if let Some(tls) = tls(error) {
            return Self::Tls(tls);
        }
        if error.is_timeout() {
            Self::Timeout
        } else if error.is_dns() {
            Self::Name
        } else if error.is_connect() {
            Self::Connect
        } else if error.is_builder() {
            Self::Request
        } else {
            Self::Broken
        }
    }
}

/// The chain of causes; an `io::Error` hides its own cause from `source`.
pub(super) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let hidden = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            .map(|inner| inner as &(dyn Error + 'static));
        hidden.or_else(|| error.source())
    })
}

fn tls(error: &reqwest::Error) -> Option<String> {
    causes(error)
        .find_map(|cause| cause.downcast_ref::<rustls::Error>())
        .map(ToString::to_string)
}

/// The text of the innermost cause, which names neither URL nor body.
pub(super) fn innermost(error: &reqwest::Error) -> String {
    causes(error)
        .last()
        .map(ToString::to_string)
        .unwrap_or_default()
}
