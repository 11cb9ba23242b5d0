//! The locks and counters of the memory store: the standard ones.
//!
//! In the test of interleavings they are those of `shuttle`, which decides at each of them who goes
//! on. The feature changes nothing outside of tests.

#[cfg(all(test, feature = "interleavings"))]
pub(super) use shuttle::sync::{
    Mutex, MutexGuard, RwLock,
    atomic::{AtomicU64, AtomicUsize},
};
#[cfg(not(all(test, feature = "interleavings")))]
pub(super) use std::sync::{
    Mutex, MutexGuard, RwLock,
    atomic::{AtomicU64, AtomicUsize},
};
