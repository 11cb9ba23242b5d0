//! The pages about figures and events say what the code says.

use mcp_oauth::audit::Kind;
use mcp_oauth::{audit, figures};

/// The table of a page, between its marks.
fn table(page: &str) -> &str {
    let (_, rest) = page.split_once("<!-- table -->\n").unwrap();
    rest.split_once("<!-- end of table -->").unwrap().0
}

#[test]
fn page_about_figures_has_the_table_of_the_code() {
    let expected = figures::reference();
    let page = include_str!("../../../docs/metrics.md");
    assert_eq!(
        table(page),
        expected,
        "docs/metrics.md should have:\n{expected}"
    );
}

#[test]
fn page_about_events_has_the_list_of_the_code() {
    let expected = audit::reference();
    let page = include_str!("../../../docs/audit.md");
    assert_eq!(
        table(page),
        expected,
        "docs/audit.md should have:\n{expected}"
    );
}

#[test]
fn every_event_has_a_name_of_its_own() {
    let mut names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Kind::ALL.len());
}

/// Words of the code that are labels are all in the table: one that is not would make a series of
/// its own that nobody expects.
#[test]
fn purposes_and_causes_are_in_the_table() {
    use mcp_oauth::seal::{OpenError, Purpose};

    let known = |label: usize, word: &str| match figures::OPEN_FAILED.labels[label].values {
        figures::Values::Closed(values) => values.contains(&word),
        figures::Values::Operators(_) => false,
    };
    for purpose in Purpose::ALL {
        assert!(known(0, purpose.word()), "{purpose:?}");
    }
    for cause in OpenError::ALL {
        assert!(known(1, cause.reason()), "{cause:?}");
    }
}
