//! HTTP/2 streams whose window stays closed, and those that only wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mcp_oauth::gateway::stall::PATIENCE;
use mcp_oauth::listen;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// More than a stream may hold back.
const LONG: usize = 256 * 1024;

/// Counts the answers that are dropped.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The product's listener before an answer that is long, one that is late and one that is empty.
async fn connect(window: u32) -> (SendRequest<Body>, Arc<AtomicUsize>) {
    let dropped = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&dropped);
    let long = move || async move {
        let guard = Dropped(counted);
        let pieces = stream::repeat_with(move || {
            let _held = &guard;
            Ok::<_, std::io::Error>(Bytes::from_static(&[0; 1024]))
        });
        Body::from_stream(futures_util::StreamExt::take(pieces, LONG / 1024))
    };
    let late = || async {
        let pieces = stream::once(async {
            sleep(PATIENCE * 3).await;
            Ok::<_, std::io::Error>(Bytes::new())
        });
        Body::from_stream(pieces)
    };
    let router = Router::new()
        .route("/long", get(long))
        .route("/late", get(late))
        .route("/empty", get(|| async { StatusCode::NO_CONTENT }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).await;
    let never = CancellationToken::new();
    tokio::spawn(listen::serve(listener, router, None, never.clone(), never));
    let made = Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(socket.unwrap()));
    let (sender, connection) = made.await.unwrap();
    tokio::spawn(connection);
    (sender, dropped)
}

async fn open(sender: &mut SendRequest<Body>, path: &str) -> http::Response<hyper::body::Incoming> {
    let request = Request::get(format!("http://a{path}")).body(Body::empty());
    sender.send_request(request.unwrap()).await.unwrap()
}

// F19
#[tokio::test(start_paused = true)]
async fn http2_stream_whose_window_stays_closed_is_reset_and_the_others_go_on() {
    for window in [0, 1, 40_000] {
        let (mut sender, dropped) = connect(window).await;
        let late = open(&mut sender, "/late").await.into_body();
        let begun = Instant::now();
        // Held and not read, so that no window opens.
        let unread = open(&mut sender, "/long").await;
        while dropped.load(Ordering::SeqCst) == 0 {
            sleep(PATIENCE / 60).await;
            assert!(begun.elapsed() <= PATIENCE * 2, "{window}");
        }
        assert!(begun.elapsed() >= PATIENCE, "{window}");
        let mut body = unread.into_body();
        let end = loop {
            match body.frame().await {
                Some(Ok(_)) => {}
                other => break other,
            }
        };
        assert!(matches!(end, Some(Err(_))), "{window}: {end:?}");

        let empty = open(&mut sender, "/empty").await;
        assert_eq!(empty.status(), StatusCode::NO_CONTENT);
        // Its backend is silent, which is not the client's fault.
        assert_eq!(late.collect().await.unwrap().to_bytes(), "");
        assert!(begun.elapsed() >= PATIENCE * 3);
    }
}

// F19
#[tokio::test(start_paused = true)]
async fn http2_stream_that_is_read_slowly_runs_to_its_end() {
    let (mut sender, _) = connect(32 * 1024).await;
    let begun = Instant::now();
    let mut body = open(&mut sender, "/long").await.into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().into_data().unwrap().len();
        sleep(PATIENCE / 3).await;
    }
    assert_eq!(length, LONG);
    assert!(begun.elapsed() > PATIENCE * 3, "{:?}", begun.elapsed());
}
