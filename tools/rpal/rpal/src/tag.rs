// SPDX-License-Identifier: MIT OR Apache-2.0

//! What tells a receiver from others that have, or had, the same control block.
//!
//! The kernel gives a control block to the next thread that registers, and a
//! slot to another service in the end; a caller that has kept the address would
//! get that one's handler. So each receiver has a tag, which goes with its
//! address and with each call, in the 16 bits that neither an address nor a
//! length needs.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::OnceLock;

const SHIFT: u32 = 48;

/// A receiver's tag, in the upper 16 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tag(u64);

impl Tag {
    /// A length that leaves room for a tag, and is longer than any buffer.
    pub(crate) const TOO_LONG: usize = (1 << SHIFT) - 1;

    /// One that the last 65,535 receivers of this process did not have, nor, but
    /// for an accident, one of another process.
    pub(crate) fn new() -> Self {
        static FIRST: OnceLock<u16> = OnceLock::new();
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let first = *FIRST.get_or_init(|| RandomState::new().hash_one(0) as u16);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(u64::from(first.wrapping_add(next)) << SHIFT)
    }

    /// `number`, of 48 bits, and the tag.
    #[inline(always)]
    pub(crate) fn with(self, number: u64) -> u64 {
        self.0 | number
    }

    /// The number that [`with`](Self::with) was given, if it was of this tag;
    /// otherwise one of more than 48 bits.
    #[inline(always)]
    pub(crate) fn without(self, tagged: u64) -> u64 {
        self.0 ^ tagged
    }

    /// Does [`without`](Self::without) say that the tag was another one?
    pub(crate) fn is_of_another(number: u64) -> bool {
        number >> SHIFT != 0
    }

    /// A number and its tag.
    pub(crate) fn split(tagged: u64) -> (u64, Self) {
        let number = tagged & ((1 << SHIFT) - 1);
        (number, Self(tagged ^ number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_its_own_tag_only() {
        let (one, two) = (Tag::new(), Tag::new());
        assert_ne!(one, two);
        let number = (1 << 47) - 1;
        assert_eq!(one.without(one.with(number)), number);
        assert!(!Tag::is_of_another(number));
        assert!(Tag::is_of_another(two.without(one.with(number))));
        assert_eq!(Tag::split(one.with(number)), (number, one));
    }
}
