//! Reads `tests/traceability.md`: every requirement, once, and what shows that it holds.

use std::collections::{BTreeMap, BTreeSet};

/// The series of ids, and how far each counts.
const SERIES: &[(&str, u32)] = &[
    ("D", 18),
    ("P", 9),
    ("W", 10),
    ("R", 17),
    ("M", 16),
    ("A", 16),
    ("C", 12),
    ("B", 12),
    ("T", 11),
    ("TC", 6),
    ("TR", 10),
    ("RC", 6),
    ("RF", 8),
    ("DP", 7),
    ("TK", 5),
    ("TJ", 11),
    ("TX", 3),
    ("V", 4),
    ("I", 2),
    ("K", 4),
    ("S", 8),
    ("G", 17),
    ("X", 4),
    ("H", 1),
    ("E", 2),
    ("F", 38),
    ("N", 39),
];
/// Numbers that were never given.
const GAPS: &[&str] = &["F36"];

/// One row: `| id | requirement | status | tests or reason |`.
struct Row {
    id: String,
    requirement: String,
    status: String,
    proof: String,
}

/// Complains of rows that are missing, double or unknown, of `done` without a test, of tests that
/// do not exist, and of `later` or `not ours` without a reason.
pub(crate) fn complaints(table: &str, known: &BTreeSet<String>) -> Vec<String> {
    let rows = rows(table);
    let mut complaints = count(&rows);
    for row in &rows {
        if row.requirement.len() < 10 {
            complaints.push(format!("{}: the requirement is not told", row.id));
        }
        complaints.extend(judge(row, known));
    }
    complaints
}

fn rows(table: &str) -> Vec<Row> {
    table
        .lines()
        .filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'))
        .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>())
        .filter(|cells| cells.first().is_some_and(|id| is_id(id)))
        .map(|cells| {
            let cell = |at: usize| cells.get(at).copied().unwrap_or("").to_owned();
            Row {
                id: cell(0),
                requirement: cell(1),
                status: cell(2),
                proof: cell(3),
            }
        })
        .collect()
}

/// Capital letters and then a number.
fn is_id(cell: &str) -> bool {
    let letters = cell.trim_start_matches(|c: char| c.is_ascii_uppercase());
    letters.len() < cell.len() && !letters.is_empty() && letters.parse::<u32>().is_ok()
}

fn count(rows: &[Row]) -> Vec<String> {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows {
        *found.entry(row.id.clone()).or_default() += 1;
    }
    let expected: BTreeSet<String> = SERIES
        .iter()
        .flat_map(|(series, last)| (1..=*last).map(move |number| format!("{series}{number}")))
        .filter(|id| !GAPS.contains(&id.as_str()))
        .collect();
    let missing = expected.iter().filter(|id| !found.contains_key(*id));
    let unknown = found.keys().filter(|id| !expected.contains(*id));
    let double = found.iter().filter(|(_, times)| **times > 1);
    missing
        .map(|id| format!("{id}: has no row"))
        .chain(unknown.map(|id| format!("{id}: is no known id")))
        .chain(double.map(|(id, times)| format!("{id}: has {times} rows")))
        .collect()
}

fn judge(row: &Row, known: &BTreeSet<String>) -> Vec<String> {
    let id = &row.id;
    let named = names(&row.proof);
    match row.status.as_str() {
        "done" if named.is_empty() => vec![format!("{id}: done, but no test is named")],
        "done" => named
            .iter()
            .filter(|name| !known.contains(*name))
            .map(|name| format!("{id}: there is no test `{name}`"))
            .collect(),
        "later" | "not ours" if row.proof.is_empty() => {
            vec![format!("{id}: {}, but no reason is given", row.status)]
        }
        "later" | "not ours" => Vec::new(),
        other => vec![format!("{id}: the status `{other}` is none")],
    }
}

/// What stands between backticks and could be a test: a sentence in snake case, or a file.
fn names(proof: &str) -> Vec<String> {
    proof
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| {
            let is_word =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c);
            let is_file = ["tests/", "fuzz/", "src/", "benches/", "."]
                .iter()
                .any(|start| name.starts_with(start));
            is_file || name.contains('_') && name.chars().all(is_word)
        })
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod samples {
    //! The reader complains of tables that are wrong.

    use super::*;

    fn complete_table(mend: impl Fn(&str) -> String) -> String {
        SERIES
            .iter()
            .flat_map(|(series, last)| (1..=*last).map(move |number| format!("{series}{number}")))
            .filter(|id| !GAPS.contains(&id.as_str()))
            .map(|id| mend(&id) + "\n")
            .collect()
    }

    fn later(id: &str) -> String {
        format!("| {id} | What must hold is told here. | later | In the next version. |")
    }

    fn known() -> BTreeSet<String> {
        [
            "code_is_used_once".to_owned(),
            "fuzz/fuzz_targets/token_parse.rs".to_owned(),
        ]
        .into()
    }

    #[test]
    fn complete_table_passes() {
        let done = "| D1 | What must hold is told here. | done | `code_is_used_once`, `fuzz/fuzz_targets/token_parse.rs` |";
        let table = complete_table(|id| {
            if id == "D1" {
                done.to_owned()
            } else {
                later(id)
            }
        });
        assert_eq!(complaints(&table, &known()), Vec::<String>::new());
    }

    #[test]
    fn wrong_row_is_found() {
        for (row, expected) in [
            ("", "D1: has no row"),
            (
                "| D1 | What must hold. | done | |",
                "D1: done, but no test is named",
            ),
            (
                "| D1 | What must hold. | done | by reading |",
                "D1: done, but no test is named",
            ),
            (
                "| D1 | What must hold. | done | `code_is_lost` |",
                "D1: there is no test `code_is_lost`",
            ),
            (
                "| D1 | What must hold. | done | `tests/none` |",
                "D1: there is no test `tests/none`",
            ),
            (
                "| D1 | What must hold. | later |  |",
                "D1: later, but no reason is given",
            ),
            (
                "| D1 | What must hold. | perhaps | x |",
                "D1: the status `perhaps` is none",
            ),
            (
                "| D1 |  | later | Next version. |",
                "D1: the requirement is not told",
            ),
            (
                "| Z9 | What must hold. | later | Next version. |",
                "Z9: is no known id",
            ),
        ] {
            let table = complete_table(|id| {
                if id == "D1" {
                    row.to_owned()
                } else {
                    later(id)
                }
            });
            let complaints = complaints(&table, &known());
            assert!(
                complaints.iter().any(|c| c == expected),
                "{row}: {complaints:?}"
            );
        }
    }

    #[test]
    fn row_told_twice_is_found() {
        let table = complete_table(later) + &later("TR4") + "\n";
        assert_eq!(complaints(&table, &known()), ["TR4: has 2 rows"]);
    }
}
