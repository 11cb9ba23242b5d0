//! How the demo introduces itself: where it is, and how to add it to a client.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::Paint;

/// What the client calls the server.
const NAME: &str = "demo";

/// Writes the lines.
///
/// # Errors
///
/// What could not be written to `out`.
pub(super) fn write(
    mcp_url: &str,
    provider: &str,
    out: &mut dyn Write,
    paint: Paint,
) -> io::Result<()> {
    writeln!(
        out,
        "{}  Ctrl-C stops it.\n",
        paint.bold("The demo is running.")
    )?;
    row(out, paint, "MCP server", &paint.bold(mcp_url))?;
    row(
        out,
        paint,
        "Tools",
        "whoami, echo, count (slow, streams its progress)",
    )?;
    row(
        out,
        paint,
        "Sign in as",
        &format!("Alice or Bob, without password, at {provider}"),
    )?;

    row(
        out,
        paint,
        "Root keys",
        "keys/ in this folder: clients stay registered over restarts",
    )?;

    writeln!(
        out,
        "\nAdd it to a client. A page will ask whether you allow that, then who you are.\n"
    )?;
    row(out, paint, "Claude Code", &claude_code(mcp_url))?;
    row(out, paint, "", "then, in a session: /mcp")?;
    row(out, paint, "VS Code", &vs_code(mcp_url))?;
    row(
        out,
        paint,
        "",
        &format!("or .vscode/mcp.json: {}", vs_code_file(mcp_url)),
    )?;
    row(out, paint, "Cursor", &cursor(mcp_url))?;
    row(
        out,
        paint,
        "",
        &format!("or .cursor/mcp.json: {}", cursor_file(mcp_url)),
    )?;
    row(out, paint, "Inspector", &inspector(mcp_url))?;

    writeln!(
        out,
        "\nThe whole flow without a browser: mcp-oauth demo --selfcheck"
    )
}

fn row(out: &mut dyn Write, paint: Paint, label: &str, text: &str) -> io::Result<()> {
    writeln!(out, "  {}  {text}", paint.soft(&format!("{label:<11}")))
}

fn claude_code(url: &str) -> String {
    format!("claude mcp add --transport http {NAME} {url}")
}

fn vs_code(url: &str) -> String {
    // Written out, so that the name comes first.
    format!(r#"code --add-mcp '{{"name":"{NAME}","type":"http","url":"{url}"}}'"#)
}

fn vs_code_file(url: &str) -> Value {
    json!({ "servers": { NAME: { "type": "http", "url": url } } })
}

fn cursor(url: &str) -> String {
    let config = STANDARD.encode(json!({ "url": url }).to_string());
    let config = utf8_percent_encode(&config, NON_ALPHANUMERIC);
    format!("cursor://anysphere.cursor-deeplink/mcp/install?name={NAME}&config={config}")
}

fn cursor_file(url: &str) -> Value {
    json!({ "mcpServers": { NAME: { "url": url } } })
}

fn inspector(url: &str) -> String {
    format!("npx @modelcontextprotocol/inspector --transport http --server-url {url}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_can_be_pasted() {
        let mut out = Vec::new();
        let url = "http://127.0.0.1:8080/mcp";
        write(url, "http://127.0.0.1:8081", &mut out, Paint::default()).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }

    #[test]
    fn vs_code_gets_json() {
        let line = vs_code("http://127.0.0.1:8080/mcp");
        let argument = line.split('\'').nth(1).unwrap();
        let argument: Value = serde_json::from_str(argument).unwrap();
        assert_eq!(argument["url"], "http://127.0.0.1:8080/mcp");
    }
}
