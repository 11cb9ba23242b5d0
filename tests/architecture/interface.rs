//! What programs that embed the server see: a short front page whose items name only what they may.
//!
//! A type of an HTTP client or of a store in a signature would tie those programs to its version.

use std::collections::BTreeMap;

use proc_macro2::{Delimiter, TokenTree};

use super::paths;
use super::tree::{Source, is_ident, is_punct};

/// The files whose public items are on the front page.
pub(crate) fn is_visible(path: &str) -> bool {
    path.starts_with("src/embed/")
        || ["src/config/problem.rs", "src/demo/provider.rs"].contains(&path)
}

/// What a visible signature may name, besides the items of its own file.
const ALLOWED: [&str; 9] = [
    "std",
    "axum",
    "http",
    "tower",
    "crate::embed",
    "crate::config::Problem",
    "crate::config::Problems",
    "crate::config::Severity",
    "crate::demo::DemoProvider",
];

/// Where the items of the front page come from.
const SHOWN: [&str; 5] = [
    "crate::embed",
    "crate::config::Problem",
    "crate::config::Problems",
    "crate::config::Severity",
    "crate::demo::DemoProvider",
];

/// Complains of what else a public signature names.
pub(crate) fn signatures(source: &Source) -> Vec<String> {
    let imports: BTreeMap<String, Vec<String>> = named(source, uses(&source.tokens))
        .into_iter()
        .filter_map(|path| Some((path.last()?.clone(), path)))
        .collect();
    let mut items = Vec::new();
    visible(&source.tokens, &mut items);
    let mut complaints: Vec<String> = items
        .into_iter()
        .flat_map(|item| {
            let mut single = Vec::new();
            names(&item, &mut single);
            let single = single.into_iter().map(|name| vec![name]);
            named(source, item).into_iter().chain(single)
        })
        .filter_map(|path| resolved(path, &imports))
        .filter(|path| !ALLOWED.iter().any(|start| paths::is_below(path, start)))
        .map(|path| {
            let path = path.join("::");
            format!("{}: a public item names `{path}`", source.path)
        })
        .collect();
    complaints.sort();
    complaints.dedup();
    complaints
}

/// The `use` items at the top of a file.
fn uses(tokens: &[TokenTree]) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut is_inside = false;
    for token in tokens {
        is_inside |= is_ident(token, "use");
        if is_inside {
            kept.push(token.clone());
        }
        is_inside &= !is_punct(token, ';');
    }
    kept
}

/// The paths in some tokens of a file, from the root of this crate or of another.
fn named(source: &Source, tokens: Vec<TokenTree>) -> Vec<Vec<String>> {
    let part = Source {
        path: source.path.clone(),
        text: String::new(),
        tokens,
    };
    let mut named = paths::named(&part);
    for path in &mut named {
        // The files here are a room or one step below it.
        if path[0] == "super" || path[0] == "self" {
            path.splice(..1, ["crate", source.room()].map(str::to_owned));
        }
        if path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
    }
    named
}

/// The whole path of a name; none for what the file itself or its generics define.
fn resolved(path: Vec<String>, imports: &BTreeMap<String, Vec<String>>) -> Option<Vec<String>> {
    if let Some(import) = imports.get(&path[0]) {
        return Some(import.iter().chain(&path[1..]).cloned().collect());
    }
    let is_root = path.len() > 1 && path[0].starts_with(|c: char| c.is_lowercase());
    is_root.then_some(path)
}

/// Complains of what `src/lib.rs` shows and should not.
pub(crate) fn front(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for (index, token) in source.tokens.iter().enumerate() {
        let Some(next) = source.tokens.get(index + 1) else {
            break;
        };
        if is_ident(token, "pub") && is_ident(next, "mod") && !is_hidden(&source.tokens, index) {
            let name = &source.tokens[index + 2];
            complaints.push(format!("src/lib.rs: the room `{name}` is not hidden"));
        }
    }
    let shown = paths::named(source).into_iter();
    let complaint = |path: Vec<String>| format!("src/lib.rs: shows `{}`", path.join("::"));
    complaints.extend(
        shown
            .map(|mut path| {
                if path[0] != "crate" {
                    path.insert(0, "crate".to_owned());
                }
                path
            })
            .filter(|path| !SHOWN.iter().any(|start| paths::is_below(path, start)))
            .map(complaint),
    );
    complaints
}

/// Collects public signatures, fields and variants, and associated types.
fn visible(tokens: &[TokenTree], found: &mut Vec<Vec<TokenTree>>) {
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        let is_public = is_ident(token, "pub")
            && !matches!(tokens.get(index + 1), Some(TokenTree::Group(_)))
            && !is_hidden(tokens, index);
        if is_public || is_ident(token, "type") {
            let item = &tokens[index..];
            let is_enum = item.get(1).is_some_and(|next| is_ident(next, "enum"));
            let is_struct = item.get(1).is_some_and(|next| is_ident(next, "struct"));
            let is_brace = |token: &TokenTree| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
            let end = item
                .iter()
                .position(|token| is_punct(token, ';') || is_brace(token))
                .unwrap_or(item.len());
            let end = end + usize::from(is_enum);
            if !is_struct {
                found.push(item[..end.min(item.len())].to_vec());
            }
        }
        if let TokenTree::Group(group) = token {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            visible(&inner, found);
        }
        index += 1;
    }
}

fn names(tokens: &[TokenTree], found: &mut Vec<String>) {
    for (index, token) in tokens.iter().enumerate() {
        // A function's own name says nothing.
        let is_own = index > 0 && is_ident(&tokens[index - 1], "fn");
        match token {
            TokenTree::Ident(ident) if !is_own => found.push(ident.to_string()),
            TokenTree::Group(group) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                names(&inner, found);
            }
            _ => {}
        }
    }
}

/// Whether `#[doc(hidden)]` stands right before an item.
fn is_hidden(tokens: &[TokenTree], index: usize) -> bool {
    let Some(before) = index.checked_sub(1).and_then(|it| tokens.get(it)) else {
        return false;
    };
    matches!(before, TokenTree::Group(group)
        if group.stream().to_string().replace(' ', "") == "doc(hidden)")
}

#[test]
fn foreign_type_in_a_signature_is_found() {
    for text in [
        "use reqwest::Client; impl A { pub fn f(&self) -> Client { g() } }",
        "impl A { pub async fn f(c: &mut redis::Client) {} }",
        "pub enum E { A(#[from] crate::net::ClientError) }",
        "use crate::net::ClientError; pub struct S { pub cause: ClientError }",
        "use hyper::body::Incoming; impl T for A { type Body = Incoming; }",
        "use crate::{seal::Keys, config::Problem}; pub const fn keys(p: Problem) -> Keys { k }",
    ] {
        let source = Source::new("src/embed/mod.rs", text);
        assert_eq!(signatures(&source).len(), 1, "{text}");
    }
}

#[test]
fn what_is_private_or_hidden_may_name_anything() {
    for text in [
        "use reqwest::Client; pub struct S { client: Client }",
        "use crate::seal::Keys; pub struct S(Keys); fn f(k: Keys) {} pub(super) fn g(k: Keys) {}",
        "use reqwest::Client; impl A { pub fn f(&self) { Client::new() } }",
        "use crate::time::Clock; impl A { #[doc(hidden)] pub fn f(c: Clock) {} }",
        "use axum::Router; use std::io; pub fn f() -> io::Result<Router> { g() }",
        "use super::Identity; pub fn f() -> Identity { g() }",
        "use crate::seal::keys; impl A { pub fn keys(self) -> Self { keys(); self } }",
    ] {
        let source = Source::new("src/embed/layer.rs", text);
        assert_eq!(signatures(&source), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn room_on_the_front_page_is_found() {
    let shown = "pub mod seal; #[doc(hidden)] pub mod net; mod embed;\n\
                 pub use embed::{A, B}; pub use config::Problem; pub use net::ClientError;";
    assert_eq!(
        front(&Source::new("src/lib.rs", shown)),
        [
            "src/lib.rs: the room `seal` is not hidden",
            "src/lib.rs: shows `crate::net::ClientError`"
        ]
    );
}
