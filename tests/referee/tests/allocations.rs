//! How often opening and sealing allocate. Here because counting needs an allocator of our own,
//! which the product's packages forbid.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use mcp_oauth::entropy;
use mcp_oauth::oauth::records::{AccessToken, SessionId};
use mcp_oauth::seal::{Keyring, Record};

#[path = "../../api/seal_samples.rs"]
#[expect(dead_code, reason = "shared with other tests, which use more of it")]
mod samples;

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What is allocated while `work` runs, on this thread.
fn count<R>(work: impl FnOnce() -> R) -> (R, usize) {
    let before = COUNT.get();
    let result = work();
    (result, COUNT.get() - before)
}

/// Allocations of an opening, and those among them that the record itself is made of.
fn opening<T: Record>(record: &T) -> (usize, usize) {
    let mut rng = entropy::rng();
    let ring = Keyring::generate(&samples::issuer(), &mut rng).unwrap();
    let sealed = ring.seal(record, &mut rng).unwrap();
    ring.open(&sealed, samples::NOW).unwrap();
    let json = serde_json::to_vec(record).unwrap();
    let (opened, all) = count(|| ring.open(&sealed, samples::NOW));
    opened.unwrap();
    let (parsed, record) = count(|| serde_json::from_slice::<T>(&json));
    parsed.unwrap();
    (all, record)
}

#[test]
fn opening_allocates_once_beside_the_record() {
    let cases = [
        opening::<AccessToken>(&samples::access(None)),
        opening::<AccessToken>(&samples::access(Some(2_500))),
        opening::<SessionId>(&samples::session()),
        opening(&samples::registration(4)),
        opening(&samples::refresh(800)),
        opening(&samples::memo()),
    ];
    for (all, record) in cases {
        assert_eq!(all, record + 1);
    }
}

#[test]
fn sealing_allocates_twice_beside_the_record() {
    let mut rng = entropy::rng();
    let ring = Keyring::generate(&samples::issuer(), &mut rng).unwrap();
    let record = samples::access(None);
    ring.seal(&record, &mut rng).unwrap();
    let (sealed, all) = count(|| ring.seal(&record, &mut rng));
    sealed.unwrap();
    // The plaintext and the token; members that are written by way of a string are the record's.
    let (written, members) = count(|| serde_json::to_writer(std::io::sink(), &record));
    written.unwrap();
    assert_eq!(all, members + 2);
}
