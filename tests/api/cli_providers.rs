//! `mcp-oauth providers`, and what `serve` says to somebody without credentials.

use std::ffi::OsString;

use mcp_oauth::cli::{self, Exit, Terminal};
use mcp_oauth::upstream::presets;

struct Ran {
    exit: Exit,
    out: String,
    err: String,
}

fn run(arguments: &[&str]) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut terminal = Terminal {
        input: &mut std::io::empty(),
        out: &mut out,
        err: &mut err,
        env: Vec::new(),
    };
    let arguments = std::iter::once("mcp-oauth").chain(arguments.iter().copied());
    let exit = cli::run(arguments.map(OsString::from), &mut terminal);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran {
        exit,
        out: text(out),
        err: text(err),
    }
}

#[test]
fn list_names_every_preset_once() {
    let ran = run(&["providers", "list"]);
    assert_eq!(ran.exit, Exit::Done);
    for (name, preset) in presets::all() {
        let lines: Vec<_> = ran
            .out
            .lines()
            .filter(|line| line.split(' ').next() == Some(name))
            .collect();
        assert_eq!(lines.len(), 1, "{name}");
        assert!(lines[0].contains(&preset.display));
        assert_eq!(lines[0].contains("not tested"), !preset.tested, "{name}");
    }
}

#[test]
fn show_gives_the_exact_callback_and_marks_what_is_unchecked() {
    let ran = run(&[
        "providers",
        "show",
        "github",
        "--public-url",
        "https://mcp.example.com/",
    ]);
    assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
    insta::assert_snapshot!(ran.out);

    let ran = run(&[
        "providers",
        "show",
        "keycloak",
        "--public-url",
        "http://127.0.0.1:8080",
        "--as",
        "login",
    ]);
    assert!(ran.out.contains("http://127.0.0.1:8080/callback/login"));
    assert!(ran.out.contains("set `realm`"));
    for (name, preset) in presets::all() {
        let ran = run(&["providers", "show", name]);
        assert_eq!(ran.exit, Exit::Done);
        assert!(ran.out.contains(&format!("/callback/{name}")));
        assert_eq!(
            ran.out.contains("(?)"),
            !preset.unverified.is_empty(),
            "{name}"
        );
        assert!(preset.notes.iter().all(|note| ran.out.contains(note)));
    }
}

#[test]
fn unknown_preset_is_met_with_a_guess() {
    let ran = run(&["providers", "show", "gihub"]);
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.contains("did you mean `github`?"), "{}", ran.err);
}

#[test]
fn serve_without_credentials_tells_how_to_get_them() {
    let ran = run(&[
        "serve",
        "--public-url",
        "http://localhost:8080",
        "--provider",
        "github",
        "--backend",
        "http://127.0.0.1:3000/mcp",
        "--allow-all",
    ]);
    assert_eq!(ran.exit, Exit::Usage);
    insta::assert_snapshot!(ran.err);

    let ran = run(&[
        "serve",
        "--public-url",
        "http://localhost:8080",
        "--provider",
        "spotify",
        "--backend",
        "http://127.0.0.1:3000/mcp",
    ]);
    assert!(
        ran.err.contains("use 127.0.0.1 instead of localhost"),
        "{}",
        ran.err
    );
    let ran = run(&[
        "serve",
        "--public-url",
        "http://127.0.0.1:8080",
        "--provider",
        "slack",
        "--backend",
        "http://127.0.0.1:3000/mcp",
    ]);
    assert!(ran.err.contains("this provider wants https"), "{}", ran.err);
    let ran = run(&[
        "serve",
        "--public-url",
        "https://mcp.example.com",
        "--provider",
        "keycloak",
        "--backend",
        "http://127.0.0.1:3000/mcp",
    ]);
    assert!(
        ran.err.contains("MCP_OAUTH_UPSTREAMS_KEYCLOAK_REALM=…"),
        "{}",
        ran.err
    );
}
