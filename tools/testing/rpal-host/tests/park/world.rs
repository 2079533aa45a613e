// SPDX-License-Identifier: GPL-2.0

//! A receiver, its callers and an environment, and what must be true of them.

use crate::{
    lease::State,
    lease_word as word,
    lease_word::LeaseWord,
    setup::{Act, Body, Setup},
    stats,
    thread::{become_task_of, Thread},
};
use loom::{
    cell::UnsafeCell,
    sync::atomic::{AtomicUsize, Ordering},
};
use std::sync::{
    atomic::Ordering as Plain, Arc, Mutex as PlainMutex, MutexGuard as PlainGuard, PoisonError,
};

/// The most calls of a run.
pub(crate) const CALLS: usize = 4;

/// The situation, as nobody inside can see it.
#[derive(Default)]
struct Ghost {
    /// The receiver's own task runs its context.
    native: bool,
    /// By caller: it has claimed the context and has not given it back.
    inside: [bool; 2],
    dead: bool,
    /// By call: how often it has begun.
    begun: [usize; CALLS],
    /// By call: how often it has come to its end.
    ended: [usize; CALLS],
}

/// The ghost state, the receiver's context, and the first violation, which outlives the run.
#[derive(Clone)]
pub(crate) struct Watch {
    ghost: Arc<PlainMutex<Ghost>>,
    context: Arc<UnsafeCell<u32>>,
    violation: Arc<PlainMutex<Option<&'static str>>>,
}

/// A test that has panicked leaves plain memory in order.
fn plain<T>(mutex: &PlainMutex<T>) -> PlainGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    pub(crate) fn new(violation: Arc<PlainMutex<Option<&'static str>>>) -> Self {
        Self {
            ghost: Arc::default(),
            context: Arc::new(UnsafeCell::new(0)),
            violation,
        }
    }

    fn note(&self, change: impl FnOnce(&mut Ghost)) {
        let mut ghost = plain(&self.ghost);
        change(&mut ghost);
        let inside = ghost.inside.iter().filter(|i| **i).count();
        if inside > 1 {
            self.fail("two callers in one context");
        }
        if inside > 0 && ghost.native {
            self.fail("the receiver is both lent and running");
        }
    }

    /// Only remembers it: a panic with a lock of loom's held would end the process.
    pub(crate) fn fail(&self, what: &'static str) {
        plain(&self.violation).get_or_insert(what);
    }

    pub(crate) fn stop_if_failed(&self) {
        if let Some(what) = *plain(&self.violation) {
            panic!("{what}");
        }
    }

    /// An instruction in the receiver's context. loom checks that it is nobody else's.
    fn touch(&self) {
        // SAFETY: loom's check is there to find out whether this is true.
        self.context.with_mut(|c| unsafe { *c += 1 });
    }

    /// The receiver's task runs its context.
    pub(crate) fn runs(&self) {
        self.note(|g| g.native = true);
        self.touch();
    }

    /// It is about to offer it.
    pub(crate) fn leaves(&self) {
        self.note(|g| g.native = false);
        self.touch();
    }

    pub(crate) fn dies(&self) {
        self.note(|g| (g.dead, g.inside) = (true, [false; 2]));
    }

    pub(crate) fn claimed(&self, i: usize) {
        // Who has claimed a context that is not there any more has it until it passes the hook.
        self.note(|g| g.inside[i] = !g.dead);
    }

    pub(crate) fn gives_back(&self, i: usize) {
        self.note(|g| g.inside[i] = false);
    }

    /// An instruction of a caller's in the receiver's context.
    pub(crate) fn borrows(&self) {
        if plain(&self.ghost).dead {
            self.fail("a caller runs in a dead receiver");
        }
        self.touch();
    }

    /// Call `id` begins, be it in the caller or in the receiver.
    pub(crate) fn begins(&self, id: u64) {
        plain(&self.ghost).begun[id as usize] += 1;
    }

    pub(crate) fn ends(&self, id: u64) {
        plain(&self.ghost).ended[id as usize] += 1;
    }

    /// Call `id` has returned, with an answer or not.
    pub(crate) fn returned(&self, id: u64, answered: bool) {
        let ghost = plain(&self.ghost);
        let ran = (ghost.begun[id as usize], ghost.ended[id as usize]);
        drop(ghost);
        match (answered, ran) {
            (true, (1, 1)) => {}
            (true, (0, _) | (_, 0)) => self.fail("a call was answered and not run"),
            (false, (0, 0) | (1, 0 | 1)) => {}
            _ => self.fail("a call was run twice"),
        }
    }
}

pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) receiver: Arc<Thread>,
    pub(crate) callers: Vec<Arc<Thread>>,
    pub(crate) watch: Watch,
    /// What has yet to happen: ends of callers and of the environment, events that are read.
    pending: AtomicUsize,
}

impl World {
    pub(crate) fn new(setup: Setup, watch: Watch) -> Self {
        let receiver = Thread::new(1, watch.clone());
        let callers: Vec<_> = (2..)
            .take(setup.plans.len())
            .map(|slot| Thread::new(slot, watch.clone()))
            .collect();
        for caller in &callers {
            *caller.service.peers.lock().unwrap() = vec![receiver.clone()];
        }
        receiver.service.peers.lock().unwrap().clone_from(&callers);
        let acts = setup.acts.iter().copied().flatten();
        let events = acts.filter(|a| **a == Act::Event).count();
        Self {
            setup,
            receiver,
            callers,
            watch,
            pending: AtomicUsize::new(setup.plans.len() + setup.acts.len() + events),
        }
    }

    /// Something that had to happen has happened. Was it the last?
    pub(crate) fn happened(&self) -> bool {
        self.pending.fetch_sub(1, Ordering::AcqRel) == 1
    }

    pub(crate) fn is_over(&self) -> bool {
        self.pending.load(Ordering::Acquire) == 0
    }

    /// The same, outside the receiver, which is told by a signal.
    fn happened_elsewhere(&self) {
        if self.happened() {
            self.receiver.task.send_signal();
        }
    }

    pub(crate) fn run_caller(&self, i: usize, first: usize) {
        become_task_of(Some(self.callers[i].clone()));
        for (n, body) in self.setup.plans[i].iter().enumerate() {
            self.call(i, (first + n) as u64, *body);
            self.watch.stop_if_failed();
        }
        self.happened_elsewhere();
        become_task_of(None);
    }

    pub(crate) fn run_acts(&self, acts: &[Act]) {
        for act in acts {
            match act {
                Act::Event => {
                    if self.receiver.file.write() {
                        self.happened_elsewhere();
                    }
                }
                Act::Time(times) => self.receiver.task.let_time_pass(*times),
                Act::Signal => self.receiver.task.send_signal(),
                Act::Interrupt(i) => self.callers[*i].task.send_signal(),
                Act::Steal => {
                    if self.receiver.file.read() {
                        self.happened_elsewhere();
                    }
                }
                // As `change.rs`: what is asked at a park changes first.
                Act::Withhold => {
                    let mut inner = self.receiver.inner.lock();
                    self.receiver.confined.store(true, Plain::Relaxed);
                    inner.lease.withhold(self.receiver.ctl());
                }
                Act::Kill => self.receiver.task.send_kill(),
                Act::Kick(i) => crate::task::kick(&self.callers[*i].task),
            }
        }
        self.happened_elsewhere();
    }

    /// All threads have ended.
    pub(crate) fn check_end(&self) {
        let inner = self.receiver.inner.lock();
        let (state, queued) = (inner.lease.state(), inner.queue.len());
        drop(inner);
        if !matches!(state, State::Native | State::Dead) || self.receiver.ctl().load() != word::OFF
        {
            self.watch.fail("the lease is not idle in the end");
        }
        if queued != 0 {
            self.watch.fail("a call is still in the queue");
        }
        stats::RUNS.inc();
        // These have each other.
        self.receiver.service.peers.lock().unwrap().clear();
    }

    /// The number of the first call of each caller.
    pub(crate) fn first_calls(plans: &[&[Body]]) -> Vec<usize> {
        let lengths = plans.iter().map(|p| p.len());
        lengths
            .scan(0, |sum, n| Some(core::mem::replace(sum, *sum + n)))
            .collect()
    }
}
