// SPDX-License-Identifier: GPL-2.0

//! All reachable states of one receiver and its callers, breadth first.
//!
//! The protocol is the real module; this file is what is around it: the receiver's task, the
//! callers' tasks with the regions of the gate, kicks, signals, events and death. A step is one
//! user-mode access to the word, or one critical section of the kernel. Histories are unbounded:
//! the sequence numbers are left out when states are compared.

use crate::lease::{
    claim, release_fast, word, Event, Grant, GrantCall, Kill, Lease, LeaseWord, Owner, Park,
    Release, Resume, State, Want,
};
use std::cell::Cell;
use std::collections::{HashMap, HashSet};

/// What a run is about, beside callers, signals and events.
#[derive(Clone, Copy, Default)]
struct Setup {
    callers: usize,
    /// The receiver may be killed at any time.
    kill: bool,
    /// Callers may be killed, or jump out of the gate, at any time.
    unruly: bool,
    /// Callers may take the slow path at any time.
    slow: bool,
    mutant: Option<Mutant>,
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
}

struct Word<'a> {
    value: &'a Cell<u64>,
    mutant: Option<Mutant>,
}

impl LeaseWord for Word<'_> {
    fn load(&self) -> u64 {
        self.value.get()
    }
    fn compare_exchange(&self, old: u64, new: u64) -> Result<u64, u64> {
        let found = self.value.get();
        if found != old {
            return Err(found);
        }
        self.value.set(new);
        Ok(found)
    }
    fn swap(&self, new: u64) -> u64 {
        self.value.replace(new)
    }
    fn fetch_or(&self, bits: u64) -> u64 {
        let lost = match self.mutant {
            Some(Mutant::NoWanted) => word::WANTED,
            Some(Mutant::NoEvent) => word::EVENT,
            _ => 0,
        };
        self.value.replace(self.value.get() | (bits & !lost))
    }
    fn store_release(&self, new: u64) {
        self.value.set(new);
    }
}

/// Where the receiver's task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Task {
    /// In user mode, in its own context.
    User,
    /// It has parked again and is about to complete the ticket of this caller (T11).
    Replying(usize),
    /// In the sleep loop.
    Waiting,
    Exited,
}

/// Where a caller is. The letters are the regions of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Idle,
    /// A: the claim is announced.
    Announced,
    /// G0: claimed, before WRFSBASE.
    Claimed,
    /// G1, body, G2: in the receiver's context.
    Body,
    /// G3: WRFSBASE back is done.
    Back,
    /// G3, after the release, with the announcement still standing.
    Released,
    /// The release failed: about to make the system call.
    NeedRelease,
    /// Has handed over, waits for the reply.
    Await,
    /// In the slow path, about to look at the receiver.
    Slow,
    /// In the slow path, asleep.
    SlowAsleep,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kick {
    None,
    /// Will pass the hook some time.
    Kicked,
    /// Has taken the eviction interrupt: passes the hook before its next user instruction.
    Evicted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Caller {
    at: At,
    kick: Kick,
    /// The announcement in the caller's own control block.
    claim: bool,
}

#[derive(Clone)]
struct World {
    word: u64,
    lease: Lease,
    task: Task,
    signal: bool,
    event: bool,
    /// The receiver has been woken and has not looked yet.
    woken: bool,
    /// Who waits for the call that the receiver runs natively.
    reply_to: Option<usize>,
    callers: Vec<Caller>,
}

/// A world without its sequence numbers, which no step depends on.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    word: u32,
    lease: u8,
    task: Task,
    signal: bool,
    event: bool,
    woken: bool,
    reply_to: Option<usize>,
    callers: Vec<Caller>,
}

fn owner(i: usize) -> Owner {
    Owner::new(1 + u8::try_from(i).unwrap(), 0).unwrap()
}

impl World {
    fn new(setup: &Setup) -> Self {
        let caller = Caller {
            at: At::Idle,
            kick: Kick::None,
            claim: false,
        };
        Self {
            word: word::OFF,
            lease: Lease::new(),
            task: Task::User,
            signal: false,
            event: false,
            woken: false,
            reply_to: None,
            callers: vec![caller; setup.callers],
        }
    }

    fn key(&self) -> Key {
        Key {
            word: self.word as u32,
            lease: self.lease.state() as u8,
            task: self.task,
            signal: self.signal,
            event: self.event,
            woken: self.woken,
            reply_to: self.reply_to,
            callers: self.callers.clone(),
        }
    }

    /// Runs `f` on the lease and the word.
    fn with<R>(&mut self, setup: &Setup, f: impl FnOnce(&mut Lease, &Word<'_>) -> R) -> R {
        let value = Cell::new(self.word);
        let result = f(
            &mut self.lease,
            &Word {
                value: &value,
                mutant: setup.mutant,
            },
        );
        self.word = value.get();
        result
    }

    fn kick(&mut self, i: usize, kick: Kick) {
        let caller = &mut self.callers[i];
        // Callers in the kernel pass the hook on their way out; nothing of theirs is at stake.
        if !matches!(caller.at, At::Gone | At::Await | At::Slow | At::SlowAsleep) {
            caller.kick = kick;
        }
    }

    fn wake_slow_callers(&mut self) {
        for caller in &mut self.callers {
            if caller.at == At::SlowAsleep {
                caller.at = At::Slow;
            }
        }
    }

    fn park(&mut self, setup: &Setup) {
        let outcome = self.with(setup, |lease, w| lease.park(w));
        assert_eq!(outcome, Park::Parked);
        self.wake_slow_callers();
    }

    /// T6 for caller `i`.
    fn release(&mut self, setup: &Setup, i: usize) {
        let owner = match (setup.mutant, word::borrower(self.word)) {
            (Some(Mutant::AnyOwner), Some(other)) => other,
            _ => owner(i),
        };
        if self.with(setup, |lease, w| lease.release(w, owner)) == Release::Native {
            self.woken = true;
        }
    }

    fn set(&mut self, i: usize, at: At, claim: bool) {
        self.callers[i].at = at;
        self.callers[i].claim = claim;
    }

    /// The receiver's task.
    fn receiver_steps(&self, setup: &Setup, out: &mut Vec<(String, World)>) {
        let mut add = |name: &str, step: &dyn Fn(&mut World)| {
            let mut next = self.clone();
            step(&mut next);
            out.push((name.to_owned(), next));
        };
        match self.task {
            Task::User => {
                // Signals and events are dealt with natively.
                let park = |w: &mut World| {
                    w.park(setup);
                    (w.signal, w.event, w.woken) = (false, false, false);
                };
                match self.reply_to {
                    Some(i) => add("receiver parks with a reply", &|w| {
                        park(w);
                        w.reply_to = None;
                        w.task = Task::Replying(i);
                    }),
                    None => add("receiver parks", &|w| {
                        park(w);
                        w.task = Task::Waiting;
                    }),
                }
            }
            Task::Replying(i) => add("receiver completes the ticket", &|w| {
                // The caller may be dead; then there is no ticket.
                if w.callers[i].at == At::Await {
                    w.callers[i].at = At::Idle;
                }
                w.task = Task::Waiting;
            }),
            Task::Waiting => {
                if self.woken {
                    add("receiver looks", &|w| {
                        w.woken = false;
                        w.look(setup);
                    });
                } else if self.lease.state() == State::Wanted
                    && self.callers.iter().all(|c| c.kick == Kick::None)
                {
                    add("receiver kicks again", &|w| w.look(setup));
                }
            }
            Task::Exited => {}
        }
        if setup.kill && self.task != Task::Exited {
            add("receiver is killed", &|w| {
                let outcome = w.with(setup, |lease, word| lease.kill(word));
                assert_ne!(outcome, Kill::AlreadyDead);
                if outcome == Kill::Evict && setup.mutant != Some(Mutant::NoEviction) {
                    for i in 0..w.callers.len() {
                        w.kick(i, Kick::Evicted);
                    }
                }
                w.wake_slow_callers();
                for caller in &mut w.callers {
                    // The ticket fails.
                    if caller.at == At::Await {
                        caller.at = At::Idle;
                    }
                }
                w.reply_to = None;
                w.task = Task::Exited;
                (w.signal, w.event, w.woken) = (false, false, false);
            });
        }
        // A receiver in user mode sees to its signals at once: only a waiting one matters.
        if matches!(self.task, Task::Waiting | Task::Replying(_)) {
            if !self.signal {
                add("signal", &|w| (w.signal, w.woken) = (true, true));
            }
            if !self.event {
                add("event", &|w| (w.event, w.woken) = (true, true));
            }
        }
    }

    /// One pass of the receiver's sleep loop.
    fn look(&mut self, setup: &Setup) {
        match self.lease.resume() {
            Resume::Take | Resume::Native => self.task = Task::User,
            Resume::Dead => unreachable!(),
            Resume::Sleep if self.signal => match self.with(setup, |lease, w| lease.want(w)) {
                Want::Native => self.task = Task::User,
                Want::Kick(owner) => self.kick(usize::from(owner.slot()) - 1, Kick::Kicked),
                Want::KickAll => {
                    for i in 0..self.callers.len() {
                        self.kick(i, Kick::Kicked);
                    }
                }
                Want::Granted | Want::Dead => unreachable!(),
            },
            Resume::Sleep if self.event => match self.with(setup, |lease, w| lease.event(w)) {
                Event::Native => self.task = Task::User,
                Event::Noted => {}
                Event::Granted | Event::Dead => unreachable!(),
            },
            Resume::Sleep => {}
        }
    }

    /// The task of caller `i`.
    fn caller_steps(&self, setup: &Setup, i: usize, out: &mut Vec<(String, World)>) {
        let caller = self.callers[i];
        let mut add = |name: &str, step: &dyn Fn(&mut World)| {
            let mut next = self.clone();
            step(&mut next);
            out.push((format!("caller {i} {name}"), next));
        };
        if caller.kick != Kick::Evicted {
            match caller.at {
                At::Idle => {
                    add("announces", &|w| w.set(i, At::Announced, true));
                    if setup.slow {
                        add("takes the slow path", &|w| {
                            // The entry hook clears a claim left behind.
                            if w.callers[i].claim {
                                w.release(setup, i);
                            }
                            w.set(i, At::Slow, false);
                        });
                    }
                }
                At::Announced => add("claims", &|w| match w
                    .with(setup, |_, word| claim(word, owner(i)))
                {
                    Ok(_) => w.set(i, At::Claimed, true),
                    Err(_) => w.set(i, At::Idle, false),
                }),
                At::Claimed => add("enters", &|w| w.set(i, At::Body, true)),
                At::Body => add("leaves", &|w| w.set(i, At::Back, true)),
                At::Back => add("releases", &|w| {
                    if setup.mutant == Some(Mutant::PlainStore) {
                        w.word = word::ready(word::seq(w.word).wrapping_add(1));
                        w.set(i, At::Released, true);
                        return;
                    }
                    match w.with(setup, |_, word| release_fast(word, owner(i))) {
                        Ok(()) => w.set(i, At::Released, true),
                        Err(_) => w.set(i, At::NeedRelease, true),
                    }
                }),
                At::Released => add("is done", &|w| w.set(i, At::Idle, false)),
                At::NeedRelease => add("makes rpal_release", &|w| {
                    w.release(setup, i);
                    w.set(i, At::Idle, false);
                }),
                At::Await | At::Slow | At::SlowAsleep | At::Gone => {}
            }
            let in_gate = matches!(caller.at, At::Claimed | At::Body | At::Back);
            if setup.unruly && in_gate {
                add("jumps out", &|w| w.set(i, At::Idle, true));
            }
        }
        match caller.at {
            // The hook on the way to user mode, by region. It may run at any time: a signal, any
            // task work. A system call in the body looks the same.
            At::Body => add("hands over", &|w| {
                w.callers[i].kick = Kick::None;
                match w.with(setup, |lease, word| lease.grant(word)) {
                    Grant::Granted => {
                        w.woken = true;
                        w.reply_to = Some(i);
                        w.set(i, At::Await, false);
                    }
                    Grant::Stale | Grant::Dead => w.set(i, At::Idle, false),
                }
            }),
            At::Idle if caller.kick == Kick::None && !caller.claim => {}
            At::Idle | At::Announced | At::Claimed | At::Back | At::Released | At::NeedRelease => {
                add("passes the hook", &|w| {
                    w.callers[i].kick = Kick::None;
                    if w.callers[i].claim {
                        w.release(setup, i);
                    }
                    w.set(i, At::Idle, false);
                })
            }
            At::Slow => add("tries in the slow path", &|w| match w
                .with(setup, |lease, word| lease.grant_call(word))
            {
                GrantCall::Granted => {
                    w.woken = true;
                    w.reply_to = Some(i);
                    w.set(i, At::Await, false);
                }
                GrantCall::Busy => w.set(i, At::SlowAsleep, false),
                GrantCall::Dead => w.set(i, At::Idle, false),
            }),
            At::Await | At::SlowAsleep | At::Gone => {}
        }
        if setup.unruly {
            let outside = caller.at == At::Idle && !caller.claim;
            if outside || matches!(caller.at, At::Await | At::SlowAsleep) {
                add("is killed", &|w| {
                    w.set(i, At::Gone, false);
                    w.callers[i].kick = Kick::None;
                    if w.reply_to == Some(i) {
                        w.reply_to = None;
                    }
                });
            }
        }
    }

    fn steps(&self, setup: &Setup) -> Vec<(String, World)> {
        let mut out = Vec::new();
        self.receiver_steps(setup, &mut out);
        for i in 0..self.callers.len() {
            self.caller_steps(setup, i, &mut out);
        }
        out
    }

    /// What must hold in every state.
    fn check(&self) -> Result<(), &'static str> {
        let ready = word::is_ready(self.word);
        let runs = |c: &&Caller| c.at == At::Body && c.kick != Kick::Evicted;
        let inside = self.callers.iter().filter(runs).count();
        if inside > 1 {
            return Err("two callers in one context");
        }
        if inside > 0 && matches!(self.task, Task::User) {
            return Err("receiver native with a caller in its context");
        }
        if inside > 0 && self.task == Task::Exited {
            return Err("caller runs in a dead receiver");
        }
        if ready && !matches!(self.lease.state(), State::Parked | State::Wanted) {
            return Err("READY but not parked");
        }
        if ready && inside > 0 {
            return Err("READY with a caller in the context");
        }
        if ready && !self.woken && (self.signal || self.event) {
            return Err("lost wake-up");
        }
        let slow = self.callers.iter().any(|c| c.at == At::SlowAsleep);
        if word::is_claimable(self.word) && slow {
            return Err("slow caller sleeps though READY");
        }
        if self.lease.state() == State::Granted && self.task != Task::User && !self.woken {
            return Err("granted, but the receiver sleeps");
        }
        Ok(())
    }
}

/// Explores all states. The error is what was violated, and how it came to that.
fn run(setup: &Setup) -> Result<usize, String> {
    let start = World::new(setup);
    let mut index = HashMap::from([(start.key(), 0usize)]);
    let mut worlds = vec![start];
    // By state: where it was first reached from, and by which step.
    let mut from: Vec<Option<(usize, String)>> = vec![None];
    let mut edges: Vec<Vec<usize>> = Vec::new();
    while edges.len() < worlds.len() {
        let current = edges.len();
        let story = |from: &[Option<(usize, String)>], what: &str| {
            let mut steps = Vec::new();
            let mut at = current;
            while let Some((before, step)) = &from[at] {
                steps.push(step.clone());
                at = *before;
            }
            steps.reverse();
            format!("{what}: {}", steps.join("; "))
        };
        worlds[current].check().map_err(|what| story(&from, what))?;
        let mut next = Vec::new();
        for (name, world) in worlds[current].steps(setup) {
            let key = world.key();
            let n = *index.entry(key).or_insert(worlds.len());
            if n == worlds.len() {
                worlds.push(world);
                from.push(Some((current, name)));
            }
            next.push(n);
        }
        let alive = worlds[current].task != Task::Exited
            && worlds[current].callers.iter().any(|c| c.at != At::Gone);
        if next.is_empty() && alive {
            return Err(story(&from, "stuck"));
        }
        edges.push(next);
    }
    progress(&worlds, &edges)?;
    Ok(worlds.len())
}

/// From every state in which somebody waits for something, a state in which it has it can be
/// reached.
fn progress(worlds: &[World], edges: &[Vec<usize>]) -> Result<(), String> {
    let mut back = vec![Vec::new(); edges.len()];
    for (n, next) in edges.iter().enumerate() {
        for m in next {
            back[*m].push(n);
        }
    }
    let escape = |what: &str, waits: &dyn Fn(&World) -> bool| {
        let free: Vec<usize> = (0..worlds.len()).filter(|n| !waits(&worlds[*n])).collect();
        let mut seen: HashSet<usize> = free.iter().copied().collect();
        let mut todo = free;
        while let Some(n) = todo.pop() {
            for m in &back[n] {
                if seen.insert(*m) {
                    todo.push(*m);
                }
            }
        }
        if seen.len() == worlds.len() {
            Ok(())
        } else {
            Err(format!("{what} for ever"))
        }
    };
    escape("wanted", &|w| w.lease.state() == State::Wanted)?;
    escape("signalled", &|w| w.signal)?;
    for i in 0..worlds[0].callers.len() {
        escape("awaiting", &|w| w.callers[i].at == At::Await)?;
        escape("slow", &|w| {
            matches!(w.callers[i].at, At::Slow | At::SlowAsleep)
        })?;
    }
    Ok(())
}

#[test]
fn all_states() {
    let two = Setup {
        callers: 2,
        ..Setup::default()
    };
    let setups = [
        ("two callers", two),
        ("two callers, slow path", Setup { slow: true, ..two }),
        ("two callers, kill", Setup { kill: true, ..two }),
        (
            "two callers, everything",
            Setup {
                kill: true,
                unruly: true,
                slow: true,
                ..two
            },
        ),
        (
            "three callers, kill, slow path",
            Setup {
                callers: 3,
                kill: true,
                slow: true,
                ..two
            },
        ),
    ];
    for (name, setup) in setups {
        match run(&setup) {
            Ok(states) => println!("{name}: {states} states"),
            Err(story) => panic!("{name}: {story}"),
        }
    }
}

/// Runs with a mistake and expects one of `violations`.
fn caught(mutant: Mutant, violations: &[&str]) {
    let setup = Setup {
        callers: 2,
        kill: true,
        slow: true,
        mutant: Some(mutant),
        ..Setup::default()
    };
    let story = run(&setup).expect_err("the mistake was not found");
    println!("{story}");
    assert!(
        violations.iter().any(|v| story.starts_with(v)),
        "found something else: {story}"
    );
}

#[test]
fn mutant_plain_store() {
    caught(
        Mutant::PlainStore,
        &["READY but not parked", "lost wake-up"],
    );
}

#[test]
fn mutant_no_wanted() {
    caught(Mutant::NoWanted, &["lost wake-up"]);
}

#[test]
fn mutant_no_event() {
    caught(
        Mutant::NoEvent,
        &["lost wake-up", "slow caller sleeps though READY"],
    );
}

#[test]
fn mutant_no_eviction() {
    caught(Mutant::NoEviction, &["caller runs in a dead receiver"]);
}

#[test]
fn mutant_any_owner() {
    caught(Mutant::AnyOwner, &["READY with a caller in the context"]);
}
