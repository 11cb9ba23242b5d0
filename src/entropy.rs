//! The only reader of the system's randomness; everything else takes a generator as an argument.

use rand::CryptoRng;

/// A cryptographic generator, seeded by the operating system.
#[expect(
    clippy::disallowed_methods,
    reason = "this file is the one source of randomness"
)]
pub fn rng() -> impl CryptoRng {
    rand::rng()
}
