//! Cutting clients that stopped reading.
//!
//! A server that waits for room in a client's socket polls nothing else of that connection, so only
//! the socket itself can tell. [`Stalled`] wraps one and fails a write that made no progress for a
//! while; the connection, its streams and their backend requests end with it.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a client may read nothing of what waits for it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A socket that fails when nothing could be written to it for too long.
#[derive(Debug)]
pub struct Stalled<IO> {
    io: IO,
    patience: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<IO> Stalled<IO> {
    /// Wraps a socket.
    pub const fn new(io: IO, patience: Duration) -> Self {
        Self {
            io,
            patience,
            timer: None,
        }
    }

    /// Turns a write that waits too long into an error; any progress starts the time anew.
    fn judge<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.timer = None;
            return written;
        }
        let patience = self.patience;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + patience)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client stopped reading",
        )))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Stalled<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Stalled<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buffer);
        self.judge(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, buffers);
        self.judge(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    // F19
    #[tokio::test(start_paused = true)]
    async fn write_without_progress_fails_after_the_patience() {
        let (near, far) = tokio::io::duplex(8);
        let mut near = Stalled::new(near, PATIENCE);
        let begun = Instant::now();
        let error = near.write_all(&[0; 9]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), PATIENCE);
        drop(far);
    }

    // F19
    #[tokio::test(start_paused = true)]
    async fn slow_progress_is_progress() {
        let (near, mut far) = tokio::io::duplex(1);
        let mut near = Stalled::new(near, PATIENCE);
        let reader = tokio::spawn(async move {
            for _ in 0..5 {
                tokio::time::sleep(PATIENCE.saturating_sub(Duration::from_secs(1))).await;
                far.read_u8().await.unwrap();
            }
        });
        near.write_all(&[0; 5]).await.unwrap();
        reader.await.unwrap();
    }
}
