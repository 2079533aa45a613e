// SPDX-License-Identifier: GPL-2.0

//! The situation as nobody inside it can see it, and what must be true of it.

use crate::lease::State;
use crate::lease_word as word;
use std::sync::{Arc as PlainArc, Mutex as PlainMutex, MutexGuard as PlainGuard, PoisonError};

/// The situation, as nobody inside it can see it.
pub(super) struct Ghost {
    /// The newest value of the word.
    pub(super) word: u64,
    /// The kernel's state when the lock was last dropped.
    pub(super) state: State,
    pub(super) locked: bool,
    /// The receiver's own task runs its context.
    pub(super) native: bool,
    /// By caller: the receiver is dying and no instruction of this caller's may run in it.
    pub(super) evicted: [bool; 2],
    /// The receiver sleeps and has not been woken.
    pub(super) asleep: bool,
    /// There is a signal or an event that the receiver has not dealt with.
    pub(super) pending: bool,
    /// The receiver's context is not to be claimed any more.
    pub(super) withheld: bool,
    /// By caller: it has claimed the receiver's context and has not given it back.
    pub(super) inside: [bool; 2],
}

impl Ghost {
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let ready = word::is_ready(self.word);
        let holds = |(inside, evicted): &(&bool, &bool)| **inside && !**evicted;
        let inside = self.inside.iter().zip(&self.evicted).filter(holds).count();
        if inside > 1 {
            return Err("two callers in one context");
        }
        if inside > 0 && self.native {
            return Err("receiver native with a caller in its context");
        }
        if self.locked {
            // The kernel may be half-way through a transition.
            return Ok(());
        }
        if ready && inside > 0 {
            return Err("READY with a caller in the context");
        }
        if ready && !matches!(self.state, State::Parked | State::Wanted) {
            return Err("READY but not parked");
        }
        if self.withheld && word::is_claimable(self.word) {
            return Err("claimable though withheld");
        }
        if ready && self.asleep && self.pending {
            return Err("lost wake-up");
        }
        Ok(())
    }
}

/// The ghost state and the first violation, which outlives the exploration.
#[derive(Clone)]
pub(super) struct Watch {
    pub(super) ghost: PlainArc<PlainMutex<Ghost>>,
    pub(super) violation: PlainArc<PlainMutex<Option<&'static str>>>,
}

/// A thread that has panicked leaves plain memory in order: these locks are never held over
/// anything that can fail.
pub(super) fn plain<T>(mutex: &PlainMutex<T>) -> PlainGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    pub(super) fn new(violation: PlainArc<PlainMutex<Option<&'static str>>>) -> Self {
        let ghost = Ghost {
            word: word::OFF,
            state: State::Native,
            locked: false,
            native: true,
            evicted: [false; 2],
            asleep: false,
            pending: false,
            withheld: false,
            inside: [false; 2],
        };
        Self {
            ghost: PlainArc::new(PlainMutex::new(ghost)),
            violation,
        }
    }

    /// Changes the ghost state and looks at the result. A violation is only remembered: a panic
    /// while loom's lock is held would end the process.
    pub(super) fn note(&self, change: impl FnOnce(&mut Ghost)) {
        let mut ghost = plain(&self.ghost);
        change(&mut ghost);
        if let Err(what) = ghost.check() {
            self.fail(what);
        }
    }

    pub(super) fn fail(&self, what: &'static str) {
        plain(&self.violation).get_or_insert(what);
    }

    /// Ends the run if there has been a violation. Not with the lock held.
    pub(super) fn stop_if_failed(&self) {
        if let Some(what) = *plain(&self.violation) {
            panic!("{what}");
        }
    }
}
