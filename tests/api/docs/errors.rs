//! What goes wrong on the wire, from the code's own enums: the values are asked, and what an
//! `enum` says about a variant is read from its source.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write as _};

use mcp_oauth::gateway;
use mcp_oauth::oauth::error::{ErrorCode, Reason};

use super::cell;

const SOURCE: &str = include_str!("../../../src/oauth/error.rs");

/// The lines of comment and attribute above each variant of an `enum`.
fn variants(name: &str) -> BTreeMap<String, Vec<&'static str>> {
    let head = format!("pub enum {name} {{\n");
    let (_, body) = SOURCE.split_once(&head).unwrap();
    let (body, _) = body.split_once("\n}\n").unwrap();
    let mut found = BTreeMap::new();
    let mut above = Vec::new();
    for line in body.lines().map(str::trim) {
        if line.starts_with("///") || line.starts_with("#[") {
            above.push(line);
        } else {
            found.insert(name_of(line), std::mem::take(&mut above));
        }
    }
    found
}

/// `UnknownClient(OpenError),` is `UnknownClient`.
fn name_of(text: &str) -> String {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .next()
        .unwrap()
        .to_owned()
}

fn variant(value: &impl Debug) -> String {
    name_of(&format!("{value:?}"))
}

fn about(code: ErrorCode) -> String {
    let documented = variants("ErrorCode");
    let lines = documented[&variant(&code)].iter();
    let words: Vec<_> = lines.map(|line| line.trim_start_matches("/// ")).collect();
    words.join(" ")
}

/// Every code, with its status and what it means.
pub(super) fn codes() -> String {
    let mut out = String::from("| `error` | status | source and meaning |\n|---|---|---|\n");
    for code in ErrorCode::ALL {
        let status = code.status().as_u16();
        let _ = writeln!(out, "| `{code}` | {status} | {} |", cell(&about(code)));
    }
    out
}

/// What the log says, from the `#[error]` of a reason.
fn logged(reason: &Reason, documented: &BTreeMap<String, Vec<&str>>) -> String {
    let lines = &documented[&variant(reason)];
    let template = lines
        .iter()
        .find_map(|line| line.strip_prefix("#[error(\"")?.strip_suffix("\")]"));
    template.map_or_else(|| reason.to_string(), |text| text.replace("{0}", "…"))
}

/// Every cause, under the code that it has on the wire.
pub(super) fn causes() -> String {
    let documented = variants("Reason");
    let mut out =
        String::from("| `error` | `error_description` | `reason` in the log |\n|---|---|---|\n");
    for code in ErrorCode::ALL {
        for reason in Reason::one_of_each() {
            if reason.code() == code {
                let told = cell(reason.description());
                let logged = cell(&logged(&reason, &documented));
                let _ = writeln!(out, "| `{code}` | {told} | {logged} |");
            }
        }
    }
    out
}

/// Every answer of the gateway's own.
pub(super) fn gateway() -> String {
    let mut out = String::from("| status | `error` | `error_description` |\n|---|---|---|\n");
    for (status, error, description) in gateway::own_answers() {
        let _ = writeln!(
            out,
            "| {} | `{error}` | {} |",
            status.as_u16(),
            cell(description)
        );
    }
    out
}

#[test]
fn lists_for_the_reference_leave_no_variant_out() {
    let names = |found: BTreeMap<String, Vec<&str>>| found.into_keys().collect::<BTreeSet<_>>();
    let codes: BTreeSet<_> = ErrorCode::ALL.iter().map(variant).collect();
    assert_eq!(codes, names(variants("ErrorCode")));
    let reasons: BTreeSet<_> = Reason::one_of_each().iter().map(variant).collect();
    assert_eq!(reasons, names(variants("Reason")));

    let source = include_str!("../../../src/gateway/answer.rs");
    let (_, words) = source.split_once("fn words(").unwrap();
    let (words, _) = words.split_once("\n    }\n").unwrap();
    let arms = words.matches("Self::").count();
    // The bearer check has an answer without a code and one for each of three codes.
    assert_eq!(gateway::own_answers().count(), arms + 3);
}
