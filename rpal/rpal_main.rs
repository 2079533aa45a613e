// SPDX-License-Identifier: GPL-2.0

//! RPAL: Run Process As Library.
//!
//! A *service* is a process that lives in a *slot* of the address space and has a protection key.
//! Services that attach to each other see the other's slot through a *window*. A *receiver*
//! parks; a *caller* enters the *gate* and runs the receiver's user context, without the kernel.
//! When such a borrowed context needs the kernel, it is *handed over* to the receiver's task.
//!
//! Lock order: `rpal/registry.rs`. Design: `Documentation/arch/x86/rpal.rst`.

#![crate_name = "rpal"]

use kernel::{
    debugfs::Dir,
    prelude::*, //
};

mod arch;
mod call;
mod change;
mod ctl;
mod deadline;
mod descriptor;
mod dispatch;
mod entry;
mod exec;
mod exit_loop;
mod fault;
mod gate;
mod handover;
mod keys;
mod label;
mod lease;
mod lease_outcome;
mod lease_word;
mod listing;
mod meaning;
mod park;
mod placement;
mod registry;
mod service;
mod slots;
mod special;
mod stats;
mod task;
mod thread;
mod ticket;
mod trust;
mod uapi;
mod wait;
mod window;

module! {
    type: Rpal,
    name: "rpal",
    authors: ["The RPAL authors"],
    description: "Run Process As Library",
    license: "GPL",
}

/// The sysctl `kernel.rpal_disabled`: refuses arming.
fn disabled() -> bool {
    extern "C" {
        static rpal_disabled: kernel::ffi::c_int;
    }
    // SAFETY: an int that the sysctl code writes; any value read is one that was written.
    unsafe { core::ptr::addr_of!(rpal_disabled).read_volatile() != 0 }
}

#[pin_data]
struct Rpal {
    #[pin]
    listing: listing::Listing,
}

impl kernel::InPlaceModule for Rpal {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        // SAFETY: once, before a task can be armed: the gate, which arming needs, comes later.
        unsafe { registry::REGISTRY.init() };
        let ready = gate::init();
        let dir = Dir::new(c"rpal");
        try_pin_init!(Self {
            listing <- {
                ready?;
                listing::Listing::new(&dir)
            },
        })
    }
}
