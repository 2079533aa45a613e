// SPDX-License-Identifier: GPL-2.0

//! A caller: what the gate does in user mode, and the hooks instead.

use crate::{
    arch::{Context, SI},
    bindings,
    call,
    lease::{Grant, Release},
    lease_word::{claim, release_fast},
    prelude::*,
    setup::Body,
    stats,
    thread::Thread,
    world::World, //
};

impl World {
    pub(crate) fn call(&self, i: usize, id: u64, body: Body) {
        let answered = if body == Body::Slow {
            self.call_slow(i, id)
        } else {
            self.call_gate(i, id, body)
        };
        self.watch.returned(id, answered);
    }

    /// Was it answered?
    fn call_gate(&self, i: usize, id: u64, body: Body) -> bool {
        let (caller, receiver) = (&*self.callers[i], &*self.receiver);
        if claim(receiver.ctl(), caller.owner).is_err() {
            return self.call_slow(i, id);
        }
        self.watch.claimed(i);
        // G0 and G1.
        let begins = || {
            self.watch.borrows();
            self.watch.begins(id);
        };
        if caller.task.take_kick(begins) {
            self.release(i);
            return self.call_slow(i, id);
        }
        self.watch.stop_if_failed();
        if body == Body::Starving {
            caller.task.starve();
        }
        if body != Body::Quick || caller.task.take_kick(|| self.watch.borrows()) {
            return self.hand_over(i, id);
        }
        self.watch.ends(id);
        // G3.
        if caller.task.take_kick(|| ()) {
            self.release(i);
        } else if release_fast(receiver.ctl(), caller.owner).is_ok() {
            self.watch.gives_back(i);
            stats::FAST.inc();
        } else {
            self.release(i);
        }
        true
    }

    /// As `drop_claim()`.
    fn release(&self, i: usize) {
        let receiver = &*self.receiver;
        let mut inner = receiver.inner.lock();
        self.watch.gives_back(i);
        let released = inner.lease.release(receiver.ctl(), self.callers[i].owner);
        drop(inner);
        if released == Release::Native {
            stats::RELEASE_NATIVE.inc();
            receiver.task.wake_up();
        }
    }

    /// As `hand_over()`, and the wait at the gate's `rpal_await`.
    fn hand_over(&self, i: usize, id: u64) -> bool {
        let receiver = &*self.receiver;
        let ticket = self.callers[i].granted_ticket();
        let mut inner = receiver.inner.lock();
        self.watch.gives_back(i);
        let granted = inner.lease.grant(receiver.ctl());
        if granted == Grant::Granted {
            inner.context = Context::default();
            inner.context.r[SI] = id;
            inner.ticket = Some(ticket.clone());
        }
        drop(inner);
        match granted {
            Grant::Granted => {
                stats::GRANT.inc();
                receiver.task.wake_up();
                self.await_reply(i, ticket.id)
            }
            Grant::Stale => {
                self.watch.fail("a borrower's context was stale");
                false
            }
            Grant::Dead => {
                stats::BROKEN_PIPE.inc();
                false
            }
        }
    }

    fn call_slow(&self, i: usize, id: u64) -> bool {
        loop {
            self.watch.stop_if_failed();
            let caller: &Thread = &self.callers[i];
            caller.frame.lock().unwrap().again = None;
            match call::call(0, [id, 0, 0, 0]) {
                Ok(result) => return self.answered(result),
                Err(ERESTARTNOINTR) => {
                    caller.task.take_signal();
                    let again = caller.frame.lock().unwrap().again;
                    if let Some((nr, id)) = again {
                        assert_eq!(nr, u64::from(bindings::__NR_rpal_await));
                        stats::AWAIT_AGAIN.inc();
                        return self.await_reply(i, id);
                    }
                    stats::CALL_AGAIN.inc();
                }
                Err(EPIPE) => return self.answered(EPIPE.to_errno().into()),
                Err(_) => {
                    self.watch.fail("a call has failed without a reason");
                    return false;
                }
            }
        }
    }

    fn await_reply(&self, i: usize, id: u64) -> bool {
        loop {
            match call::await_reply(id) {
                Ok(result) => return self.answered(result),
                Err(ERESTARTNOINTR) => {
                    self.callers[i].task.take_signal();
                    stats::AWAIT_AGAIN.inc();
                }
                Err(_) => {
                    self.watch.fail("a wait has failed without a reason");
                    return false;
                }
            }
        }
    }

    fn answered(&self, result: i64) -> bool {
        if result == EPIPE.to_errno().into() {
            stats::BROKEN_PIPE.inc();
        }
        result == 0
    }
}
