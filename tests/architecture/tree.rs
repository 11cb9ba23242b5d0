//! The tree as the rules see it: files, their tokens, and the names of the tests in them.
//!
//! Tokens come from `proc-macro2`, so that a comment or a string never looks like code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// One Rust file.
pub(crate) struct Source {
    /// Its path from the top, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) tokens: Vec<TokenTree>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let tokens: TokenStream = text
            .parse()
            .unwrap_or_else(|error| panic!("{path} is not Rust: {error}"));
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            tokens: tokens.into_iter().collect(),
        }
    }

    /// The room: the first name below `src`.
    pub(crate) fn room(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let first = below.split('/').next().unwrap_or(below);
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// The file without its `#[cfg(test)]` items: tests may look down from above.
    pub(crate) fn without_tests(&self) -> Self {
        let mut tokens = Vec::new();
        let mut rest = self.tokens.iter().peekable();
        while let Some(token) = rest.next() {
            let opens_test = is_punct(token, '#')
                && matches!(rest.peek(), Some(TokenTree::Group(group))
                    if group.stream().to_string().replace(' ', "") == "cfg(test)");
            if opens_test {
                rest.next();
                rest.find(|token| {
                    is_punct(token, ';')
                        || matches!(token, TokenTree::Group(group)
                            if group.delimiter() == Delimiter::Brace)
                });
            } else {
                tokens.push(token.clone());
            }
        }
        Self {
            path: self.path.clone(),
            text: self.text.clone(),
            tokens,
        }
    }

    /// How many modules lie between the crate's root and this file, itself included.
    pub(crate) fn depth(&self) -> usize {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let parts = below.split('/').count();
        match below.rsplit('/').next() {
            Some("mod.rs" | "lib.rs" | "main.rs") => parts - 1,
            _ => parts,
        }
    }
}

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Reads a file, by its path from the top.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Rust file below a folder.
pub(crate) fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    files(&top().join(folder), &mut found);
    let sources: Vec<Source> = found
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let name = path.strip_prefix(top()).unwrap();
            let name = name.to_str().unwrap().replace('\\', "/");
            Source::new(&name, &read(&name))
        })
        .collect();
    assert!(!sources.is_empty(), "no Rust file below {folder}");
    sources
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !["target", "node_modules", "vectors", ".venv"].contains(&name) {
                files(&path, found);
            }
        } else {
            found.push(path);
        }
    }
}

/// Every file that git tracks; in a tree without git, what lies at the top.
pub(crate) fn tracked() -> Vec<String> {
    let listing = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(top())
        .output();
    match listing {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => {
            String::from_utf8(output.stdout)
                .unwrap()
                .split_terminator('\0')
                .map(str::to_owned)
                .collect()
        }
        _ => std::fs::read_dir(top())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "target")
            .collect(),
    }
}

/// Every document that git tracks, with its text; not what came with the test vectors.
pub(crate) fn documents() -> Vec<(String, String)> {
    tracked()
        .into_iter()
        .filter(|path| {
            Path::new(path)
                .extension()
                .is_some_and(|extension| extension == "md")
        })
        .filter(|path| !path.starts_with("tests/vectors/"))
        .map(|path| (path.clone(), read(&path)))
        .collect()
}

/// The names that `tests/traceability.md` may cite: test functions, and files that hold a proof
/// of another kind (a fuzz target, a step of the client suite). `file::name` tells equal names apart.
pub(crate) fn known_tests() -> BTreeSet<String> {
    let mut names = Names::default();
    let mut qualified = BTreeSet::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        names.read(&source.tokens, false);
        let mut own = Names::default();
        own.read(&source.tokens, false);
        let file = Path::new(&source.path).file_stem().unwrap().display();
        qualified.extend(own.tests().iter().map(|name| format!("{file}::{name}")));
    }
    let mut known = names.tests();
    known.extend(qualified);
    known.extend(tracked());
    known
}

/// What is called what in a set of files.
#[derive(Default)]
pub(crate) struct Names {
    functions: BTreeSet<String>,
    marked: BTreeSet<String>,
    listed: BTreeSet<String>,
}

impl Names {
    /// Functions below a `#[test]`-like attribute, and functions whose name a `macro_rules!` lists
    /// (the cases of a suite that runs over several implementations).
    pub(crate) fn tests(&self) -> BTreeSet<String> {
        let cases = self.functions.intersection(&self.listed);
        self.marked.iter().chain(cases).cloned().collect()
    }

    pub(crate) fn read(&mut self, tokens: &[TokenTree], in_macro: bool) {
        let mut is_test = false;
        for (index, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    if is_attribute(tokens, index) {
                        is_test |= marks_a_test(&inner);
                        continue;
                    }
                    let opens_macro = index >= 3 && is_ident(&tokens[index - 3], "macro_rules");
                    self.read(&inner, in_macro || opens_macro);
                }
                TokenTree::Ident(ident) if in_macro => {
                    self.listed.insert(ident.to_string());
                }
                TokenTree::Ident(ident) if ident == "fn" => {
                    if let Some(TokenTree::Ident(name)) = tokens.get(index + 1) {
                        self.functions.insert(name.to_string());
                        if is_test {
                            self.marked.insert(name.to_string());
                        }
                    }
                    is_test = false;
                }
                _ => {}
            }
        }
    }
}

fn marks_a_test(attribute: &[TokenTree]) -> bool {
    let is_condition = attribute
        .first()
        .is_some_and(|token| is_ident(token, "cfg") || is_ident(token, "cfg_attr"));
    !is_condition && attribute.iter().any(|token| is_ident(token, "test"))
}

/// Whether the group at `index` is the bracket of `#[…]` or `#![…]`.
fn is_attribute(tokens: &[TokenTree], index: usize) -> bool {
    let before = |distance: usize| index.checked_sub(distance).and_then(|at| tokens.get(at));
    before(1).is_some_and(|token| is_punct(token, '#'))
        || (before(1).is_some_and(|token| is_punct(token, '!'))
            && before(2).is_some_and(|token| is_punct(token, '#')))
}

pub(crate) fn is_ident(token: &TokenTree, name: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == name)
}

pub(crate) fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

#[test]
fn only_functions_that_run_as_tests_are_known() {
    let source = Source::new(
        "tests/sample.rs",
        "#[test] fn plain_test() {}
         #[tokio::test(start_paused = true)] async fn paused_test() {}
         // fn commented_out() {}
         const TEXT: &str = \"fn in_a_string() {}\";
         fn support() {}
         #[cfg(test)] fn support_for_tests() {}
         fn case_of_a_suite() {}
         macro_rules! suite { () => { codes: case_of_a_suite, }; }",
    );
    let mut names = Names::default();
    names.read(&source.tokens, false);
    let expected = ["case_of_a_suite", "paused_test", "plain_test"];
    assert_eq!(names.tests(), expected.map(str::to_owned).into());
}

#[test]
fn room_and_depth_come_from_the_path() {
    for (path, room, depth) in [
        ("src/lib.rs", "lib", 0),
        ("src/time.rs", "time", 1),
        ("src/http/mod.rs", "http", 1),
        ("src/http/token.rs", "http", 2),
        ("src/replay/memory/claims.rs", "replay", 3),
    ] {
        let source = Source::new(path, "");
        assert_eq!((source.room(), source.depth()), (room, depth), "{path}");
    }
}
