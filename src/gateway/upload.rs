//! A request's body on its way to the backend.
//!
//! Refuses more bytes than the resource allows, a client that stops sending, and trailers: backends
//! merge these into headers.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::pulse::{Pulse, Wait};

/// Why a request body stopped on the way to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UploadError {
    #[error("the request body is too large")]
    TooLarge,
    #[error("the client stopped sending its body")]
    Stalled,
    #[error("the client's connection broke")]
    Broken,
}

/// A request body on its way to the backend.
#[derive(Debug)]
pub(crate) struct Upload {
    body: axum::body::Body,
    left: u64,
    pulse: Pulse,
    wait: Wait,
    patience: Duration,
    /// Since which beat the client has sent nothing.
    silent_since: Option<u64>,
}

impl Upload {
    /// Lets `limit` bytes through, and waits `patience` for each piece.
    pub(super) fn new(
        body: axum::body::Body,
        limit: u64,
        pulse: Pulse,
        patience: Duration,
    ) -> Self {
        Self {
            body,
            left: limit,
            pulse,
            wait: Wait::default(),
            patience,
            silent_since: None,
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let this = self.get_mut();
        loop {
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.silent_since = None;
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                    let Some(left) = this.left.checked_sub(length) else {
                        return Poll::Ready(Some(Err(UploadError::TooLarge)));
                    };
                    this.left = left;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(Some(Err(_))) => {
                    return Poll::Ready(Some(Err(UploadError::Broken)));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    let since = *this.silent_since.get_or_insert_with(|| this.pulse.count());
                    ready!(this.wait.poll(&this.pulse, cx));
                    if this.pulse.is_over(this.patience, since) {
                        return Poll::Ready(Some(Err(UploadError::Stalled)));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
