//! What a person does in their app so that it registers again, app by app.
//!
//! An app whose `client_id` does not open has no name that could be believed; where it wants to be
//! answered tells which one it is. That is a guess from what a stranger wrote, so it only chooses
//! among texts of ours, and nothing of it is shown or followed.

use url::Url;

use crate::net::is_loopback;

/// The cure of one app.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Remedy {
    /// The app.
    pub(super) app: &'static str,
    /// What to do in it.
    pub(super) fix: &'static str,
}

/// Where an app lets itself be answered.
enum Place {
    /// At an https host, or at the one that publishes its document.
    Host(&'static str),
    /// At a path on this computer.
    Path(&'static str),
    /// Below a path on this computer.
    Below(&'static str),
    /// At a port and path on this computer.
    Port(u16, &'static str),
    /// At an https page of any host.
    Page(&'static str),
    /// Under a scheme of its own.
    Scheme(&'static str),
}

const fn remedy(app: &'static str, fix: &'static str) -> Remedy {
    Remedy { app, fix }
}

const CLAUDE: Remedy = remedy(
    "Claude",
    "open Settings → Connectors, remove this connector in its “…” menu, and add it again.",
);
const CLAUDE_CODE: Remedy = remedy(
    "Claude Code",
    "type /mcp, choose this server, “Clear authentication”, then “Authenticate”.",
);
const CURSOR: Remedy = remedy(
    "Cursor",
    "run “Cursor: Clear All MCP Tokens” from the command palette, or remove this server in the MCP \
     settings; then connect it again.",
);
const VS_CODE: Remedy = remedy(
    "VS Code",
    "run “Authentication: Remove Dynamic Authentication Providers” from the command palette, choose \
     this server, then restart it with “MCP: List Servers”.",
);
const CHATGPT: Remedy = remedy(
    "ChatGPT",
    "open Settings → Apps & Connectors, delete this connector, and create it again.",
);
const CODEX: Remedy = remedy(
    "Codex CLI",
    "run “codex mcp logout” with this server’s name, then “codex mcp login” with the same name.",
);
const GEMINI: Remedy = remedy(
    "Gemini CLI",
    "delete ~/.gemini/mcp-oauth-tokens.json, then type /mcp auth with this server’s name.",
);
const GOOSE: Remedy = remedy(
    "Goose",
    "remove this extension and add it again, so that goose forgets its old registration.",
);
const OPENCODE: Remedy = remedy(
    "opencode",
    "run “opencode mcp logout” with this server’s name, then “opencode mcp auth” with the same name.",
);
const MCP_REMOTE: Remedy = remedy(
    "mcp-remote",
    "quit the app that starts it, delete the folder ~/.mcp-auth, and start the app again.",
);
const INSPECTOR: Remedy = remedy(
    "MCP Inspector",
    "press “Clear OAuth State” in the authentication settings, then connect again.",
);
const SMITHERY: Remedy = remedy("Smithery", "remove this connection and create it again.");
const COPILOT_STUDIO: Remedy = remedy(
    "Copilot Studio or Power Platform",
    "delete the connection and the tool that uses it, then add this server again.",
);
const GROK: Remedy = remedy(
    "Grok",
    "open Settings → Connectors, remove this connector, and add it again.",
);
const N8N: Remedy = remedy(
    "n8n",
    "open the credential of this server, delete it, and create a new one.",
);
const POSTMAN: Remedy = remedy(
    "Postman",
    "open Authorization, clear the client ID and the cookies, and ask for a new token.",
);

/// From the most telling place to the least.
const PLACES: &[(Place, &Remedy)] = &[
    (Place::Scheme("cursor"), &CURSOR),
    (Place::Scheme("vscode"), &VS_CODE),
    (Place::Scheme("vscode-insiders"), &VS_CODE),
    (Place::Host("www.cursor.com"), &CURSOR),
    (Place::Host("cursor.com"), &CURSOR),
    (Place::Host("claude.ai"), &CLAUDE),
    (Place::Host("claude.com"), &CLAUDE),
    (Place::Host("vscode.dev"), &VS_CODE),
    (Place::Host("insiders.vscode.dev"), &VS_CODE),
    (Place::Host("chatgpt.com"), &CHATGPT),
    (Place::Host("connect.smithery.ai"), &SMITHERY),
    (Place::Host("server.smithery.ai"), &SMITHERY),
    (
        Place::Host("global.consent.azure-apim.net"),
        &COPILOT_STUDIO,
    ),
    (Place::Host("grok.com"), &GROK),
    (Place::Host("console.x.ai"), &GROK),
    (Place::Host("oauth.n8n.cloud"), &N8N),
    (Place::Host("oauth.pstmn.io"), &POSTMAN),
    (Place::Host("goose-docs.ai"), &GOOSE),
    (Place::Host("opencode.ai"), &OPENCODE),
    (Place::Page("/rest/oauth2-credential/callback"), &N8N),
    (Place::Port(6274, "/oauth/callback"), &INSPECTOR),
    (Place::Port(6274, "/oauth/callback/debug"), &INSPECTOR),
    (Place::Port(7777, "/oauth/callback"), &GEMINI),
    (Place::Port(8787, "/callback"), &CURSOR),
    (Place::Path("/mcp/oauth/callback"), &OPENCODE),
    (Place::Path("/oauth_callback"), &GOOSE),
    (Place::Path("/oauth/callback"), &MCP_REMOTE),
    (Place::Below("/callback/"), &CODEX),
    (Place::Path("/callback"), &CLAUDE_CODE),
    (Place::Path("/"), &VS_CODE),
];

/// The cure for the app that wants to be answered at `redirect_uri`, or that calls itself
/// `client_id`.
pub(super) fn of(redirect_uri: Option<&str>, client_id: Option<&str>) -> Option<&'static Remedy> {
    let found = |text: Option<&str>| {
        let url = Url::parse(text?).ok()?;
        let (_, remedy) = PLACES.iter().find(|(place, _)| place.is(&url))?;
        Some(*remedy)
    };
    found(redirect_uri).or_else(|| found(client_id))
}

impl Place {
    fn is(&self, url: &Url) -> bool {
        let here = || on_this_computer(url);
        match *self {
            Self::Host(host) => url.scheme() == "https" && url.host_str() == Some(host),
            Self::Path(path) => here() && url.path() == path,
            Self::Below(path) => here() && url.path().starts_with(path),
            Self::Port(port, path) => here() && url.port() == Some(port) && url.path() == path,
            Self::Page(path) => url.scheme() == "https" && url.path() == path,
            Self::Scheme(scheme) => url.scheme() == scheme,
        }
    }
}

fn on_this_computer(url: &Url) -> bool {
    url.scheme() == "http" && is_loopback(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_is_known_by_where_it_wants_to_be_answered() {
        for (redirect, app) in [
            (
                "cursor://anysphere.cursor-mcp/oauth/callback",
                Some(&CURSOR),
            ),
            ("http://localhost:51234/callback", Some(&CLAUDE_CODE)),
            ("http://127.0.0.1:1455/callback/p3yJ0sQx7LmA", Some(&CODEX)),
            ("http://127.0.0.1:33418/", Some(&VS_CODE)),
            (
                "https://automation.example.org/rest/oauth2-credential/callback",
                Some(&N8N),
            ),
            ("https://claude.ai.evil.example/api/mcp/auth_callback", None),
            ("http://claude.ai/api/mcp/auth_callback", None),
            ("https://localhost/callback", None),
            ("not a URL", None),
        ] {
            assert_eq!(of(Some(redirect), None), app, "{redirect}");
        }
        let document = Some("https://claude.ai/oauth/mcp-oauth-client-metadata");
        assert_eq!(of(None, document), Some(&CLAUDE));
    }
}
