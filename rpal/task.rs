// SPDX-License-Identifier: GPL-2.0

//! Sleeping, waking and interrupting tasks.
//!
//! A task that waits sets its state under the lock that guards what it waits for, drops the lock
//! and calls [`schedule`]; who changes that does so under the lock, and wakes it afterwards. So
//! no wake-up is lost, and there is no wait queue to be kept.

use kernel::{
    bindings,
    mm::Mm,
    sync::barrier,
    task::Task,
    time::msecs_to_jiffies, //
};

/// How to sleep.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// Any signal ends it. Not freezable: a frozen receiver could still be borrowed.
    Interruptible,
    /// A fatal signal ends it. Not freezable either.
    Killable,
}

/// Announces the sleep; the task keeps running until it calls [`schedule`].
pub(crate) fn prepare(sleep: Sleep) {
    let state = match sleep {
        Sleep::Interruptible => bindings::TASK_INTERRUPTIBLE,
        Sleep::Killable => bindings::TASK_WAKEKILL | bindings::TASK_UNINTERRUPTIBLE,
    };
    // SAFETY: the state is the current task's own.
    unsafe { bindings::rpal_set_current_state(state) }
}

/// Takes the announcement back.
pub(crate) fn stay_awake() {
    // SAFETY: the state is the current task's own.
    unsafe { bindings::rpal_set_current_state(bindings::TASK_RUNNING) }
}

/// Sleeps as announced, at most `jiffies` if given. Returns what is left of them.
pub(crate) fn schedule(jiffies: Option<usize>) -> Option<usize> {
    // SAFETY: called from process context without a lock held.
    unsafe {
        match jiffies {
            None => {
                bindings::schedule();
                None
            }
            // CAST: limited to what a signed long holds.
            Some(j) => Some(
                bindings::schedule_timeout(j.min(isize::MAX as usize - 1) as isize).max(0) as usize,
            ),
        }
    }
}

/// Does what no freezer need wait for: the current task is frozen before it, if it is to be, and
/// counts as frozen meanwhile where groups of tasks count them. May sleep.
pub(crate) fn as_frozen(work: impl FnOnce()) {
    // SAFETY: called from process context without a lock held.
    unsafe { bindings::rpal_enter_frozen() };
    work();
    // SAFETY: as above, and the task has entered.
    unsafe { bindings::rpal_leave_frozen() };
}

/// A point in time, in jiffies. A task that is woken for other reasons, however often, gets there
/// all the same, which the rests of its sleeps would not tell.
#[derive(Clone, Copy)]
pub(crate) struct Alarm(Option<usize>);

impl Alarm {
    /// It never comes.
    pub(crate) const NEVER: Self = Self(None);

    /// In `ms` milliseconds, and not before the next tick.
    pub(crate) fn after(ms: u32) -> Self {
        Self(Some(jiffies().wrapping_add(msecs_to_jiffies(ms).max(1))))
    }

    /// The one that comes first.
    pub(crate) fn earlier(self, other: Self) -> Self {
        match (self.left(), other.left()) {
            (Some(one), Some(two)) if one <= two => self,
            (_, Some(_)) => other,
            (_, None) => self,
        }
    }

    /// Has somebody set it?
    pub(crate) fn is_set(self) -> bool {
        self.0.is_some()
    }

    /// How long it is until then, for [`schedule`]; none if it never comes.
    pub(crate) fn left(self) -> Option<usize> {
        // CAST: the difference modulo 2^64, read as a signed number, as `time_after()` does.
        self.0
            .map(|end| (end.wrapping_sub(jiffies()) as isize).max(0) as usize)
    }

    /// Is it over?
    pub(crate) fn is_over(self) -> bool {
        self.left() == Some(0)
    }
}

/// Ticks since boot, or thereabouts.
fn jiffies() -> usize {
    // SAFETY: an integer that is written as a whole.
    unsafe { core::ptr::addr_of!(bindings::jiffies).read_volatile() }
}

/// Is a signal pending that the task will not survive?
pub(crate) fn fatal_signal_pending(task: &Task) -> bool {
    // SAFETY: always safe to call on a valid task.
    unsafe { bindings::fatal_signal_pending(task.as_ptr()) != 0 }
}

/// Is the current task of a class that must not run what others wait for, or none else's work?
pub(crate) fn is_unfit_class() -> bool {
    // SAFETY: always safe to call.
    unsafe { bindings::rpal_is_unfit_class() }
}

/// May the current task have more than its share? Noted by the kernel as a privilege used.
pub(crate) fn may_exceed_limits() -> bool {
    // SAFETY: always safe to call in process context.
    unsafe { bindings::capable(bindings::CAP_SYS_RESOURCE as i32) }
}

/// Makes `task` pass through the exit loop, as soon as possible, without a signal.
pub(crate) fn kick(task: &Task) {
    // SAFETY: `task` is valid, and not a kernel thread.
    unsafe { bindings::set_notify_resume(task.as_ptr()) }
}

/// Ends an interruptible sleep of `task`, and no other. May be called in any context.
pub(crate) fn interrupt_sleep(task: &Task) {
    // SAFETY: `task` is valid.
    unsafe { bindings::wake_up_state(task.as_ptr(), bindings::TASK_INTERRUPTIBLE) };
}

/// Waits until every CPU that may run user code of `mm` has been in the kernel.
///
/// With the kicks that come first, no such CPU executes another user instruction without going
/// through the exit loop. Must be called with interrupts on. The barrier that orders the kicks
/// before the mask is read pairs with the one in `switch_mm()`, between the mask and CR3.
pub(crate) fn sync_cpus(mm: &Mm) {
    extern "C" fn nop(_: *mut kernel::ffi::c_void) {}
    barrier::smp_mb(barrier::Full);
    // SAFETY: the mask lives as long as `mm`; the callback touches nothing.
    unsafe {
        bindings::on_each_cpu_cond_mask(
            None,
            Some(nop),
            core::ptr::null_mut(),
            true,
            bindings::mm_cpumask(mm.as_raw()),
        )
    }
}

/// Sets or clears the bit that brings all system calls of the current task to our hook. Tasks that
/// it makes have it as well.
pub(crate) fn hook_syscalls(on: bool) {
    // SAFETY: the bit is the current task's own.
    unsafe {
        if on {
            bindings::rpal_set_syscall_work()
        } else {
            bindings::rpal_clear_syscall_work()
        }
    }
}

/// Has the exit of the current system call skipped, too, by tracers and audit, or not.
pub(crate) fn skip_syscall_exit(skip: bool) {
    // SAFETY: the field is the current task's own. User dispatch, whose it is otherwise, comes
    // after the hook that calls this, and sets it anew.
    unsafe { bindings::rpal_skip_syscall_exit(skip) }
}

/// Takes a uprobe's work back: the task that meets the probe will raise it again.
pub(crate) fn clear_uprobe() {
    // SAFETY: the flag is the current task's own.
    unsafe { bindings::rpal_clear_uprobe() }
}

/// The byte at a user address of the current address space. May sleep.
pub(crate) fn user_byte(addr: u64) -> Option<u8> {
    let mut byte = 0_u8;
    kernel::uaccess::UserSlice::new(kernel::uaccess::UserPtr::from_addr(addr as usize), 1)
        .reader()
        .read_slice(core::slice::from_mut(&mut byte))
        .is_ok()
        .then_some(byte)
}

/// Ends an accident: the current task gets a SIGSEGV that it can't ignore.
pub(crate) fn force_segv() {
    // No exception number. It is called on the way out only, or while a system call is made, by
    // which `fault.rs` knows it from a fault.
    crate::arch::raise(
        bindings::SIGSEGV as i32,
        bindings::SI_KERNEL as i32,
        0,
        0,
        0,
    );
}
