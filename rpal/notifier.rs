// SPDX-License-Identifier: GPL-2.0

//! The peer's address space as a secondary MMU: its flushes and its end.
//!
//! Every service has one `mmu_notifier` on its own address space, from before `execve`'s point of
//! no return until the address space goes. C header:
//! [`include/linux/mmu_notifier.h`](srctree/include/linux/mmu_notifier.h)

use crate::{
    service::Service,
    window, //
};
use core::mem::offset_of;
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

/// The notifier inside a service.
#[pin_data]
pub(crate) struct Subscription {
    #[pin]
    mn: Opaque<bindings::mmu_notifier>,
}

// SAFETY: the notifier core has its own locks.
unsafe impl Send for Subscription {}
// SAFETY: as above.
unsafe impl Sync for Subscription {}

static OPS: bindings::mmu_notifier_ops = bindings::mmu_notifier_ops {
    release: Some(release),
    arch_invalidate_secondary_tlbs: Some(invalidate),
    free_notifier: Some(free),
    ..pin_init::zeroed()
};

/// The service that a notifier lies in.
///
/// # Safety
///
/// `mn` is a notifier registered by [`Subscription::register`] and not freed.
unsafe fn service_of<'a>(mn: *mut bindings::mmu_notifier) -> &'a Service {
    let offset = offset_of!(Service, subscription) + offset_of!(Subscription, mn);
    // SAFETY: by the contract it lies at this offset of a live service.
    unsafe { &*mn.cast::<u8>().sub(offset).cast::<Service>() }
}

/// The address space goes: no page table of it may be reachable any more.
///
/// # Safety
///
/// Only for the notifier core, with a registered notifier.
unsafe extern "C" fn release(mn: *mut bindings::mmu_notifier, _mm: *mut bindings::mm_struct) {
    // SAFETY: the core calls with registered notifiers only.
    let service = unsafe { service_of(mn) };
    window::address_space_gone(service);
    // SAFETY: this is where the address space has lost its last user.
    let own = unsafe { service.take_from_mm() };
    // SAFETY: registered, and put once. The reference of `free` outlives this call.
    unsafe { bindings::mmu_notifier_put(mn) };
    drop(own);
}

/// A flush of the owner's TLB: does the same for everybody who has a window.
///
/// # Safety
///
/// Only for the notifier core, with a registered notifier.
unsafe extern "C" fn invalidate(
    mn: *mut bindings::mmu_notifier,
    _mm: *mut bindings::mm_struct,
    start: usize,
    end: usize,
) {
    // SAFETY: the core calls with registered notifiers only.
    window::flush_holders(unsafe { service_of(mn) }, start, end);
}

/// Nobody uses the notifier any more.
///
/// # Safety
///
/// Only for the notifier core, once, after [`Subscription::register`].
unsafe extern "C" fn free(mn: *mut bindings::mmu_notifier) {
    // SAFETY: `register` gave a reference away for this.
    drop(unsafe { Arc::from_raw(core::ptr::from_ref(service_of(mn))) });
}

impl Subscription {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            mn <- Opaque::ffi_init(|slot: *mut bindings::mmu_notifier| {
                // SAFETY: `slot` is valid for writes; zeroes are a valid value.
                unsafe {
                    slot.write(pin_init::zeroed());
                    (*slot).ops = &OPS;
                }
            }),
        })
    }

    /// Registers the notifier of `service` on its address space. May sleep.
    ///
    /// `EINTR`: a signal is pending; `ENOMEM`.
    ///
    /// # Safety
    ///
    /// Once per service, and its address space has a user.
    pub(crate) unsafe fn register(service: &Arc<Service>) -> Result {
        let extra = service.clone();
        // SAFETY: by the contract; the service stays where it is, and `extra` keeps it until
        // `free`.
        to_result(unsafe {
            bindings::mmu_notifier_register(service.subscription.mn.get(), service.mm.as_raw())
        })?;
        let _ = Arc::into_raw(extra);
        Ok(())
    }
}
