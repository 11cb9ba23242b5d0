//! The network between a replica and its store: slow, cut, losing answers, or counting questions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// A port that leads to another.
#[derive(Clone)]
pub(super) struct Proxy {
    pub(super) port: u16,
    faults: Arc<Faults>,
}

struct Faults {
    target: AtomicU16,
    delay_ms: AtomicU64,
    is_cut: AtomicBool,
    answers_to_lose: AtomicU32,
    questions_left: AtomicU32,
}

/// What every question about a code or a refresh token names once: the grant's claim, its record.
const NAMED: [&[u8]; 2] = [b"}:c\r\n", b"}:r\r\n"];

impl Proxy {
    pub(super) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let faults = Arc::new(Faults {
            target: AtomicU16::new(target),
            delay_ms: AtomicU64::new(0),
            is_cut: AtomicBool::new(false),
            answers_to_lose: AtomicU32::new(0),
            questions_left: AtomicU32::new(u32::MAX),
        });
        let proxy = Self { port, faults };
        let accepting = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let target = accepting.faults.target.load(Ordering::SeqCst);
                if let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await {
                    accepting.join(client, server);
                }
            }
        });
        proxy
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// New connections lead to another server.
    pub(super) fn lead_to(&self, target: u16) {
        self.faults.target.store(target, Ordering::SeqCst);
    }

    /// Every answer comes later.
    pub(super) fn slow_down(&self, delay: Duration) {
        let delay = u64::try_from(delay.as_millis()).expect("a short delay");
        self.faults.delay_ms.store(delay, Ordering::SeqCst);
    }

    /// Nothing passes any more, and nobody is told.
    pub(super) fn cut(&self, is_cut: bool) {
        self.faults.is_cut.store(is_cut, Ordering::SeqCst);
    }

    /// The next answers are lost, each with its connection.
    pub(super) fn lose_answers(&self, count: u32) {
        self.faults.answers_to_lose.store(count, Ordering::SeqCst);
    }

    /// So many questions about grants still pass; from then on nothing does.
    pub(super) fn let_pass(&self, questions: u32) {
        let left = &self.faults.questions_left;
        left.store(questions, Ordering::SeqCst);
    }

    /// Whether what was asked may pass.
    fn lets_pass(&self, asked: &[u8]) -> bool {
        let names = |name: &&[u8]| asked.windows(name.len()).filter(|it| it == name).count();
        let questions = u32::try_from(NAMED.iter().map(names).sum::<usize>()).expect("few");
        let left = &self.faults.questions_left;
        left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| {
            it.checked_sub(questions)
        })
        .is_ok()
    }

    fn join(&self, client: TcpStream, server: TcpStream) {
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let forward = carry(self.clone(), from_client, to_server, false);
        let back = carry(self.clone(), from_server, to_client, true);
        tokio::spawn(async move {
            // Either end ends both.
            tokio::select! { () = forward => {}, () = back => {} }
        });
    }

    fn loses_this(&self) -> bool {
        let left = &self.faults.answers_to_lose;
        left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| it.checked_sub(1))
            .is_ok()
    }
}

async fn carry(proxy: Proxy, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_answer: bool) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        if is_answer && proxy.loses_this() {
            return;
        }
        if !is_answer && !proxy.lets_pass(&buffer[..length]) {
            // Held for ever, and nobody is told.
            std::future::pending::<()>().await;
        }
        while proxy.faults.is_cut.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if is_answer {
            let delay = proxy.faults.delay_ms.load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
