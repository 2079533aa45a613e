// SPDX-License-Identifier: GPL-2.0

//! The kernel's side of the lease when user space changes the word before every single access.

use crate::lease::{Event, Grant, GrantCall, Kill, Lease, Park, Release, Resume, State, Want};
use crate::lease_word::{LeaseWord, Owner};
use proptest::prelude::*;
use std::cell::{Cell, RefCell};

/// A word that is overwritten, or not, before every access.
struct Hostile {
    value: Cell<u64>,
    scribbles: RefCell<std::vec::IntoIter<Option<u64>>>,
    accesses: Cell<u32>,
}

impl Hostile {
    fn scribble(&self) -> u64 {
        self.accesses.set(self.accesses.get() + 1);
        if let Some(Some(value)) = self.scribbles.borrow_mut().next() {
            self.value.set(value);
        }
        self.value.get()
    }
}

impl LeaseWord for Hostile {
    fn load(&self) -> u64 {
        self.scribble()
    }
    fn compare_exchange(&self, old: u64, new: u64) -> Result<u64, u64> {
        let found = self.scribble();
        if found != old {
            return Err(found);
        }
        self.value.set(new);
        Ok(found)
    }
    fn swap(&self, new: u64) -> u64 {
        let found = self.scribble();
        self.value.set(new);
        found
    }
    fn fetch_or(&self, bits: u64) -> u64 {
        let found = self.scribble();
        self.value.set(found | bits);
        found
    }
    fn store_release(&self, new: u64) {
        self.scribble();
        self.value.set(new);
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Park,
    ParkWithheld,
    Withhold,
    Lose(u8),
    Grant,
    GrantCall,
    Release(u8),
    Want,
    Event,
    Kill,
    Resume,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => Just(Op::Park),
        2 => Just(Op::ParkWithheld),
        2 => Just(Op::Withhold),
        1 => (1..3u8).prop_map(Op::Lose),
        3 => Just(Op::Grant),
        3 => Just(Op::GrantCall),
        4 => (1..3u8).prop_map(Op::Release),
        3 => Just(Op::Want),
        3 => Just(Op::Event),
        1 => Just(Op::Kill),
        4 => Just(Op::Resume),
    ]
}

fn scribble() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![
        4 => Just(None),
        1 => any::<u64>().prop_map(Some),
        // Mostly the words of the two callers, with and without the bits.
        4 => (0..3u64, 0..16u64, 0..4u64)
            .prop_map(|(slot, low, seq)| Some((seq << 32) | (slot << 16) | low)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn hostile_word(
        ops in proptest::collection::vec(op(), 0..60),
        scribbles in proptest::collection::vec(scribble(), 0..120),
    ) {
        let word = Hostile {
            value: Cell::new(0),
            scribbles: RefCell::new(scribbles.into_iter()),
            accesses: Cell::new(0),
        };
        let mut lease = Lease::new();
        // A context has been accepted and not been taken yet.
        let mut stored = false;
        for op in ops {
            let before = lease.state();
            word.accesses.set(0);
            // What the outcome promises about the state, by the table of transitions alone.
            let ok = match op {
                Op::Park | Op::ParkWithheld => {
                    let parked = if matches!(op, Op::Park) {
                        lease.park(&word)
                    } else {
                        lease.park_withheld(&word)
                    };
                    match parked {
                        Park::Parked => before == State::Native && lease.state() == State::Parked,
                        Park::Refused => before != State::Native && lease.state() == before,
                    }
                }
                Op::Withhold => {
                    lease.withhold(&word);
                    lease.state() == before
                }
                Op::Lose(slot) => {
                    if lease.lose(&word, Owner::new(slot, 0).unwrap()) {
                        matches!(before, State::Parked | State::Wanted)
                            && lease.state() == State::Native
                    } else {
                        lease.state() == before
                    }
                }
                Op::Grant => match lease.grant(&word) {
                    Grant::Granted => {
                        let accepted = !stored;
                        stored = true;
                        accepted
                            && matches!(before, State::Parked | State::Wanted)
                            && lease.state() == State::Granted
                    }
                    Grant::Stale => lease.state() == before,
                    Grant::Dead => before == State::Dead,
                },
                Op::GrantCall => match lease.grant_call(&word) {
                    GrantCall::Granted => {
                        let accepted = !stored;
                        stored = true;
                        accepted
                            && before == State::Parked
                            && lease.state() == State::Granted
                    }
                    GrantCall::Busy => before != State::Dead && lease.state() == before,
                    GrantCall::Dead => before == State::Dead,
                },
                Op::Release(slot) => {
                    match lease.release(&word, Owner::new(slot, 0).unwrap()) {
                        Release::Ready => {
                            before == State::Parked && lease.state() == State::Parked
                        }
                        Release::Native => {
                            matches!(before, State::Parked | State::Wanted)
                                && lease.state() == State::Native
                        }
                        Release::NotHeld => before != State::Dead && lease.state() == before,
                        Release::Dead => before == State::Dead,
                    }
                }
                Op::Want => match lease.want(&word) {
                    Want::Native => lease.state() == State::Native,
                    Want::Granted => before == State::Granted && lease.state() == before,
                    Want::Kick(owner) => {
                        (1..=254).contains(&owner.slot()) && lease.state() == State::Wanted
                    }
                    Want::KickAll => lease.state() == State::Wanted,
                    Want::Dead => before == State::Dead,
                },
                Op::Event => match lease.event(&word) {
                    Event::Native => lease.state() == State::Native,
                    Event::Granted => before == State::Granted && lease.state() == before,
                    Event::Noted => {
                        matches!(before, State::Parked | State::Wanted)
                            && lease.state() == before
                    }
                    Event::Dead => before == State::Dead,
                },
                Op::Kill => match lease.kill(&word) {
                    Kill::Evict => !matches!(before, State::Native | State::Dead),
                    Kill::Alone => before == State::Native,
                    Kill::AlreadyDead => before == State::Dead,
                },
                Op::Resume => match lease.resume() {
                    Resume::Take => {
                        let taken = stored;
                        stored = false;
                        taken && before == State::Granted && lease.state() == State::Native
                    }
                    Resume::Native => before == State::Native && lease.state() == before,
                    Resume::Sleep => {
                        matches!(before, State::Parked | State::Wanted)
                            && lease.state() == before
                    }
                    Resume::Dead => before == State::Dead,
                },
            };
            prop_assert!(ok, "{op:?}: {before:?} -> {:?}", lease.state());
            prop_assert!(before != State::Dead || lease.state() == State::Dead);
            // The lock is held for a bounded time.
            prop_assert!(word.accesses.get() <= 2);
            if lease.state() == State::Dead {
                stored = false;
            }
        }
    }
}
