//! Secrets from files: every secret `x` has a twin `x_file`.
//!
//! Refuses both at once from one source, and files that cannot be read or hold nothing. Files that
//! everybody on the machine can read are warned about.

use std::collections::BTreeMap;
use std::path::Path;

use zeroize::Zeroizing;

use super::keys::{KEYS, Kind};
use super::problem::Report;
use super::tree::{KeyPath, Node, Value};

/// Puts the contents of every twin in the place of its secret.
pub(super) fn read_twins(tree: &mut Node, report: &mut Report<'_>) {
    for key in KEYS.iter().filter(|key| key.has_file_twin()) {
        for place in key.places(tree) {
            read_twin(tree, &place, key.kind, report);
        }
    }
}

/// The path of a secret's twin.
fn twin(place: &KeyPath) -> Option<KeyPath> {
    let name = place.last_key()?;
    Some(place.parent()?.key(&format!("{name}_file")))
}

/// The path of the secret whose twin this is.
fn secret_of_twin(place: &KeyPath) -> Option<KeyPath> {
    let name = place.last_key()?.strip_suffix("_file")?;
    Some(place.parent()?.key(name))
}

/// Puts a value of a later source at a place: what an earlier one said with the twin is gone.
pub(super) fn replace(tree: &mut Node, place: &KeyPath, node: Node) {
    for other in [twin(place), secret_of_twin(place)].into_iter().flatten() {
        if tree
            .at(&other)
            .is_some_and(|earlier| !earlier.origin.is_same_layer(&node.origin))
        {
            tree.remove(&other);
        }
    }
    tree.set(place, node);
}

fn read_twin(tree: &mut Node, place: &KeyPath, kind: Kind, report: &mut Report<'_>) {
    let Some(at) = twin(place) else {
        return;
    };
    let Some(node) = tree.remove(&at) else {
        return;
    };
    let Value::Text(path) = &node.value else {
        report.error(&at, "should be a string", "the path of a file");
        return;
    };
    if tree.at(place).is_some() {
        let (secret, file) = (place.last_key().unwrap_or_default(), at.last_key());
        let message = format!("both `{secret}` and `{}` are set", file.unwrap_or_default());
        report.error(&at, message, "keep one of them");
        return;
    }
    let Some(text) = read_file(Path::new(path.expose()), &at, report) else {
        // Nothing more is to be said about the secret itself.
        report.mark_faulty(place);
        return;
    };
    let value = match kind {
        Kind::Headers => headers(&text, &node),
        _ => Ok(Node::text(text.as_str(), node.origin.clone())),
    };
    match value {
        Ok(value) => tree.set(place, value),
        Err(line) => {
            let message = format!("line {line} of `{}` is not a header", path.expose());
            report.error(&at, message, "one header on each line: `X-Api-Key: …`");
            report.mark_faulty(place);
        }
    }
}

/// Reads a secret without the line ends after it.
fn read_file(path: &Path, at: &KeyPath, report: &mut Report<'_>) -> Option<Zeroizing<String>> {
    let shown = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) => {
            let message = format!("cannot read `{shown}`: {}", error_in_words(&error));
            report.error(at, message, "paths are relative to the working directory");
            return None;
        }
    };
    warn_if_readable_by_all(path, at, report);
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.trim().is_empty() {
        report.error(
            at,
            format!("`{shown}` is empty"),
            "it should hold the secret and nothing else",
        );
        return None;
    }
    Some(Zeroizing::new(secret.to_owned()))
}

/// The operating system's words without its numbers.
pub(super) fn error_in_words(error: &std::io::Error) -> String {
    let words = error.to_string();
    let end = words.find(" (os error").unwrap_or(words.len());
    words.get(..end).unwrap_or(&words).to_lowercase()
}

/// Warns about a secret that everybody on the machine can read.
fn warn_if_readable_by_all(path: &Path, at: &KeyPath, report: &mut Report<'_>) {
    if is_readable_by_all(path) {
        let shown = path.display();
        let message = format!("everybody on this machine can read `{shown}`");
        report.warn(at, message, &format!("chmod 600 {shown}"));
    }
}

/// Whether everybody on the machine can read a file.
#[cfg(unix)]
pub(super) fn is_readable_by_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

/// Whether everybody on the machine can read a file: not known here.
#[cfg(not(unix))]
pub(super) fn is_readable_by_all(_: &Path) -> bool {
    false
}

/// Reads `Name: value` lines, or says which one is none.
fn headers(text: &str, node: &Node) -> Result<Node, usize> {
    let mut table = BTreeMap::new();
    for (n, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let (name, value) = line.split_once(':').ok_or(n + 1)?;
        let value = Node::text(value.trim(), node.origin.clone());
        table.insert(name.trim().to_owned(), value);
    }
    Ok(Node {
        value: Value::Table(table),
        origin: node.origin.clone(),
    })
}
