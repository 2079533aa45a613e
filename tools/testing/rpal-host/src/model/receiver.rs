// SPDX-License-Identifier: GPL-2.0

//! The receiver's steps.

use super::descriptor::{Phase, Poll};
use super::world::{At, Kick, Mutant, Setup, Task, World};
use crate::lease::{Event, Kill, Resume, State, Want};

impl World {
    /// The receiver's task, and what happens to it.
    pub(super) fn receiver_steps(&self, setup: &Setup, out: &mut Vec<(String, World)>) {
        if setup.descriptor {
            self.descriptor_steps(setup, out);
        } else {
            self.plain_steps(setup, out);
        }
        let mut add = |name: &str, step: &dyn Fn(&mut World)| {
            let mut next = self.clone();
            step(&mut next);
            out.push((name.to_owned(), next));
        };
        if setup.kill && self.task != Task::Exited {
            add("receiver is killed", &|w| w.die(setup));
        }
        if setup.withhold && self.lend && self.task != Task::Exited {
            add("receiver ceases to lend", &|w| {
                w.lend = false;
                w.with(setup, |lease, word| lease.withhold(word));
            });
        }
        // A receiver in user mode sees to its signals at once: only a waiting one matters.
        let waits = matches!(self.task, Task::Waiting | Task::Replying(_));
        if waits && !self.signal && !setup.starving {
            add("signal", &|w| {
                w.signal = true;
                // A sleep between two kicks is for fatal signals only.
                if w.poll.phase != Phase::Rekick {
                    w.wake();
                }
            });
        }
    }

    /// The sleep as one step, and events that come and go with it.
    fn plain_steps(&self, setup: &Setup, out: &mut Vec<(String, World)>) {
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
        if matches!(self.task, Task::Waiting | Task::Replying(_)) && !self.event {
            add("event", &|w| (w.event, w.woken) = (true, true));
        }
    }

    /// T9.
    pub(super) fn die(&mut self, setup: &Setup) {
        let outcome = self.with(setup, |lease, word| lease.kill(word));
        assert_ne!(outcome, Kill::AlreadyDead);
        if outcome == Kill::Evict && setup.mutant != Some(Mutant::NoEviction) {
            for i in 0..self.callers.len() {
                self.kick(i, Kick::Evicted);
            }
        }
        self.wake_slow_callers();
        for caller in &mut self.callers {
            // The ticket fails.
            if caller.at == At::Await {
                caller.at = At::Idle;
            }
        }
        self.reply_to = None;
        self.task = Task::Exited;
        (self.signal, self.event, self.woken) = (false, false, false);
        self.poll = Poll::default();
    }

    /// T7.
    pub(super) fn want(&mut self, setup: &Setup) -> Want {
        let want = self.with(setup, |lease, w| lease.want(w));
        match want {
            Want::Native => {}
            Want::Kick(owner) => self.kick(usize::from(owner.slot()) - 1, Kick::Kicked),
            Want::KickAll => {
                for i in 0..self.callers.len() {
                    self.kick(i, Kick::Kicked);
                }
            }
            Want::Granted | Want::Dead => unreachable!(),
        }
        want
    }

    /// One pass of the receiver's sleep loop.
    pub(super) fn look(&mut self, setup: &Setup) {
        match self.lease.resume() {
            // It crashes.
            Resume::Native if self.lost => self.die(setup),
            Resume::Take | Resume::Native => self.task = Task::User,
            Resume::Dead => unreachable!(),
            Resume::Sleep if self.signal => {
                if self.want(setup) == Want::Native {
                    self.task = Task::User;
                }
            }
            Resume::Sleep if self.event => match self.with(setup, |lease, w| lease.event(w)) {
                Event::Native => self.task = Task::User,
                Event::Noted => {}
                Event::Granted | Event::Dead => unreachable!(),
            },
            Resume::Sleep => {}
        }
    }
}
