// SPDX-License-Identifier: GPL-2.0

//! A ticket: a caller's claim to the answer of one call that its own task does not run.

use crate::task;
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        SpinLock, //
    },
    task::Task, //
};

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Not begun: the receiver is busy.
    Queued,
    /// The receiver has it.
    Granted,
    /// The answer, or a negative errno.
    Done(i64),
    /// The caller does not want it any more.
    Cancelled,
}

/// What became of an attempt to grant a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Offer {
    /// The receiver runs the call.
    Granted,
    /// Not now.
    Busy,
    /// The caller does not want it any more.
    Cancelled,
}

/// One call.
#[pin_data]
pub(crate) struct Ticket {
    /// Names it among the tickets of its caller.
    pub(crate) id: u64,
    /// Arguments for the receiver's function, and the PKRU that the caller allows; only used if
    /// the call was not begun in user mode.
    pub(crate) args: [u64; 4],
    pub(crate) pkru: u32,
    caller: ARef<Task>,
    #[pin]
    inner: SpinLock<Inner>,
}

struct Inner {
    state: State,
    /// The caller sleeps for this ticket, or is about to. It may also be on its way to a signal
    /// handler, and sleep there for something else.
    sleeps: bool,
}

impl Ticket {
    /// A ticket of the current task. May sleep.
    pub(crate) fn new(id: u64, args: [u64; 4], pkru: u32, state: State) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                id,
                args,
                pkru,
                caller: ARef::from(&**kernel::current!()),
                inner <- new_spinlock!(Inner { state, sleeps: false }, "rpal_ticket"),
            }),
            kernel::alloc::flags::GFP_KERNEL_ACCOUNT,
        )
    }

    /// The receiver takes it, if the caller has not cancelled it and `f` says so. Decided under
    /// one lock: a caller that was told that nothing has happened makes the call again.
    pub(crate) fn grant_if(&self, f: impl FnOnce() -> bool) -> Offer {
        let mut inner = self.inner.lock();
        if inner.state != State::Queued {
            return Offer::Cancelled;
        }
        if !f() {
            return Offer::Busy;
        }
        inner.state = State::Granted;
        Offer::Granted
    }

    /// Has the caller given it up?
    pub(crate) fn is_cancelled(&self) -> bool {
        self.inner.lock().state == State::Cancelled
    }

    /// Ends it and wakes the caller.
    pub(crate) fn complete(&self, result: i64) {
        let mut inner = self.inner.lock();
        if matches!(inner.state, State::Queued | State::Granted) {
            inner.state = State::Done(result);
            // Under the lock, without which the caller does not leave its sleep: a wake-up that
            // came later would end another one, and not all of those are ready for it.
            if inner.sleeps {
                self.caller.wake_up();
            }
        }
    }

    /// The caller goes.
    pub(crate) fn cancel(&self) {
        self.inner.lock().state = State::Cancelled;
    }

    /// Waits for the end. Only the caller does. Sleeps.
    ///
    /// `EAGAIN`: a signal came before the call was begun, and the ticket is cancelled;
    /// `EINTR`: one came later, and the ticket stays; `ETIMEDOUT`: it is `late`, of which the
    /// caller is told by a wake-up, and the ticket is cancelled.
    pub(crate) fn wait(&self, late: impl Fn() -> bool) -> Result<i64> {
        loop {
            let mut inner = self.inner.lock();
            inner.sleeps = false;
            match inner.state {
                State::Done(result) => return Ok(result),
                State::Cancelled => return Err(EAGAIN),
                State::Queued | State::Granted => {}
            }
            if late() {
                inner.state = State::Cancelled;
                return Err(ETIMEDOUT);
            }
            if kernel::current!().signal_pending() {
                if inner.state == State::Queued {
                    inner.state = State::Cancelled;
                    return Err(EAGAIN);
                }
                return Err(EINTR);
            }
            inner.sleeps = true;
            task::prepare(task::Sleep::Interruptible);
            // A deadline that passes from here on wakes the task.
            if late() {
                task::stay_awake();
                continue;
            }
            drop(inner);
            task::schedule(None);
        }
    }
}
