// SPDX-License-Identifier: GPL-2.0

//! Parking: a receiver lends its user context to whoever calls.

use crate::{
    arch::{
        self,
        Context,
        Regs,
        CX,
        DI,
        DX,
        R8,
        SI, //
    },
    gate,
    lease::{
        GrantCall,
        Park as Parked, //
    },
    park::park_thread,
    stats,
    thread::{
        Inner,
        Park,
        Thread, //
    },
    ticket::{
        Offer,
        Ticket, //
    },
    window, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::Arc, //
};

/// `rpal_wait(2)`: parks the current thread, until descriptor `fd` is readable or in error, if it
/// is one. What it returns goes to whatever user context the task has then.
///
/// `ENXIO`: not registered; `EPERM`: not called by the gate, or `fd` can't be polled; `EINVAL`: the
/// FS base is not the one that was registered; `EBADF`: there is no `fd`; `ENOMEM`: no memory to
/// wait for it; `ETIMEDOUT`; a restart code if a signal came. Sleeps.
pub(crate) fn wait(entry: u64, cookie: u64, timeout: u64, fd: i32) -> Result<i64> {
    let thread = Thread::current()?;
    let regs = Regs::current();
    if !gate::page()?.is_wait(regs.ip()) {
        return Err(EPERM);
    }
    let park = Park {
        fsbase: arch::fsbase(),
        sp: regs.sp(),
        ip: entry,
        cookie,
        timeout,
        fd,
    };
    // A call that this task was running, and has jumped out of.
    let lost = thread.inner.lock().ticket.take();
    if let Some(ticket) = lost {
        ticket.complete(EPIPE.to_errno().into());
    }
    park_thread(&thread, regs, park, None)
}

/// `rpal_reply(2)`: answers the call that the thread's own task has run, and parks again, unless
/// the descriptor that it waits for is ready.
///
/// Errors as for [`wait`]; the answer is given all the same. Sleeps.
pub(crate) fn reply(result: i64) -> Result<i64> {
    let thread = Thread::current()?;
    let mut regs = Regs::current();
    if !gate::page()?.is_reply(regs.ip()) {
        return Err(EPERM);
    }
    let mut inner = thread.inner.lock();
    let mut park = inner.park;
    let ticket = inner.ticket.take();
    drop(inner);
    park.sp = regs.sp();
    // The context still allows the caller's memory.
    arch::set_pkru(thread.base_pkru);
    // If a signal comes, it is the waiting that starts again, and not the reply.
    regs.set_orig_ax(bindings::__NR_rpal_wait.into());
    regs.set_di(park.ip);
    regs.set_si(park.cookie);
    regs.set_dx(park.timeout);
    regs.set_r10(i64::from(park.fd) as u64);
    // Negative results are the kernel's, restart codes among them.
    let result = if result < 0 {
        i64::from(EPROTO.to_errno())
    } else {
        result
    };
    park_thread(&thread, regs, park, ticket.map(|t| (t, result)))
}

/// May callers run the context that the current task is about to offer? If not, they come to the
/// kernel, and the task runs each call itself.
fn may_lend(thread: &Thread) -> bool {
    if arch::is_confined() {
        return false;
    }
    let mut same = true;
    thread.service.for_each_holder(|w| same &= w.trusts_peer());
    same
}

/// The answer to a call that the thread's own task has run, if there is one.
pub(crate) type Answer = Option<(Arc<Ticket>, i64)>;

/// Gives the answer. Once.
pub(crate) fn give(answer: &mut Answer) {
    if let Some((ticket, result)) = answer.take() {
        stats::REPLY.inc();
        ticket.complete(result);
    }
}

/// Publishes the context. Calls that wait for it come first. The answer to the last call is given
/// only now: its caller's next claim has to find the receiver ready.
pub(crate) fn publish(thread: &Thread, park: &Park, answer: &mut Answer) {
    let mut inner = thread.inner.lock();
    // Under the lock: who changes what is looked at withholds all receivers afterwards.
    let lend = may_lend(thread);
    inner.park = *park;
    // Before anybody can have the context: who has it went in through a window that was closed
    // later, or is open. Withheld, nobody can have it.
    inner.parked = if lend { window::closings() } else { u64::MAX };
    thread
        .ctl()
        .publish(park.fsbase, park.sp, park.ip, park.cookie);
    let parked = if lend {
        inner.lease.park(thread.ctl())
    } else {
        stats::WITHHELD.inc();
        inner.lease.park_withheld(thread.ctl())
    };
    if parked == Parked::Parked {
        stats::PARK.inc();
        serve_queue(thread, &mut inner);
    }
    drop(inner);
    give(answer);
}

/// Starts the call that has waited longest, if there is one and nobody was faster in user mode;
/// in that case the release comes back here.
fn serve_queue(thread: &Thread, inner: &mut Inner) {
    while let Some(first) = inner.queue.first().cloned() {
        let lease = &mut inner.lease;
        let outcome = first.grant_if(|| lease.grant_call(thread.ctl()) == GrantCall::Granted);
        if outcome == Offer::Busy {
            return;
        }
        let _first = inner.queue.remove(0);
        if outcome == Offer::Granted {
            stats::GRANT_QUEUED.inc();
            start(inner, first);
            return;
        }
    }
}

/// The context with which a call begins that was not begun in user mode. The lease is granted.
pub(crate) fn start(inner: &mut Inner, ticket: Arc<Ticket>) {
    let park = inner.park;
    let mut c = Context {
        ip: park.ip,
        sp: park.sp,
        flags: 0x202,
        pkru: ticket.pkru,
        ..Context::default()
    };
    let [a0, a1, a2, a3] = ticket.args;
    c.r[DI] = park.cookie;
    c.r[SI] = a0;
    c.r[DX] = a1;
    c.r[CX] = a2;
    c.r[R8] = a3;
    inner.context = c;
    inner.ticket = Some(ticket);
}
