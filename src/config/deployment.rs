//! `[replay]`, `[revocation]` and `[cors]`: the sections that depend on how the server is deployed.
//!
//! Refuses combinations that would promise what the deployment cannot keep.

use std::path::Path;

use url::Url;

use super::problem::Report;
use super::quantity::Moment;
use super::raw::{RawCors, RawReplay, RawRevocation, StoreWord};
use super::secrets::error_in_words;
use super::tree::KeyPath;
use super::upstreams::Upstreams;
use super::{AuthMode, Cors, PublicUrl, Replay, Resource, StoreKind};
use crate::oauth::names::{ClientHash, GrantId, Secret, Subject};
use crate::oauth::revoke::Epochs;

/// Reads `[replay]`.
pub(super) fn replay(raw: RawReplay, upstreams: &Upstreams, report: &mut Report<'_>) -> Replay {
    let at = KeyPath::of("replay");
    if raw.capacity < 1_000 && !report.is_faulty(&at.key("capacity")) {
        let message = format!("a capacity of {} would refuse sign-ins soon", raw.capacity);
        report.error(
            &at.key("capacity"),
            message,
            "at least 1000; the default is 1000000",
        );
    }
    if raw.store != StoreWord::Redis && raw.url.is_some() {
        let message = "`url` is for store = \"redis\"";
        report.error(&at.key("url"), message, "set the store, or remove the URL");
    }
    if raw.store != StoreWord::Redis && raw.ca_file.is_some() {
        let message = "`ca_file` is for store = \"redis\"";
        report.error(&at.key("ca_file"), message, "set the store, or remove it");
    }
    let store = match raw.store {
        StoreWord::Memory => StoreKind::Memory,
        StoreWord::Upstream => {
            // The tokens wait in the store between callback and redemption: any replica may redeem.
            for name in upstreams.exchanging_at_callback() {
                let at = KeyPath::of("upstreams").key(name).key("exchange");
                let message =
                    "exchange = \"callback\" needs a store, and store = \"upstream\" is none";
                report.error(
                    &at,
                    message,
                    "use exchange = \"token\", or store = \"redis\"",
                );
            }
            StoreKind::Upstream
        }
        StoreWord::Redis => {
            let authorities = authorities(raw.ca_file.as_deref(), &at, report);
            redis(raw.url, authorities, raw.prefix, &at, report)
        }
    };
    Replay {
        store,
        capacity: usize::try_from(raw.capacity).unwrap_or(usize::MAX),
    }
}

/// The certificates in `ca_file`.
fn authorities(path: Option<&Path>, at: &KeyPath, report: &mut Report<'_>) -> Option<Vec<u8>> {
    let path = path?;
    let shown = path.display();
    let mut wrong = |message: String, hint: &str| {
        report.error(&at.key("ca_file"), message, hint);
        None
    };
    match std::fs::read(path) {
        Err(error) => {
            let why = error_in_words(&error);
            let hint = "paths are relative to the working directory";
            wrong(format!("cannot read `{shown}`: {why}"), hint)
        }
        // RFC 7468 §5.1.
        Ok(pem) if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") => {
            let hint = "a PEM file that begins with `-----BEGIN CERTIFICATE-----`";
            wrong(format!("`{shown}` holds no certificate"), hint)
        }
        Ok(pem) => Some(pem),
    }
}

fn redis(
    url: Option<Secret>,
    authorities: Option<Vec<u8>>,
    prefix: String,
    at: &KeyPath,
    report: &mut Report<'_>,
) -> StoreKind {
    if cfg!(not(feature = "redis")) {
        let message = "this build is without Redis";
        report.error(&at.key("store"), message, "build with `--features redis`");
    }
    // Braces mark the hash tag of a grant's keys.
    if prefix.is_empty()
        || !prefix.bytes().all(|byte| byte.is_ascii_graphic())
        || prefix.contains(['{', '}'])
    {
        let message = format!("`{prefix}` is not a prefix");
        report.error(
            &at.key("prefix"),
            message,
            "printable characters without braces",
        );
    }
    let url = url.unwrap_or_else(|| {
        let hint = "url_file = \"/run/secrets/redis-url\", holding redis://… or rediss://…";
        report.missing(&at.key("url"), hint);
        Secret::default()
    });
    let parsed = Url::parse(url.expose()).ok();
    let scheme = parsed.as_ref().map(Url::scheme);
    let is_redis = matches!(scheme, Some("redis" | "rediss" | "redis+unix" | "unix"));
    if authorities.is_some() && is_redis && scheme != Some("rediss") {
        let message = "`ca_file` does nothing: the URL of the store is without TLS";
        report.error(&at.key("ca_file"), message, "rediss://… in `url`");
    }
    if !is_redis && !report.is_faulty(&at.key("url")) {
        let message = "this is not the URL of a Redis or Valkey";
        report.error(
            &at.key("url"),
            message,
            "rediss://user:password@host:6379/0",
        );
    }
    StoreKind::Redis {
        url,
        authorities,
        prefix,
    }
}

/// Reads `[revocation]`.
pub(super) fn revocation(
    raw: RawRevocation,
    upstreams: &Upstreams,
    report: &mut Report<'_>,
) -> Epochs {
    let at = KeyPath::of("revocation");
    let time = |moment: Option<Moment>| moment.map(|moment| moment.0);
    let mut epochs = Epochs {
        not_before: time(raw.not_before),
        registrations_before: time(raw.registrations_before),
        ..Epochs::default()
    };
    for (index, entry) in raw.subjects.into_iter().enumerate() {
        let at = at.key("subjects").index(index).key("subject");
        let Some(subject) = entry.subject else {
            report.missing(&at, "such as \"github:583231\"");
            continue;
        };
        match subject.split_once(':') {
            Some((upstream, id)) if !upstream.is_empty() && !id.is_empty() => {
                if !upstreams.is_empty() && !upstreams.contains(upstream) {
                    let message = format!("there is no upstream `{upstream}`");
                    report.warn(&at, message, &upstreams.hint(upstream));
                }
                epochs
                    .subjects
                    .push((Subject::new(subject), time(entry.before)));
            }
            _ => {
                let message = format!("`{subject}` is not a subject");
                report.error(
                    &at,
                    message,
                    "the upstream's name, a colon and the stable id",
                );
            }
        }
    }
    for (index, entry) in raw.clients.into_iter().enumerate() {
        let at = at.key("clients").index(index).key("client");
        match entry.client.as_deref().map(ClientHash::parse) {
            Some(Some(client)) => epochs.clients.push((client, time(entry.before))),
            Some(None) => report.error(&at, "this is not a client", "the 22 characters of the log"),
            None => report.missing(&at, "the 22 characters of the log"),
        }
    }
    for (index, grant) in raw.grants.iter().enumerate() {
        let at = at.key("grants").index(index);
        match GrantId::parse(grant) {
            Some(grant) => epochs.grants.push(grant),
            None => report.error(&at, "this is not a grant", "the 22 characters of the log"),
        }
    }
    epochs
}

/// Reads `[cors]`.
pub(super) fn cors(
    raw: RawCors,
    public_url: Option<&PublicUrl>,
    resources: &[Resource],
    report: &mut Report<'_>,
) -> Cors {
    // A page of any origin may call only what is no more open to it than to everybody.
    let requires_token = |resource: &Resource| resource.auth == AuthMode::Required;
    let is_public = public_url.is_none_or(|public_url| !public_url.is_loopback);
    let any_is_safe = is_public && resources.iter().all(requires_token);
    let own = public_url.map(|public_url| public_url.issuer.to_string());
    let Some(origins) = raw.allowed_origins else {
        return if any_is_safe {
            Cors::Any
        } else {
            let origins = own.into_iter().collect();
            Cors::Only {
                origins,
                loopback: true,
            }
        };
    };
    let all = KeyPath::of("cors.allowed_origins");
    let mut only = Vec::from_iter(own);
    let mut loopback = false;
    for (index, origin) in origins.iter().enumerate() {
        let at = all.index(index);
        match origin.as_str() {
            "*" if any_is_safe => return Cors::Any,
            "*" => {
                let message = "`*` needs a public public_url and auth = \"required\" everywhere";
                report.error(
                    &at,
                    message,
                    "list the origins; `loopback` is this computer",
                );
            }
            "loopback" => loopback = true,
            _ if is_origin(origin) => only.push(origin.clone()),
            _ => {
                let message = format!("`{origin}` is not an origin");
                report.error(
                    &at,
                    message,
                    "such as \"https://app.example.com\", `*` or `loopback`",
                );
            }
        }
    }
    Cors::Only {
        origins: only,
        loopback,
    }
}

/// Whether this is an origin as browsers write it.
fn is_origin(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text
    })
}
