//! File, then environment, then flags: the later wins.

use std::path::{Path, PathBuf};

use clap::Parser;
use mcp_oauth::config::{self, Config, Flags, KeySource, Problems};

use super::SMALL;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    flags: Flags,
}

fn flags(line: &str) -> Flags {
    let words = std::iter::once("serve").chain(line.split_whitespace());
    Line::parse_from(words).flags
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        set_mode(&path, 0o600);
        path
    }
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn load(text: &str, env: &[(&str, &str)], line: &str) -> Result<Config, Problems> {
    let directory = Directory::new();
    let path = directory.write("mcp-oauth.toml", text);
    config::load(Some(&path), variables(env), &flags(line))
}

/// What is said, with the directory's name taken out.
fn said(text: &str, env: &[(&str, &str)], line: &str) -> String {
    let directory = Directory::new();
    let path = directory.write("mcp-oauth.toml", text);
    let problems = config::load(Some(&path), variables(env), &flags(line)).unwrap_err();
    without(&problems, &directory)
}

fn without(problems: &Problems, directory: &Directory) -> String {
    problems
        .to_string()
        .replace(&format!("{}/", directory.0.path().display()), "")
}

#[test]
fn later_sources_win() {
    let env = [
        ("MCP_OAUTH_LISTEN", "127.0.0.1:1"),
        ("MCP_OAUTH_TOKENS_ACCESS_TTL", "10m"),
        ("MCP_OAUTH_CLIENTS_DCR", "false"),
        ("MCP_OAUTH_LIMITS_TOKEN_PER_MINUTE", "7"),
        (
            "MCP_OAUTH_ACCESS_ALLOW_EMAILS",
            "a@example.com, b@example.com",
        ),
        ("MCP_OAUTH_UPSTREAMS_GITHUB_CLIENT_ID", "from-env"),
        ("MCP_OAUTH_LOG_FORMAT", ""),
        ("UNRELATED", "x"),
    ];
    let config = load(SMALL, &env, "--listen 127.0.0.1:2 --allow-all").unwrap();
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.tokens.access_ttl.as_secs(), 600);
    assert!(!config.clients.dcr);
    assert_eq!(config.limits.token_per_minute, 7);
    assert!(config.resources[0].access.global.is_everybody());
}

#[test]
fn port_replaces_the_port_only() {
    let text = format!("listen = \"0.0.0.0:8080\"{SMALL}");
    let config = load(&text, &[("PORT", "9000")], "").unwrap();
    assert_eq!(config.listen.to_string(), "0.0.0.0:9000");
    let config = load(SMALL, &[("PORT", "9000")], "--listen 127.0.0.1:2").unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:2");
    let said = said(SMALL, &[("PORT", "http")], "");
    assert!(
        said.starts_with("PORT: `127.0.0.1:http` is not an address"),
        "{said}"
    );
}

#[test]
fn keys_can_come_in_the_environment() {
    let config = load(SMALL, &[("MCP_OAUTH_KEYS", "{\"keys\":[]}")], "").unwrap();
    assert!(matches!(&config.keys, KeySource::Inline(keys) if keys.expose() == "{\"keys\":[]}"));
    assert!(!format!("{config:?}").contains("{\\\"keys"));
    let config = load(SMALL, &[("MCP_OAUTH_KEYS_DIRECTORY", "/k")], "").unwrap();
    assert!(matches!(&config.keys, KeySource::Directory { path, .. } if path == Path::new("/k")));
}

#[test]
fn unknown_variables_are_refused() {
    let env = [
        ("MCP_OAUTH_PUBLIC_ULR", "x"),
        ("MCP_OAUTH_TOKEN_CODE_TTL", "60s"),
        ("MCP_OAUTH_UPSTREAMS_GIHUB_CLIENT_SECRET", "hunter2"),
        ("MCP_OAUTH_UPSTREAMS_OKTA_CLIENT_SECRET", "hunter2"),
        ("MCP_OAUTH_RESOURCES_0_PATH", "/x"),
        ("MCP_OAUTH_DATABASE", ""),
    ];
    let said = said(SMALL, &env, "");
    assert!(!said.contains("hunter2"));
    insta::assert_snapshot!(said);
}

#[test]
fn values_in_the_environment_are_judged_like_those_in_the_file() {
    let env = [
        ("MCP_OAUTH_PUBLIC_URL", "http://mcp.example.com"),
        ("MCP_OAUTH_TOKENS_CODE_TTL", "60"),
        ("MCP_OAUTH_CLIENTS_DCR", "maybe"),
        ("MCP_OAUTH_LIMITS_TOKEN_PER_MINUTE", "many"),
        ("MCP_OAUTH_REPLAY_STORE", "memcached"),
    ];
    insta::assert_snapshot!(said(SMALL, &env, ""));
}

#[test]
fn names_with_underscores_and_hyphens_are_found() {
    let text = SMALL.replace("[upstreams.github]", "[upstreams.my-idp_2]")
        + "[scopes.\"mcp:read.all\"]\n[[resources]]\npath = \"/b\"\nbackend = \"http://127.0.0.1:1\"\nscopes = [\"mcp:read.all\"]\n";
    let env = [
        ("MCP_OAUTH_UPSTREAMS_MY_IDP_2_CLIENT_ID", "x"),
        ("MCP_OAUTH_SCOPES_MCP_READ_ALL_TITLE", "Read"),
    ];
    let config = load(&text, &env, "").unwrap();
    assert_eq!(config.scopes["mcp:read.all"].title, "Read");
}

#[test]
fn an_upstream_can_be_set_by_variables_alone() {
    let text = SMALL.replace(
        "[upstreams.github]\nprovider = \"github\"\nclient_id = \"Iv1.0123\"\nclient_secret = \"0123456789abcdef\"\n",
        "",
    );
    let env = [
        ("MCP_OAUTH_UPSTREAMS_WORK_LOGIN_PROVIDER", "github"),
        ("MCP_OAUTH_UPSTREAMS_WORK_LOGIN_CLIENT_ID", "x"),
        (
            "MCP_OAUTH_UPSTREAMS_WORK_LOGIN_CLIENT_SECRET",
            "0123456789abcdef",
        ),
    ];
    let config = load(&text, &env, "").unwrap();
    assert_eq!(config.resources[0].upstream.as_str(), "work_login");
}

#[test]
fn flags_alone_describe_a_server() {
    let directory = Directory::new();
    let secret = directory.write("secret", "0123456789abcdef\n");
    let line = format!(
        "--public-url https://mcp.example.com --provider github --client-id x \
         --client-secret-file {} --scope read:user user:email --backend http://127.0.0.1:3000/mcp \
         --allow a@example.com *@b.example --forward identity access_token",
        secret.display()
    );
    let config = load("", &[], &line).unwrap();
    assert_eq!(config.resources.len(), 1);
    let resource = &config.resources[0];
    assert_eq!(resource.path, "/mcp");
    assert_eq!(resource.upstream.as_str(), "github");
    assert!(resource.forward.identity && resource.forward.access_token);
    let config = load("", &[], &format!("{line} --path /tools")).unwrap();
    assert_eq!(config.resources[0].path, "/tools");
}

#[test]
fn flags_that_apply_to_nothing_are_refused() {
    let second = "[[resources]]\npath = \"/b\"\nbackend = \"http://127.0.0.1:1\"\n[upstreams.two]\nprovider = \"google\"\nclient_id = \"x\"\nclient_secret = \"0123456789abcdef\"\n";
    let text = SMALL.replace(
        "\n[access]",
        &format!("\nupstream = \"github\"\n{second}[access]"),
    );
    insta::assert_snapshot!(said(
        &text,
        &[],
        "--client-id x --backend http://127.0.0.1:2/"
    ));
}

#[test]
fn flags_change_the_only_upstream_and_resource_of_the_file() {
    let text = SMALL.replace("[upstreams.github]", "[upstreams.login]");
    let config = load(
        &text,
        &[],
        "--provider github --backend http://127.0.0.1:2/",
    )
    .unwrap();
    assert_eq!(config.upstreams.len(), 1);
    let backend = config.resources[0].backend.as_ref();
    assert_eq!(backend.unwrap().port(), Some(2));
    assert_eq!(config.resources[0].path, "/mcp");
}

#[test]
fn secrets_come_from_files_without_their_line_end() {
    let directory = Directory::new();
    directory.write("url", "redis://:hunter2@127.0.0.1:6379\r\n");
    directory.write("headers", "X-Api-Key: hunter3\n\nX-Other:  b \n");
    let text = SMALL.replace("\n[access]", "\nbackend_headers_file = \"DIR/headers\"\n[replay]\nstore = \"redis\"\nurl_file = \"DIR/url\"\n[access]");
    let text = text.replace("DIR", &directory.0.path().display().to_string());
    let config = load(&text, &[], "").unwrap();
    let config::StoreKind::Redis { url, .. } = &config.replay.store else {
        panic!("{:?}", config.replay)
    };
    assert_eq!(url.expose(), "redis://:hunter2@127.0.0.1:6379");
    let headers = &config.resources[0].backend_headers;
    assert_eq!(headers[0].1, "hunter3");
    assert_eq!(headers[1].1, "b");
    assert!(headers.iter().all(|(_, value)| value.is_sensitive()));
    assert_eq!(config.warnings, []);
}

#[test]
fn unfit_secret_files_are_refused() {
    let directory = Directory::new();
    directory.write("empty", "\n");
    directory.write("headers", "X-Api-Key hunter3\n");
    let text = SMALL.replace("client_secret = \"0123456789abcdef\"", "client_secret_file = \"DIR/absent\"")
        .replace("\n[access]", "\nbackend_headers_file = \"DIR/headers\"\n[replay]\nstore = \"redis\"\nurl_file = \"DIR/empty\"\n\
         [[clients.static]]\nclient_id = \"a\"\nclient_secret = \"0123456789abcdef\"\nclient_secret_file = \"DIR/empty\"\nredirect_uris = [\"https://a.example/\"]\n[access]");
    let text = text.replace("DIR", &directory.0.path().display().to_string());
    let path = directory.write("mcp-oauth.toml", &text);
    let problems = config::load(Some(&path), Vec::new(), &Flags::default()).unwrap_err();
    insta::assert_snapshot!(without(&problems, &directory));
}

#[test]
fn a_later_source_replaces_secret_and_twin_alike() {
    let directory = Directory::new();
    let secret = directory.write("secret", "fedcba9876543210");
    let secret = secret.display().to_string();
    let env = [(
        "MCP_OAUTH_UPSTREAMS_GITHUB_CLIENT_SECRET_FILE",
        secret.as_str(),
    )];
    load(SMALL, &env, "").unwrap();
    let text = SMALL.replace(
        "client_secret = \"0123456789abcdef\"",
        "client_secret_file = \"/nonexistent\"",
    );
    load(
        &text,
        &[(
            "MCP_OAUTH_UPSTREAMS_GITHUB_CLIENT_SECRET",
            "fedcba9876543210",
        )],
        "",
    )
    .unwrap();
    let both = [
        env[0],
        (
            "MCP_OAUTH_UPSTREAMS_GITHUB_CLIENT_SECRET",
            "fedcba9876543210",
        ),
    ];
    let said = said(SMALL, &both, "");
    assert!(
        said.contains("both `client_secret` and `client_secret_file` are set"),
        "{said}"
    );
}

#[test]
fn secrets_that_everybody_can_read_are_warned_about() {
    let directory = Directory::new();
    let secret = directory.write("url", "redis://127.0.0.1:6379");
    set_mode(&secret, 0o644);
    let text = SMALL.replace(
        "[access]",
        "[replay]\nstore = \"redis\"\nurl_file = \"DIR/url\"\n[access]",
    );
    let text = text.replace("DIR", &directory.0.path().display().to_string());
    let path = directory.write("mcp-oauth.toml", &text);
    set_mode(&path, 0o644);
    let config = config::load(Some(&path), Vec::new(), &Flags::default()).unwrap();
    let warnings: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    let warnings = warnings
        .join("\n")
        .replace(&format!("{}/", directory.0.path().display()), "");
    insta::assert_snapshot!(warnings);
}

#[test]
fn an_absent_file_is_refused_when_it_was_named() {
    let problems = config::load(
        Some(Path::new("/nonexistent.toml")),
        Vec::new(),
        &Flags::default(),
    );
    insta::assert_snapshot!(problems.unwrap_err(), @"/nonexistent.toml: cannot read it: no such file or directory");
}
