//! Finds the paths that Rust code names: `a::b::{c, d::e}` becomes `a::b::c` and `a::b::d::e`.
//!
//! No name resolution: a path is what stands there, made absolute where it starts at `crate`, at
//! this crate's own name, or climbs to the root with `super`.

use proc_macro2::{Delimiter, TokenTree};

use super::tree::{Source, is_ident, is_punct};

/// Every path of two segments or more, and what `use` names.
pub(crate) fn named(source: &Source) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    walk(&source.tokens, source.depth(), &mut found);
    found
}

fn walk(tokens: &[TokenTree], depth: usize, found: &mut Vec<Vec<String>>) {
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        match token {
            TokenTree::Ident(_) => {
                let in_use = index > 0 && is_ident(&tokens[index - 1], "use");
                let mut paths = Vec::new();
                index = path(tokens, index, &[], &mut paths);
                paths.retain(|path| in_use || path.len() > 1);
                found.extend(paths.into_iter().map(|path| absolute(path, depth)));
                continue;
            }
            TokenTree::Group(group) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let opens_module = index >= 2
                    && group.delimiter() == Delimiter::Brace
                    && is_ident(&tokens[index - 2], "mod");
                walk(&inner, depth + usize::from(opens_module), found);
            }
            _ => {}
        }
        index += 1;
    }
}

/// Reads one path that starts at `index`, with its groups; returns where it ends.
fn path(
    tokens: &[TokenTree],
    mut index: usize,
    prefix: &[String],
    found: &mut Vec<Vec<String>>,
) -> usize {
    let mut segments = prefix.to_vec();
    loop {
        match tokens.get(index) {
            Some(TokenTree::Ident(ident)) => segments.push(ident.to_string()),
            Some(token) if is_punct(token, '*') => segments.push("*".to_owned()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                for item in inner.split(|token| is_punct(token, ',')) {
                    if !item.is_empty() {
                        path(item, 0, &segments, found);
                    }
                }
                return index + 1;
            }
            _ => break,
        }
        index += 1;
        let colon = |at: usize| tokens.get(at).is_some_and(|token| is_punct(token, ':'));
        if !(colon(index) && colon(index + 1)) {
            break;
        }
        index += 2;
    }
    found.push(segments);
    index
}

fn absolute(path: Vec<String>, depth: usize) -> Vec<String> {
    let climbs = path
        .iter()
        .skip(usize::from(
            path.first().is_some_and(|first| first == "self"),
        ))
        .take_while(|segment| *segment == "super")
        .count();
    let root = vec!["crate".to_owned()];
    if climbs > 0 && climbs >= depth {
        let rest = path.into_iter().filter(|segment| segment != "super");
        return root
            .into_iter()
            .chain(rest.filter(|s| s != "self"))
            .collect();
    }
    if path.first().is_some_and(|first| first == "mcp_oauth") {
        return root.into_iter().chain(path.into_iter().skip(1)).collect();
    }
    path
}

/// Whether `path` is `start`, written with `::`, or lies below it.
pub(crate) fn is_below(path: &[String], start: &str) -> bool {
    let mut segments = path.iter();
    start
        .split("::")
        .all(|part| segments.next().is_some_and(|segment| segment == part))
}

#[test]
fn groups_aliases_and_climbs_are_expanded() {
    let source = Source::new(
        "src/http/token.rs",
        "use crate::{seal::{self, Keys}, time as clock};
         use super::pages;
         use super::super::gateway;
         use axum as web;
         // use crate::commented;
         fn f() { let _ = \"crate::in_a_string\"; mcp_oauth::cli::run(a.b, c); }
         mod tests { use super::*; use super::super::super::upstream::oidc; }
         fn g() { matches!(x, crate::config::Exchange::Token) }",
    );
    let mut paths: Vec<String> = named(&source).iter().map(|path| path.join("::")).collect();
    paths.retain(|path| !path.starts_with("super"));
    assert_eq!(
        paths,
        [
            "crate::seal::self",
            "crate::seal::Keys",
            "crate::time",
            "crate::gateway",
            "axum",
            "crate::cli::run",
            "crate::upstream::oidc",
            "crate::config::Exchange::Token",
        ]
    );
}

#[test]
fn being_below_goes_by_whole_segments() {
    let path = ["std", "time", "Instant"].map(str::to_owned);
    assert!(is_below(&path, "std::time"));
    assert!(is_below(&path, "std::time::Instant"));
    assert!(!is_below(&path, "std::ti"));
    assert!(!is_below(&path, "std::time::Instant::now"));
}
