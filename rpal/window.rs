// SPDX-License-Identifier: GPL-2.0

//! A window: a peer's slot as it appears in another service's address space.
//!
//! A special mapping covers the slot, and the peer's top-level table hangs below it. So the
//! *holder* of a window walks page tables that the *peer* owns, changes and frees:
//!
//! - faults go to the peer's address space ([`fault`]);
//! - the peer's TLB flushes are repeated for every holder ([`flush_holders`]);
//! - when either address space goes, the top-level entry is cleared and flushed before any table
//!   can be freed ([`address_space_gone`]).
//!
//! A window whose peer is gone, or that was detached, stays in the address space as an inert
//! mapping until the slot is attached again.

use crate::{
    registry::{
        Registry,
        REGISTRY, //
    },
    service::Service,
    slots::Slot,
    special,
    trust, //
};
use kernel::{
    bindings,
    error::to_result,
    mm::{
        special_mapping::{
            self,
            MmapWriteGuard, //
        },
        Mm,
        MmWithUser,
        MmWithUserAsync, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            ordering::{
                Acquire,
                Full,
                Release, //
            },
            Atomic, //
        },
        barrier,
        Arc, //
    }, //
};

/// A service's view of a peer.
///
/// # Invariants
///
/// While `linked` is set, `holder`'s top-level entry for `peer`'s slot shows `peer`'s tables,
/// neither address space has been torn down, and the window is on `peer`'s list of holders.
/// Changed under the registry's lock.
pub(crate) struct Window {
    pub(crate) holder: Arc<Service>,
    pub(crate) peer: Arc<Service>,
    /// Who both sides were.
    trust: trust::Trust,
    linked: Atomic<u32>,
    /// What [`closings`] was when nobody could get to the peer through the window any more, or
    /// the one before it; more than any while somebody can.
    closed: Atomic<u64>,
}

/// How many windows have been closed since boot.
static CLOSINGS: Atomic<u64> = Atomic::new(0);

/// How many windows have been closed since boot: a time at which something was seen.
pub(crate) fn closings() -> u64 {
    // Pairs with the barrier in `unlink`, by way of the kick that follows it.
    CLOSINGS.load(Acquire)
}

impl Window {
    /// Does the holder see the peer's memory?
    pub(crate) fn is_linked(&self) -> bool {
        // Pairs with the releases in `attach` and `unlink`.
        self.linked.load(Acquire) != 0
    }

    /// Is the current task, of the holder, still who both sides were? Does not sleep.
    pub(crate) fn trusts_holder(&self) -> bool {
        self.trust.holds(&self.peer.task)
    }

    /// Is the current task, of the peer, still who both sides were? Does not sleep.
    pub(crate) fn trusts_peer(&self) -> bool {
        self.trust.holds(&self.holder.task)
    }

    /// Could somebody have gone in after `time`, a value of [`closings`]? Not after `u64::MAX`.
    pub(crate) fn was_open_after(&self, time: u64) -> bool {
        // Pairs with the release in `unlink`.
        time < self.closed.load(Acquire)
    }

    /// Takes the peer's tables out of the holder's. The holder's address space must not have
    /// been torn down.
    fn unlink(self: &Arc<Self>, _registry: &Registry) {
        if !self.is_linked() {
            self.peer.remove_holder(self);
            return;
        }
        let slot = self.peer.place;
        self.linked.store(0, Release);
        // SAFETY: linked, so the entry is there.
        unsafe { bindings::rpal_p4d_unlink(self.holder.mm.as_raw(), slot.start()) };
        // After this nobody walks the peer's tables through this window. Only then may the
        // window leave the list: until now the peer's flushes had to reach it.
        flush(&self.holder.mm, slot.start(), slot.end());
        // Not before the flush: a thread of the holder's may have been seen outside, and have gone
        // in, as long as the translations were there.
        let nr = CLOSINGS.fetch_add(1, Full).wrapping_add(1);
        // Pairs with the acquire in `was_open_after`.
        self.closed.store(nr, Release);
        self.peer.remove_holder(self);
    }
}

/// Flushes a range from every TLB that may hold translations of `mm`, paging structures included.
fn flush(mm: &Mm, start: usize, end: usize) {
    // SAFETY: `mm` is valid; interrupts are on. A teardown that runs at the same time does no
    // harm: the flush looks at the CPU mask and at generations only.
    unsafe { bindings::rpal_flush_tlb(mm.as_raw(), start, end) }
}

/// Repeats a flush of `service`'s TLB for everybody who has a window onto it. Does not sleep.
pub(crate) fn flush_holders(service: &Service, start: usize, end: usize) {
    if cfg!(CONFIG_RPAL_TEST_NO_FLUSH) {
        return;
    }
    // Clipped first: a holder's own flush comes back to us with a range of the peer's slot, and
    // two services that hold windows onto each other would go on for ever.
    let start = start.max(service.place.start());
    let end = end.min(service.place.end());
    if start >= end {
        return;
    }
    // Pairs with the barrier in `attach`: either this sees the new holder, or the new holder's
    // page-table entry was set after the change that is flushed here.
    barrier::smp_mb(barrier::Full);
    service.for_each_holder(|w| flush(&w.holder.mm, start, end));
}

/// A reference that keeps a peer's address space in use without ever tearing it down itself:
/// this may happen inside a notifier or with locks held.
fn use_peer(peer: &Service) -> Result<ARef<MmWithUserAsync>> {
    Ok(MmWithUser::into_mmput_async(
        peer.mm.mmget_not_zero().ok_or(EOWNERDEAD)?,
    ))
}

/// Opens a window onto `peer` in the current service `own`.
///
/// `EINVAL`: it is the same service; `EEXIST`: attached already; `EOWNERDEAD`: the peer is gone;
/// `EBUSY`: something is mapped in the slot; `EUSERS`: too many others have one; `ENOMEM`: no
/// memory, or the resource limit of the address space does not have room for a slot; `EINTR`; and
/// what [`trust::check`] says. May sleep; takes the current `mmap_lock` and the registry's lock.
pub(crate) fn attach(own: &Arc<Service>, peer: &Arc<Service>) -> Result {
    if Arc::ptr_eq(own, peer) {
        return Err(EINVAL);
    }
    // Nothing is allocated under the registry's lock, for which everybody's end waits: a memory
    // cgroup may make its own wait for long. The windows of `own` are changed under its
    // `mmap_lock`, or when it has no user any more.
    // SAFETY: it is the current address space.
    let mut guard = unsafe { MmWithUser::from_raw(own.mm.as_raw()) }.mmap_write_lock_killable()?;
    let registry = REGISTRY.lock();
    if peer.is_dead() {
        return Err(EOWNERDEAD);
    }
    // Under the lock, since a window is unlinked in several steps. It never is linked again.
    let old = own.window(peer.place.number());
    if old.as_ref().is_some_and(|w| w.is_linked()) {
        return Err(EEXIST);
    }
    drop(registry);
    let trust = trust::check(own, peer)?;
    let user = use_peer(peer)?;
    let window = Arc::new(
        Window {
            holder: own.clone(),
            peer: peer.clone(),
            trust,
            // INVARIANT: nothing is linked yet.
            linked: Atomic::new(0),
            // Pairs with the release in `unlink`. A thread may still be inside from before.
            closed: Atomic::new(old.as_ref().map_or(0, |w| w.closed.load(Acquire))),
        },
        kernel::alloc::flags::GFP_KERNEL_ACCOUNT,
    )?;
    map(
        &mut guard,
        own,
        peer.place,
        peer.key.number(),
        &window,
        old.is_some(),
    )?;
    own.set_window(peer.place, Some(window.clone()));
    // SAFETY: it is the current address space.
    to_result(unsafe { bindings::rpal_p4d_alloc(own.mm.as_raw(), peer.place.start()) })?;
    peer.reserve_holders()?;
    let linked = link(own, peer, &user, &window);
    drop(guard);
    linked
}

/// Lets the holder of a new window see the peer's tables.
fn link(own: &Service, peer: &Service, user: &MmWithUserAsync, window: &Arc<Window>) -> Result {
    let registry = REGISTRY.lock();
    if peer.is_dead() {
        return Err(EOWNERDEAD);
    }
    peer.add_holder(window.clone())?;
    let closed = window.closed.load(Acquire);
    let linked = trust::check_threads(&window.trust, peer).and_then(|()| {
        // Before anybody can go in. Pairs with the acquire in `was_open_after`.
        window.closed.store(u64::MAX, Release);
        // Pairs with the barrier in `flush_holders`.
        barrier::smp_mb(barrier::Full);
        // SAFETY: both address spaces are in use: one is the current one, the other is `user`'s.
        to_result(unsafe {
            bindings::rpal_p4d_link(own.mm.as_raw(), user.as_raw(), peer.place.start())
        })
    });
    if linked.is_err() {
        window.closed.store(closed, Release);
        peer.remove_holder(window);
        return linked;
    }
    // INVARIANT: just linked, and on the list. Pairs with `is_linked`.
    window.linked.store(1, Release);
    drop(registry);
    Ok(())
}

/// Maps the window, in place of an inert one.
fn map(
    guard: &mut MmapWriteGuard<'_>,
    own: &Service,
    slot: Slot,
    key: u8,
    window: &Arc<Window>,
    inert: bool,
) -> Result {
    let (start, len) = (slot.start(), slot.end() - slot.start());
    if inert {
        special::remove(guard, start, len)?;
    }
    if guard.is_mapped(start, slot.end()) {
        return Err(EBUSY);
    }
    // A window counts as 512 GiB of address space and of data; with a limit on either, every
    // later mapping would fail.
    // SAFETY: the lock is held.
    let (total, data) = unsafe {
        let mm = &(*own.mm.as_raw()).__bindgen_anon_1;
        (mm.total_vm, mm.data_vm)
    };
    for (used, what) in [(total, bindings::RLIMIT_AS), (data, bindings::RLIMIT_DATA)] {
        // SAFETY: always safe to call.
        let limit = unsafe { bindings::rpal_rlimit(what) };
        if used.saturating_add(len / PAGE_SIZE) > limit / PAGE_SIZE {
            return Err(ENOMEM);
        }
    }
    special::install_window(guard, start, len, key, window.clone())
}

/// Closes the window onto `peer`.
///
/// Callers that are inside the peer are handed over first; the mapping stays, inert.
/// `ENOTCONN`: not attached. May sleep.
pub(crate) fn detach(own: &Arc<Service>, peer: &Arc<Service>) -> Result {
    let registry = REGISTRY.lock();
    let window = own.window(peer.place.number()).ok_or(ENOTCONN)?;
    if !Arc::ptr_eq(&window.peer, peer) || !window.is_linked() {
        return Err(ENOTCONN);
    }
    window.unlink(&registry);
    drop(registry);
    crate::stats::DETACH.inc();
    own.kick_all();
    Ok(())
}

/// The address space of `service` has lost its last user: closes all windows from and onto it,
/// and gives slot and key back. May sleep.
pub(crate) fn address_space_gone(service: &Service) {
    let mut registry = REGISTRY.lock();
    service.die();
    for number in 0..=u8::MAX {
        let Some(window) = service.window(number) else {
            continue;
        };
        window.unlink(&registry);
        service.set_window(window.peer.place, None);
    }
    while let Some(window) = service.holder(0) {
        // Takes it off the list; the holder lives, or it would have done so itself.
        window.unlink(&registry);
    }
    let listed = registry.give_back(service.place, service.key);
    drop(registry);
    drop(listed);
}

/// `handle_mm_fault()` for an address in a window.
///
/// The fault's own lock is dropped: the `mmap_lock` of one address space inside that of another
/// deadlocks against writers, and windows are mutual. What is returned keeps the two callers in
/// `arch/x86/mm/fault.c` right: COMPLETED says that the lock is gone; RETRY, on the pass under the
/// VMA lock, says so too; an error on the other pass has to be returned with the lock held.
///
/// # Safety
///
/// As for `handle_mm_fault()`; `vma` is a window.
#[no_mangle]
unsafe extern "C" fn rpal_window_fault(
    vma: *mut bindings::vm_area_struct,
    address: usize,
    fault_flags: u32,
    regs: *mut bindings::pt_regs,
) -> bindings::vm_fault_t {
    // Only the CPU's own faults are served. The others, get_user_pages() first of all, would
    // keep what they find beyond the peer's say.
    if regs.is_null() {
        return bindings::vm_fault_reason_VM_FAULT_SIGBUS;
    }
    let vma_locked = fault_flags & bindings::fault_flag_FAULT_FLAG_VMA_LOCK != 0;
    // SAFETY: `vma` is a window, made by `map`, and locked.
    let window = unsafe { special_mapping::owner::<Window>(vma) };
    // SAFETY: the lock that is held is dropped, once.
    unsafe {
        if vma_locked {
            bindings::vma_end_read(vma);
        } else {
            bindings::mmap_read_unlock(window.holder.mm.as_raw());
        }
    }
    if peer_fault(&window, address, fault_flags).is_ok() {
        return bindings::vm_fault_reason_VM_FAULT_COMPLETED;
    }
    if vma_locked {
        return bindings::vm_fault_reason_VM_FAULT_RETRY;
    }
    // SAFETY: it is the current address space, whose lock was dropped above.
    unsafe { bindings::mmap_read_lock(window.holder.mm.as_raw()) };
    bindings::vm_fault_reason_VM_FAULT_SIGBUS
}

/// Faults a page of the peer in, under the peer's locks and for the peer's memory cgroup.
fn peer_fault(window: &Window, address: usize, fault_flags: u32) -> Result {
    if !window.is_linked() {
        return Err(EFAULT);
    }
    if window.peer.area_addr.contains(address) {
        // Always present: the fault was met before the window was linked.
        return Ok(());
    }
    let user = use_peer(&window.peer)?;
    let mm = user.as_raw();
    // REMOTE: the peer's keys are not for the current PKRU to judge, and handlers of special
    // mappings have to know that the current task is a stranger.
    let f = bindings::fault_flag_FAULT_FLAG_REMOTE
        | fault_flags & bindings::fault_flag_FAULT_FLAG_WRITE;
    let mut unlocked = false;
    let mut own = core::ptr::null_mut();
    // SAFETY: `user` keeps the address space in use; the lock is taken and dropped here, and the
    // memory cgroup is put back.
    unsafe {
        to_result(bindings::mmap_read_lock_killable(mm))?;
        let old = bindings::rpal_memcg_enter(mm, &mut own);
        // Handlers of such mappings have never run for a stranger; a write to a shadow stack would
        // be served again and again; a stack grows for its owner only. The peer itself can meet
        // these faults.
        let ret = if bindings::rpal_is_special(mm, address) {
            EFAULT.to_errno()
        } else {
            bindings::fixup_user_fault(mm, address, f, &mut unlocked)
        };
        bindings::rpal_memcg_leave(old, own);
        bindings::mmap_read_unlock(mm);
        to_result(ret)
    }
}

/// `get_user_pages_fast()` asks whether it may walk a range without a lock.
///
/// May be called in any context, an NMI included: no lock, no reference.
///
/// # Safety
///
/// `mm` is the current address space, and a service's.
#[no_mangle]
unsafe extern "C" fn __rpal_gup_fast_permitted(
    mm: *mut bindings::mm_struct,
    start: usize,
    end: usize,
) -> bool {
    // SAFETY: by the contract, and the service stays as long as its address space has a user.
    let own = unsafe {
        &*(*mm)
            .__bindgen_anon_1
            .context
            .rpal
            .service
            .cast::<Service>()
    };
    let first = start >> crate::slots::SLOT_SHIFT;
    let last = end.saturating_sub(1) >> crate::slots::SLOT_SHIFT;
    // A range of several slots is no buffer; the slow way looks at each mapping.
    first == last && u8::try_from(first).is_ok_and(|slot| !own.sees(slot))
}
