// SPDX-License-Identifier: MIT OR Apache-2.0

//! Types of the gate's entry points.
//!
//! The gate is one page of kernel-supplied code, at the same address in every
//! service; `rpal_service(2)` tells the address of each entry. All of them
//! follow the C calling convention. They stand for the system calls
//! `rpal_wait`, `rpal_call`, `rpal_await`, `rpal_reply` and `rpal_release`,
//! which the kernel accepts from the gate's own instructions only.

use core::ffi::{c_int, c_long, c_void};

use crate::abi::{rpal_ctl, rpal_service};

/// A receiver's function: what a call runs in the receiver's context.
///
/// Gets the cookie that the receiver parked with and the caller's four
/// arguments. It must return zero or more, and must not unwind.
pub type Entry =
    unsafe extern "C" fn(cookie: *mut c_void, a0: u64, a1: u64, a2: u64, a3: u64) -> c_long;

/// Calls the receiver `peer` from the registered thread `own`.
///
/// Returns the receiver's result, or a negated errno: `EPIPE` the receiver
/// died, `ENOTCONN` not attached, `ESRCH` no thread at that control block,
/// `ESTALE` the receiver had its context back while the caller ran it, `EFAULT` the
/// context is lost, `EKEYREVOKED` the caller is not who it was when it attached,
/// `ENOBUFS` no memory to make the call, `EPROTO` the function returned a negative
/// value on its own task, `ENXIO` `own` is not registered. A negative value that the
/// function returned in the caller's task comes back as it is.
///
/// After `ETIMEDOUT` (the deadline in `own` has passed), `ENOMEM` and `EINVAL` (more
/// than 64 unfinished calls) the receiver may be at work on the call, and use what it
/// was given, for any time.
pub type GateCall = unsafe extern "C" fn(
    peer: *mut rpal_ctl,
    own: *mut rpal_ctl,
    a0: u64,
    a1: u64,
    a2: u64,
    a3: u64,
) -> c_long;

/// Parks the registered thread `own` as a receiver; calls run `entry` on its
/// stack, below the frame of the function that called the gate.
///
/// Returns 0 when the descriptor `fd` is readable or in error
/// ([`RPAL_WAIT_NO_FD`](crate::abi::RPAL_WAIT_NO_FD): there is none), or a
/// negated errno: `EINTR` a signal was handled, `ETIMEDOUT` the time
/// (nanoseconds) is up, `ENXIO` the thread is not registered, `EBADF` there is no
/// `fd`, `EPERM` it cannot be polled, `ENOMEM` no memory to wait for it, `EINVAL` the
/// FS base is not that of the registration.
pub type GateWait = unsafe extern "C" fn(
    own: *mut rpal_ctl,
    entry: Entry,
    cookie: *mut c_void,
    timeout_ns: u64,
    fd: c_int,
) -> c_long;

/// Copies `len` bytes, of which both ends may be in a peer's memory. Returns
/// 0, or a negated `EFAULT` where an ordinary copy would get a signal; then
/// the destination is partly written.
pub type GateCopy = unsafe extern "C" fn(dst: *mut c_void, src: *const c_void, len: u64) -> c_long;

/// The gate's entry points.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    /// Calls a receiver.
    pub call: GateCall,
    /// Parks as a receiver.
    pub wait: GateWait,
    /// Copies from and to a peer's memory.
    pub copy: GateCopy,
}

impl Gate {
    /// The gate that `service` describes, or `None` where an address in it is
    /// zero.
    ///
    /// # Safety
    ///
    /// `service` was filled in by a successful `rpal_service(2)` of this
    /// process image.
    #[must_use]
    pub unsafe fn new(service: &rpal_service) -> Option<Self> {
        // SAFETY: each `Option<fn>` is a nullable address of the same size,
        // and the addresses are those of functions of these types, by the
        // contract of `rpal_service(2)`; the gate page is never unmapped.
        unsafe {
            Some(Self {
                call: core::mem::transmute::<u64, Option<GateCall>>(service.gate_call)?,
                wait: core::mem::transmute::<u64, Option<GateWait>>(service.gate_wait)?,
                copy: core::mem::transmute::<u64, Option<GateCopy>>(service.gate_copy)?,
            })
        }
    }
}
