//! Every complaint, word for word.

use std::fmt::Write as _;

use mcp_oauth::config;

use super::{SMALL, parse, problems, small};

/// What is said about each change of the small file.
fn complaints(changes: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (passage, by) in changes {
        let said = problems(&small(passage, by));
        let _ = writeln!(out, "{}\n{said}\n", by.trim().replace('\n', " ⏎ "));
    }
    out
}

/// What is said about each addition to the end of the small file.
fn complaints_about(additions: &[&str]) -> String {
    let mut out = String::new();
    for addition in additions {
        let said = problems(&format!("{SMALL}{addition}\n"));
        let _ = writeln!(out, "{}\n{said}\n", addition.replace('\n', " ⏎ "));
    }
    out
}

/// What is said about each addition, though the server can start with it.
fn warnings(additions: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (passage, by) in additions {
        let config = parse(&small(passage, by)).unwrap_or_else(|problems| panic!("{problems}"));
        let _ = writeln!(out, "{}", by.trim().replace('\n', " ⏎ "));
        for warning in &config.warnings {
            let _ = writeln!(out, "{warning}");
        }
        out.push('\n');
    }
    out
}

#[test]
fn every_problem_is_reported_at_once() {
    let text = r#"publc_url = "https://mcp.example.com"
public_url = "https://mcp.example.com/"
listen = ":8080"
[acess]
allow_all = true
[upstreams.github]
provider = 5
cleint_id = "Iv1.0123"
[[resources]]
path = "mcp"
backend = "127.0.0.1:3000"
auth = "requird"
max_body = 10
[tokens]
code_ttl = 60
refresh_grace = "2 minutes"
[limits]
token_per_minute = -1
"#;
    insta::assert_snapshot!(problems(text));
}

#[test]
fn an_empty_file_is_told_what_to_write() {
    insta::assert_snapshot!(problems(""));
}

#[test]
fn grammar_is_reported_with_its_lines() {
    insta::assert_snapshot!(problems(
        "public_url = \"https://mcp.example.com\nlisten = \n[a]\n[a]\nx == 1\nsecret = \"hunter2"
    ));
}

#[test]
fn public_url_is_an_origin_in_its_one_spelling() {
    let url = |url: &str| format!("public_url = \"{url}\"");
    let urls = [
        "mcp.example.com",
        "ftp://mcp.example.com",
        "https://mcp.example.com/",
        "https://mcp.example.com/oauth",
        "https://mcp.example.com:443",
        "https://MCP.example.com",
        "HTTPS://mcp.example.com",
        "https://mcp.example.com?a=b",
        "https://mcp.example.com#a",
        "https://user:hunter2@mcp.example.com",
        "http://mcp.example.com",
        "http://192.0.2.1:8080",
        "https://münchen.example",
        "https://user:hunter2@",
        "https://",
        "",
    ];
    let passage = url("https://mcp.example.com");
    let changed: Vec<_> = urls.iter().map(|bad| url(bad)).collect();
    let changes: Vec<_> = changed
        .iter()
        .map(|by| (passage.as_str(), by.as_str()))
        .collect();
    let said = complaints(&changes);
    let repeated = said
        .lines()
        .filter(|line| line.contains("hunter2") && !line.starts_with("public_url"));
    assert_eq!(repeated.count(), 0, "a password is repeated");
    insta::assert_snapshot!(said);
}

#[test]
fn resources_are_paths_that_can_be_routed_without_doubt() {
    let path = |path: &str| format!("path = \"{path}\"");
    let paths = [
        "/",
        "mcp",
        "/mcp/",
        "/a//b",
        "/a/../b",
        "/a%2fb",
        "/a\\\\b",
        "/a?b",
        "/ä",
        "/token",
        "/.well-known/x",
        "/metrics",
        "/callback/x",
    ];
    let passage = path("/mcp");
    let changed: Vec<_> = paths.iter().map(|bad| path(bad)).collect();
    let changes: Vec<_> = changed
        .iter()
        .map(|by| (passage.as_str(), by.as_str()))
        .collect();
    insta::assert_snapshot!(complaints(&changes));
}

#[test]
fn resources_are_judged_whole() {
    let backend = "backend = \"http://127.0.0.1:3000/mcp\"";
    let more = |more: &str| format!("{backend}\n{more}");
    let changed = [
        String::new(),
        "backend = \"unix:/run/mcp\"".to_owned(),
        "backend = \"http://user:hunter2@127.0.0.1/mcp\"".to_owned(),
        "backend = \"http://127.0.0.1/mcp?key=1\"".to_owned(),
        "backend = \"https://mcp.example.com/mcp\"".to_owned(),
        more("upstream = \"gihub\""),
        more("scopes = [\"a b\"]"),
        more("scopes = [\"a\\\"\"]"),
        more("scopes = \"mcp\""),
        more("required_scopes = [\"admin\"]"),
        more("auth = \"none\""),
        more("forward = [\"identity\", \"token\"]"),
        more("forward = [\"authorization\"]\nbackend_headers = { authorization = \"Basic x\" }"),
        more("backend_headers = { \"X Key\" = \"a\" }"),
        more(
            "backend_headers = { X-Forwarded-User = \"a\", X_Forwarded_Groups = \"a\", Host = \"a\" }",
        ),
        more("backend_headers = { X-Key = \"a\\nb\" }"),
        more("backend_headers = \"X-Key\""),
        more("name = \"\""),
        more("max_body = \"0MB\""),
        more("max_body = \"10 megabytes\""),
        more("idle_timeout = \"0s\"\nconnect_timeout = \"5m\""),
        more("[resources.access]"),
        more("[resources.access]\nallow_all = \"yes\""),
        more("[[resources]]\npath = \"/mcp\"\nbackend = \"http://127.0.0.1:1\""),
    ];
    let changes: Vec<_> = changed.iter().map(|by| (backend, by.as_str())).collect();
    insta::assert_snapshot!(complaints(&changes));
}

#[test]
fn access_rules_are_needed_and_must_be_meant() {
    let passage = "allow_emails = [\"*@example.com\"]";
    let changes = [
        (passage, ""),
        (passage, "allow_all = false"),
        (
            passage,
            "allow_emails = [\"example.com\", \"*@*.example.com\", \"*@münchen.de\", \"a@b@c.d\", \"a@b.\"]",
        ),
        (passage, "allow_emails = \"*@example.com\""),
        (passage, "allow_emails = [5]"),
        (passage, "allow_subjects = [\"583231\"]"),
        (passage, "allow_groups = [\"a,b\", \"\"]"),
        (passage, "allow_email = [\"*@example.com\"]"),
    ];
    insta::assert_snapshot!(complaints(&changes));
}

#[test]
fn upstreams_are_named_and_have_callbacks_of_their_own() {
    let provider = "provider = \"github\"";
    let second = "\n[upstreams.second]\nprovider = \"github\"\nclient_id = \"x\"\nclient_secret = \"0123456789abcdef\"\n";
    let changed = [
        ("[upstreams.github]", "[upstreams.GitHub]".to_owned()),
        ("[upstreams.github]", "[upstreams]".to_owned()),
        ("client_id = \"Iv1.0123\"", String::new()),
        (provider, String::new()),
        (provider, format!("{provider}\ncallback_path = \"/token\"")),
        (provider, format!("{provider}\ncallback_path = \"callback\"")),
        (provider, format!("{provider}\ncallback_path = \"/mcp/callback\"")),
        (provider, format!("{provider}\nexchange = \"tokn\"")),
        ("[[resources]]", format!("{second}[[resources]]")),
        (
            "[[resources]]",
            format!("{second}callback_path = \"/callback/github\"\n[[resources]]\nupstream = \"second\""),
        ),
        (
            "[access]",
            "[replay]\nstore = \"upstream\"\n[upstreams.second]\nprovider = \"github\"\nclient_id = \"x\"\nexchange = \"callback\"\n[access]".to_owned(),
        ),
    ];
    let changes: Vec<_> = changed
        .iter()
        .map(|(passage, by)| (*passage, by.as_str()))
        .collect();
    insta::assert_snapshot!(complaints(&changes));
}

#[test]
fn addresses_of_a_shared_tenant_are_never_trusted() {
    let by = "provider = \"entra\"\ntenant = \"common\"\ntrust_email = true";
    insta::assert_snapshot!(complaints(&[("provider = \"github\"", by)]));
}

#[test]
fn lives_have_bounds() {
    insta::assert_snapshot!(complaints_about(&[
        "[tokens]\ncode_ttl = \"11m\"",
        "[tokens]\ncode_ttl = \"1s\"",
        "[tokens]\naccess_ttl = \"29s\"",
        "[tokens]\naccess_ttl = \"25h\"",
        "[tokens]\nrefresh_idle_ttl = \"91d\"",
        "[tokens]\nrefresh_max_ttl = \"2y\"",
        "[tokens]\nrefresh_grace = \"2h\"",
        "[tokens]\nrefresh_idle_ttl = \"5m\"\nrefresh_grace = \"5m\"",
        "[tokens]\nrefresh_idle_ttl = \"5m\"\nrefresh_max_ttl = \"5m\"\nrefresh_grace = \"1s\"",
        "[shutdown]\ndelay = \"10m\"\ndrain = \"2h\"",
    ]));
}

#[test]
fn clients_are_judged_like_registrations() {
    insta::assert_snapshot!(complaints_about(&[
        "[clients]\nredirect_schemes = [\"cursor\", \"cursor:\", \"https://a.example/\", \"javascript:alert(1)\", \"my app://x\", \"app://x#y\"]",
        "[clients]\ncimd_allow_hosts = [\"https://claude.ai\", \"*.claude.ai\", \"Claude.ai\"]\ncimd_deny_hosts = [\"a:443\"]",
        "[clients]\ncimd_allow_loopback = true",
        "[clients]\ncimd = false\ndcr = false",
        "[[clients.static]]",
        "[[clients.static]]\nclient_id = \"a b\"\nredirect_uris = [\"https://a.example/\"]",
        "[[clients.static]]\nclient_id = \"https://a.example/client\"\nredirect_uris = [\"https://a.example/\"]",
        "[[clients.static]]\nclient_id = \"a.b.c.d.e\"\nredirect_uris = [\"https://a.example/\"]",
        "[[clients.static]]\nclient_id = \"a\"\nredirect_uris = []",
        "[[clients.static]]\nclient_id = \"a\"\nredirect_uris = [\"http://a.example/\", \"https://a.example/#x\", \"app://x\"]",
        "[[clients.static]]\nclient_id = \"a\"\nredirect_uris = [\"https://a.example/\"]\n[[clients.static]]\nclient_id = \"a\"\nredirect_uris = [\"https://a.example/\"]",
        "[[clients.policy]]\nrefresh_grace = \"10m\"",
        "[[clients.policy]]\nclient_host = \"chatgpt.com/\"\nrefresh_grace = \"2h\"",
        "[[clients.policy]]\nclient_host = \"a.example\"\nrefresh_grace = \"3m\"\n[[clients.policy]]\nclient_host = \"a.example\"\nrefresh_grace = \"4m\"",
    ]));
}

#[test]
fn deployment_must_be_able_to_keep_its_promises() {
    insta::assert_snapshot!(complaints_about(&[
        "[replay]\nstore = \"redis\"",
        "[replay]\nstore = \"redis\"\nurl = \"http://hunter2@127.0.0.1\"",
        "[replay]\nstore = \"valkey\"",
        "[replay]\nurl = \"redis://127.0.0.1\"",
        "[replay]\ncapacity = 10",
        "[replay]\nstore = \"redis\"\nurl = \"redis://127.0.0.1\"\nprefix = \"{a}\"",
        "[revocation]\nnot_before = \"yesterday\"\nregistrations_before = 2026-01-01",
        "[revocation]\nsubjects = [\"github:1\"]",
        "[revocation]\nsubjects = [{ before = \"2026-01-01T00:00:00Z\" }, { subject = \"1\" }]",
        "[revocation]\nclients = [{ client = \"x\" }, {}]\ngrants = [\"x\"]",
        "[proxy]\ntrusted = [\"0.0.0.0/0\", \"10.0.0.0/33\", \"proxy\"]",
        "[cors]\nallowed_origins = [\"https://a.example/\", \"null\"]",
        "[tls]\ncertificate = \"/nonexistent.pem\"",
        "[admin]\nlisten = \"127.0.0.1:8080\"",
        "[admin]\nlisten = \"localhost:9090\"",
        "[consent]\nname = \"a\\nb\"\ncontact = \"javascript:alert(1)\"",
        "[log]\nformat = \"xml\"",
        "[log]\nlevel = \"loud=very\"",
        "[scopes.mcp]",
    ]));
}

#[test]
fn authorities_of_the_store_must_be_certificates_that_are_used() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let authority = directory.path().join("ca.pem");
    let pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    std::fs::write(&authority, pem).expect("written");
    let authority = authority.display().to_string();
    let redis = "[replay]\nstore = \"redis\"\nurl";
    let said = complaints_about(&[
        &format!("[replay]\nca_file = \"{authority}\""),
        &format!("{redis} = \"rediss://localhost\"\nca_file = \"/nonexistent.pem\""),
        &format!("{redis} = \"rediss://localhost\"\nca_file = \"Cargo.toml\""),
        &format!("{redis} = \"redis://localhost\"\nca_file = \"{authority}\""),
    ]);
    insta::assert_snapshot!(said.replace(&authority, "/etc/redis/ca.pem"), @r#"
    [replay] ⏎ ca_file = "/etc/redis/ca.pem"
    mcp-oauth.toml:13: `ca_file` is for store = "redis"
      hint: set the store, or remove it

    [replay] ⏎ store = "redis" ⏎ url = "rediss://localhost" ⏎ ca_file = "/nonexistent.pem"
    mcp-oauth.toml:15: cannot read `/nonexistent.pem`: no such file or directory
      hint: paths are relative to the working directory

    [replay] ⏎ store = "redis" ⏎ url = "rediss://localhost" ⏎ ca_file = "Cargo.toml"
    mcp-oauth.toml:15: `Cargo.toml` holds no certificate
      hint: a PEM file that begins with `-----BEGIN CERTIFICATE-----`

    [replay] ⏎ store = "redis" ⏎ url = "redis://localhost" ⏎ ca_file = "/etc/redis/ca.pem"
    mcp-oauth.toml:15: `ca_file` does nothing: the URL of the store is without TLS
      hint: rediss://… in `url`
    "#);
}

#[test]
fn open_cors_needs_tokens_everywhere() {
    let optional = small("path = \"/mcp\"", "path = \"/mcp\"\nauth = \"optional\"");
    insta::assert_snapshot!(problems(&format!(
        "{optional}[cors]\nallowed_origins = [\"*\"]\n"
    )));
}

#[test]
fn plain_http_and_tls_contradict_each_other() {
    let loopback = small("https://mcp.example.com", "http://127.0.0.1:8080");
    let tls = "[tls]\ncertificate = \"/dev/null\"\nkey = \"/dev/null\"\n";
    insta::assert_snapshot!(problems(&format!("{loopback}{tls}")));
}

#[test]
fn what_does_nothing_is_warned_about() {
    let emails = "allow_emails = [\"*@example.com\"]";
    insta::assert_snapshot!(warnings(&[
        (
            emails,
            "allow_emails = [\"*@example.com\"]\nallow_all = true"
        ),
        (emails, "allow_subjects = [\"gihub:1\", \"github:1\"]"),
        (
            emails,
            "allow_all = true\n[scopes.admin]\ntitle = \"Everything\""
        ),
        (
            emails,
            "allow_all = true\n[[clients.policy]]\nclient_host = \"a.example\""
        ),
        (
            emails,
            "allow_all = true\n[[clients.policy]]\nclient_host = \"a.example\"\nrefresh_grace = \"2m\""
        ),
        (
            emails,
            "allow_all = true\n[[clients.static]]\nclient_id = \"a\"\nclient_secret = \"short\"\nredirect_uris = [\"https://a.example/\"]"
        ),
        (
            emails,
            "allow_all = true\n[revocation]\nsubjects = [{ subject = \"gitlab:1\" }]"
        ),
        (
            "\"https://mcp.example.com\"",
            "\"http://localhost:8080\"\nlisten = \"0.0.0.0:8080\""
        ),
    ]));
}

#[test]
fn a_wrong_value_is_reported_once() {
    let text = small("\"https://mcp.example.com\"", "5");
    assert_eq!(config::parse(&text, "f").unwrap_err().errors(), 1);
    let text = small("[access]\nallow_emails = [\"*@example.com\"]", "access = 5");
    assert!(
        problems(&text).contains("should be a table"),
        "{}",
        problems(&text)
    );
}
