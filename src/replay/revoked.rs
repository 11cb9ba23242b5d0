//! The local set of revoked grants (RFC 7009): asked on every request, so it never waits.
//!
//! It only grows: an entry goes when its grant has ended anyway. Refuses to forget one sooner,
//! and refuses another when it is full.

use std::collections::HashMap;
use std::fmt;
use std::sync::PoisonError;

use crate::oauth::names::GrantId;
use crate::replay::StoreError;
use crate::replay::shards::{ByOwnBits, Due, Millis, Room, Sharded};
use crate::replay::sync::RwLock;

/// Revoked grants and when each ends by itself.
pub(super) struct Revoked {
    shards: Sharded<RwLock<Shard>>,
    room: Room,
}

#[derive(Default)]
struct Shard {
    ends: HashMap<GrantId, Millis, ByOwnBits>,
    due: Due,
}

impl Revoked {
    pub(super) fn for_up_to(capacity: usize) -> Self {
        Self {
            shards: Sharded::default(),
            room: Room::for_up_to(capacity),
        }
    }

    /// Whether the grant is revoked.
    pub(super) fn contains(&self, grant: &GrantId) -> bool {
        let shard = self.shards.of(grant.as_bytes()).read();
        let shard = shard.unwrap_or_else(PoisonError::into_inner);
        shard.ends.contains_key(grant)
    }

    /// Revokes a grant that ends by itself at `end`.
    pub(super) fn insert(&self, grant: GrantId, end: Millis) -> Result<(), StoreError> {
        let shard = self.shards.of(grant.as_bytes()).write();
        let mut shard = shard.unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = shard.ends.get_mut(&grant) {
            *known = (*known).max(end);
            return Ok(());
        }
        self.room.take(1)?;
        shard.ends.insert(grant, end);
        shard.due.push(end, grant);
        Ok(())
    }

    /// Drops the grants that have ended by themselves.
    pub(super) fn sweep(&self, now: Millis) {
        for shard in self.shards.iter() {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            let Shard { ends, due } = &mut *shard;
            while let Some(lot) = due.pop(now) {
                for grant in lot {
                    match ends.get(&grant) {
                        // A later revocation knew a later end.
                        Some(end) if *end > now => due.push(*end, grant),
                        _ => self
                            .room
                            .give_back(usize::from(ends.remove(&grant).is_some())),
                    }
                }
            }
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.room.taken()
    }

    /// All of them, with their ends.
    #[cfg(feature = "redis")]
    pub(super) fn all(&self) -> Vec<(GrantId, Millis)> {
        let mut all = Vec::with_capacity(self.len());
        for shard in self.shards.iter() {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            all.extend(shard.ends.iter().map(|(grant, end)| (*grant, *end)));
        }
        all
    }
}

impl fmt::Debug for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revoked({})", self.len())
    }
}

#[cfg(test)]
#[cfg(not(feature = "interleavings"))]
mod tests {
    use super::*;
    use crate::replay::shards::TICK;

    #[test]
    fn revoked_until_the_grant_ends_by_itself() {
        let revoked = Revoked::for_up_to(2);
        let grant = GrantId::from_bytes([1; 16]);
        assert!(!revoked.contains(&grant));
        revoked.insert(grant, 5 * TICK).expect("room");
        revoked.insert(grant, 9 * TICK).expect("room");
        revoked.sweep(5 * TICK);
        assert!(revoked.contains(&grant));
        revoked.sweep(9 * TICK);
        assert!(!revoked.contains(&grant));
        assert_eq!(revoked.len(), 0);
    }

    // F28: nothing alive is evicted.
    #[test]
    fn full_set_refuses_and_forgets_nothing() {
        let revoked = Revoked::for_up_to(1);
        let first = GrantId::from_bytes([1; 16]);
        revoked.insert(first, TICK).expect("room");
        let second = revoked.insert(GrantId::from_bytes([2; 16]), TICK);
        assert!(matches!(second, Err(StoreError::Full)));
        assert!(revoked.contains(&first));
        assert!(revoked.insert(first, 2 * TICK).is_ok());
    }
}
