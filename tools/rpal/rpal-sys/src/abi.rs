// SPDX-License-Identifier: MIT OR Apache-2.0

//! Structures and constants of `<linux/rpal.h>`, under its names.
//!
//! Each structure is passed with its size. A new one is all zeros by
//! [`Default`], which is what the kernel asks of every field that is not set
//! on purpose.

use core::mem::{offset_of, size_of};

/// log2 of the size of a slot in bytes.
pub const RPAL_SLOT_SHIFT: u32 = 39;
/// Size of a slot in bytes.
pub const RPAL_SLOT_SIZE: u64 = 1 << RPAL_SLOT_SHIFT;
/// Number of the first slot.
pub const RPAL_SLOT_FIRST: u32 = 1;
/// Number of the last slot.
pub const RPAL_SLOT_LAST: u32 = 254;

/// Most threads that one service can have registered at a time.
pub const RPAL_MAX_THREADS: u32 = 256;

/// Arm without protection keys: the service's memory is then open to every
/// service it attaches to, at any time.
pub const RPAL_ARM_UNPROTECTED: u64 = 1 << 0;
/// Take an earlier arm back.
pub const RPAL_ARM_DISARM: u64 = 1 << 1;

/// Size of the first version of [`rpal_arm`].
pub const RPAL_ARM_SIZE_VER0: usize = 16;
/// Size of the first version of [`rpal_service`].
pub const RPAL_SERVICE_SIZE_VER0: usize = 72;
/// Size of the first version of [`rpal_attach`].
pub const RPAL_ATTACH_SIZE_VER0: usize = 32;
/// Size of the first version of [`rpal_thread`].
pub const RPAL_THREAD_SIZE_VER0: usize = 24;

/// Open a service descriptor.
pub const RPAL_SERVICE_FD: u64 = 1 << 0;

/// The service runs without protection keys.
pub const RPAL_MODE_UNPROTECTED: u32 = 1 << 0;

/// Unregister the calling thread.
pub const RPAL_THREAD_UNREGISTER: u64 = 1 << 0;
/// Look at the deadline in the calling thread's control block.
pub const RPAL_THREAD_WATCH: u64 = 1 << 1;

/// Lease word: parked, may be claimed.
pub const RPAL_WORD_READY: u32 = 1 << 0;
/// Lease word: claimed by the borrower.
pub const RPAL_WORD_LENT: u32 = 1 << 1;
/// Lease word: the receiver wants its context back.
pub const RPAL_WORD_WANTED: u32 = 1 << 2;
/// Lease word: an event waits, or the kernel has to be asked.
pub const RPAL_WORD_EVENT: u32 = 1 << 3;
/// Lease word: not parked, and the thread's own calls begin in the kernel.
pub const RPAL_WORD_AWAY: u32 = 1 << 4;
/// Lease word: lowest bit of the borrower's thread index (8 bits).
pub const RPAL_WORD_INDEX_SHIFT: u32 = 8;
/// Lease word: lowest bit of the borrower's slot number (8 bits).
pub const RPAL_WORD_SLOT_SHIFT: u32 = 16;
/// Lease word: lowest bit of the sequence number (32 bits).
pub const RPAL_WORD_SEQ_SHIFT: u32 = 32;

/// Size of a control block in bytes.
pub const RPAL_CTL_SIZE: usize = 256;

/// [`rpal_wait`](crate::gate::GateWait), timeout: sleep without a limit.
pub const RPAL_WAIT_FOREVER: u64 = !0;

/// [`rpal_wait`](crate::gate::GateWait), descriptor: wait for nothing but calls.
pub const RPAL_WAIT_NO_FD: i32 = -1;

/// Argument of `rpal_arm(2)`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct rpal_arm {
    /// `RPAL_ARM_*`.
    pub flags: u64,
    /// Zero.
    pub reserved: u64,
}

/// Argument of `rpal_service(2)`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct rpal_service {
    /// In: `RPAL_SERVICE_*`.
    pub flags: u64,
    /// Out: service descriptor (close-on-exec), or -1.
    pub fd: i32,
    /// Out: slot number.
    pub slot: u32,
    /// Out: protection key of the slot's memory, 0 in unprotected mode.
    pub pkey: u32,
    /// Out: PKRU that the service's threads start with.
    pub pkru: u32,
    /// Out: `RPAL_MODE_*`.
    pub mode: u32,
    /// Out: how many threads may be registered at a time.
    pub max_threads: u32,
    /// Out: first address of the slot.
    pub slot_start: u64,
    /// Out: address of control block 0.
    pub ctl_start: u64,
    /// Out: address of the gate's call entry.
    pub gate_call: u64,
    /// Out: address of the gate's wait entry.
    pub gate_wait: u64,
    /// Out: address of the gate's recoverable copy.
    pub gate_copy: u64,
}

/// Argument of `rpal_attach(2)`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct rpal_attach {
    /// In: zero.
    pub flags: u64,
    /// Out: the peer's slot number.
    pub slot: u32,
    /// Out: the peer's protection key.
    pub pkey: u32,
    /// Out: first address of the peer's slot, in every service.
    pub slot_start: u64,
    /// Out: address of the peer's control block 0.
    pub ctl_start: u64,
}

/// Argument of `rpal_thread(2)`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct rpal_thread {
    /// In: `RPAL_THREAD_*`.
    pub flags: u64,
    /// Out: address of the thread's control block.
    pub ctl: u64,
    /// Out: the thread's index in its service.
    pub index: u32,
    /// Zero.
    pub reserved: u32,
}

/// One thread's control block, shared by the thread, its peers and the kernel.
///
/// User mode changes it through the gate only. A library has no business in
/// here but with `deadline` and `watch`; the rest of this mirror is for debuggers
/// and tests.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct rpal_ctl {
    /// Lease word.
    pub word: u64,
    /// Control block that this thread, as caller, is claiming or holds.
    pub claim: u64,
    /// FS base of the parked receiver, or of the registered caller.
    pub fsbase: u64,
    /// Parked receiver: stack pointer that a call starts with.
    pub entry_sp: u64,
    /// Parked receiver: function that a call runs.
    pub entry_ip: u64,
    /// Parked receiver: first argument of that function.
    pub cookie: u64,
    /// Parked receiver: MXCSR in the low half, x87 control word above it.
    pub fpcw: u64,
    /// The thread's own PKRU.
    pub pkru: u32,
    /// Low half of the lease word when this thread is the borrower.
    pub lent: u32,
    /// What a claim adds to the word.
    pub claim_delta: u64,
    /// What a release adds to the word.
    pub release_delta: u64,
    /// Caller: stack pointer to come back to.
    pub saved_sp: u64,
    /// Parked receiver: control block of the borrower.
    pub caller: u64,
    /// Caller: `CLOCK_MONOTONIC` time, in nanoseconds, at which its call fails
    /// with `ETIMEDOUT`; 0: never.
    pub deadline: u64,
    /// The kernel looks at `deadline`; see [`RPAL_THREAD_WATCH`].
    pub watch: u32,
    /// Zero.
    pub reserved0: u32,
    /// Zero.
    pub reserved: [u64; 18],
}

const _: () = assert!(size_of::<rpal_arm>() == RPAL_ARM_SIZE_VER0);
const _: () = assert!(size_of::<rpal_service>() == RPAL_SERVICE_SIZE_VER0);
const _: () = assert!(size_of::<rpal_attach>() == RPAL_ATTACH_SIZE_VER0);
const _: () = assert!(size_of::<rpal_thread>() == RPAL_THREAD_SIZE_VER0);
const _: () = assert!(size_of::<rpal_ctl>() == RPAL_CTL_SIZE);

const _: () = assert!(offset_of!(rpal_service, fd) == 8);
const _: () = assert!(offset_of!(rpal_service, slot_start) == 32);
const _: () = assert!(offset_of!(rpal_service, gate_copy) == 64);
const _: () = assert!(offset_of!(rpal_attach, slot_start) == 16);
const _: () = assert!(offset_of!(rpal_thread, ctl) == 8);
const _: () = assert!(offset_of!(rpal_ctl, pkru) == 56);
const _: () = assert!(offset_of!(rpal_ctl, caller) == 88);
const _: () = assert!(offset_of!(rpal_ctl, watch) == 104);
