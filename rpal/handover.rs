// SPDX-License-Identifier: GPL-2.0

//! Hand-over: a borrowed context goes back to the task whose it is.
//!
//! A registered thread's task may execute the user context of a receiver that lent it. Which of
//! the two is live is told by the FS base. Before the kernel acts for the task, the hooks in this
//! file look, and if the context is borrowed they move it, registers, FPU state and PKRU, to the
//! receiver's task, which goes on with it natively: it makes the system call, meets the fault.
//! The caller's task finds itself in `rpal_await(2)`, as if it had made that call.
//!
//! The hooks hold no lock but the receiver's, wait for nobody, and take no word of the control
//! pages on trust: these say which receiver is meant, and the kernel's own state decides.

use crate::{
    arch::{
        self,
        Context,
        Regs,
        AX,
        CX,
        DI,
        R8, //
    },
    gate::{
        self,
        Gate,
        Region, //
    },
    lease::{
        Grant,
        Release, //
    },
    stats,
    task,
    thread::Thread,
    ticket, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::ordering::Relaxed,
        Arc, //
    },
    task::Task, //
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
    drop(inner);
    match released {
        Release::Native => receiver.task.wake_up(),
        Release::Ready => stats::STALE.inc(),
        Release::NotHeld | Release::Dead => {}
    }
}

/// Why a borrowed context can't be handed over.
enum Lost {
    /// The receiver is gone, or took its context back: the caller gets this errno.
    Errno(Error),
    /// The FS base is nobody's that the caller could have borrowed from.
    Accident,
}

/// Is that the FS base with which the receiver parked?
fn has_parked_with(receiver: &Thread, fsbase: u64) -> bool {
    receiver.inner.lock().park.fsbase == fsbase
}

/// The receiver whose context the current task executes.
fn receiver_of(caller: &Thread, fsbase: u64) -> core::result::Result<Arc<Thread>, Lost> {
    let claim = caller.ctl().claim.load(Relaxed);
    match caller.service.peer_thread(claim as usize) {
        Ok(r) if has_parked_with(&r, fsbase) => Ok(r),
        // Another thread has the block now, or none, or the service is gone.
        Ok(_) => Err(Lost::Errno(EPIPE)),
        Err(e) if e == EPIPE || e == ESRCH => Err(Lost::Errno(EPIPE)),
        // The window may have been closed with the caller inside.
        Err(_) => match caller.service.former_peer_thread(claim as usize) {
            Some(r) if has_parked_with(&r, fsbase) => Ok(r),
            _ => Err(Lost::Accident),
        },
    }
}

/// Moves the live context, `u` in place of the registers, to `receiver`'s task. Returns the
/// number of the caller's ticket. The current task is left without FS base, PKRU and registers
/// of its own; [`come_back`] gives it these.
fn hand_over(caller: &Thread, receiver: &Thread, u: &Context) -> core::result::Result<u64, Lost> {
    // Without one the caller loses the answer; the receiver must not lose its context for that.
    let ticket = caller.new_ticket([0; 4], 0, ticket::State::Granted).ok();
    let mut inner = receiver.inner.lock();
    let granted = inner.lease.grant(receiver.ctl());
    if granted == Grant::Granted {
        inner.context = *u;
        inner.ticket = ticket.clone();
        // SAFETY: the receiver sleeps in `rpal_wait` with its FPU state in memory, and can't
        // leave before it has this lock.
        unsafe { bindings::fpu_hand_over(receiver.task.as_ptr()) };
    }
    drop(inner);
    match granted {
        Grant::Granted => {
            receiver.task.wake_up();
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
/// or where it learns that the receiver is gone. `None`: it was no borrowed context.
fn give_back(caller: &Thread, gate: &Gate, fsbase: u64, u: &Context) -> Option<(Context, bool)> {
    let done = receiver_of(caller, fsbase).and_then(|r| hand_over(caller, &r, u));
    come_back(caller);
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

/// Calls that would change under a registered thread what its registration rests on.
fn is_refused(regs: &Regs) -> bool {
    const ARCH_SET_GS: u64 = 0x1001;
    const ARCH_SET_FS: u64 = 0x1002;
    const ARCH_SHSTK_ENABLE: u64 = 0x5001;
    // The dispatcher looks at the low half, and calls of x32 have another bit.
    // CAST: takes the low half.
    match regs.orig_ax() as u32 & !bindings::__X32_SYSCALL_BIT {
        bindings::__NR_arch_prctl => {
            matches!(regs.di(), ARCH_SET_FS | ARCH_SET_GS | ARCH_SHSTK_ENABLE)
        }
        bindings::__NR_rseq | bindings::__NR_modify_ldt => true,
        _ => false,
    }
}

/// System call entry of a registered thread, before anything else looks at it. False: the call
/// is skipped, its result is in the registers. May sleep.
///
/// # Safety
///
/// `regs` are those of the current task's system call.
#[no_mangle]
unsafe extern "C" fn __rpal_syscall_enter(regs: *mut bindings::pt_regs) -> bool {
    // SAFETY: by the contract.
    let mut regs = unsafe { Regs::from_raw(regs) };
    Thread::with_current(|caller| enter(caller, &mut regs)).unwrap_or(true)
}

fn enter(caller: &Thread, regs: &mut Regs) -> bool {
    let fsbase = arch::fsbase();
    if fsbase == caller.fsbase {
        if caller.ctl().claim.load(Relaxed) != 0 {
            drop_claim(caller);
        }
        if !arch::is_compat_syscall() && is_refused(regs) {
            regs.set_ax(i64::from(EBUSY.to_errno()) as u64);
            return false;
        }
        return true;
    }
    let Ok(gate) = gate::page() else {
        return true;
    };
    // The receiver makes the call again: SYSCALL and INT 0x80 are both two bytes long, and what
    // SYSCALL left in RCX and R11 it will leave there again.
    let mut u = regs.save();
    u.r[AX] = regs.orig_ax();
    u.ip = u.ip.wrapping_sub(2);
    stats::HANDOVER_SYSCALL.inc();
    let compat = arch::is_compat_syscall();
    let Some((mut c, waits)) = give_back(caller, gate, fsbase, &u) else {
        regs.set_ax(i64::from(ENOSYS.to_errno()) as u64);
        task::force_segv();
        return false;
    };
    if !waits || compat {
        // At the instruction before the system call, or past it: there is none to be dispatched,
        // least of all by the table for 32-bit calls.
        regs.load(&c);
        if compat {
            arch::clear_compat();
        }
        return false;
    }
    c.ip = gate.await_().1;
    c.r[CX] = c.ip;
    c.r[3] = c.flags;
    c.r[AX] = i64::from(ENOSYS.to_errno()) as u64;
    regs.load(&c);
    regs.set_orig_ax(bindings::__NR_rpal_await.into());
    true
}

/// The exit loop of a registered thread, with work to be done. Returns the work that is left. May
/// sleep.
///
/// # Safety
///
/// `regs` are those with which the current task is going to user mode.
#[no_mangle]
unsafe extern "C" fn __rpal_exit_to_user(regs: *mut bindings::pt_regs, work: usize) -> usize {
    const SIGNAL: usize = 1 << bindings::TIF_SIGPENDING | 1 << bindings::TIF_NOTIFY_SIGNAL;
    const RESUME: usize = 1 << bindings::TIF_NOTIFY_RESUME;
    const UPROBE: usize = 1 << bindings::TIF_UPROBE;

    if work & (SIGNAL | RESUME | UPROBE) == 0 {
        return work;
    }
    // SAFETY: by the contract.
    let mut regs = unsafe { Regs::from_raw(regs) };
    Thread::with_current(|caller| {
        let latched = unlatch();
        if arch::fsbase() == caller.fsbase {
            resolve(caller, &mut regs);
            return work;
        }
        if latched {
            stats::HANDOVER_FAULT.inc();
        } else {
            stats::HANDOVER_WORK.inc();
        }
        let mut left = work;
        if work & UPROBE != 0 {
            // The probe is in the receiver's text: it has to hit it. The address is behind it.
            task::clear_uprobe();
            left &= !UPROBE;
            regs.set_ip(regs.ip().wrapping_sub(1));
        }
        exit_borrowed(caller, &mut regs);
        left
    })
    .unwrap_or(work)
}

/// A context of the caller's own, maybe in the middle of the gate.
fn resolve(caller: &Thread, regs: &mut Regs) {
    let Ok(gate) = gate::page() else {
        return;
    };
    let ip = match gate.region(regs.ip()) {
        Region::A => {
            stats::ABORT_A.inc();
            gate.slow()
        }
        Region::G0 => {
            stats::ABORT_G0.inc();
            gate.slow()
        }
        Region::G3 => {
            stats::FORWARD_G3.inc();
            arch::set_pkru(caller.pkru());
            gate.done()
        }
        Region::G1 | Region::G2 | Region::Copy | Region::Other => {
            // On the way to a slow release: a signal handler may call somebody else first.
            drop_claim(caller);
            return;
        }
    };
    drop_claim(caller);
    regs.set_ip(ip);
    regs.set_sp(caller.ctl().saved_sp.load(Relaxed));
}

/// A borrowed context with work to be done.
fn exit_borrowed(caller: &Thread, regs: &mut Regs) {
    let Ok(gate) = gate::page() else {
        return;
    };
    let fsbase = arch::fsbase();
    let mut u = regs.save();
    match gate.region(u.ip) {
        Region::G1 => {
            stats::START_G1.inc();
            if let Ok(r) = receiver_of(caller, fsbase) {
                u.sp = r.inner.lock().park.sp;
                u.pkru = r.pkru() & caller.pkru();
            }
            u.ip = gate.finish();
        }
        Region::G2 => {
            stats::RETURN_G2.inc();
            u.ip = gate.ret();
        }
        Region::A | Region::G0 | Region::G3 | Region::Copy | Region::Other => {}
    }
    match give_back(caller, gate, fsbase, &u) {
        Some((c, _)) => regs.load(&c),
        // FS base and PKRU are the caller's again, so that the signal is too.
        None => task::force_segv(),
    }
}

fn latch() {
    // SAFETY: the field is the current task's own.
    unsafe { (*Task::current_raw()).rpal.latched = 1 };
    // SAFETY: only called on the current task, which is valid.
    unsafe { bindings::set_notify_resume(Task::current_raw()) };
}

fn unlatch() -> bool {
    // SAFETY: the field is the current task's own.
    let latched = unsafe { &mut (*Task::current_raw()).rpal.latched };
    core::mem::take(latched) != 0
}

/// A signal is about to be forced on the current task, which is registered. True: it is not
/// sent, since whoever's instruction it was will meet the fault again. Takes no lock and does not
/// sleep: it is called with interrupts off, too.
///
/// # Safety
///
/// `info` describes the signal.
#[no_mangle]
unsafe extern "C" fn __rpal_forced_signal(info: *mut bindings::kernel_siginfo) -> bool {
    // SAFETY: by the contract.
    let (signo, code) = unsafe {
        let i = &(*info).__bindgen_anon_1;
        (i.si_signo as u32, i.si_code)
    };
    Thread::with_current(|caller| forced(caller, signo, code)).unwrap_or(false)
}

fn forced(caller: &Thread, signo: u32, code: i32) -> bool {
    let mut regs = Regs::current();
    if arch::fsbase() != caller.fsbase {
        if signo == bindings::SIGTRAP && code == bindings::TRAP_HWBKPT as i32 {
            // Hardware breakpoints are the caller's own.
            return false;
        }
        if signo == bindings::SIGTRAP && code == bindings::SI_KERNEL as i32 {
            // INT3 is the one fault that leaves the address behind itself.
            regs.set_ip(regs.ip().wrapping_sub(1));
        }
        latch();
        return true;
    }
    let fault = signo == bindings::SIGSEGV || signo == bindings::SIGBUS;
    // Positive codes are the kernel's; no system call is being made.
    if !fault || code <= 0 || regs.orig_ax() != u64::MAX {
        return false;
    }
    let Ok(gate) = gate::page() else {
        return false;
    };
    match gate.region(regs.ip()) {
        // The peer is gone, or its control page is: the exit loop goes by the region.
        Region::A | Region::G0 | Region::G3 => {
            latch();
            true
        }
        Region::Copy => {
            stats::COPY_FAULT.inc();
            regs.set_ip(gate.copy_fault());
            true
        }
        Region::G1 | Region::G2 | Region::Other => false,
    }
}

/// Does the current task, which is registered, execute a borrowed context, or instructions of the
/// gate whose faults are no signals?
#[no_mangle]
extern "C" fn __rpal_borrowed() -> bool {
    let absorbed = |regs: &Regs| {
        regs.orig_ax() == u64::MAX
            && gate::page().is_ok_and(|gate| {
                matches!(
                    gate.region(regs.ip()),
                    Region::A | Region::G0 | Region::G3 | Region::Copy
                )
            })
    };
    Thread::with_current(|caller| arch::fsbase() != caller.fsbase || absorbed(&Regs::current()))
        .unwrap_or(false)
}
