// SPDX-License-Identifier: GPL-2.0

//! The way out to user mode, with work to be done: before that is done for anybody, what was
//! interrupted becomes a complete context of the task's own.

use crate::{
    arch::{
        self,
        Regs, //
    },
    fault::{
        self,
        Trap,
        X86_TRAP_BP, //
    },
    gate::{
        self,
        Region, //
    },
    handover::{
        drop_claim,
        give_back,
        receiver_of, //
    },
    stats,
    task,
    thread::Thread, //
};
use kernel::{
    bindings,
    sync::atomic::ordering::Relaxed, //
};

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
        caller.set_leaving(true);
        let latched = fault::unlatch();
        let trap = caller.trap.take();
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
        exit_borrowed(caller, &mut regs, trap);
        left
    })
    .unwrap_or(work)
}

/// The exit loop of a registered thread, when its work is done; or the loop around a guest of
/// KVM's. Does not sleep.
#[no_mangle]
extern "C" fn __rpal_exit_worked() {
    Thread::with_current(|caller| {
        caller.set_leaving(false);
        if arch::fsbase() == caller.fsbase && !is_going_in() {
            caller.note_seen();
        }
    });
}

/// Is the current task about to take a context over that it has claimed? Then it has not been seen
/// outside. [`resolve`] takes it out of there, if there was a kick.
fn is_going_in() -> bool {
    gate::page().is_ok_and(|g| g.region(Regs::current().ip()) == Region::G0)
}

/// A context of the caller's own, maybe in the middle of the gate.
fn resolve(caller: &Thread, regs: &mut Regs) {
    caller.note_seen();
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

/// Is `int $3` in two bytes what ends at `ip`? May sleep.
fn is_long_int3(ip: u64) -> bool {
    task::user_byte(ip.wrapping_sub(1)) == Some(3)
        && task::user_byte(ip.wrapping_sub(2)) == Some(0xcd)
}

/// A borrowed context with work to be done.
fn exit_borrowed(caller: &Thread, regs: &mut Regs, trap: Option<Trap>) {
    let Ok(gate) = gate::page() else {
        return;
    };
    let fsbase = arch::fsbase();
    let mut u = regs.save();
    let mut trap = trap;
    if trap.is_some_and(|t| t.nr == X86_TRAP_BP) && !is_long_int3(u.ip) {
        // Of one byte, so that it can be met again: it may be a uprobe, of which the caller's
        // address space knows nothing. Or was one, and what it stood for has not been executed.
        u.ip = u.ip.wrapping_sub(1);
        trap = None;
    }
    match gate.region(u.ip) {
        Region::G1 => {
            stats::START_G1.inc();
            if let Ok((_, r)) = receiver_of(caller, fsbase) {
                u.sp = r.inner.lock().park.sp;
                u.pkru = r.pkru() & caller.pkru();
            }
            u.ip = gate.finish();
        }
        Region::G2 => {
            stats::RETURN_G2.inc();
            u.ip = gate.ret();
        }
        Region::Copy => stats::COPY.inc(),
        Region::A | Region::G0 | Region::G3 | Region::Other => stats::BODY.inc(),
    }
    match give_back(caller, gate, fsbase, &u, trap) {
        Some((c, _)) => regs.load(&c),
        None => task::force_segv(),
    }
}
