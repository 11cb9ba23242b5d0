//! Which room may import which.
//!
//! Imports point one way: the clock at the bottom, then sealing, then the protocol, then what
//! talks to the outside, then the two front doors that never see each other, then what assembles.

use super::paths;
use super::tree::Source;

/// A room, and what it may name of the others: a whole room, or one module of it.
type Room = (&'static str, &'static [&'static str]);

const ROOMS: &[Room] = &[
    ("time", &[]),
    ("entropy", &[]),
    ("figures", &[]),
    ("audit", &["oauth::names"]),
    ("seal", &["time", "figures", "audit", "oauth::names"]),
    ("oauth", &["seal", "time"]),
    ("net", &["time", "figures", "oauth::names"]),
    ("request", &["entropy", "figures"]),
    ("telemetry", &["audit", "figures", "request", "config"]),
    // The protocol's words, not its steps.
    (
        "replay",
        &[
            "time",
            "net",
            "entropy",
            "figures",
            "audit",
            "oauth::names",
            "oauth::records",
            "oauth::revoke",
            "oauth::scope",
        ],
    ),
    (
        "upstream",
        &[
            "time",
            "net",
            "entropy",
            "oauth::names",
            "oauth::pkce",
            "oauth::records",
            "oauth::scope",
        ],
    ),
    ("config", &["oauth", "seal", "upstream", "time"]),
    ("http", BELOW_THE_DOORS),
    ("gateway", BELOW_THE_DOORS),
    ("admin", BELOW_THE_DOORS),
    ("tls", &["config"]),
    ("listen", &["gateway::stall", "tls"]),
    ("server", BELOW_THE_SERVER),
    ("demo", BELOW_THE_DEMO),
    ("doctor", BELOW_THE_DEMO),
    ("cli", BELOW_THE_COMMANDS),
    ("main", &["cli"]),
];

/// Everything below the binary, from the bottom up; each group may name what stands before it.
const ORDER: [&str; 20] = [
    "time",
    "entropy",
    "figures",
    "audit",
    "seal",
    "oauth",
    "net",
    "request",
    "telemetry",
    "replay",
    "upstream",
    "config", //
    "http",
    "gateway",
    "admin",
    "tls",
    "listen",
    "server",
    "demo",
    "doctor",
];
const BELOW_THE_DOORS: &[&str] = ORDER.split_at(12).0;
const BELOW_THE_SERVER: &[&str] = ORDER.split_at(17).0;
const BELOW_THE_DEMO: &[&str] = ORDER.split_at(18).0;
const BELOW_THE_COMMANDS: &[&str] = &ORDER;

/// Complains of every import that the table does not allow.
pub(crate) fn imports(source: &Source) -> Vec<String> {
    if source.path == "src/lib.rs" {
        return Vec::new();
    }
    let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| *room == source.room()) else {
        return vec![format!(
            "{}: the room `{}` is not in the table of tests/architecture/rooms.rs",
            source.path,
            source.room()
        )];
    };
    paths::named(&source.without_tests())
        .into_iter()
        .filter(|path| path.len() > 1 && path.first().is_some_and(|first| first == "crate"))
        .map(|path| path[1..].to_vec())
        .filter(|path| path[0] != source.room())
        .filter(|path| !allowed.iter().any(|start| paths::is_below(path, start)))
        .map(|path| {
            format!(
                "{}: `{}` must not import `{}`",
                source.path,
                source.room(),
                path.join("::")
            )
        })
        .collect()
}

#[test]
fn import_against_the_direction_is_found() {
    for (path, text) in [
        ("src/seal/jwe.rs", "use crate::oauth::records::AccessToken;"),
        ("src/oauth/token.rs", "use crate::replay::ReplayStore;"),
        ("src/http/token.rs", "fn f() { crate::gateway::proxy(); }"),
        ("src/http/token.rs", "use super::super::gateway::Route;"),
        ("src/gateway/layer.rs", "use crate::{time, http::pages};"),
        ("src/upstream/oidc.rs", "use crate::oauth::token;"),
        ("src/config/mod.rs", "use crate::http;"),
        ("src/server.rs", "use crate::cli::Command;"),
        ("src/time.rs", "use crate::entropy;"),
        ("src/main.rs", "fn main() { mcp_oauth::server::run(); }"),
        ("src/cellar/mod.rs", ""),
        (
            "src/seal/keyring.rs",
            "#[cfg(test)] mod tests { use crate::time; } use crate::entropy;",
        ),
    ] {
        assert_eq!(imports(&Source::new(path, text)).len(), 1, "{path}: {text}");
    }
}

#[test]
fn import_along_the_direction_is_fine() {
    for (path, text) in [
        (
            "src/seal/jwe.rs",
            "use crate::oauth::names::Secret; use crate::seal::Kid;",
        ),
        (
            "src/oauth/token.rs",
            "use super::names; use crate::{seal::Keys, time::Timestamp};",
        ),
        (
            "src/http/token.rs",
            "// crate::gateway\nuse crate::config::Config;",
        ),
        (
            "src/seal/keyring.rs",
            "use crate::time; #[cfg(test)] mod tests { use crate::entropy; }",
        ),
        ("src/lib.rs", "pub use crate::gateway::Layer;"),
        ("src/main.rs", "fn main() { mcp_oauth::cli::run(); }"),
    ] {
        assert_eq!(imports(&Source::new(path, text)), Vec::<String>::new());
    }
}
