// SPDX-License-Identifier: GPL-2.0

//! All reachable states of one receiver and its callers, breadth first.
//!
//! The protocol is the real module; what is here is around it: the receiver's task, the
//! callers' tasks with the regions of the gate, kicks, signals, events and death. A step is one
//! user-mode access to the word, or one critical section of the kernel. Histories are unbounded:
//! the sequence numbers are left out when states are compared.

mod caller;
mod descriptor;
mod receiver;
mod world;

use crate::lease::State;
use std::collections::{HashMap, HashSet};
use world::{At, Mutant, Setup, Task, World};

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
    escape("not told", &|w| w.event)?;
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
            "two callers, slow path, withheld",
            Setup {
                kill: true,
                slow: true,
                withhold: true,
                ..two
            },
        ),
        (
            "two callers, slow path, withheld, lost",
            Setup {
                kill: true,
                slow: true,
                withhold: true,
                lose: true,
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

/// The receiver waits for a descriptor as well.
#[test]
fn all_states_with_a_descriptor() {
    let one = descriptor();
    let setups = [
        ("one caller", one),
        (
            "one caller, starving",
            Setup {
                starving: true,
                ..one
            },
        ),
        (
            "one caller, everything",
            Setup {
                kill: true,
                unruly: true,
                withhold: true,
                lose: true,
                ..one
            },
        ),
        ("two callers", Setup { callers: 2, ..one }),
        (
            "two callers, starving",
            Setup {
                callers: 2,
                starving: true,
                ..one
            },
        ),
        (
            "two callers, kill",
            Setup {
                callers: 2,
                kill: true,
                ..one
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
        withhold: mutant == Mutant::NoEvent,
        lose: mutant == Mutant::LostReleased,
        ..Setup::default()
    };
    caught_in(setup, mutant, violations);
}

/// The same, in a setup of the test's choice.
fn caught_in(setup: Setup, mutant: Mutant, violations: &[&str]) {
    let setup = Setup {
        mutant: Some(mutant),
        ..setup
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
        &[
            "lost wake-up",
            "slow caller sleeps though READY",
            "claimable though withheld",
        ],
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

#[test]
fn mutant_lost_released() {
    caught(Mutant::LostReleased, &["a lost context is offered or run"]);
}

/// A receiver that waits for a descriptor, and nothing that would end the wait otherwise.
fn descriptor() -> Setup {
    Setup {
        callers: 1,
        slow: true,
        descriptor: true,
        ..Setup::default()
    }
}

#[test]
fn mutant_no_event_with_a_descriptor() {
    caught_in(
        descriptor(),
        Mutant::NoEvent,
        &[
            "the release does not know of the event",
            "slow caller sleeps",
        ],
    );
}

#[test]
fn mutant_no_recheck() {
    let sleeps = &["the receiver sleeps with an event"];
    caught_in(descriptor(), Mutant::NoRecheck, sleeps);
    caught_in(descriptor(), Mutant::ClearLate, sleeps);
    caught_in(descriptor(), Mutant::WakeFirst, sleeps);
}

/// T8 that does not become T7.
#[test]
fn mutant_no_patience() {
    caught_in(
        Setup {
            starving: true,
            ..descriptor()
        },
        Mutant::NoPatience,
        &["stuck", "not told for ever"],
    );
}
