// SPDX-License-Identifier: GPL-2.0

//! Slots: which 512 GiB ranges of user addresses are taken, and by whose service.
//!
//! Slots are handed out round robin, not lowest first: an address that pointed into a dead
//! service stays invalid for as long as possible.

/// Bits of an address below the slot number, as in `include/uapi/linux/rpal.h`.
pub(crate) const SLOT_SHIFT: u32 = 39;
/// The size of a slot.
pub(crate) const SLOT_SIZE: usize = 1 << SLOT_SHIFT;
/// Slot 0 holds addresses that every program expects to be invalid.
pub(crate) const SLOT_FIRST: u8 = 1;
/// Slot 255 holds the gate page and ends below the last page of a 47-bit address space.
pub(crate) const SLOT_LAST: u8 = 254;

/// The number of one slot.
///
/// # Invariants
///
/// The number is [`SLOT_FIRST`] to [`SLOT_LAST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u8);

impl Slot {
    /// The slot of that number, if there is one.
    pub(crate) const fn new(number: u8) -> Option<Self> {
        if number < SLOT_FIRST || number > SLOT_LAST {
            return None;
        }
        // INVARIANT: just checked.
        Some(Self(number))
    }

    /// The slot that `addr` lies in, if any.
    pub(crate) const fn of_addr(addr: usize) -> Option<Self> {
        let number = addr >> SLOT_SHIFT;
        if number > SLOT_LAST as usize {
            return None;
        }
        Self::new(number as u8)
    }

    /// The number, [`SLOT_FIRST`] to [`SLOT_LAST`].
    pub(crate) const fn number(self) -> u8 {
        self.0
    }

    /// The first address.
    pub(crate) const fn start(self) -> usize {
        (self.0 as usize) << SLOT_SHIFT
    }

    /// The first address beyond the slot. No overflow: it is at most 255 << 39.
    pub(crate) const fn end(self) -> usize {
        self.start() + SLOT_SIZE
    }

    /// Whether `addr` lies in the slot.
    #[cfg(any(test, rpal_host))]
    pub(crate) const fn contains(self, addr: usize) -> bool {
        addr >> SLOT_SHIFT == self.0 as usize
    }
}

/// Why there is no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotError {
    /// All slots are taken.
    Full,
    /// The user has as many as it may have.
    UidLimit,
}

/// Which slots are taken.
///
/// # Invariants
///
/// `uids` at 0 and 255, which are no slots, is `None`.
#[derive(Debug)]
pub(crate) struct Slots {
    /// By slot number: the user that has it. Counting a user's slots is a walk over this, which
    /// an exec can afford, and which nothing can bring out of step.
    uids: [Option<u32>; 256],
    /// The last slot handed out, 0 in the beginning.
    last: u8,
}

impl Slots {
    /// No slot is taken.
    pub(crate) const fn new() -> Self {
        // INVARIANT: all entries are `None`.
        Self {
            uids: [None; 256],
            last: 0,
        }
    }

    /// The slots that the user `uid` has.
    pub(crate) fn of_user(&self, uid: u32) -> impl Iterator<Item = Slot> + '_ {
        let numbers = (0..=u8::MAX).zip(self.uids.iter());
        numbers
            .filter(move |(_, user)| **user == Some(uid))
            .filter_map(|(number, _)| Slot::new(number))
    }

    /// How many slots the user `uid` has.
    pub(crate) fn count(&self, uid: u32) -> usize {
        self.of_user(uid).count()
    }

    /// How many slots the user may have so that others get theirs: half of what it does not share
    /// with others already, rounded up. So one user gets 127, the next 64, the next 32.
    pub(crate) fn fair_share(&self, uid: u32) -> usize {
        let others = self.uids.iter().flatten().filter(|u| **u != uid).count();
        usize::from(SLOT_LAST).saturating_sub(others).div_ceil(2)
    }

    /// Takes the next free slot after the last one handed out, for a user that may have `limit`.
    pub(crate) fn alloc(&mut self, uid: u32, limit: usize) -> Result<Slot, SlotError> {
        if self.count(uid) >= limit {
            return Err(SlotError::UidLimit);
        }
        let mut number = self.last;
        for _ in 0..=u8::MAX {
            number = number.wrapping_add(1);
            let Some(slot) = Slot::new(number) else {
                continue;
            };
            if let Some(entry @ None) = self.uids.get_mut(usize::from(number)) {
                // INVARIANT: `number` is a slot's.
                *entry = Some(uid);
                self.last = number;
                return Ok(slot);
            }
        }
        Err(SlotError::Full)
    }

    /// Gives a slot back. Returns whether it was taken.
    pub(crate) fn free(&mut self, slot: Slot) -> bool {
        match self.uids.get_mut(usize::from(slot.0)) {
            Some(entry) => entry.take().is_some(),
            None => false,
        }
    }
}
