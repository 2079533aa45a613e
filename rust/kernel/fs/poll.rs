// SPDX-License-Identifier: GPL-2.0

//! Waiting for a file in a sleep of one's own.
//!
//! This is the wait of `poll(2)` for one file, made of the same parts (`fs/select.c`), so that the
//! file may have any number of queues, and an epoll descriptor is one like any other. Its loop is
//! `poll_schedule_timeout()`'s, taken apart: for tasks that sleep for other reasons as well.
//!
//! ```text
//! loop {
//!     if poll.is_ready()? { .. }          // may sleep
//!     set_current_state(..);
//!     if poll.has_changed() { __set_current_state(TASK_RUNNING) } else { schedule() }
//! }
//! ```
//!
//! The file's wake functions run in any context, under the lock of the file's queue, and wake the
//! task. They do so until the [`FilePoll`] is dropped, however the task sleeps meanwhile, so that
//! its sleeps must bear being woken for nothing.
//!
//! No wake-up is lost:
//!
//! - between the look at the file and the sleep: the wake function sets `triggered` and then wakes
//!   the task, with a full barrier in between (that of `try_to_wake_up()`, before it reads the
//!   task's state); the task sets its state (`set_current_state()`, a full barrier) and then reads
//!   `triggered`. One of the two sees the other;
//! - between two looks: `triggered` is cleared by an exchange, which is fully ordered, before the
//!   file is looked at. It pairs with `smp_wmb()` in `__pollwake()`: what comes later sets it
//!   again, and what came earlier is seen by the look.
//!
//! C header: [`include/linux/poll.h`](srctree/include/linux/poll.h)

use crate::{
    bindings,
    fs::LocalFile,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            ordering::{
                Full,
                Relaxed, //
            },
            Atomic, //
        }, //
    },
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};
use core::ptr::addr_of_mut;

/// "In error", which `poll(2)` reports without being asked.
const ERRORS: u32 = bindings::POLLERR | bindings::POLLHUP;

/// The wait of the current task for a file. The reference to the file is held as long, as by
/// `poll(2)`: closing the descriptor does not end it.
///
/// # Invariants
///
/// `wqueues` was set up by `poll_initwait()` for the task that uses this value.
#[pin_data(PinnedDrop)]
pub struct FilePoll {
    #[pin]
    wqueues: Opaque<bindings::poll_wqueues>,
    file: ARef<LocalFile>,
    events: u32,
    // It is the task that made it that is woken.
    _nts: NotThreadSafe,
}

impl FilePoll {
    /// Runs `f` with the wait until `file` has one of `events`, or is in error.
    ///
    /// `events` are those of `EPOLLIN` and so on, as files report them. `EPERM`: the file can't be
    /// polled, and is always ready, as `epoll_ctl(2)` has it. The wait takes several hundred bytes
    /// of the stack, as that of `poll(2)` does, needs no memory, and is over when `f` returns.
    pub fn with<R>(
        file: ARef<LocalFile>,
        events: u32,
        f: impl FnOnce(Pin<&mut Self>) -> R,
    ) -> Result<R> {
        // SAFETY: the file is referenced.
        if !unsafe { bindings::file_can_poll(file.as_ptr()) } {
            return Err(EPERM);
        }
        // On the stack of the task that is woken, so that it ends before the task does.
        pin_init::stack_pin_init!(let poll = pin_init!(Self {
            // INVARIANT: that is done here.
            wqueues <- Opaque::ffi_init(|w| {
                // SAFETY: `w` is memory for the structure that will not move; what is not written
                // is not read before it is.
                unsafe { bindings::poll_initwait(w) }
            }),
            file,
            events: events | ERRORS,
            _nts: NotThreadSafe,
        }));
        Ok(f(poll))
    }

    /// Looks whether the file has one of the events. From the first look on, its changes wake
    /// the task.
    ///
    /// `ENOMEM`: no memory for the wait, if the file has very many queues; it stays so. May sleep,
    /// so that it is called before a sleep is announced.
    pub fn is_ready(self: Pin<&mut Self>) -> Result<bool> {
        let wqueues = self.wqueues.get();
        // SAFETY: by the type invariant. The field is a 32-bit integer, which everybody accesses
        // atomically.
        unsafe { Atomic::from_ptr(addr_of_mut!((*wqueues).triggered)) }.xchg(0, Full);
        // SAFETY: by the type invariant, and as the structure is pinned and stays until `drop`,
        // which takes it off all queues; only the current task uses `pt` and `error`.
        unsafe {
            let table = addr_of_mut!((*wqueues).pt);
            // Other changes need not wake anybody.
            (*table)._key = self.events;
            let found = bindings::vfs_poll(self.file.as_ptr(), table);
            // Once on a queue is enough.
            (*table)._qproc = None;
            match (*wqueues).error {
                0 => Ok(found & self.events != 0),
                e => Err(Error::from_errno(e)),
            }
        }
    }

    /// Has the file changed since the last look, of which there has been one? To be asked once the
    /// sleep is announced.
    pub fn has_changed(&self) -> bool {
        // SAFETY: as in `is_ready`.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.wqueues.get()).triggered)) }.load(Relaxed)
            != 0
    }
}

#[pinned_drop]
impl PinnedDrop for FilePoll {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: by the type invariant. It is off all queues after this, and their locks say that
        // no wake function runs on it. The file, whose queues they may be, is dropped after it.
        unsafe { bindings::poll_freewait(self.wqueues.get()) }
    }
}
