//! What can be written, for machines and for people: the JSON schema and the reference table. Both
//! come from the table of keys.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::env::variable_of;
use super::keys::{KEYS, Kind};

/// The JSON schema (2020-12) of the file.
pub fn schema() -> Value {
    let mut root = object();
    for key in KEYS {
        insert(
            &mut root,
            key.path,
            describe(key.kind, key.about, key.default),
        );
        if key.has_file_twin() {
            let about = format!("File that holds `{}`", last(key.path));
            let path = format!("{}_file", key.path);
            insert(&mut root, &path, describe(Kind::Path, &about, None));
        }
    }
    if let Some(root) = root.as_object_mut() {
        root.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        root.insert("title".to_owned(), json!("mcp-oauth.toml"));
        root.insert("required".to_owned(), json!(["public_url"]));
    }
    root
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

fn object() -> Value {
    json!({ "type": "object", "properties": {}, "additionalProperties": false })
}

/// Puts the description of a key at its path, making the tables above it.
fn insert(root: &mut Value, path: &str, description: Value) {
    let mut table = root;
    let mut steps: Vec<&str> = path.split('.').collect();
    let Some(name) = steps.pop() else {
        return;
    };
    for step in steps {
        let below = match step.strip_suffix("[]") {
            Some(list) => {
                let list = entry(&mut table["properties"], list);
                if list.is_null() {
                    *list = json!({ "type": "array", "items": object() });
                }
                &mut list["items"]
            }
            None if step == "*" => {
                let entries = &mut table["additionalProperties"];
                if entries.is_boolean() {
                    *entries = object();
                }
                entries
            }
            None => {
                let below = entry(&mut table["properties"], step);
                if below.is_null() {
                    *below = object();
                }
                below
            }
        };
        table = below;
    }
    *entry(&mut table["properties"], name) = description;
}

fn entry<'a>(properties: &'a mut Value, name: &str) -> &'a mut Value {
    &mut properties[name]
}

fn describe(kind: Kind, about: &str, default: Option<&str>) -> Value {
    let text = |extra: Value| merged(json!({ "type": "string" }), extra);
    let mut description = match kind {
        Kind::Text | Kind::Path | Kind::Address => text(json!({})),
        Kind::Secret => text(json!({ "writeOnly": true })),
        Kind::Url => text(json!({ "format": "uri" })),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Integer => json!({ "type": "integer", "minimum": 0 }),
        Kind::Duration => text(json!({ "pattern": "^[0-9]+ ?(ms|s|m|h|d)$" })),
        Kind::Size => text(json!({ "pattern": "^[0-9]+ ?([kKMG]?B|[KMG]iB)$" })),
        Kind::Time => text(json!({ "format": "date-time" })),
        Kind::List => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Choice(words) => text(json!({ "enum": words })),
        Kind::Choices(words) => {
            json!({ "type": "array", "items": { "type": "string", "enum": words } })
        }
        Kind::Headers => {
            json!({ "type": "object", "additionalProperties": { "type": "string", "writeOnly": true } })
        }
        Kind::Texts => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::Epochs(name) => {
            let mut item = object();
            item["properties"][name] = json!({ "type": "string" });
            item["properties"]["before"] = json!({ "type": "string", "format": "date-time" });
            item["required"] = json!([name]);
            json!({ "type": "array", "items": item })
        }
    };
    description["description"] = json!(about);
    if let Some(default) = default {
        description["default"] = default_of(kind, default);
    }
    description
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
