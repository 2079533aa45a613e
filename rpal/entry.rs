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
    change,
    gate,
    handover::{
        drop_claim,
        give_back, //
    },
    meaning::{
        meaning,
        Meaning, //
    },
    service::Service,
    stats,
    task,
    thread::Thread, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::ordering::Relaxed,
        Arc, //
    }, //
};

/// System call entry of a task of a service, registered or not, before anything else looks at it.
/// False: the call is skipped, its result is in the registers. May sleep.
///
/// `execve` of a service's image sets the bit that leads here, and whoever is made by a task that
/// has it has it, too: so do all who share the address space, threads or not.
///
/// # Safety
///
/// `regs` are those of the current task's system call.
#[no_mangle]
unsafe extern "C" fn __rpal_syscall_enter(regs: *mut bindings::pt_regs) -> bool {
    // SAFETY: by the contract.
    let mut regs = unsafe { Regs::from_raw(regs) };
    Thread::with_current(|caller| {
        let made = enter(caller, &mut regs);
        task::skip_syscall_exit(!made);
        made
    })
    .unwrap_or_else(|| enter_unregistered(&mut regs))
}

fn enter_unregistered(regs: &mut Regs) -> bool {
    // An earlier call that was skipped may have had no tracer to look at this.
    task::skip_syscall_exit(false);
    if !Service::is_current() {
        // A forked child, or what a child has executed.
        task::hook_syscalls(false);
        return true;
    }
    match meaning(regs) {
        Meaning::Refused | Meaning::SharesBlock | Meaning::None => true,
        m => {
            let made = Service::current().map_or(true, |service| announce(&service, m, regs));
            task::skip_syscall_exit(!made);
            made
        }
    }
}

/// Does what has to be done before a call that receivers have to know of, and sees to what has to
/// be done behind it. False: the call is skipped.
fn announce(service: &Arc<Service>, meaning: Meaning, regs: &mut Regs) -> bool {
    if meaning == Meaning::Barrier {
        change::before_barrier(service);
    }
    let done = change::withhold_after(service);
    if let Err(e) = done {
        regs.set_ax(i64::from(e.to_errno()) as u64);
    }
    done.is_ok()
}

fn enter(caller: &Thread, regs: &mut Regs) -> bool {
    let fsbase = arch::fsbase();
    if fsbase == caller.fsbase {
        caller.note_seen();
        if caller.ctl().claim.load(Relaxed) != 0 {
            drop_claim(caller);
        }
        let meaning = meaning(regs);
        match meaning {
            Meaning::Refused | Meaning::Unlendable => {
                regs.set_ax(i64::from(EBUSY.to_errno()) as u64);
                return false;
            }
            Meaning::Barrier | Meaning::Identity => {
                if !announce(&caller.service, meaning, regs) {
                    return false;
                }
            }
            Meaning::SharesBlock | Meaning::None => {}
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
