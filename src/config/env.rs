//! The environment: `MCP_OAUTH_TOKENS_CODE_TTL` is `tokens.code_ttl`, and `PORT` the port.
//!
//! Refuses a variable that names no key, since a setting that is not heard is worse than none.
//! An empty variable counts as absent: that is what container tools pass for "not set".

use super::keys::{KEYS, Key};
use super::problem::nearest;
use super::tree::{KeyPath, Node, Origin};
use crate::oauth::names::Secret;

/// Start of every variable of ours.
pub(super) const PREFIX: &str = "MCP_OAUTH_";

/// Variables of ours that are no keys.
const OTHERS: [&str; 2] = ["CONFIG", "KEYS"];

/// What the environment says.
#[derive(Default)]
pub(super) struct Variables {
    /// Values by place, with the variable that they are from.
    pub(super) values: Vec<(KeyPath, Node)>,
    /// The root keys themselves.
    pub(super) keys: Option<Secret>,
    /// The port to listen on.
    pub(super) port: Option<String>,
    /// Variables that mean nothing, with a hint.
    pub(super) unknown: Vec<(String, String, String)>,
}

impl Variables {
    /// Sorts the variables. `tree` is what the file says: its names tell where a name ends.
    pub(super) fn read(env: impl IntoIterator<Item = (String, String)>, tree: &Node) -> Self {
        let mut found = Self::default();
        let mut env: Vec<_> = env.into_iter().collect();
        env.sort();
        for (variable, value) in env {
            if variable == "PORT" && !value.is_empty() {
                found.port = Some(value);
            } else if let Some(name) = variable.strip_prefix(PREFIX) {
                found.sort_in(name, value, tree);
            }
        }
        found
    }

    fn sort_in(&mut self, name: &str, value: String, tree: &Node) {
        let variable = format!("{PREFIX}{name}");
        match name {
            "CONFIG" => {}
            "KEYS" if value.is_empty() => {}
            "KEYS" => self.keys = Some(Secret::new(value)),
            _ => match place(name, tree) {
                Ok(_) if value.is_empty() => {}
                Ok(place) => {
                    let origin = Origin::Variable(variable);
                    self.values.push((place, Node::text(value, origin)));
                }
                Err(hint) => {
                    let message = "no key has this name".to_owned();
                    self.unknown.push((variable, message, hint));
                }
            },
        }
    }
}

/// The variable that sets a key, where one can.
pub(super) fn variable_of(key: &Key) -> Option<String> {
    key.has_variable()
        .then(|| format!("{PREFIX}{}", spelled(&key.path.replace('*', "NAME"))))
}

/// How the environment spells a path.
fn spelled(path: &str) -> String {
    let letter = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    path.chars().map(letter).collect()
}

/// The key that `name` is for, or a hint.
fn place(name: &str, tree: &Node) -> Result<KeyPath, String> {
    let mut known: Vec<String> = OTHERS.iter().map(|&other| other.to_owned()).collect();
    for key in KEYS.iter().filter(|key| key.has_variable()) {
        for path in with_twin(key) {
            if let Some((map, key)) = path.split_once(".*.") {
                for entry in names(map, key, name, tree) {
                    let place = KeyPath::of(map).key(&entry).key(key);
                    let spelling = spelled(&format!("{map}.{entry}.{key}"));
                    if spelling == name {
                        return Ok(place);
                    }
                    known.push(spelling);
                }
            } else {
                let spelling = spelled(&path);
                if spelling == name {
                    return Ok(KeyPath::of(&path));
                }
                known.push(spelling);
            }
        }
    }
    Err(hint(name, &known, tree))
}

/// The key's path and that of its twin.
fn with_twin(key: &Key) -> Vec<String> {
    let mut paths = vec![key.path.to_owned()];
    if key.has_file_twin() {
        paths.push(format!("{}_file", key.path));
    }
    paths
}

/// The names of a map's entries: those of the file, or else what stands between map and key.
fn names(map: &str, key: &str, name: &str, tree: &Node) -> Vec<String> {
    let names = tree.names(&KeyPath::of(map));
    if !names.is_empty() {
        return names;
    }
    let (before, after) = (format!("{}_", spelled(map)), format!("_{}", spelled(key)));
    let between = name
        .strip_prefix(&before)
        .and_then(|rest| rest.strip_suffix(&after));
    between
        .filter(|between| !between.is_empty())
        .map(|between| vec![between.to_ascii_lowercase()])
        .unwrap_or_default()
}

fn hint(name: &str, known: &[String], tree: &Node) -> String {
    for list in [
        "RESOURCES_",
        "CLIENTS_STATIC_",
        "CLIENTS_POLICY_",
        "REVOCATION_",
    ] {
        if name.starts_with(list) {
            return "lists of tables can be set in the file only".to_owned();
        }
    }
    if let Some(meant) = nearest(name, known) {
        return format!("did you mean `{PREFIX}{meant}`?");
    }
    let upstreams = tree.names(&KeyPath::of("upstreams"));
    if name.starts_with("UPSTREAMS_") && !upstreams.is_empty() {
        return format!("the file's upstreams are `{}`", upstreams.join("`, `"));
    }
    "`mcp-oauth config schema` lists every key; its path in capitals, with `_` for `.`, is the \
     variable"
        .to_owned()
}
