//! What is wrong with a configuration: every problem with its place and a hint.

use std::fmt;

use super::tree::{KeyPath, Node, Origin};

/// Whether the server can start with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but somebody should look.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Whether the server can start with it.
    pub severity: Severity,
    /// Where: `mcp-oauth.toml:12`, a variable, a flag, or the key that a program set.
    pub place: String,
    /// The key that it is about, empty where there is none.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Line in the file, for the order; zero elsewhere.
    line: usize,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        write!(f, "{}: {severity}{}", self.place, self.message)?;
        if let Some(hint) = &self.hint {
            let mut lines = hint.lines();
            write!(f, "\n  hint: {}", lines.next().unwrap_or_default())?;
            for line in lines {
                write!(f, "\n        {line}")?;
            }
        }
        Ok(())
    }
}

/// Everything that is wrong, errors and warnings, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// How many forbid to start.
    pub fn errors(&self) -> usize {
        let is_error = |problem: &&Problem| problem.severity == Severity::Error;
        self.iter().filter(is_error).count()
    }

    /// Whether the value of `key` is among them, as missing or as wrong.
    pub fn concern(&self, key: &str) -> bool {
        self.0.iter().any(|problem| problem.key == key)
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Collects problems and finds their places.
pub(super) struct Report<'a> {
    /// The file's name as the operator gave it; none where there is no file.
    file: Option<&'a str>,
    tree: &'a Node,
    problems: Vec<Problem>,
    /// Values that are known to be wrong: nothing more is said about them.
    faulty: Vec<KeyPath>,
}

impl<'a> Report<'a> {
    pub(super) fn new(file: Option<&'a str>, tree: &'a Node) -> Self {
        Self {
            file,
            tree,
            problems: Vec::new(),
            faulty: Vec::new(),
        }
    }

    /// Notes an error in the value at `path`.
    pub(super) fn add(
        &mut self,
        path: &KeyPath,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        self.faulty.push(path.clone());
        self.note(Severity::Error, path, message.into(), hint.into());
    }

    /// Notes an error with a hint.
    pub(super) fn error(&mut self, path: &KeyPath, message: impl Into<String>, hint: &str) {
        self.add(path, message, hint.to_owned());
    }

    /// Notes something that somebody should look at.
    pub(super) fn warn(&mut self, path: &KeyPath, message: impl Into<String>, hint: &str) {
        self.note(
            Severity::Warning,
            path,
            message.into(),
            Some(hint.to_owned()),
        );
    }

    /// Notes that there is nothing at `path`, unless what was there is known to be wrong.
    pub(super) fn missing(&mut self, path: &KeyPath, hint: &str) {
        if !self.is_faulty(path) {
            let key = path.last_key().unwrap_or_default();
            self.error(path, format!("`{key}` is missing"), hint);
        }
    }

    /// Says nothing more about the value at `path`.
    pub(super) fn mark_faulty(&mut self, path: &KeyPath) {
        self.faulty.push(path.clone());
    }

    /// Whether the value at `path`, or something around it, is known to be wrong.
    pub(super) fn is_faulty(&self, path: &KeyPath) -> bool {
        self.faulty.iter().any(|faulty| path.is_within(faulty))
    }

    /// Whether something at or below `path` is known to be wrong.
    pub(super) fn has_fault_in(&self, path: &KeyPath) -> bool {
        self.is_faulty(path) || self.faulty.iter().any(|faulty| faulty.is_within(path))
    }

    /// Whether the value at `path` was written somewhere, and is not a default.
    pub(super) fn is_written(&self, path: &KeyPath) -> bool {
        let node = self.tree.at(path);
        node.is_some_and(|node| node.origin != Origin::Default)
    }

    /// Notes a problem at a place outside the tree.
    pub(super) fn outside(
        &mut self,
        place: &str,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        self.problems.push(Problem {
            severity: Severity::Error,
            place: place.to_owned(),
            key: String::new(),
            message: message.into(),
            hint,
            line: 0,
        });
    }

    /// Notes a problem at a line of the file.
    pub(super) fn at_line(&mut self, line: usize, message: impl Into<String>) {
        let place = self.place(&Origin::File { line });
        self.problems.push(Problem {
            severity: Severity::Error,
            place,
            key: String::new(),
            message: message.into(),
            hint: None,
            line,
        });
    }

    /// Whether nothing forbids to start.
    pub(super) fn is_clean(&self) -> bool {
        let is_warning = |problem: &Problem| problem.severity == Severity::Warning;
        self.problems.iter().all(is_warning)
    }

    /// The problems in the order of the file, then those without a line.
    pub(super) fn finish(mut self) -> Problems {
        let order = |problem: &Problem| match problem.line {
            0 => usize::MAX,
            line => line,
        };
        self.problems.sort_by_key(order);
        Problems(self.problems)
    }

    fn note(&mut self, severity: Severity, path: &KeyPath, message: String, hint: Option<String>) {
        let origin = self.origin(path);
        let line = match origin {
            Some(Origin::File { line }) => *line,
            _ => 0,
        };
        let place = match origin {
            Some(Origin::Setting) => path.to_string(),
            Some(origin) => self.place(origin),
            None => self.no_place(),
        };
        self.problems.push(Problem {
            severity,
            place,
            key: path.to_string(),
            message,
            hint,
            line,
        });
    }

    /// Where the value at `path` was written, or else the nearest table around it.
    fn origin(&self, path: &KeyPath) -> Option<&'a Origin> {
        let mut path = path.clone();
        loop {
            let above = path.parent()?;
            if let Some(node) = self.tree.at(&path)
                && node.origin != Origin::Default
            {
                return Some(&node.origin);
            }
            path = above;
        }
    }

    fn place(&self, origin: &Origin) -> String {
        match (origin, self.file) {
            (Origin::File { line }, Some(file)) => format!("{file}:{line}"),
            (Origin::Variable(name), _) => name.clone(),
            (Origin::Flag(flag), _) => (*flag).to_owned(),
            _ => self.no_place(),
        }
    }

    fn no_place(&self) -> String {
        self.file.unwrap_or("configuration").to_owned()
    }
}

/// "did you mean", where one of `known` is close enough to be meant.
pub(super) fn did_you_mean<S: AsRef<str>>(word: &str, known: &[S]) -> Option<String> {
    let meant = nearest(word, known)?;
    Some(format!("did you mean `{meant}`?"))
}

/// The nearest of `known`, where one is close enough to be meant.
pub(super) fn nearest<'a, S: AsRef<str>>(word: &str, known: &'a [S]) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    let distance = |candidate: &&str| strsim::osa_distance(&word, &candidate.to_ascii_lowercase());
    let nearest = known.iter().map(AsRef::as_ref).min_by_key(distance)?;
    (distance(&nearest) <= allowed).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_offered_and_far_ones_are_not() {
        let known = ["access", "tokens", "public_url"];
        assert_eq!(nearest("acess", &known), Some("access"));
        assert_eq!(nearest("publicurl", &known), Some("public_url"));
        assert_eq!(nearest("ACCESS", &known), Some("access"));
        assert_eq!(nearest("database", &known), None);
        assert_eq!(nearest::<&str>("x", &[]), None);
    }
}
