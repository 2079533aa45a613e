// SPDX-License-Identifier: GPL-2.0

//! Interleavings of single accesses, explored by loom.
//!
//! One receiver, up to two callers and an environment that signals, kicks or kills, each a loom
//! thread. The lease module runs on loom's atomics with exactly the orderings that [`LeaseWord`]
//! asks for, so that loads may be stale where the C11 model allows it. The receiver's user context
//! is a loom cell: if two tasks use it without a happens-before edge between them, loom reports a
//! race. A receiver that sleeps for ever is a deadlock, which loom reports as well.
//!
//! Everything that only describes the situation (the *ghost* state) is in plain memory: loom runs
//! one thread at a time and switches only at its own operations, so what stands between two of
//! them is one atomic step. That is also how a user-mode instruction and the test for a pending
//! kick (the interrupt that comes before it) are made one step. loom leaves out interleavings that
//! differ only in the order of operations on different objects, so a change of the ghost state
//! belongs to an operation on the very object that it is about: the word for claim and release,
//! the kick flag for instructions and evictions, the lock for the rest.

use crate::lease::{
    claim, release_fast, word, Event, Grant, GrantCall, Kill, Lease, LeaseWord, Owner, Park,
    Release, Resume, State, Want,
};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize as LoomUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::ops::{Deref, DerefMut};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering as Plain};
use std::sync::{Arc as PlainArc, Mutex as PlainMutex, MutexGuard as PlainGuard, PoisonError};

/// How a call goes on inside the receiver.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    /// No system call: nothing but the gate.
    Quick,
    /// A system call in the receiver's code, hence a hand-over.
    SystemCall,
}

/// What the environment does, once, at any time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Signal,
    Event,
    Kill,
    /// Work of the caller's own on its way to user mode.
    Kick(usize),
}

/// A known mistake to be found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mutant {
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
struct Setup {
    /// By caller: its calls.
    plans: &'static [&'static [Body]],
    acts: &'static [Act],
    /// Callers go to the slow path at once, from the second caller on.
    slow: bool,
    /// A caller whose claim fails gives up instead of going to the slow path, which keeps the run
    /// short.
    give_up: bool,
    /// The first caller is interrupted right after its release.
    interrupted: bool,
    /// The receiver has parked before the callers start, else it parks while they do.
    parked: bool,
    /// No caller may find the receiver's word other than READY.
    prompt: bool,
    preemptions: usize,
    mutant: Option<Mutant>,
}

const PLAIN: Setup = Setup {
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
struct Coverage {
    runs: AtomicUsize,
    fast: AtomicUsize,
    handed_over: AtomicUsize,
    slow: AtomicUsize,
    slow_busy: AtomicUsize,
    kernel_release: AtomicUsize,
    wanted: AtomicUsize,
    noted: AtomicUsize,
    evicted: AtomicUsize,
    broken_pipe: AtomicUsize,
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Plain::Relaxed);
}

/// The situation, as nobody inside it can see it.
struct Ghost {
    /// The newest value of the word.
    word: u64,
    /// The kernel's state when the lock was last dropped.
    state: State,
    locked: bool,
    /// The receiver's own task runs its context.
    native: bool,
    /// By caller: the receiver is dying and no instruction of this caller's may run in it.
    evicted: [bool; 2],
    /// The receiver sleeps and has not been woken.
    asleep: bool,
    /// There is a signal or an event that the receiver has not dealt with.
    pending: bool,
    /// By caller: it has claimed the receiver's context and has not given it back.
    inside: [bool; 2],
}

impl Ghost {
    fn check(&self) -> Result<(), &'static str> {
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
        if ready && self.asleep && self.pending {
            return Err("lost wake-up");
        }
        Ok(())
    }
}

/// The ghost state and the first violation, which outlives the exploration.
#[derive(Clone)]
struct Watch {
    ghost: PlainArc<PlainMutex<Ghost>>,
    violation: PlainArc<PlainMutex<Option<&'static str>>>,
}

/// A thread that has panicked leaves plain memory in order: these locks are never held over
/// anything that can fail.
fn plain<T>(mutex: &PlainMutex<T>) -> PlainGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    fn new(violation: PlainArc<PlainMutex<Option<&'static str>>>) -> Self {
        let ghost = Ghost {
            word: word::OFF,
            state: State::Native,
            locked: false,
            native: true,
            evicted: [false; 2],
            asleep: false,
            pending: false,
            inside: [false; 2],
        };
        Self {
            ghost: PlainArc::new(PlainMutex::new(ghost)),
            violation,
        }
    }

    /// Changes the ghost state and looks at the result. A violation is only remembered: a panic
    /// while loom's lock is held would end the process.
    fn note(&self, change: impl FnOnce(&mut Ghost)) {
        let mut ghost = plain(&self.ghost);
        change(&mut ghost);
        if let Err(what) = ghost.check() {
            self.fail(what);
        }
    }

    fn fail(&self, what: &'static str) {
        plain(&self.violation).get_or_insert(what);
    }

    /// Ends the run if there has been a violation. Not with the lock held.
    fn stop_if_failed(&self) {
        if let Some(what) = *plain(&self.violation) {
            panic!("{what}");
        }
    }
}

struct ModelWord {
    value: AtomicU64,
    watch: Watch,
    mutant: Option<Mutant>,
}

impl ModelWord {
    /// No check here: in user mode the caller's own note follows in the same step, in the kernel
    /// the end of the critical section.
    fn wrote(&self, new: u64) {
        plain(&self.watch.ghost).word = new;
    }
}

impl LeaseWord for ModelWord {
    fn load(&self) -> u64 {
        let order = match self.mutant {
            Some(Mutant::RelaxedClaim) => Ordering::Relaxed,
            _ => Ordering::Acquire,
        };
        self.value.load(order)
    }
    fn compare_exchange(&self, old: u64, new: u64) -> Result<u64, u64> {
        let (ok, failed) = match self.mutant {
            Some(Mutant::RelaxedClaim) => (Ordering::Release, Ordering::Relaxed),
            Some(Mutant::RelaxedRelease) => (Ordering::Acquire, Ordering::Acquire),
            _ => (Ordering::AcqRel, Ordering::Acquire),
        };
        let result = self.value.compare_exchange(old, new, ok, failed);
        if result.is_ok() {
            self.wrote(new);
        }
        result
    }
    fn swap(&self, new: u64) -> u64 {
        let found = self.value.swap(new, Ordering::AcqRel);
        self.wrote(new);
        found
    }
    fn fetch_or(&self, bits: u64) -> u64 {
        let bits = match self.mutant {
            Some(Mutant::NoWanted) => bits & !word::WANTED,
            Some(Mutant::NoEvent) => bits & !word::EVENT,
            _ => bits,
        };
        let found = self.value.fetch_or(bits, Ordering::AcqRel);
        self.wrote(found | bits);
        found
    }
    fn store_release(&self, new: u64) {
        let order = match self.mutant {
            Some(Mutant::RelaxedPark) => Ordering::Relaxed,
            _ => Ordering::Release,
        };
        self.value.store(new, order);
        self.wrote(new);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ticket {
    None,
    Open,
    Done,
    Failed,
}

/// What the receiver's lock protects. Here also its signals and its being woken, which the kernel
/// has elsewhere; how a task goes to sleep is not what is explored.
struct Kernel {
    lease: Lease,
    woken: bool,
    signal: bool,
    event: bool,
    fatal: bool,
    /// All callers are through.
    stop: bool,
    reply_to: Option<usize>,
    tickets: [Ticket; 2],
}

struct World {
    setup: Setup,
    word: ModelWord,
    kernel: Mutex<Kernel>,
    receiver_wakes: Condvar,
    callers_wake: Condvar,
    /// By caller: it has to pass the hook before its next user instruction.
    kicks: [AtomicBool; 2],
    /// How many callers are through.
    finished: LoomUsize,
    /// The receiver's user context.
    context: UnsafeCell<u32>,
    watch: Watch,
    coverage: &'static Coverage,
}

/// The receiver's lock.
struct Held<'a> {
    world: &'a World,
    guard: Option<MutexGuard<'a, Kernel>>,
}

impl Held<'_> {
    /// The lock is about to be dropped: what holds between critical sections?
    fn settle(&self) {
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
    fn wait_once(mut self, on: &Condvar) -> Self {
        self.settle();
        let guard = self.guard.take().unwrap();
        self.guard = Some(on.wait(guard).unwrap());
        self.world.watch.note(|g| g.locked = true);
        self
    }

    fn wake_receiver(&mut self) {
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

fn owner(i: usize) -> Owner {
    Owner::new(1 + u8::try_from(i).unwrap(), 0).unwrap()
}

impl World {
    fn new(setup: Setup, watch: Watch, coverage: &'static Coverage) -> Self {
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

    fn lock(&self) -> Held<'_> {
        let guard = Some(self.kernel.lock().unwrap());
        self.watch.note(|g| g.locked = true);
        Held { world: self, guard }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.setup.mutant == Some(mutant)
    }

    /// Uses the receiver's context. loom checks that nobody else does.
    fn touch_context(&self) {
        // SAFETY: `Ghost::check` and loom's own check are there to find out whether this is true.
        self.context.with_mut(|c| unsafe { *c += 1 });
    }

    // The receiver's task.

    fn park(&self, k: &mut Held<'_>) {
        // Signals and events were dealt with natively.
        (k.signal, k.event, k.woken) = (false, false, false);
        self.watch.note(|g| g.native = false);
        assert_eq!(k.lease.park(&self.word), Park::Parked);
        self.callers_wake.notify_all();
    }

    fn receiver(&self) {
        let mut reply_to = None;
        if self.setup.parked {
            match self.sleep(self.lock()) {
                Some(to) => reply_to = to,
                None => return,
            }
        }
        loop {
            self.watch.stop_if_failed();
            // In user mode, with its own context.
            self.touch_context();
            if reply_to.is_some() && self.is(Mutant::TicketFirst) {
                self.complete(reply_to.take());
            }
            let mut k = self.lock();
            if k.fatal {
                return self.die(k);
            }
            if k.stop {
                return;
            }
            self.park(&mut k);
            if reply_to.is_some() {
                drop(k);
                self.complete(reply_to.take());
                k = self.lock();
            }
            match self.sleep(k) {
                Some(to) => reply_to = to,
                None => return,
            }
        }
    }

    fn complete(&self, reply_to: Option<usize>) {
        if let Some(i) = reply_to {
            let mut k = self.lock();
            k.tickets[i] = Ticket::Done;
            self.callers_wake.notify_all();
        }
    }

    /// The sleep loop. Returns with the receiver native, and with whom it has to reply to; or
    /// `None` when it has died.
    fn sleep<'a>(&'a self, mut k: Held<'a>) -> Option<Option<usize>> {
        loop {
            match k.lease.resume() {
                Resume::Take => {
                    self.watch.note(|g| g.native = true);
                    return Some(k.reply_to.take());
                }
                Resume::Native => {
                    self.watch.note(|g| g.native = true);
                    return Some(None);
                }
                Resume::Sleep => {}
                Resume::Dead => unreachable!(),
            }
            if k.fatal {
                self.die(k);
                return None;
            }
            if k.signal || k.stop {
                match k.lease.want(&self.word) {
                    Want::Native => continue,
                    Want::Kick(owner) => {
                        count(&self.coverage.wanted);
                        self.kick(usize::from(owner.slot()) - 1);
                    }
                    Want::KickAll => self.watch.fail("no borrower in the word"),
                    Want::Granted | Want::Dead => unreachable!(),
                }
            } else if k.event {
                match k.lease.event(&self.word) {
                    Event::Native => continue,
                    Event::Noted => count(&self.coverage.noted),
                    Event::Granted | Event::Dead => unreachable!(),
                }
            }
            k.woken = false;
            self.watch.note(|g| g.asleep = true);
            while !k.woken {
                k = k.wait_once(&self.receiver_wakes);
            }
            self.watch.note(|g| g.asleep = false);
        }
    }

    fn die<'a>(&'a self, mut k: Held<'a>) {
        let outcome = k.lease.kill(&self.word);
        drop(k);
        for i in 0..self.setup.plans.len() {
            // The synchronous interrupt: the flag is read by read-modify-write before each user
            // instruction, hence from here on this caller executes none with the flag unseen.
            let evict = outcome == Kill::Evict && !self.is(Mutant::NoEviction);
            self.kicks[i].fetch_or(evict, Ordering::AcqRel);
            self.watch.note(|g| g.evicted[i] = true);
        }
        let mut k = self.lock();
        for ticket in &mut k.tickets {
            if *ticket == Ticket::Open {
                *ticket = Ticket::Failed;
            }
        }
        self.callers_wake.notify_all();
    }

    /// A read-modify-write: loom may order a mere store before what others did earlier.
    fn kick(&self, i: usize) {
        self.kicks[i].fetch_or(true, Ordering::AcqRel);
    }

    // A caller's task.

    /// Whether the hook is passed instead of the next user instruction. What the caller does
    /// without a loom operation after this is that instruction.
    fn kicked(&self, i: usize) -> bool {
        self.kicks[i].swap(false, Ordering::AcqRel)
    }

    fn caller(&self, i: usize) {
        for body in self.setup.plans[i] {
            self.call(i, *body);
            self.watch.stop_if_failed();
        }
        if self.finished.fetch_add(1, Ordering::AcqRel) + 1 == self.setup.plans.len() {
            let mut k = self.lock();
            k.stop = true;
            k.wake_receiver();
        }
    }

    fn call(&self, i: usize, body: Body) {
        // Region A.
        if (self.setup.slow && i > 0) || claim(&self.word, owner(i)).is_err() {
            if self.setup.prompt {
                self.watch.fail("a receiver that has replied is not READY");
            }
            if self.setup.give_up {
                return;
            }
            return self.call_slow(i);
        }
        self.watch.note(|g| g.inside[i] = true);
        // G0. An aborted attempt goes to the slow path at once, which keeps the run short.
        if self.kicked(i) {
            self.release(i);
            return self.call_slow(i);
        }
        self.instruction(i);
        if body == Body::SystemCall || self.kicked(i) {
            return self.hand_over(i);
        }
        self.instruction(i);
        // G3.
        if self.kicked(i) {
            self.release(i);
        } else if self.is(Mutant::PlainStore) {
            let seq = word::seq(self.word.load()).wrapping_add(1);
            self.word.store_release(word::ready(seq));
            self.watch.note(|g| g.inside[i] = false);
        } else if release_fast(&self.word, owner(i)).is_ok() {
            self.watch.note(|g| g.inside[i] = false);
        } else {
            self.release(i);
        }
        count(&self.coverage.fast);
        // Still G3, while the announcement stands: any work of the caller's own.
        if self.setup.interrupted && i == 0 {
            self.release(i);
        }
    }

    /// A user-mode instruction in the receiver's context.
    fn instruction(&self, i: usize) {
        if plain(&self.watch.ghost).evicted[i] {
            self.watch.fail("caller runs in a dead receiver");
        }
        self.watch.stop_if_failed();
        self.touch_context();
    }

    /// T6.
    fn release(&self, i: usize) {
        let mut k = self.lock();
        self.watch.note(|g| g.inside[i] = false);
        let owner = match word::borrower(self.word.load()) {
            Some(other) if self.is(Mutant::AnyOwner) => other,
            _ => owner(i),
        };
        let outcome = k.lease.release(&self.word, owner);
        if outcome == Release::Native {
            k.wake_receiver();
        }
        if matches!(outcome, Release::Native | Release::Ready) {
            count(&self.coverage.kernel_release);
        }
    }

    /// T5, and the wait for the reply.
    fn hand_over(&self, i: usize) {
        let mut k = self.lock();
        self.watch.note(|g| g.inside[i] = false);
        match k.lease.grant(&self.word) {
            Grant::Granted => {
                count(&self.coverage.handed_over);
                // The context is stored for the receiver.
                self.touch_context();
                self.reply(k, i);
            }
            Grant::Stale => self.watch.fail("a borrower's context was stale"),
            Grant::Dead => count(&self.coverage.evicted),
        }
    }

    /// The slow path: the kernel does what the gate does.
    fn call_slow(&self, i: usize) {
        let mut k = self.lock();
        loop {
            match k.lease.grant_call(&self.word) {
                GrantCall::Granted => {
                    count(&self.coverage.slow);
                    self.touch_context();
                    return self.reply(k, i);
                }
                GrantCall::Busy => {
                    count(&self.coverage.slow_busy);
                    k = k.wait_once(&self.callers_wake);
                }
                GrantCall::Dead => return count(&self.coverage.broken_pipe),
            }
        }
    }

    /// Wakes the receiver, which has been granted the context, and waits for its reply.
    fn reply<'a>(&'a self, mut k: Held<'a>, i: usize) {
        k.tickets[i] = Ticket::Open;
        k.reply_to = Some(i);
        k.wake_receiver();
        while k.tickets[i] == Ticket::Open {
            k = k.wait_once(&self.callers_wake);
        }
        if k.tickets[i] == Ticket::Failed {
            count(&self.coverage.broken_pipe);
        }
        k.tickets[i] = Ticket::None;
    }

    // The environment.

    fn act(&self, act: Act) {
        if let Act::Kick(i) = act {
            return self.kick(i);
        }
        let mut k = self.lock();
        match act {
            Act::Signal => k.signal = true,
            Act::Event => k.event = true,
            Act::Kill | Act::Kick(_) => k.fatal = true,
        }
        k.wake_receiver();
    }
}

/// Explores all interleavings of `setup`. The error is the violation, or loom's own message.
fn explore(setup: Setup) -> Result<&'static Coverage, String> {
    let coverage: &'static Coverage = Box::leak(Box::default());
    let violation = PlainArc::new(PlainMutex::new(None));
    let seen = violation.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(setup.preemptions);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        builder.check(move || {
            count(&coverage.runs);
            let watch = Watch::new(violation.clone());
            let world = Arc::new(World::new(setup, watch.clone(), coverage));
            if setup.parked {
                world.touch_context();
                world.park(&mut world.lock());
            }
            let mut threads = Vec::new();
            for i in 0..setup.plans.len() {
                let world = world.clone();
                threads.push(loom::thread::spawn(move || world.caller(i)));
            }
            if !setup.acts.is_empty() {
                let world = world.clone();
                threads.push(loom::thread::spawn(move || {
                    for act in setup.acts {
                        world.act(*act);
                    }
                }));
            }
            world.receiver();
            for thread in threads {
                thread.join().unwrap();
            }
            if plain(&watch.ghost).word != word::OFF {
                watch.fail("the word is not OFF in the end");
            }
            watch.stop_if_failed();
        });
    }));
    let first = *plain(&seen);
    match (first, outcome) {
        (Some(what), _) => Err(what.to_owned()),
        (None, Ok(())) => Ok(coverage),
        (None, Err(payload)) => Err(payload
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()))
            .unwrap_or_else(|| "a panic without a message".to_owned())),
    }
}

/// Explores, expects no violation, and prints how often the paths were taken.
fn holds(setup: Setup) -> &'static Coverage {
    match explore(setup) {
        Ok(c) => {
            let n = |counter: &AtomicUsize| counter.load(Plain::Relaxed);
            println!(
                "{} interleavings: {} fast, {} handed over, {} slow ({} waits), {} kernel \
                 releases, {} wanted, {} noted, {} evicted, {} broken pipes",
                n(&c.runs),
                n(&c.fast),
                n(&c.handed_over),
                n(&c.slow),
                n(&c.slow_busy),
                n(&c.kernel_release),
                n(&c.wanted),
                n(&c.noted),
                n(&c.evicted),
                n(&c.broken_pipe)
            );
            c
        }
        Err(what) => panic!("{what}"),
    }
}

/// Explores with a mistake put in and expects one of `violations`.
fn caught(setup: Setup, mutant: Mutant, violations: &[&str]) {
    let mutant = Some(mutant);
    let what = match explore(Setup { mutant, ..setup }) {
        Ok(_) => panic!("the mistake was not found"),
        Err(what) => what,
    };
    println!("{what}");
    assert!(
        violations.iter().any(|v| what.contains(v)),
        "found something else: {what}"
    );
}

/// Asserts that each of the paths was taken in some interleaving.
fn taken(counters: &[&AtomicUsize]) {
    for (n, counter) in counters.iter().enumerate() {
        assert_ne!(counter.load(Plain::Relaxed), 0, "path {n} was never taken");
    }
}

const QUICK: &[Body] = &[Body::Quick];
const SYSTEM_CALL: &[Body] = &[Body::SystemCall];

const TWO: Setup = Setup {
    plans: &[QUICK, QUICK],
    ..PLAIN
};
const SIGNAL: Setup = Setup {
    acts: &[Act::Signal],
    give_up: true,
    ..TWO
};
const EVENT: Setup = Setup {
    acts: &[Act::Event],
    give_up: true,
    ..TWO
};
const KILL: Setup = Setup {
    acts: &[Act::Kill],
    ..TWO
};
/// The second caller is in the slow path only.
const SLOW: Setup = Setup { slow: true, ..TWO };
/// The first caller has work of its own at any time.
const KICK: Setup = Setup {
    acts: &[Act::Kick(0)],
    ..TWO
};
/// The first caller has work of its own right after its release.
const INTERRUPTED: Setup = Setup {
    interrupted: true,
    ..TWO
};
/// One caller, back to back: after a reply the gate must find READY.
const BACK_TO_BACK: Setup = Setup {
    plans: &[&[Body::SystemCall, Body::Quick]],
    ..PLAIN
};

#[test]
fn two_callers() {
    let c = holds(Setup {
        parked: false,
        ..TWO
    });
    taken(&[&c.fast, &c.slow, &c.slow_busy]);
}

#[test]
fn two_callers_hand_over() {
    let c = holds(Setup {
        plans: &[SYSTEM_CALL, QUICK],
        ..PLAIN
    });
    taken(&[&c.fast, &c.handed_over, &c.slow_busy]);
}

#[test]
fn signal() {
    let c = holds(SIGNAL);
    taken(&[&c.fast, &c.wanted, &c.handed_over, &c.kernel_release]);
}

#[test]
fn signal_slow_path() {
    let c = holds(Setup {
        give_up: false,
        preemptions: 1,
        ..SIGNAL
    });
    taken(&[&c.fast, &c.wanted, &c.slow, &c.slow_busy]);
}

#[test]
fn event_slow_path() {
    let c = holds(Setup {
        give_up: false,
        preemptions: 1,
        ..EVENT
    });
    taken(&[&c.fast, &c.noted, &c.slow, &c.slow_busy]);
}

#[test]
fn event() {
    let c = holds(EVENT);
    taken(&[&c.fast, &c.noted, &c.kernel_release]);
}

#[test]
fn kill() {
    let c = holds(KILL);
    taken(&[&c.fast, &c.evicted, &c.broken_pipe]);
}

/// One caller, but deeper.
#[test]
fn signal_and_kill() {
    let c = holds(Setup {
        plans: &[QUICK],
        acts: &[Act::Signal, Act::Kill],
        preemptions: 3,
        ..PLAIN
    });
    taken(&[&c.fast, &c.wanted, &c.evicted, &c.broken_pipe]);
}

/// One caller, but deeper.
#[test]
fn event_and_signal() {
    let c = holds(Setup {
        plans: &[SYSTEM_CALL],
        acts: &[Act::Event, Act::Signal],
        preemptions: 3,
        ..PLAIN
    });
    taken(&[&c.handed_over, &c.wanted, &c.noted]);
}

#[test]
fn slow_path() {
    let c = holds(SLOW);
    taken(&[&c.fast, &c.slow, &c.slow_busy, &c.kernel_release]);
}

#[test]
fn kicked_caller() {
    let c = holds(KICK);
    taken(&[&c.fast, &c.handed_over, &c.kernel_release]);
}

#[test]
fn interrupted_caller() {
    let c = holds(INTERRUPTED);
    taken(&[&c.fast, &c.slow_busy]);
}

#[test]
fn back_to_back() {
    let c = holds(Setup {
        preemptions: 3,
        ..BACK_TO_BACK
    });
    taken(&[&c.fast, &c.handed_over]);
}

#[test]
fn mutant_plain_store() {
    caught(
        SIGNAL,
        Mutant::PlainStore,
        &["READY but not parked", "lost wake-up"],
    );
    caught(EVENT, Mutant::PlainStore, &["lost wake-up"]);
}

#[test]
fn mutant_no_wanted() {
    caught(SIGNAL, Mutant::NoWanted, &["lost wake-up"]);
}

#[test]
fn mutant_no_event() {
    caught(EVENT, Mutant::NoEvent, &["lost wake-up"]);
    caught(SLOW, Mutant::NoEvent, &["deadlock"]);
}

#[test]
fn mutant_no_eviction() {
    caught(
        KILL,
        Mutant::NoEviction,
        &["caller runs in a dead receiver"],
    );
}

#[test]
fn mutant_any_owner() {
    caught(
        INTERRUPTED,
        Mutant::AnyOwner,
        &["READY with a caller in the context"],
    );
}

/// T11: READY first, the ticket second.
#[test]
fn mutant_ticket_first() {
    let prompt = Setup {
        prompt: true,
        ..BACK_TO_BACK
    };
    holds(prompt);
    caught(prompt, Mutant::TicketFirst, &["is not READY"]);
}

#[test]
fn mutant_orderings() {
    let race = &["Causality violation"];
    caught(TWO, Mutant::RelaxedClaim, race);
    caught(TWO, Mutant::RelaxedRelease, race);
    let parked = false;
    caught(Setup { parked, ..TWO }, Mutant::RelaxedPark, race);
}
