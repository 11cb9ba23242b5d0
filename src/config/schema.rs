//! What can be written, for machines and for people: the JSON schema and the reference table. Both
//! come from the table of keys.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::env::variable_of;
use super::keys::{KEYS, Kind};

/// The JSON schema (2020-12) of the file.
pub fn schema() -> Value {
    let mut root = Table::default();
    for key in KEYS {
        root.insert(key.path, describe(key.kind, key.about, key.default));
        if key.has_file_twin() {
            let about = format!("File that holds `{}`", last(key.path));
            let path = format!("{}_file", key.path);
            root.insert(&path, describe(Kind::Path, &about, None));
        }
    }
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mcp-oauth.toml",
    });
    merged(head, root.into_json())
}

/// The reference of every key, in Markdown.
pub fn reference() -> String {
    let mut out = String::new();
    let mut table = None;
    for key in KEYS {
        let own = table_of(key.path);
        if table != Some(own.clone()) {
            let heading = if own.is_empty() { "Top level" } else { &own };
            let _ = write!(out, "\n### {}\n\n", heading_of(heading));
            out.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
            table = Some(own);
        }
        let default = key
            .default
            .map_or_else(String::new, |default| shown_default(key.kind, default));
        let mut about = key.about.replace('|', "\\|");
        if key.has_file_twin() {
            let _ = write!(about, ". `{}_file` names a file instead", last(key.path));
        }
        if let Some(variable) = variable_of(key) {
            let _ = write!(about, "<br>`{variable}`");
        }
        let name = last(key.path);
        let _ = writeln!(
            out,
            "| `{name}` | {} | {default} | {about} |",
            kind_in_words(key.kind)
        );
    }
    out
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or_default()
}

fn table_of(path: &str) -> String {
    path.rsplit_once('.')
        .map_or_else(String::new, |(table, _)| table.to_owned())
}

/// `upstreams.*` is `[upstreams.NAME]`, `resources[]` is `[[resources]]`.
fn heading_of(table: &str) -> String {
    match table.split_once("[]") {
        Some((list, "")) => format!("`[[{list}]]`"),
        Some((list, below)) => format!("`[{list}{below}]`"),
        None if table.contains(' ') => table.to_owned(),
        None => format!("`[{}]`", table.replace('*', "NAME")),
    }
}

fn shown_default(kind: Kind, default: &str) -> String {
    match kind {
        Kind::Boolean | Kind::Integer => format!("`{default}`"),
        Kind::List | Kind::Choices(_) if default.is_empty() => "`[]`".to_owned(),
        Kind::List | Kind::Choices(_) => format!("`[\"{default}\"]`"),
        _ => format!("`\"{default}\"`"),
    }
}

fn kind_in_words(kind: Kind) -> String {
    let or = |words: &[&str]| {
        let words: Vec<_> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
        words.join(", ")
    };
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Secret => "secret".to_owned(),
        Kind::Url => "URL".to_owned(),
        Kind::Path => "path".to_owned(),
        Kind::Address => "address".to_owned(),
        Kind::Boolean => "boolean".to_owned(),
        Kind::Integer => "integer".to_owned(),
        Kind::Duration => "duration".to_owned(),
        Kind::Size => "size".to_owned(),
        Kind::Time => "time".to_owned(),
        Kind::List => "list".to_owned(),
        Kind::Headers | Kind::Texts => "table".to_owned(),
        Kind::Epochs(_) => "list of tables".to_owned(),
        Kind::Choice(words) => or(words),
        Kind::Choices(words) => format!("list of {}", or(words)),
    }
}

/// A table of the file, while its schema is put together.
#[derive(Default)]
struct Table {
    properties: BTreeMap<String, Part>,
    /// What is behind names that are free.
    entries: Option<Box<Self>>,
}

/// What is behind a key.
enum Part {
    Value(Value),
    Table(Table),
    List(Table),
}

impl Table {
    /// Puts the description of a key at its path, making the tables above it.
    fn insert(&mut self, path: &str, description: Value) {
        let Some((step, rest)) = path.split_once('.') else {
            self.properties
                .insert(path.to_owned(), Part::Value(description));
            return;
        };
        let below = match step.strip_suffix("[]") {
            Some(list) => self.part(list, Part::List),
            None if step == "*" => Some(&mut **self.entries.get_or_insert_default()),
            None => self.part(step, Part::Table),
        };
        if let Some(table) = below {
            table.insert(rest, description);
        }
    }

    /// The table behind a key.
    fn part(&mut self, key: &str, make: fn(Self) -> Part) -> Option<&mut Self> {
        let part = self
            .properties
            .entry(key.to_owned())
            .or_insert_with(|| make(Self::default()));
        match part {
            Part::Table(table) | Part::List(table) => Some(table),
            Part::Value(_) => None,
        }
    }

    fn into_json(self) -> Value {
        let properties = self.properties.into_iter().map(|(key, part)| {
            let part = match part {
                Part::Value(value) => value,
                Part::Table(table) => table.into_json(),
                Part::List(table) => json!({ "type": "array", "items": table.into_json() }),
            };
            (key, part)
        });
        let properties: Map<String, Value> = properties.collect();
        let additional = self
            .entries
            .map_or(Value::Bool(false), |entries| entries.into_json());
        json!({
            "type": "object",
            "properties": properties,
            "additionalProperties": additional,
        })
    }
}

fn describe(kind: Kind, about: &str, default: Option<&str>) -> Value {
    let mut description = merged(shape(kind), json!({ "description": about }));
    if let (Some(default), Some(members)) = (default, description.as_object_mut()) {
        members.insert("default".to_owned(), default_of(kind, default));
    }
    description
}

fn shape(kind: Kind) -> Value {
    match kind {
        Kind::Text | Kind::Path | Kind::Address => json!({ "type": "string" }),
        Kind::Secret => json!({ "type": "string", "writeOnly": true }),
        Kind::Url => json!({ "type": "string", "format": "uri" }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Integer => json!({ "type": "integer", "minimum": 0 }),
        Kind::Duration => json!({ "type": "string", "pattern": "^[0-9]+ ?(ms|s|m|h|d)$" }),
        Kind::Size => json!({ "type": "string", "pattern": "^[0-9]+ ?([kKMG]?B|[KMG]iB)$" }),
        Kind::Time => json!({ "type": "string", "format": "date-time" }),
        Kind::List => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Choice(words) => json!({ "type": "string", "enum": words }),
        Kind::Choices(words) => {
            json!({ "type": "array", "items": { "type": "string", "enum": words } })
        }
        Kind::Headers => json!({ "type": "object", "additionalProperties": shape(Kind::Secret) }),
        Kind::Texts => json!({ "type": "object", "additionalProperties": shape(Kind::Text) }),
        Kind::Epochs(name) => {
            let mut item = Table::default();
            item.insert(name, shape(Kind::Text));
            item.insert("before", shape(Kind::Time));
            let item = merged(item.into_json(), json!({ "required": [name] }));
            json!({ "type": "array", "items": item })
        }
    }
}

fn merged(mut left: Value, right: Value) -> Value {
    if let (Some(left), Value::Object(right)) = (left.as_object_mut(), right) {
        left.extend::<Map<String, Value>>(right);
    }
    left
}

fn default_of(kind: Kind, default: &str) -> Value {
    match kind {
        Kind::Boolean => json!(default == "true"),
        Kind::Integer => json!(default.parse::<u64>().unwrap_or_default()),
        Kind::List | Kind::Choices(_) => {
            json!(
                default
                    .split(',')
                    .filter(|word| !word.is_empty())
                    .collect::<Vec<_>>()
            )
        }
        _ => json!(default),
    }
}
