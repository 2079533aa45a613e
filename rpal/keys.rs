// SPDX-License-Identifier: GPL-2.0

//! Protection keys: which of them services use, and how many services share each.
//!
//! There are fewer keys than slots, so keys are shared when they run out. Two services with one
//! key cannot be isolated from each other, hence the least used key is handed out: first of all the
//! one that the user's own services use least, since services of several users are seldom attached
//! to each other, and no user shall see to it that others' get the same.

/// How many protection keys x86 has.
pub(crate) const KEYS: u8 = 16;

/// PKRU with access denied for every key: bit 2k denies access with key k, bit 2k + 1 writes.
const PKRU_DENY_ALL: u32 = 0x5555_5555;

/// The two PKRU bits of key `number`, which must be less than [`KEYS`].
const fn pkru_bits(number: u8) -> u32 {
    // The mask keeps the shift below 32 whatever the number.
    0b11 << (2 * (number & (KEYS - 1)))
}

/// The number of a protection key.
///
/// # Invariants
///
/// The number is less than [`KEYS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u8);

impl Key {
    /// The key of all memory that has no other: what unprotected services use.
    pub(crate) const DEFAULT: Self = Self(0);

    /// The number, less than [`KEYS`].
    pub(crate) const fn number(self) -> u8 {
        self.0
    }
}

/// The PKRU of a service that has `key`: that key and key 0 are open, all others are closed.
///
/// With [`Key::DEFAULT`] this is the value that the kernel starts every task with.
pub(crate) const fn pkru_for(key: Key) -> u32 {
    PKRU_DENY_ALL & !pkru_bits(0) & !pkru_bits(key.0)
}

/// The keys that services get, and how many services have each.
///
/// # Invariants
///
/// Bit 0 of `mask` is clear: key 0 is everybody's.
#[derive(Debug)]
pub(crate) struct KeyPool {
    /// Bit k: key k is in the pool.
    mask: u16,
    /// By key: how many services have it. Not more than there are slots.
    uses: [u32; KEYS as usize],
    /// The last key handed out, 0 in the beginning.
    last: u8,
}

impl KeyPool {
    /// A pool of the keys whose bits are set in `mask`; key 0 is left out.
    pub(crate) const fn new(mask: u16) -> Self {
        // INVARIANT: bit 0 is cleared.
        Self {
            mask: mask & !1,
            uses: [0; KEYS as usize],
            last: 0,
        }
    }

    /// Whether `number` is a key of the pool.
    pub(crate) fn contains(&self, number: u8) -> bool {
        number < KEYS && self.mask & (1 << number) != 0
    }

    /// Takes the key that the user's own services use least; of several, the one that all use
    /// least; of several, the next after the last one handed out. `own` tells how many of the
    /// user's have a key. `None` if the pool has no key.
    pub(crate) fn alloc(&mut self, own: impl Fn(u8) -> usize) -> Option<Key> {
        let mut best: Option<(u8, (usize, u32))> = None;
        for step in 1..=KEYS {
            let number = self.last.wrapping_add(step) % KEYS;
            if !self.contains(number) {
                continue;
            }
            let uses = (own(number), self.uses(number));
            if best.is_none_or(|(_, least)| uses < least) {
                best = Some((number, uses));
            }
        }
        let (number, _) = best?;
        let uses = self.uses.get_mut(usize::from(number))?;
        *uses = uses.saturating_add(1);
        self.last = number;
        // INVARIANT: taken modulo `KEYS`.
        Some(Key(number))
    }

    /// Gives a key back. Returns whether it was taken.
    pub(crate) fn free(&mut self, key: Key) -> bool {
        match self.uses.get_mut(usize::from(key.0)) {
            Some(uses) if *uses > 0 => {
                *uses -= 1;
                true
            }
            _ => false,
        }
    }

    /// How many services have key `number`.
    pub(crate) fn uses(&self, number: u8) -> u32 {
        self.uses.get(usize::from(number)).copied().unwrap_or(0)
    }
}
