//! Streams: events as they come, and every way in which one ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::{FutureExt as _, stream};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use mcp_oauth::gateway::stall::Stalled;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::backend::{Backend, Front, SOON, streaming};

/// The next piece of a body: none at its clean end.
async fn next(body: &mut Incoming) -> Option<Result<String, hyper::Error>> {
    let frame = tokio::time::timeout(SOON, body.frame()).await.unwrap()?;
    Some(frame.map(|it| String::from_utf8(it.into_data().unwrap().to_vec()).unwrap()))
}

async fn assert_next(body: &mut Incoming, expected: &str) {
    let mut text = String::new();
    while text.len() < expected.len() {
        text += &next(body).await.unwrap().unwrap();
    }
    assert_eq!(text, expected);
}

async fn open(front: &Front, method: Method) -> Incoming {
    let request = front
        .request(method, "/mcp")
        .header("authorization", format!("Bearer {}", front.token()));
    let answer = front.open(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    answer.into_body()
}

// G8
#[tokio::test]
async fn events_arrive_one_by_one_as_they_are_sent() {
    let (backend, events) = streaming().await;
    let front = Front::before(&backend, "").await;
    let request = front.post().header("accept-encoding", "gzip");
    let answer = front.open(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    assert_eq!(answer.headers()["cache-control"], "no-cache, no-store");
    assert!(!answer.headers().contains_key("content-encoding"));
    let mut body = answer.into_body();
    for event in [
        "data: 1\n\n",
        ": comment\n\n",
        "id: 2\ndata: {\"a\":",
        "1}\n\n",
    ] {
        events.send(Ok(event)).await.unwrap();
        assert_next(&mut body, event).await;
    }
    drop(events);
    assert!(next(&mut body).await.is_none());
}

// G8: what is ready together travels together
#[tokio::test]
async fn burst_of_events_arrives_complete_and_in_order() {
    let (backend, events) = streaming().await;
    let front = Front::before(&backend, "").await;
    let mut body = open(&front, Method::POST).await;
    let feeding = tokio::spawn(async move {
        for _ in 0..2_000 {
            events.send(Ok("data: 0123456789\n\n")).await.unwrap();
        }
    });
    let mut text = String::new();
    while let Some(piece) = next(&mut body).await {
        text += &piece.unwrap();
    }
    feeding.await.unwrap();
    assert_eq!(text, "data: 0123456789\n\n".repeat(2_000));
}

// G9
#[tokio::test]
async fn client_that_leaves_frees_the_backend_at_once() {
    let (backend, events) = streaming().await;
    let front = Front::before(&backend, "").await;
    let mut body = open(&front, Method::GET).await;
    events.send(Ok("data: 1\n\n")).await.unwrap();
    assert_next(&mut body, "data: 1\n\n").await;
    drop(body);
    backend.abandoned(1).await;
    assert!(events.is_closed());
}

// F17
#[tokio::test]
async fn backend_that_dies_breaks_the_stream_without_fake_events() {
    let (backend, events) = streaming().await;
    let front = Front::before(&backend, "").await;
    let mut body = open(&front, Method::GET).await;
    events.send(Ok("data: 1\n\n")).await.unwrap();
    assert_next(&mut body, "data: 1\n\n").await;
    events
        .send(Err(std::io::Error::other("died")))
        .await
        .unwrap();
    assert!(next(&mut body).await.unwrap().is_err());
}

// F18
#[tokio::test]
async fn silent_stream_ends_and_frees_the_backend() {
    let (backend, events) = streaming().await;
    let front = Front::before(&backend, "idle_timeout = \"1s\"").await;
    let mut body = open(&front, Method::GET).await;
    events.send(Ok("data: 1\n\n")).await.unwrap();
    assert_next(&mut body, "data: 1\n\n").await;
    assert!(next(&mut body).await.is_none());
    backend.abandoned(1).await;
}

#[tokio::test]
async fn listening_streams_end_soon_after_their_token() {
    for (method, mcp_method) in [
        (Method::GET, None),
        (Method::POST, Some("subscriptions/listen")),
    ] {
        let (backend, events) = streaming().await;
        let front = Front::before(&backend, "").await;
        let mut request = front
            .request(method, "/mcp")
            .header("authorization", format!("Bearer {}", front.token()));
        if let Some(mcp_method) = mcp_method {
            request = request.header("mcp-method", mcp_method);
        }
        let answer = front.open(request.body(Body::empty()).unwrap()).await;
        let mut body = answer.into_body();
        front.clock.advance(Duration::from_secs(3_600 + 29));
        events.send(Ok("data: 1\n\n")).await.unwrap();
        assert_next(&mut body, "data: 1\n\n").await;
        front.clock.advance(Duration::from_secs(1));
        assert!(next(&mut body).await.is_none());
        backend.abandoned(1).await;
    }
}

#[tokio::test]
async fn answer_that_was_authorized_runs_on_for_an_hour_past_its_token() {
    let (backend, events) = streaming().await;
    let front = Front::before(&backend, "").await;
    let mut body = open(&front, Method::POST).await;
    front.clock.advance(Duration::from_secs(2 * 3_600 - 1));
    events.send(Ok("data: 1\n\n")).await.unwrap();
    assert_next(&mut body, "data: 1\n\n").await;
    front.clock.advance(Duration::from_secs(1));
    assert!(next(&mut body).await.is_none());
    backend.abandoned(1).await;
}

#[tokio::test]
async fn revocation_ends_every_stream() {
    for method in [Method::GET, Method::POST] {
        let (backend, events) = streaming().await;
        let front = Front::before(&backend, "").await;
        let record = front.record();
        let request = front
            .request(method, "/mcp")
            .header("authorization", format!("Bearer {}", front.seal(&record)));
        let answer = front.open(request.body(Body::empty()).unwrap()).await;
        let mut body = answer.into_body();
        events.send(Ok("data: 1\n\n")).await.unwrap();
        assert_next(&mut body, "data: 1\n\n").await;
        front.ended.0.lock().unwrap().push(record.grant);
        assert!(next(&mut body).await.is_none());
        backend.abandoned(1).await;
    }
}

// F4, G10
#[tokio::test]
async fn draining_ends_listening_streams_between_events_and_lets_answers_finish() {
    let (listening, listen) = streaming().await;
    let (answering, answer) = streaming().await;
    let front = Front::start(&format!(
        "[[resources]]\npath = \"/mcp\"\nbackend = \"http://{}/mcp\"\nauth = \"optional\"\n\
         [[resources]]\npath = \"/two\"\nbackend = \"http://{}/mcp\"\nauth = \"optional\"\n",
        listening.address, answering.address
    ))
    .await;
    let open = async |method, path| {
        let request = front.request(method, path).body(Body::empty()).unwrap();
        front.open(request).await.into_body()
    };
    let mut stream = open(Method::GET, "/mcp").await;
    let mut finishing = open(Method::POST, "/two").await;
    listen.send(Ok("data: half")).await.unwrap();
    assert_next(&mut stream, "data: half").await;
    answer.send(Ok("data: 1\n\n")).await.unwrap();
    assert_next(&mut finishing, "data: 1\n\n").await;

    front.stopping.drain.cancel();
    tokio::time::sleep(Duration::from_millis(20)).await;
    listen.send(Ok(" whole\n\n")).await.unwrap();
    assert_next(&mut stream, " whole\n\n").await;
    assert!(next(&mut stream).await.is_none());
    answer.send(Ok("data: 2\n\n")).await.unwrap();
    assert_next(&mut finishing, "data: 2\n\n").await;

    front.stopping.deadline.cancel();
    assert!(next(&mut finishing).await.is_none());
}

/// Serves as the product does: a bounded buffer, and a socket that cuts who stopped reading.
async fn serve(listener: TcpListener, app: Router) {
    while let Ok((socket, _)) = listener.accept().await {
        let socket = TokioIo::new(Stalled::new(socket, Duration::from_millis(100)));
        let service = TowerToHyperService::new(app.clone());
        let mut server = hyper::server::conn::http1::Builder::new();
        server.max_buf_size(64 * 1024);
        tokio::spawn(async move { server.serve_connection(socket, service).await });
    }
}

// F19
#[tokio::test]
async fn client_that_stops_reading_holds_back_the_backend_and_is_cut() {
    let produced = Arc::new(AtomicUsize::new(0));
    let counted = produced.clone();
    let backend = Backend::with(move |_| {
        let counted = counted.clone();
        async move {
            let endless = stream::repeat_with(move || {
                counted.fetch_add(1_000, Ordering::SeqCst);
                Ok::<_, std::io::Error>(vec![b'x'; 1_000])
            });
            http::Response::builder()
                .header("content-type", "text/event-stream")
                .body(Body::from_stream(endless))
                .unwrap()
        }
        .boxed()
    })
    .await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(16 * 1024).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(8).unwrap();
    let resources = format!(
        "[[resources]]\npath = \"/mcp\"\nbackend = \"http://{}/mcp\"\n",
        backend.address
    );
    let front = Front::serve(&resources, listener, |listener, app| {
        tokio::spawn(serve(listener, app))
    });

    let mut client = TcpStream::connect(front.address).await.unwrap();
    let head = front.raw_head();
    client
        .write_all(format!("{head}\r\n").as_bytes())
        .await
        .unwrap();
    backend.abandoned(1).await;
    // What the sockets of two hops hold; without back-pressure it would have no bound.
    let produced = produced.load(Ordering::SeqCst);
    assert!(produced < 24 * 1024 * 1024, "{produced}");
}

#[tokio::test]
async fn http2_clients_are_served_alike() {
    let (backend, events) = streaming().await;
    let front = Front::before(&backend, "").await;
    let socket = TokioIo::new(TcpStream::connect(front.address).await.unwrap());
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), socket)
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = front.request(Method::POST, "/mcp").body(Body::empty());
    let refused = client.send_request(request.unwrap()).await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let request = front.post().header("host", "evil.example");
    let misdirected = client
        .send_request(request.body(Body::empty()).unwrap())
        .await;
    assert_eq!(
        misdirected.unwrap().status(),
        StatusCode::MISDIRECTED_REQUEST
    );

    let request = front.post().body(Body::empty()).unwrap();
    let mut body = client.send_request(request).await.unwrap().into_body();
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        events.send(Ok(event)).await.unwrap();
        assert_next(&mut body, event).await;
    }
    drop(body);
    backend.abandoned(1).await;
}
