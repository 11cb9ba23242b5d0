//! One beat for everything that waits: requests and streams look at each beat whether they may go
//! on.
//!
//! A timer for each request would cost more than the rest of the gateway: setting one wakes the
//! thread that waits for the network. Here one timer serves all of a
//! worker, and time is counted in its beats.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, interval_at};

/// The beat.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    heart: Arc<Heart>,
    beat: Duration,
}

#[derive(Debug, Default)]
struct Heart {
    beats: AtomicU64,
    waiting: Arc<Notify>,
    is_beating: AtomicBool,
}

impl Pulse {
    pub(super) fn new(beat: Duration) -> Self {
        Self {
            heart: Arc::default(),
            // An interval of zero is not one.
            beat: beat.max(Duration::from_millis(1)),
        }
    }

    /// Starts the beat in the current runtime if it does not beat. It ends with the last handle.
    pub(super) fn start(&self) {
        let is_beating = &self.heart.is_beating;
        if is_beating.load(Ordering::Relaxed) || is_beating.swap(true, Ordering::AcqRel) {
            return;
        }
        let alive = Alive(Arc::downgrade(&self.heart));
        let mut beats = interval_at(Instant::now() + self.beat, self.beat);
        tokio::spawn(async move {
            loop {
                beats.tick().await;
                let Some(heart) = alive.0.upgrade() else {
                    return;
                };
                heart.beats.fetch_add(1, Ordering::Relaxed);
                heart.waiting.notify_waiters();
            }
        });
    }

    /// How many beats there were.
    pub(super) fn count(&self) -> u64 {
        self.heart.beats.load(Ordering::Relaxed)
    }

    /// Whether more than `duration` has passed since the beat `since`.
    pub(super) fn is_over(&self, duration: Duration, since: u64) -> bool {
        let beats = duration.as_millis().div_ceil(self.beat.as_millis().max(1));
        u128::from(self.count().saturating_sub(since)) > beats
    }

    /// Waits for the next beat.
    pub(super) async fn next(&self) {
        self.heart.waiting.notified().await;
    }
}

/// Says that the beat is over, whether its task ended or its runtime did.
struct Alive(Weak<Heart>);

impl Drop for Alive {
    fn drop(&mut self) {
        if let Some(heart) = self.0.upgrade() {
            heart.is_beating.store(false, Ordering::Release);
        }
    }
}

/// A body's wait for the next beat.
#[derive(Debug, Default)]
pub(super) struct Wait(Option<Pin<Box<OwnedNotified>>>);

impl Wait {
    /// Ready once per beat.
    pub(super) fn poll(&mut self, pulse: &Pulse, cx: &mut Context<'_>) -> Poll<()> {
        let waiting = &pulse.heart.waiting;
        let notified = self
            .0
            .get_or_insert_with(|| Box::pin(Arc::clone(waiting).notified_owned()));
        ready!(notified.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn beats_count_time() {
        let pulse = Pulse::new(BEAT);
        pulse.start();
        pulse.start();
        let since = pulse.count();
        for _ in 0..5 {
            assert!(!pulse.is_over(BEAT * 5, since));
            pulse.next().await;
        }
        assert_eq!(pulse.count(), 5);
        assert!(!pulse.is_over(BEAT * 5, since));
        pulse.next().await;
        assert!(pulse.is_over(BEAT * 5, since));
    }

    #[test]
    fn beat_starts_again_in_another_runtime() {
        let pulse = Pulse::new(Duration::from_millis(1));
        for _ in 0..2 {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            runtime.block_on(async {
                pulse.start();
                pulse.next().await;
            });
        }
    }
}
