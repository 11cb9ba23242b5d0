//! The fastest MCP server there is: one answer for every call, one kind of event for every stream.
//!
//! Standard library only: `rustc -O backend.rs`. A thread per connection, which at some dozens of
//! connections costs least. `/mcp` answers a POST with 1 KB of JSON, and a GET with the events that
//! `Events` and `Pause-Us` ask for, each written on its own and stamped with the time it was written.
//! `/connections` tells how many connections were made.

use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).expect("a port");
    let listener = TcpListener::bind(format!("127.0.0.1:{port}"))?;
    let start = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":""#;
    let padding = "x".repeat(1_024 - start.len() - 6);
    let body = format!("{start}{padding}\"}}]}}}}");
    for stream in listener.incoming() {
        let (stream, body) = (stream?, body.clone());
        CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        // A peer that leaves is the end of its thread only.
        thread::spawn(move || serve(stream, &body));
    }
    Ok(())
}

fn serve(stream: TcpStream, body: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let Some(head) = Head::read(&mut reader)? else {
            return Ok(());
        };
        io::copy(&mut reader.by_ref().take(head.length), &mut io::sink())?;
        if head.first.starts_with("GET /connections ") {
            answer(&mut writer, &CONNECTIONS.load(Ordering::Relaxed).to_string())?;
        } else if head.first.starts_with("GET ") {
            events(&mut writer, head.events, head.pause)?;
        } else {
            answer(&mut writer, body)?;
        }
    }
}

struct Head {
    first: String,
    length: u64,
    events: u64,
    pause: Duration,
}

impl Head {
    fn read(reader: &mut impl io::BufRead) -> io::Result<Option<Self>> {
        let mut head = Self {
            first: String::new(),
            length: 0,
            events: 0,
            pause: Duration::ZERO,
        };
        if reader.read_line(&mut head.first)? == 0 {
            return Ok(None);
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                return Ok(Some(head));
            };
            let number = value.parse().unwrap_or(0);
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = number,
                "events" => head.events = number,
                "pause-us" => head.pause = Duration::from_micros(number),
                _ => {}
            }
        }
    }
}

fn answer(writer: &mut TcpStream, body: &str) -> io::Result<()> {
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:";
    writer.write_all(format!("{head} {length}\r\n\r\n{body}").as_bytes())
}

fn events(writer: &mut TcpStream, count: u64, pause: Duration) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    writer.write_all(head.as_bytes())?;
    for _ in 0..count {
        if !pause.is_zero() {
            thread::sleep(pause);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let data = r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#;
        let event = format!("id: {}\ndata: {data}\n\n", now.as_nanos());
        writer.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())?;
    }
    writer.write_all(b"0\r\n\r\n")
}
