// SPDX-License-Identifier: GPL-2.0

//! The receiver's task.

use super::setup::{count, Mutant};
use super::world::{Held, Ticket, World};
use crate::lease::{Event, Kill, Park, Resume, Want};
use loom::sync::atomic::Ordering;

impl World {
    pub(super) fn park(&self, k: &mut Held<'_>) {
        // Signals and events were dealt with natively.
        (k.signal, k.event, k.woken) = (false, false, false);
        self.watch.note(|g| g.native = false);
        let parked = if k.lend {
            k.lease.park(&self.word)
        } else {
            k.lease.park_withheld(&self.word)
        };
        assert_eq!(parked, Park::Parked);
        self.callers_wake.notify_all();
    }

    pub(super) fn receiver(&self) {
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

    pub(super) fn complete(&self, reply_to: Option<usize>) {
        if let Some(i) = reply_to {
            let mut k = self.lock();
            k.tickets[i] = Ticket::Done;
            self.callers_wake.notify_all();
        }
    }

    /// The sleep loop. Returns with the receiver native, and with whom it has to reply to; or
    /// `None` when it has died.
    pub(super) fn sleep<'a>(&'a self, mut k: Held<'a>) -> Option<Option<usize>> {
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

    pub(super) fn die<'a>(&'a self, mut k: Held<'a>) {
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
}
