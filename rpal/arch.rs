// SPDX-License-Identifier: GPL-2.0

//! x86-64: the registers of the current task.
//!
//! Everything here acts on the task that runs, so that no lock is needed.

use kernel::{
    bindings,
    prelude::*,
    task::Task, //
};

/// EFLAGS bits that user code may bring along: what `sigreturn` restores, but TF, with which a
/// debugger of the caller steps the caller.
const FLAGS_MASK: u64 = 0x0005_0cd5;
/// Reserved bit 1 and IF.
const FLAGS_FIXED: u64 = 0x202;

/// A user context: what a hand-over moves from one task to another, beside the FPU state.
#[derive(Clone, Copy, Default)]
pub(crate) struct Context {
    pub(crate) r: [u64; 15],
    pub(crate) ip: u64,
    pub(crate) sp: u64,
    pub(crate) flags: u64,
    pub(crate) pkru: u32,
}

/// Indices into [`Context::r`].
pub(crate) const R8: usize = 0;
pub(crate) const R11: usize = 3;
pub(crate) const CX: usize = 9;
pub(crate) const DX: usize = 10;
pub(crate) const SI: usize = 11;
pub(crate) const DI: usize = 12;
pub(crate) const AX: usize = 8;

/// The user registers of the current task.
///
/// # Invariants
///
/// The pointer is the `pt_regs` of the current task's entry from user mode, which nobody else
/// touches until it returns there.
pub(crate) struct Regs(*mut bindings::pt_regs);

macro_rules! getters {
    ($($get:ident),*) => {$(
        pub(crate) fn $get(&self) -> u64 {
            // SAFETY: by the type invariant.
            unsafe { (*self.0).$get as u64 }
        }
    )*};
}

macro_rules! setters {
    ($($set:ident: $f:ident),*) => {$(
        pub(crate) fn $set(&mut self, v: u64) {
            // SAFETY: by the type invariant.
            unsafe { (*self.0).$f = v as usize }
        }
    )*};
}

impl Regs {
    /// # Safety
    ///
    /// `regs` are the registers of the current task's entry from user mode, and are not used
    /// otherwise while the result lives.
    pub(crate) unsafe fn from_raw(regs: *mut bindings::pt_regs) -> Self {
        // INVARIANT: by the contract.
        Self(regs)
    }

    /// The registers of the system call or exception that the current user task is in.
    pub(crate) fn current() -> Self {
        // INVARIANT: `current_pt_regs` is where the entry from user mode saved them; tasks
        // without user mode don't come here.
        // SAFETY: always safe to call.
        Self(unsafe { bindings::current_pt_regs() })
    }

    getters!(ip, sp, orig_ax, di, bx);
    setters!(set_ip: ip, set_sp: sp, set_ax: ax, set_orig_ax: orig_ax, set_di: di, set_si: si,
        set_dx: dx, set_r10: r10);

    /// Copies the user context out.
    pub(crate) fn save(&self) -> Context {
        // SAFETY: by the type invariant.
        let p = unsafe { &*self.0 };
        Context {
            r: [
                p.r8, p.r9, p.r10, p.r11, p.r12, p.r13, p.r14, p.r15, p.ax, p.cx, p.dx, p.si, p.di,
                p.bp, p.bx,
            ]
            .map(|v| v as u64),
            // Code with other segments than ours goes on nowhere: it has to fault.
            // SAFETY: by the type invariant.
            ip: if unsafe { bindings::rpal_regs_are_flat(self.0) } {
                p.ip as u64
            } else {
                0
            },
            sp: p.sp as u64,
            flags: p.flags as u64,
            pkru: pkru(),
        }
    }

    /// Replaces the user registers, and says that no system call is to be restarted.
    ///
    /// Segments become those of 64-bit user code. PKRU is not touched.
    pub(crate) fn load(&mut self, c: &Context) {
        let [r8, r9, r10, r11, r12, r13, r14, r15, ax, cx, dx, si, di, bp, bx] = c.r;
        // SAFETY: by the type invariant.
        let p = unsafe { &mut *self.0 };
        p.r8 = r8 as usize;
        p.r9 = r9 as usize;
        p.r10 = r10 as usize;
        p.r11 = r11 as usize;
        p.r12 = r12 as usize;
        p.r13 = r13 as usize;
        p.r14 = r14 as usize;
        p.r15 = r15 as usize;
        p.ax = ax as usize;
        p.cx = cx as usize;
        p.dx = dx as usize;
        p.si = si as usize;
        p.di = di as usize;
        p.bp = bp as usize;
        p.bx = bx as usize;
        p.ip = c.ip as usize;
        p.sp = c.sp as usize;
        p.flags = (c.flags & FLAGS_MASK | FLAGS_FIXED) as usize;
        p.orig_ax = usize::MAX;
        // SAFETY: `p` is valid; the restart block is the current task's own.
        unsafe {
            bindings::rpal_regs_set_flat(p);
            bindings::prevent_single_step_upon_eretu(p);
            bindings::rpal_no_restart();
            bindings::rpal_note_interrupted();
        }
    }
}

/// The FS base that user code runs with.
pub(crate) fn fsbase() -> u64 {
    // SAFETY: FSGSBASE is there, or no thread is registered.
    unsafe { bindings::rpal_rdfsbase() as u64 }
}

/// Gives the current task another FS base.
pub(crate) fn set_fsbase(base: u64) {
    // SAFETY: as for `fsbase`; only the current task's state is written. A base outside the user
    // half would fault: callers pass what registration has checked.
    unsafe { bindings::rpal_wrfsbase(base as usize) }
}

/// The GS base that user code runs with.
pub(crate) fn gsbase() -> u64 {
    // SAFETY: as for `fsbase`.
    unsafe { bindings::rpal_gsbase() as u64 }
}

/// Sets the GS base to 0, as registration found it.
pub(crate) fn reset_gsbase() {
    // SAFETY: only the current task's state is written.
    unsafe { bindings::rpal_reset_gsbase() }
}

/// The current PKRU; 0 without protection keys.
pub(crate) fn pkru() -> u32 {
    // SAFETY: always safe to call.
    unsafe { bindings::read_pkru() }
}

/// Loads PKRU; nothing without protection keys.
pub(crate) fn set_pkru(value: u32) {
    // SAFETY: PKRU concerns user memory only, which the kernel never trusts.
    unsafe { bindings::write_pkru(value) }
}

/// Whether user code can switch FS base by itself.
pub(crate) fn has_fsgsbase() -> bool {
    // SAFETY: always safe to call.
    unsafe { bindings::rpal_cpu_has_fsgsbase() }
}

/// Whether protection keys are there and switched on.
pub(crate) fn has_pku() -> bool {
    // SAFETY: always safe to call.
    unsafe { bindings::rpal_cpu_has_pku() }
}

/// Xen PV guests have their page tables pinned and can't share any.
pub(crate) fn is_xen_pv() -> bool {
    // SAFETY: always safe to call.
    unsafe { bindings::rpal_is_xen_pv() }
}

/// Puts the current task's FPU state in memory, where a hand-over may replace it while the task
/// sleeps.
pub(crate) fn fpu_sync() {
    // SAFETY: called from system calls, where the kernel may use the FPU.
    unsafe { bindings::rpal_fpu_sync() }
}

/// Does code that runs for the current task by another's hands escape something that the task is
/// under?
pub(crate) fn is_confined() -> bool {
    // SAFETY: called in a system call of a user task.
    unsafe { bindings::rpal_is_confined() }
}

/// Has the current task state that the gate does not switch?
pub(crate) fn has_unswitched_state() -> bool {
    // SAFETY: always safe to call.
    unsafe { bindings::rpal_has_unswitched_state() }
}

/// The FPU state that was handed over has no PASID.
pub(crate) fn forget_pasid() {
    // SAFETY: the flag is the current task's own.
    unsafe { bindings::rpal_forget_pasid() }
}

/// Sends the current task the signal of a trap. A code of `SI_KERNEL` has no address.
pub(crate) fn raise(signo: i32, code: i32, addr: usize, nr: usize, error: usize) {
    // SAFETY: always safe to call in process context.
    unsafe { bindings::rpal_raise(signo, code, addr, nr, error) }
}

/// Exception number and error code that the current task's last trap left.
pub(crate) fn last_trap() -> (usize, usize) {
    // SAFETY: the fields are the current task's own.
    let thread = unsafe { &(*Task::current_raw()).thread };
    (thread.trap_nr, thread.error_code)
}

/// The current task has met no trap that counts.
pub(crate) fn forget_trap() {
    // SAFETY: the field is the current task's own.
    unsafe { (*Task::current_raw()).thread.trap_nr = 0 };
}

/// Is a debugger stepping the current task?
pub(crate) fn is_stepped() -> bool {
    // SAFETY: always safe to call.
    unsafe { bindings::rpal_is_stepped() }
}

/// A 32-bit system call?
pub(crate) fn is_compat_syscall() -> bool {
    // SAFETY: always safe to call.
    unsafe { bindings::in_ia32_syscall() }
}

/// Forgets that the system call that was replaced was a 32-bit one.
pub(crate) fn clear_compat() {
    // SAFETY: the flag is the current task's own.
    unsafe { bindings::rpal_clear_compat() }
}

/// Leaves restartable sequences, which the kernel would otherwise go on serving for the task,
/// whoever's code it runs. `EFAULT`: the user's area can't be written. May sleep.
pub(crate) fn leave_rseq() -> Result {
    // SAFETY: called from system calls.
    if unsafe { bindings::rpal_rseq_leave() } {
        Ok(())
    } else {
        Err(EFAULT)
    }
}
