//! The figures that this server shows: one table, and the handles that record them.
//!
//! Nothing else in this crate spells the name of a metric. Labels have a closed set of values, or
//! values that the operator chose: never a client, a person, a URL or a token, so that nobody
//! outside decides how many series there are.
//!
//! A handle is looked up in the recorder's registry when it is made. What happens at every request
//! keeps its handles in [`Handles`]; they belong to the recorder that was installed at first use.

mod table;

use std::fmt;
use std::sync::OnceLock;

use metrics::{Counter, Gauge, Histogram, Key, Level, Metadata, Unit};

pub use self::table::*;

const METADATA: Metadata<'static> = Metadata::new("mcp_oauth", Level::INFO, Some("mcp_oauth"));

/// What kind of metric a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often values of some size occurred.
    Histogram,
}

impl Kind {
    /// The word that Prometheus uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Which values a label can have.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// These.
    Closed(&'static [&'static str]),
    /// What the operator configured, in words.
    Operators(&'static str),
}

/// A label of a figure.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Its values.
    pub values: Values,
}

/// One figure.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// The whole name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// In which unit.
    pub unit: Unit,
    /// Its labels, in the order in which handles take their values.
    pub labels: &'static [Label],
    /// What it says, as a sentence.
    pub help: &'static str,
}

impl Figure {
    /// The counter with these values of the labels.
    pub fn counter(&self, values: &[&str]) -> Counter {
        Counter::of(self, values)
    }

    /// The gauge with these values of the labels.
    pub fn gauge(&self, values: &[&str]) -> Gauge {
        Gauge::of(self, values)
    }

    /// The histogram with these values of the labels.
    pub fn histogram(&self, values: &[&str]) -> Histogram {
        Histogram::of(self, values)
    }

    fn key(&self, values: &[&str]) -> Key {
        let labels = self.labels.iter().zip(values);
        let labels =
            labels.map(|(label, value)| metrics::Label::new(label.name, (*value).to_owned()));
        Key::from_parts(self.name, labels.collect::<Vec<_>>())
    }

    /// How many combinations its closed labels have.
    fn combinations(&self) -> usize {
        let counts = self.labels.iter().map(|label| match label.values {
            Values::Closed(values) => values.len(),
            Values::Operators(_) => 0,
        });
        counts.product()
    }

    /// Which of the combinations this is.
    fn index(&self, values: &[&str]) -> Option<usize> {
        let mut index = 0;
        for (label, value) in self.labels.iter().zip(values) {
            let Values::Closed(known) = label.values else {
                return None;
            };
            index = index * known.len() + known.iter().position(|it| it == value)?;
        }
        Some(index)
    }
}

/// A metric that can be looked up in the recorder's registry.
pub trait Handle: Sized {
    /// Looks it up.
    fn of(figure: &Figure, values: &[&str]) -> Self;
}

impl Handle for Counter {
    fn of(figure: &Figure, values: &[&str]) -> Self {
        metrics::with_recorder(|recorder| recorder.register_counter(&figure.key(values), &METADATA))
    }
}

impl Handle for Gauge {
    fn of(figure: &Figure, values: &[&str]) -> Self {
        metrics::with_recorder(|recorder| recorder.register_gauge(&figure.key(values), &METADATA))
    }
}

impl Handle for Histogram {
    fn of(figure: &Figure, values: &[&str]) -> Self {
        metrics::with_recorder(|recorder| {
            recorder.register_histogram(&figure.key(values), &METADATA)
        })
    }
}

/// The handles of one figure with closed labels, each looked up once.
pub struct Handles<H> {
    figure: &'static Figure,
    known: Box<[OnceLock<H>]>,
}

impl<H: Handle> Handles<H> {
    /// Room for every combination of the labels' values.
    pub fn new(figure: &'static Figure) -> Self {
        Self {
            figure,
            known: (0..figure.combinations())
                .map(|_| OnceLock::new())
                .collect(),
        }
    }

    /// Uses the handle with these values. One that the table does not list is not kept.
    fn with(&self, values: &[&str], act: impl FnOnce(&H)) {
        let known = self.figure.index(values).and_then(|it| self.known.get(it));
        match known {
            Some(cell) => act(cell.get_or_init(|| H::of(self.figure, values))),
            None => act(&H::of(self.figure, values)),
        }
    }
}

impl Handles<Counter> {
    /// Counts one.
    pub fn increment(&self, values: &[&str]) {
        self.with(values, |counter| counter.increment(1));
    }
}

impl Handles<Histogram> {
    /// Records a value.
    pub fn record(&self, values: &[&str], value: f64) {
        self.with(values, |histogram| histogram.record(value));
    }
}

impl<H> fmt::Debug for Handles<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handles({})", self.figure.name)
    }
}

/// Tells the recorder what each figure means, and which build this is. To be called once, after
/// the recorder was installed.
pub fn introduce() {
    for figure in ALL {
        if figure.kind == Kind::Counter && figure.labels.is_empty() {
            // There from the start, so that the first increment is seen as one.
            figure.counter(&[]).increment(0);
        }
        let (name, help) = (figure.name.into(), figure.help.into());
        metrics::with_recorder(|recorder| match figure.kind {
            Kind::Counter => recorder.describe_counter(name, Some(figure.unit), help),
            Kind::Gauge => recorder.describe_gauge(name, Some(figure.unit), help),
            Kind::Histogram => recorder.describe_histogram(name, Some(figure.unit), help),
        });
    }
    BUILD_INFO.gauge(&[env!("CARGO_PKG_VERSION")]).set(1.0);
}

/// The table as the page in `docs/` shows it, in Markdown.
pub fn reference() -> String {
    use std::fmt::Write as _;

    let mut page =
        String::from("| figure | kind | unit | labels | says |\n|---|---|---|---|---|\n");
    for figure in ALL {
        let labels: Vec<String> = figure.labels.iter().map(Label::in_words).collect();
        let unit = match figure.unit {
            Unit::Seconds => "seconds",
            Unit::Bytes => "bytes",
            _ => "",
        };
        // Writing to a string does not fail.
        let _ = writeln!(
            page,
            "| `{}` | {} | {unit} | {} | {} |",
            figure.name,
            figure.kind.as_str(),
            labels.join("; "),
            figure.help
        );
    }
    page
}

impl Label {
    fn in_words(&self) -> String {
        match self.values {
            Values::Closed(values) => {
                let values: Vec<String> = values.iter().map(|it| format!("`{it}`")).collect();
                format!("`{}`: {}", self.name, values.join(", "))
            }
            Values::Operators(words) => format!("`{}`: {words}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_has_a_place_of_its_own() {
        for figure in ALL {
            let mut indices = Vec::new();
            let Some(combinations) = combinations(figure.labels) else {
                assert_eq!(figure.combinations(), 0, "{}", figure.name);
                continue;
            };
            for values in combinations {
                indices.push(figure.index(&values).unwrap());
            }
            indices.sort_unstable();
            let expected: Vec<usize> = (0..figure.combinations()).collect();
            assert_eq!(indices, expected, "{}", figure.name);
        }
    }

    fn combinations(labels: &[Label]) -> Option<Vec<Vec<&'static str>>> {
        let mut all = vec![Vec::new()];
        for label in labels {
            let Values::Closed(values) = label.values else {
                return None;
            };
            all = all
                .iter()
                .flat_map(|before| values.iter().map(|it| [before.as_slice(), &[*it]].concat()))
                .collect();
        }
        Some(all)
    }

    #[test]
    fn names_are_of_one_family_and_end_as_their_kind_wants() {
        for figure in ALL {
            assert!(figure.name.starts_with("mcp_oauth_"), "{}", figure.name);
            let is_total = figure.name.ends_with("_total");
            assert_eq!(is_total, figure.kind == Kind::Counter, "{}", figure.name);
            if figure.unit == Unit::Seconds {
                assert!(figure.name.ends_with("_seconds"), "{}", figure.name);
            }
            let names = ALL.iter().filter(|it| it.name == figure.name);
            assert_eq!(names.count(), 1, "{}", figure.name);
        }
    }
}
