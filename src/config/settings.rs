//! Settings that a program makes itself: they lie over file and environment, as flags do, and are
//! judged with them.

use super::secrets::replace;
use super::tree::{KeyPath, Node, Origin, Value};
use crate::oauth::names::Secret;

/// What a program that embeds the server sets.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    entries: Vec<Entry>,
    /// The root keys themselves, a JWK set.
    pub(super) keys: Option<Secret>,
}

/// One thing that is set.
#[derive(Clone, Debug)]
enum Entry {
    /// The value of a key.
    Value(KeyPath, Setting),
    /// An element of a list of tables.
    Element(KeyPath, Vec<(&'static str, Setting)>),
}

/// A value. Any text may be a secret, so all text is kept as one.
#[derive(Clone, Debug)]
pub enum Setting {
    /// Text, or what is written as text: a duration, a number.
    Text(Secret),
    /// Texts.
    List(Vec<String>),
    /// Yes or no.
    Boolean(bool),
}

impl Setting {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Secret::new(text))
    }

    /// Texts.
    pub fn list<S: Into<String>>(items: impl IntoIterator<Item = S>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }

    fn node(&self) -> Node {
        let origin = Origin::Setting;
        let value = match self {
            Self::Text(text) => Value::Text(text.clone()),
            Self::List(items) => return Node::list(items, &origin),
            Self::Boolean(value) => Value::Boolean(*value),
        };
        Node { value, origin }
    }
}

impl Settings {
    /// Sets a key of the configuration, `tokens.access_ttl`.
    pub fn set(&mut self, key: &str, value: Setting) {
        self.entries.push(Entry::Value(KeyPath::of(key), value));
    }

    /// Sets keys of a table whose name is free, `upstreams.NAME`.
    pub fn table(&mut self, tables: &str, name: &str, keys: Vec<(&'static str, Setting)>) {
        let table = KeyPath::of(tables).key(name);
        let entries = keys.into_iter();
        self.entries
            .extend(entries.map(|(key, value)| Entry::Value(table.key(key), value)));
    }

    /// Adds an element to a list of tables, `[[resources]]`.
    pub fn element(&mut self, list: &str, keys: Vec<(&'static str, Setting)>) {
        self.entries.push(Entry::Element(KeyPath::of(list), keys));
    }

    /// Gives the root keys themselves, as a JWK set.
    pub fn keys(&mut self, set: Secret) {
        self.keys = Some(set);
    }

    /// Lays the settings over the tree.
    pub(super) fn overlay(&self, tree: &mut Node) {
        for entry in &self.entries {
            match entry {
                Entry::Value(key, value) => replace(tree, key, value.node()),
                Entry::Element(list, keys) => {
                    let element = list.index(tree.len_at(list));
                    tree.push(list, Node::table(Origin::Setting));
                    for (key, value) in keys {
                        tree.set(&element.key(key), value.node());
                    }
                }
            }
        }
    }
}
