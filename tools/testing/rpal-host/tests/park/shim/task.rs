// SPDX-License-Identifier: GPL-2.0

//! Tasks: how they sleep, what wakes them, and time.
//!
//! What the kernel orders by barriers between a task's state and the reasons to be awake is
//! ordered here by one lock per task, the state's: who announces a sleep and then looks, and who
//! changes something and then wakes, take it in one order or the other.

use crate::{
    setup::{is, Mutant},
    thread::{self, Thread},
};
use loom::sync::{Condvar, Mutex, MutexGuard};
use std::{
    cell::Cell,
    ops::Deref,
    sync::{
        atomic::{AtomicUsize, Ordering as Plain},
        Arc,
    },
};

/// How to sleep.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// Any signal ends it.
    Interruptible,
    /// A fatal signal ends it.
    Killable,
}

struct State {
    /// The sleep that is announced or under way.
    sleep: Option<Sleep>,
    /// How long the sleep that is under way lasts at most.
    limit: Option<usize>,
    /// How many more sleeps with a limit will last until it.
    expiries: usize,
    signal: bool,
    fatal: bool,
    /// Has to pass the hook before its next user instruction.
    kicked: bool,
}

impl State {
    fn time_passes(&mut self, clock: &AtomicUsize, jiffies: usize) {
        crate::stats::TIME_OVER.inc();
        clock.fetch_add(jiffies, Plain::Relaxed);
        self.sleep = None;
    }
}

pub(crate) struct Task {
    state: Mutex<State>,
    wakes: Condvar,
    /// Time as the task sees it, in jiffies: only its own sleeps take any.
    clock: AtomicUsize,
}

impl Task {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                sleep: None,
                limit: None,
                expiries: 0,
                signal: false,
                fatal: false,
                kicked: false,
            }),
            wakes: Condvar::new(),
            clock: AtomicUsize::new(1),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        state.sleep = None;
        self.wakes.notify_all();
    }

    pub(crate) fn wake_up(&self) {
        self.wake(self.lock());
    }

    pub(crate) fn signal_pending(&self) -> bool {
        self.lock().signal
    }

    /// A signal that the task survives.
    pub(crate) fn send_signal(&self) {
        let mut state = self.lock();
        state.signal = true;
        if state.sleep == Some(Sleep::Interruptible) {
            self.wake(state);
        }
    }

    /// A signal that it does not.
    pub(crate) fn send_kill(&self) {
        let mut state = self.lock();
        (state.signal, state.fatal) = (true, true);
        self.wake(state);
    }

    /// On the way to user mode, the handler runs. Was there a signal?
    pub(crate) fn take_signal(&self) -> bool {
        core::mem::replace(&mut self.lock().signal, false)
    }

    /// `times` sleeps end by their limit: the one that is under way, or those to come.
    pub(crate) fn let_time_pass(&self, times: usize) {
        let mut state = self.lock();
        state.expiries += times;
        if let (Some(limit), true) = (state.limit, state.sleep.is_some()) {
            state.expiries -= 1;
            state.time_passes(&self.clock, limit);
            self.wakes.notify_all();
        }
    }

    /// Whether the hook is passed instead of the next user instruction, which is `instruction`.
    pub(crate) fn take_kick(&self, instruction: impl FnOnce()) -> bool {
        let kicked = core::mem::replace(&mut self.lock().kicked, false);
        if !kicked {
            // No loom operation since, so that it is one step with the test.
            instruction();
        }
        kicked
    }

    /// Gets no CPU until it is kicked.
    pub(crate) fn starve(&self) {
        let mut state = self.lock();
        while !state.kicked {
            state = self.wakes.wait(state).unwrap();
        }
    }
}

pub(crate) fn kick(task: &Task) {
    let mut state = task.lock();
    state.kicked = true;
    // A starving one waits for this; to others it is a wake-up for nothing, which no sleep here
    // must mind.
    task.wakes.notify_all();
}

/// The current task.
pub(crate) fn current() -> impl Deref<Target = Task> {
    struct Current(Arc<Thread>);
    impl Deref for Current {
        type Target = Task;
        fn deref(&self) -> &Task {
            &self.0.task
        }
    }
    Current(thread::current())
}

/// No freezer here.
pub(crate) fn as_frozen(work: impl FnOnce()) {
    work();
}

pub(crate) fn fatal_signal_pending(task: &Task) -> bool {
    task.lock().fatal
}

thread_local! {
    static AT_FIRST_SLEEP: Cell<Option<Box<dyn FnOnce()>>> = const { Cell::new(None) };
}

/// Has `f` run when a sleep is announced for the first time, or with [`first_sleep`].
pub(crate) fn at_first_sleep(f: impl FnOnce() + 'static) {
    AT_FIRST_SLEEP.set(Some(Box::new(f)));
}

pub(crate) fn first_sleep() {
    if let Some(f) = AT_FIRST_SLEEP.take() {
        f();
    }
}

/// Announces the sleep; the task keeps running until it calls [`schedule`].
pub(crate) fn prepare(sleep: Sleep) {
    first_sleep();
    current().lock().sleep = Some(sleep);
}

/// Takes the announcement back.
pub(crate) fn stay_awake() {
    current().lock().sleep = None;
}

/// Sleeps as announced, at most `jiffies` if given. Callers here do not ask what is left.
pub(crate) fn schedule(jiffies: Option<usize>) {
    let me = current();
    let mut state = me.lock();
    if state.fatal || (state.signal && state.sleep == Some(Sleep::Interruptible)) {
        state.sleep = None;
    }
    if let (Some(jiffies), true, true) = (jiffies, state.sleep.is_some(), state.expiries > 0) {
        state.expiries -= 1;
        state.time_passes(&me.clock, jiffies);
    }
    state.limit = jiffies;
    while state.sleep.is_some() {
        state = me.wakes.wait(state).unwrap();
    }
    state.limit = None;
}

/// A point in time, in jiffies.
#[derive(Clone, Copy)]
pub(crate) struct Alarm(Option<usize>);

impl Alarm {
    pub(crate) const NEVER: Self = Self(None);

    pub(crate) fn after(ms: u32) -> Self {
        if is(Mutant::NoPatience) {
            return Self::NEVER;
        }
        Self(Some(jiffies() + ms as usize))
    }

    pub(crate) fn earlier(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(one), Some(two)) if one <= two => self,
            (_, Some(_)) => other,
            (_, None) => self,
        }
    }

    pub(crate) fn is_set(self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn left(self) -> Option<usize> {
        self.0.map(|end| end.saturating_sub(jiffies()))
    }

    pub(crate) fn is_over(self) -> bool {
        self.left() == Some(0)
    }
}

fn jiffies() -> usize {
    current().clock.load(Plain::Relaxed)
}

pub(crate) fn force_segv() {
    unreachable!("no context is lost here");
}
