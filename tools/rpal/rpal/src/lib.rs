// SPDX-License-Identifier: MIT OR Apache-2.0

//! RPAL: run another process as a library.
//!
//! Two programs that were started as *services* attach to each other, and then
//! one calls a function of the other without entering the kernel: the calling
//! thread runs the receiver's code, in the receiver's memory, on the receiver's
//! stack, and comes back with the reply.
//!
//! # Roles
//!
//! * A process becomes a service by being executed by a thread that armed
//!   itself: [`arm_and_exec`], [`arm_child`], or the launcher,
//!   `rpal run -- program`.
//! * The serving side makes a [`Receiver`] from a closure on one thread, or
//!   several on several threads, and lets a [`Listener`] introduce callers to
//!   them over a Unix socket.
//! * The calling side makes a [`Connection`] to that socket and takes a
//!   [`Caller`] from it on each thread that calls.
//!
//! ```no_run
//! // In one program:
//! # fn server() -> Result<(), Box<dyn std::error::Error>> {
//! let upper = rpal::Receiver::spawn(|| {
//!     |request: &[u8], reply: &mut [u8]| {
//!         let reply = reply.get_mut(..request.len()).ok_or(rpal::AppCode(1))?;
//!         reply.copy_from_slice(request);
//!         reply.make_ascii_uppercase();
//!         Ok(reply.len())
//!     }
//! })?;
//! rpal::Listener::bind("/run/upper")?.run(&[upper.address()])?;
//! # Ok(()) }
//!
//! // In the other:
//! # fn client() -> Result<(), Box<dyn std::error::Error>> {
//! let connection = rpal::Connection::connect("/run/upper")?;
//! let mut caller = connection.caller()?;
//! let mut reply = [0; 16];
//! let len = caller.call(b"hello", &mut reply)?;
//! assert_eq!(&reply[..len], b"HELLO");
//! # Ok(()) }
//! ```
//!
//! # Who touches which memory, when
//!
//! | step | reads | writes |
//! | --- | --- | --- |
//! | request | the receiver, once, from the caller's `&[u8]` | its own request buffer |
//! | handler | its own request buffer | its own reply buffer |
//! | reply | its own reply buffer | the receiver, once, to the caller's `&mut [u8]` |
//!
//! The thread that owns the caller's two slices waits in [`Caller::call`] all
//! the while, so the borrow covers every access from the other process. The
//! handler never sees memory that a peer may change under it. The caller never
//! reaches into the receiver's memory at all.
//!
//! [`Caller::call_until`] returns without the receiver if its deadline passes. It
//! therefore gives the receiver buffers of its own, which cost one more copy each
//! way, and does not use them again before the receiver has left them.
//!
//! # What a registered thread may not do
//!
//! A thread that holds a [`Caller`] or a [`Receiver`] is *registered*. It must not
//! change its FS base. The kernel refuses some system calls from it (`EBUSY`):
//! those for FS and GS base, rseq, LDT and the like (`set_thread_area`), I/O ports
//! (`ioperm`, `iopl`), user dispatch of system calls, AMX and shadow stacks. A
//! seccomp filter that the process installs has to allow
//! `rpal_call`, `rpal_await`, `rpal_release`, `rpal_wait` and `rpal_reply`, and a
//! service with other filters, credentials or labels than its peer had when they
//! attached is detached, or served by the receiver's own thread only.
//!
//! # Trust
//!
//! Attaching means what being each other's debugger means. Protection keys stop
//! *accidents*: outside a call, a stray pointer into a peer's memory faults. They
//! do not stop a peer that sets out to do harm, because the instruction that
//! opens them is unprivileged. The guarantees of safe Rust hold as long as the
//! peer keeps to the protocol, and a program should publish its service only
//! to peers that it would let debug it.
//!
//! One gap needs no ill will: a handler that works on for a caller that has died
//! replies to an address. If as many services have begun meanwhile as there were free
//! slots, that may be in one that has the caller's slot and key.
//!
//! # Fork
//!
//! A forked child is in no service. [`Caller`], [`Receiver`], [`Connection`] and
//! [`Listener`] are useless in it, and a call crashes it; the parent is not
//! affected.
//!
//! # rseq
//!
//! A thread that is registered (because it holds a [`Caller`] or a
//! [`Receiver`]) leaves restartable sequences: the C library's
//! `sched_getcpu()` becomes a system call on that thread, and libraries with
//! per-CPU caches built on rseq fall back. That lasts until the thread ends.

#![deny(unsafe_code)]

#[cfg(test)]
mod again;
mod arm;
mod caller;
mod connection;
mod deadline;
mod entry;
mod handshake;
mod late;
mod listener;
mod outcome;
mod receiver;
mod registration;
mod service;
mod socket;
mod tag;
mod window;

pub use rpal_sys::Errno;

pub use arm::{arm_and_exec, arm_child, ArmError, ExecError, Protection};
pub use caller::Caller;
pub use connection::{ConnectError, Connection};
pub use listener::{AcceptError, BindError, ListenError, Listener, Session};
pub use outcome::{AppCode, CallError};
pub use receiver::{Receiver, ReceiverAddress, ReceiverThread, ServeError, SpawnError, Woken};
pub use registration::RegisterError;
pub use service::{Service, ServiceError};
pub use window::AttachError;
