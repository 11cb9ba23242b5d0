//! `[clients]`: which clients get in, and how.
//!
//! Refuses redirect URIs that `/register` would refuse, and private-use entries that are none.

use std::collections::BTreeSet;
use std::time::Duration;

use url::Url;

use super::problem::Report;
use super::raw::{RawClients, RawPolicy, RawStaticClient};
use super::tree::KeyPath;
use super::{ClientPolicy, Clients, PublicUrl, StaticClient, sections};
use crate::oauth::redirect;

/// Schemes that a browser gives a meaning of its own.
const BROWSER_SCHEMES: [&str; 16] = [
    "http",
    "https",
    "ws",
    "wss",
    "ftp",
    "file",
    "data",
    "javascript",
    "vbscript",
    "blob",
    "about",
    "filesystem",
    "view-source",
    "mailto",
    "tel",
    "intent",
];

/// Shortest client secret that is not warned about.
const SECRET_LENGTH: usize = 16;

/// Reads `[clients]`.
pub(super) fn resolve(
    raw: RawClients,
    public_url: Option<&PublicUrl>,
    grace: Duration,
    report: &mut Report<'_>,
) -> Clients {
    let at = KeyPath::of("clients");
    for (index, uri) in raw.redirect_schemes.iter().enumerate() {
        let at = at.key("redirect_schemes").index(index);
        check_private_use(uri, &at, report);
    }
    for key in ["cimd_allow_hosts", "cimd_deny_hosts"] {
        let hosts = match key {
            "cimd_allow_hosts" => &raw.cimd_allow_hosts,
            _ => &raw.cimd_deny_hosts,
        };
        for (index, host) in hosts.iter().enumerate() {
            check_host(host, &at.key(key).index(index), report);
        }
    }
    if raw.cimd_allow_loopback && public_url.is_some_and(|public_url| !public_url.is_loopback) {
        let message = "cimd_allow_loopback is for development on this computer";
        let hint = "remove it, or use a loopback public_url";
        report.error(&at.key("cimd_allow_loopback"), message, hint);
    }
    let fixed = static_clients(raw.fixed, &raw.redirect_schemes, report);
    if !raw.cimd && !raw.dcr && fixed.is_empty() && !report.has_fault_in(&at) {
        let message =
            "no client can get in: cimd and dcr are off and there is no [[clients.static]]";
        report.error(&at, message, "turn one of them on, or add a client");
    }
    Clients {
        cimd: raw.cimd,
        dcr: raw.dcr,
        redirect_schemes: raw.redirect_schemes,
        cimd_allow_hosts: raw.cimd_allow_hosts,
        cimd_deny_hosts: raw.cimd_deny_hosts,
        cimd_allow_loopback: raw.cimd_allow_loopback,
        fixed,
        policies: policies(raw.policy, grace, report),
    }
}

// RFC 8252 §7.1: a scheme of the app's own; exact entries, since any app can claim it.
fn check_private_use(uri: &str, at: &KeyPath, report: &mut Report<'_>) {
    let hint = "the exact URI, such as \"cursor://anysphere.cursor-mcp/oauth/callback\"";
    let Some((scheme, rest)) = uri.split_once(':') else {
        report.error(at, format!("`{uri}` is a scheme, not a URI"), hint);
        return;
    };
    if BROWSER_SCHEMES.contains(&scheme.to_ascii_lowercase().as_str()) {
        let message = format!("`{uri}` does not have a scheme of an app's own");
        report.error(
            at,
            message,
            "https and loopback redirects need no entry here",
        );
    } else if rest.trim_matches('/').is_empty()
        || uri.contains(['#', '*'])
        || !uri.bytes().all(|byte| byte.is_ascii_graphic())
        || Url::parse(uri).is_err()
    {
        report.error(at, format!("`{uri}` is not a redirect URI"), hint);
    }
}

fn check_host(host: &str, at: &KeyPath, report: &mut Report<'_>) {
    let is_host = url::Host::parse(host).is_ok_and(|parsed| parsed.to_string() == host);
    if !is_host || host.contains('*') {
        let hint = "a host in lower case, without scheme and port: \"claude.ai\"";
        report.error(at, format!("`{host}` is not a host"), hint);
    }
}

fn static_clients(
    raw: Vec<RawStaticClient>,
    private_use: &[String],
    report: &mut Report<'_>,
) -> Vec<StaticClient> {
    let all = KeyPath::of("clients").key("static");
    let mut ids = BTreeSet::new();
    let mut clients = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let at = all.index(index);
        if let Some(client_id) = &raw.client_id {
            check_client_id(client_id, &at.key("client_id"), report);
            if !ids.insert(client_id.clone()) {
                let message = format!("there is a client `{client_id}` already");
                report.error(&at.key("client_id"), message, "choose another name");
            }
        } else {
            let hint = "a name of your choice, such as \"my-agent\"";
            report.missing(&at.key("client_id"), hint);
        }
        if raw
            .client_secret
            .as_ref()
            .is_some_and(|secret| secret.expose().len() < SECRET_LENGTH)
        {
            let message = format!("this secret is shorter than {SECRET_LENGTH} characters");
            report.warn(&at.key("client_secret"), message, "openssl rand -base64 32");
        }
        check_redirects(&raw.redirect_uris, private_use, &at, report);
        clients.push(StaticClient {
            client_id: raw.client_id.unwrap_or_default(),
            secret: raw.client_secret,
            redirect_uris: raw.redirect_uris,
        });
    }
    clients
}

// RFC 6749 Appendix A.1: printable ASCII. A URL would be a metadata document, five segments a
// sealed registration.
fn check_client_id(client_id: &str, at: &KeyPath, report: &mut Report<'_>) {
    let is_printable = client_id.bytes().all(|byte| byte.is_ascii_graphic());
    if client_id.is_empty() || client_id.len() > 256 || !is_printable {
        let message = "a client_id is up to 256 printable characters without spaces";
        report.error(at, message, "such as \"my-agent\"");
    } else if client_id.contains("://") {
        let message = format!("`{client_id}` is the URL of a metadata document");
        report.error(
            at,
            message,
            "with cimd = true it needs no entry; else choose a plain name",
        );
    } else if client_id.matches('.').count() == 4 {
        let message = "this looks like a registration that this server issued";
        report.error(at, message, "it needs no entry; else choose a plain name");
    }
}

fn check_redirects(uris: &[String], private_use: &[String], at: &KeyPath, report: &mut Report<'_>) {
    let at = at.key("redirect_uris");
    if uris.is_empty() {
        report.missing(&at, "[\"https://agent.example.com/callback\"]");
    }
    for (index, uri) in uris.iter().enumerate() {
        if let Err(error) = redirect::check(uri, private_use) {
            report.add(&at.index(index), format!("`{uri}`: {error}"), None);
        }
    }
}

fn policies(raw: Vec<RawPolicy>, grace: Duration, report: &mut Report<'_>) -> Vec<ClientPolicy> {
    let all = KeyPath::of("clients").key("policy");
    let mut policies: Vec<ClientPolicy> = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let at = all.index(index);
        let Some(client_host) = raw.client_host else {
            report.missing(&at.key("client_host"), "such as \"chatgpt.com\"");
            continue;
        };
        check_host(&client_host, &at.key("client_host"), report);
        if policies
            .iter()
            .any(|policy| policy.client_host == client_host)
        {
            let message = format!("there is a policy for `{client_host}` already");
            report.error(&at.key("client_host"), message, "put both into one");
        }
        match raw.refresh_grace {
            Some(own) => {
                sections::within(&at.key("refresh_grace"), own, sections::GRACE, report);
                if own.0 == grace {
                    let message = "this policy changes nothing: refresh_grace is the same anyway";
                    report.warn(&at.key("refresh_grace"), message, "remove it");
                }
            }
            None => report.warn(&at, "this policy changes nothing", "set refresh_grace"),
        }
        policies.push(ClientPolicy {
            client_host,
            refresh_grace: raw.refresh_grace.map(|own| own.0),
        });
    }
    policies
}
