// SPDX-License-Identifier: GPL-2.0

//! What all tasks share: the kernel's side, its lock, and the environment.

use super::ghost::Watch;
use super::setup::{Act, Coverage, Mutant, Setup};
use super::word::ModelWord;
use crate::lease::Lease;
use crate::lease_word::{self as word, Owner};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize as LoomUsize, Ordering};
use loom::sync::{Condvar, Mutex, MutexGuard};
use std::ops::{Deref, DerefMut};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ticket {
    None,
    Open,
    Done,
    Failed,
}

/// What the receiver's lock protects. Here also its signals and its being woken, which the kernel
/// has elsewhere; how a task goes to sleep is not what is explored.
pub(super) struct Kernel {
    pub(super) lease: Lease,
    pub(super) woken: bool,
    pub(super) signal: bool,
    pub(super) event: bool,
    pub(super) fatal: bool,
    /// Callers may have the context in user mode.
    pub(super) lend: bool,
    /// All callers are through.
    pub(super) stop: bool,
    pub(super) reply_to: Option<usize>,
    pub(super) tickets: [Ticket; 2],
}

pub(super) struct World {
    pub(super) setup: Setup,
    pub(super) word: ModelWord,
    pub(super) kernel: Mutex<Kernel>,
    pub(super) receiver_wakes: Condvar,
    pub(super) callers_wake: Condvar,
    /// By caller: it has to pass the hook before its next user instruction.
    pub(super) kicks: [AtomicBool; 2],
    /// How many callers are through.
    pub(super) finished: LoomUsize,
    /// The receiver's user context.
    pub(super) context: UnsafeCell<u32>,
    pub(super) watch: Watch,
    pub(super) coverage: &'static Coverage,
}

/// The receiver's lock.
pub(super) struct Held<'a> {
    pub(super) world: &'a World,
    pub(super) guard: Option<MutexGuard<'a, Kernel>>,
}

impl Held<'_> {
    /// The lock is about to be dropped: what holds between critical sections?
    pub(super) fn settle(&self) {
        let (state, pending) = (self.lease.state(), self.signal || self.event || self.stop);
        let woken = self.woken;
        self.world.watch.note(|g| {
            g.state = state;
            g.pending = pending;
            g.asleep &= !woken;
            g.locked = false;
        });
    }

    /// Drops the lock, sleeps until somebody calls, takes it again.
    pub(super) fn wait_once(mut self, on: &Condvar) -> Self {
        self.settle();
        let guard = self.guard.take().unwrap();
        self.guard = Some(on.wait(guard).unwrap());
        self.world.watch.note(|g| g.locked = true);
        self
    }

    pub(super) fn wake_receiver(&mut self) {
        self.woken = true;
        self.world.receiver_wakes.notify_one();
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.guard.is_some() {
            self.settle();
        }
    }
}

impl Deref for Held<'_> {
    type Target = Kernel;
    fn deref(&self) -> &Kernel {
        self.guard.as_ref().unwrap()
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Kernel {
        self.guard.as_mut().unwrap()
    }
}

pub(super) fn owner(i: usize) -> Owner {
    Owner::new(1 + u8::try_from(i).unwrap(), 0).unwrap()
}

impl World {
    pub(super) fn new(setup: Setup, watch: Watch, coverage: &'static Coverage) -> Self {
        Self {
            setup,
            word: ModelWord {
                value: AtomicU64::new(word::OFF),
                watch: watch.clone(),
                mutant: setup.mutant,
            },
            kernel: Mutex::new(Kernel {
                lease: Lease::new(),
                woken: false,
                signal: false,
                event: false,
                fatal: false,
                lend: true,
                stop: false,
                reply_to: None,
                tickets: [Ticket::None; 2],
            }),
            receiver_wakes: Condvar::new(),
            callers_wake: Condvar::new(),
            kicks: [AtomicBool::new(false), AtomicBool::new(false)],
            finished: LoomUsize::new(0),
            context: UnsafeCell::new(0),
            watch,
            coverage,
        }
    }

    pub(super) fn lock(&self) -> Held<'_> {
        let guard = Some(self.kernel.lock().unwrap());
        self.watch.note(|g| g.locked = true);
        Held { world: self, guard }
    }

    pub(super) fn is(&self, mutant: Mutant) -> bool {
        self.setup.mutant == Some(mutant)
    }

    /// Uses the receiver's context. loom checks that nobody else does.
    pub(super) fn touch_context(&self) {
        // SAFETY: `Ghost::check` and loom's own check are there to find out whether this is true.
        self.context.with_mut(|c| unsafe { *c += 1 });
    }

    /// A read-modify-write: loom may order a mere store before what others did earlier.
    pub(super) fn kick(&self, i: usize) {
        self.kicks[i].fetch_or(true, Ordering::AcqRel);
    }

    pub(super) fn act(&self, act: Act) {
        if let Act::Kick(i) = act {
            return self.kick(i);
        }
        let mut k = self.lock();
        match act {
            Act::Signal => k.signal = true,
            Act::Event => k.event = true,
            Act::Withhold => {
                k.lend = false;
                k.lease.withhold(&self.word);
                self.watch.note(|g| g.withheld = true);
                // The receiver has nothing to do with it.
                return;
            }
            Act::Kill | Act::Kick(_) => k.fatal = true,
        }
        k.wake_receiver();
    }
}
