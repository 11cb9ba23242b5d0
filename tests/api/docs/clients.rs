//! The known clients, from the fixtures with which each is walked through a sign-in.

use std::fmt::Write as _;

use serde_json::Value;

use super::{at, cell};

/// Each client: how it makes itself known, where it is answered, and what is odd about it.
pub(super) fn table() -> String {
    let mut files: Vec<_> = std::fs::read_dir(at("tests/api/clients"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "json"))
        .collect();
    files.sort();
    let mut out = String::from(
        "| client | known by | answered at, for example | seen |\n|---|---|---|---|\n",
    );
    for file in files {
        let fixture: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let ways = fixture["ways"].as_array().unwrap();
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} |",
            fixture["client"].as_str().unwrap(),
            known_by(ways),
            redirects(ways),
            cell(fixture["quirks"].as_str().unwrap())
        );
    }
    out
}

fn known_by(ways: &[Value]) -> String {
    let words = [
        ("document", "metadata document"),
        ("registers", "registration"),
        ("configured", "configuration"),
    ];
    let found = words
        .iter()
        .filter(|(member, _)| ways.iter().any(|way| way.get(member).is_some()));
    found.map(|(_, word)| *word).collect::<Vec<_>>().join(", ")
}

fn redirects(ways: &[Value]) -> String {
    let mut found: Vec<String> = Vec::new();
    for ask in ways.iter().flat_map(|way| way["asks"].as_array().unwrap()) {
        let redirect = format!("`{}`", ask["redirect_uri"].as_str().unwrap());
        if !found.contains(&redirect) {
            found.push(redirect);
        }
    }
    found.truncate(3);
    found.join("<br>")
}
