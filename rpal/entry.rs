// SPDX-License-Identifier: GPL-2.0

//! System call entry: whose call is it?

use crate::{
    arch::{
        self,
        Regs,
        AX,
        CX,
        R11, //
    },
    gate,
    handover::{
        drop_claim,
        give_back, //
    },
    stats,
    task,
    thread::Thread, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::atomic::ordering::Relaxed, //
};

/// What a system call of a registered thread means to its registration.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// It would change what the registration rests on.
    Refused,
    /// The child may share memory, FS base and so the control block, until it executes something.
    /// It is not registered, and must not get through the gate as its parent.
    SharesBlock,
    /// It counts on what the CPUs run.
    Barrier,
    /// It may change who the threads of the service are, and not only the current one.
    Identity,
    None,
}

fn meaning(regs: &Regs) -> Meaning {
    const COMPAT_CLONE: u32 = 120;
    const COMPAT_MODIFY_LDT: u32 = 123;
    const COMPAT_PRCTL: u32 = 172;
    const COMPAT_VFORK: u32 = 190;
    const COMPAT_SET_THREAD_AREA: u32 = 243;
    const COMPAT_SECCOMP: u32 = 354;
    const COMPAT_MEMBARRIER: u32 = 375;
    const COMPAT_ARCH_PRCTL: u32 = 384;
    const COMPAT_RSEQ: u32 = 386;

    // The dispatcher looks at the low half, and calls of x32 have another bit.
    // CAST: takes the low half.
    let nr = regs.orig_ax() as u32;
    if arch::is_compat_syscall() {
        return match nr {
            COMPAT_MODIFY_LDT | COMPAT_SET_THREAD_AREA | COMPAT_RSEQ => Meaning::Refused,
            // CAST: the option is an int.
            COMPAT_PRCTL => prctl(regs.bx() as u32),
            COMPAT_ARCH_PRCTL => arch_prctl(regs.bx() as u32),
            COMPAT_CLONE | COMPAT_VFORK | bindings::__NR_clone3 => Meaning::SharesBlock,
            COMPAT_MEMBARRIER => Meaning::Barrier,
            COMPAT_SECCOMP => Meaning::Identity,
            _ => Meaning::None,
        };
    }
    match nr & !bindings::__X32_SYSCALL_BIT {
        bindings::__NR_rseq | bindings::__NR_modify_ldt => Meaning::Refused,
        // CAST: the option is an int.
        bindings::__NR_prctl => prctl(regs.di() as u32),
        bindings::__NR_arch_prctl => arch_prctl(regs.di() as u32),
        bindings::__NR_clone | bindings::__NR_vfork | bindings::__NR_clone3 => Meaning::SharesBlock,
        bindings::__NR_membarrier => Meaning::Barrier,
        bindings::__NR_seccomp => Meaning::Identity,
        _ => Meaning::None,
    }
}

fn prctl(option: u32) -> Meaning {
    match option {
        // It would answer for the kernel where a borrowed context is handed over.
        bindings::PR_SET_SYSCALL_USER_DISPATCH => Meaning::Refused,
        bindings::PR_SET_SECCOMP | bindings::PR_SET_DUMPABLE | bindings::PR_SET_NO_NEW_PRIVS => {
            Meaning::Identity
        }
        _ => Meaning::None,
    }
}

fn arch_prctl(option: u32) -> Meaning {
    const ARCH_SET_GS: u32 = 0x1001;
    const ARCH_SET_FS: u32 = 0x1002;
    const ARCH_REQ_XCOMP_PERM: u32 = 0x1023;
    const ARCH_SHSTK_ENABLE: u32 = 0x5001;

    match option {
        ARCH_SET_GS | ARCH_SET_FS | ARCH_REQ_XCOMP_PERM | ARCH_SHSTK_ENABLE => Meaning::Refused,
        _ => Meaning::None,
    }
}

/// From here on no receiver of the service is lent any more, or only until its release. Each parks
/// anew, and looks at what it is then.
pub(crate) fn withhold_all(caller: &Thread) {
    caller.service.for_each_thread(|t| {
        t.inner.lock().lease.withhold(t.ctl());
    });
}

/// `membarrier(2)` interrupts the CPUs that run this address space, and misses those that run its
/// receivers for a caller. So these are interrupted first.
fn before_barrier(caller: &Thread) {
    withhold_all(caller);
    caller
        .service
        .visit_holders(|w| task::sync_cpus(&w.holder.mm));
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
        let meaning = meaning(regs);
        match meaning {
            Meaning::Refused => {
                regs.set_ax(i64::from(EBUSY.to_errno()) as u64);
                return false;
            }
            Meaning::Barrier => before_barrier(caller),
            Meaning::Identity | Meaning::SharesBlock | Meaning::None => {}
        }
        if matches!(meaning, Meaning::Barrier | Meaning::Identity) {
            // Once it has had its effect: a receiver parks before that, or sees it.
            caller.changed.store(1, Relaxed);
            task::kick(&caller.task);
        }
        // Until the next call of the thread, since it is the child's end that ends it.
        let away = meaning == Meaning::SharesBlock;
        if away != caller.ctl().is_away() {
            caller.ctl().set_away(away);
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
    let Some((mut c, waits)) = give_back(caller, gate, fsbase, &u, None) else {
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
    c.r[R11] = c.flags;
    c.r[AX] = i64::from(ENOSYS.to_errno()) as u64;
    regs.load(&c);
    regs.set_orig_ax(bindings::__NR_rpal_await.into());
    true
}
