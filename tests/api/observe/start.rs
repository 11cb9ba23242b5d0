//! A server starts whole or not at all, and stops when it is told: exit codes, what is said, and
//! that nothing listens.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::Output;

use mcp_oauth::cli::{self, Exit, Terminal};
use proptest::prelude::*;
use tempfile::TempDir;

use super::super::support::upstream::soon;
use super::deployment::{Deployment, free_port, program, write_private};

fn configuration(address: SocketAddr) -> String {
    format!(
        "public_url = \"http://{address}\"\n\
         listen = \"{address}\"\n\
         [keys]\n\
         directory = \"keys\"\n\
         [upstreams.idp]\n\
         provider = \"oidc\"\n\
         issuer = \"http://127.0.0.1:9\"\n\
         client_id = \"us\"\n\
         client_secret_file = \"secret\"\n\
         [[resources]]\n\
         path = \"/mcp\"\n\
         backend = \"http://127.0.0.1:9/mcp\"\n\
         [access]\n\
         allow_all = true\n"
    )
}

/// A folder with a configuration that is right, and an address that it names.
fn home() -> (TempDir, SocketAddr) {
    let home = tempfile::tempdir().unwrap();
    let address = free_port();
    write_private(&home.path().join("mcp-oauth.toml"), &configuration(address));
    write_private(&home.path().join("secret"), "a-secret-of-a-decent-length");
    (home, address)
}

/// Runs `serve` until it ends by itself.
async fn refused(home: &TempDir, env: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = program(home);
    command
        .arg("serve")
        .args(arguments)
        .envs(env.iter().copied());
    soon(command.output()).await.unwrap()
}

/// It said what is wrong, and nothing of how the program works inside.
fn assert_refused(output: &Output, address: SocketAddr, what: &str, said: &[&str]) {
    let err = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{what}: {err}");
    assert!(err.contains("error: "), "{what}: {err}");
    for text in said {
        assert!(err.contains(text), "{what}: no `{text}` in: {err}");
    }
    for inside in ["panicked", "backtrace", "src/", "thread '"] {
        assert!(!err.contains(inside), "{what}: {err}");
    }
    assert!(TcpStream::connect(address).is_err(), "{what}: it listens");
}

#[tokio::test]
async fn server_that_cannot_start_whole_ends_with_2_and_says_why() {
    let long = "x".repeat(300);
    let changes: &[(&str, &str, &str, &[&str])] = &[
        ("no file at all", "", "", &["public_url"]),
        ("no TOML", "[keys]", "[keys", &["mcp-oauth.toml:3"]),
        (
            "several problems",
            "client_id = \"us\"",
            "cleint_id = \"us\"\nscopes = 7",
            &[
                "cleint_id",
                "client_id",
                "scopes",
                "problems in the configuration",
            ],
        ),
        ("no secret file", "\"secret\"", "\"nowhere\"", &["nowhere"]),
        (
            "a folder as secret",
            "\"secret\"",
            "\".\"",
            &["mcp-oauth.toml:9", "is a directory"],
        ),
        ("no access rule", "allow_all = true", "", &[]),
        (
            "an address that is none",
            "listen = \"127",
            "listen = \"327",
            &["listen"],
        ),
        (
            "a public URL that is none",
            "public_url = \"http:",
            "public_url = \"gopher:",
            &["public_url"],
        ),
        ("a long word", "allow_all", &long, &[&long]),
        ("keys in a file", "\"keys\"", "\"secret\"", &["secret"]),
    ];
    for (what, from, to, said) in changes {
        let (home, address) = home();
        let file = home.path().join("mcp-oauth.toml");
        let text = configuration(address);
        assert!(text.contains(from), "{what}");
        let text = if from.is_empty() {
            String::new()
        } else {
            text.replacen(from, to, 1)
        };
        // A loopback server needs no access rule.
        if *what == "no access rule" {
            let public = text.replacen(&format!("http://{address}"), "https://mcp.example.com", 1);
            write_private(&file, &public);
        } else {
            write_private(&file, &text);
        }
        let output = refused(&home, &[], &[]).await;
        assert_refused(&output, address, what, said);
    }
}

// N16
#[tokio::test]
async fn missing_and_unfit_files_are_refused_as_configuration() {
    let (home, address) = home();
    let output = refused(&home, &[], &["--config", "nowhere.toml"]).await;
    assert_refused(&output, address, "no such file", &["nowhere.toml"]);

    let file = home.path().join("mcp-oauth.toml");
    let public =
        configuration(address).replacen(&format!("http://{address}"), "https://mcp.example.com", 1);
    write_private(&file, &public);
    let output = refused(&home, &[], &[]).await;
    assert_refused(&output, address, "no keys", &["mcp-oauth keys generate"]);

    std::fs::create_dir(home.path().join("keys")).unwrap();
    write_private(
        &home.path().join("keys/bad.json"),
        "{\"kty\":\"oct\",\"k\":\"short\"}",
    );
    let output = refused(&home, &[], &[]).await;
    assert_refused(&output, address, "a key that is none", &["bad.json"]);
    let tls = "[tls]\ncertificate = \"bad.crt\"\nkey = \"bad.key\"\n";
    write_private(&home.path().join("bad.crt"), "no certificate");
    write_private(&home.path().join("bad.key"), "no key");
    write_private(&file, &format!("{public}{tls}"));
    let output = refused(&home, &[], &[]).await;
    let both = [
        "mcp-oauth.toml:4",
        "bad.json",
        "mcp-oauth.toml:16",
        "bad.crt",
    ];
    assert_refused(&output, address, "neither key nor certificate", &both);
    std::fs::remove_dir_all(home.path().join("keys")).unwrap();

    let tls = "[tls]\ncertificate = \"no.crt\"\nkey = \"no.key\"\n";
    write_private(&file, &format!("{}{tls}", configuration(address)));
    let output = refused(&home, &[], &[]).await;
    assert_refused(&output, address, "no certificate", &["no.crt"]);

    std::fs::write(&file, [0xff, 0xfe, b'[']).unwrap();
    let output = refused(&home, &[], &[]).await;
    assert_refused(&output, address, "no text", &["mcp-oauth.toml"]);
}

#[tokio::test]
async fn environment_that_is_wrong_is_refused() {
    for (name, value, said) in [
        ("MCP_OAUTH_LISTNE", "127.0.0.1:1", "MCP_OAUTH_LISTEN"),
        ("MCP_OAUTH_LISTEN", "nowhere", "MCP_OAUTH_LISTEN"),
        (
            "MCP_OAUTH_TOKENS_CODE_TTL",
            "soon",
            "MCP_OAUTH_TOKENS_CODE_TTL",
        ),
        ("MCP_OAUTH_KEYS", "{}", "MCP_OAUTH_KEYS"),
        ("MCP_OAUTH_LOG_LEVEL", "=", ""),
        ("MCP_OAUTH_CONFIG", "elsewhere.toml", "elsewhere.toml"),
        ("PORT", "ninety", "PORT"),
    ] {
        let (home, address) = home();
        let output = refused(&home, &[(name, value)], &[]).await;
        assert_refused(&output, address, name, &[said]);
    }
    let (home, address) = home();
    let output = refused(&home, &[], &["--listne", "x"]).await;
    assert_refused(&output, address, "a flag that is none", &["--listen"]);
}

/// What the command says about a file.
fn checked(text: &[u8]) -> (Exit, String) {
    let (home, _) = home();
    let file = home.path().join("mcp-oauth.toml");
    std::fs::File::create(&file)
        .unwrap()
        .write_all(text)
        .unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut terminal = Terminal {
        input: &mut std::io::empty(),
        out: &mut out,
        err: &mut err,
        env: Vec::new(),
    };
    let file = file.display().to_string();
    let arguments = ["mcp-oauth", "config", "check", &file].map(Into::into);
    let exit = cli::run(arguments, &mut terminal);
    (exit, String::from_utf8(err).unwrap())
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let address: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    let text = configuration(address).replace(
        "client_secret_file = \"secret\"",
        "client_secret = \"0123456789abcdef\"",
    );
    let piece = prop_oneof![
        Just("\"".to_owned()),
        Just("[".to_owned()),
        Just(" = ".to_owned()),
        Just("[[resources]]\n".to_owned()),
        Just("-1".to_owned()),
        Just("\"\"".to_owned()),
        "[a-z_.]{1,12} = [0-9\"a-z\\[\\]{}]{1,12}\n",
        "\\PC{1,8}",
    ];
    let edit = (any::<prop::sample::Index>(), 0..40_usize, piece);
    prop::collection::vec(edit, 1..4).prop_map(move |edits| {
        let mut bytes = text.clone().into_bytes();
        for (at, cut, piece) in edits {
            let start = at.index(bytes.len());
            let end = (start + cut).min(bytes.len());
            bytes.splice(start..end, piece.into_bytes());
            bytes.push(b'\n');
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    // Whatever the file holds, it is taken or every problem is told: never a panic, never silence.
    #[test]
    fn file_of_any_content_is_taken_or_refused_with_reasons(text in mutated()) {
        let (exit, err) = checked(&text);
        prop_assert_ne!(exit, Exit::Failed, "{}", err);
        if exit == Exit::Usage {
            prop_assert!(err.contains("in the configuration"), "{}", err);
        }
    }
}

// Asked once, the server lets a stream run on; asked twice, it ends at once.
#[tokio::test]
async fn second_signal_ends_the_server_at_once() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let mut at = Deployment::start("json").await;
    // A request that is not finished keeps the server draining.
    let mut open = tokio::net::TcpStream::connect(at.address).await.unwrap();
    let head = format!(
        "POST /register HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
         content-length: 10\r\n\r\n",
        at.address
    );
    open.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(at.admin("/readyz").await.status, 200);
    at.signal("TERM").await;
    soon(async {
        while at.admin("/readyz").await.status == 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(at.admin("/livez").await.status, 200, "it ended too soon");
    at.signal("INT").await;
    assert_eq!(at.ended().await.code(), Some(1));
    let mut rest = Vec::new();
    // The peer is gone, which is an end or an error.
    let _ = open.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "{rest:?}");
}
