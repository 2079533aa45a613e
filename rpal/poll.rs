// SPDX-License-Identifier: GPL-2.0

//! What a parked receiver waits for beside calls: a descriptor that can be polled.
//!
//! This is the wait of `poll(2)` for one descriptor and `POLLIN`, made of the same parts
//! (`fs/select.c`), so that a file may have any number of queues, and an epoll descriptor is one
//! like any other. Its loop is `poll_schedule_timeout()`'s, taken apart: the receiver sleeps for
//! other reasons as well.
//!
//! The file's wake functions run in any context, under the lock of the file's queue, and wake the
//! task; they take no lock of RPAL's. They do so until the [`Poll`] is dropped, however the task
//! sleeps meanwhile, so that its sleeps must bear being woken for nothing.
//!
//! No wake-up is lost:
//!
//! - between the look at the file and the sleep: the wake function sets `triggered` and then wakes
//!   the task, with a full barrier in between (that of `try_to_wake_up()`, before it reads the
//!   task's state); the task sets its state ([`crate::task::prepare`], a full barrier) and then
//!   reads `triggered`. One of the two sees the other;
//! - between two looks: `triggered` is cleared by an exchange, which is fully ordered, before the
//!   file is looked at. It pairs with `smp_wmb()` in `__pollwake()`: what comes later sets it
//!   again, and what came earlier is seen by the look.

use core::ptr::addr_of_mut;
use kernel::{
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
    types::Opaque, //
};

/// "Readable, or in error": what `poll(2)` reports if asked for `POLLIN`.
const EVENTS: u32 = bindings::POLLIN | bindings::POLLERR | bindings::POLLHUP;

/// The file to wait for that the current process's descriptor `fd` stands for; none if it is
/// [`bindings::RPAL_WAIT_NO_FD`].
///
/// `EBADF`: there is no such descriptor; `EPERM`: it can't be polled, and is always ready, as
/// `epoll_ctl(2)` has it.
pub(crate) fn file(fd: i32) -> Result<Option<ARef<LocalFile>>> {
    if fd == bindings::RPAL_WAIT_NO_FD {
        return Ok(None);
    }
    let file = LocalFile::fget(u32::try_from(fd).map_err(|_| EBADF)?)?;
    // SAFETY: the file is referenced.
    if !unsafe { bindings::file_can_poll(file.as_ptr()) } {
        return Err(EPERM);
    }
    Ok(Some(file))
}

/// The wait of the current task for a file. The reference to the file is held as long, as by
/// `poll(2)`: closing the descriptor does not end it.
///
/// # Invariants
///
/// `wqueues` was set up by `poll_initwait()` for the task that uses this value.
#[pin_data(PinnedDrop)]
pub(crate) struct Poll {
    #[pin]
    wqueues: Opaque<bindings::poll_wqueues>,
    file: ARef<LocalFile>,
}

impl Poll {
    /// Prepares to wait for `file`. The value stays with the current task: it is the one that is
    /// woken. It is too large for a heap that may be out of memory when a call is to be answered,
    /// and lies on the stack as that of `poll(2)` does.
    pub(crate) fn new(file: ARef<LocalFile>) -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: that is done here.
            wqueues <- Opaque::ffi_init(|w| {
                // SAFETY: `w` is memory for the structure that will not move; what is not written
                // is not read before it is.
                unsafe { bindings::poll_initwait(w) }
            }),
            file,
        })
    }

    /// Looks whether the file is readable or in error. From the first look on, its changes wake
    /// the task.
    ///
    /// `ENOMEM`: no memory for the wait, if the file has very many queues. May sleep, so that it is
    /// called before a sleep is announced.
    pub(crate) fn is_ready(self: Pin<&mut Self>) -> Result<bool> {
        let wqueues = self.wqueues.get();
        // SAFETY: by the type invariant. The field is a 32-bit integer, which everybody accesses
        // atomically.
        unsafe { Atomic::from_ptr(addr_of_mut!((*wqueues).triggered)) }.xchg(0, Full);
        // SAFETY: by the type invariant, and as the structure is pinned and stays until `drop`,
        // which takes it off all queues; only the current task uses `pt` and `error`.
        unsafe {
            let table = addr_of_mut!((*wqueues).pt);
            // Other changes need not wake anybody.
            (*table)._key = EVENTS;
            let found = bindings::vfs_poll(self.file.as_ptr(), table);
            // Once on a queue is enough.
            (*table)._qproc = None;
            match (*wqueues).error {
                0 => Ok(found & EVENTS != 0),
                e => Err(Error::from_errno(e)),
            }
        }
    }

    /// Has the file changed since the last look? To be asked once the sleep is announced.
    pub(crate) fn has_changed(&self) -> bool {
        // SAFETY: as in `is_ready`.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.wqueues.get()).triggered)) }.load(Relaxed)
            != 0
    }
}

#[pinned_drop]
impl PinnedDrop for Poll {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: by the type invariant. It is off all queues after this, and their locks say that
        // no wake function runs on it. The file, whose queues they may be, is dropped after it.
        unsafe { bindings::poll_freewait(self.wqueues.get()) }
    }
}
