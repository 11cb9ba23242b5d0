//! One line for each step, ✓ or ✗ with its time; what was expected and what came, where they differ.

use std::fmt;
use std::io::{self, Write};

use tokio::time::Instant;

use crate::demo::Paint;

/// What a step found out, and what to show beside it.
#[derive(Debug)]
pub(super) struct Noted<T> {
    pub(super) value: T,
    pub(super) note: String,
}

/// Something was not as it should be. Holds nothing secret.
#[derive(Debug)]
pub(super) struct Mismatch {
    expected: String,
    got: String,
}

impl Mismatch {
    pub(super) fn new(expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self {
            expected: expected.into(),
            got: got.into(),
        }
    }
}

/// Insists on a condition.
pub(super) fn ensure(
    holds: bool,
    expected: impl Into<String>,
    got: impl fmt::Display,
) -> Result<(), Mismatch> {
    if holds {
        Ok(())
    } else {
        Err(Mismatch::new(expected, got.to_string()))
    }
}

/// Insists on one value, byte for byte.
pub(super) fn ensure_same(what: &str, expected: &str, got: &str) -> Result<(), Mismatch> {
    ensure(
        expected == got,
        format!("{what} = {expected}"),
        format!("{what} = {got}"),
    )
}

/// Why the flow does not go on.
#[derive(Debug)]
pub(super) enum Stop {
    /// A step failed that the others need.
    Failed,
    /// The report could not be written.
    Output(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// The report.
pub(super) struct Report<'a> {
    out: &'a mut dyn Write,
    paint: Paint,
    begun: Instant,
    passed: usize,
    failed: usize,
    is_cut_short: bool,
}

impl<'a> Report<'a> {
    pub(super) fn new(out: &'a mut dyn Write, paint: Paint) -> Self {
        Self {
            out,
            paint,
            begun: Instant::now(),
            passed: 0,
            failed: 0,
            is_cut_short: false,
        }
    }

    /// A step whose result the next ones need.
    pub(super) async fn needed<T>(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<Noted<T>, Mismatch>>,
    ) -> Result<T, Stop> {
        let found = self.step(name, work).await?;
        self.is_cut_short = found.is_none();
        found.ok_or(Stop::Failed)
    }

    /// A step that stands for itself.
    pub(super) async fn checked(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<Noted<()>, Mismatch>>,
    ) -> Result<(), Stop> {
        self.step(name, work).await?;
        Ok(())
    }

    async fn step<T>(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<Noted<T>, Mismatch>>,
    ) -> io::Result<Option<T>> {
        let begun = Instant::now();
        let outcome = work.await;
        let took = begun.elapsed().as_millis();
        match outcome {
            Ok(Noted { value, note }) => {
                self.passed += 1;
                let (mark, note) = (self.paint.good("✓"), self.paint.soft(&note));
                writeln!(self.out, "{mark} {name:<34}{took:>5} ms  {note}")?;
                Ok(Some(value))
            }
            Err(Mismatch { expected, got }) => {
                self.failed += 1;
                let mark = self.paint.bad("✗");
                writeln!(self.out, "{mark} {name:<34}{took:>5} ms")?;
                writeln!(self.out, "    expected  {expected}")?;
                writeln!(self.out, "    got       {got}")?;
                Ok(None)
            }
        }
    }

    /// The last lines; whether every step passed.
    pub(super) fn finish(self) -> io::Result<bool> {
        if self.is_cut_short {
            writeln!(self.out, "- the steps after this one need it")?;
        }
        let took = self.begun.elapsed().as_millis();
        let (passed, failed) = (self.passed, self.failed);
        let verdict = if failed == 0 {
            self.paint.good(&format!("{passed} steps passed"))
        } else {
            self.paint.bad(&format!("{failed} failed, {passed} passed"))
        };
        writeln!(self.out, "\n{verdict} in {took} ms")?;
        Ok(failed == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn failed_step_says_what_was_expected_and_ends_what_needs_it() {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out, Paint::default());
        let work = async { ensure_same("iss", "a", "b").map(|()| unreachable!()) };
        let stopped = report.needed::<()>("callback", work).await;
        assert!(matches!(stopped, Err(Stop::Failed)));
        assert!(!report.finish().unwrap());
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("✗ callback "), "{text}");
        assert!(
            text.contains("expected  iss = a\n    got       iss = b"),
            "{text}"
        );
        assert!(text.contains("1 failed, 0 passed"), "{text}");
    }
}
