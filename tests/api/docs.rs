//! The pages in `docs`: what comes from the code is current, and the table of endpoints is true.
//!
//! A generated part stands between `<!-- generated: NAME -->` and `<!-- /generated -->`. Where one
//! differs the test fails and writes nothing; `UPDATE_DOCS=1 cargo test --test api docs::` writes.

mod clients;
mod complaints;
mod endpoints;
mod errors;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use mcp_oauth::{audit, cli, config, figures};

/// A part of a page, and what makes it.
struct Part {
    page: &'static str,
    name: &'static str,
    make: fn() -> String,
}

const PARTS: &[Part] = &[
    part("how-to/clients", "clients", clients::table),
    part("reference/cli", "commands", commands),
    part(
        "reference/configuration",
        "configuration",
        config::reference,
    ),
    part("reference/errors", "causes", errors::causes),
    part("reference/errors", "codes", errors::codes),
    part("reference/errors", "complaints", complaints::table),
    part("reference/errors", "gateway", errors::gateway),
    part("reference/audit", "events", audit::reference),
    part("reference/metrics", "figures", figures::reference),
];

const fn part(page: &'static str, name: &'static str, make: fn() -> String) -> Part {
    Part { page, name, make }
}

/// Reads a file, by its path from the top.
fn read(path: &str) -> String {
    std::fs::read_to_string(at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn at(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn page(name: &str) -> String {
    format!("docs/{name}.md")
}

/// The page with the part put in.
fn with_part(text: &str, name: &str, part: &str) -> Option<String> {
    let (before, rest) = text.split_once(&format!("<!-- generated: {name} -->\n"))?;
    let (_, after) = rest.split_once("<!-- /generated -->")?;
    let part = part.trim();
    Some(format!(
        "{before}<!-- generated: {name} -->\n\n{part}\n\n<!-- /generated -->{after}"
    ))
}

#[test]
fn generated_parts_of_the_reference_are_current() {
    let mut stale = Vec::new();
    for part in PARTS {
        let path = page(part.page);
        let text = read(&path);
        let current = with_part(&text, part.name, &(part.make)())
            .unwrap_or_else(|| panic!("{path}: no part `{}`", part.name));
        if text == current {
            continue;
        }
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(at(&path), current).unwrap();
        } else {
            stale.push(format!("{path}: `{}`", part.name));
        }
    }
    assert!(
        stale.is_empty(),
        "not current: {}; `UPDATE_DOCS=1 cargo test --test api docs::` writes them",
        stale.join(", ")
    );
}

#[test]
fn every_generated_part_is_made_by_something() {
    let made: BTreeSet<_> = PARTS
        .iter()
        .map(|part| (page(part.page), part.name.to_owned()))
        .collect();
    let mut marked = BTreeSet::new();
    for folder in ["docs", "docs/how-to", "docs/reference"] {
        for entry in std::fs::read_dir(at(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let path = format!("{folder}/{name}");
            if !at(&path).is_file() {
                continue;
            }
            for rest in read(&path).split("<!-- generated: ").skip(1) {
                let name = rest.split(" -->").next().unwrap();
                marked.insert((path.clone(), name.to_owned()));
            }
        }
    }
    assert_eq!(marked, made);
}

#[test]
fn part_is_put_between_its_marks() {
    let text = "a\n<!-- generated: x -->\nold\n<!-- /generated -->\nb\n";
    let current = with_part(text, "x", "new\n").unwrap();
    assert_eq!(
        current,
        "a\n<!-- generated: x -->\n\nnew\n\n<!-- /generated -->\nb\n"
    );
    assert_eq!(with_part(&current, "x", "new\n"), Some(current));
    assert_eq!(with_part(text, "y", ""), None);
}

/// Every command, with its help.
fn commands() -> String {
    let mut out = String::new();
    for path in cli::commands() {
        let name = std::iter::once("mcp-oauth").chain(path.iter().map(String::as_str));
        let name = name.collect::<Vec<_>>().join(" ");
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        let help = cli::help(&path).unwrap();
        let help: Vec<_> = help.trim().lines().map(str::trim_end).collect();
        let _ = writeln!(out, "## `{name}`\n\n```text\n{}\n```\n", help.join("\n"));
    }
    out
}

/// What stands in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
        .replace('<', "&lt;")
        .replace('\n', "<br>")
}
