//! Backends and clients that fail, and what the other side is told.

use std::time::Duration;

use axum::body::Body;
use futures_util::{FutureExt as _, future, stream};
use http::{Method, StatusCode};
use tokio::net::TcpListener;

use super::backend::{Answer, Backend, Front};

fn assert_gateway_failure(answer: &Answer, status: StatusCode) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("www-authenticate"), None);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    let members: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["error", "error_description"]);
}

// F16, G7
#[tokio::test]
async fn backend_that_is_down_is_a_bad_gateway() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let front = Front::start(&format!(
        "[[resources]]\npath = \"/mcp\"\nbackend = \"http://{address}/mcp\"\n"
    ))
    .await;
    let answer = front
        .send(front.post().body(Body::from("{}")).unwrap())
        .await;
    assert_gateway_failure(&answer, StatusCode::BAD_GATEWAY);
}

// F16, G7
#[tokio::test]
async fn backend_that_hangs_up_is_a_bad_gateway() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let front = Front::start(&format!(
        "[[resources]]\npath = \"/mcp\"\nbackend = \"http://{address}/mcp\"\n"
    ))
    .await;
    let answer = front
        .send(front.post().body(Body::from("{}")).unwrap())
        .await;
    assert_gateway_failure(&answer, StatusCode::BAD_GATEWAY);
}

// F16, G7
#[tokio::test]
async fn backend_that_does_not_shake_hands_is_a_gateway_timeout() {
    // Accepts and says nothing: TLS never begins.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let front = Front::start(&format!(
        "[[resources]]\npath = \"/mcp\"\nbackend = \"https://{address}/mcp\"\n\
         connect_timeout = \"100ms\"\n"
    ))
    .await;
    let answer = front
        .send(front.post().body(Body::from("{}")).unwrap())
        .await;
    assert_gateway_failure(&answer, StatusCode::GATEWAY_TIMEOUT);
    drop(listener);
}

// F18, G7, G9
#[tokio::test]
async fn backend_that_never_answers_is_given_up() {
    let backend = Backend::with(|_| future::pending().boxed()).await;
    let front = Front::before(&backend, "idle_timeout = \"1s\"").await;
    let answer = front
        .send(front.post().body(Body::from("{}")).unwrap())
        .await;
    assert_gateway_failure(&answer, StatusCode::GATEWAY_TIMEOUT);
    backend.abandoned(1).await;
}

// G9
#[tokio::test]
async fn client_that_leaves_before_the_answer_frees_the_backend() {
    let backend = Backend::with(|_| future::pending().boxed()).await;
    let front = Front::before(&backend, "").await;
    {
        let sent = front.open(front.post().body(Body::from("{}")).unwrap());
        let mut sent = std::pin::pin!(sent);
        let arrived = super::backend::until(|| !backend.seen().is_empty());
        tokio::select! {
            _ = &mut sent => panic!("the backend never answers"),
            () = arrived => {}
        }
    }
    backend.abandoned(1).await;
}

// G15
#[tokio::test]
async fn body_over_the_limit_is_too_large() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "max_body = \"1KB\"").await;
    let fits = front.post().body(Body::from(vec![b'x'; 1_000])).unwrap();
    assert_eq!(front.send(fits).await.status, StatusCode::OK);

    let declared = front.post().body(Body::from(vec![b'x'; 1_025])).unwrap();
    let pieces = stream::iter((0..5).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 500])));
    let streamed = front.post().body(Body::from_stream(pieces)).unwrap();
    for request in [declared, streamed] {
        let answer = front.send(request).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(answer.error(), "content_too_large");
    }
    assert_eq!(backend.seen().len(), 1);
}

#[tokio::test]
async fn client_that_stops_sending_is_given_up() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    let head = front.raw_head();
    let answer = front
        .raw(&format!("{head}Content-Length: 2\r\n\r\n{{"))
        .await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(backend.seen().is_empty());
}

// E2, F4
#[tokio::test]
async fn request_without_an_answer_at_the_deadline_is_told_to_come_back() {
    let backend = Backend::with(|_| future::pending().boxed()).await;
    let front = Front::before(&backend, "").await;
    let deadline = front.stopping.deadline.clone();
    let stopping = async {
        super::backend::until(|| !backend.seen().is_empty()).await;
        deadline.cancel();
    };
    let sent = front.send(front.post().body(Body::from("{}")).unwrap());
    let (answer, ()) = tokio::join!(sent, stopping);
    assert_gateway_failure(&answer, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn calls_share_the_connections_to_the_backend() {
    let backend = Backend::start().await;
    let front = Front::before(&backend, "").await;
    for _ in 0..50 {
        let request = front
            .request(Method::POST, "/mcp")
            .header("authorization", format!("Bearer {}", front.token()));
        front.send(request.body(Body::from("{}")).unwrap()).await;
    }
    assert!(backend.connections() <= 2, "{}", backend.connections());
}

// F31: an idle backend connection that the backend closes must not cost a request.
#[tokio::test]
async fn request_after_the_backend_closed_its_connection_succeeds() {
    let backend = Backend::with(|_| {
        async {
            http::Response::builder()
                .header("connection", "close")
                .body(Body::empty())
                .unwrap()
        }
        .boxed()
    })
    .await;
    let front = Front::before(&backend, "").await;
    for _ in 0..20 {
        let request = front.post().body(Body::from("{}")).unwrap();
        assert_eq!(front.send(request).await.status, StatusCode::OK);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
