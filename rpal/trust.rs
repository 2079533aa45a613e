// SPDX-License-Identifier: GPL-2.0

//! Who may attach to whom.
//!
//! A peer can write to the other's memory and stack whenever it wants, since WRPKRU is not
//! privileged. So attaching means what ptrace in both directions means, and takes two services
//! that could each debug the other: the same credentials and the same restrictions.

use crate::service::Service;
use kernel::{
    bindings,
    prelude::*,
    sync::Arc,
    task::Task, //
};

/// A reference to a task's credentials.
struct Cred(*const bindings::cred);

impl Cred {
    fn of(task: &Task) -> Self {
        // SAFETY: `task` is valid; the reference that this takes is put by `drop`.
        Self(unsafe { bindings::get_task_cred(task.as_ptr()) })
    }

    fn same(&self, other: &Self) -> bool {
        // SAFETY: both are referenced, and credentials do not change.
        let (a, b) = unsafe { (&*self.0, &*other.0) };
        a.uid.val == b.uid.val
            && a.euid.val == b.euid.val
            && a.suid.val == b.suid.val
            && a.fsuid.val == b.fsuid.val
            && a.gid.val == b.gid.val
            && a.egid.val == b.egid.val
            && a.sgid.val == b.sgid.val
            && a.fsgid.val == b.fsgid.val
            && core::ptr::eq(a.user_ns, b.user_ns)
            && a.cap_permitted.val == b.cap_permitted.val
            && a.cap_effective.val == b.cap_effective.val
    }
}

impl Drop for Cred {
    fn drop(&mut self) {
        // SAFETY: taken by `of`.
        unsafe { bindings::put_cred(self.0) }
    }
}

fn no_new_privs(task: &Task) -> bool {
    // SAFETY: `task` is valid.
    unsafe { bindings::task_no_new_privs(task.as_ptr()) }
}

/// May an ordinary debugger look at it?
fn is_dumpable(task: &Task) -> bool {
    // SAFETY: `task` is valid.
    unsafe { bindings::rpal_task_is_dumpable(task.as_ptr()) }
}

fn filter(task: &Task) -> *const kernel::ffi::c_void {
    // SAFETY: `task` is valid; the pointer is compared, not followed.
    unsafe { bindings::rpal_seccomp_filter(task.as_ptr()) }
}

/// May the current task of `own` open a window onto `peer`?
///
/// `EPERM`: credentials, capabilities, user namespace, no_new_privs or seccomp filters differ, or
/// one of the two is not dumpable;
/// `EKEYREJECTED`: both have the same protection key, and not both asked for unprotected mode.
pub(crate) fn check(own: &Arc<Service>, peer: &Arc<Service>) -> Result {
    let me = kernel::current!();
    if !Cred::of(me).same(&Cred::of(&peer.task))
        || !is_dumpable(me)
        || !is_dumpable(&peer.task)
        || no_new_privs(me) != no_new_privs(&peer.task)
        || filter(me) != filter(&peer.task)
    {
        return Err(EPERM);
    }
    if own.key == peer.key && !(own.unprotected && peer.unprotected) {
        return Err(EKEYREJECTED);
    }
    Ok(())
}
