// SPDX-License-Identifier: GPL-2.0

//! Faults and traps: whose is it?

use crate::{
    arch::{
        self,
        Regs, //
    },
    gate::{
        self,
        Region, //
    },
    stats,
    thread::Thread, //
};
use kernel::{
    bindings,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    },
    task::Task, //
};

/// Numbers of the exceptions that `int3` and `int $4` raise.
pub(crate) const X86_TRAP_BP: usize = 3;
const X86_TRAP_OF: usize = 4;

/// A trap: unlike a fault, it is over when it is told, so that who is to meet it has to be told.
#[derive(Clone, Copy)]
pub(crate) struct Trap {
    pub(crate) signo: i32,
    pub(crate) code: i32,
    pub(crate) addr: usize,
    /// Number and error code of the exception, as signal frames show them.
    pub(crate) nr: usize,
    pub(crate) error: usize,
}

/// Where the handler of a trap leaves it for the exit loop. Only the task itself looks, so that no
/// lock is needed; a trap's handler could not take one that sleeps.
pub(crate) struct TrapNote {
    /// 0: there is none.
    signo: Atomic<i32>,
    code: Atomic<i32>,
    addr: Atomic<usize>,
    nr: Atomic<usize>,
    error: Atomic<usize>,
}

impl TrapNote {
    pub(crate) fn new() -> Self {
        Self {
            signo: Atomic::new(0),
            code: Atomic::new(0),
            addr: Atomic::new(0),
            nr: Atomic::new(0),
            error: Atomic::new(0),
        }
    }

    fn set(&self, trap: &Trap) {
        self.code.store(trap.code, Relaxed);
        self.addr.store(trap.addr, Relaxed);
        self.nr.store(trap.nr, Relaxed);
        self.error.store(trap.error, Relaxed);
        self.signo.store(trap.signo, Relaxed);
    }

    /// Takes it.
    pub(crate) fn take(&self) -> Option<Trap> {
        let signo = self.signo.load(Relaxed);
        self.signo.store(0, Relaxed);
        (signo != 0).then(|| Trap {
            signo,
            code: self.code.load(Relaxed),
            addr: self.addr.load(Relaxed),
            nr: self.nr.load(Relaxed),
            error: self.error.load(Relaxed),
        })
    }
}

/// Brings the current task to the exit loop.
fn latch() {
    // SAFETY: the field is the current task's own.
    unsafe { (*Task::current_raw()).rpal.latched = 1 };
    // SAFETY: only called on the current task, which is valid.
    unsafe { bindings::set_notify_resume(Task::current_raw()) };
}

/// Takes back what [`latch`] has left.
pub(crate) fn unlatch() -> bool {
    // SAFETY: the field is the current task's own.
    let latched = unsafe { &mut (*Task::current_raw()).rpal.latched };
    core::mem::take(latched) != 0
}

/// A signal is about to be forced on the current task, which is registered. True: it is not
/// sent, since whoever's instruction it was will meet the fault again, or be told of the trap.
/// Takes no lock that another task does and does not sleep: it is called with interrupts off, too.
///
/// # Safety
///
/// `info` describes the signal.
#[no_mangle]
unsafe extern "C" fn __rpal_forced_signal(info: *mut bindings::kernel_siginfo) -> bool {
    // SAFETY: by the contract.
    let (signo, code, addr) = unsafe {
        let i = &(*info).__bindgen_anon_1;
        (i.si_signo, i.si_code, i._sifields._sigfault._addr as usize)
    };
    Thread::with_current(|caller| forced(caller, signo, code, addr)).unwrap_or(false)
}

fn forced(caller: &Thread, signo: i32, code: i32, addr: usize) -> bool {
    const SIGTRAP: i32 = bindings::SIGTRAP as i32;
    const SIGSEGV: i32 = bindings::SIGSEGV as i32;
    const SIGBUS: i32 = bindings::SIGBUS as i32;
    const SI_KERNEL: i32 = bindings::SI_KERNEL as i32;

    let mut regs = Regs::current();
    if arch::fsbase() != caller.fsbase {
        if signo == SIGTRAP && code == bindings::TRAP_HWBKPT as i32 {
            // Hardware breakpoints are the caller's own.
            return false;
        }
        let (nr, error) = arch::last_trap();
        // INT3, ICEBP, INTO and a step by the trap flag are over, and their length is not known:
        // they can't be met again. All but the step of a debugger, who wants the caller stopped.
        let stepped = signo == SIGTRAP && code == bindings::TRAP_TRACE as i32 && arch::is_stepped();
        let overflow = signo == SIGSEGV && code == SI_KERNEL && nr == X86_TRAP_OF;
        if signo == SIGTRAP && !stepped || overflow {
            stats::TRAP.inc();
            arch::forget_trap();
            caller.trap.set(&Trap {
                signo,
                code,
                addr,
                nr,
                error,
            });
        }
        latch();
        return true;
    }
    let fault = signo == SIGSEGV || signo == SIGBUS;
    // Positive codes are the kernel's; no system call is being made. On the way out it is no fault
    // any more, but a signal frame that can't be written, say, or our own `task::force_segv`.
    if !fault || code <= 0 || regs.orig_ax() != u64::MAX || caller.is_leaving() {
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
