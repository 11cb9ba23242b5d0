//! What the server says about itself: which one it is, and whether it can be trusted to remember.

use redis::{RedisError, Value};
use tokio::time::timeout;

use super::OpenError;
use super::link::{ANSWER, Line, Request};

/// The answer to `INFO`.
#[derive(Debug, Default)]
pub(super) struct Server {
    /// Changes with every restart and every failover; empty if it cannot be read.
    pub(super) identity: String,
}

impl Server {
    /// Asks the server, and refuses one that cannot be the store.
    pub(super) async fn ask(line: &Line) -> Result<Self, OpenError> {
        let mut info = redis::cmd("INFO");
        info.arg("server").arg("replication").arg("memory");
        let text = match timeout(ANSWER, line.send(&Request::Plain(info))).await? {
            Ok(Value::BulkString(text)) => String::from_utf8_lossy(&text).into_owned(),
            Ok(Value::VerbatimString { text, .. } | Value::SimpleString(text)) => text,
            Ok(_) => String::new(),
            Err(error) if is_answer(&error) => String::new(),
            Err(error) => return Err(error.into()),
        };
        if text.is_empty() {
            tracing::warn!(
                "the replay store does not let us read INFO: a failover or an eviction policy goes unnoticed"
            );
        }
        check(&text)
    }
}

/// Whether the server answered, if only to say no.
fn is_answer(error: &RedisError) -> bool {
    matches!(error.kind(), redis::ErrorKind::Server(_))
}

fn check(info: &str) -> Result<Server, OpenError> {
    let field = |name: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
    };
    let refused = |why: String| Err(OpenError::Refused(why));

    let major = field("redis_version").and_then(|it| it.split('.').next()?.parse::<u32>().ok());
    if let Some(major @ ..7) = major {
        return refused(format!(
            "it is Redis {major}; 7 or later is needed, or Valkey"
        ));
    }
    if field("role").is_some_and(|role| role != "master") {
        return Err(OpenError::Unreachable(
            "it is a replica; the primary is needed".into(),
        ));
    }
    let policy = field("maxmemory_policy").unwrap_or("noeviction");
    let is_limited = field("maxmemory").is_some_and(|it| it != "0");
    if is_limited && policy != "noeviction" {
        return refused(format!(
            "it evicts when it is full (maxmemory-policy {policy}), and so would forget used codes; \
             set maxmemory-policy noeviction"
        ));
    }
    let identity = match (field("run_id"), field("master_replid")) {
        (Some(run), Some(history)) => format!("{run}.{history}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => String::new(),
    };
    Ok(Server { identity })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.2.4\r\nrun_id:abc\r\n# Memory\r\n\
                        maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n# Replication\r\n\
                        role:master\r\nmaster_replid:def\r\n";

    #[test]
    fn server_is_known_by_its_run_and_its_history() {
        assert_eq!(check(GOOD).expect("good").identity, "abc.def");
        assert_eq!(check("").expect("unreadable").identity, "");
    }

    #[test]
    fn evicting_server_is_refused() {
        for policy in ["allkeys-lru", "volatile-ttl", "allkeys-random"] {
            let info = GOOD
                .replace("maxmemory:0", "maxmemory:1000000")
                .replace("allkeys-lru", policy);
            assert!(
                matches!(check(&info), Err(OpenError::Refused(_))),
                "{policy}"
            );
        }
        let info = GOOD
            .replace("maxmemory:0", "maxmemory:1000000")
            .replace("allkeys-lru", "noeviction");
        assert!(check(&info).is_ok());
    }

    #[test]
    fn replica_and_old_server_are_refused() {
        let replica = GOOD.replace("role:master", "role:slave");
        assert!(matches!(check(&replica), Err(OpenError::Unreachable(_))));
        let old = GOOD.replace("7.2.4", "6.2.14");
        assert!(matches!(check(&old), Err(OpenError::Refused(_))));
    }
}
