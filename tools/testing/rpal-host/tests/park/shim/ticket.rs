// SPDX-License-Identifier: GPL-2.0

//! Tickets, as `rpal/ticket.rs` has them, which is written in macros that only the kernel has.

use crate::{
    prelude::*,
    sync::{Arc, SpinLock},
    task,
    thread::Thread,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Queued,
    Granted,
    Done(i64),
    Cancelled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Offer {
    Granted,
    Busy,
    Cancelled,
}

pub(crate) struct Ticket {
    pub(crate) id: u64,
    pub(crate) args: [u64; 4],
    pub(crate) pkru: u32,
    caller: Arc<Thread>,
    inner: SpinLock<Inner>,
}

struct Inner {
    state: State,
    sleeps: bool,
}

impl Ticket {
    pub(crate) fn new(caller: Arc<Thread>, id: u64, args: [u64; 4], state: State) -> Arc<Self> {
        Arc::new(Self {
            id,
            args,
            pkru: 0,
            caller,
            inner: SpinLock::new(Inner {
                state,
                sleeps: false,
            }),
        })
    }

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

    pub(crate) fn is_cancelled(&self) -> bool {
        self.inner.lock().state == State::Cancelled
    }

    pub(crate) fn complete(&self, result: i64) {
        let mut inner = self.inner.lock();
        if matches!(inner.state, State::Queued | State::Granted) {
            inner.state = State::Done(result);
            if inner.sleeps {
                self.caller.task.wake_up();
            }
        }
    }

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
            drop(inner);
            task::schedule(None);
        }
    }
}
