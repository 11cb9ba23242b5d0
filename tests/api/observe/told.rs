//! What a server tells after a walk through every flow, at the loudest level and in either format:
//! every figure, every event, the name of each request, and no secret at all.

use std::collections::{BTreeMap, BTreeSet};

use mcp_oauth::audit::{self, Kind};
use mcp_oauth::figures::{self, Figure, Label, Values};
use serde_json::Value;

use super::deployment::Deployment;
use super::walk::Walk;

/// The fewest secrets that a walk meets: fewer, and it did not go where it should.
const SECRETS: usize = 150;

// B11: on standard output, on standard error and among the figures.
#[tokio::test]
async fn walk_in_json_tells_every_figure_and_event_and_no_secret() {
    let mut at = Deployment::start("json").await;
    let mut walk = Walk::new(&at);
    walk.all().await;
    let shown = at.admin("/metrics").await.body;
    for path in ["/livez", "/readyz"] {
        assert_eq!(at.admin(path).await.status, 200);
    }
    let (secrets, named) = (walk.secrets, walk.named);
    assert!(at.stop().await.success(), "{}", at.log());
    let log = at.log();

    assert!(log.contains("TRACE"), "this is not the loudest level");
    assert!(secrets.count() > SECRETS, "{}", secrets.count());
    assert_eq!(secrets.found_in(&log), Vec::<String>::new());
    assert_eq!(secrets.found_in(&shown), Vec::<String>::new());
    assert_eq!(wrong_figures(&shown), Vec::<String>::new());
    let lines: Vec<Value> = log
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(wrong_events(&lines), Vec::<String>::new());
    for (what, answer) in &named {
        let id = answer.header("x-request-id");
        let told = lines.iter().any(|line| line["request_id"] == id);
        assert!(told, "no line of the {what} {id}");
    }
}

// B11
#[tokio::test]
async fn walk_for_people_tells_no_secret() {
    let mut at = Deployment::start("pretty").await;
    let mut walk = Walk::new(&at);
    walk.all().await;
    let (secrets, named) = (walk.secrets, walk.named);
    assert!(at.stop().await.success(), "{}", at.log());
    let log = at.log();
    assert!(log.contains("TRACE"), "this is not the loudest level");
    assert!(secrets.count() > SECRETS, "{}", secrets.count());
    assert_eq!(secrets.found_in(&log), Vec::<String>::new());
    for (what, answer) in &named {
        let told = format!("request_id={}", answer.header("x-request-id"));
        assert!(log.contains(&told), "no line of the {what} {told}");
    }
}

/// A line of Prometheus' text format, taken apart.
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
}

fn series(line: &str) -> Series {
    let (head, _) = line.rsplit_once(' ').unwrap();
    let (name, labels) = match head.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
        None => (head, ""),
    };
    let labels = labels.split(',').filter(|it| !it.is_empty()).map(|label| {
        let (name, value) = label.split_once('=').unwrap();
        (name.to_owned(), value.trim_matches('"').to_owned())
    });
    Series {
        name: name.to_owned(),
        labels: labels.collect(),
    }
}

/// The figure that a series belongs to.
fn figure_of(name: &str) -> Option<&'static Figure> {
    let ends = ["", "_bucket", "_sum", "_count"];
    figures::ALL.iter().copied().find(|figure| {
        let is_histogram = figure.kind == figures::Kind::Histogram;
        ends.iter()
            .filter(|end| end.is_empty() != is_histogram)
            .any(|end| name == format!("{}{end}", figure.name))
    })
}

/// Complains of figures that are not in the table, that the page lacks, or whose labels could grow.
fn wrong_figures(shown: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    let lines = shown.lines().filter(|it| !it.is_empty());
    for line in lines.filter(|line| !line.starts_with('#')) {
        let series = series(line);
        match figure_of(&series.name) {
            None => wrong.push(format!("not in the table: {line}")),
            Some(figure) => {
                seen.insert(figure.name);
                wrong.extend(wrong_labels(figure, &series).map(|it| format!("{it}: {line}")));
            }
        }
    }
    for figure in figures::ALL {
        let kind = format!("# TYPE {} {}", figure.name, figure.kind.as_str());
        let help = format!("# HELP {} ", figure.name);
        for declared in [kind, help] {
            if !shown.contains(&declared) {
                wrong.push(format!("not declared: {declared}"));
            }
        }
        if !seen.contains(figure.name) {
            wrong.push(format!("not seen: {}", figure.name));
        }
    }
    wrong
}

fn wrong_labels(figure: &Figure, series: &Series) -> Option<String> {
    let mut labels = series.labels.clone();
    labels.remove("le");
    for Label { name, values } in figure.labels {
        let Some(value) = labels.remove(*name) else {
            return Some(format!("no label {name}"));
        };
        let fits = match (values, *name) {
            (Values::Closed(known), _) => known.contains(&value.as_str()),
            (Values::Operators(_), "upstream") => value == "idp",
            (Values::Operators(_), "kid") => value.len() == 12,
            (Values::Operators(_), "version") => value == env!("CARGO_PKG_VERSION"),
            (Values::Operators(_), _) => false,
        };
        if !fits {
            return Some(format!("{name} is {value}"));
        }
    }
    (!labels.is_empty()).then(|| format!("more labels: {labels:?}"))
}

#[test]
fn figure_that_is_not_as_the_table_says_is_noticed() {
    for line in [
        "mcp_oauth_made_up_total 1",
        "mcp_oauth_consent_total{decision=\"perhaps\"} 1",
        "mcp_oauth_consent_total{decision=\"allow\",client=\"x\"} 1",
        "mcp_oauth_consent_total 1",
        "mcp_oauth_callback_total{upstream=\"other\",result=\"code\"} 1",
        "mcp_oauth_token_bytes 1",
    ] {
        let wrong = wrong_figures(line);
        assert!(
            wrong.iter().any(|it| it.contains(line)),
            "{line}: {wrong:?}"
        );
    }
    let right = wrong_figures("mcp_oauth_consent_total{decision=\"allow\"} 1");
    assert!(right.iter().all(|it| it.starts_with("not ")), "{right:?}");
}

/// Events that no walk from outside can bring about.
const ELSEWHERE: [Kind; 3] = [
    Kind::RefreshFork,
    Kind::ForeignInstance,
    Kind::StoreDiscontinuity,
];

/// Complains of events that are not in the list, have other fields, or did not occur.
fn wrong_events(lines: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    let usual = [
        "timestamp",
        "level",
        "target",
        "message",
        "event",
        "request_id",
        "trace_id",
    ];
    for line in lines.iter().filter(|line| line["target"] == audit::TARGET) {
        let name = line["event"].as_str().unwrap_or_default();
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == name) else {
            wrong.push(format!("not in the list: {line}"));
            continue;
        };
        seen.insert(kind.name());
        let members = line.as_object().unwrap().keys();
        let own: Vec<_> = members.filter(|it| !usual.contains(&it.as_str())).collect();
        if !own.iter().all(|it| kind.fields().contains(&it.as_str())) {
            wrong.push(format!("other fields than told: {line}"));
        }
        // An address is there only where the provider vouches for one.
        let lacks = kind
            .fields()
            .iter()
            .find(|it| **it != "email" && line.get(**it).is_none());
        if let Some(lacks) = lacks {
            wrong.push(format!("without {lacks}: {line}"));
        }
        if line["level"] != kind.level().as_str() {
            wrong.push(format!("of another level: {line}"));
        }
    }
    let missing = Kind::ALL.into_iter().filter(|kind| {
        let elsewhere = ELSEWHERE.contains(kind);
        seen.contains(kind.name()) == elsewhere
    });
    wrong.extend(missing.map(|kind| format!("seen or not against expectation: {kind:?}")));
    wrong
}
