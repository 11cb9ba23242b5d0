//! `[upstreams.NAME]`: names, references and callbacks. What a provider needs is judged by the
//! upstream's own room.

use std::path::Path;

use super::Resource;
use super::problem::{Report, did_you_mean};
use super::reader::read;
use super::resources::{self, is_clean_path};
use super::secrets::error_in_words;
use super::tree::{KeyPath, Node};
use crate::oauth::names::UpstreamName;
pub(super) use crate::upstream::RawUpstream;
use crate::upstream::{ExchangeAt, Secrets, Settings};

/// The upstreams as far as other sections must know them.
pub(super) struct Upstreams {
    known: Vec<Known>,
    settings: Vec<Settings>,
}

struct Known {
    name: String,
    exchange: ExchangeAt,
    callback_path: String,
    tells_groups: bool,
}

/// Reads every `[upstreams.NAME]`.
pub(super) fn resolve(tree: &mut Node, report: &mut Report<'_>) -> Upstreams {
    let all = KeyPath::of("upstreams");
    let mut upstreams = Upstreams {
        known: Vec::new(),
        settings: Vec::new(),
    };
    let names = tree.names(&all);
    if names.is_empty() && !report.is_faulty(&all) {
        let hint = "where people sign in, for example\n[upstreams.github]\nprovider = \"github\"\n\
                    client_id = \"…\"\nclient_secret_file = \"…\"";
        report.error(&all, "there is no upstream", hint);
    }
    for name in names {
        let at = all.key(&name);
        if !tree.is_table(&at) {
            let hint =
                format!("write `[upstreams.{name}]` with its keys, or `[upstreams.NAME]` above");
            report.error(&at, format!("`{name}` is not an upstream"), &hint);
            continue;
        }
        let raw: RawUpstream = read(tree, &at, report);
        check_name(&name, &at, report);
        upstreams.add(name, &raw, &at, report);
    }
    upstreams
}

// The name is part of the subject, of the callback and of variables.
fn check_name(name: &str, at: &KeyPath, report: &mut Report<'_>) {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if name.is_empty() || name.len() > 32 || !name.bytes().all(fits) {
        let message = format!("`{name}` is not a name for an upstream");
        report.error(
            at,
            message,
            "up to 32 lower-case letters, digits, `-` and `_`",
        );
    }
}

fn extra_ca(path: Option<&Path>, at: &KeyPath, report: &mut Report<'_>) -> Option<Vec<u8>> {
    let path = path?;
    match std::fs::read(path) {
        Ok(pem) => Some(pem),
        Err(error) => {
            let (shown, why) = (path.display(), error_in_words(&error));
            let message = format!("cannot read `{shown}`: {why}");
            let hint = "paths are relative to the working directory";
            report.error(&at.key("extra_ca_file"), message, hint);
            None
        }
    }
}

impl Upstreams {
    fn add(&mut self, name: String, raw: &RawUpstream, at: &KeyPath, report: &mut Report<'_>) {
        let secrets = Secrets {
            client_secret: None,
            extra_ca: extra_ca(raw.extra_ca_file.as_deref(), at, report),
        };
        let mut known = Known {
            callback_path: raw
                .callback_path
                .clone()
                .unwrap_or_else(|| format!("/callback/{name}")),
            exchange: raw.exchange.unwrap_or_default(),
            tells_groups: raw.groups_claim.is_some(),
            name,
        };
        match raw.clone().resolve(UpstreamName::new(&known.name), secrets) {
            Ok(settings) => {
                // In a shared tenant, anybody can write any address.
                if raw.trust_email == Some(true) && !settings.trusts_email() {
                    let message = "addresses in a shared tenant cannot be trusted";
                    let hint = "name your own tenant, or use allow_subjects or allow_groups";
                    report.error(&at.key("trust_email"), message, hint);
                }
                // A preset may say more than was written.
                known
                    .callback_path
                    .clone_from(&settings.profile().callback_path);
                known.exchange = settings.profile().exchange;
                known.tells_groups = settings.groups_claim().is_some();
                self.settings.push(settings);
            }
            Err(problems) => {
                for problem in problems {
                    let path = at.key(&problem.key);
                    if !report.is_faulty(&path) {
                        report.add(&path, problem.message, problem.hint);
                    }
                }
            }
        }
        self.known.push(known);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.known.iter().any(|known| known.name == name)
    }

    /// The only one, where there is only one.
    pub(super) fn only(&self) -> Option<UpstreamName> {
        match self.known.as_slice() {
            [only] => Some(UpstreamName::new(&only.name)),
            _ => None,
        }
    }

    /// Which names there are, for somebody who wrote another.
    pub(super) fn hint(&self, name: &str) -> String {
        let names: Vec<_> = self.known.iter().map(|known| known.name.as_str()).collect();
        did_you_mean(name, &names)
            .unwrap_or_else(|| format!("the upstreams are `{}`", names.join("`, `")))
    }

    /// Whether no upstream tells which groups a person is in.
    pub(super) fn tell_no_groups(&self) -> bool {
        !self.known.iter().any(|known| known.tells_groups)
    }

    /// The names of those that exchange at the callback.
    pub(super) fn exchanging_at_callback(&self) -> impl Iterator<Item = &str> {
        let at_callback = |known: &&Known| known.exchange == ExchangeAt::Callback;
        self.known
            .iter()
            .filter(at_callback)
            .map(|known| known.name.as_str())
    }

    // RFC 9700 §4.4.2.2: a callback of its own for each upstream, against mix-up.
    pub(super) fn check_callbacks(&self, resources: &[Resource], report: &mut Report<'_>) {
        for (index, known) in self.known.iter().enumerate() {
            let path = &known.callback_path;
            let at = KeyPath::of("upstreams")
                .key(&known.name)
                .key("callback_path");
            if !is_clean_path(path) {
                let message = format!("`{path}` is not a path");
                report.error(&at, message, "such as `/callback/github`");
            } else if resources::is_ours(path) && !path.starts_with("/callback/") {
                let message = format!("`{path}` is a path of this server");
                report.error(&at, message, "such as `/callback/github`");
            }
            let mut others = self.known.iter().take(index);
            if let Some(other) = others.find(|other| other.callback_path == *path) {
                let message = format!("`{path}` is the callback of `{}` already", other.name);
                report.error(&at, message, "each upstream needs a callback of its own");
            }
            let inside = resources.iter().find(|resource| {
                !resource.path.is_empty()
                    && path
                        .strip_prefix(&resource.path)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            if let Some(resource) = inside {
                let message = format!("`{path}` is inside the resource `{}`", resource.path);
                report.error(&at, message, "choose a path outside of every resource");
            }
        }
    }

    pub(super) fn into_settings(self) -> Vec<Settings> {
        self.settings
    }
}
