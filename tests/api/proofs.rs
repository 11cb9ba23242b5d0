//! Long proofs: what holds for a million codes and for a hundred thousand sign-ins.
//!
//! Among the other tests each does a few. `tests/fire/run` gives each a process of its own and says
//! in `PROOF` how many: only then are time and memory judged, since nothing else disturbs them.

use std::env;
use std::io::Write as _;

mod codes;
mod rotation;

/// How many: what `PROOF` says, or a few.
pub(crate) fn count(few: usize) -> usize {
    env::var("PROOF").map_or(few, |text| text.parse().expect("a number"))
}

/// Whether the process is this proof's alone.
pub(crate) fn is_alone() -> bool {
    env::var_os("PROOF").is_some()
}

/// Tells `tests/fire/run` what was measured, past the capture of the test's output.
pub(crate) fn measured(text: &str) {
    writeln!(std::io::stdout(), "\nmeasured: {text}").expect("standard output");
}

/// A whole number with its thousands apart.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[test]
fn numbers_are_written_for_readers() {
    for (number, text) in [
        (0, "0"),
        (999, "999"),
        (1_000, "1,000"),
        (1_234_567, "1,234,567"),
    ] {
        assert_eq!(thousands(number), text);
    }
}
