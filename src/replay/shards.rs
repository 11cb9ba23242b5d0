//! Parts that the stores are built from: shards, counted room, time buckets, a queue of ends.
//!
//! Time here is milliseconds of [`Clock::elapsed`](crate::time::Clock::elapsed): a wall clock that
//! is set back revives nothing.

use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::oauth::names::GrantId;
use crate::replay::StoreError;
use crate::replay::sync::AtomicUsize;

/// Milliseconds since the clock's fixed point.
pub(super) type Millis = u64;

/// A duration in whole milliseconds, saturating.
pub(super) fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The point `duration` after `now`, saturating.
pub(super) fn after(now: Millis, duration: Duration) -> Millis {
    now.saturating_add(millis(duration))
}

const SHARDS: u8 = 64;

/// One `T` for each slice of the ids, so that threads seldom meet at a lock.
pub(super) struct Sharded<T>([T; SHARDS as usize]);

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| T::default()))
    }
}

impl<T> Sharded<T> {
    /// The shard of an id: chosen by its last byte, which the tables do not hash by.
    pub(super) fn of(&self, id: &[u8; 16]) -> &T {
        let [.., last] = id;
        let [first, ..] = &self.0;
        self.0.get(usize::from(last % SHARDS)).unwrap_or(first)
    }

    /// All shards.
    pub(super) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }
}

/// A count of what is kept and of how much may be.
#[derive(Debug)]
pub(super) struct Room {
    taken: AtomicUsize,
    capacity: usize,
}

impl Room {
    pub(super) const fn for_up_to(capacity: usize) -> Self {
        Self {
            taken: AtomicUsize::new(0),
            capacity,
        }
    }

    /// Takes room for `amount` more, or refuses.
    pub(super) fn take(&self, amount: usize) -> Result<(), StoreError> {
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                taken
                    .checked_add(amount)
                    .filter(|sum| *sum <= self.capacity)
            })
            .map(drop)
            .map_err(|_| StoreError::Full)
    }

    /// Takes room even where there is none: for what must not be refused any more.
    pub(super) fn take_anyway(&self, amount: usize) {
        self.taken.fetch_add(amount, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self, amount: usize) {
        self.taken.fetch_sub(amount, Ordering::Relaxed);
    }

    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub(super) fn is_full(&self) -> bool {
        self.taken() >= self.capacity
    }
}

/// Sets or maps by the time at which all that is in them ends, so that the past is dropped whole.
#[derive(Debug)]
pub(super) struct Buckets<B>(Vec<(Millis, B)>);

/// How much longer than asked an entry may be kept.
pub(super) const BUCKET: Millis = 60_000;

impl<B> Default for Buckets<B> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<B: Default> Buckets<B> {
    /// The bucket for what must be kept until `end`.
    pub(super) fn until(&mut self, end: Millis) -> Option<&mut B> {
        let end = end.div_ceil(BUCKET).saturating_mul(BUCKET);
        let place = match self.0.binary_search_by_key(&end, |(end, _)| *end) {
            Ok(place) => place,
            Err(place) => {
                self.0.insert(place, (end, B::default()));
                place
            }
        };
        self.0.get_mut(place).map(|(_, bucket)| bucket)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &B> {
        self.0.iter().map(|(_, bucket)| bucket)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut B> {
        self.0.iter_mut().map(|(_, bucket)| bucket)
    }

    /// Takes out what has ended, for the caller to drop outside the lock.
    pub(super) fn take_ended(&mut self, now: Millis) -> Vec<B> {
        let ended = self.0.partition_point(|(end, _)| *end <= now);
        self.0.drain(..ended).map(|(_, bucket)| bucket).collect()
    }
}

/// Grants by the time at which something of theirs ends.
#[derive(Debug, Default)]
pub(super) struct Due(BTreeMap<Millis, Vec<GrantId>>);

/// How much later than due an entry may be looked at.
pub(super) const TICK: Millis = 10_000;

impl Due {
    pub(super) fn push(&mut self, end: Millis, grant: GrantId) {
        let tick = end.div_ceil(TICK).saturating_mul(TICK);
        self.0.entry(tick).or_default().push(grant);
    }

    /// The next lot whose time has come.
    pub(super) fn pop(&mut self, now: Millis) -> Option<Vec<GrantId>> {
        let first = self.0.first_entry()?;
        (*first.key() <= now).then(|| first.remove())
    }
}

/// Hashes an id of our own making by its own first bytes, which are random already.
///
/// # Security
///
/// Only for ids that no stranger can choose: a table keyed by theirs could be made to collide.
#[derive(Debug, Default)]
pub(super) struct OwnBits(u64);

/// Makes [`OwnBits`].
pub(super) type ByOwnBits = BuildHasherDefault<OwnBits>;

impl Hasher for OwnBits {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }

    /// The length that arrays write first: the same for all.
    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
#[cfg(not(feature = "interleavings"))]
mod tests {
    use super::*;

    #[test]
    fn room_refuses_the_entry_after_the_last() {
        let room = Room::for_up_to(2);
        assert!(room.take(1).is_ok());
        assert!(!room.is_full());
        assert!(room.take(1).is_ok());
        assert!(room.is_full());
        assert!(matches!(room.take(1), Err(StoreError::Full)));
        room.give_back(1);
        assert!(room.take(1).is_ok());
    }

    #[test]
    fn bucket_outlives_what_is_in_it() {
        let mut buckets = Buckets::<Vec<u8>>::default();
        buckets.until(1).expect("a bucket").push(1);
        buckets.until(BUCKET).expect("a bucket").push(2);
        buckets.until(BUCKET + 1).expect("a bucket").push(3);
        assert_eq!(buckets.iter().count(), 2);
        assert!(buckets.take_ended(BUCKET - 1).is_empty());
        assert_eq!(buckets.take_ended(BUCKET), [vec![1, 2]]);
        assert_eq!(buckets.iter().count(), 1);
    }

    #[test]
    fn due_waits_for_its_time() {
        let mut due = Due::default();
        let grant = GrantId::from_bytes([7; 16]);
        due.push(1, grant);
        assert_eq!(due.pop(TICK - 1), None);
        assert_eq!(due.pop(TICK), Some(vec![grant]));
        assert_eq!(due.pop(TICK), None);
    }
}
