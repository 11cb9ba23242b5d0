//! What the doctor finds: one sentence each, with the line to change where something is wrong.

use std::io::{self, Write};

use serde_json::{Value, json};

/// How it stands with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// As it should be.
    Fine,
    /// It works, and somebody should look.
    Warning,
    /// It does not work.
    Failed,
}

impl Status {
    const fn mark(self) -> char {
        match self {
            Self::Fine => '✓',
            Self::Warning => '!',
            Self::Failed => '✗',
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// What a finding is about. The order is the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// The configuration's own warnings.
    Configuration,
    /// The root keys.
    Keys,
    /// The replay store.
    Store,
    /// Whether the public URL is reached, and its certificate.
    Reach,
    /// The discovery documents.
    Metadata,
    /// How clients get in: registration, redirects, documents.
    Clients,
    /// The protected paths.
    Resources,
    /// The providers.
    Upstreams,
    /// The MCP servers.
    Backends,
    /// Clocks.
    Clock,
    /// How large tokens become.
    Sizes,
}

impl Area {
    /// As the report calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Keys => "keys",
            Self::Store => "store",
            Self::Reach => "reach",
            Self::Metadata => "metadata",
            Self::Clients => "clients",
            Self::Resources => "resources",
            Self::Upstreams => "upstreams",
            Self::Backends => "backends",
            Self::Clock => "clock",
            Self::Sizes => "sizes",
        }
    }
}

/// What to do, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// `mcp-oauth.toml:12`, a variable or a flag; empty where the cause is outside of this server.
    pub place: String,
    /// The key, empty likewise.
    pub key: String,
    /// What to do.
    pub change: String,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub area: Area,
    /// How it stands.
    pub status: Status,
    /// What was found.
    pub message: String,
    /// What to do.
    pub fix: Option<Fix>,
}

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    findings: Vec<Finding>,
}

impl Report {
    /// The findings, in the order of their areas.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many stand like this.
    pub fn count(&self, status: Status) -> usize {
        let findings = self.findings.iter();
        findings.filter(|it| it.status == status).count()
    }

    /// Adds what was found in one area.
    pub(super) fn add(&mut self, notes: Notes) {
        self.findings.extend(notes.findings);
        self.findings.sort_by_key(|finding| finding.area);
    }

    /// The report for machines.
    pub fn json(&self, public_url: &str) -> Value {
        let checks: Vec<Value> = self.findings.iter().map(finding_json).collect();
        json!({
            "public_url": public_url,
            "healthy": self.count(Status::Failed) == 0,
            "failed": self.count(Status::Failed),
            "warnings": self.count(Status::Warning),
            "ok": self.count(Status::Fine),
            "checks": checks,
        })
    }

    /// Writes the report for people.
    ///
    /// # Errors
    ///
    /// What could not be written.
    pub fn write(&self, public_url: &str, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{public_url}")?;
        let mut area = None;
        for finding in &self.findings {
            if area != Some(finding.area) {
                area = Some(finding.area);
                writeln!(out, "\n{}", finding.area.name())?;
            }
            writeln!(out, "  {} {}", finding.status.mark(), finding.message)?;
            if let Some(fix) = &finding.fix {
                match (fix.place.as_str(), fix.key.as_str()) {
                    ("", _) => writeln!(out, "      {}", fix.change)?,
                    (place, key) => writeln!(out, "      {place} `{key}`: {}", fix.change)?,
                }
            }
        }
        writeln!(
            out,
            "\n{} failed, {}, {} fine",
            self.count(Status::Failed),
            counted(self.count(Status::Warning), "warning"),
            self.count(Status::Fine)
        )
    }
}

fn counted(count: usize, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    }
}

fn finding_json(finding: &Finding) -> Value {
    let mut value = json!({
        "area": finding.area.name(),
        "status": finding.status.word(),
        "message": finding.message,
    });
    if let (Some(members), Some(fix)) = (value.as_object_mut(), &finding.fix) {
        let fix = json!({ "place": fix.place, "key": fix.key, "change": fix.change });
        members.insert("fix".to_owned(), fix);
    }
    value
}

/// Collects the findings of one area.
#[derive(Debug)]
pub(super) struct Notes {
    area: Area,
    findings: Vec<Finding>,
}

impl Notes {
    pub(super) const fn about(area: Area) -> Self {
        Self {
            area,
            findings: Vec::new(),
        }
    }

    fn add(&mut self, status: Status, message: impl Into<String>, fix: Option<Fix>) {
        self.findings.push(Finding {
            area: self.area,
            status,
            message: message.into(),
            fix,
        });
    }

    pub(super) fn fine(&mut self, message: impl Into<String>) {
        self.add(Status::Fine, message, None);
    }

    pub(super) fn warn(&mut self, message: impl Into<String>, fix: Fix) {
        self.add(Status::Warning, message, Some(fix));
    }

    pub(super) fn fail(&mut self, message: impl Into<String>, fix: Fix) {
        self.add(Status::Failed, message, Some(fix));
    }

    /// Fine if so, and failed otherwise.
    pub(super) fn expect(
        &mut self,
        is_so: bool,
        fine: impl Into<String>,
        otherwise: impl Into<String>,
        fix: impl FnOnce() -> Fix,
    ) {
        if is_so {
            self.fine(fine);
        } else {
            self.fail(otherwise, fix());
        }
    }
}
