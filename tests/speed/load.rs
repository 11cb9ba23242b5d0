//! Sends requests and says how long the answers took, as one line of JSON.
//!
//! Standard library only: `rustc -O load.rs`. `load ADDRESS HOST MODE CONNECTIONS SECONDS RATE TOKEN-FILE`:
//! a thread per connection, HTTP/1.1 with keep-alive. MODE is `call` (a POST of 1 KB), `garbage` (the
//! same with a bearer token that nobody made), `nowhere` (that at a path without a resource), `events` (streams of 2,000 events as fast as they
//! come) or `ticks` (streams whose events come one by one; what is timed is the way from the backend).
//! With a RATE, calls start on time whether or not the last one was slow, and are timed from when
//! they should have started; 0 is as fast as it goes.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Call,
    Garbage,
    Nowhere,
    Events,
    Ticks,
}

#[derive(Clone)]
struct Plan {
    address: String,
    mode: Mode,
    request: Vec<u8>,
    end: Instant,
    /// Between the starts of two calls of one connection.
    pace: Option<Duration>,
}

#[derive(Default)]
struct Seen {
    nanoseconds: Vec<u64>,
    requests: u64,
    events: u64,
    errors: u64,
    /// How often what went wrong.
    causes: BTreeMap<String, u64>,
}

impl Seen {
    fn failed(&mut self, error: &io::Error) {
        self.errors += 1;
        let cause = match error.kind() {
            // Its text is ours.
            io::ErrorKind::Other => error.to_string(),
            kind => format!("{kind:?}"),
        };
        *self.causes.entry(cause).or_default() += 1;
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [address, host, mode, connections, seconds, rate, token] = &words[..] else {
        panic!("ADDRESS HOST MODE CONNECTIONS SECONDS RATE TOKEN-FILE");
    };
    let mode = match mode.as_str() {
        "call" => Mode::Call,
        "garbage" => Mode::Garbage,
        "nowhere" => Mode::Nowhere,
        "events" => Mode::Events,
        "ticks" => Mode::Ticks,
        other => panic!("no mode {other}"),
    };
    let token = match mode {
        Mode::Garbage | Mode::Nowhere => "A".repeat(600),
        _ => std::fs::read_to_string(token).expect("the token"),
    };
    let connections: u32 = connections.parse().expect("a number");
    let rate: f64 = rate.parse().expect("a number");
    let seconds = Duration::from_secs_f64(seconds.parse().expect("a number"));
    let begun = Instant::now();
    let plan = Plan {
        address: address.clone(),
        mode,
        request: request(mode, host, token.trim()),
        end: begun + seconds,
        pace: (rate > 0.0).then(|| Duration::from_secs_f64(f64::from(connections) / rate)),
    };
    let threads: Vec<_> = (0..connections)
        .map(|number| {
            let plan = plan.clone();
            // Not all at the same moment.
            let offset = plan.pace.unwrap_or_default() * number / connections;
            thread::spawn(move || run(&plan, begun + offset))
        })
        .collect();
    let mut all = Seen::default();
    for thread in threads {
        let seen = thread.join().expect("a thread's end");
        all.nanoseconds.extend(seen.nanoseconds);
        all.requests += seen.requests;
        all.events += seen.events;
        all.errors += seen.errors;
        for (cause, count) in seen.causes {
            *all.causes.entry(cause).or_default() += count;
        }
    }
    report(&mut all, begun.elapsed());
}

fn request(mode: Mode, host: &str, token: &str) -> Vec<u8> {
    let common = format!(
        "Host: {host}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n"
    );
    let (events, pause) = if mode == Mode::Ticks { (200, 5_000) } else { (2_000, 0) };
    let text = match mode {
        Mode::Events | Mode::Ticks => {
            format!("GET /mcp HTTP/1.1\r\n{common}Events: {events}\r\nPause-Us: {pause}\r\n\r\n")
        }
        Mode::Call | Mode::Garbage | Mode::Nowhere => {
            let path = if mode == Mode::Nowhere { "/not" } else { "/mcp" };
            let start = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"text":""#;
            let body = format!("{start}{}\"}}}}", "x".repeat(1_024 - start.len() - 3));
            let length = body.len();
            format!("POST {path} HTTP/1.1\r\n{common}Content-Length: {length}\r\n\r\n{body}")
        }
    };
    text.into_bytes()
}

fn run(plan: &Plan, mut due: Instant) -> Seen {
    let mut seen = Seen::default();
    let mut open = None;
    loop {
        if let Some(pace) = plan.pace {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if Instant::now() >= plan.end {
                return seen;
            }
            if let Err(error) = once(plan, &mut open, due, &mut seen) {
                open = None;
                seen.failed(&error);
            }
            due += pace;
            continue;
        }
        let now = Instant::now();
        if now >= plan.end {
            return seen;
        }
        if let Err(error) = once(plan, &mut open, now, &mut seen) {
            open = None;
            seen.failed(&error);
        }
    }
}

type Connection = (BufReader<TcpStream>, TcpStream);

fn once(plan: &Plan, open: &mut Option<Connection>, from: Instant, seen: &mut Seen) -> io::Result<()> {
    if open.is_none() {
        let stream = TcpStream::connect(&plan.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        *open = Some((BufReader::with_capacity(64 * 1024, stream.try_clone()?), stream));
    }
    let Some((reader, writer)) = open else {
        return Ok(());
    };
    writer.write_all(&plan.request)?;
    let (status, length) = head(reader)?;
    let expected = match plan.mode {
        Mode::Garbage => 401,
        Mode::Nowhere => 404,
        _ => 200,
    };
    if status != expected {
        return Err(io::Error::other(format!("status {status}")));
    }
    match length {
        Some(length) => {
            io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
        }
        None => chunks(reader, plan.mode, seen)?,
    }
    seen.requests += 1;
    if plan.mode != Mode::Ticks {
        seen.nanoseconds.push(from.elapsed().as_nanos() as u64);
    }
    Ok(())
}

/// The status, and the length unless the body is chunked.
fn head(reader: &mut impl io::BufRead) -> io::Result<(u16, Option<u64>)> {
    let (mut status, mut length) = (0, None);
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if status == 0 {
            status = line.get(9..12).and_then(|it| it.parse().ok()).unwrap_or(999);
        } else if line == "\r\n" {
            return Ok((status, length));
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
        }
    }
}

fn chunks(reader: &mut impl io::BufRead, mode: Mode, seen: &mut Seen) -> io::Result<()> {
    let (mut line, mut chunk) = (String::new(), Vec::new());
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        chunk.resize(length + 2, 0);
        reader.read_exact(&mut chunk)?;
        if length == 0 {
            return Ok(());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Each event has one line that begins with its time.
        for event in chunk.split(|byte| *byte == b'\n').filter(|it| it.starts_with(b"id: ")) {
            seen.events += 1;
            if mode == Mode::Ticks {
                let stamp = std::str::from_utf8(&event[4..]).ok().and_then(|it| it.parse().ok());
                let sent = stamp.map_or(0, |it: u128| it);
                seen.nanoseconds.push(now.as_nanos().saturating_sub(sent) as u64);
            }
        }
    }
}

fn report(all: &mut Seen, took: Duration) {
    all.nanoseconds.sort_unstable();
    let at = |share: f64| {
        let last = all.nanoseconds.len().saturating_sub(1);
        let index = (last as f64 * share) as usize;
        all.nanoseconds.get(index).map_or(0.0, |it| *it as f64 / 1_000.0)
    };
    let causes: Vec<_> = all.causes.iter().map(|(cause, count)| format!("{cause:?}:{count}")).collect();
    println!(
        "{{\"requests\":{},\"events\":{},\"errors\":{},\"seconds\":{:.3},\"p50\":{:.1},\"p99\":{:.1},\"causes\":{{{}}}}}",
        all.requests, all.events, all.errors, took.as_secs_f64(), at(0.5), at(0.99), causes.join(",")
    );
}
