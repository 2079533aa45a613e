// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which CPUs a task may run on.
//!
//! # Unsafe code
//!
//! Two system calls and the C library's set of CPUs.

#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, zeroed};

/// Most CPUs that a `cpu_set_t` can name.
const MAX_CPUS: usize = 8 * size_of::<libc::cpu_set_t>();

/// Keeps the calling thread, and those it starts from now on, on one CPU.
///
/// # Errors
///
/// `EINVAL` if there is no such CPU.
pub fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= MAX_CPUS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: all zeros is the empty set, and `cpu` is within it.
    let set = unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        libc::CPU_SET(cpu, &mut set);
        set
    };
    // SAFETY: the kernel reads `size_of` bytes at the pointer.
    let ret = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    if ret == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The CPUs that task `tid` may run on; the calling thread's if it is zero.
///
/// # Errors
///
/// `ESRCH` if there is no such task.
pub fn allowed(tid: u32) -> io::Result<Vec<usize>> {
    let tid = libc::pid_t::try_from(tid).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    // SAFETY: the kernel writes at most `size_of` bytes at the pointer, and
    // any bit pattern is a set.
    let ret = unsafe { libc::sched_getaffinity(tid, size_of::<libc::cpu_set_t>(), &raw mut set) };
    if ret != 0 {
        return Err(io::Error::last_os_error());
    }
    let is_allowed = |cpu: &usize| {
        // SAFETY: every number asked for below is within the set.
        unsafe { libc::CPU_ISSET(*cpu, &set) }
    };
    Ok((0..MAX_CPUS).filter(is_allowed).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_is_allowed_one_cpu() {
        let cpu = allowed(0).unwrap()[0];
        std::thread::spawn(move || {
            pin(cpu).unwrap();
            assert_eq!(allowed(0).unwrap(), [cpu]);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_cpu_that_is_not_there_is_an_error() {
        assert!(pin(MAX_CPUS).is_err());
        assert!(pin(MAX_CPUS - 1).is_err());
    }
}
