//! The listener: connections in, within limits, and out again in good order.
//!
//! Refuses heads over 32 KB or 100 fields, heads that take longer than ten seconds, and more
//! connections than [`MAX_CONNECTIONS`]; cuts clients that stop reading.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::{Service as _, service_fn};

use crate::gateway::stall::{PATIENCE, Stalled};
use crate::tls::{Connection, Tls};

/// Connections that are open at once.
pub const MAX_CONNECTIONS: usize = 10_000;
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 32 * 1024;
/// Fields of a request's head.
const HEAD_FIELDS: usize = 100;
/// Requests of one HTTP/2 connection at once.
const STREAMS: u32 = 128;
/// How long to hold back when the process is out of descriptors.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Accepts connections until `stop`, then lets them finish until `deadline`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Arc<Tls>>,
    stop: CancellationToken,
    deadline: CancellationToken,
) {
    let builder = builder();
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                // An answer that is ready must not wait for another packet.
                let _ = stream.set_nodelay(true);
                let stream = Stalled::new(stream, PATIENCE);
                let service = TowerToHyperService::new(service(router.clone(), peer));
                let (builder, tls) = (builder.clone(), tls.clone());
                let (watcher, deadline) = (graceful.watcher(), deadline.clone());
                let connection = async move {
                    let stream = Connection::begin(tls.as_deref(), stream).await.ok()?;
                    let connection = builder.serve_connection(TokioIo::new(stream), service);
                    watcher.watch(connection.into_owned()).await.ok()
                };
                tokio::spawn(async move {
                    let _permit = permit;
                    tokio::select! {
                        // What goes wrong on a connection is the peer's business.
                        _ = connection => {}
                        () = deadline.cancelled() => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "no connection was accepted");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = deadline.cancelled() => {}
    }
}

/// A connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEAD_FIELDS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(32 * 1024)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// The router for one connection: requests know their peer.
fn service(
    router: Router,
    peer: SocketAddr,
) -> impl tower::Service<
    Request<Incoming>,
    Response = axum::response::Response,
    Error = std::convert::Infallible,
    Future: Send,
> + Clone {
    service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().into_service().call(request)
    })
}
