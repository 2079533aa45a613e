// SPDX-License-Identifier: MIT OR Apache-2.0

//! Becoming a service: arm, then execute.
//!
//! # Unsafe code
//!
//! One registration of a closure to run between fork and exec.

#![allow(unsafe_code)]

use std::fmt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rpal_sys::abi::{RPAL_ARM_DISARM, RPAL_ARM_UNPROTECTED};
use rpal_sys::{call, Errno};

/// How a service's memory is kept from its peers outside calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protection {
    /// By a protection key of its own. Needs a CPU that has them.
    #[default]
    Keys,
    /// Not at all. Such a service attaches to any other, whatever its key, if
    /// that one is unprotected too.
    None,
}

impl Protection {
    fn flags(self) -> u64 {
        match self {
            Self::Keys => 0,
            Self::None => RPAL_ARM_UNPROTECTED,
        }
    }
}

/// Why a thread could not be armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArmError {
    /// The kernel does not have RPAL.
    NoRpal,
    /// The administrator refuses arming (sysctl `kernel.rpal_disabled`).
    Disabled,
    /// The CPU lacks FSGSBASE, or protection keys where they were asked for; or
    /// the kernel had no memory for the gate when it booted.
    CpuLacks,
    /// Any other error.
    Os(Errno),
}

impl From<Errno> for ArmError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOSYS => Self::NoRpal,
            Errno::PERM => Self::Disabled,
            Errno::OPNOTSUPP => Self::CpuLacks,
            other => Self::Os(other),
        }
    }
}

impl fmt::Display for ArmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRpal => f.write_str("the kernel does not have RPAL"),
            Self::Disabled => f.write_str("arming is refused (sysctl kernel.rpal_disabled)"),
            Self::CpuLacks => f.write_str("the CPU lacks FSGSBASE or protection keys"),
            Self::Os(errno) => errno.fmt(f),
        }
    }
}

impl std::error::Error for ArmError {}

/// Why a program could not be executed as a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecError {
    /// The calling thread could not be armed.
    Arm(ArmError),
    /// The program is not a 64-bit position-independent executable (build it
    /// as PIE), or the CPU lacks what a service needs.
    NotPlaceable,
    /// The program is setuid, setgid or has file capabilities, or the system
    /// refuses to execute it for another reason of permission.
    NotPermitted,
    /// All slots are taken.
    NoSlot,
    /// The user has as many services as one may have: half of the slots that
    /// other users have left. Or more processes than `RLIMIT_NPROC` allows,
    /// since another user's became this one's.
    TooMany,
    /// Any other error of `execve(2)`.
    Os(Errno),
}

impl ExecError {
    fn exec(errno: Errno) -> Self {
        match errno {
            Errno::OPNOTSUPP => Self::NotPlaceable,
            Errno::PERM => Self::NotPermitted,
            Errno::NOSPC => Self::NoSlot,
            Errno::AGAIN => Self::TooMany,
            other => Self::Os(other),
        }
    }
}

impl fmt::Display for ExecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arm(error) => error.fmt(f),
            Self::NotPlaceable => {
                f.write_str("not a 64-bit position-independent executable, cannot be placed")
            }
            Self::NotPermitted => f.write_str("not permitted (a service cannot be setuid)"),
            Self::NoSlot => f.write_str("no slot is free"),
            Self::TooMany => f.write_str("the user has too many services"),
            Self::Os(errno) => errno.fmt(f),
        }
    }
}

impl std::error::Error for ExecError {}

/// Replaces this process by `command`, as a service. Returns only if that
/// failed; the calling thread is then no longer armed.
///
/// ```no_run
/// use std::process::Command;
///
/// let error = rpal::arm_and_exec(&mut Command::new("server"), rpal::Protection::Keys);
/// eprintln!("server: {error}");
/// ```
#[must_use = "it returns only when it failed"]
pub fn arm_and_exec(command: &mut Command, protection: Protection) -> ExecError {
    if let Err(errno) = call::arm(protection.flags()) {
        return ExecError::Arm(errno.into());
    }
    let error = Errno::from(command.exec());
    // Otherwise a later, unrelated exec of this thread would be placed. It
    // cannot fail: disarming is never refused.
    let _ = call::arm(RPAL_ARM_DISARM);
    ExecError::exec(error)
}

/// Makes every child that `command` spawns from now on a service.
///
/// Spawning fails with the error number of `rpal_arm(2)` or `execve(2)`:
/// `EOPNOTSUPP` where the program cannot be placed, for example.
///
/// ```no_run
/// use std::process::Command;
///
/// let child = rpal::arm_child(&mut Command::new("server"), rpal::Protection::Keys).spawn()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn arm_child(command: &mut Command, protection: Protection) -> &mut Command {
    let flags = protection.flags();
    // SAFETY: the closure makes one system call on memory of its own stack
    // frame; it does not allocate, take a lock or touch anything that another
    // thread of the forked process could have left half-changed.
    unsafe { command.pre_exec(move || Ok(call::arm(flags)?)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exec_errors_have_their_documented_numbers() {
        assert_eq!(ExecError::exec(Errno::OPNOTSUPP), ExecError::NotPlaceable);
        assert_eq!(ExecError::exec(Errno::PERM), ExecError::NotPermitted);
        assert_eq!(ExecError::exec(Errno::NOSPC), ExecError::NoSlot);
        assert_eq!(ExecError::exec(Errno::AGAIN), ExecError::TooMany);
        assert_eq!(ExecError::exec(Errno::NOENT), ExecError::Os(Errno::NOENT));
    }

    #[test]
    fn without_the_kernel_part_nothing_is_executed() {
        if call::service() != Err(Errno::NOSYS) {
            return;
        }
        let error = arm_and_exec(&mut Command::new("/nonexistent"), Protection::Keys);
        assert_eq!(error, ExecError::Arm(ArmError::NoRpal));
        let error = arm_child(&mut Command::new("/bin/true"), Protection::None)
            .spawn()
            .expect_err("arming fails in the child");
        assert_eq!(Errno::from(error), Errno::NOSYS);
    }
}
