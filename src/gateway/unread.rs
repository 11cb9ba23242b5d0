//! Cutting HTTP/2 streams that nobody reads.
//!
//! A client can keep the window of one stream closed while its connection is fine, so the socket does
//! not tell. [`Streams`] runs each stream of a connection and sees what its answer, wrapped in
//! [`Unread`], was last asked for: one that has handed on a piece and is not asked for the next has
//! no room. After [`PATIENCE`] the stream is reset, and its backend request ends with it. A stream
//! whose backend is silent was asked, and waits as long as its backend may.
//!
//! What counts as progress is a piece, so a client that reads fewer than 16 KB in that time is cut
//! as well.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::time::{Instant, Sleep, sleep_until};

use super::stall::PATIENCE;

/// The largest piece that is handed on.
const PIECE: usize = 16 * 1024;
/// An end of this size may stay behind where nobody reads it.
const LITTLE: usize = 1024;

/// What an answer was last asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// There was something, and the next is asked for when the client has room for it.
    Handed,
    /// There was nothing yet.
    Silent,
}

thread_local! {
    /// Of the stream that this thread runs just now.
    static ASKED: Cell<Option<Asked>> = const { Cell::new(None) };
}

/// Runs the streams of HTTP/2 connections.
#[derive(Clone, Copy, Debug)]
pub struct Streams;

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        tokio::spawn(run(stream));
    }
}

/// Runs a stream to its end, or until its client has had no room for too long.
async fn run(stream: impl Future) {
    let mut stream = pin!(stream);
    let mut waiting = Waiting::default();
    poll_fn(|cx| {
        ASKED.set(None);
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        waiting.poll(ASKED.take(), cx)
    })
    .await;
}

/// For how long an answer has not been asked to go on.
#[derive(Debug, Default)]
struct Waiting(Option<Pin<Box<Sleep>>>);

impl Waiting {
    /// Ready when the client's time is over.
    fn poll(&mut self, asked: Option<Asked>, cx: &mut Context<'_>) -> Poll<()> {
        match asked {
            Some(Asked::Silent) => self.0 = None,
            Some(Asked::Handed) => {
                self.0 = Some(Box::pin(sleep_until(Instant::now() + PATIENCE)));
            }
            None => {}
        }
        // Without one, it is the request or the backend that is waited for.
        let Some(timer) = &mut self.0 else {
            return Poll::Pending;
        };
        ready!(timer.as_mut().poll(cx));
        tracing::debug!("stream cut: nobody reads it");
        Poll::Ready(())
    }
}

/// An answer that tells when it is asked to go on.
#[derive(Debug)]
pub struct Unread<B> {
    answer: B,
    rest: Bytes,
}

impl<B> Unread<B> {
    /// Wraps the answer of a stream that [`Streams`] runs.
    pub fn new(answer: B) -> Self {
        ASKED.set(Some(Asked::Handed));
        Self {
            answer,
            rest: Bytes::new(),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Unread<B> {
    fn hand_on(&mut self, mut data: Bytes) -> Frame<Bytes> {
        let is_last = self.answer.is_end_stream();
        if data.len() > PIECE {
            self.rest = data.split_off(PIECE);
        } else if is_last && data.len() > LITTLE {
            // The end is taken from us only when everything before it has found room.
            self.rest = data.split_off(data.len() - 1);
        }
        Frame::data(data)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Unread<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        ASKED.set(Some(Asked::Silent));
        let frame = if this.rest.is_empty() {
            ready!(Pin::new(&mut this.answer).poll_frame(cx))
        } else {
            Some(Ok(Frame::data(std::mem::take(&mut this.rest))))
        };
        ASKED.set(Some(Asked::Handed));
        let hand_on = |frame: Frame<Bytes>| match frame.into_data() {
            Ok(data) => this.hand_on(data),
            Err(other) => other,
        };
        Poll::Ready(frame.map(|frame| frame.map(hand_on)))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let of_answer = self.answer.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = of_answer.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(of_answer.lower().saturating_add(rest));
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::{BodyExt as _, Full};
    use tokio::time::sleep;

    use super::*;

    /// A stream that hands on a piece whenever `pause` is over, in all `pieces`.
    async fn answering(pieces: usize, pause: Duration) {
        let mut body = Unread::new(Full::new(Bytes::from(vec![0; PIECE * pieces])));
        while body.frame().await.is_some() {
            sleep(pause).await;
        }
    }

    // F19
    #[tokio::test(start_paused = true)]
    async fn stream_without_room_ends_after_the_patience_and_a_slow_one_does_not() {
        let begun = Instant::now();
        let second = Duration::from_secs(1);
        run(answering(4, PATIENCE.saturating_sub(second))).await;
        assert!(begun.elapsed() > PATIENCE * 3);

        let begun = Instant::now();
        run(answering(4, PATIENCE + second)).await;
        assert_eq!(begun.elapsed(), PATIENCE);
    }

    // F19
    #[tokio::test(start_paused = true)]
    async fn stream_that_waits_for_its_backend_or_its_request_is_not_unread() {
        let begun = Instant::now();
        let slow = PATIENCE * 5;
        run(async {
            sleep(slow).await;
            let pieces = futures_util::stream::once(async {
                sleep(slow).await;
                Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"late")))
            });
            let body = Unread::new(http_body_util::StreamBody::new(Box::pin(pieces)));
            assert_eq!(body.collect().await.unwrap().to_bytes(), "late");
        })
        .await;
        assert_eq!(begun.elapsed(), slow * 2);
    }

    #[tokio::test]
    async fn answer_is_the_same_in_its_pieces() {
        for length in [0, 1, LITTLE, LITTLE + 1, PIECE, PIECE + 1, PIECE * 3 + 7] {
            let bytes: Bytes = (0..=u8::MAX).cycle().take(length).collect();
            let mut body = Unread::new(Full::new(bytes.clone()));
            let (mut joined, mut last) = (Vec::new(), 0);
            loop {
                let left = u64::try_from(length - joined.len()).unwrap();
                assert_eq!(body.size_hint().exact(), Some(left));
                let Some(frame) = body.frame().await else {
                    break;
                };
                let piece = frame.unwrap().into_data().unwrap();
                assert!(piece.len() <= PIECE);
                last = piece.len();
                joined.extend(piece);
            }
            assert!(body.is_end_stream());
            assert_eq!(joined, bytes);
            assert!(last <= LITTLE, "{length}: {last}");
        }
    }
}
