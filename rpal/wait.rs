// SPDX-License-Identifier: GPL-2.0

//! Parking: a receiver lends its user context to whoever calls.

use crate::{
    arch::{
        self,
        Context,
        Regs,
        AX,
        CX,
        DI,
        DX,
        R8,
        SI, //
    },
    fault::Trap,
    gate,
    lease::{
        GrantCall,
        Park as Parked,
        Resume,
        Want, //
    },
    stats,
    task::{
        self,
        Sleep, //
    },
    thread::{
        Inner,
        Park,
        Thread, //
    },
    ticket::{
        Offer,
        Ticket, //
    }, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::Arc,
    time::msecs_to_jiffies, //
};

/// How often a caller is kicked that does not give the context back: another user of
/// TIF_NOTIFY_RESUME may have consumed the first kick before the context was borrowed.
const REKICK_MS: u32 = 10;

/// `rpal_wait(2)`: parks the current thread. What it returns goes to whatever user context the
/// task has then.
///
/// `ENXIO`: not registered; `EPERM`: not called by the gate; `EINVAL`: the FS base is not the one
/// that was registered; `ETIMEDOUT`; a restart code if a signal came. Sleeps.
pub(crate) fn wait(entry: u64, cookie: u64, timeout: u64) -> Result<i64> {
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
    };
    // A call that this task was running, and has jumped out of.
    let lost = thread.inner.lock().ticket.take();
    if let Some(ticket) = lost {
        ticket.complete(EPIPE.to_errno().into());
    }
    park_thread(&thread, regs, park, None)
}

/// `rpal_reply(2)`: answers the call that the thread's own task has run, and parks again.
///
/// Errors as for [`wait`]. Sleeps.
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
    thread
        .service
        .for_each_holder(|w| same &= w.trust.is_current());
    same
}

/// Publishes the context. Calls that wait for it come first. The answer to the last call is given
/// only now: its caller's next claim has to find the receiver ready.
fn publish(thread: &Thread, park: &Park, answer: &mut Option<(Arc<Ticket>, i64)>) {
    thread.set_pkru(thread.base_pkru);
    let mut inner = thread.inner.lock();
    // Under the lock: who changes what is looked at withholds all receivers afterwards.
    let lend = may_lend(thread);
    inner.park = *park;
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
    if let Some((ticket, result)) = answer.take() {
        stats::REPLY.inc();
        ticket.complete(result);
    }
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

/// What a look at the lease says.
enum Look {
    Take(Context, Option<Trap>),
    Native,
    Lost,
    Dead,
    Sleep,
    Kick,
}

fn park_thread(
    thread: &Thread,
    mut regs: Regs,
    park: Park,
    mut answer: Option<(Arc<Ticket>, i64)>,
) -> Result<i64> {
    if park.fsbase != thread.fsbase {
        return Err(EINVAL);
    }
    // Whoever hands a context over writes this task's FPU state, so that it must not be in
    // registers, where it would be saved over the new one.
    arch::fpu_sync();
    let mut left = (park.timeout != u64::MAX)
        .then(|| kernel::time::Delta::from_nanos(park.timeout.min(i64::MAX as u64) as i64))
        .map(|d| msecs_to_jiffies(u32::try_from(d.as_millis()).unwrap_or(u32::MAX)).max(1));
    let mut timed_out = false;
    let mut wanted = false;
    publish(thread, &park, &mut answer);
    loop {
        let me = kernel::current!();
        if task::fatal_signal_pending(me) {
            thread.die();
            return Err(EINTR);
        }
        let leave = timed_out || me.signal_pending();
        match look(thread, leave, &mut wanted) {
            Look::Take(c, trap) => {
                regs.load(&c);
                arch::forget_pasid();
                arch::set_pkru(c.pkru);
                thread.set_pkru(c.pkru);
                if let Some(t) = trap {
                    arch::raise(t.signo, t.code, t.addr, t.nr, t.error);
                }
                return Ok(c.r[AX] as i64);
            }
            Look::Dead => return Err(EINTR),
            Look::Lost => {
                // Its frames are lost, with whatever they held: this is a crash.
                task::force_segv();
                return Err(EINTR);
            }
            Look::Native if leave => {
                return Err(if timed_out { ETIMEDOUT } else { ERESTARTSYS });
            }
            Look::Native => {
                wanted = false;
                publish(thread, &park, &mut answer);
            }
            Look::Kick => {
                kick_borrowers(thread);
                sleep_rekick(thread);
            }
            Look::Sleep => match left {
                None => {
                    task::schedule(None);
                }
                Some(jiffies) => {
                    let rest = task::schedule(Some(jiffies)).unwrap_or(0);
                    left = Some(rest);
                    timed_out = rest == 0;
                }
            },
        }
    }
}

/// Looks at the lease; in case of [`Look::Sleep`] the sleep is announced already.
fn look(thread: &Thread, leave: bool, wanted: &mut bool) -> Look {
    let mut inner = thread.inner.lock();
    match inner.lease.resume() {
        Resume::Take => {
            stats::RESUME.inc();
            return Look::Take(inner.context, inner.trap.take());
        }
        Resume::Native if core::mem::take(&mut inner.lost) => return Look::Lost,
        Resume::Native => return Look::Native,
        Resume::Dead => return Look::Dead,
        Resume::Sleep => {}
    }
    if leave {
        match inner.lease.want(thread.ctl()) {
            Want::Native => {
                stats::WANT_READY.inc();
                return Look::Native;
            }
            Want::Dead => return Look::Dead,
            // Granted: the next look takes it.
            Want::Granted | Want::Kick(_) | Want::KickAll => {}
        }
        if !core::mem::replace(wanted, true) {
            stats::WANTED.inc();
        }
        return Look::Kick;
    }
    task::prepare(Sleep::Interruptible);
    Look::Sleep
}

/// Tells everybody who may have the context that it is wanted. Who has it, the word would say,
/// but that is not to be believed.
fn kick_borrowers(thread: &Thread) {
    thread
        .service
        .visit_holders(|w| w.holder.for_each_thread(|t| task::kick(&t.task)));
}

/// Sleeps until the lease changes or it is time for another kick. A signal is pending, so only a
/// killable sleep is one.
fn sleep_rekick(thread: &Thread) {
    let inner = thread.inner.lock();
    let waits = matches!(
        inner.lease.state(),
        crate::lease::State::Parked | crate::lease::State::Wanted
    );
    if waits {
        task::prepare(Sleep::Killable);
    }
    drop(inner);
    if waits {
        task::schedule(Some(msecs_to_jiffies(REKICK_MS)));
    }
}
