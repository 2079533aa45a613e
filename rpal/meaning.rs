// SPDX-License-Identifier: GPL-2.0

//! What a system call means to RPAL, by its number and first argument.

use crate::arch::{
    self,
    Regs, //
};
use kernel::bindings;

/// What a system call means to the registered threads of the service.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// It would change what the registration of its thread rests on.
    Refused,
    /// It would give the whole process what a lent context does not have. Refused to registered
    /// threads; after such a call of another one, no receiver lends.
    Unlendable,
    /// The child may share memory, FS base and so the control block, until it executes something.
    /// It is not registered, and must not get through the gate as its parent.
    SharesBlock,
    /// It counts on what the CPUs run.
    Barrier,
    /// It may change who the threads of the service are, and not only the current one.
    Identity,
    None,
}

pub(crate) fn meaning(regs: &Regs) -> Meaning {
    const COMPAT_IOPERM: u32 = 101;
    const COMPAT_IOPL: u32 = 110;
    const COMPAT_CLONE: u32 = 120;
    const COMPAT_MODIFY_LDT: u32 = 123;
    const COMPAT_PRCTL: u32 = 172;
    const COMPAT_VFORK: u32 = 190;
    const COMPAT_SET_THREAD_AREA: u32 = 243;
    const COMPAT_SECCOMP: u32 = 354;
    const COMPAT_MEMBARRIER: u32 = 375;
    const COMPAT_ARCH_PRCTL: u32 = 384;
    const COMPAT_RSEQ: u32 = 386;
    /// setuid() to setfsgid() in 16 and 32 bits, and capset().
    const COMPAT_CREDS: [u32; 17] = [
        23, 46, 70, 71, 138, 139, 164, 170, 203, 204, 208, 210, 213, 214, 215, 216, 185,
    ];

    // The dispatcher looks at the low half, and calls of x32 have another bit.
    // CAST: takes the low half.
    let nr = regs.orig_ax() as u32;
    if arch::is_compat_syscall() {
        return match nr {
            COMPAT_IOPERM | COMPAT_IOPL | COMPAT_SET_THREAD_AREA | COMPAT_RSEQ => Meaning::Refused,
            COMPAT_MODIFY_LDT => Meaning::Unlendable,
            // CAST: the option is an int.
            COMPAT_PRCTL => prctl(regs.bx() as u32),
            COMPAT_ARCH_PRCTL => arch_prctl(regs.bx() as u32),
            COMPAT_CLONE | COMPAT_VFORK | bindings::__NR_clone3 => Meaning::SharesBlock,
            COMPAT_MEMBARRIER => Meaning::Barrier,
            COMPAT_SECCOMP => Meaning::Identity,
            n if COMPAT_CREDS.contains(&n) => Meaning::Identity,
            _ => Meaning::None,
        };
    }
    match nr & !bindings::__X32_SYSCALL_BIT {
        bindings::__NR_rseq | bindings::__NR_iopl | bindings::__NR_ioperm => Meaning::Refused,
        bindings::__NR_modify_ldt => Meaning::Unlendable,
        // CAST: the option is an int.
        bindings::__NR_prctl => prctl(regs.di() as u32),
        bindings::__NR_arch_prctl => arch_prctl(regs.di() as u32),
        bindings::__NR_clone | bindings::__NR_vfork | bindings::__NR_clone3 => Meaning::SharesBlock,
        bindings::__NR_membarrier => Meaning::Barrier,
        bindings::__NR_seccomp
        | bindings::__NR_setuid
        | bindings::__NR_setgid
        | bindings::__NR_setreuid
        | bindings::__NR_setregid
        | bindings::__NR_setresuid
        | bindings::__NR_setresgid
        | bindings::__NR_setfsuid
        | bindings::__NR_setfsgid
        | bindings::__NR_capset => Meaning::Identity,
        _ => Meaning::None,
    }
}

fn prctl(option: u32) -> Meaning {
    match option {
        // It would answer for the kernel where a borrowed context is handed over.
        bindings::PR_SET_SYSCALL_USER_DISPATCH => Meaning::Refused,
        bindings::PR_SET_SECCOMP
        | bindings::PR_SET_DUMPABLE
        | bindings::PR_SET_NO_NEW_PRIVS
        | bindings::PR_SCHED_CORE => Meaning::Identity,
        _ => Meaning::None,
    }
}

fn arch_prctl(option: u32) -> Meaning {
    const ARCH_SET_GS: u32 = 0x1001;
    const ARCH_SET_FS: u32 = 0x1002;
    const ARCH_REQ_XCOMP_PERM: u32 = 0x1023;
    const ARCH_SHSTK_ENABLE: u32 = 0x5001;

    match option {
        ARCH_SET_GS | ARCH_SET_FS | ARCH_SHSTK_ENABLE => Meaning::Refused,
        ARCH_REQ_XCOMP_PERM => Meaning::Unlendable,
        _ => Meaning::None,
    }
}
