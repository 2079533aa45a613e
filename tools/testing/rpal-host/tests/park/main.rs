// SPDX-License-Identifier: GPL-2.0

//! A receiver that waits for calls and for a descriptor: the sleep loop of the kernel, explored by
//! loom.
//!
//! `rpal/park.rs`, `rpal/wait.rs` and `rpal/call.rs` are the very files of the kernel crate, on top
//! of the very lease protocol. What they use of the kernel is in `shim`, on loom's primitives:
//! tasks with the states in which they sleep, locks, and a file that can be polled. Callers do in
//! `caller` what the gate does in user mode and the hooks in its place. So it is the loop itself
//! that must lose no event and no call, whatever the order in which events, calls, signals, ends
//! of times and death come.
//!
//! This is a crate of its own because those files name their neighbours by `crate::` and
//! `kernel::`: here, both are this one.

// loom runs all tasks on the thread of the test.
#![allow(clippy::arc_with_non_send_sync)]

extern crate self as kernel;

#[path = "../../../../../rpal/call.rs"]
mod call;
// Tests have no need of all transitions.
#[allow(dead_code)]
#[path = "../../../../../rpal/lease.rs"]
mod lease;
#[path = "../../../../../rpal/lease_outcome.rs"]
mod lease_outcome;
#[allow(dead_code)]
#[path = "../../../../../rpal/lease_word.rs"]
mod lease_word;
#[path = "../../../../../rpal/park.rs"]
mod park;
#[path = "../../../../../rpal/wait.rs"]
mod wait;

#[path = "shim/arch.rs"]
mod arch;
#[path = "shim/fs.rs"]
mod fs;
#[path = "shim/kernel.rs"]
mod kernel_shim;
#[path = "shim/stats.rs"]
mod stats;
#[path = "shim/task.rs"]
mod task;
#[path = "shim/thread.rs"]
mod thread;
#[path = "shim/ticket.rs"]
mod ticket;

mod caller;
mod events;
mod receiver;
mod setup;
mod world;

use arch::{deadline, gate, window};
use kernel_shim::{bindings, prelude, sync, time};

/// The current task, as long as the statement lasts.
#[macro_export]
macro_rules! current {
    () => {
        &*$crate::task::current()
    };
}
