// SPDX-License-Identifier: GPL-2.0

//! The tests.

use crate::{
    setup::{put_in, Act, Body, Mutant, Setup, PLAIN},
    stats::{self, Counter},
    task,
    world::{Watch, World},
};
use std::{
    panic::{catch_unwind, AssertUnwindSafe},
    sync::{Arc, Mutex as PlainMutex},
};

/// Explores all interleavings of `setup`. The error is the violation, or loom's own message.
fn explore(setup: Setup) -> Result<(), String> {
    let violation = Arc::new(PlainMutex::new(None));
    let seen = violation.clone();
    stats::reset();
    put_in(setup.mutant);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(setup.preemptions);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        builder.check(move || {
            let watch = Watch::new(violation.clone());
            let world = Arc::new(World::new(setup, watch.clone()));
            if setup.always_ready {
                world.receiver.file.write();
            }
            let callers = world.clone();
            task::at_first_sleep(move || {
                for (i, first) in World::first_calls(setup.plans).into_iter().enumerate() {
                    let world = callers.clone();
                    loom::thread::spawn(move || world.run_caller(i, first));
                }
            });
            if setup.early {
                task::first_sleep();
            }
            let spawn_acts = |acts: &'static [Act]| {
                let world = world.clone();
                loom::thread::spawn(move || world.run_acts(acts));
            };
            setup.acts.iter().copied().for_each(spawn_acts);
            world.run_receiver();
            world.check_end();
            watch.stop_if_failed();
        });
    }));
    put_in(None);
    let first = *seen.lock().unwrap_or_else(|e| e.into_inner());
    match (first, outcome) {
        (Some(what), _) => Err(what.to_owned()),
        (None, Ok(())) => Ok(()),
        (None, Err(payload)) => Err(payload
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()))
            .unwrap_or_else(|| "a panic without a message".to_owned())),
    }
}

/// Explores, expects no violation, and that each of `paths` was taken in some interleaving.
fn holds(setup: Setup, paths: &[&Counter]) {
    if let Err(what) = explore(setup) {
        panic!("{what}");
    }
    println!("{}", stats::text());
    for path in paths {
        assert_ne!(path.get(), 0, "{} has not happened", path.name());
    }
}

/// The same with each of several environments; each path has to be taken in one of them.
fn holds_in(setup: Setup, environments: &[&'static [&'static [Act]]], paths: &[&Counter]) {
    let mut taken = vec![0; paths.len()];
    for acts in environments {
        holds(Setup { acts, ..setup }, &[]);
        for (sum, path) in taken.iter_mut().zip(paths) {
            *sum += path.get();
        }
    }
    for (sum, path) in taken.iter().zip(paths) {
        assert_ne!(*sum, 0, "{} has not happened", path.name());
    }
}

/// Explores with a mistake put in and expects one of `violations`.
fn caught(setup: Setup, mutant: Mutant, violations: &[&str]) {
    let mutant = Some(mutant);
    let what = explore(Setup { mutant, ..setup }).expect_err("the mistake was not found");
    println!("{what}");
    assert!(
        violations.iter().any(|v| what.contains(v)),
        "found something else: {what}"
    );
}

/// loom's word for somebody who waits for ever.
const DEADLOCK: &[&str] = &["deadlock"];

const EVENT: &[&[Act]] = &[&[Act::Event]];
const QUICK: &[Body] = &[Body::Quick];
const SLOW: &[Body] = &[Body::Slow];
const SYSTEM_CALL: &[Body] = &[Body::SystemCall];

const ALONE: Setup = Setup {
    acts: EVENT,
    preemptions: 4,
    ..PLAIN
};
const ONE: Setup = Setup {
    plans: &[QUICK],
    acts: EVENT,
    ..PLAIN
};
const HAND_OVER: Setup = Setup {
    plans: &[SYSTEM_CALL],
    ..ONE
};
/// The borrower is in the way of the event.
const STARVING: Setup = Setup {
    plans: &[&[Body::Starving]],
    acts: &[&[Act::Event, Act::Time(1)]],
    ..PLAIN
};

#[test]
fn event_alone() {
    holds(ALONE, &[&stats::EVENT_READY, &stats::TOLD]);
}

#[test]
fn two_events() {
    holds(
        Setup {
            acts: &[&[Act::Event, Act::Event]],
            ..ALONE
        },
        &[&stats::EVENT_READY, &stats::TOLD],
    );
}

#[test]
fn one_call() {
    holds(
        Setup {
            preemptions: 3,
            ..ONE
        },
        &[
            &stats::EVENT_READY,
            &stats::EVENT_LENT,
            &stats::FAST,
            &stats::RELEASE_NATIVE,
        ],
    );
}

#[test]
fn two_callers() {
    holds(
        Setup {
            plans: &[QUICK, SLOW],
            preemptions: 1,
            ..ONE
        },
        &[
            &stats::EVENT_LENT,
            &stats::EVENT_NATIVE,
            &stats::CALL_QUEUED,
            &stats::GRANT_QUEUED,
        ],
    );
}

/// The receiver parks for the first time.
#[test]
fn early_call() {
    holds(
        Setup { early: true, ..ONE },
        &[&stats::EVENT_LENT, &stats::EVENT_NATIVE, &stats::FAST],
    );
}

#[test]
fn hand_over() {
    holds(
        HAND_OVER,
        &[&stats::EVENT_LENT, &stats::EVENT_NATIVE, &stats::GRANT],
    );
}

/// T8, then T7.
#[test]
fn starving_borrower() {
    holds(
        STARVING,
        &[
            &stats::EVENT_LENT,
            &stats::EVENT_LATE,
            &stats::EVENT_NATIVE,
            &stats::GRANT,
        ],
    );
}

/// T8, then T7, and another caller in the queue.
#[test]
fn starving_borrower_and_queue() {
    holds(
        Setup {
            plans: &[&[Body::Starving], SLOW],
            preemptions: 1,
            ..STARVING
        },
        &[&stats::EVENT_LATE, &stats::CALL_QUEUED],
    );
}

/// T7 and T8 at the same time.
#[test]
fn signal() {
    holds_in(
        HAND_OVER,
        &[&[&[Act::Event, Act::Signal]], &[&[Act::Signal, Act::Event]]],
        &[&stats::EVENT_LENT, &stats::WANTED, &stats::EVENT_NATIVE],
    );
}

#[test]
fn end_of_time() {
    holds_in(
        Setup {
            timeout: Some(5),
            ..HAND_OVER
        },
        &[
            &[&[Act::Event, Act::Time(2)]],
            &[&[Act::Time(2), Act::Event]],
        ],
        &[&stats::EVENT_LENT, &stats::WANTED, &stats::TIMED_OUT],
    );
}

#[test]
fn kill() {
    let environments: &[&[&[Act]]] = &[&[&[Act::Event, Act::Kill]], &[&[Act::Kill, Act::Event]]];
    for plans in [&[QUICK], &[SYSTEM_CALL], &[SLOW]] {
        let setup = Setup { plans, ..HAND_OVER };
        holds_in(setup, environments, &[&stats::BROKEN_PIPE]);
    }
}

/// A call that has not begun is made again; one that has is waited for.
#[test]
fn interrupted_caller() {
    holds_in(
        Setup {
            plans: &[SLOW],
            ..HAND_OVER
        },
        &[
            &[&[Act::Event, Act::Interrupt(0)]],
            &[&[Act::Interrupt(0), Act::Event]],
        ],
        &[&stats::CALL_AGAIN, &stats::AWAIT_AGAIN],
    );
}

#[test]
fn kicked_caller() {
    holds_in(
        ONE,
        &[
            &[&[Act::Event, Act::Kick(0)]],
            &[&[Act::Kick(0), Act::Event]],
        ],
        &[&stats::EVENT_LENT, &stats::GRANT],
    );
}

#[test]
fn withheld() {
    holds_in(
        ONE,
        &[
            &[&[Act::Event, Act::Withhold]],
            &[&[Act::Withhold, Act::Event]],
        ],
        &[
            &stats::WITHHELD,
            &stats::EVENT_READY,
            &stats::RELEASE_NATIVE,
        ],
    );
}

/// Another thread is faster: the receiver sleeps on, or is told of nothing.
#[test]
fn event_taken_away() {
    holds(
        Setup {
            acts: &[&[Act::Event, Act::Steal]],
            ..ONE
        },
        &[&stats::TOLD, &stats::TOLD_TOO_LATE, &stats::EVENT_LENT],
    );
}

/// Calls and events take turns.
#[test]
fn always_ready() {
    holds(
        Setup {
            plans: &[SLOW, SLOW],
            always_ready: true,
            preemptions: 1,
            ..PLAIN
        },
        &[&stats::GRANT_QUEUED, &stats::EVENT_NATIVE],
    );
}

#[test]
fn mutant_no_event() {
    // If the word is READY after all, the bit keeps callers away while the context is taken back.
    let both = "the receiver is both lent and running";
    caught(ONE, Mutant::NoEvent, &["deadlock", both]);
}

#[test]
fn mutant_no_recheck() {
    caught(ALONE, Mutant::NoRecheck, DEADLOCK);
}

#[test]
fn mutant_clear_late() {
    caught(ALONE, Mutant::ClearLate, DEADLOCK);
}

#[test]
fn mutant_wake_first() {
    caught(ALONE, Mutant::WakeFirst, DEADLOCK);
}

#[test]
fn mutant_no_patience() {
    caught(STARVING, Mutant::NoPatience, DEADLOCK);
}
