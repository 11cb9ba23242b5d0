//! The table of metrics: its names are those in the code.

use std::collections::BTreeSet;
use std::path::Path;

use super::{at, read};

/// Every name of a metric in the sources below `folder`.
fn named(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            named(&path, found);
        } else {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let text = text.split("#[cfg(test)]").next().unwrap();
            found.extend(names(text, "\"mcp_oauth_", '"'));
        }
    }
}

/// What begins with `start` and goes on to `end`, without the quote.
fn names(text: &str, start: &str, end: char) -> BTreeSet<String> {
    let quote = start.split("mcp_oauth_").next().unwrap();
    text.match_indices(start)
        .filter_map(|(index, _)| text[index + quote.len()..].split(end).next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn metrics_of_the_reference_are_those_of_the_code() {
    let mut in_code = BTreeSet::new();
    named(&at("src"), &mut in_code);
    let page = read("docs/reference/metrics.md");
    let (table, _) = page.split_once("## Worth an alarm").unwrap();
    assert_eq!(names(table, "`mcp_oauth_", '`'), in_code);
}
