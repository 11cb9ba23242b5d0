//! The small sections, each a function from what was written to what is meant.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;

use super::problem::Report;
use super::quantity::{Lasting, duration};
use super::raw::{
    RawAdmin, RawConsent, RawKeys, RawLimits, RawLog, RawScope, RawShutdown, RawTls, RawTokens,
};
use super::tree::KeyPath;
use super::{
    KeySource, Limits, Log, Operator, PublicUrl, Resource, ScopeWords, Shutdown, Tls, Tokens,
};
use crate::oauth::names::Secret;

/// Least and most of `refresh_grace`.
pub(super) const GRACE: (&str, &str) = ("0s", "1h");

/// Refuses a duration outside of its bounds.
pub(super) fn within(
    at: &KeyPath,
    value: Lasting,
    (least, most): (&str, &str),
    report: &mut Report<'_>,
) {
    let is_less = duration(least).is_some_and(|least| value.0 < least);
    let is_more = duration(most).is_some_and(|most| value.0 > most);
    if (is_less || is_more) && !report.is_faulty(at) {
        let key = at.last_key().unwrap_or_default();
        let hint = format!("from \"{least}\" to \"{most}\"");
        report.error(at, format!("`{key}` is out of bounds"), &hint);
    }
}

/// Refuses text that a page or a log could not show.
pub(super) fn words(text: Option<&str>, at: &KeyPath, report: &mut Report<'_>) {
    if let Some(text) = text
        && (text.trim().is_empty() || text.len() > 200 || text.chars().any(char::is_control))
    {
        let key = at.last_key().unwrap_or_default();
        let message = format!("`{key}` is not a line of text");
        report.error(at, message, "up to 200 bytes, without control characters");
    }
}

/// Reads an address to listen on.
pub(super) fn listen(key: &str, text: &str, report: &mut Report<'_>) -> Option<SocketAddr> {
    let address = text.parse();
    if address.is_err() {
        let hint = match text.rsplit_once(':') {
            Some(("", port)) => format!("every interface: \"0.0.0.0:{port}\""),
            Some(("localhost", port)) => format!("write \"127.0.0.1:{port}\""),
            _ => "an IP address and a port: \"127.0.0.1:8080\", \"[::1]:8080\"".to_owned(),
        };
        let message = format!("`{text}` is not an address to listen on");
        report.error(&KeyPath::of(key), message, &hint);
    }
    address.ok()
}

/// Reads `[admin]`.
pub(super) fn admin_listen(
    raw: &RawAdmin,
    main: Option<SocketAddr>,
    report: &mut Report<'_>,
) -> Option<SocketAddr> {
    let address = listen("admin.listen", raw.listen.as_deref()?, report)?;
    // Port 0 is another port each time.
    if main == Some(address) && address.port() != 0 {
        let message = format!("{address} is where the server itself listens");
        report.error(&KeyPath::of("admin.listen"), message, "choose another port");
    }
    Some(address)
}

/// Reads `[keys]`. On this computer a first key is made; a public server must be given one.
pub(super) fn keys(raw: RawKeys, inline: Option<Secret>, public_url: &PublicUrl) -> KeySource {
    match inline {
        Some(keys) => KeySource::Inline(keys),
        None => KeySource::Directory {
            path: raw.directory,
            create: public_url.is_loopback,
        },
    }
}

/// Reads `[tokens]`.
pub(super) fn tokens(raw: &RawTokens, report: &mut Report<'_>) -> Tokens {
    let at = KeyPath::of("tokens");
    // OAuth 2.1 §4.1.2: a code lives 10 minutes at most.
    within(&at.key("code_ttl"), raw.code_ttl, ("5s", "10m"), report);
    within(
        &at.key("access_ttl"),
        raw.access_ttl,
        ("30s", "24h"),
        report,
    );
    within(
        &at.key("refresh_idle_ttl"),
        raw.refresh_idle_ttl,
        ("5m", "400d"),
        report,
    );
    within(
        &at.key("refresh_max_ttl"),
        raw.refresh_max_ttl,
        ("5m", "400d"),
        report,
    );
    within(&at.key("refresh_grace"), raw.refresh_grace, GRACE, report);
    if raw.refresh_idle_ttl > raw.refresh_max_ttl && !report.has_fault_in(&at) {
        let message = "refresh_idle_ttl is longer than refresh_max_ttl";
        let hint = "a grant ends after refresh_max_ttl, however often it is refreshed";
        report.error(&at.key("refresh_idle_ttl"), message, hint);
    }
    if raw.refresh_grace >= raw.refresh_idle_ttl && !report.has_fault_in(&at) {
        let message = "refresh_grace is not shorter than refresh_idle_ttl";
        report.error(&at.key("refresh_grace"), message, "such as \"120s\"");
    }
    if raw.access_ttl > raw.refresh_max_ttl && !report.has_fault_in(&at) {
        let message = "access_ttl is longer than refresh_max_ttl";
        report.error(
            &at.key("access_ttl"),
            message,
            "an access token must not outlive its grant",
        );
    }
    Tokens {
        code_ttl: raw.code_ttl.0,
        access_ttl: raw.access_ttl.0,
        refresh_idle_ttl: raw.refresh_idle_ttl.0,
        refresh_max_ttl: raw.refresh_max_ttl.0,
        refresh_grace: raw.refresh_grace.0,
    }
}

/// Reads `[scopes.NAME]`.
pub(super) fn scopes(
    raw: BTreeMap<String, RawScope>,
    resources: &[Resource],
    report: &mut Report<'_>,
) -> BTreeMap<String, ScopeWords> {
    let mut scopes = BTreeMap::new();
    for (name, raw) in raw {
        let at = KeyPath::of("scopes").key(&name);
        words(raw.title.as_deref(), &at.key("title"), report);
        let is_offered = resources
            .iter()
            .any(|resource| resource.scopes.contains(&name));
        if !is_offered && !report.has_fault_in(&KeyPath::of("resources")) {
            let message = format!("no resource offers the scope `{name}`");
            report.warn(
                &at,
                message,
                "add it to `scopes` of a resource, or remove it",
            );
        }
        match raw.title {
            Some(title) => {
                scopes.insert(name, ScopeWords { title });
            }
            None => report.missing(&at.key("title"), "what the scope allows, in words"),
        }
    }
    scopes
}

/// Reads `[proxy] trusted`.
pub(super) fn proxies(list: &[String], report: &mut Report<'_>) -> Vec<IpNet> {
    let all = KeyPath::of("proxy.trusted");
    let mut networks = Vec::new();
    for (index, text) in list.iter().enumerate() {
        let at = all.index(index);
        let address = text.parse::<IpAddr>().map(IpNet::from);
        match address.or_else(|_| text.parse::<IpNet>()) {
            Ok(network) if network.prefix_len() == 0 => {
                let message = format!("`{text}` believes everybody");
                report.error(
                    &at,
                    message,
                    "the addresses of your proxies, such as \"10.0.0.0/8\"",
                );
            }
            Ok(network) => networks.push(network.trunc()),
            Err(_) => {
                let message = format!("`{text}` is not an address or network");
                report.error(&at, message, "such as \"10.0.0.0/8\" or \"192.0.2.1\"");
            }
        }
    }
    networks
}

/// Reads `[limits]`.
pub(super) fn limits(raw: &RawLimits) -> Limits {
    Limits {
        register_per_minute: raw.register_per_minute,
        authorize_per_minute: raw.authorize_per_minute,
        token_per_minute: raw.token_per_minute,
    }
}

/// Reads `[tls]`.
pub(super) fn tls(
    raw: Option<RawTls>,
    public_url: Option<&PublicUrl>,
    report: &mut Report<'_>,
) -> Option<Tls> {
    let raw = raw?;
    let at = KeyPath::of("tls");
    let mut file = |path: Option<PathBuf>, key: &str| {
        let at = at.key(key);
        let Some(path) = path else {
            report.missing(&at, "TLS needs both `certificate` and `key`");
            return None;
        };
        if let Err(error) = std::fs::File::open(&path) {
            let words = super::secrets::error_in_words(&error);
            let message = format!("cannot read `{}`: {words}", path.display());
            report.error(&at, message, "paths are relative to the working directory");
        }
        Some(path)
    };
    let (certificate, key) = (file(raw.certificate, "certificate"), file(raw.key, "key"));
    if public_url.is_some_and(|public_url| !public_url.is_https()) {
        let message = "TLS ends here, but public_url is plain http";
        report.error(&at, message, "write https in public_url, or remove `[tls]`");
    }
    Some(Tls {
        certificate: certificate?,
        key: key?,
    })
}

/// Reads `[shutdown]`.
pub(super) fn shutdown(raw: &RawShutdown, report: &mut Report<'_>) -> Shutdown {
    let at = KeyPath::of("shutdown");
    within(&at.key("delay"), raw.delay, ("0s", "5m"), report);
    within(&at.key("drain"), raw.drain, ("0s", "1h"), report);
    Shutdown {
        delay: raw.delay.0,
        drain: raw.drain.0,
    }
}

/// Reads `[consent]`.
pub(super) fn operator(raw: RawConsent, report: &mut Report<'_>) -> Operator {
    let at = KeyPath::of("consent");
    words(raw.name.as_deref(), &at.key("name"), report);
    words(raw.contact.as_deref(), &at.key("contact"), report);
    if let Some(contact) = &raw.contact
        && !contact.starts_with("https://")
        && !contact.contains('@')
        && !report.is_faulty(&at.key("contact"))
    {
        let message = format!("`{contact}` is neither an e-mail address nor an https URL");
        report.error(&at.key("contact"), message, "such as \"help@example.com\"");
    }
    Operator {
        name: raw.name,
        contact: raw.contact,
    }
}

/// Warns of keys that say nothing where another program embeds the server.
pub(super) fn warn_of_what_programs_do(report: &mut Report<'_>) {
    for (key, what) in [
        ("listen", "listens"),
        ("tls", "ends TLS"),
        ("admin", "serves health and metrics"),
        ("shutdown.delay", "decides when it stops"),
        ("log", "writes the log"),
    ] {
        let at = KeyPath::of(key);
        if report.is_written(&at) {
            let message = format!("`{key}` does nothing here: the program itself {what}");
            report.warn(&at, message, "remove it");
        }
    }
}

/// Reads `[log]`.
pub(super) fn log(raw: RawLog, report: &mut Report<'_>) -> Log {
    if EnvFilter::builder().parse(&raw.level).is_err() {
        let message = format!("`{}` is not a level", raw.level);
        let hint = "error, warn, info, debug, trace, or a filter such as \"info,mcp_oauth=debug\"";
        report.error(&KeyPath::of("log.level"), message, hint);
    }
    Log {
        format: raw.format,
        level: raw.level,
    }
}
