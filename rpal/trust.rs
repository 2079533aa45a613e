// SPDX-License-Identifier: GPL-2.0

//! Who may attach to whom.
//!
//! A peer can write to the other's memory and stack whenever it wants, since WRPKRU is not
//! privileged. So attaching means what ptrace in both directions means, and takes two services
//! that could each debug the other: the same credentials and the same restrictions.
//!
//! These can change afterwards. What an attach was granted to is kept with the window
//! ([`Identity`]); a receiver that is somebody else by now lends its context to nobody, and a
//! caller that is loses its window at the next look.

use crate::service::Service;
use kernel::{
    bindings,
    prelude::*,
    sync::Arc,
    task::Task, //
};

/// A reference to a task's credentials.
struct Cred(*const bindings::cred);

// SAFETY: credentials belong to no thread; their count is atomic.
unsafe impl Send for Cred {}
// SAFETY: as above, and they do not change.
unsafe impl Sync for Cred {}

impl Cred {
    fn of(task: &Task) -> Self {
        // SAFETY: `task` is valid; the reference that this takes is put by `drop`.
        Self(unsafe { bindings::get_task_cred(task.as_ptr()) })
    }

    fn same(&self, other: &Self) -> bool {
        if core::ptr::eq(self.0, other.0) {
            return true;
        }
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
            && a.securebits == b.securebits
            && a.cap_inheritable.val == b.cap_inheritable.val
            && a.cap_permitted.val == b.cap_permitted.val
            && a.cap_effective.val == b.cap_effective.val
            && a.cap_bset.val == b.cap_bset.val
            && a.cap_ambient.val == b.cap_ambient.val
            // SAFETY: as above.
            && unsafe { bindings::rpal_cred_same_more(self.0, other.0) }
    }
}

impl Drop for Cred {
    fn drop(&mut self) {
        // SAFETY: taken by `of`.
        unsafe { bindings::put_cred(self.0) }
    }
}

/// Who a task is, and under which restrictions it runs.
pub(crate) struct Identity {
    cred: Cred,
    no_new_privs: bool,
    /// The newest seccomp filter. An address, to be compared: filters stay as long as the task
    /// that has them, and are only added.
    filter: usize,
    /// What core scheduling keeps apart.
    cookie: usize,
}

impl Identity {
    fn of(task: &Task) -> Self {
        // SAFETY: `task` is valid; pointers are compared and not followed.
        let (no_new_privs, filter, cookie) = unsafe {
            (
                bindings::task_no_new_privs(task.as_ptr()),
                bindings::rpal_seccomp_filter(task.as_ptr()),
                bindings::rpal_core_cookie(task.as_ptr()),
            )
        };
        Self {
            cred: Cred::of(task),
            no_new_privs,
            filter: filter as usize,
            cookie,
        }
    }

    fn same(&self, other: &Self) -> bool {
        self.no_new_privs == other.no_new_privs
            && self.filter == other.filter
            && self.cookie == other.cookie
            && self.cred.same(&other.cred)
    }

    /// Is the current task still the one that this was, and may it be debugged? Does not sleep.
    pub(crate) fn is_current(&self) -> bool {
        let me = kernel::current!();
        is_dumpable(me) && self.same(&Self::of(me))
    }
}

/// May an ordinary debugger look at it?
fn is_dumpable(task: &Task) -> bool {
    // SAFETY: `task` is valid.
    unsafe { bindings::rpal_task_is_dumpable(task.as_ptr()) }
}

/// May the current task of `own` open a window onto `peer`?
///
/// `EPERM`: credentials (ids, groups, securebits, all capability sets, user namespace, labels),
/// no_new_privs, seccomp filters or core-scheduling cookies differ, or one of the two is not
/// dumpable;
/// `EKEYREJECTED`: both have the same protection key, and not both asked for unprotected mode.
pub(crate) fn check(own: &Arc<Service>, peer: &Arc<Service>) -> Result<Identity> {
    let identity = Identity::of(&peer.task);
    if !identity.is_current() || !is_dumpable(&peer.task) {
        return Err(EPERM);
    }
    if own.key == peer.key && !(own.unprotected && peer.unprotected) {
        return Err(EKEYREJECTED);
    }
    Ok(identity)
}

/// Are all registered threads of `peer` who `identity` says? Called when the new window can be
/// seen by those that park from now on: they look themselves.
///
/// `EPERM`: one is somebody else.
pub(crate) fn check_threads(identity: &Identity, peer: &Service) -> Result {
    let same = core::cell::Cell::new(true);
    peer.for_each_thread(|t| same.set(same.get() && identity.same(&Identity::of(&t.task))));
    if same.get() {
        Ok(())
    } else {
        Err(EPERM)
    }
}
