// SPDX-License-Identifier: GPL-2.0

//! Who may attach to whom.
//!
//! A peer can write to the other's memory and stack whenever it wants, since WRPKRU is not
//! privileged. So attaching means what ptrace in both directions means, and takes two services
//! that could each debug the other: the same credentials and the same restrictions.
//!
//! These can change afterwards. What an attach was granted to is kept with the window
//! ([`Trust`]); a receiver that is somebody else by now lends its context to nobody, and a
//! caller that is loses its window at the next look.
//!
//! Security modules are asked twice. Labels are compared as the rest is. But not every module has
//! labels: that a thread is in a domain of Landlock's shows only in who may debug it. So that is
//! asked as well, in both directions, at the attach and whenever a task comes with credentials
//! that were not there then; a domain can't be entered without new ones.

use crate::{
    label::Label,
    service::Service, //
};
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

    /// Is it the very same?
    fn is(&self, other: &Self) -> bool {
        core::ptr::eq(self.0, other.0)
    }

    fn same(&self, other: &Self) -> bool {
        if self.is(other) {
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
            && unsafe { bindings::rpal_same_groups(self.0, other.0) }
    }
}

impl Drop for Cred {
    fn drop(&mut self) {
        // SAFETY: taken by `of`.
        unsafe { bindings::put_cred(self.0) }
    }
}

/// Who a task is, and under which restrictions it runs, as far as that can be compared.
struct Identity {
    cred: Cred,
    label: Label,
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
            label: Label::of(task),
            no_new_privs,
            filter: filter as usize,
            cookie,
        }
    }

    fn same(&self, other: &Self) -> bool {
        self.no_new_privs == other.no_new_privs
            && self.filter == other.filter
            && self.cookie == other.cookie
            && self.label == other.label
            && self.cred.same(&other.cred)
    }
}

/// What an attach was granted to.
pub(crate) struct Trust {
    /// Who both sides were.
    identity: Identity,
    /// The credentials of the attaching task; `identity` has the peer's.
    own: Cred,
}

impl Trust {
    /// Is the current task, of either side, still who both were, and may it be debugged? `other` is
    /// a task of the other side. Does not sleep.
    pub(crate) fn holds(&self, other: &Task) -> bool {
        let me = kernel::current!();
        let now = Identity::of(me);
        is_dumpable(me)
            && self.identity.same(&now)
            && (now.cred.is(&self.identity.cred)
                || now.cred.is(&self.own)
                || modules_agree(other, true))
    }
}

/// Do the security modules let the current task and `task` debug each other? If not, they say so
/// where they always do, unless it is to be `quiet`. Does not sleep.
fn modules_agree(task: &Task, quiet: bool) -> bool {
    // SAFETY: `task` is valid.
    unsafe { bindings::rpal_modules_agree(task.as_ptr(), quiet) }
}

/// May an ordinary debugger look at it?
fn is_dumpable(task: &Task) -> bool {
    // SAFETY: `task` is valid.
    unsafe { bindings::rpal_task_is_dumpable(task.as_ptr()) }
}

/// May the current task of `own` open a window onto `peer`?
///
/// `EPERM`: credentials (ids, groups, securebits, all capability sets, user namespace, labels),
/// no_new_privs, seccomp filters or core-scheduling cookies differ, one of the two is not dumpable,
/// or a security module would not let them debug each other;
/// `EKEYREJECTED`: both have the same protection key, and not both asked for unprotected mode.
pub(crate) fn check(own: &Arc<Service>, peer: &Arc<Service>) -> Result<Trust> {
    let me = kernel::current!();
    let identity = Identity::of(&peer.task);
    if !identity.same(&Identity::of(me))
        || !is_dumpable(me)
        || !is_dumpable(&peer.task)
        || !modules_agree(&peer.task, false)
    {
        return Err(EPERM);
    }
    if own.key == peer.key && !(own.unprotected && peer.unprotected) {
        return Err(EKEYREJECTED);
    }
    Ok(Trust {
        identity,
        own: Cred::of(me),
    })
}

/// Are all registered threads of `peer` who `trust` says? Called when the new window can be
/// seen by those that park from now on: they look themselves.
///
/// `EPERM`: one is somebody else.
pub(crate) fn check_threads(trust: &Trust, peer: &Service) -> Result {
    let same = core::cell::Cell::new(true);
    peer.for_each_thread(|t| {
        let it = Identity::of(&t.task);
        let known = it.cred.is(&trust.identity.cred);
        if !trust.identity.same(&it) || !(known || modules_agree(&t.task, false)) {
            same.set(false);
        }
    });
    if same.get() {
        Ok(())
    } else {
        Err(EPERM)
    }
}
