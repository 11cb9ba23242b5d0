//! The command line around the configuration.

use std::ffi::OsString;

use mcp_oauth::cli::{self, Exit, Terminal};
use mcp_oauth::config::Flags;

use super::{FULL, SMALL};

struct Ran {
    exit: Exit,
    out: String,
    err: String,
}

fn run_with(env: &[(&str, &str)], arguments: &[&str]) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut terminal = Terminal {
        input: &mut std::io::empty(),
        out: &mut out,
        err: &mut err,
        env: env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    };
    let arguments = std::iter::once("mcp-oauth").chain(arguments.iter().copied());
    let exit = cli::run(arguments.map(OsString::from), &mut terminal);
    Ran {
        exit,
        out: String::from_utf8(out).unwrap(),
        err: String::from_utf8(err).unwrap(),
    }
}

fn run(arguments: &[&str]) -> Ran {
    run_with(&[], arguments)
}

/// A file in a directory of its own, readable by its owner only.
fn file(text: &str) -> (tempfile::TempDir, String) {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mcp-oauth.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let path = path.display().to_string();
    (directory, path)
}

#[test]
fn help_says_what_each_command_does() {
    for path in cli::commands() {
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        let name = match path.as_slice() {
            [] => "help_itself".to_owned(),
            path => format!("help_{}", path.join("_")),
        };
        let path = path.as_slice();
        insta::assert_snapshot!(name, cli::help(path).unwrap());
    }
}

#[test]
fn no_secret_can_be_given_on_the_command_line() {
    let ran = run(&["serve", "--client-secret", "hunter2"]);
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.contains("--client-secret-file"), "{}", ran.err);
    assert!(!format!("{:?}", Flags::default()).contains("client_secret:"));
}

#[test]
fn check_says_that_there_is_nothing_to_say() {
    let (_directory, path) = file(SMALL);
    let ran = run(&["config", "check", &path]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    assert_eq!(ran.out, format!("{path}: no problems\n"));
}

#[test]
fn check_reports_problems_and_counts_them() {
    let (_directory, path) = file(
        &SMALL
            .replace("https://", "http://")
            .replace("[access]", "[acces]"),
    );
    let ran = run(&["config", "check", &path]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Usage, ""));
    insta::assert_snapshot!(ran.err.replace(&path, "mcp-oauth.toml"));
}

#[test]
fn check_passes_with_warnings() {
    let (_directory, path) = file(&SMALL.replace("allow_emails", "allow_all = true\nallow_emails"));
    let ran = run(&["config", "check", &path]);
    assert_eq!(ran.exit, Exit::Done);
    assert_eq!(ran.out, format!("{path}: one warning\n"));
    assert!(
        ran.err
            .starts_with(&format!("{path}:11: warning: allow_all")),
        "{}",
        ran.err
    );
}

#[test]
fn show_prints_what_counts_and_no_secret() {
    let (_directory, path) = file(FULL);
    let ran = run(&["config", "show", &path]);
    assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
    assert!(!ran.out.contains("hunter"), "a secret shows");
    insta::assert_snapshot!(ran.out);
    // What is shown can be read again.
    let shown: toml::Table = ran.out.parse().unwrap();
    let written: toml::Table = FULL.parse().unwrap();
    assert_eq!(
        shown.keys().collect::<Vec<_>>(),
        written.keys().collect::<Vec<_>>()
    );
}

#[test]
fn show_hides_headers_toward_the_provider() {
    let headers = "provider = \"github\"\ntoken_headers = { X-Key = \"hunter2\" }\nauthorize_params = { a = \"b\" }";
    let (_directory, path) = file(&SMALL.replace("provider = \"github\"", headers));
    let ran = run(&["config", "show", &path]);
    assert!(
        ran.out
            .contains("token_headers = { X-Key = \"[redacted]\" }"),
        "{}{}",
        ran.out,
        ran.err
    );
    assert!(
        ran.out.contains("authorize_params = { a = \"b\" }"),
        "{}",
        ran.out
    );
}

#[test]
fn show_names_origins() {
    let (_directory, path) = file(SMALL);
    let env = [
        ("MCP_OAUTH_KEYS", "{\"keys\":[\"hunter2\"]}"),
        ("MCP_OAUTH_CLIENTS_DCR", "false"),
        ("MCP_OAUTH_ACCESS_ALLOW_SUBJECTS", "github:1,github:2"),
        ("PORT", "9000"),
    ];
    let ran = run_with(&env, &["config", "show", &path, "--origin"]);
    assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
    assert!(!ran.out.contains("hunter"), "a secret shows");
    insta::assert_snapshot!(ran.out.replace(&path, "mcp-oauth.toml"));
}

#[test]
fn schema_is_printed_as_json() {
    let ran = run(&["config", "schema"]);
    assert_eq!(ran.exit, Exit::Done);
    let schema: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    insta::assert_snapshot!(ran.out);
}

#[test]
fn serve_with_a_wrong_configuration_is_a_usage_error() {
    let (_directory, path) = file("public_url = \"http://mcp.example.com\"");
    let ran = run(&["serve", "--config", &path]);
    assert_eq!(ran.exit, Exit::Usage);
    assert!(
        ran.err
            .ends_with("error: 4 problems in the configuration\n"),
        "{}",
        ran.err
    );
}
