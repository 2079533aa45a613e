// SPDX-License-Identifier: GPL-2.0

//! Contexts that only the receiver's own task may run, and those that are lost.

use crate::lease::{Grant, GrantCall, Kill, Lease, Park, Release, Resume, State, Want};
use crate::lease_states::{c, lent, other, parked, scribbles, wanted, Quiet, STATES};
use crate::lease_word::{self as word, claim, release_fast, Disturbed, LeaseWord};
use std::cell::Cell;

/// A receiver that has parked and lends its context to nobody.
fn withheld() -> (Lease, Quiet) {
    let (mut lease, w) = (Lease::new(), Quiet(Cell::new(word::OFF)));
    assert_eq!(lease.park_withheld(&w), Park::Parked);
    assert_eq!(w.load(), word::ready(1) | word::EVENT);
    (lease, w)
}

#[test]
fn park_withheld() {
    for (state, make) in STATES {
        for scribble in scribbles() {
            let (mut lease, w) = make();
            w.0.set(scribble);
            if state == State::Native {
                assert_eq!(lease.park_withheld(&w), Park::Parked);
                assert_eq!(w.load(), word::ready(1) | word::EVENT);
                assert_eq!(lease.state(), State::Parked);
            } else {
                assert_eq!(lease.park_withheld(&w), Park::Refused);
                assert_eq!((w.load(), lease.state()), (scribble, state));
            }
        }
    }
}

/// Nobody claims it in user mode; the slow path and the receiver find it as if it were ready.
#[test]
fn a_withheld_context_is_the_kernels_to_give() {
    let (mut lease, w) = withheld();
    assert!(word::is_ready(w.load()));
    assert_eq!(claim(&w, c()), Err(Disturbed));
    assert_eq!(lease.grant_call(&w), GrantCall::Granted);
    assert_eq!(w.load(), word::OFF);
    assert_eq!(lease.resume(), Resume::Take);

    let (mut lease, w) = withheld();
    assert_eq!(lease.want(&w), Want::Native);
    assert_eq!((w.load(), lease.state()), (word::OFF, State::Native));

    let (mut lease, w) = withheld();
    assert_eq!(lease.kill(&w), Kill::Evict);
    assert_eq!(w.load(), word::OFF);

    // Nothing of it is left for the next time.
    let (mut lease, w) = withheld();
    assert_eq!(lease.grant_call(&w), GrantCall::Granted);
    assert_eq!(lease.resume(), Resume::Take);
    assert_eq!(lease.park(&w), Park::Parked);
    assert_eq!(w.load(), word::ready(2));
    assert_eq!(claim(&w, c()), Ok(2));
}

#[test]
fn withhold() {
    for (state, make) in STATES {
        for scribble in scribbles() {
            let (mut lease, w) = make();
            w.0.set(scribble);
            lease.withhold(&w);
            assert_eq!(lease.state(), state);
            let bits = if state == State::Parked {
                word::EVENT
            } else {
                0
            };
            assert_eq!(w.load(), scribble | bits);
        }
    }
}

#[test]
fn what_is_parked_can_be_withheld() {
    let (mut lease, w) = parked();
    lease.withhold(&w);
    assert_eq!(claim(&w, c()), Err(Disturbed));
    assert_eq!(lease.grant_call(&w), GrantCall::Granted);
}

/// From its release on, which comes to the kernel and wakes the receiver to park again.
#[test]
fn what_is_lent_is_withheld_later() {
    let (mut lease, w) = lent();
    lease.withhold(&w);
    assert_eq!(release_fast(&w, c()), Err(Disturbed));
    assert_eq!(lease.release(&w, c()), Release::Native);
    assert_eq!((w.load(), lease.state()), (word::OFF, State::Native));

    // Or it comes back by a hand-over.
    let (mut lease, w) = lent();
    lease.withhold(&w);
    assert_eq!(lease.grant(&w), Grant::Granted);
    assert_eq!(w.load(), word::OFF);

    // A receiver that waits for it has it next anyway.
    let (mut lease, w) = wanted();
    lease.withhold(&w);
    assert_eq!(release_fast(&w, c()), Err(Disturbed));
    assert_eq!(lease.release(&w, c()), Release::Native);
}

#[test]
fn lose() {
    for (state, make) in STATES {
        for scribble in scribbles() {
            let (mut lease, w) = make();
            w.0.set(scribble);
            let lost = lease.lose(&w, c());
            let held = scribble & 0xffff_fff3 == word::lent(c(), 0);
            if held && matches!(state, State::Parked | State::Wanted) {
                assert!(lost);
                assert_eq!((w.load(), lease.state()), (word::OFF, State::Native));
                // Once, and nobody else has it before the receiver offers it again.
                assert!(!lease.lose(&w, c()));
                assert_eq!(lease.grant(&w), Grant::Stale);
                assert_eq!(lease.resume(), Resume::Native);
            } else {
                assert!(!lost);
                assert_eq!((w.load(), lease.state()), (scribble, state));
            }
        }
    }
}

/// As for T6: after its release in user mode, a caller has nothing to lose.
#[test]
fn lose_compares_the_owner() {
    let (mut lease, w) = lent();
    assert_eq!(release_fast(&w, c()), Ok(()));
    assert_eq!(claim(&w, other()), Ok(2));
    assert!(!lease.lose(&w, c()));
    assert_eq!(w.load(), word::lent(other(), 2));
    assert!(lease.lose(&w, other()));
}
