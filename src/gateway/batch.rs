//! Pieces of a stream that go out in one write.
//!
//! Refuses to grow: a full batch goes out before another piece is read.

use bytes::{Bytes, BytesMut};

/// Events are collected up to this size before they are handed on, so that a slow client holds no
/// more of a stream in memory than a few of these.
pub(super) const BATCH: usize = 16 * 1024;
/// A piece of this size goes out as it is: copying it would cost more than a write.
const LARGE: usize = 4 * 1024;

/// Pieces that go out together. One alone is not copied.
#[derive(Debug, Default)]
pub(super) struct Batch {
    first: Bytes,
    joined: BytesMut,
    length: usize,
}

impl Batch {
    pub(super) const fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) const fn is_full(&self) -> bool {
        self.length >= BATCH || self.first.len() >= LARGE
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        self.length += piece.len();
        if self.first.is_empty() && self.joined.is_empty() {
            self.first = piece;
            return;
        }
        if self.joined.is_empty() {
            self.joined.extend_from_slice(&self.first);
            self.first = Bytes::new();
        }
        self.joined.extend_from_slice(&piece);
    }

    pub(super) fn take(&mut self) -> Option<Bytes> {
        self.length = 0;
        if !self.joined.is_empty() {
            // The buffer goes along: a stream that is silent holds none.
            return Some(std::mem::take(&mut self.joined).freeze());
        }
        (!self.first.is_empty()).then(|| std::mem::take(&mut self.first))
    }
}
