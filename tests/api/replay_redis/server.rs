//! A real server in a child process, with a hand on its time.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use super::PREFIX;

/// Names the binary.
const VARIABLE: &str = "MCP_OAUTH_TEST_REDIS_SERVER";

/// Makes everything under a prefix older: what has a time to live gets less of it, and points in
/// time that scripts wrote move back.
const AGE: &str = r"
local by = tonumber(ARGV[2])
local function back(key, field, scale)
  local value = redis.call('HGET', key, field)
  if value then redis.call('HSET', key, field, string.format('%.0f', tonumber(value) - by / scale)) end
end
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  if string.sub(key, -2) == ':r' then
    back(key, 't', 1); back(key, 'e', 1); back(key, 'le', 1)
    for slot = 0, 3 do
      local older = redis.call('HGET', key, 'o' .. slot)
      if older then
        local generation, token, since, ends = string.match(older, '(%d+) (%S+) (%d+) (%d+)')
        redis.call('HSET', key, 'o' .. slot,
          string.format('%s %s %.0f %.0f', generation, token, tonumber(since) - by, tonumber(ends) - by))
      end
    end
  elseif string.sub(key, -5) == 'epoch' then
    back(key, 'since', 1000); back(key, 'opens', 1)
  elseif string.sub(key, -5) == ':ends' then
    for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do redis.call('ZINCRBY', key, -by, member) end
  elseif string.sub(key, -2) == ':v' then
    local ends = string.format('%.0f', tonumber(redis.call('GET', key)) - by)
    redis.call('SET', key, ends, 'KEEPTTL')
  end
  local rest = redis.call('PTTL', key)
  if rest > by then redis.call('PEXPIRE', key, string.format('%.0f', rest - by))
  elseif rest >= 0 then redis.call('DEL', key) end
end
return 1
";

/// One server; it ends with the value.
pub(super) struct Server {
    binary: PathBuf,
    child: Child,
    directory: TempDir,
    arguments: Vec<String>,
    pub(super) port: u16,
}

impl Server {
    /// Starts one, if the variable names a binary.
    pub(super) async fn start(arguments: &[&str]) -> Option<Self> {
        let Some(binary) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
            skip();
            return None;
        };
        let arguments: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
        // A port that was free may be taken when the server asks for it: then another is tried.
        for _ in 0..5 {
            let directory = TempDir::new().expect("a directory");
            let port = free_port();
            let mut server = Self {
                child: spawn(&binary, directory.path(), port, &arguments),
                binary: binary.clone(),
                directory,
                arguments: arguments.clone(),
                port,
            };
            if server.answers().await {
                return Some(server);
            }
        }
        panic!("no server started");
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends the server as `kill -9` does.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on the same port, with what it wrote to its directory.
    pub(super) async fn start_again(&mut self) {
        self.kill();
        self.child = spawn(
            &self.binary,
            self.directory.path(),
            self.port,
            &self.arguments,
        );
        assert!(self.answers().await, "the server did not start again");
    }

    /// Sends one command over a connection of its own.
    pub(super) async fn tell(&self, words: &[&str]) -> redis::Value {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let mut connection = self.connection().await.expect("the server is up");
        let answer = command.query_async(&mut connection).await;
        answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The keys of the tests.
    pub(super) async fn keys(&self) -> Vec<String> {
        let keys = self.tell(&["KEYS", &format!("{PREFIX}*")]).await;
        redis::from_redis_value(keys).expect("keys")
    }

    pub(super) async fn age(&self, by: Duration) {
        self.tell(&["EVAL", AGE, "0", PREFIX, &by.as_millis().to_string()])
            .await;
    }

    async fn connection(&self) -> redis::RedisResult<MultiplexedConnection> {
        let client = redis::Client::open(self.url())?;
        client.get_multiplexed_async_connection().await
    }

    /// Waits until it listens; false if it ended instead.
    async fn answers(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            if !matches!(self.child.try_wait(), Ok(None)) {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(binary: &Path, directory: &Path, port: u16, arguments: &[String]) -> Child {
    Command::new(binary)
        .arg("--port")
        .arg(port.to_string())
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .arg("--dir")
        .arg(directory)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the server's binary starts")
}

/// Whether the binary was built with TLS; says so where it was not.
pub(super) fn speaks_tls() -> bool {
    let Some(binary) = std::env::var_os(VARIABLE) else {
        return false;
    };
    let binary = std::fs::read(binary).expect("the server's binary can be read");
    // A function of OpenSSL that no server with TLS is without.
    let name = b"SSL_CTX_new";
    let speaks = binary.windows(name.len()).any(|it| it == name);
    if !speaks {
        let line = "skipped: this server was built without TLS\n";
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    speaks
}

pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Says so past the capture of the test's output.
fn skip() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let line = format!("skipped: {VARIABLE} names no redis-server or valkey-server\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
    });
}
