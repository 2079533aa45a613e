// SPDX-License-Identifier: MIT OR Apache-2.0

//! Raw bindings to RPAL (Run Process As Library) for Linux on x86-64.
//!
//! One module per part of the interface:
//!
//! * [`abi`]: the structures and constants of `<linux/rpal.h>`, with their
//!   layout asserted at compile time and checked against the header by a test;
//! * [`call`]: the system calls that a program makes itself;
//! * [`gate`]: the types of the user-mode entry points of the gate page;
//! * [`errno`]: the error type of all of them.
//!
//! The safe interface is the `rpal` crate. Use this one to build another.

#[cfg(not(all(
    target_os = "linux",
    target_arch = "x86_64",
    target_pointer_width = "64"
)))]
compile_error!("RPAL exists for Linux on x86-64 only");

pub mod abi;
pub mod call;
pub mod errno;
pub mod gate;

pub use errno::Errno;
