// SPDX-License-Identifier: GPL-2.0

//! System calls that change what the receivers of a service look at when they park.
//!
//! A receiver looks under its own lock. So whoever looked before the change had its effect can be
//! found under these locks afterwards, and is withheld; the others have seen the change.

use crate::{
    service::Service,
    task, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::Arc,
    task::Task, //
};

/// From here on no receiver of the service is lent any more, or only until its release. Each parks
/// anew, and looks at what it is then.
fn withhold_all(service: &Service) {
    service.for_each_thread(|t| {
        t.inner.lock().lease.withhold(t.ctl());
    });
}

/// `membarrier(2)` interrupts the CPUs that run this address space, and misses those that run its
/// receivers for a caller. So these are interrupted first.
pub(crate) fn before_barrier(service: &Service) {
    withhold_all(service);
    service.visit_holders(|w| task::sync_cpus(&w.holder.mm));
}

/// Work of the current task, for its way out of the kernel.
///
/// # Invariants
///
/// `head` is the first field, so that a pointer to it is one to the whole.
#[repr(C)]
struct After {
    head: bindings::callback_head,
    service: Arc<Service>,
}

/// Withholds all receivers of the service when the current system call has had its effect.
///
/// `ENOMEM`: it can't be remembered.
pub(crate) fn withhold_after(service: &Arc<Service>) -> Result {
    let after = KBox::new(
        After {
            head: bindings::callback_head {
                next: core::ptr::null_mut(),
                func: Some(run),
            },
            service: service.clone(),
        },
        GFP_KERNEL,
    )?;
    let head = KBox::into_raw(after).cast();
    // SAFETY: the current task is in a system call, so that it takes work; `run` is its end.
    let ret = unsafe {
        bindings::task_work_add(
            Task::current_raw(),
            head,
            bindings::task_work_notify_mode_TWA_RESUME,
        )
    };
    if ret != 0 {
        // SAFETY: from `into_raw` above, and nobody has taken it.
        drop(unsafe { KBox::from_raw(head.cast::<After>()) });
        return Err(ENOMEM);
    }
    Ok(())
}

/// # Safety
///
/// `head` is the one of an [`After`] that `withhold_after` has made, and only given here.
unsafe extern "C" fn run(head: *mut bindings::callback_head) {
    // SAFETY: by the contract, and the type's invariant.
    let after = unsafe { KBox::from_raw(head.cast::<After>()) };
    withhold_all(&after.service);
}
