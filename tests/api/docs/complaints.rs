//! What `config check` says, from the snapshots in which every complaint is held word for word.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{at, cell};

/// Every complaint with its hint, once.
pub(super) fn table() -> String {
    // What differs only in a value that somebody wrote counts as the same.
    let mut found = BTreeMap::new();
    for snapshot in snapshots() {
        for (complaint, hint) in complaints(&snapshot) {
            found
                .entry(without_values(&complaint))
                .or_insert((complaint, hint));
        }
    }
    let mut out = String::from("| complaint | hint |\n|---|---|\n");
    for (complaint, hint) in found.values() {
        let _ = writeln!(out, "| {} | {} |", cell(complaint), cell(hint));
    }
    out
}

/// What each snapshot of complaints holds, in the order of their names.
fn snapshots() -> Vec<String> {
    let folder = at("tests/api/config/snapshots");
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.contains("__problems__") || name.contains("__layers__")
        })
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    let texts = paths
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap());
    texts
        .map(|text| text.splitn(3, "---\n").nth(2).unwrap().to_owned())
        .collect()
}

/// `place: complaint`, and the hint below it.
fn complaints(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if let Some(hint) = line.strip_prefix("  hint: ") {
            found.last_mut().unwrap().1 = hint.to_owned();
        } else if let Some(more) = line.strip_prefix("        ") {
            let hint = &mut found.last_mut().unwrap().1;
            let _ = write!(hint, "\n{more}");
        } else if let Some((place, complaint)) = line.split_once(": ")
            && ["mcp-oauth.toml", "MCP_OAUTH_", "PORT", "--"]
                .iter()
                .any(|start| place.starts_with(start))
        {
            found.push((complaint.to_owned(), String::new()));
        }
    }
    found
}

/// The words without what stands between backticks.
fn without_values(complaint: &str) -> String {
    let outside = complaint.split('`').step_by(2);
    outside.collect::<Vec<_>>().join("`…`")
}
