//! The replay store against models: any sequence of operations, any fault, any jump of the clock.
//!
//! `reference` asks a store and a plain restatement of the contract the same questions. `lives`
//! plays whole redemptions and refreshes, with crashes and lost answers at every step, and holds
//! the promises to the outcome.

mod lives;
pub(in crate::api) mod reference;
