//! Bodies in flight: back-pressure, silence, and the end of what was authorized.
//!
//! [`Upload`] carries a request to the backend: bounded, and cut when the client stops sending.
//! [`Answer`] carries the backend's answer to the client: events that are ready together go out in
//! one write, and it ends when the backend is silent for too long, when what authorized it is over,
//! or when the process stops. Refuses trailers in both directions: backends merge them into headers.

use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::oauth::bearer::{Ended, Principal};
use crate::time::{Clock, Timestamp};

/// Events are collected up to this size before they are handed on, so that a slow client holds no
/// more of a stream in memory than a few of these.
const BATCH: usize = 16 * 1024;
/// A piece of this size goes out as it is: copying it would cost more than a write.
const LARGE: usize = 4 * 1024;

/// The patience of the gateway; the defaults are right outside tests.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How often a stream looks whether it may go on: at most 5 s, since revocation waits for it.
    pub tick: Duration,
    /// How long a client may send nothing in the middle of a body.
    pub upload: Duration,
    /// How long after the token's end an answer runs that was authorized when it began.
    pub answer_past_expiry: Duration,
    /// How long after the token's end a stream without end runs.
    pub listen_past_expiry: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(1),
            upload: Duration::from_secs(30),
            answer_past_expiry: Duration::from_secs(3_600),
            listen_past_expiry: Duration::from_secs(30),
        }
    }
}

/// How the process stops: two signals that the server gives.
#[derive(Clone, Debug, Default)]
pub struct Stopping {
    /// Streams without end are to finish at the next event border, so that clients connect elsewhere.
    pub drain: CancellationToken,
    /// The deadline: everything is to end now.
    pub deadline: CancellationToken,
}

/// Why a stream ends before its backend ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The grant has ended.
    Revoked,
    /// The token's time, and the patience after it, is over.
    Expired,
    /// The process would like it to end.
    Draining,
    /// The process stops.
    Stopping,
}

/// What allows a stream to go on.
#[derive(Debug)]
pub(crate) struct Warrant {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ended: Arc<dyn Ended>,
    pub(crate) stopping: Stopping,
    pub(crate) principal: Option<Principal>,
    /// When it ends for lack of a live token.
    pub(crate) ends_at: Option<Timestamp>,
    /// A stream without end of its own: a GET, or a subscription.
    pub(crate) is_listening: bool,
}

impl Warrant {
    /// Why it must not go on, if so.
    pub(crate) fn end(&self) -> Option<End> {
        if self.stopping.deadline.is_cancelled() {
            return Some(End::Stopping);
        }
        if let Some(principal) = &self.principal
            && self.ended.has_ended(principal.token())
        {
            return Some(End::Revoked);
        }
        if self
            .ends_at
            .is_some_and(|end| end.is_past(self.clock.now()))
        {
            return Some(End::Expired);
        }
        (self.is_listening && self.stopping.drain.is_cancelled()).then_some(End::Draining)
    }
}

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
    patience: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Upload {
    /// Lets `limit` bytes through, and waits `patience` for each piece.
    pub(crate) const fn new(body: axum::body::Body, limit: u64, patience: Duration) -> Self {
        Self {
            body,
            left: limit,
            patience,
            timer: None,
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.timer = None;
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                    let Some(left) = self.left.checked_sub(length) else {
                        return Poll::Ready(Some(Err(UploadError::TooLarge)));
                    };
                    self.left = left;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(Some(Err(_))) => {
                    return Poll::Ready(Some(Err(UploadError::Broken)));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    let patience = self.patience;
                    let timer = self
                        .timer
                        .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + patience)));
                    ready!(timer.as_mut().poll(cx));
                    return Poll::Ready(Some(Err(UploadError::Stalled)));
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
    tick: Duration,
    idle: Duration,
    /// Present for server-sent events.
    events: Option<Active>,
    batch: Batch,
    /// Whether the backend's task was given its turn since the last piece.
    has_yielded: bool,
    /// Whether what was handed on ends with an empty line: between two events.
    at_border: bool,
    last_piece: Instant,
    next_check: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// What comes after the batch: the end, or an error.
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
        patience: Patience,
        idle: Duration,
        events: Option<Active>,
    ) -> Self {
        let now = Instant::now();
        let tick = patience.tick.min(idle);
        Self {
            backend,
            warrant,
            tick,
            idle,
            events,
            batch: Batch::default(),
            has_yielded: false,
            at_border: true,
            last_piece: now,
            next_check: now + tick,
            timer: None,
            last: None,
        }
    }

    /// The end that is due: clean between events, which a client's parser survives; otherwise the
    /// connection breaks, so that nobody takes a part for the whole.
    fn cut(&self, cause: AnswerError) -> Option<AnswerError> {
        self.events.is_none().then_some(cause)
    }

    /// Looks once per tick whether the answer may go on.
    fn check(&mut self, now: Instant, is_pause: bool) {
        if now < self.next_check || self.last.is_some() {
            return;
        }
        self.next_check = now + self.tick;
        match self.warrant.end() {
            // Not in the middle of an event, nor with one at hand.
            Some(End::Draining) if !is_pause || !self.at_border => {}
            Some(end) => {
                tracing::debug!(?end, "answer ended");
                self.last = Some(self.cut(AnswerError::Ended));
            }
            None if now.duration_since(self.last_piece) >= self.idle => {
                tracing::debug!("answer ended: the backend is silent");
                self.last = Some(self.cut(AnswerError::Silent));
            }
            None => {}
        }
    }

    /// Registers to be woken at the next check. False if that is due now.
    fn wait(&mut self, cx: &mut Context<'_>) -> bool {
        let at = self.next_check;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() < at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx).is_pending()
    }

    fn hand_on(&mut self) -> Option<Bytes> {
        let piece = self.batch.take()?;
        self.at_border = ends_event(&piece);
        self.has_yielded = false;
        Some(piece)
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
            if this.last.is_some() || this.batch.length >= BATCH {
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
                    this.last_piece = Instant::now();
                    this.check(this.last_piece, false);
                    if this.last.is_some() {
                        continue;
                    }
                    this.batch.push(data);
                    this.has_yielded = false;
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
                Poll::Pending if !this.batch.is_empty() && !this.has_yielded => {
                    // The task that reads from the backend hands over one piece at a time. Letting
                    // it run once before writing collects all that has arrived already.
                    this.has_yielded = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Pending => {
                    if let Some(piece) = this.hand_on() {
                        return Poll::Ready(Some(Ok(Frame::data(piece))));
                    }
                    if this.wait(cx) {
                        return Poll::Pending;
                    }
                    this.check(Instant::now(), true);
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

/// Pieces that go out together. One alone is not copied.
#[derive(Debug, Default)]
struct Batch {
    first: Bytes,
    joined: BytesMut,
    length: usize,
}

impl Batch {
    const fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn push(&mut self, piece: Bytes) {
        self.length += piece.len();
        if self.first.is_empty() && self.joined.is_empty() {
            self.first = piece;
            if self.length >= LARGE {
                // Full already: handed on by itself.
                self.length = self.length.max(BATCH);
            }
            return;
        }
        if self.joined.is_empty() {
            self.joined.extend_from_slice(&self.first);
            self.first = Bytes::new();
        }
        self.joined.extend_from_slice(&piece);
    }

    fn take(&mut self) -> Option<Bytes> {
        self.length = 0;
        if !self.joined.is_empty() {
            // The buffer goes along: a stream that is silent holds none.
            return Some(std::mem::take(&mut self.joined).freeze());
        }
        (!self.first.is_empty()).then(|| std::mem::take(&mut self.first))
    }
}

/// Whether a piece of an event stream ends with an empty line.
fn ends_event(piece: &[u8]) -> bool {
    piece.ends_with(b"\n\n") || piece.ends_with(b"\r\n\r\n") || piece.ends_with(b"\r\r")
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::sync::mpsc;
    use tokio::time::advance;

    use super::*;
    use crate::oauth::records::AccessToken;
    use crate::time::ManualClock;

    const IDLE: Duration = Duration::from_secs(300);

    #[derive(Debug)]
    struct Nothing;

    impl Ended for Nothing {
        fn has_ended(&self, _: &AccessToken) -> bool {
            false
        }
    }

    fn warrant(clock: &Arc<ManualClock>, ends_at: Option<Timestamp>) -> Warrant {
        Warrant {
            clock: clock.clone(),
            ended: Arc::new(Nothing),
            stopping: Stopping::default(),
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
        let answer = Answer::new(backend, warrant, Patience::default(), IDLE, events);
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
            advance(IDLE - Duration::from_secs(2)).await;
            send(&pieces, ":\n\n");
            assert_eq!(next(&mut body).await, ":\n\n");
        }
        let spoken = Instant::now();
        assert!(body.frame().await.is_none());
        assert!(begun.elapsed() > Duration::from_secs(8 * 3_600));
        let silence = spoken.elapsed();
        assert!(silence >= IDLE && silence <= IDLE + Duration::from_secs(1));
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
        advance(Duration::from_secs(2)).await;
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
