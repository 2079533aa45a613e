// SPDX-License-Identifier: GPL-2.0

//! Every transition from every state, with the words that belong there and with others.

use crate::lease::{Event, Grant, GrantCall, Kill, Park, Release, Resume, State, Want};
use crate::lease_states::{c, lent, other, parked, scribbles, Quiet, STATES};
use crate::lease_word::{self as word, claim, release_fast, Disturbed, LeaseWord, Owner};
use std::cell::Cell;

#[test]
fn owner() {
    assert_eq!(Owner::new(0, 5), None);
    assert_eq!(Owner::new(255, 5), None);
    for slot in 1..=254 {
        for index in [0, 1, 255] {
            let o = Owner::new(slot, index).unwrap();
            assert_eq!((o.slot(), o.index()), (slot, index));
            let w = word::lent(o, 0xffff_ffff);
            assert_eq!(word::borrower(w), Some(o));
            assert_eq!(word::borrower(w | word::WANTED | word::EVENT), Some(o));
            assert_eq!(word::borrower(w | word::READY), None);
            assert_eq!(word::borrower(w & !word::LENT), None);
            assert!(word::is_lent_to(w | word::EVENT, o));
            assert!(!word::is_lent_to(w | (1 << 31), o));
            assert!(!word::is_lent_to(w, Owner::new(3, 3).unwrap()) || o.bits() == 0x30300);
        }
    }
}

#[test]
fn deltas() {
    for seq in [0, 1, 0x7fff_ffff, 0xffff_ffff] {
        let lent = word::ready(seq).wrapping_add(word::claim_delta(c()));
        assert_eq!(lent, word::lent(c(), seq));
        let ready = lent.wrapping_add(word::release_delta(c()));
        assert_eq!(ready, word::ready(seq.wrapping_add(1)));
        assert_eq!(word::seq(lent), seq);
    }
}

#[test]
fn t1_park() {
    for (state, make) in STATES {
        for scribble in scribbles() {
            let (mut lease, w) = make();
            w.0.set(scribble);
            if state == State::Native {
                assert_eq!(lease.park(&w), Park::Parked);
                assert_eq!(w.load(), word::ready(1));
                assert_eq!(lease.state(), State::Parked);
            } else {
                assert_eq!(lease.park(&w), Park::Refused);
                assert_eq!((w.load(), lease.state()), (scribble, state));
            }
        }
    }
}

#[test]
fn t2_t4_user() {
    for w in scribbles() {
        let q = Quiet(Cell::new(w));
        let claimed = claim(&q, c());
        if w & 0xffff_ffff == word::READY {
            assert_eq!(claimed, Ok(word::seq(w)));
            assert_eq!(q.load(), word::lent(c(), word::seq(w)));
            assert_eq!(release_fast(&q, other()), Err(Disturbed));
            assert_eq!(release_fast(&q, c()), Ok(()));
            assert_eq!(q.load(), word::ready(word::seq(w).wrapping_add(1)));
        } else {
            assert_eq!(claimed, Err(Disturbed));
            assert_eq!(q.load(), w);
            let mine = w & 0xffff_ffff == word::lent(c(), 0);
            assert_eq!(release_fast(&q, c()).is_ok(), mine);
        }
    }
}

#[test]
fn t5_grant() {
    for (state, make) in STATES {
        for scribble in scribbles() {
            let (mut lease, w) = make();
            w.0.set(scribble);
            let outcome = lease.grant(&w);
            match state {
                State::Parked | State::Wanted => {
                    assert_eq!(outcome, Grant::Granted);
                    assert_eq!((w.load(), lease.state()), (word::OFF, State::Granted));
                    // At most one context per park.
                    assert_eq!(lease.grant(&w), Grant::Stale);
                }
                State::Native | State::Granted => assert_eq!(outcome, Grant::Stale),
                State::Dead => assert_eq!(outcome, Grant::Dead),
            }
            if !matches!(state, State::Parked | State::Wanted) {
                assert_eq!((w.load(), lease.state()), (scribble, state));
            }
        }
    }
}

#[test]
fn slow_grant() {
    for (state, make) in STATES {
        for scribble in scribbles() {
            let (mut lease, w) = make();
            w.0.set(scribble);
            let outcome = lease.grant_call(&w);
            match state {
                State::Parked if scribble & 3 == word::READY => {
                    assert_eq!(outcome, GrantCall::Granted);
                    assert_eq!((w.load(), lease.state()), (word::OFF, State::Granted));
                }
                State::Parked => {
                    assert_eq!(outcome, GrantCall::Busy);
                    assert_eq!(w.load(), scribble | word::EVENT);
                    assert_eq!(lease.state(), State::Parked);
                }
                State::Dead => assert_eq!(outcome, GrantCall::Dead),
                _ => assert_eq!(outcome, GrantCall::Busy),
            }
            if state != State::Parked {
                assert_eq!((w.load(), lease.state()), (scribble, state));
            }
        }
    }
}

#[test]
fn t6_release() {
    for (state, make) in STATES {
        for scribble in scribbles() {
            let (mut lease, w) = make();
            w.0.set(scribble);
            let outcome = lease.release(&w, c());
            let held = scribble & 0xffff_fff3 == word::lent(c(), 0);
            let event = scribble & word::EVENT != 0;
            match (state, held) {
                (State::Dead, _) => assert_eq!(outcome, Release::Dead),
                (State::Native | State::Granted, _) | (_, false) => {
                    assert_eq!(outcome, Release::NotHeld);
                }
                (State::Parked, true) if !event => {
                    assert_eq!(outcome, Release::Ready);
                    let next = word::seq(scribble).wrapping_add(1);
                    assert_eq!((w.load(), lease.state()), (word::ready(next), state));
                    continue;
                }
                (State::Parked | State::Wanted, true) => {
                    assert_eq!(outcome, Release::Native);
                    assert_eq!((w.load(), lease.state()), (word::OFF, State::Native));
                    continue;
                }
            }
            assert_eq!((w.load(), lease.state()), (scribble, state));
        }
    }
}

#[test]
fn t7_want() {
    for (state, make) in STATES {
        for scribble in scribbles() {
            let (mut lease, w) = make();
            w.0.set(scribble);
            let outcome = lease.want(&w);
            match state {
                State::Parked | State::Wanted if scribble & 3 == word::READY => {
                    assert_eq!(outcome, Want::Native);
                    assert_eq!((w.load(), lease.state()), (word::OFF, State::Native));
                }
                State::Parked | State::Wanted => {
                    match word::borrower(scribble) {
                        Some(o) => assert_eq!(outcome, Want::Kick(o)),
                        None => assert_eq!(outcome, Want::KickAll),
                    }
                    assert_eq!(w.load(), scribble | word::WANTED);
                    assert_eq!(lease.state(), State::Wanted);
                    // To be called again and again.
                    assert_eq!(lease.want(&w), outcome);
                }
                State::Native => assert_eq!(outcome, Want::Native),
                State::Granted => assert_eq!(outcome, Want::Granted),
                State::Dead => assert_eq!(outcome, Want::Dead),
            }
            if !matches!(state, State::Parked | State::Wanted) {
                assert_eq!((w.load(), lease.state()), (scribble, state));
            }
        }
    }
}

#[test]
fn t8_event() {
    for (state, make) in STATES {
        for scribble in scribbles() {
            let (mut lease, w) = make();
            w.0.set(scribble);
            let outcome = lease.event(&w);
            match state {
                State::Parked if scribble & 3 == word::READY => {
                    assert_eq!(outcome, Event::Native);
                    assert_eq!((w.load(), lease.state()), (word::OFF, State::Native));
                }
                State::Parked => {
                    assert_eq!(outcome, Event::Noted);
                    assert_eq!(w.load(), scribble | word::EVENT);
                    assert_eq!(lease.state(), State::Parked);
                }
                State::Native => assert_eq!(outcome, Event::Native),
                State::Wanted => assert_eq!(outcome, Event::Noted),
                State::Granted => assert_eq!(outcome, Event::Granted),
                State::Dead => assert_eq!(outcome, Event::Dead),
            }
            if state != State::Parked {
                assert_eq!((w.load(), lease.state()), (scribble, state));
            }
        }
    }
}

#[test]
fn t9_kill() {
    for (state, make) in STATES {
        for scribble in scribbles() {
            let (mut lease, w) = make();
            w.0.set(scribble);
            let expected = match state {
                State::Native => Kill::Alone,
                State::Dead => Kill::AlreadyDead,
                _ => Kill::Evict,
            };
            assert_eq!(lease.kill(&w), expected);
            assert_eq!(lease.state(), State::Dead);
            if state != State::Dead {
                assert_eq!(w.load(), word::OFF);
            }
            // Final, whatever the word.
            w.0.set(word::ready(1));
            assert_eq!(lease.grant(&w), Grant::Dead);
            assert_eq!(lease.grant_call(&w), GrantCall::Dead);
            assert_eq!(lease.release(&w, c()), Release::Dead);
            assert_eq!(lease.want(&w), Want::Dead);
            assert_eq!(lease.event(&w), Event::Dead);
            assert_eq!(lease.resume(), Resume::Dead);
            assert_eq!(lease.park(&w), Park::Refused);
            assert_eq!(lease.kill(&w), Kill::AlreadyDead);
        }
    }
}

#[test]
fn t10_resume() {
    for (state, make) in STATES {
        let (mut lease, _) = make();
        let expected = match state {
            State::Native => Resume::Native,
            State::Parked | State::Wanted => Resume::Sleep,
            State::Granted => Resume::Take,
            State::Dead => Resume::Dead,
        };
        assert_eq!(lease.resume(), expected);
        if state == State::Granted {
            // The stored context is taken once.
            assert_eq!(lease.resume(), Resume::Native);
        } else {
            assert_eq!(lease.state(), state);
        }
    }
}

/// The sequence number moves on with every lease, also those that only user mode sees.
#[test]
fn sequence() {
    let (mut lease, w) = parked();
    for seq in 1..10 {
        assert_eq!(claim(&w, c()), Ok(seq));
        assert_eq!(release_fast(&w, c()), Ok(()));
    }
    assert_eq!(lease.want(&w), Want::Native);
    assert_eq!(lease.park(&w), Park::Parked);
    assert_eq!(w.load(), word::ready(11));
    // A number from the past is not believed, so that it cannot come again ...
    w.0.set(word::ready(3));
    assert_eq!(lease.want(&w), Want::Native);
    assert_eq!(lease.park(&w), Park::Parked);
    assert_eq!(w.load(), word::ready(12));
    // ... and it wraps.
    w.0.set(word::ready(0x7fff_ffff));
    assert_eq!(lease.want(&w), Want::Native);
    assert_eq!(lease.park(&w), Park::Parked);
    w.0.set(word::ready(0xffff_ffff));
    assert_eq!(lease.want(&w), Want::Native);
    assert_eq!(lease.park(&w), Park::Parked);
    assert_eq!(w.load(), word::ready(0));
}

/// A caller that is interrupted just after its own release must not free the next one's lease.
#[test]
fn t6_compares_the_owner() {
    let (mut lease, w) = lent();
    assert_eq!(release_fast(&w, c()), Ok(()));
    assert_eq!(claim(&w, other()), Ok(2));
    assert_eq!(lease.release(&w, c()), Release::NotHeld);
    assert_eq!(w.load(), word::lent(other(), 2));
}

/// A caller in the slow path hears of a release in user mode.
#[test]
fn slow_caller_is_noticed() {
    let (mut lease, w) = lent();
    assert_eq!(lease.grant_call(&w), GrantCall::Busy);
    assert_eq!(release_fast(&w, c()), Err(Disturbed));
    assert_eq!(lease.release(&w, c()), Release::Native);
    assert_eq!(lease.resume(), Resume::Native);
    assert_eq!(lease.park(&w), Park::Parked);
    assert_eq!(lease.grant_call(&w), GrantCall::Granted);
    assert_eq!(lease.resume(), Resume::Take);
}
