// SPDX-License-Identifier: GPL-2.0

//! The receiver's sleep loop with a descriptor, step by step: the look at the file, the decision,
//! the announcement of a sleep, the sleep. What is read once is written once, so that the file may
//! change, and wake the task, between any two of these.
//!
//! The loop itself is `rpal/park.rs`; `tests/park` runs that. Here its histories are unbounded.

use super::world::{At, Kick, Mutant, Setup, Task, World};
use crate::lease::{Event, Resume, State, Want};
use crate::lease_word as word;

/// Where the loop is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// About to forget earlier changes of the file.
    #[default]
    Clear,
    /// About to look at the file.
    Test,
    /// About to park, or to look at the lease.
    Decide,
    /// Parked, with an answer to be given to this caller (T11).
    Answer(usize),
    /// The sleep is announced.
    Announced,
    Asleep,
    /// Asleep until the context is back or it is time for another kick.
    Rekick,
}

/// How far the file's side is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Writer {
    #[default]
    Idle,
    /// The file is ready; the queue is to be told.
    Written,
    /// One of the two is done: the flag is set, the task is woken.
    Half,
}

/// The loop's variables, by their names in the kernel, and the file's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Poll {
    pub(super) phase: Phase,
    pub(super) writer: Writer,
    triggered: bool,
    event: bool,
    parked: bool,
    told: bool,
    late: bool,
}

impl World {
    /// Something that the receiver may wait for has happened.
    pub(super) fn wake(&mut self) {
        self.woken = true;
        let phase = &mut self.poll.phase;
        if matches!(phase, Phase::Announced | Phase::Asleep | Phase::Rekick) {
            *phase = Phase::Clear;
        }
    }

    /// The program goes on.
    fn leave(&mut self) {
        self.task = Task::User;
        // It is off the queue.
        self.poll = Poll {
            writer: self.poll.writer,
            ..Poll::default()
        };
        self.signal = false;
    }

    pub(super) fn descriptor_steps(&self, setup: &Setup, out: &mut Vec<(String, World)>) {
        let is = |mutant| setup.mutant == Some(mutant);
        let mut add = |name: &str, step: &dyn Fn(&mut World)| {
            let mut next = self.clone();
            step(&mut next);
            out.push((name.to_owned(), next));
        };
        match (self.task, self.poll.phase) {
            (Task::User, _) => {
                if self.event {
                    add("receiver reads", &|w| w.event = false);
                }
                add("receiver waits", &|w| {
                    w.task = Task::Waiting;
                    // With an answer to give, it has not been told yet.
                    w.poll.told = w.reply_to.is_none();
                });
            }
            (Task::Waiting, phase @ (Phase::Clear | Phase::Test)) => {
                let (forgets, next) = match phase {
                    Phase::Clear => (!is(Mutant::ClearLate), Phase::Test),
                    _ => (is(Mutant::ClearLate), Phase::Decide),
                };
                if forgets {
                    add("receiver forgets changes", &|w| {
                        (w.poll.triggered, w.poll.phase) = (false, next);
                    });
                } else {
                    add("receiver polls", &|w| {
                        (w.poll.event, w.poll.phase) = (w.event, next);
                        w.poll.late &= w.event;
                    });
                }
            }
            (Task::Waiting, Phase::Decide) if !self.poll.parked => {
                if self.poll.event && !self.poll.told {
                    add("receiver is told", &|w| {
                        let answer = w.reply_to.take();
                        w.answer(answer);
                        w.leave();
                    });
                } else {
                    add("receiver parks", &|w| {
                        let answer = w.reply_to.take();
                        w.park(setup);
                        (w.poll.parked, w.poll.told) = (true, false);
                        if let Some(i) = answer {
                            w.poll.phase = Phase::Answer(i);
                        }
                    });
                }
            }
            (Task::Waiting, Phase::Answer(i)) => add("receiver answers", &|w| {
                w.answer(Some(i));
                w.poll.phase = Phase::Decide;
            }),
            (Task::Waiting, Phase::Decide) => add("receiver looks", &|w| w.look_with_file(setup)),
            (Task::Waiting, Phase::Announced) => add("receiver goes to sleep", &|w| {
                let awake = w.signal || (w.poll.triggered && !is(Mutant::NoRecheck));
                w.poll.phase = if awake { Phase::Clear } else { Phase::Asleep };
            }),
            (Task::Waiting, Phase::Asleep) => {
                if self.poll.event && !self.poll.late && !is(Mutant::NoPatience) {
                    add("receiver loses patience", &|w| {
                        (w.poll.late, w.poll.phase) = (true, Phase::Clear);
                    });
                }
            }
            (Task::Waiting, Phase::Rekick) => {
                if self.callers.iter().all(|c| c.kick == Kick::None) {
                    add("time for another kick", &|w| w.poll.phase = Phase::Clear);
                }
            }
            (Task::Replying(_), _) => unreachable!(),
            (Task::Exited, _) => {}
        }
        self.writer_steps(setup, out);
    }

    /// Whoever makes the file ready: any task, at any time.
    fn writer_steps(&self, setup: &Setup, out: &mut Vec<(String, World)>) {
        if self.task == Task::Exited {
            return;
        }
        let mut next = self.clone();
        let wake_first = setup.mutant == Some(Mutant::WakeFirst);
        let name = match self.poll.writer {
            Writer::Idle if self.event => return,
            Writer::Idle => {
                (next.event, next.poll.writer) = (true, Writer::Written);
                "event"
            }
            writer => {
                // Nobody is on the queue but who waits.
                let queued = self.task == Task::Waiting;
                if queued && (writer == Writer::Written) == wake_first {
                    next.wake();
                } else {
                    next.poll.triggered = queued;
                }
                next.poll.writer = match writer {
                    Writer::Written => Writer::Half,
                    _ => Writer::Idle,
                };
                "the queue is told"
            }
        };
        out.push((name.to_owned(), next));
    }

    fn answer(&mut self, to: Option<usize>) {
        if let Some(i) = to {
            // The caller may be dead; then there is no ticket.
            if self.callers[i].at == At::Await {
                self.callers[i].at = At::Idle;
            }
        }
    }

    /// One look at the lease.
    fn look_with_file(&mut self, setup: &Setup) {
        match self.lease.resume() {
            Resume::Native if self.lost => return self.die(setup),
            Resume::Take => return self.leave(),
            Resume::Native => return self.is_native(),
            Resume::Dead => unreachable!(),
            Resume::Sleep => {}
        }
        if self.signal || self.poll.late {
            match self.want(setup) {
                Want::Native => self.is_native(),
                _ => self.poll.phase = Phase::Rekick,
            }
            return;
        }
        if self.poll.event {
            match self.with(setup, |lease, w| lease.event(w)) {
                Event::Native => return self.is_native(),
                Event::Noted => {}
                Event::Granted | Event::Dead => unreachable!(),
            }
        }
        self.poll.phase = Phase::Announced;
    }

    fn is_native(&mut self) {
        if self.poll.event || self.signal {
            self.leave();
        } else {
            self.poll.phase = Phase::Clear;
            self.poll.parked = false;
        }
    }

    /// What must hold of a receiver that waits for a file, in every state.
    pub(super) fn check_file(&self) -> Result<(), &'static str> {
        if self.task != Task::Waiting || self.poll.phase != Phase::Asleep {
            return Ok(());
        }
        if matches!(self.lease.state(), State::Native | State::Granted) || self.signal {
            return Err("the receiver sleeps with a reason to be awake");
        }
        if self.event && self.poll.writer == Writer::Idle {
            if word::is_ready(self.word) {
                return Err("the receiver sleeps with an event");
            }
            if self.word & (word::EVENT | word::WANTED) == 0 {
                return Err("the release does not know of the event");
            }
        }
        Ok(())
    }
}
