//! The backend's answer on its way to the client.
//!
//! Events that come close together go out in one write: writes cost more than everything else about
//! a stream. The first after a pause goes out at once. The next piece is read only when the client
//! has room. The answer ends when the backend is silent for too long or its warrant is over.
//! Refuses trailers: clients merge them into headers.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::batch::Batch;
use super::pulse::{Pulse, Wait};
use super::warrant::{End, Warrant};

/// Why an answer was cut off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("the backend broke off its answer")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the backend was silent for too long")]
    Silent,
    #[error("the answer may not go on")]
    Ended,
}

/// The least time between two writes of one stream, unless much is waiting.
const PACE: Duration = Duration::from_millis(1);

/// Counts an answer among the active streams for as long as it lives.
#[derive(Debug)]
pub(crate) struct Active(metrics::Gauge);

impl Active {
    /// Counts one more.
    pub(crate) fn count(gauge: &metrics::Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// The backend's answer on its way to the client.
pub(crate) struct Answer<B> {
    backend: B,
    warrant: Warrant,
    pulse: Pulse,
    wait: Wait,
    idle: Duration,
    /// Present for server-sent events.
    events: Option<Active>,
    batch: Batch,
    /// When events were last handed on.
    written: Option<Instant>,
    pace: Option<Pin<Box<Sleep>>>,
    /// Whether what was handed on ends with an empty line: between two events.
    at_border: bool,
    /// The beat of the last piece.
    last_piece: u64,
    /// The beat of the last look at the warrant.
    checked: u64,
    /// What comes after the batch: the end, or an error.
    #[expect(clippy::option_option, reason = "nothing yet, the end, or an error")]
    last: Option<Option<AnswerError>>,
}

impl<B> fmt::Debug for Answer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("is_events", &self.events.is_some())
            .finish_non_exhaustive()
    }
}

impl<B> Answer<B> {
    /// Hands on `backend` while `warrant` holds. `events` says that these are server-sent events.
    pub(crate) fn new(
        backend: B,
        warrant: Warrant,
        pulse: Pulse,
        idle: Duration,
        events: Option<Active>,
    ) -> Self {
        let now = pulse.count();
        Self {
            backend,
            warrant,
            pulse,
            wait: Wait::default(),
            idle,
            events,
            batch: Batch::default(),
            written: None,
            pace: None,
            at_border: true,
            last_piece: now,
            checked: now,
            last: None,
        }
    }

    /// The end that is due: clean between events, which a client's parser survives; otherwise the
    /// connection breaks, so that nobody takes a part for the whole.
    fn cut(&self, cause: AnswerError) -> Option<AnswerError> {
        self.events.is_none().then_some(cause)
    }

    /// Looks once per beat whether the answer may go on.
    fn check(&mut self, now: u64, is_pause: bool) {
        if now == self.checked || self.last.is_some() {
            return;
        }
        self.checked = now;
        match self.warrant.end() {
            // Not in the middle of an event, nor with one at hand.
            Some(End::Draining) if !is_pause || !self.at_border => {}
            Some(end) => {
                tracing::debug!(?end, "answer ended");
                self.last = Some(self.cut(AnswerError::Ended));
            }
            None if self.pulse.is_over(self.idle, self.last_piece) => {
                tracing::debug!("answer ended: the backend is silent");
                self.last = Some(self.cut(AnswerError::Silent));
            }
            None => {}
        }
    }

    fn hand_on(&mut self) -> Option<Bytes> {
        let piece = self.batch.take()?;
        self.at_border = ends_event(&piece);
        Some(piece)
    }

    /// Whether collected events go out now, or else soon: events may come faster than they are worth
    /// a write each.
    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        let now = Instant::now();
        let due = self.written.map_or(now, |written| written + PACE);
        if due > now {
            let pace = self.pace.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if pace.deadline() != due {
                pace.as_mut().reset(due);
            }
            if pace.as_mut().poll(cx).is_pending() {
                return false;
            }
        }
        self.written = Some(now);
        true
    }

    fn finish(&mut self) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        match &mut self.last {
            Some(error) => Poll::Ready(error.take().map(Err)),
            None => Poll::Ready(None),
        }
    }
}

impl<B> Body for Answer<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        let this = self.get_mut();
        loop {
            if this.last.is_some() || this.batch.is_full() {
                if let Some(piece) = this.hand_on() {
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                return this.finish();
            }
            match Pin::new(&mut this.backend).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    this.last_piece = this.pulse.count();
                    this.check(this.last_piece, false);
                    if this.last.is_some() {
                        continue;
                    }
                    this.batch.push(data);
                    if this.events.is_none()
                        && let Some(piece) = this.hand_on()
                    {
                        return Poll::Ready(Some(Ok(Frame::data(piece))));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    this.last = Some(Some(AnswerError::Backend(error.into())));
                }
                Poll::Ready(None) => this.last = Some(None),
                Poll::Pending if !this.batch.is_empty() && !this.is_due(cx) => {
                    return Poll::Pending;
                }
                Poll::Pending => {
                    if let Some(piece) = this.hand_on() {
                        return Poll::Ready(Some(Ok(Frame::data(piece))));
                    }
                    ready!(this.wait.poll(&this.pulse, cx));
                    this.check(this.pulse.count(), true);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.batch.is_empty() && self.last.is_none() && self.backend.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // What was collected is no longer counted by the backend's body.
        if self.events.is_some() {
            SizeHint::default()
        } else {
            self.backend.size_hint()
        }
    }
}

/// Whether a piece of an event stream ends with an empty line.
fn ends_event(piece: &[u8]) -> bool {
    piece.ends_with(b"\n\n") || piece.ends_with(b"\r\n\r\n") || piece.ends_with(b"\r\r")
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::sync::mpsc;
    use tokio::time::sleep;

    use super::super::batch::BATCH;
    use super::super::warrant::{Conditions, Stopping};
    use super::*;
    use crate::oauth::bearer::Ended;
    use crate::oauth::records::AccessToken;
    use crate::time::{ManualClock, Timestamp};

    const IDLE: Duration = Duration::from_secs(300);

    #[derive(Debug)]
    struct Nothing;

    impl Ended for Nothing {
        fn has_ended(&self, _: &AccessToken) -> bool {
            false
        }
    }

    fn warrant(clock: &Arc<ManualClock>, ends_at: Option<Timestamp>) -> Warrant {
        let conditions = Conditions {
            clock: clock.clone(),
            ended: Arc::new(Nothing),
            stopping: Stopping::default(),
        };
        Warrant {
            conditions: Arc::new(conditions),
            principal: None,
            ends_at,
            is_listening: true,
        }
    }

    type Pieces = mpsc::UnboundedSender<Result<Frame<Bytes>, std::io::Error>>;

    fn answer(
        ends_at: Option<Timestamp>,
        is_events: bool,
    ) -> (
        Pieces,
        Arc<ManualClock>,
        impl Body<Data = Bytes, Error = AnswerError> + Unpin,
    ) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_000)));
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let backend = StreamBody::new(futures_util::stream::poll_fn(move |cx| {
            receiver.poll_recv(cx)
        }));
        let events = is_events.then(|| Active::count(&metrics::Gauge::noop()));
        let warrant = warrant(&clock, ends_at);
        let pulse = Pulse::new(Duration::from_secs(1));
        pulse.start();
        let answer = Answer::new(backend, warrant, pulse, IDLE, events);
        (sender, clock, answer)
    }

    fn send(pieces: &Pieces, text: &'static str) {
        pieces
            .send(Ok(Frame::data(Bytes::from_static(text.as_bytes()))))
            .unwrap();
    }

    async fn next(body: &mut (impl Body<Data = Bytes, Error = AnswerError> + Unpin)) -> Bytes {
        body.frame().await.unwrap().unwrap().into_data().unwrap()
    }

    // G8
    #[tokio::test(start_paused = true)]
    async fn events_that_are_ready_together_go_out_together() {
        let (pieces, _, mut body) = answer(None, true);
        for text in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
            send(&pieces, text);
        }
        assert_eq!(next(&mut body).await, "data: 1\n\ndata: 2\n\ndata: 3\n\n");
        send(&pieces, "data: 4\n\n");
        assert_eq!(next(&mut body).await, "data: 4\n\n");
        drop(pieces);
        assert!(body.frame().await.is_none());
    }

    // G8
    #[tokio::test(start_paused = true)]
    async fn only_events_right_after_others_wait_and_never_long() {
        let (pieces, _, mut body) = answer(None, true);
        for _ in 0..3 {
            let begun = Instant::now();
            send(&pieces, "data: 1\n\n");
            assert_eq!(next(&mut body).await, "data: 1\n\n");
            assert_eq!(begun.elapsed(), Duration::ZERO);
            send(&pieces, "data: 2\n\n");
            assert_eq!(next(&mut body).await, "data: 2\n\n");
            assert!(begun.elapsed() <= PACE * 2);
            sleep(Duration::from_millis(2)).await;
        }
        send(&pieces, "data: 3\n\n");
        assert_eq!(next(&mut body).await, "data: 3\n\n");
        let begun = Instant::now();
        send(&pieces, "data: 4\n\n");
        drop(pieces);
        assert_eq!(next(&mut body).await, "data: 4\n\n");
        assert!(body.frame().await.is_none());
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    // F19
    #[tokio::test(start_paused = true)]
    async fn collected_events_stay_within_a_bound() {
        let (pieces, _, mut body) = answer(None, true);
        let mut left = VecDeque::from(vec!["data: 0123456789abcdef0123456789\n\n"; 4_000]);
        let length = left.len() * left[0].len();
        while let Some(text) = left.pop_front() {
            send(&pieces, text);
        }
        drop(pieces);
        let mut total = 0;
        while let Some(frame) = body.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            assert!(piece.len() < BATCH + 64, "{}", piece.len());
            total += piece.len();
        }
        assert_eq!(total, length);
    }

    // F18, G10
    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_stream_and_comments_keep_it_without_end() {
        let (pieces, _, mut body) = answer(None, true);
        let begun = Instant::now();
        for _ in 0..100 {
            sleep(IDLE.saturating_sub(Duration::from_secs(2))).await;
            send(&pieces, ":\n\n");
            assert_eq!(next(&mut body).await, ":\n\n");
        }
        let spoken = Instant::now();
        assert!(body.frame().await.is_none());
        assert!(begun.elapsed() > Duration::from_secs(8 * 3_600));
        let silence = spoken.elapsed();
        assert!(silence >= IDLE && silence <= IDLE + Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn part_of_an_answer_does_not_pass_for_the_whole() {
        let (pieces, clock, mut body) = answer(Some(Timestamp::from_secs(1_010)), false);
        send(&pieces, "{\"half\":");
        assert_eq!(next(&mut body).await, "{\"half\":");
        clock.advance(Duration::from_secs(10));
        let cut = body.frame().await.unwrap();
        assert!(matches!(cut, Err(AnswerError::Ended)), "{cut:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn stream_that_never_pauses_still_ends() {
        let (pieces, clock, mut body) = answer(Some(Timestamp::from_secs(1_010)), true);
        clock.advance(Duration::from_secs(10));
        sleep(Duration::from_secs(2)).await;
        send(&pieces, "data: 1\n\n");
        assert!(body.frame().await.is_none());
    }

    // F17
    #[tokio::test(start_paused = true)]
    async fn broken_backend_breaks_the_answer_after_what_had_arrived() {
        let (pieces, _, mut body) = answer(None, true);
        send(&pieces, "data: 1\n\n");
        pieces.send(Err(std::io::Error::other("reset"))).unwrap();
        assert_eq!(next(&mut body).await, "data: 1\n\n");
        let cut = body.frame().await.unwrap();
        assert!(matches!(cut, Err(AnswerError::Backend(_))), "{cut:?}");
        assert!(body.frame().await.is_none());
    }
}
