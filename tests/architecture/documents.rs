//! Documents: links between them lead somewhere, and the commands in them can be found.

use std::path::{Component, Path, PathBuf};

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

/// Complains of commands that the document names and that the program, one file for each, lacks.
pub(crate) fn commands(path: &str, document: &str, tracked: &[String]) -> Vec<String> {
    document
        .split("mcp-oauth ")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase()).next())
        .filter(|word| !word.is_empty())
        .filter(|word| !tracked.contains(&format!("src/cli/{word}.rs")))
        .map(|word| format!("{path}: there is no command `{word}`"))
        .collect()
}

/// The fenced block below `<!-- mark -->`.
pub(crate) fn block(document: &str, mark: &str) -> Option<String> {
    let (_, after) = document.split_once(&format!("<!-- {mark} -->\n```"))?;
    let (_, body) = after.split_once('\n')?;
    body.split_once("\n```").map(|(block, _)| block.to_owned())
}

#[cfg(test)]
mod samples {
    //! What does not fit is found.

    use super::*;

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
    fn command_that_does_not_exist_is_found() {
        let tracked = ["src/cli/keys.rs".to_owned()];
        let text = "`mcp-oauth keys list`, mcp-oauth --help, `mcp-oauth dance`";
        let complaints = commands("README.md", text, &tracked);
        assert_eq!(complaints, ["README.md: there is no command `dance`"]);
    }

    #[test]
    fn block_is_read_below_its_mark() {
        let text = "```sh\nother\n```\n<!-- config -->\n```toml\na = 1\nb = 2\n```\n";
        assert_eq!(block(text, "config").as_deref(), Some("a = 1\nb = 2"));
        assert_eq!(block(text, "none"), None);
    }
}
