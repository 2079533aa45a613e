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

mod caller;
mod ghost;
mod receiver;
mod setup;
mod word;
mod world;

use crate::lease_word;
use ghost::{plain, Watch};
use loom::sync::Arc;
use setup::{count, Act, Body, Coverage, Mutant, Setup, PLAIN};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering as Plain};
use std::sync::{Arc as PlainArc, Mutex as PlainMutex};
use world::World;

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
            if plain(&watch.ghost).word != lease_word::OFF {
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
/// The receiver is not to be lent any more, at any time.
const WITHHOLD: Setup = Setup {
    acts: &[Act::Withhold],
    give_up: true,
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
fn withhold() {
    let c = holds(WITHHOLD);
    taken(&[&c.fast, &c.kernel_release]);
}

#[test]
fn withhold_slow_path() {
    let c = holds(Setup {
        give_up: false,
        preemptions: 1,
        ..WITHHOLD
    });
    taken(&[&c.fast, &c.slow, &c.slow_busy, &c.kernel_release]);
}

#[test]
fn withhold_and_signal() {
    let c = holds(Setup {
        plans: &[SYSTEM_CALL],
        acts: &[Act::Withhold, Act::Signal],
        preemptions: 3,
        ..PLAIN
    });
    taken(&[&c.handed_over, &c.slow, &c.wanted]);
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
    caught(WITHHOLD, Mutant::NoEvent, &["claimable though withheld"]);
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
