// SPDX-License-Identifier: GPL-2.0

//! What a run is about.

use std::cell::Cell;

/// How a call goes on inside the receiver.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// No system call: nothing but the gate.
    Quick,
    /// A system call in the receiver's code, hence a hand-over.
    SystemCall,
    /// The borrower gets no CPU until it is kicked, or an event was told.
    Starving,
    /// The call is made in the kernel.
    Slow,
}

/// What the environment does, once, at any time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// The receiver's descriptor gets ready.
    Event,
    /// As often, sleeps of the receiver last until their time is over.
    Time(usize),
    /// A signal to the receiver, whose handler returns.
    Signal,
    /// A signal to a caller, whose handler returns.
    Interrupt(usize),
    /// Another thread takes away what the descriptor had.
    Steal,
    /// The receiver's context is not to be lent any more.
    Withhold,
    Kill,
    /// Work of the caller's own on its way to user mode.
    Kick(usize),
}

/// A known mistake to be found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// EVENT does not reach the word.
    NoEvent,
    /// The flag that the file has changed is not looked at between the announcement of a sleep and
    /// the sleep.
    NoRecheck,
    /// The flag is cleared behind the look at the file, and not before it.
    ClearLate,
    /// The flag is set behind the wake-up, and not before it.
    WakeFirst,
    /// An event waits for a release, however long it takes.
    NoPatience,
}

#[derive(Clone, Copy)]
pub(crate) struct Setup {
    /// By caller: its calls.
    pub(crate) plans: &'static [&'static [Body]],
    /// By thread of the environment: what it does, in this order.
    pub(crate) acts: &'static [&'static [Act]],
    /// How long the receiver waits for calls, in ms; none: for ever.
    pub(crate) timeout: Option<u64>,
    /// The descriptor is ready from the beginning, and the program never reads what there is.
    pub(crate) always_ready: bool,
    /// Callers begin while the receiver is about to park, and not when it has.
    pub(crate) early: bool,
    pub(crate) preemptions: usize,
    pub(crate) mutant: Option<Mutant>,
}

pub(crate) const PLAIN: Setup = Setup {
    plans: &[],
    acts: &[],
    timeout: None,
    always_ready: false,
    early: false,
    preemptions: 2,
    mutant: None,
};

thread_local! {
    static MUTANT: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Which mistake there is in the worlds of this test, all of which loom runs on its thread.
pub(crate) fn put_in(mutant: Option<Mutant>) {
    MUTANT.set(mutant);
}

pub(crate) fn is(mutant: Mutant) -> bool {
    MUTANT.get() == Some(mutant)
}
