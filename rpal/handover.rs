// SPDX-License-Identifier: GPL-2.0

//! Hand-over: a borrowed context goes back to the task whose it is.
//!
//! A registered thread's task may execute the user context of a receiver that lent it. Which of
//! the two is live is told by the FS base. Before the kernel acts for the task, the hooks in
//! `entry.rs`, `exit_loop.rs` and `fault.rs` look, and if the context is borrowed it is moved,
//! registers, FPU state and PKRU, to the receiver's task, which goes on with it natively: it makes
//! the system call, meets the fault. The caller's task finds itself in `rpal_await(2)`, as if it
//! had made that call.
//!
//! The hooks hold no lock but the receiver's, wait for nobody, and take no word of the control
//! pages on trust: these say which receiver is meant, and the kernel's own state decides.

use crate::{
    arch::{
        self,
        Context,
        DI,
        R8, //
    },
    fault::Trap,
    gate::Gate,
    lease::{
        Grant,
        Release, //
    },
    stats,
    thread::Thread,
    window::{
        self,
        Window, //
    }, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::ordering::Relaxed,
        Arc, //
    }, //
};

/// Gives up what a caller has claimed and left behind: after a region that was aborted, or a
/// `longjmp` out of the gate.
pub(crate) fn drop_claim(caller: &Thread) {
    let claim = caller.ctl().claim.load(Relaxed);
    if claim == 0 {
        return;
    }
    caller.ctl().claim.store(0, Relaxed);
    // The window may have been closed since.
    let Some(receiver) = caller.service.former_peer_thread(claim as usize) else {
        return;
    };
    let mut inner = receiver.inner.lock();
    let released = inner.lease.release(receiver.ctl(), caller.owner);
    if released == Release::Native {
        // Under the lock, as in `hand_over`.
        receiver.task.wake_up();
    }
    drop(inner);
    match released {
        Release::Native => stats::RELEASE_NATIVE.inc(),
        Release::Ready => stats::STALE.inc(),
        Release::NotHeld | Release::Dead => {}
    }
}

/// The context that a caller has claimed was run and is lost: its owner crashes. Nothing if the
/// caller holds none.
fn lose_claim(caller: &Thread) {
    let claim = caller.ctl().claim.load(Relaxed);
    let Some(receiver) = caller.service.former_peer_thread(claim as usize) else {
        return;
    };
    let mut inner = receiver.inner.lock();
    let lost = inner.lease.lose(receiver.ctl(), caller.owner);
    inner.lost |= lost;
    if lost {
        // Under the lock, as in `hand_over`.
        receiver.task.wake_up();
        stats::LOST.inc();
    }
}

/// The current task dies with a borrowed context in its registers, and without a way back to user
/// mode: by an oops. The receiver can't go on with it.
pub(crate) fn dies_borrowed(caller: &Thread) {
    if arch::fsbase() != caller.fsbase {
        lose_claim(caller);
    }
}

/// Why a borrowed context can't be handed over.
pub(crate) enum Lost {
    /// The receiver is gone, or took its context back: the caller gets this errno.
    Errno(Error),
    /// The caller has borrowed nothing: it has changed its own FS base.
    Accident,
}

/// Is that the FS base with which the receiver parked?
fn has_parked_with(receiver: &Thread, fsbase: u64) -> bool {
    receiver.inner.lock().park.fsbase == fsbase
}

/// The receiver whose context the current task executes, and the window through which it does.
pub(crate) fn receiver_of(
    caller: &Thread,
    fsbase: u64,
) -> core::result::Result<(Arc<Window>, Arc<Thread>), Lost> {
    let claim = caller.ctl().claim.load(Relaxed);
    match caller.service.peer_thread(claim as usize) {
        Ok((w, r)) if has_parked_with(&r, fsbase) => Ok((w, r)),
        // Another thread has the block now, or none, or the service is gone.
        Ok(_) => Err(Lost::Errno(EPIPE)),
        Err(e) if e == EPIPE || e == ESRCH => Err(Lost::Errno(EPIPE)),
        // The window may have been closed with the caller inside. Only then: who was outside
        // since has forged this, and must not get to the peer that way.
        Err(_) => match caller
            .service
            .peer_thread_left_by(claim as usize, caller.seen())
        {
            Some((w, r)) if has_parked_with(&r, fsbase) => Ok((w, r)),
            _ if claim != 0 => Err(Lost::Errno(EFAULT)),
            _ => Err(Lost::Accident),
        },
    }
}

/// Moves the live context, `u` in place of the registers, to `receiver`'s task, with the trap that
/// it has met. Returns the number of the caller's ticket. The current task is left without FS
/// base, PKRU and registers of its own; [`come_back`] gives it these.
fn hand_over(
    caller: &Thread,
    window: &Window,
    receiver: &Thread,
    u: &Context,
    trap: Option<Trap>,
) -> core::result::Result<u64, Lost> {
    // Without one the caller loses the answer; the receiver must not lose its context for that.
    let ticket = caller.granted_ticket().ok();
    let mut inner = receiver.inner.lock();
    // Who says that it is inside may have slept in a fault since before the window was closed, or
    // have been stopped on the way here. If the receiver has done other things since, and maybe is
    // somebody else, it has not lent this context to anybody behind that window. Nor to anybody
    // if it is withheld.
    let granted = if window.was_open_after(inner.parked) {
        inner.lease.grant(receiver.ctl())
    } else {
        Grant::Stale
    };
    if granted == Grant::Granted {
        inner.context = *u;
        inner.trap = trap;
        inner.ticket = ticket.clone();
        // SAFETY: the receiver sleeps in `rpal_wait` with its FPU state in memory, and can't
        // leave before it has this lock.
        unsafe { bindings::fpu_hand_over(receiver.task.as_ptr()) };
        // Under the lock, without which the receiver does not leave its sleep: a wake-up that came
        // later would end another one.
        receiver.task.wake_up();
    }
    drop(inner);
    match granted {
        Grant::Granted => {
            stats::GRANT.inc();
            ticket.map(|t| t.id).ok_or(Lost::Errno(ENOMEM))
        }
        Grant::Stale | Grant::Dead => {
            if let Some(t) = ticket {
                caller.drop_ticket(t.id);
            }
            Err(Lost::Errno(if granted == Grant::Dead {
                EPIPE
            } else {
                ESTALE
            }))
        }
    }
}

/// Restores what the gate had switched for the caller, except the registers.
fn come_back(caller: &Thread) {
    arch::set_fsbase(caller.fsbase);
    // The gate does not switch it, so that the receiver may have changed it.
    arch::reset_gsbase();
    arch::set_pkru(caller.pkru());
    caller.ctl().claim.store(0, Relaxed);
    caller.note_seen();
}

/// Closes the window on a caller that is not who it was when it attached. The context is back
/// with its owner, so that nothing is lost.
fn close_if_changed(caller: &Thread, receiver: &Thread) {
    let window = caller.service.window(receiver.service.place.number());
    if window.is_some_and(|w| !w.trusts_holder())
        && window::detach(&caller.service, &receiver.service).is_ok()
    {
        stats::CLOSED.inc();
    }
}

/// The caller's registers at `ip`, on the stack that it called from.
fn caller_at(caller: &Thread, ip: u64) -> Context {
    Context {
        ip,
        sp: caller.ctl().saved_sp.load(Relaxed),
        flags: 0x202,
        ..Context::default()
    }
}

/// Hands the live context over, with `u` for its registers, and puts the caller where it waits,
/// or where it learns that the receiver is gone. `None`: it was no borrowed context; its registers
/// are the caller's own, and FS base and PKRU are again. May sleep.
pub(crate) fn give_back(
    caller: &Thread,
    gate: &Gate,
    fsbase: u64,
    u: &Context,
    trap: Option<Trap>,
) -> Option<(Context, bool)> {
    let receiver = receiver_of(caller, fsbase);
    let (receiver, done) = match receiver {
        Ok((w, r)) => {
            let done = hand_over(caller, &w, &r, u, trap);
            (Some(r), done)
        }
        Err(e) => (None, Err(e)),
    };
    if done.is_err() {
        // Somebody has changed the FS base. Who, is not known: a fibre of the receiver's, or an
        // accident of the caller's.
        lose_claim(caller);
    }
    come_back(caller);
    if let Some(r) = receiver {
        close_if_changed(caller, &r);
        // That has come after `come_back`.
        caller.note_seen();
    }
    match done {
        Ok(id) => {
            let mut c = caller_at(caller, gate.await_().0);
            c.r[DI] = id;
            Some((c, true))
        }
        Err(Lost::Errno(e)) => {
            stats::EVICTED.inc();
            let mut c = caller_at(caller, gate.done());
            c.r[R8] = i64::from(e.to_errno()) as u64;
            Some((c, false))
        }
        Err(Lost::Accident) => None,
    }
}
