// SPDX-License-Identifier: MIT OR Apache-2.0

//! The system calls.
//!
//! Only those that a program makes itself have a function here. The others
//! are made by the gate; their numbers are given for tests and tracers.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::abi::{
    rpal_arm, rpal_attach, rpal_service, rpal_thread, RPAL_SERVICE_FD, RPAL_THREAD_UNREGISTER,
    RPAL_THREAD_WATCH,
};
use crate::Errno;

/// Number of `rpal_arm(2)`.
pub const NR_RPAL_ARM: libc::c_long = 473;
/// Number of `rpal_service(2)`.
pub const NR_RPAL_SERVICE: libc::c_long = 474;
/// Number of `rpal_attach(2)`.
pub const NR_RPAL_ATTACH: libc::c_long = 475;
/// Number of `rpal_detach(2)`.
pub const NR_RPAL_DETACH: libc::c_long = 476;
/// Number of `rpal_thread(2)`.
pub const NR_RPAL_THREAD: libc::c_long = 477;
/// Number of `rpal_wait(2)`, made by the gate.
pub const NR_RPAL_WAIT: libc::c_long = 478;
/// Number of `rpal_call(2)`, made by the gate.
pub const NR_RPAL_CALL: libc::c_long = 479;
/// Number of `rpal_await(2)`, made by the gate.
pub const NR_RPAL_AWAIT: libc::c_long = 480;
/// Number of `rpal_reply(2)`, made by the gate.
pub const NR_RPAL_REPLY: libc::c_long = 481;
/// Number of `rpal_release(2)`, made by the gate.
pub const NR_RPAL_RELEASE: libc::c_long = 482;

/// Turns the C library's answer into a result.
fn check(ret: libc::c_long) -> Result<(), Errno> {
    if ret < 0 {
        Err(Errno::last())
    } else {
        Ok(())
    }
}

/// Arms the calling thread: its next successful `execve(2)` puts the new image
/// into a slot. With `RPAL_ARM_DISARM`, takes that back.
///
/// Makes no allocation and takes no lock, so it may be called between fork and
/// exec.
///
/// # Errors
///
/// `EINVAL` unknown flags, `EPERM` the administrator refuses arming,
/// `EOPNOTSUPP` the CPU lacks FSGSBASE or protection keys, or the kernel had no
/// memory for the gate, `ENOSYS` the kernel lacks RPAL.
pub fn arm(flags: u64) -> Result<(), Errno> {
    let argument = rpal_arm { flags, reserved: 0 };
    // SAFETY: the kernel reads exactly `size_of` bytes at the pointer, which
    // `argument` holds, and writes none.
    check(unsafe { libc::syscall(NR_RPAL_ARM, &raw const argument, size_of::<rpal_arm>()) })
}

/// The facts of the caller's own service.
///
/// # Errors
///
/// `ENXIO` the caller is not in a service, `ENOSYS` the kernel lacks RPAL.
pub fn service() -> Result<rpal_service, Errno> {
    let mut argument = rpal_service::default();
    // SAFETY: the kernel reads and writes at most `size_of` bytes at the
    // pointer, and every bit pattern is a valid `rpal_service`.
    check(unsafe {
        libc::syscall(
            NR_RPAL_SERVICE,
            &raw mut argument,
            size_of::<rpal_service>(),
        )
    })?;
    Ok(argument)
}

/// Opens a descriptor of the caller's own service, close-on-exec. Passing it
/// to another service is consent to be attached by it.
///
/// # Errors
///
/// As [`service`]; `EMFILE` and `ENFILE` too many open files.
pub fn service_fd() -> Result<OwnedFd, Errno> {
    let mut argument = rpal_service {
        flags: RPAL_SERVICE_FD,
        ..rpal_service::default()
    };
    // SAFETY: as in `service`.
    check(unsafe {
        libc::syscall(
            NR_RPAL_SERVICE,
            &raw mut argument,
            size_of::<rpal_service>(),
        )
    })?;
    // SAFETY: the call succeeded with `RPAL_SERVICE_FD`, so `fd` is a new open
    // descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(argument.fd) })
}

/// Attaches the service `peer`: its slot appears in the caller's address space.
///
/// # Errors
///
/// `EBADF` not a service descriptor, `ENXIO` the caller is not in a service,
/// `EINVAL` the caller's own service, `EEXIST` attached already, `EPERM`
/// credentials or restrictions differ, of the peer or of one of its registered
/// threads, `EKEYREJECTED` both have the same key and not both are unprotected,
/// `EOWNERDEAD` the peer is dead, `EBUSY` something is mapped at that slot,
/// `EUSERS` 64 other services have attached the peer, `ENOMEM`.
pub fn attach(peer: BorrowedFd<'_>) -> Result<rpal_attach, Errno> {
    let mut argument = rpal_attach::default();
    // SAFETY: the kernel reads and writes at most `size_of` bytes at the
    // pointer, and every bit pattern is a valid `rpal_attach`. The window that
    // it maps lies in a slot where nothing was mapped.
    check(unsafe {
        libc::syscall(
            NR_RPAL_ATTACH,
            peer.as_raw_fd(),
            &raw mut argument,
            size_of::<rpal_attach>(),
        )
    })?;
    Ok(argument)
}

/// Removes the window onto the service `peer`. Calls that are under way through
/// it are handed over to the receivers first, which finish them.
///
/// # Errors
///
/// `EBADF` not a service descriptor, `ENXIO` the caller is not in a service,
/// `ENOTCONN` not attached, or the peer has ended.
///
/// # Safety
///
/// Nothing in this process refers to memory of that peer any more.
pub unsafe fn detach(peer: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: passes an open descriptor; the caller vouches for the memory.
    check(unsafe { libc::syscall(NR_RPAL_DETACH, peer.as_raw_fd()) })
}

/// Registers the calling thread.
///
/// A registered thread has left rseq: `sched_getcpu(3)` asks the kernel each
/// time.
///
/// # Errors
///
/// `ENXIO` the caller is not in a service, `EEXIST` registered already,
/// `ENOSPC` too many threads, `EINVAL` the FS base is outside the slot or the GS
/// base is not zero, `EBUSY` the FS base is another registered thread's, or the
/// thread is traced, `EOPNOTSUPP` it has state that the gate does not switch (a
/// shadow stack, AMX tiles, I/O ports, user dispatch of system calls, an LDT of the
/// process), or its scheduling class is `SCHED_IDLE` or `SCHED_DEADLINE`, `ENOMEM`.
pub fn register() -> Result<rpal_thread, Errno> {
    thread(0)
}

/// Makes the kernel look at the deadline in the calling thread's control block.
///
/// # Errors
///
/// `ENXIO` the caller is not in a service, `ENOENT` not registered.
pub fn watch() -> Result<(), Errno> {
    thread(RPAL_THREAD_WATCH).map(drop)
}

/// Takes the calling thread's registration back.
///
/// # Errors
///
/// `ENXIO` the caller is not in a service, `ENOENT` not registered.
///
/// # Safety
///
/// The thread goes through the gate with its control block no more, is in no call
/// that it makes or that is made to it, and no call that it has made is under way
/// with memory that will be something else: the block may be another thread's at
/// once, and nobody takes a borrowed context back from a thread that is not
/// registered.
pub unsafe fn unregister() -> Result<(), Errno> {
    thread(RPAL_THREAD_UNREGISTER).map(drop)
}

fn thread(flags: u64) -> Result<rpal_thread, Errno> {
    let mut argument = rpal_thread {
        flags,
        ..rpal_thread::default()
    };
    // SAFETY: the kernel reads and writes at most `size_of` bytes at the
    // pointer, and every bit pattern is a valid `rpal_thread`.
    check(unsafe { libc::syscall(NR_RPAL_THREAD, &raw mut argument, size_of::<rpal_thread>()) })?;
    Ok(argument)
}
