//! What was written, and where: one tree of values out of file, environment, flags and defaults.
//!
//! Every node remembers its [`Origin`], so that a problem found much later can still name the line.
//! Nothing is judged here beyond TOML's own grammar.

use std::collections::BTreeMap;
use std::fmt;

use toml::de::{DeTable, DeValue};

use crate::oauth::names::Secret;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nowhere: it is the default.
    Default,
    /// In the file, at this line.
    File {
        /// The line, from one.
        line: usize,
    },
    /// In this environment variable.
    Variable(String),
    /// With this flag.
    Flag(&'static str),
    /// By the program that embeds the server.
    Setting,
}

impl Origin {
    /// Whether both are the same source: a later one replaces an earlier one whole.
    pub(super) fn is_same_layer(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Whether values come as bare text, to be read as whatever the key wants.
    pub(super) fn is_text_only(&self) -> bool {
        !matches!(self, Self::File { .. })
    }
}

/// One step into the tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Key(String),
    Index(usize),
}

/// The place of a value in the tree: `resources[0].path`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyPath(Vec<Step>);

impl KeyPath {
    /// Reads `tokens.code_ttl`; every dot separates two keys.
    pub(super) fn of(dotted: &str) -> Self {
        Self(
            dotted
                .split('.')
                .map(|key| Step::Key(key.to_owned()))
                .collect(),
        )
    }

    /// Reads `resources[0].path`.
    pub(super) fn of_indexed(text: &str) -> Self {
        let mut path = Self::default();
        for part in text.split('.') {
            let (key, index) = match part.strip_suffix(']').and_then(|it| it.split_once('[')) {
                Some((key, index)) => (key, index.parse().ok()),
                None => (part, None),
            };
            path = path.key(key);
            if let Some(index) = index {
                path = path.index(index);
            }
        }
        path
    }

    /// The key below.
    pub(super) fn key(&self, key: &str) -> Self {
        let mut below = self.clone();
        below.0.push(Step::Key(key.to_owned()));
        below
    }

    /// The element below.
    pub(super) fn index(&self, index: usize) -> Self {
        let mut below = self.clone();
        below.0.push(Step::Index(index));
        below
    }

    /// Puts a key in front.
    pub(super) fn prepend_key(&mut self, key: &str) {
        self.0.insert(0, Step::Key(key.to_owned()));
    }

    /// Puts an element in front.
    pub(super) fn prepend_index(&mut self, index: usize) {
        self.0.insert(0, Step::Index(index));
    }

    /// The path continued by another.
    pub(super) fn join(&self, below: &Self) -> Self {
        Self(self.0.iter().chain(&below.0).cloned().collect())
    }

    /// The path above, or none at the root.
    pub(super) fn parent(&self) -> Option<Self> {
        let (_, above) = self.0.split_last()?;
        Some(Self(above.to_vec()))
    }

    /// The path without elements at its end: the list instead of one of its elements.
    pub(super) fn list(&self) -> Self {
        let mut path = self.clone();
        while matches!(path.0.last(), Some(Step::Index(_))) {
            path.0.pop();
        }
        path
    }

    /// Whether this is `other` or lies below it.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The last key.
    pub(super) fn last_key(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        })
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if n == 0 => write!(f, "{}", Bare(key))?,
                Step::Key(key) => write!(f, ".{}", Bare(key))?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A key as TOML writes it: quoted only where it must be.
pub(super) struct Bare<'a>(pub(super) &'a str);

impl fmt::Display for Bare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if !self.0.is_empty() && self.0.bytes().all(is_bare) {
            f.write_str(self.0)
        } else {
            write!(f, "{:?}", self.0)
        }
    }
}

/// A value and where it was written. Any text may be a secret, so all text is kept as one.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// A value of TOML.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(Secret),
    Integer(i64),
    /// No key wants one.
    Float,
    Boolean(bool),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Value {
    /// Whether this says the same, wherever it was written.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(left), Self::Text(right)) => left.matches(right.expose()),
            (Self::Integer(left), Self::Integer(right)) => left == right,
            (Self::Boolean(left), Self::Boolean(right)) => left == right,
            (Self::List(left), Self::List(right)) => {
                let mut pairs = left.iter().zip(right);
                left.len() == right.len()
                    && pairs.all(|(left, right)| left.value.is_same(&right.value))
            }
            (Self::Table(left), Self::Table(right)) => {
                let mut pairs = left.iter().zip(right);
                left.len() == right.len()
                    && pairs.all(|(left, right)| {
                        left.0 == right.0 && left.1.value.is_same(&right.1.value)
                    })
            }
            _ => false,
        }
    }
}

/// A sentence about the file's grammar, with the line that it is about.
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) message: String,
}

impl Node {
    /// Text from somewhere.
    pub(super) fn text(text: impl Into<String>, origin: Origin) -> Self {
        let value = Value::Text(Secret::new(text));
        Self { value, origin }
    }

    /// A list of texts from somewhere.
    pub(super) fn list(items: &[String], origin: &Origin) -> Self {
        let list = items.iter().map(|item| Self::text(item, origin.clone()));
        Self {
            value: Value::List(list.collect()),
            origin: origin.clone(),
        }
    }

    /// An empty table from somewhere.
    pub(super) fn table(origin: Origin) -> Self {
        let value = Value::Table(BTreeMap::new());
        Self { value, origin }
    }

    /// Reads a TOML document, or says everything that is wrong with its grammar.
    pub(super) fn parse(text: &str) -> Result<Self, Vec<SyntaxError>> {
        let (document, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(Self {
                value: table(document.get_ref(), text),
                origin: Origin::File { line: 1 },
            });
        }
        let errors = errors.iter().map(|error| SyntaxError {
            line: line(text, error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        });
        Err(errors.collect())
    }

    /// The node at a path.
    pub(super) fn at(&self, path: &KeyPath) -> Option<&Self> {
        path.0
            .iter()
            .try_fold(self, |node, step| match (&node.value, step) {
                (Value::Table(table), Step::Key(key)) => table.get(key),
                (Value::List(list), Step::Index(index)) => list.get(*index),
                _ => None,
            })
    }

    /// The text at a path.
    pub(super) fn text_at(&self, path: &KeyPath) -> Option<&str> {
        match &self.at(path)?.value {
            Value::Text(text) => Some(text.expose()),
            _ => None,
        }
    }

    /// The keys of the table at a path.
    pub(super) fn names(&self, path: &KeyPath) -> Vec<String> {
        match self.at(path).map(|node| &node.value) {
            Some(Value::Table(table)) => table.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// Whether there is a table at a path.
    pub(super) fn is_table(&self, path: &KeyPath) -> bool {
        let value = self.at(path).map(|node| &node.value);
        matches!(value, Some(Value::Table(_)))
    }

    /// How many elements the list at a path has.
    pub(super) fn len_at(&self, path: &KeyPath) -> usize {
        match self.at(path).map(|node| &node.value) {
            Some(Value::List(list)) => list.len(),
            _ => 0,
        }
    }

    /// Puts a node at a path, making the tables above it. Does nothing where something else than a
    /// table stands in the way: that is a problem of its own.
    pub(super) fn set(&mut self, path: &KeyPath, node: Self) {
        let Some((last, above)) = path.0.split_last() else {
            return;
        };
        let mut here = self;
        for step in above {
            let below = match (&mut here.value, step) {
                (Value::Table(table), Step::Key(key)) => table
                    .entry(key.clone())
                    .or_insert_with(|| Self::table(node.origin.clone())),
                (Value::List(elements), Step::Index(index)) => match elements.get_mut(*index) {
                    Some(element) => element,
                    None => return,
                },
                _ => return,
            };
            here = below;
        }
        if let (Value::Table(table), Step::Key(key)) = (&mut here.value, last) {
            table.insert(key.clone(), node);
        }
    }

    /// Adds an element to the list at a path, making the list.
    pub(super) fn push(&mut self, path: &KeyPath, node: Self) {
        if self.at(path).is_none() {
            let origin = node.origin.clone();
            let value = Value::List(Vec::new());
            self.set(path, Self { value, origin });
        }
        if let Some(Value::List(list)) = self.at_mut(path).map(|node| &mut node.value) {
            list.push(node);
        }
    }

    /// Takes the node at a path away.
    pub(super) fn remove(&mut self, path: &KeyPath) -> Option<Self> {
        let (last, above) = path.0.split_last()?;
        match (&mut self.at_mut(&KeyPath(above.to_vec()))?.value, last) {
            (Value::Table(table), Step::Key(key)) => table.remove(key),
            _ => None,
        }
    }

    fn at_mut(&mut self, path: &KeyPath) -> Option<&mut Self> {
        path.0
            .iter()
            .try_fold(self, |node, step| match (&mut node.value, step) {
                (Value::Table(table), Step::Key(key)) => table.get_mut(key),
                (Value::List(list), Step::Index(index)) => list.get_mut(*index),
                _ => None,
            })
    }
}

fn table(table: &DeTable<'_>, text: &str) -> Value {
    let entries = table.iter().map(|(key, value)| {
        // The line of the key, so that a table is found at its header.
        let start = match value.get_ref() {
            DeValue::Array(_) | DeValue::Table(_) => key.span().start,
            _ => value.span().start,
        };
        let node = Node {
            value: convert(value.get_ref(), text),
            origin: Origin::File {
                line: line(text, start),
            },
        };
        (key.get_ref().to_string(), node)
    });
    Value::Table(entries.collect())
}

fn convert(value: &DeValue<'_>, text: &str) -> Value {
    match value {
        DeValue::String(string) => Value::Text(Secret::new(string.as_ref())),
        DeValue::Datetime(datetime) => Value::Text(Secret::new(datetime.to_string())),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or(Value::Float, Value::Integer),
        DeValue::Float(_) => Value::Float,
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Array(array) => Value::List(
            array
                .iter()
                .map(|element| Node {
                    value: convert(element.get_ref(), text),
                    origin: Origin::File {
                        line: line(text, element.span().start),
                    },
                })
                .collect(),
        ),
        DeValue::Table(entries) => table(entries, text),
    }
}

fn line(text: &str, offset: usize) -> usize {
    let before = text.bytes().take(offset);
    before.filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of(text: &str, path: &KeyPath) -> usize {
        let Ok(tree) = Node::parse(text) else {
            panic!("not TOML: {text}")
        };
        match tree.at(path).expect("present").origin {
            Origin::File { line } => line,
            ref other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_value_knows_its_line() {
        let text =
            "a = 1\n[b]\nc = 2\n[[d]]\ne = 3\n[[d]]\n\ne = 4\nf = [\n 5,\n 6]\n[d.g]\nh = 7\n";
        let d = KeyPath::of("d");
        assert_eq!(line_of(text, &KeyPath::of("a")), 1);
        assert_eq!(line_of(text, &KeyPath::of("b")), 2);
        assert_eq!(line_of(text, &KeyPath::of("b.c")), 3);
        assert_eq!(line_of(text, &d.index(0)), 4);
        assert_eq!(line_of(text, &d.index(1)), 6);
        assert_eq!(line_of(text, &d.index(1).key("e")), 8);
        assert_eq!(line_of(text, &d.index(1).key("f").index(1)), 11);
        assert_eq!(line_of(text, &d.index(1).key("g")), 12);
    }

    #[test]
    fn every_syntax_error_is_reported() {
        let errors = Node::parse("a = \nb = 1\nc = ]\nb = 2\n").err().unwrap();
        let lines: Vec<_> = errors.iter().map(|error| error.line).collect();
        assert!(lines.len() >= 3, "{lines:?}");
        assert!(lines.contains(&1) && lines.contains(&3) && lines.contains(&4));
    }

    #[test]
    fn paths_print_as_they_are_written() {
        let path = KeyPath::of("clients").key("a b").index(2).key("x");
        assert_eq!(path.to_string(), "clients.\"a b\"[2].x");
    }
}
