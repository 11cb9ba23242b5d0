//! `mcp-oauth providers list|show NAME`: what a preset knows, where to register an app, and the exact
//! callback to register.
//!
//! A fact that nobody has checked says so. Nothing is asked over the network.

use std::fmt::Write as _;
use std::io::{self, Write};

use clap::{Args, Subcommand};
use url::Url;

use super::{Failure, Terminal};
use crate::net::is_loopback;
use crate::upstream::presets::{self, Kind, Loopback, Need, Preset, TokenRotation};

/// Look up the presets of providers.
#[derive(Args, Debug)]
pub struct ProvidersArgs {
    #[command(subcommand)]
    command: ProvidersCommand,
}

#[derive(Debug, Subcommand)]
enum ProvidersCommand {
    /// List every preset
    List,
    /// Show what a preset knows, where to register an app, and with which callback
    Show(ShowArgs),
}

#[derive(Args, Debug)]
struct ShowArgs {
    /// Name of the preset
    name: String,
    /// Origin that clients reach this server at, for the callback
    #[arg(
        long,
        value_name = "URL",
        env = "MCP_OAUTH_PUBLIC_URL",
        hide_env_values = true
    )]
    public_url: Option<String>,
    /// Name of the upstream in the configuration, for the callback [default: the preset's]
    #[arg(long = "as", value_name = "UPSTREAM")]
    upstream: Option<String>,
}

/// Runs `providers`.
///
/// # Errors
///
/// For a name that is no preset's.
pub fn run(args: &ProvidersArgs, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    match &args.command {
        ProvidersCommand::List => list(terminal.out)?,
        ProvidersCommand::Show(args) => {
            let preset = find(&args.name)?;
            let callback = callback(
                args.public_url.as_deref(),
                args.upstream.as_deref().unwrap_or(&args.name),
            );
            terminal
                .out
                .write_all(facts(&args.name, preset, &callback).as_bytes())?;
        }
    }
    Ok(())
}

fn find(name: &str) -> Result<&'static Preset, Failure> {
    presets::find(name).ok_or_else(|| {
        let hint = match presets::nearest(name) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "`mcp-oauth providers list` lists them; `oidc` and `oauth2` fit every other"
                .to_owned(),
        };
        Failure::Usage(format!("there is no preset `{name}`\n  hint: {hint}"))
    })
}

fn list(out: &mut dyn Write) -> io::Result<()> {
    let width = presets::all().map(|(name, _)| name.len()).max();
    let width = width.unwrap_or_default();
    for (name, preset) in presets::all() {
        let tested = if preset.tested { "" } else { ", not tested" };
        let protocol = protocol(preset.kind);
        writeln!(
            out,
            "{name:width$}  {} ({protocol}{tested})",
            preset.display
        )?;
    }
    writeln!(
        out,
        "\n\"Tested\" is by answers of the provider's shape, not at the live service. \
         `mcp-oauth providers show NAME` tells more."
    )
}

const fn protocol(kind: Kind) -> &'static str {
    match kind {
        Kind::Oidc => "OpenID Connect",
        Kind::OAuth2 => "OAuth 2.0",
    }
}

/// The callback to register.
fn callback(public_url: Option<&str>, upstream: &str) -> String {
    let origin = public_url.map_or("https://YOUR-PUBLIC-URL", |url| url.trim_end_matches('/'));
    format!("{origin}/callback/{upstream}")
}

#[expect(clippy::too_many_lines, reason = "a line for each fact")]
fn facts(name: &str, preset: &Preset, callback: &str) -> String {
    let settings = &preset.settings;
    let mut page = Page::new(preset);
    let mut title = format!("{} (`{name}`)\n\n", preset.display);
    page.line("protocol", "", protocol(preset.kind));
    page.line(
        "register at",
        "register_at",
        preset
            .register_at
            .as_deref()
            .unwrap_or("the provider's own pages"),
    );
    page.line("callback", "", callback);
    page.line(
        "http on this computer",
        "http_loopback",
        loopback(preset.http_loopback),
    );
    let secret = match preset.secret {
        Need::Required => "required",
        Need::Optional => "optional: public clients work too",
    };
    page.line("client secret", "", secret);
    for (name, variable) in &preset.variables {
        let default = variable.default.as_ref();
        let default = default.map_or(String::new(), |it| format!(" [default: {it}]"));
        page.line(
            &format!("set `{name}`"),
            "",
            &format!("{}{default}", variable.about),
        );
    }
    let scopes = settings.scopes.as_deref().unwrap_or_default().join(" ");
    page.line(
        "scopes",
        "scopes",
        if scopes.is_empty() { "none" } else { &scopes },
    );
    for (key, url) in [
        ("issuer", &settings.issuer),
        ("authorize_url", &settings.authorize_url),
        ("token_url", &settings.token_url),
        ("refresh_url", &settings.refresh_url),
        ("userinfo_url", &settings.userinfo_url),
        ("email_url", &settings.email_url),
        ("introspection_url", &settings.introspection_url),
        ("revocation_url", &settings.revocation_url),
    ] {
        if let Some(url) = url {
            page.line(key, key, url);
        }
    }
    page.line(
        "subject",
        "subject",
        settings.subject.as_deref().unwrap_or("set `subject`"),
    );
    page.line("access tokens live", "at_ttl_s", &life(preset.at_ttl_s));
    page.line("refresh tokens live", "rt_ttl_s", &life(preset.rt_ttl_s));
    page.line(
        "a refresh gives another",
        "rotation",
        rotation(preset.rotation),
    );
    page.line(
        "codes live",
        "code_ttl_s",
        &settings.code_ttl_s.map_or_else(
            || "unknown; taken for 60 s".to_owned(),
            |it| format!("{it} s"),
        ),
    );
    let tested = if preset.tested {
        "with answers of its shape, not at the live service"
    } else {
        "no"
    };
    page.line("tested", "", tested);
    title.push_str(&page.text);
    title.push_str("\nNotes\n");
    for note in &preset.notes {
        let _ = writeln!(title, "- {note}");
    }
    if page.has_unverified {
        title.push_str("\n(?) nobody has checked this value: look before you rely on it.\n");
    }
    let _ = writeln!(title, "Known from: {}.", preset.sources.join("; "));
    title
}

/// Lines of names and values.
struct Page<'a> {
    preset: &'a Preset,
    text: String,
    has_unverified: bool,
}

impl<'a> Page<'a> {
    const fn new(preset: &'a Preset) -> Self {
        Self {
            preset,
            text: String::new(),
            has_unverified: false,
        }
    }

    /// Adds a line; `key` is the fact's name, for its mark.
    fn line(&mut self, name: &str, key: &str, value: &str) {
        let mark = if self.preset.is_verified(key) {
            ""
        } else {
            self.has_unverified = true;
            " (?)"
        };
        let _ = writeln!(self.text, "{name:24} {value}{mark}");
    }
}

const fn loopback(loopback: Loopback) -> &'static str {
    match loopback {
        Loopback::Yes => "accepted as a callback",
        Loopback::IpOnly => "accepted as a callback by address (127.0.0.1), not as localhost",
        Loopback::No => "not accepted as a callback: use https",
        Loopback::Unknown => "unknown whether it is accepted as a callback",
    }
}

const fn rotation(rotation: TokenRotation) -> &'static str {
    match rotation {
        TokenRotation::Always => "always",
        TokenRotation::Never => "never",
        TokenRotation::Optional => "depending on the app",
        TokenRotation::Unknown => "unknown",
    }
}

fn life(seconds: i64) -> String {
    match seconds {
        0 => "without a fixed end".to_owned(),
        ..0 => "configurable, or unknown".to_owned(),
        it if it % 86_400 == 0 => format!("{} d", it / 86_400),
        it if it % 3_600 == 0 => format!("{} h", it / 3_600),
        it => format!("{it} s"),
    }
}

/// What to do to sign in with a provider, for somebody who has no credentials there yet.
pub fn recipe(provider: &str, public_url: Option<&str>) -> Option<String> {
    let preset = presets::find(provider)?;
    let callback = callback(public_url, provider);
    let mut text = format!("To sign in with {}:\n", preset.display);
    match &preset.register_at {
        Some(at) => {
            let _ = writeln!(text, "  1. register an app at {at}");
        }
        None => text.push_str("  1. register an app at your provider\n"),
    }
    let _ = writeln!(text, "     with exactly this callback: {callback}");
    if let Some(warning) = callback_warning(preset, &callback) {
        let _ = writeln!(text, "     ({warning})");
    }
    let mut given = "--client-id ID".to_owned();
    if preset.secret == Need::Required {
        let file = format!("{provider}-secret");
        let _ = writeln!(
            text,
            "  2. put its client secret into a file: (umask 077; cat > {file})"
        );
        let _ = write!(given, " --client-secret-file {file}");
    } else {
        text.push_str("  2. if it has a client secret, put it into a file and add --client-secret-file FILE\n");
    }
    let _ = writeln!(text, "  3. start again with --provider {provider} {given}");
    for (name, variable) in preset
        .variables
        .iter()
        .filter(|(_, it)| it.default.is_none())
    {
        let variable_name = format!("MCP_OAUTH_UPSTREAMS_{provider}_{name}").to_uppercase();
        let _ = writeln!(text, "     and {variable_name}=…, {}", variable.about);
    }
    let _ = writeln!(text, "More: mcp-oauth providers show {provider}");
    Some(text)
}

/// What to know about a plain-http callback.
fn callback_warning(preset: &Preset, callback: &str) -> Option<&'static str> {
    let url = Url::parse(callback).ok()?;
    if url.scheme() != "http" || !is_loopback(&url) {
        return None;
    }
    match preset.http_loopback {
        Loopback::No => Some("it is not accepted there: this provider wants https"),
        Loopback::IpOnly if url.domain().is_some() => {
            Some("it is not accepted there: use 127.0.0.1 instead of localhost")
        }
        Loopback::Unknown => Some("it is not known whether it is accepted there"),
        _ => None,
    }
}
