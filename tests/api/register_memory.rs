//! Registrations cost no memory: they are sealed into the `client_id` and kept nowhere. Measured on
//! the server's own process, as many of them as `REGISTRATIONS` says (the long proof: a million).

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a run of the gate sends after the server has warmed up.
const FEW: u64 = 20_000;
/// What warms it up: allocators, connections, thread-local buffers.
const WARM: u64 = 5_000;
/// Requests that are on their way at once, on each connection.
const AHEAD: u64 = 25;
const CONNECTIONS: u64 = 8;
/// F25
const MOST_GROWTH: u64 = 10 << 20;

/// A server in a process of its own, ended with the test.
struct Server {
    process: Child,
    address: SocketAddr,
    _home: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("mcp-oauth.toml");
        let address = free_port();
        fs::write(&file, configuration(address)).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_mcp-oauth"))
            .args(["serve", "--config"])
            .arg(&file)
            .current_dir(home.path())
            // It is for these tests; a server takes it for a mistyped setting and refuses to start.
            .env_remove("MCP_OAUTH_TEST_REDIS_SERVER")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self {
            process,
            address,
            _home: home,
        };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = server.process.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended: {ended:?}");
            assert!(begun.elapsed() < Duration::from_secs(30), "not started");
            thread::sleep(Duration::from_millis(10));
        }
        server
    }

    /// Resident memory in bytes.
    fn memory(&self) -> u64 {
        let status = Path::new("/proc").join(self.process.id().to_string());
        let status = fs::read_to_string(status.join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.unwrap().trim().strip_suffix(" kB").unwrap();
        kilobytes.parse::<u64>().unwrap() << 10
    }

    /// Registers `count` clients, over several connections at once.
    fn register(&self, count: u64) {
        let address = self.address;
        let workers = (0..CONNECTIONS).map(|number| {
            let share = count / CONNECTIONS;
            thread::spawn(move || register_on_one_connection(address, number, share))
        });
        let workers: Vec<_> = workers.collect();
        for worker in workers {
            worker.join().unwrap();
        }
    }
}

fn free_port() -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap()
}

fn configuration(address: SocketAddr) -> String {
    format!(
        "public_url = \"http://{address}\"\nlisten = \"{address}\"\n\
         [upstreams.idp]\nprovider = \"oidc\"\nissuer = \"https://id.example\"\n\
         client_id = \"c\"\nclient_secret = \"s\"\n\
         [[resources]]\npath = \"/mcp\"\nbackend = \"http://127.0.0.1:9/mcp\"\n\
         [access]\nallow_all = true\n[limits]\nregister_per_minute = 0\n\
         [log]\nlevel = \"error\"\n"
    )
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn register_on_one_connection(address: SocketAddr, worker: u64, count: u64) {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut sent = 0;
    while sent < count {
        let many = AHEAD.min(count - sent);
        let requests: String = (sent..sent + many)
            .map(|number| request(address, worker, number))
            .collect();
        (&stream).write_all(requests.as_bytes()).unwrap();
        (0..many).for_each(|_| read_answer(&mut answers));
        sent += many;
    }
}

/// No two clients are alike.
fn request(address: SocketAddr, worker: u64, number: u64) -> String {
    let body = format!(
        "{{\"client_name\":\"Client {worker}-{number}\",\"redirect_uris\":[\
         \"https://client-{number}.example/{worker}/callback\",\"http://127.0.0.1:33418/\"],\
         \"token_endpoint_auth_method\":\"none\"}}"
    );
    format!(
        "POST /register HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn read_answer(answers: &mut BufReader<TcpStream>) {
    let (mut line, mut length) = (String::new(), 0);
    answers.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 201 "), "{line}");
    loop {
        line.clear();
        answers.read_line(&mut line).unwrap();
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    answers.read_exact(&mut body).unwrap();
    assert!(body.starts_with(b"{\"client_id\":\"eyJ"));
}

// F25
#[test]
fn registrations_leave_memory_as_it_was() {
    let count = env::var("REGISTRATIONS").map_or(FEW, |text| text.parse().unwrap());
    let server = Server::start();
    server.register(WARM);
    let before = server.memory();
    let begun = Instant::now();
    server.register(count);
    let (after, took) = (server.memory(), begun.elapsed().as_secs_f64());
    let growth = after.saturating_sub(before);
    let figures = format!(
        "{count} registrations in {took:.1} s ({:.0} per second): {} KB before, {} KB after",
        f64::from(u32::try_from(count).unwrap()) / took,
        before >> 10,
        after >> 10
    );
    writeln!(std::io::stdout(), "{figures}").unwrap();
    assert!(growth < MOST_GROWTH, "grew by {} KB", growth >> 10);
}
