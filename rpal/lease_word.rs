// SPDX-License-Identifier: GPL-2.0

//! The lease word: its layout, as in `include/uapi/linux/rpal.h`, and how it is accessed.
//!
//! Low half: state, bits and borrower. High half: a sequence number. What the values mean, and who
//! changes which to which, is in `rpal/lease.rs`; what the gate does in user mode is here again for
//! the tests on the host.

/// Parked, nobody may claim it, or not parked at all.
pub(crate) const OFF: u64 = 0;
/// Parked, may be claimed.
pub(crate) const READY: u64 = 1 << 0;
/// Claimed by the borrower.
pub(crate) const LENT: u64 = 1 << 1;
/// The receiver wants its context back.
pub(crate) const WANTED: u64 = 1 << 2;
/// The receiver, or a caller in the slow path, waits for the release. On a word that is
/// READY: claims have to come to the kernel.
pub(crate) const EVENT: u64 = 1 << 3;
/// Not parked, and not to call in user mode: the thread's block may have a second user.
pub(crate) const AWAY: u64 = 1 << 4;
/// Borrower: thread index, 8 bits.
pub(crate) const INDEX_SHIFT: u32 = 8;
/// Borrower: slot number, 8 bits.
pub(crate) const SLOT_SHIFT: u32 = 16;
/// The sequence number.
pub(crate) const SEQ_SHIFT: u32 = 32;

/// The low half of a word.
const LOW: u64 = (1 << SEQ_SHIFT) - 1;
/// The low half without the bits that the kernel sets while the context is lent.
const HOLDER: u64 = LOW & !(WANTED | EVENT);

/// The sequence number in `word`.
pub(crate) const fn seq(word: u64) -> u32 {
    (word >> SEQ_SHIFT) as u32
}

/// READY(`seq`).
pub(crate) const fn ready(seq: u32) -> u64 {
    ((seq as u64) << SEQ_SHIFT) | READY
}

/// LENT(`owner`, `seq`).
pub(crate) const fn lent(owner: Owner, seq: u32) -> u64 {
    ((seq as u64) << SEQ_SHIFT) | LENT | owner.bits()
}

/// What a claim adds to READY(s) for LENT(`owner`, s).
pub(crate) const fn claim_delta(owner: Owner) -> u64 {
    lent(owner, 0).wrapping_sub(ready(0))
}

/// What a release adds to LENT(`owner`, s) for READY(s + 1).
///
/// The sequence number is the high half, so a carry out of it is lost and it just wraps.
pub(crate) const fn release_delta(owner: Owner) -> u64 {
    ready(1).wrapping_sub(lent(owner, 0))
}

/// Whether nobody has claimed the parked context.
///
/// The other bits do not matter: no claim succeeds while one is set, and the kernel sets
/// none on a READY word except on its way to OFF, and EVENT for a context that it withholds.
pub(crate) const fn is_ready(word: u64) -> bool {
    word & (READY | LENT) == READY
}

/// Whether the word is LENT(`owner`, any), with or without WANTED and EVENT.
pub(crate) const fn is_lent_to(word: u64, owner: Owner) -> bool {
    word & HOLDER == LENT | owner.bits()
}

/// The borrower that `word` names, if it is lent and names one that can exist.
pub(crate) const fn borrower(word: u64) -> Option<Owner> {
    if word & (READY | LENT) != LENT {
        return None;
    }
    // The casts take the 8 bits of each field.
    Owner::new((word >> SLOT_SHIFT) as u8, (word >> INDEX_SHIFT) as u8)
}

/// Whether a claim may start from `word`: READY and no bit beside it.
#[cfg(any(test, rpal_host))]
pub(crate) const fn is_claimable(word: u64) -> bool {
    word & LOW == READY
}

/// Whether a release in user mode may start from `word`: LENT(`owner`) and no bit beside it.
#[cfg(any(test, rpal_host))]
pub(crate) const fn is_releasable(word: u64, owner: Owner) -> bool {
    word & LOW == LENT | owner.bits()
}

/// A registered thread as the lease word names it.
///
/// # Invariants
///
/// `slot` is 1 to 254.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    slot: u8,
    index: u8,
}

impl Owner {
    /// Thread `index` of the service in slot `slot`; `None` if there can be no such slot.
    pub(crate) const fn new(slot: u8, index: u8) -> Option<Self> {
        if slot == 0 || slot == u8::MAX {
            return None;
        }
        // INVARIANT: 0 and 255 were just refused.
        Some(Self { slot, index })
    }

    /// The slot number, 1 to 254.
    #[cfg(any(test, rpal_host))]
    pub(crate) const fn slot(self) -> u8 {
        self.slot
    }

    /// The thread's index in its service.
    pub(crate) const fn index(self) -> u8 {
        self.index
    }

    /// The owner in its place in the lease word.
    pub(crate) const fn bits(self) -> u64 {
        ((self.slot as u64) << SLOT_SHIFT) | ((self.index as u64) << INDEX_SHIFT)
    }
}

/// Access to one lease word, which user space may change at any time.
///
/// The orderings are the least that the protocol needs; `rpal/lease.rs` names the
/// partners. A stronger one (x86 locked instructions, the kernel's fully ordered atomics) will do.
pub(crate) trait LeaseWord {
    /// Acquire load.
    fn load(&self) -> u64;
    /// Changes `old` to `new`. Acquire and release on success, acquire on failure, which is never
    /// spurious. Returns the value found.
    fn compare_exchange(&self, old: u64, new: u64) -> Result<u64, u64>;
    /// Acquire and release. Returns the value found.
    fn swap(&self, new: u64) -> u64;
    /// Acquire and release. Returns the value found.
    fn fetch_or(&self, bits: u64) -> u64;
    /// Release store.
    fn store_release(&self, new: u64);
}

/// The gate's attempt was disturbed: it takes the slow path.
#[cfg(any(test, rpal_host))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Disturbed;

/// T2 as the gate does it in user mode. Returns the sequence number of the lease.
#[cfg(any(test, rpal_host))]
pub(crate) fn claim<W: LeaseWord + ?Sized>(word: &W, owner: Owner) -> Result<u32, Disturbed> {
    let found = word.load();
    if !is_claimable(found) {
        return Err(Disturbed);
    }
    // The acquire pairs with the release store of `Lease::park`, and with the release of T4.
    match word.compare_exchange(found, found.wrapping_add(claim_delta(owner))) {
        Ok(_) => Ok(seq(found)),
        Err(_) => Err(Disturbed),
    }
}

/// T4 as the gate does it in user mode. On failure the caller must come to the kernel for T6.
#[cfg(any(test, rpal_host))]
pub(crate) fn release_fast<W: LeaseWord + ?Sized>(word: &W, owner: Owner) -> Result<(), Disturbed> {
    let found = word.load();
    if !is_releasable(found, owner) {
        return Err(Disturbed);
    }
    // The release pairs with the acquire of the next claim (T2).
    match word.compare_exchange(found, found.wrapping_add(release_delta(owner))) {
        Ok(_) => Ok(()),
        Err(_) => Err(Disturbed),
    }
}
