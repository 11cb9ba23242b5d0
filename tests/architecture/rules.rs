//! Rules about one file: what only one place may do, what nobody may do, and how a file looks.

use super::paths::{is_below, named};
use super::tree::{Source, is_ident, is_punct};
use proc_macro2::{Delimiter, Group, TokenTree};

/// The longest that a file in `src` may be.
const LINES: usize = 600;

const FIGURES: &[&str] = &["src/figures.rs", "src/figures/"];
const NET: &[&str] = &["src/net.rs", "src/net/"];
/// Paths that only some files may name, and why.
const HOMES: &[(&str, &[&str], &str)] = &[
    (
        "std::time::SystemTime",
        &["src/time.rs"],
        "`now` is an argument",
    ),
    (
        "std::time::Instant",
        &["src/time.rs"],
        "timers use `tokio::time`, which tests can move",
    ),
    ("SystemTime", &["src/time.rs"], "`now` is an argument"),
    (
        "rand::rng",
        &["src/entropy.rs"],
        "the generator is an argument",
    ),
    (
        "rand::random",
        &["src/entropy.rs"],
        "the generator is an argument",
    ),
    (
        "rand::rngs",
        &["src/entropy.rs"],
        "the generator is an argument",
    ),
    (
        "getrandom",
        &["src/entropy.rs"],
        "the generator is an argument",
    ),
    ("aes_gcm", &["src/seal/jwe.rs"], "one file encrypts"),
    ("aes_kw", &["src/seal/jwe.rs"], "one file encrypts"),
    ("aes", &["src/seal/jwe.rs"], "one file encrypts"),
    ("reqwest::get", NET, "one file makes clients"),
    ("reqwest::blocking", NET, "one file makes clients"),
    ("reqwest::ClientBuilder", NET, "one file makes clients"),
    ("reqwest::Client::new", NET, "one file makes clients"),
    ("reqwest::Client::builder", NET, "one file makes clients"),
    ("reqwest::Client::default", NET, "one file makes clients"),
    (
        "hyper_util::client::legacy::Client",
        &[
            "src/net.rs",
            "src/net/",
            "src/gateway/backend.rs",
            "src/demo/",
        ],
        "what leaves the machine leaves by the net, to the backend, or as the demo's own client",
    ),
    ("metrics::counter", FIGURES, "one table names the figures"),
    ("metrics::gauge", FIGURES, "one table names the figures"),
    ("metrics::histogram", FIGURES, "one table names the figures"),
    (
        "redis",
        &["src/replay/redis.rs", "src/replay/redis/"],
        "one store speaks to Redis",
    ),
];

/// Complains where a thing with one home is done elsewhere.
pub(crate) fn homes(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    let paths = named(source);
    for (start, homes, reason) in HOMES {
        let at_home = is_within(&source.path, homes);
        if !at_home && paths.iter().any(|path| is_below(path, start)) {
            complaints.push(format!("{}: names `{start}`: {reason}", source.path));
        }
    }
    // `use reqwest::Client;` and then `Client::new()`.
    let imports_client = paths
        .iter()
        .any(|path| path.join("::") == "reqwest::Client");
    let makes_client = ["Client::new", "Client::builder", "Client::default"]
        .iter()
        .any(|made| paths.iter().any(|path| is_below(path, made)));
    if !is_within(&source.path, NET) && imports_client && makes_client {
        complaints.push(format!("{}: makes a reqwest client", source.path));
    }
    complaints
}

/// Whether the file is one of these, or below one that is a folder.
fn is_within(path: &str, homes: &[&str]) -> bool {
    homes
        .iter()
        .any(|home| path == *home || home.ends_with('/') && path.starts_with(home))
}

/// Complains where the protocol does IO, waits, or reads its surroundings.
pub(crate) fn purity(source: &Source) -> Vec<String> {
    if source.room() != "oauth" {
        return Vec::new();
    }
    let outside = [
        "tokio",
        "axum",
        "hyper",
        "hyper_util",
        "reqwest",
        "redis",
        "futures_util",
        "std::fs",
        "std::env",
        "std::io",
        "std::thread",
        "std::process",
        "tracing",
        "metrics",
    ];
    let mut complaints: Vec<String> = outside
        .iter()
        .filter(|start| named(source).iter().any(|path| is_below(path, start)))
        .map(|start| format!("{}: names `{start}`; the protocol is pure", source.path))
        .collect();
    if any(&source.tokens, &|around| is_ident(&around[0], "async")) {
        complaints.push(format!(
            "{}: is async; the protocol is synchronous",
            source.path
        ));
    }
    complaints
}

/// Complains where a program could be started: an authorization URL must never reach a shell.
pub(crate) fn processes(source: &Source) -> Vec<String> {
    [
        "std::process::Command",
        "process::Command",
        "tokio::process",
    ]
    .iter()
    .filter(|start| named(source).iter().any(|path| is_below(path, start)))
    .map(|start| format!("{}: names `{start}`", source.path))
    .collect()
}

/// Complains where a client's `User-Agent` could be asked: it is no credential and no reason.
pub(crate) fn user_agent(source: &Source) -> Vec<String> {
    // What we send ourselves, and the header that passes to the backend as it is.
    let own = [
        "src/net.rs",
        "src/net/",
        "src/upstream/",
        "src/demo/",
        "src/gateway/headers.rs",
    ];
    let names_it = |around: &[TokenTree]| match &around[0] {
        TokenTree::Ident(ident) => ident == "USER_AGENT",
        TokenTree::Literal(literal) => {
            let text = literal.to_string().to_ascii_lowercase();
            text.contains("user-agent") || text.contains("user_agent")
        }
        _ => false,
    };
    // Comments of documentation are literals too, in an attribute.
    let code: Vec<TokenTree> = without_attributes(&source.tokens);
    if is_within(&source.path, &own) || !any(&code, &names_it) {
        return Vec::new();
    }
    vec![format!("{}: asks for the user agent", source.path)]
}

fn without_attributes(tokens: &[TokenTree]) -> Vec<TokenTree> {
    let mut kept: Vec<TokenTree> = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let marks = |token: &TokenTree| is_punct(token, '#') || is_punct(token, '!');
                if group.delimiter() == Delimiter::Bracket && kept.last().is_some_and(marks) {
                    continue;
                }
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let inner = without_attributes(&inner).into_iter().collect();
                kept.push(TokenTree::Group(Group::new(group.delimiter(), inner)));
            }
            other => kept.push(other.clone()),
        }
    }
    kept
}

/// Complains of the switches that turn the verification of certificates off.
pub(crate) fn certificates(source: &Source) -> Vec<String> {
    let switches = [
        "danger_accept_invalid_certs",
        "danger_accept_invalid_hostnames",
        "tls_danger_accept_invalid_certs",
        "tls_danger_accept_invalid_hostnames",
        "dangerous",
        "set_certificate_verifier",
    ];
    switches
        .iter()
        .filter(|switch| any(&source.tokens, &|around| is_ident(&around[0], switch)))
        .map(|switch| format!("{}: calls `{switch}`", source.path))
        .collect()
}

/// Complains of placeholders, skipped tests, and lints that are silenced without a reason.
pub(crate) fn leftovers(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for name in ["todo", "unimplemented"] {
        let is_call = |around: &[TokenTree]| {
            is_ident(&around[0], name) && around.get(1).is_some_and(|next| is_punct(next, '!'))
        };
        if any(&source.tokens, &is_call) {
            complaints.push(format!("{}: `{name}!`", source.path));
        }
    }
    for name in ["allow", "ignore"] {
        let is_attribute = |around: &[TokenTree]| {
            let bracket = match around {
                [hash, bracket, ..] if is_punct(hash, '#') && !is_punct(bracket, '!') => bracket,
                [hash, bang, bracket, ..] if is_punct(hash, '#') && is_punct(bang, '!') => bracket,
                _ => return false,
            };
            let TokenTree::Group(group) = bracket else {
                return false;
            };
            let first = group.stream().into_iter().next();
            first.is_some_and(|first| is_ident(&first, name))
        };
        if any(&source.tokens, &is_attribute) {
            complaints.push(format!("{}: `#[{name}]`", source.path));
        }
    }
    complaints
}

/// Complains of a file that does not say what it is.
pub(crate) fn introduction(source: &Source) -> Vec<String> {
    let opening = source.text.lines().next().unwrap_or("");
    if opening.starts_with("//! ") {
        Vec::new()
    } else {
        vec![format!("{}: does not open with `//!`", source.path)]
    }
}

/// Complains of a file that does not say what it is, or is too long to be read at once.
pub(crate) fn shape(source: &Source) -> Vec<String> {
    let mut complaints = introduction(source);
    let lines = source.text.lines().count();
    if lines > LINES {
        complaints.push(format!("{}: {lines} lines, more than {LINES}", source.path));
    }
    complaints
}

/// Complains of files at the top that belong in a folder.
pub(crate) fn top_level(files: &[String]) -> Vec<String> {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "keys",
        "src",
        "tests",
        "fuzz",
        "benches",
        "examples",
        "deploy",
        "docs",
    ];
    let mut outside: Vec<&str> = files
        .iter()
        .filter_map(|file| file.split('/').next())
        .filter(|first| !first.starts_with('.') && !allowed.contains(first))
        .collect();
    outside.dedup();
    outside
        .into_iter()
        .map(|name| format!("{name}: does not belong at the top of the tree"))
        .collect()
}

/// Complains of files that no `mod` reaches: they are neither compiled nor tested.
pub(crate) fn orphans(sources: &[Source]) -> Vec<String> {
    let roots = [
        "src/lib.rs",
        "src/main.rs",
        "tests/api.rs",
        "tests/architecture.rs",
    ];
    sources
        .iter()
        .filter(|source| !roots.contains(&source.path.as_str()))
        .filter(|source| {
            let (folder, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
            let (folder, name) = match file {
                "mod.rs" => folder.rsplit_once('/').unwrap_or(("", folder)),
                _ => (folder, file.trim_end_matches(".rs")),
            };
            let parents = [
                format!("{folder}.rs"),
                format!("{folder}/mod.rs"),
                format!("{folder}/lib.rs"),
                format!("{folder}/main.rs"),
            ];
            let declares = |around: &[TokenTree]| {
                is_ident(&around[0], "mod")
                    && around.get(1).is_some_and(|next| is_ident(next, name))
            };
            // `#[path = "support/backend.rs"] mod backend;`
            let points_here = |around: &[TokenTree]| {
                let TokenTree::Literal(literal) = &around[0] else {
                    return false;
                };
                let text = literal.to_string();
                let text = text.trim_matches('"');
                text.contains('/') && source.path.ends_with(&format!("/{text}"))
            };
            !sources.iter().any(|parent| {
                parents.contains(&parent.path) && any(&parent.tokens, &declares)
                    || any(&parent.tokens, &points_here)
            })
        })
        .map(|source| format!("{}: no `mod` reaches it", source.path))
        .collect()
}

/// Whether `matches` holds for the tokens from some place on, at any depth.
fn any(tokens: &[TokenTree], matches: &dyn Fn(&[TokenTree]) -> bool) -> bool {
    tokens.iter().enumerate().any(|(index, token)| {
        let within = match token {
            TokenTree::Group(group) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                any(&inner, matches)
            }
            _ => false,
        };
        within || matches(&tokens[index..])
    })
}

#[cfg(test)]
mod samples {
    //! Every rule fails on text that breaks it, and passes text that only looks like it.

    use super::*;

    type Rule = fn(&Source) -> Vec<String>;

    const BROKEN: &[(Rule, &str, &str)] = &[
        (
            homes,
            "src/http/token.rs",
            "use std::time::{Duration, SystemTime};",
        ),
        (
            homes,
            "src/http/token.rs",
            "fn f() { std::time::Instant::now(); }",
        ),
        (
            homes,
            "src/oauth/names.rs",
            "fn f() { let g = rand::rng(); }",
        ),
        (
            homes,
            "src/oauth/names.rs",
            "use rand::{CryptoRng, rngs::SysRng};",
        ),
        (homes, "src/seal/keyring.rs", "use aes_gcm as cipher;"),
        (
            homes,
            "src/upstream/oidc.rs",
            "fn f() { reqwest::Client::builder(); }",
        ),
        (
            homes,
            "src/upstream/oidc.rs",
            "use reqwest::Client; fn f() { Client::new(); }",
        ),
        (
            homes,
            "src/http/clients.rs",
            "use hyper_util::client::legacy::Client;",
        ),
        (homes, "src/http/token.rs", "fn f(c: redis::Client) {}"),
        (purity, "src/oauth/token.rs", "async fn f() {}"),
        (purity, "src/oauth/token.rs", "use std::{fmt, fs};"),
        (processes, "src/cli/demo.rs", "use std::process::Command;"),
        (
            processes,
            "src/cli/demo.rs",
            "use std::process; fn f() { process::Command::new(u); }",
        ),
        (
            user_agent,
            "src/gateway/layer.rs",
            "fn f() { headers.get(header::USER_AGENT); }",
        ),
        (
            user_agent,
            "src/http/token.rs",
            "fn f() { headers.get(\"User-Agent\"); }",
        ),
        (
            certificates,
            "src/net.rs",
            "fn f() { b.danger_accept_invalid_certs(true); }",
        ),
        (leftovers, "src/http/token.rs", "fn f() { todo!() }"),
        (
            leftovers,
            "src/http/token.rs",
            "fn f() { g(unimplemented!(\"later\")) }",
        ),
        (
            leftovers,
            "src/http/token.rs",
            "#[allow(dead_code)] fn f() {}",
        ),
        (leftovers, "src/http/mod.rs", "#![allow(clippy::pedantic)]"),
        (
            leftovers,
            "tests/api/token.rs",
            "mod m { #[test] #[ignore = \"slow\"] fn f() {} }",
        ),
        (introduction, "src/http/token.rs", "use axum::Router;"),
        (shape, "src/http/token.rs", "fn f() {}"),
    ];

    #[test]
    fn broken_rule_is_found() {
        for (rule, path, text) in BROKEN {
            assert_eq!(rule(&Source::new(path, text)).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn look_alikes_pass() {
        let fine: &[(Rule, &str, &str)] = &[
            (
                homes,
                "src/time.rs",
                "use std::time::{Instant, SystemTime};",
            ),
            (
                homes,
                "src/http/token.rs",
                "use std::time::Duration; use tokio::time::Instant;",
            ),
            (homes, "src/seal/jwe.rs", "use aes_gcm::Aes256Gcm;"),
            (
                homes,
                "src/oauth/names.rs",
                "//! rand::rng()\nuse rand::CryptoRng;",
            ),
            (
                homes,
                "src/upstream/oidc.rs",
                "use reqwest::Client; fn f(c: &Client) {}",
            ),
            (homes, "src/replay/redis.rs", "fn f(c: redis::Client) {}"),
            (purity, "src/http/token.rs", "async fn f() {}"),
            (
                purity,
                "src/oauth/token.rs",
                "use std::fmt; use std::net::IpAddr;",
            ),
            (
                processes,
                "src/cli/mod.rs",
                "use clap::Command; use std::process::ExitCode;",
            ),
            (
                user_agent,
                "src/http/token.rs",
                "/// Not the `User-Agent`.\nfn f() {}",
            ),
            (
                leftovers,
                "src/http/token.rs",
                "/// todo!()\n#[expect(lint, reason = \"r\")] fn f() {}",
            ),
            (
                introduction,
                "src/http/token.rs",
                "//! The token endpoint.\n",
            ),
            (shape, "src/http/token.rs", "//! The token endpoint.\n"),
        ];
        for (rule, path, text) in fine {
            let complaints = rule(&Source::new(path, text));
            assert!(complaints.is_empty(), "{path}: {text}: {complaints:?}");
        }
    }

    #[test]
    fn file_may_have_the_longest_length_and_no_line_more() {
        let longest = format!("//! Long.\n{}", "\n".repeat(LINES - 1));
        assert!(shape(&Source::new("src/a.rs", &longest)).is_empty());
        assert_eq!(
            shape(&Source::new("src/a.rs", &format!("{longest}\n"))).len(),
            1
        );
    }

    #[test]
    fn file_without_a_mod_is_found() {
        let tree = [
            ("src/lib.rs", "pub mod http; pub mod seal;"),
            ("src/http/mod.rs", "mod token;"),
            ("src/http/token.rs", "// mod orphan;"),
            ("src/http/orphan.rs", ""),
            ("src/seal.rs", "mod jwe; mod deep { mod far; }"),
            ("src/seal/jwe.rs", ""),
            (
                "tests/api.rs",
                "mod api { mod code; #[path = \"support/far.rs\"] mod far; }",
            ),
            ("tests/api/support/far.rs", ""),
            ("tests/api/code.rs", ""),
            ("tests/api/lost.rs", ""),
        ];
        let sources = tree.map(|(path, text)| Source::new(path, text));
        assert_eq!(
            orphans(&sources),
            [
                "src/http/orphan.rs: no `mod` reaches it",
                "tests/api/lost.rs: no `mod` reaches it"
            ]
        );
    }

    #[test]
    fn stray_file_at_the_top_is_found() {
        let files = [
            "Cargo.toml",
            ".ci/run",
            "src/lib.rs",
            "notes.txt",
            "scripts/a",
            "scripts/b",
        ];
        let complaints = top_level(&files.map(str::to_owned));
        assert_eq!(complaints.len(), 2, "{complaints:?}");
    }
}
