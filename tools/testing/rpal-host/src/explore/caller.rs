// SPDX-License-Identifier: GPL-2.0

//! A caller's task.

use super::ghost::plain;
use super::setup::{count, Body, Mutant};
use super::world::{owner, Held, Ticket, World};
use crate::lease::{Grant, GrantCall, Release};
use crate::lease_word::{self as word, claim, release_fast, LeaseWord};
use loom::sync::atomic::Ordering;

impl World {
    /// Whether the hook is passed instead of the next user instruction. What the caller does
    /// without a loom operation after this is that instruction.
    pub(super) fn kicked(&self, i: usize) -> bool {
        self.kicks[i].swap(false, Ordering::AcqRel)
    }

    pub(super) fn caller(&self, i: usize) {
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

    pub(super) fn call(&self, i: usize, body: Body) {
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
    pub(super) fn instruction(&self, i: usize) {
        if plain(&self.watch.ghost).evicted[i] {
            self.watch.fail("caller runs in a dead receiver");
        }
        self.watch.stop_if_failed();
        self.touch_context();
    }

    /// T6.
    pub(super) fn release(&self, i: usize) {
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
    pub(super) fn hand_over(&self, i: usize) {
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
    pub(super) fn call_slow(&self, i: usize) {
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
    pub(super) fn reply<'a>(&'a self, mut k: Held<'a>, i: usize) {
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
}
