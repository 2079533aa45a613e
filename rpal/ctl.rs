// SPDX-License-Identifier: GPL-2.0

//! The control area: one block per thread, shared by the thread, its peers and the kernel.
//!
//! The kernel reads and writes it through its own mapping, so that no access can fault. User
//! space may change any byte at any time: every field is an atomic, and nothing that is read here
//! is more than a hint.

use crate::{
    lease_word::{
        self as word,
        LeaseWord,
        Owner, //
    },
    slots::Slot, //
};
use core::{
    mem::size_of,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    page::PAGE_SIZE,
    prelude::*,
    sync::atomic::{
        ordering::{
            Acquire,
            Full,
            Relaxed,
            Release, //
        },
        Atomic, //
    }, //
};

/// Pages of an area, as a power of two.
const ORDER: u32 = 4;

/// Bytes of an area.
pub(crate) const AREA_SIZE: usize = PAGE_SIZE << ORDER;

const CTL_SIZE: usize = bindings::RPAL_CTL_SIZE as usize;

/// Blocks of an area: how many threads a service can register.
pub(crate) const MAX_THREADS: usize = bindings::RPAL_MAX_THREADS as usize;

const _: () = assert!(AREA_SIZE == MAX_THREADS * CTL_SIZE);

/// `struct rpal_ctl`, as memory that somebody else writes to.
#[repr(C)]
pub(crate) struct Ctl {
    word: Atomic<u64>,
    pub(crate) claim: Atomic<u64>,
    fsbase: Atomic<u64>,
    entry_sp: Atomic<u64>,
    entry_ip: Atomic<u64>,
    cookie: Atomic<u64>,
    fpcw: Atomic<u64>,
    pkru: Atomic<u32>,
    lent: Atomic<u32>,
    claim_delta: Atomic<u64>,
    release_delta: Atomic<u64>,
    pub(crate) saved_sp: Atomic<u64>,
    caller: Atomic<u64>,
    deadline: Atomic<u64>,
    watch: Atomic<u32>,
    reserved0: u32,
    reserved: [u64; 18],
}

const _: () = assert!(size_of::<Ctl>() == CTL_SIZE);

impl Ctl {
    /// Sets the block up for a newly registered thread.
    pub(crate) fn init(&self, owner: Owner, fsbase: u64, pkru: u32) {
        self.word.store(word::OFF, Relaxed);
        self.claim.store(0, Relaxed);
        self.fsbase.store(fsbase, Relaxed);
        self.pkru.store(pkru, Relaxed);
        // CAST: the owner's bits lie in the low half.
        self.lent.store((word::LENT | owner.bits()) as u32, Relaxed);
        self.claim_delta.store(word::claim_delta(owner), Relaxed);
        self.release_delta
            .store(word::release_delta(owner), Relaxed);
        self.saved_sp.store(0, Relaxed);
        self.caller.store(0, Relaxed);
        self.deadline.store(0, Relaxed);
        self.watch.store(0, Relaxed);
    }

    /// When the thread's call has to end, by its own clock; 0: never.
    pub(crate) fn deadline(&self) -> u64 {
        self.deadline.load(Relaxed)
    }

    /// Says that the watch is on. False: that has been said already.
    pub(crate) fn start_watch(&self) -> bool {
        self.watch.xchg(1, Full) == 0
    }

    /// Says that the watch is off, unless there is a deadline to look at. Returns whether it is.
    pub(crate) fn stop_watch(&self) -> bool {
        if self.deadline() != 0 {
            return false;
        }
        // Fully ordered: pairs with the exchange by which user space sets a deadline before it
        // reads whether the watch is on. One of the two sees the other.
        self.watch.xchg(0, Full);
        if self.deadline() == 0 {
            return true;
        }
        self.watch.store(1, Relaxed);
        false
    }

    /// Has a thread ever registered here? As user space has it: good for an errno only.
    pub(crate) fn was_used(&self) -> bool {
        self.lent.load(Relaxed) != 0
    }

    /// Tells the gate which PKRU the thread comes back to from a call.
    pub(crate) fn set_pkru(&self, pkru: u32) {
        self.pkru.store(pkru, Relaxed);
    }

    /// Makes the block's own calls begin in the kernel, or not. Only for a thread that is not
    /// parked, and by itself, or for no thread: the word is OFF or AWAY, and in the first case
    /// every claim and grant finds what it finds in the second.
    pub(crate) fn set_away(&self, away: bool) {
        self.word
            .store(if away { word::AWAY } else { word::OFF }, Relaxed);
    }

    /// Do the thread's own calls begin in the kernel?
    pub(crate) fn is_away(&self) -> bool {
        self.word.load(Relaxed) == word::AWAY
    }

    /// Publishes what a call starts with. Before the word becomes READY.
    pub(crate) fn publish(&self, fsbase: u64, sp: u64, ip: u64, cookie: u64) {
        self.fsbase.store(fsbase, Relaxed);
        self.entry_sp.store(sp, Relaxed);
        self.entry_ip.store(ip, Relaxed);
        self.cookie.store(cookie, Relaxed);
    }
}

impl LeaseWord for Ctl {
    fn load(&self) -> u64 {
        // Pairs with the release of the gate.
        self.word.load(Acquire)
    }

    fn compare_exchange(&self, old: u64, new: u64) -> core::result::Result<u64, u64> {
        self.word.cmpxchg(old, new, Full)
    }

    fn swap(&self, new: u64) -> u64 {
        self.word.xchg(new, Full)
    }

    fn fetch_or(&self, bits: u64) -> u64 {
        // A locked OR and a load, instead of a loop of compare-and-swaps that a peer could keep
        // going for ever. The gate's own steps can't tell the difference: with a bit set, no
        // claim and no release succeeds, so that the load finds who had the context.
        // SAFETY: the word is valid, and accessed atomically by everybody.
        unsafe { bindings::rpal_lock_or(core::ptr::from_ref(&self.word).cast_mut().cast(), bits) };
        self.word.load(Acquire)
    }

    fn store_release(&self, new: u64) {
        self.word.store(new, Release);
    }
}

/// A service's control area.
///
/// # Invariants
///
/// `base` is the start of `AREA_SIZE` zero-initialised bytes of the kernel's own mapping, owned
/// by this value.
pub(crate) struct Area {
    page: NonNull<bindings::page>,
    base: NonNull<u8>,
}

// SAFETY: the pages belong to no thread, and all accesses are atomic.
unsafe impl Send for Area {}
// SAFETY: as above.
unsafe impl Sync for Area {}

impl Area {
    /// Allocates an area, charged to the current memory cgroup. May sleep.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: no preconditions but a context that may sleep.
        let page = NonNull::new(unsafe { bindings::rpal_alloc_pages(ORDER) }).ok_or(ENOMEM)?;
        // SAFETY: `page` was just allocated, without __GFP_HIGHMEM.
        let base = NonNull::new(unsafe { bindings::rpal_page_address(page.as_ptr()) }.cast())
            .ok_or(ENOMEM)?;
        // INVARIANT: by __GFP_ZERO and the order.
        let area = Self { page, base };
        for index in 0..=u8::MAX {
            // Who is not registered does not get through the gate.
            area.ctl(index).set_away(true);
        }
        Ok(area)
    }

    /// The block of a thread.
    pub(crate) fn ctl(&self, index: u8) -> &Ctl {
        // SAFETY: by the invariant there are 256 blocks, and all fields of one may be read and
        // written by anybody at any time, atomically.
        unsafe { self.base.cast::<Ctl>().add(usize::from(index)).as_ref() }
    }

    /// Page frame number of the first page.
    pub(crate) fn pfn(&self) -> usize {
        // SAFETY: `page` is owned by `self`.
        unsafe { bindings::page_to_pfn(self.page.as_ptr()) }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: allocated with this order, and no mapping is left: each holds the service.
        unsafe { bindings::__free_pages(self.page.as_ptr(), ORDER) };
    }
}

/// Where in a slot the control area of a service lies, and which block an address names.
#[derive(Clone, Copy)]
pub(crate) struct AreaAddr(pub(crate) usize);

impl AreaAddr {
    /// User address of a thread's block.
    pub(crate) fn ctl(self, index: u8) -> usize {
        self.0.wrapping_add(usize::from(index) * CTL_SIZE)
    }

    /// Does the address lie in the area?
    pub(crate) fn contains(self, addr: usize) -> bool {
        addr.wrapping_sub(self.0) < AREA_SIZE
    }

    /// Index of the block at `addr`, if it is one.
    pub(crate) fn index(self, addr: usize) -> Option<u8> {
        let offset = addr.wrapping_sub(self.0);
        if offset % CTL_SIZE != 0 {
            return None;
        }
        u8::try_from(offset / CTL_SIZE).ok()
    }
}

/// Where the control area lies in a slot: the last GiB, above the stack's region.
pub(crate) fn area_addr(slot: Slot) -> AreaAddr {
    AreaAddr(crate::placement::area_start(slot))
}
