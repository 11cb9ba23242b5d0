//! Documents against the code: the reference lists every key, and links lead somewhere.

use std::path::{Component, Path, PathBuf};

use proc_macro2::TokenTree;

use super::tree::{Source, is_ident, is_punct};

/// One key of the configuration, as the code tells it.
struct Key {
    path: String,
    about: String,
    default: Option<String>,
}

/// Complains of keys that `reference` does not list with their default and meaning, and of keys
/// that it lists and that do not exist.
pub(crate) fn configuration(keys: &Source, reference: &str) -> Vec<String> {
    let mut keys_found = Vec::new();
    collect(&keys.tokens, &mut keys_found);
    if keys_found.is_empty() {
        return vec![format!("{}: lists no key", keys.path)];
    }
    let rows: Vec<&str> = reference
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let mut complaints = Vec::new();
    for key in &keys_found {
        let default = match key.default.as_deref() {
            None => "|  |".to_owned(),
            Some("") => "| none |".to_owned(),
            Some(default) => format!("| `{default}` |"),
        };
        let is_told = |row: &&str| {
            row.starts_with(&format!("| `{}` |", key.path))
                && row.ends_with(&format!("{default} {} |", key.about))
        };
        if !rows.iter().any(is_told) {
            complaints.push(format!(
                "docs/configuration.md: no row `{}` that ends with `{default} {} |`",
                key.path, key.about
            ));
        }
    }
    if rows.len() != keys_found.len() {
        complaints.push(format!(
            "docs/configuration.md: {} rows for {} keys",
            rows.len(),
            keys_found.len()
        ));
    }
    complaints
}

/// `key("path", kind, "about")`, perhaps with `.or("default")`.
fn collect(tokens: &[TokenTree], found: &mut Vec<Key>) {
    for (index, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else {
            continue;
        };
        let inner: Vec<TokenTree> = group.stream().into_iter().collect();
        let is_call = index > 0 && is_ident(&tokens[index - 1], "key");
        if let (true, Some(path), Some(about)) = (
            is_call,
            inner.first().and_then(text),
            inner.last().and_then(text),
        ) {
            let default = match tokens.get(index + 1..index + 4) {
                Some([dot, or, TokenTree::Group(default)])
                    if is_punct(dot, '.') && is_ident(or, "or") =>
                {
                    default.stream().into_iter().next().as_ref().and_then(text)
                }
                _ => None,
            };
            found.push(Key {
                path,
                about,
                default,
            });
        } else {
            collect(&inner, found);
        }
    }
}

/// What a plain string literal says.
fn text(token: &TokenTree) -> Option<String> {
    let TokenTree::Literal(literal) = token else {
        return None;
    };
    let literal = literal.to_string();
    let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
    Some(inner.replace("\\\"", "\"").replace("\\\\", "\\"))
}

/// Complains of links from the document at `path` to files that are not `tracked`.
pub(crate) fn links(path: &str, document: &str, tracked: &[String]) -> Vec<String> {
    let folder = Path::new(path).parent().unwrap_or_else(|| Path::new(""));
    document
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|link| !link.starts_with('#') && !link.contains("://") && !link.contains("mailto:"))
        .filter_map(|link| link.split('#').next())
        .filter(|link| {
            let target = resolve(&folder.join(link));
            !tracked
                .iter()
                .any(|file| Path::new(file).starts_with(&target))
        })
        .map(|link| format!("{path}: the link to `{link}` leads nowhere"))
        .collect()
}

fn resolve(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                resolved.pop();
            }
            Component::CurDir => {}
            other => resolved.push(other),
        }
    }
    resolved
}

/// The fenced block below `<!-- mark -->`.
pub(crate) fn block(document: &str, mark: &str) -> Option<String> {
    let (_, after) = document.split_once(&format!("<!-- {mark} -->\n```"))?;
    let (_, body) = after.split_once('\n')?;
    body.split_once("\n```").map(|(block, _)| block.to_owned())
}

#[cfg(test)]
mod samples {
    //! Documents that do not fit the code are found.

    use super::*;

    #[test]
    fn key_that_is_told_wrongly_is_found() {
        let keys = Source::new(
            "src/config/keys.rs",
            r#"const K: &[Key] = &[key("a.b", Kind::Text, "What \"it\" is").or("x"), key("c", Kind::Choice(&["d"]), "Other")];"#,
        );
        let right = "| `a.b` | text | `x` | What \"it\" is |\n| `c` | one of `d` |  | Other |\n";
        assert_eq!(configuration(&keys, right), Vec::<String>::new());
        for (wrong, count) in [
            (right.replace("`x`", "`y`"), 1),
            (right.replace("Other", "Another"), 1),
            (right.replace("`c`", "`e`"), 1),
            (format!("{right}| `e` | text |  | Old |\n"), 1),
            (String::new(), 3),
        ] {
            assert_eq!(configuration(&keys, &wrong).len(), count, "{wrong}");
        }
    }

    #[test]
    fn link_that_leads_nowhere_is_found() {
        let tracked = ["README.md", "docs/design.md", "tests/a/b.rs"].map(str::to_owned);
        let text =
            "[a](design.md) [b](../README.md#x) [c](#y) [d](https://a.example) [e](../tests/a)";
        assert_eq!(
            links("docs/design.md", text, &tracked),
            Vec::<String>::new()
        );
        assert_eq!(links("docs/design.md", "[a](other.md)", &tracked).len(), 1);
        assert_eq!(
            links("README.md", "[a](../README.md) [b](docs/no.md)", &tracked).len(),
            1
        );
    }

    #[test]
    fn block_is_read_below_its_mark() {
        let text = "```sh\nother\n```\n<!-- config -->\n```toml\na = 1\nb = 2\n```\n";
        assert_eq!(block(text, "config").as_deref(), Some("a = 1\nb = 2"));
        assert_eq!(block(text, "none"), None);
    }
}
