// SPDX-License-Identifier: GPL-2.0

//! What a run is about, and what it has shown.

use std::sync::atomic::{AtomicUsize, Ordering as Plain};

/// How a call goes on inside the receiver.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// No system call: nothing but the gate.
    Quick,
    /// A system call in the receiver's code, hence a hand-over.
    SystemCall,
}

/// What the environment does, once, at any time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Signal,
    Event,
    Kill,
    /// The receiver's context is not to be lent any more.
    Withhold,
    /// Work of the caller's own on its way to user mode.
    Kick(usize),
}

/// A known mistake to be found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutant {
    /// The release in user mode is a store.
    PlainStore,
    /// WANTED does not reach the word.
    NoWanted,
    /// EVENT does not reach the word.
    NoEvent,
    /// The receiver dies without evicting the borrower.
    NoEviction,
    /// T6 takes the lease from whoever has it.
    AnyOwner,
    /// The ticket is completed before the receiver parks again.
    TicketFirst,
    /// The claim does not acquire.
    RelaxedClaim,
    /// The release in user mode does not release.
    RelaxedRelease,
    /// The store of READY does not release.
    RelaxedPark,
}

#[derive(Clone, Copy)]
pub(super) struct Setup {
    /// By caller: its calls.
    pub(super) plans: &'static [&'static [Body]],
    pub(super) acts: &'static [Act],
    /// Callers go to the slow path at once, from the second caller on.
    pub(super) slow: bool,
    /// A caller whose claim fails gives up instead of going to the slow path, which keeps the run
    /// short.
    pub(super) give_up: bool,
    /// The first caller is interrupted right after its release.
    pub(super) interrupted: bool,
    /// The receiver has parked before the callers start, else it parks while they do.
    pub(super) parked: bool,
    /// No caller may find the receiver's word other than READY.
    pub(super) prompt: bool,
    pub(super) preemptions: usize,
    pub(super) mutant: Option<Mutant>,
}

pub(super) const PLAIN: Setup = Setup {
    plans: &[],
    acts: &[],
    slow: false,
    give_up: false,
    interrupted: false,
    parked: true,
    prompt: false,
    preemptions: 2,
    mutant: None,
};

/// What happened over all interleavings, to show that the paths in question were taken.
#[derive(Default)]
pub(super) struct Coverage {
    pub(super) runs: AtomicUsize,
    pub(super) fast: AtomicUsize,
    pub(super) handed_over: AtomicUsize,
    pub(super) slow: AtomicUsize,
    pub(super) slow_busy: AtomicUsize,
    pub(super) kernel_release: AtomicUsize,
    pub(super) wanted: AtomicUsize,
    pub(super) noted: AtomicUsize,
    pub(super) evicted: AtomicUsize,
    pub(super) broken_pipe: AtomicUsize,
}

pub(super) fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Plain::Relaxed);
}
