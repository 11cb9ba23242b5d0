//! `config show`: the values that count, with where each came from. Secrets are never shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::file::Loaded;
use super::keys::{KEYS, Key, Kind};
use super::tree::{Bare, KeyPath, Node, Origin, Value};
use super::{Config, Cors, KeySource};

/// What stands in the place of a secret.
const REDACTED: &str = "\"[redacted]\"";

impl Loaded {
    /// The effective values as TOML, secrets redacted; with `origin`, each with where it came from.
    pub fn show(&self, origin: bool) -> String {
        let mut out = String::new();
        for (table, lines) in self.tables() {
            if table != KeyPath::default() {
                let _ = writeln!(out, "\n{}", header(&table));
            }
            for line in lines {
                out.push_str(&line.text);
                if let Some(from) = line.origin.filter(|_| origin) {
                    let _ = write!(out, "  # {}", self.place(&from));
                }
                out.push('\n');
            }
        }
        out
    }

    /// Where the value of a key was written: `mcp-oauth.toml:12`, a variable or a flag. A key that was
    /// written nowhere is at the table above it, or else it is a default. Elements of lists are named by
    /// their number: `resources[0].backend`.
    pub fn place_of(&self, key: &str) -> String {
        let mut path = KeyPath::of_indexed(key);
        let twin = path
            .parent()
            .zip(path.last_key())
            .map(|(above, name)| above.key(&format!("{name}_file")));
        let is_written = |path: &KeyPath| {
            let node = self.written.at(path)?;
            (node.origin != Origin::Default).then_some(node)
        };
        if let Some(node) = twin.as_ref().and_then(is_written) {
            return self.place(&node.origin);
        }
        loop {
            if path == KeyPath::default() {
                return self.file.clone().unwrap_or_else(|| "default".to_owned());
            }
            if let Some(node) = is_written(&path) {
                return self.place(&node.origin);
            }
            path = path.parent().unwrap_or_default();
        }
    }

    /// The key of the resource with this path, `resources[0]`, as [`Self::place_of`] wants it.
    pub fn key_of_resource(&self, path: &str) -> String {
        let all = KeyPath::of("resources");
        let count = self.written.len_at(&all);
        let is_it = |index: &usize| {
            let written = self.written.text_at(&all.index(*index).key("path"));
            written.is_some_and(|written| written.trim_end_matches('/') == path)
        };
        let index = (0..count).find(is_it).unwrap_or_default();
        format!("resources[{index}]")
    }

    /// The tables whose values are others in `after`, in the order of the documentation.
    pub fn changed_tables(&self, after: &Self) -> Vec<String> {
        let mut changed = Vec::new();
        for key in KEYS {
            let mut places = key.places(&self.written);
            places.extend(key.places(&after.written));
            for place in places {
                for (place, _) in with_twin(key, &place) {
                    let values = [&self.written, &after.written].map(|tree| tree.at(&place));
                    let table = place.parent().unwrap_or_default().to_string();
                    if !same(values) && !changed.contains(&table) {
                        changed.push(table);
                    }
                }
            }
        }
        changed
    }

    /// The lines of every table, in the order of the documentation.
    fn tables(&self) -> Vec<(KeyPath, Vec<Line>)> {
        // By the section's rank, then by path, so that a list's element keeps its own tables.
        let mut tables = BTreeMap::<(usize, KeyPath), Vec<Line>>::new();
        for key in KEYS {
            for place in key.places(&self.written) {
                let rank = rank(&place);
                for (place, kind) in with_twin(key, &place) {
                    let (Some(node), Some(table)) = (self.written.at(&place), place.parent())
                    else {
                        continue;
                    };
                    let lines = tables.entry((rank, table)).or_default();
                    lines.push(self.line(&place, node, kind));
                }
            }
        }
        tables
            .into_iter()
            .map(|((_, table), lines)| (table, lines))
            .collect()
    }

    fn line(&self, place: &KeyPath, node: &Node, kind: Kind) -> Line {
        if matches!(self.config.keys, KeySource::Inline(_))
            && *place == KeyPath::of("keys.directory")
        {
            return Line {
                text: "# the keys themselves are in MCP_OAUTH_KEYS".to_owned(),
                origin: None,
            };
        }
        let name = place.last_key().unwrap_or_default();
        // Headers toward a provider may hold credentials.
        let kind = match kind {
            Kind::Texts if name.ends_with("_headers") => Kind::Headers,
            kind => kind,
        };
        Line {
            text: format!("{} = {}", Bare(name), value(node, kind)),
            origin: Some(node.origin.clone()),
        }
    }

    fn place(&self, origin: &Origin) -> String {
        match (origin, &self.file) {
            (Origin::File { line }, Some(file)) => format!("{file}:{line}"),
            (Origin::Variable(name), _) => name.clone(),
            (Origin::Flag(flag), _) => (*flag).to_owned(),
            _ => "default".to_owned(),
        }
    }
}

/// Whether both are absent, or hold the same.
fn same(values: [Option<&Node>; 2]) -> bool {
    match values {
        [None, None] => true,
        [Some(left), Some(right)] => left.value.is_same(&right.value),
        _ => false,
    }
}

struct Line {
    text: String,
    origin: Option<Origin>,
}

/// Where a section stands in the documentation; keys without a section come first.
fn rank(place: &KeyPath) -> usize {
    let section = |path: &str| path.split(['.', '[']).next().map(str::to_owned);
    let own = section(&place.to_string());
    match place.parent() {
        Some(parent) if parent == KeyPath::default() => 0,
        _ => KEYS
            .iter()
            .position(|key| section(key.path) == own)
            .unwrap_or(KEYS.len()),
    }
}

fn with_twin(key: &Key, place: &KeyPath) -> Vec<(KeyPath, Kind)> {
    let mut places = vec![(place.clone(), key.kind)];
    if key.has_file_twin()
        && let (Some(above), Some(name)) = (place.parent(), place.last_key())
    {
        places.push((above.key(&format!("{name}_file")), Kind::Path));
    }
    places
}

/// `[tokens]`, `[[resources]]`, `[resources.access]`.
fn header(table: &KeyPath) -> String {
    let path = table.to_string();
    let without_index = path.split('[').next().unwrap_or_default();
    match path.rsplit_once(']') {
        Some((_, "")) => format!("[[{without_index}]]"),
        Some((_, below)) => format!("[{without_index}{below}]"),
        None => format!("[{path}]"),
    }
}

fn value(node: &Node, kind: Kind) -> String {
    match (&node.value, kind) {
        (Value::Table(table), Kind::Headers) => {
            let headers = table
                .keys()
                .map(|name| format!("{} = {REDACTED}", Bare(name)));
            format!("{{ {} }}", headers.collect::<Vec<_>>().join(", "))
        }
        (_, Kind::Secret | Kind::Headers) => REDACTED.to_owned(),
        (Value::Text(text), _) if node.origin.is_text_only() => bare(text.expose(), kind),
        (value, _) => plain(value),
    }
}

/// Text from where everything is text, as what the key holds.
fn bare(text: &str, kind: Kind) -> String {
    match kind {
        Kind::Boolean | Kind::Integer => text.to_owned(),
        Kind::List | Kind::Choices(_) => {
            let words = text
                .split(',')
                .map(str::trim)
                .filter(|word| !word.is_empty());
            format!("[{}]", words.map(quoted).collect::<Vec<_>>().join(", "))
        }
        _ => quoted(text),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text.expose()),
        Value::Integer(number) => number.to_string(),
        Value::Float => "nan".to_owned(),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::List(list) => {
            let items = list.iter().map(|node| plain(&node.value));
            format!("[{}]", items.collect::<Vec<_>>().join(", "))
        }
        Value::Table(table) => {
            let entries = table
                .iter()
                .map(|(key, node)| format!("{} = {}", Bare(key), plain(&node.value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

// TOML: a basic string escapes quotes, backslashes and control characters.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Adds what follows from other values, so that it shows as well.
pub(super) fn add_derived(written: &mut Node, config: &Config) {
    let origins = match &config.cors {
        Cors::Any => vec!["*".to_owned()],
        Cors::Only { origins, loopback } => {
            let loopback = loopback.then(|| "loopback".to_owned());
            origins.iter().cloned().chain(loopback).collect()
        }
    };
    add(
        written,
        &KeyPath::of("cors.allowed_origins"),
        &Node::list(&origins, &Origin::Default),
    );
    let resources = KeyPath::of("resources");
    let upstreams = KeyPath::of("upstreams");
    let names = written.names(&upstreams);
    for name in &names {
        let place = upstreams.key(name).key("callback_path");
        add(
            written,
            &place,
            &Node::text(format!("/callback/{name}"), Origin::Default),
        );
    }
    if let [only] = names.as_slice() {
        for index in 0..written.len_at(&resources) {
            let place = resources.index(index).key("upstream");
            add(written, &place, &Node::text(only, Origin::Default));
        }
    }
}

fn add(written: &mut Node, place: &KeyPath, node: &Node) {
    if written.at(place).is_none() {
        written.set(place, node.clone());
    }
}
