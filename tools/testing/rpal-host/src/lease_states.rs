// SPDX-License-Identifier: GPL-2.0

//! A receiver in each state, by the transitions that lead there.

use crate::lease::{Grant, Kill, Lease, Park, State, Want};
use crate::lease_word::{self as word, claim, LeaseWord, Owner};
use std::cell::Cell;

/// A word that nobody else touches.
pub(crate) struct Quiet(pub(crate) Cell<u64>);

impl LeaseWord for Quiet {
    fn load(&self) -> u64 {
        self.0.get()
    }
    fn compare_exchange(&self, old: u64, new: u64) -> Result<u64, u64> {
        let found = self.0.get();
        if found != old {
            return Err(found);
        }
        self.0.set(new);
        Ok(found)
    }
    fn swap(&self, new: u64) -> u64 {
        self.0.replace(new)
    }
    fn fetch_or(&self, bits: u64) -> u64 {
        self.0.replace(self.0.get() | bits)
    }
    fn store_release(&self, new: u64) {
        self.0.set(new);
    }
}

pub(crate) fn c() -> Owner {
    Owner::new(7, 200).unwrap()
}

pub(crate) fn other() -> Owner {
    Owner::new(7, 201).unwrap()
}

/// A receiver that is parked for the first time.
pub(crate) fn parked() -> (Lease, Quiet) {
    let (mut lease, w) = (Lease::new(), Quiet(Cell::new(word::OFF)));
    assert_eq!(lease.park(&w), Park::Parked);
    assert_eq!(w.load(), word::ready(1));
    (lease, w)
}

pub(crate) fn lent() -> (Lease, Quiet) {
    let (lease, w) = parked();
    assert_eq!(claim(&w, c()), Ok(1));
    assert_eq!(w.load(), word::lent(c(), 1));
    (lease, w)
}

pub(crate) fn wanted() -> (Lease, Quiet) {
    let (mut lease, w) = lent();
    assert_eq!(lease.want(&w), Want::Kick(c()));
    assert_eq!(w.load(), word::lent(c(), 1) | word::WANTED);
    (lease, w)
}

fn granted() -> (Lease, Quiet) {
    let (mut lease, w) = lent();
    assert_eq!(lease.grant(&w), Grant::Granted);
    assert_eq!(w.load(), word::OFF);
    (lease, w)
}

fn dead() -> (Lease, Quiet) {
    let (mut lease, w) = lent();
    assert_eq!(lease.kill(&w), Kill::Evict);
    assert_eq!(w.load(), word::OFF);
    (lease, w)
}

fn native() -> (Lease, Quiet) {
    (Lease::new(), Quiet(Cell::new(word::OFF)))
}

pub(crate) type Make = fn() -> (Lease, Quiet);

/// A receiver in each state.
pub(crate) const STATES: [(State, Make); 5] = [
    (State::Native, native),
    (State::Parked, parked),
    (State::Wanted, wanted),
    (State::Granted, granted),
    (State::Dead, dead),
];

/// Words that a peer might leave behind.
pub(crate) fn scribbles() -> Vec<u64> {
    let mut words = vec![0, u64::MAX, u64::MAX - 1, 1 << 63, 0xdead_beef];
    for low in 0..16 {
        for holder in [0, c().bits(), other().bits(), 0xff << 16, 0xff00] {
            for seq in [0, 1, 2, u64::from(u32::MAX), 1 << 31] {
                words.push((seq << 32) | holder | low);
            }
        }
    }
    words
}
