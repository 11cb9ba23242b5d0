//! From file, environment and flags to [`Config`]: the layers, then the judgement.
//!
//! Every problem is collected before anything is refused. A [`Config`] exists only when there is
//! no error.

use std::path::Path;

use zeroize::Zeroizing;

use super::env::Variables;
use super::flags::Flags;
use super::keys::{self, KEYS, Kind};
use super::problem::{Problems, Report};
use super::raw::Raw;
use super::reader;
use super::secrets::{error_in_words, is_readable_by_all, read_twins, replace};
use super::settings::Settings;
use super::tree::{KeyPath, Node, Origin};
use super::{
    Config, access, clients, deployment, public_url, resources, sections, show, upstreams,
};

/// Where a configuration comes from.
pub(super) struct Sources<'a> {
    /// The file's name, as the operator gave it, and its text.
    pub(super) file: Option<(&'a str, &'a str)>,
    /// The environment.
    pub(super) variables: Vec<(String, String)>,
    /// The command line.
    pub(super) flags: &'a Flags,
}

/// A configuration and what it was made of.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What was written, for [`Loaded::show`].
    pub(super) written: Node,
    /// The file's name.
    pub(super) file: Option<String>,
}

impl Loaded {
    /// The file's name, if there was one.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<(String, Zeroizing<String>), Problems> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((name, Zeroizing::new(text))),
        Err(error) => {
            let tree = Node::table(Origin::Default);
            let mut report = Report::new(Some(&name), &tree);
            report.outside(
                &name,
                format!("cannot read it: {}", error_in_words(&error)),
                None,
            );
            Err(report.finish())
        }
    }
}

/// Lays the sources over each other and judges the result.
pub(super) fn resolve(sources: Sources<'_>) -> Result<Loaded, Problems> {
    resolve_for(sources, None)
}

/// The same for a server that another program embeds, under what the program sets.
pub(super) fn resolve_embedded(
    sources: Sources<'_>,
    settings: &Settings,
) -> Result<Loaded, Problems> {
    resolve_for(sources, Some(settings))
}

fn resolve_for(sources: Sources<'_>, settings: Option<&Settings>) -> Result<Loaded, Problems> {
    let name = sources.file.map(|(name, _)| name);
    let mut tree = Node::table(Origin::Default);
    if let Some((_, text)) = sources.file {
        match Node::parse(text) {
            Ok(file) => tree = file,
            Err(errors) => {
                let mut report = Report::new(name, &tree);
                for error in errors {
                    report.at_line(error.line, error.message);
                }
                return Err(report.finish());
            }
        }
    }
    let mut variables = overlay(&mut tree, sources.variables, sources.flags);
    if let Some(settings) = settings {
        settings.overlay(&mut tree);
        variables.keys = settings.keys.clone().or(variables.keys);
    }
    keys::fill_in_defaults(&mut tree);
    let written = tree.clone();

    let mut report = Report::new(name, &written);
    for (variable, message, hint) in &variables.unknown {
        report.outside(variable, message, Some(hint.clone()));
    }
    sources.flags.check(&written, &mut report);
    read_twins(&mut tree, &mut report);
    warn_of_open_file(name, &written, &mut report);
    let raw: Raw = reader::read(&mut tree, &KeyPath::default(), &mut report);
    let config = judge(raw, tree, variables, settings.is_some(), &mut report);

    let is_clean = report.is_clean();
    let problems = report.finish();
    match config {
        Some(mut config) if is_clean => {
            config.warnings = problems.iter().cloned().collect();
            let mut written = written;
            show::add_derived(&mut written, &config);
            let file = name.map(str::to_owned);
            Ok(Loaded {
                config,
                written,
                file,
            })
        }
        _ => Err(problems),
    }
}

/// Lays environment and flags over the file.
fn overlay(tree: &mut Node, env: Vec<(String, String)>, flags: &Flags) -> Variables {
    let mut named = tree.clone();
    if let Some(upstream) = flags.upstream(tree) {
        let place = KeyPath::of("upstreams").key(&upstream);
        if named.at(&place).is_none() {
            named.set(&place, Node::table(Origin::Default));
        }
    }
    let variables = Variables::read(env, &named);
    for (place, node) in &variables.values {
        replace(tree, place, node.clone());
    }
    if let Some(port) = &variables.port {
        replace_port(tree, port);
    }
    flags.overlay(tree);
    variables
}

/// `PORT` replaces the port of `listen`.
fn replace_port(tree: &mut Node, port: &str) {
    let place = KeyPath::of("listen");
    let listen = tree.text_at(&place).or_else(|| {
        let key = KEYS.iter().find(|key| key.path == "listen")?;
        key.default
    });
    let host = listen
        .and_then(|listen| listen.rsplit_once(':'))
        .map_or("127.0.0.1", |(host, _)| host);
    let listen = format!("{host}:{port}");
    tree.set(
        &place,
        Node::text(listen, Origin::Variable("PORT".to_owned())),
    );
}

/// Warns about a file that holds secrets and that everybody on the machine can read.
fn warn_of_open_file(file: Option<&str>, written: &Node, report: &mut Report<'_>) {
    let Some(file) = file.filter(|file| is_readable_by_all(Path::new(file))) else {
        return;
    };
    for key in KEYS
        .iter()
        .filter(|key| matches!(key.kind, Kind::Secret | Kind::Headers))
    {
        for place in key.places(written) {
            if written
                .at(&place)
                .is_some_and(|node| matches!(node.origin, Origin::File { .. }))
            {
                let secret = place.last_key().unwrap_or_default();
                let message = format!("everybody on this machine can read this `{secret}`");
                let hint = format!("use `{secret}_file`, or: chmod 600 {file}");
                report.warn(&place, message, &hint);
            }
        }
    }
}

/// Judges what was read. None only where an error was reported.
fn judge(
    raw: Raw,
    mut tree: Node,
    variables: Variables,
    is_embedded: bool,
    report: &mut Report<'_>,
) -> Option<Config> {
    let public_url = public_url::resolve(raw.public_url.as_deref(), report);
    let listen = sections::listen("listen", &raw.listen, report);
    let upstreams = upstreams::resolve(&mut tree, report);
    let global = access::global(&raw.access, public_url.as_ref(), &upstreams, report);
    let around = resources::Surroundings {
        public_url: public_url.as_ref(),
        upstreams: &upstreams,
        access: &global,
        is_embedded,
    };
    let resources = resources::resolve(raw.resources, &around, report);
    upstreams.check_callbacks(&resources, report);
    let tokens = sections::tokens(&raw.tokens, report);
    let clients = clients::resolve(
        raw.clients,
        public_url.as_ref(),
        tokens.refresh_grace,
        report,
    );
    let scopes = sections::scopes(raw.scopes, &resources, report);
    let replay = deployment::replay(raw.replay, &upstreams, report);
    let revocation = deployment::revocation(raw.revocation, &upstreams, report);
    let trusted_proxies = sections::proxies(&raw.proxy.trusted, report);
    let cors = deployment::cors(raw.cors, public_url.as_ref(), &resources, report);
    let tls = sections::tls(raw.tls, public_url.as_ref(), report);
    let admin_listen = sections::admin_listen(&raw.admin, listen, report);
    let shutdown = sections::shutdown(&raw.shutdown, report);
    let operator = sections::operator(raw.consent, report);
    let log = sections::log(raw.log, report);
    if is_embedded {
        sections::warn_of_what_programs_do(report);
    }
    let (public_url, listen) = (public_url?, listen?);
    public_url::warn_if_open(&public_url, listen, report);
    Some(Config {
        keys: sections::keys(raw.keys, variables.keys, &public_url),
        listen,
        public_url,
        upstreams: upstreams.into_settings(),
        resources,
        tokens,
        clients,
        scopes,
        replay,
        revocation,
        trusted_proxies,
        cors,
        limits: sections::limits(&raw.limits),
        tls,
        admin_listen,
        shutdown,
        operator,
        log,
        warnings: Vec::new(),
    })
}
