//! The listener: connections in, within limits, and out again in good order.
//!
//! Refuses heads over 32 KB or 100 fields, heads that take longer than ten seconds, clients
//! that say nothing for as long, floods of HTTP/2 frames, and more connections than
//! [`MAX_CONNECTIONS`]; cuts clients that stop reading, and HTTP/2 streams that nobody reads.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Version};
use axum::response::Response;
use futures_util::TryFutureExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::gateway::stall::{PATIENCE, Stalled};
use crate::gateway::unread::{Streams, Unread};
use crate::tls::{Connection, Tls};
use crate::workers::Workers;

/// Connections that are open at once.
pub const MAX_CONNECTIONS: usize = 10_000;
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 32 * 1024;
/// Requests of one HTTP/2 connection at once.
const STREAMS: u32 = 128;
/// What one HTTP/2 stream may hold back for a client that reads slowly.
const STREAM_BYTES: usize = 64 * 1024;
/// HTTP/2 streams that a client may open and reset before anybody looked at them (RFC 9113 §10.5).
const RESET_STREAMS: usize = 20;
/// How long to hold back when the process is out of descriptors.
const BACK_OFF: Duration = Duration::from_millis(100);
/// How often that is said.
const SAY: Duration = Duration::from_secs(10);
/// How long a connection that was just made has to say what it wants, when we stop.
const FIRST_WORDS: Duration = Duration::from_millis(500);
/// What the deadline leaves for last words: the end of an answer, the end of a stream.
pub const LAST_WORDS: Duration = Duration::from_secs(2);

/// What can be served: a service of axum's kind that is always ready, as routers are.
pub trait Serve:
    Service<Request<Body>, Response = Response, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + 'static
{
}

impl<S> Serve for S where
    S: Service<Request<Body>, Response = Response, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + 'static
{
}

/// Accepts connections until `stop`, then lets them finish until `deadline`. What is open then has
/// [`LAST_WORDS`] to write its end. Connections stay in the runtime of the caller.
pub async fn serve<S: Serve>(
    listener: TcpListener,
    front: S,
    tls: Option<Arc<Tls>>,
    stop: CancellationToken,
    deadline: CancellationToken,
) {
    serve_on(&Workers::here(), listener, front, tls, stop, deadline).await;
}

/// [`serve`], with the connections handed to workers in turn.
pub async fn serve_on<S: Serve>(
    workers: &Workers,
    listener: TcpListener,
    front: S,
    tls: Option<Arc<Tls>>,
    stop: CancellationToken,
    deadline: CancellationToken,
) {
    let entrance = Entrance {
        workers,
        builder: builder(),
        front,
        tls,
        graceful: GracefulShutdown::new(),
        closing: CancellationToken::new(),
        deadline,
    };
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut trouble = Trouble::default();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer, permit)) => entrance.admit(stream, peer, permit),
            Err(error) => {
                if let Some(more) = trouble.note(Instant::now()) {
                    tracing::warn!(%error, more, "no connection was accepted");
                }
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
    for (stream, peer) in waiting(listener) {
        if let Ok(permit) = Arc::clone(&room).try_acquire_owned() {
            entrance.admit(stream, peer, permit);
        }
    }
    entrance.close().await;
}

/// Where connections come in, and are seen off.
struct Entrance<'a, S> {
    workers: &'a Workers,
    builder: Builder<Streams>,
    front: S,
    tls: Option<Arc<Tls>>,
    graceful: GracefulShutdown,
    /// Whoever has not begun to speak by then is too late.
    closing: CancellationToken,
    deadline: CancellationToken,
}

impl<S: Serve> Entrance<'_, S> {
    /// Serves a connection in a task of its own.
    fn admit(&self, stream: std::net::TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        // An answer that is ready must not wait for another packet.
        let _ = stream.set_nodelay(true);
        let service = service(self.front.clone(), peer);
        let (builder, tls) = (self.builder.clone(), self.tls.clone());
        let (watcher, closing) = (self.graceful.watcher(), self.closing.clone());
        self.workers.spawn(async move {
            let _permit = permit;
            // What goes wrong on a connection is the peer's business.
            let Ok(stream) = TcpStream::from_std(stream) else {
                return;
            };
            let stream = Stalled::new(stream, PATIENCE);
            let begun = Connection::begin(tls.as_deref(), stream);
            if let Some(Ok(stream)) = closing.run_until_cancelled(begun).await {
                let served = builder.serve_connection(TokioIo::new(stream), service);
                let _ = watcher.watch(served.into_owned()).await;
            }
        });
    }

    /// Lets connections finish.
    async fn close(self) {
        let Self {
            graceful,
            closing,
            deadline,
            ..
        } = self;
        let finish = async {
            // A connection whose request has not been read yet would be closed like one that is
            // idle, and a proxy that has sent a POST on it may not send it again.
            if graceful.count() > 0 {
                tokio::time::sleep(FIRST_WORDS).await;
            }
            closing.cancel();
            graceful.shutdown().await;
        };
        tokio::select! {
            () = finish => {}
            () = over(&deadline) => {}
        }
    }
}

/// Closes the listener, and gives back what the system has accepted in our name already: with the
/// listener it would be reset.
fn waiting(listener: TcpListener) -> Vec<(std::net::TcpStream, SocketAddr)> {
    let mut found = Vec::new();
    // Fails only where there is no runtime any more.
    if let Ok(listener) = listener.into_std() {
        while let Ok((stream, peer)) = listener.accept() {
            found.extend(stream.set_nonblocking(true).map(|()| (stream, peer)));
        }
    }
    found
}

/// The deadline, and the time for last words after it: streams that are told to end then must still
/// get their end onto the wire, or a client takes a part for the whole.
async fn over(deadline: &CancellationToken) {
    deadline.cancelled().await;
    tokio::time::sleep(LAST_WORDS).await;
}

/// How often something went wrong that is worth a line only every ten seconds.
#[derive(Debug, Default)]
struct Trouble {
    said: Option<Instant>,
    unsaid: u64,
}

impl Trouble {
    /// Counts one more. If it is time for a line: how many went without one.
    fn note(&mut self, now: Instant) -> Option<u64> {
        if self.said.is_some_and(|said| now < said + SAY) {
            self.unsaid += 1;
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// A connection, once there is room for it. It belongs to no runtime yet.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(std::net::TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream.into_std()?, peer, permit))
}

fn builder() -> Builder<Streams> {
    let mut builder = Builder::new(Streams);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        // 100 fields are its default; with a number of ours it would fill the room for them at each
        // request.
        .max_buf_size(HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(32 * 1024)
        .max_send_buf_size(STREAM_BYTES)
        .max_pending_accept_reset_streams(RESET_STREAMS)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// The service for one connection: requests know their peer.
fn service<S: Serve>(
    front: S,
    peer: SocketAddr,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = Response,
    Error = Infallible,
    Future: Send + 'static,
> {
    // Cloned for each connection, so that it need not be for each request.
    let front = RefCell::new(front);
    service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let is_stream = request.version() == Version::HTTP_2;
        let answered = front.borrow_mut().call(request);
        answered.map_ok(move |answer| {
            if is_stream {
                return answer.map(|body| Body::new(Unread::new(body)));
            }
            answer
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // F21
    #[test]
    fn trouble_is_told_once_in_ten_seconds_however_often_it_occurs() {
        let start = Instant::now();
        let mut trouble = Trouble::default();
        assert_eq!(trouble.note(start), Some(0));
        for n in 1..100 {
            assert_eq!(trouble.note(start + BACK_OFF * n), None);
        }
        assert_eq!(trouble.note(start + SAY), Some(99));
        assert_eq!(trouble.note(start + SAY), None);
    }
}
