//! What leaves this machine: the guard against what strangers make us fetch, and the caps of both
//! clients, against servers on this computer that misbehave.

mod fetching;
mod guard;
mod trusted;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

/// A server that answers every request alike, and counts.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Answer = Arc<dyn Fn(Request<hyper::body::Incoming>) -> Response<Body> + Send + Sync>;

impl Server {
    async fn start(
        answer: impl Fn(Request<hyper::body::Incoming>) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        Self::behind(None, Arc::new(answer)).await
    }

    async fn behind(tls: Option<Arc<rustls::ServerConfig>>, answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counters = (Arc::clone(&connections), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counters.0.fetch_add(1, Ordering::SeqCst);
                let (answer, requests) = (Arc::clone(&answer), Arc::clone(&counters.1));
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        None => talk(stream, answer, requests).await,
                        Some(tls) => {
                            let acceptor = tokio_rustls::TlsAcceptor::from(tls);
                            if let Ok(stream) = acceptor.accept(stream).await {
                                talk(stream, answer, requests).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            connections,
            requests,
            task,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: Answer,
    requests: Arc<AtomicUsize>,
) {
    let service = service_fn(move |request| {
        requests.fetch_add(1, Ordering::SeqCst);
        let response = answer(request);
        async move { Ok::<_, Infallible>(response) }
    });
    // Clients break off on purpose here.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// A body without end.
fn endless() -> Body {
    let chunk = || Ok::<_, Infallible>(vec![b' '; 1024]);
    Body::from_stream(futures_util::stream::repeat_with(chunk))
}

fn json(body: impl Into<Body>) -> Response<Body> {
    Response::builder()
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap()
}
