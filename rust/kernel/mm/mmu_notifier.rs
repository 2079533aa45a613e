// SPDX-License-Identifier: GPL-2.0

//! Notifiers of an address space: its TLB flushes, and its end.
//!
//! For who walks an address space's page tables beside its CPUs, a secondary MMU. C header:
//! [`include/linux/mmu_notifier.h`](srctree/include/linux/mmu_notifier.h)

use crate::{
    alloc::Flags,
    bindings,
    error::to_result,
    mm::{
        Mm,
        MmWithUser, //
    },
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

/// Who is told of what happens to an address space.
///
/// The last reference may be dropped by an SRCU callback, which must not sleep, and so must not
/// `drop()` of the type.
pub trait MmuNotifier: Send + Sync + 'static {
    /// `mm` has lost its last user; none of its page tables has been freed yet, and none may be
    /// reached any more when this returns.
    ///
    /// May sleep, but not for the end of another address space, as by dropping the last user of
    /// one: that waits for all notifiers that run.
    ///
    /// # Safety
    ///
    /// Only for the notifier core: it is called once for each [`register`], with its `mm`, which
    /// has no user any more.
    unsafe fn release(&self, mm: &Mm);

    /// The TLB entries for `start..end` have been flushed on the CPUs that use the address space,
    /// or are about to be: before this returns, they must be gone wherever else they are.
    ///
    /// Must not sleep, and may be called with page-table locks held; before [`register`] has
    /// returned, while [`release`](Self::release) runs, and for a while after it, too.
    fn invalidate_secondary_tlbs(&self, start: usize, end: usize);
}

/// What the notifier core knows: the notifier, and beside it who is told.
///
/// # Invariants
///
/// Once registered, it stays where it is until the core has called `free_notifier`.
#[repr(C)]
struct Subscription<T> {
    /// First, so that the core's pointer is one to the whole.
    mn: Opaque<bindings::mmu_notifier>,
    owner: Arc<T>,
}

impl<T: MmuNotifier> Subscription<T> {
    const OPS: bindings::mmu_notifier_ops = bindings::mmu_notifier_ops {
        release: Some(Self::release),
        arch_invalidate_secondary_tlbs: Some(Self::invalidate),
        free_notifier: Some(Self::free),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// Only for the notifier core, with a registered notifier of this type.
    unsafe extern "C" fn release(mn: *mut bindings::mmu_notifier, mm: *mut bindings::mm_struct) {
        // SAFETY: by the contract the notifier lies at the start of a live value of this type, and
        // the core calls this for the address space that it is registered for, at its end.
        unsafe { (*mn.cast::<Self>()).owner.release(Mm::from_raw(mm)) };
        // SAFETY: registered, and put once: address spaces end once. `free` comes after this.
        unsafe { bindings::mmu_notifier_put(mn) };
    }

    /// # Safety
    ///
    /// Only for the notifier core, with a registered notifier of this type.
    unsafe extern "C" fn invalidate(
        mn: *mut bindings::mmu_notifier,
        _: *mut bindings::mm_struct,
        start: usize,
        end: usize,
    ) {
        // SAFETY: as in `release`. The core's SRCU section keeps the notifier.
        unsafe { &*mn.cast::<Self>() }
            .owner
            .invalidate_secondary_tlbs(start, end);
    }

    /// # Safety
    ///
    /// Only for the notifier core, once, when nobody uses the notifier any more.
    unsafe extern "C" fn free(mn: *mut bindings::mmu_notifier) {
        // SAFETY: `register` made it from a box and left it to the core.
        drop(unsafe { KBox::from_raw(mn.cast::<Self>()) });
    }
}

/// Tells `owner` of what happens to `mm` from now on until its end; there is no way to end it
/// earlier. The reference is dropped some time after [`MmuNotifier::release`].
///
/// `EINTR`: a signal is pending; `ENOMEM`. May sleep; takes `mm`'s `mmap_lock` for writing, and
/// allocates with `flags` before it does. The code of `T` must be there as long as any address
/// space: this is not for modules that can be unloaded.
pub fn register<T: MmuNotifier>(mm: &MmWithUser, owner: Arc<T>, flags: Flags) -> Result {
    // A constant, and so in static memory.
    let ops: &'static bindings::mmu_notifier_ops = &Subscription::<T>::OPS;
    let subscription = KBox::new(
        Subscription {
            mn: Opaque::new(bindings::mmu_notifier {
                ops,
                ..pin_init::zeroed()
            }),
            owner,
        },
        flags,
    )?;
    // INVARIANT: nobody moves what is behind a raw pointer.
    let subscription = KBox::into_raw(subscription);
    // SAFETY: the address space has a user, and the memory is left to the core if it takes it.
    to_result(unsafe {
        bindings::mmu_notifier_register(subscription.cast::<bindings::mmu_notifier>(), mm.as_raw())
    })
    .inspect_err(|_| {
        // SAFETY: the core has not taken it.
        drop(unsafe { KBox::from_raw(subscription) });
    })
}
