// SPDX-License-Identifier: GPL-2.0

//! The slow path: a call, and the wait for its answer, as system calls.
//!
//! The gate comes here when the receiver is not ready, when its attempt was disturbed, and with
//! whatever else it can't do in user mode. What a call does is the same on both ways.

use crate::{
    arch::Regs,
    deadline,
    gate,
    lease::GrantCall,
    stats,
    thread::Thread,
    ticket::Ticket,
    wait, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::ordering::Relaxed,
        Arc, //
    }, //
};

/// `rpal_call(2)`: runs the receiver's function in the receiver's own task.
///
/// Waits until the receiver parks. `ENXIO`: not registered; `EPERM`: not called by the gate;
/// `EKEYREVOKED`: not who it was when it attached; `ENOTCONN`: no window shows `peer`; `ESRCH`: no
/// thread has ever registered there; `EPIPE`: the receiver is dead; `ENOBUFS`: no memory, and the
/// call was not made (`ENOMEM` is a call's that was); `ETIMEDOUT`; restart codes if a signal comes.
/// Sleeps.
pub(crate) fn call(peer: usize, args: [u64; 4]) -> Result<i64> {
    let caller = Thread::current()?;
    if !gate::page()?.is_call(Regs::current().ip()) {
        return Err(EPERM);
    }
    let (window, receiver) = caller.service.peer_thread(peer)?;
    if !window.trusts_holder() {
        // Not EPERM: that is what system call filters answer, also where the call is under way.
        return Err(EKEYREVOKED);
    }
    stats::CALL_SLOW.inc();
    let ticket = caller
        .new_ticket(args, receiver.base_pkru & caller.pkru())
        .map_err(|_| ENOBUFS)?;
    let mut inner = receiver.inner.lock();
    let granted = inner.lease.grant_call(receiver.ctl());
    let mut queued = Ok(());
    match granted {
        GrantCall::Granted => {
            // Nobody else knows the ticket yet.
            let _granted = ticket.grant_if(|| true);
            wait::start(&mut inner, ticket.clone());
            // Under the lock, without which the receiver does not leave its sleep.
            receiver.task.wake_up();
        }
        GrantCall::Busy => queued = inner.queue.push(ticket.clone(), GFP_ATOMIC),
        GrantCall::Dead => {}
    }
    drop(inner);
    match granted {
        GrantCall::Granted => stats::GRANT_CALL.inc(),
        GrantCall::Busy => stats::CALL_QUEUED.inc(),
        GrantCall::Dead => {
            caller.drop_ticket(ticket.id);
            return Err(EPIPE);
        }
    }
    if queued.is_err() {
        caller.drop_ticket(ticket.id);
        return Err(ENOBUFS);
    }
    let result = finish(&caller, &ticket);
    if result.is_err() && ticket.is_cancelled() {
        // Not left for the receiver to find: it may be busy for long, and the call comes back.
        let mut found = None;
        let mut inner = receiver.inner.lock();
        if let Some(i) = inner.queue.iter().position(|t| Arc::ptr_eq(t, &ticket)) {
            found = inner.queue.remove(i).ok();
        }
        drop(inner);
        drop(found);
    }
    result
}

/// `rpal_await(2)`: waits for the answer to a call that was handed over or interrupted.
///
/// `ENXIO`: not registered; `EINVAL`: no such ticket; a restart code if a signal comes. Sleeps.
pub(crate) fn await_reply(id: u64) -> Result<i64> {
    let caller = Thread::current()?;
    let ticket = caller.ticket(id).ok_or(EINVAL)?;
    finish(&caller, &ticket)
}

fn finish(caller: &Arc<Thread>, ticket: &Ticket) -> Result<i64> {
    deadline::watch_call(caller);
    // Before the first look at the deadline; the barrier between the two is that of the state in
    // which the task sleeps.
    caller.waits.store(1, Relaxed);
    let done = ticket.wait(|| deadline::is_late(caller));
    caller.waits.store(0, Relaxed);
    match done {
        Ok(result) => {
            caller.drop_ticket(ticket.id);
            Ok(result)
        }
        Err(e) if e == ETIMEDOUT => {
            stats::TIMEOUT.inc();
            caller.drop_ticket(ticket.id);
            Err(e)
        }
        Err(e) if e == EAGAIN => {
            // Nothing has happened: the call may be made again as it was.
            caller.drop_ticket(ticket.id);
            Err(ERESTARTNOINTR)
        }
        Err(_) => {
            // The call is under way. After the handler, it is the waiting that goes on.
            let mut regs = Regs::current();
            regs.set_orig_ax(bindings::__NR_rpal_await.into());
            regs.set_di(ticket.id);
            Err(ERESTARTNOINTR)
        }
    }
}
