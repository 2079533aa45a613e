// SPDX-License-Identifier: GPL-2.0

//! The receiver's program: an event loop.

use crate::{
    arch::SI,
    prelude::*,
    setup::{Act, Body},
    stats,
    task,
    thread::become_task_of,
    wait,
    world::World, //
};

/// Where a call starts; any other address is in the middle of one that was handed over.
pub(crate) const ENTRY: u64 = 0x1000;

/// Any descriptor.
const FD: i32 = 0;

impl World {
    pub(crate) fn run_receiver(&self) {
        become_task_of(Some(self.receiver.clone()));
        let timeout = self.setup.timeout.map_or(u64::MAX, |ms| ms * 1_000_000);
        let wait = || wait::wait(ENTRY, 0, timeout, FD);
        let has = |act| self.setup.acts.iter().any(|acts| acts.contains(&act));
        let overtakes = |body: &Body| *body != Body::Slow;
        let overtaken = self.setup.plans.iter().any(|p| p.iter().any(overtakes))
            || (0..self.callers.len()).any(|i| has(Act::Interrupt(i)));
        self.watch.runs();
        let mut result = wait();
        // It may have returned without a sleep.
        task::first_sleep();
        loop {
            self.watch.stop_if_failed();
            if self.receiver.inner.lock().lease.state() == crate::lease::State::Dead {
                break;
            }
            self.watch.runs();
            if task::fatal_signal_pending(kernel::current!()) {
                self.receiver.die();
                break;
            }
            let context = self.receiver.frame.lock().unwrap().loaded.take();
            if let Some(context) = context {
                let id = context.r[SI];
                if context.ip == ENTRY {
                    self.watch.begins(id);
                }
                self.watch.ends(id);
                let event = self.receiver.file.is_ready();
                result = wait::reply(0);
                let another = self.receiver.frame.lock().unwrap().loaded.is_some();
                if event && another && !has(Act::Steal) {
                    self.watch.fail("an event waits for more than one call");
                }
                continue;
            }
            match result {
                Ok(_) => {
                    stats::TOLD.inc();
                    if self.setup.always_ready {
                        // It has other things to do as well.
                        loom::thread::yield_now();
                    } else if !self.receiver.file.read() {
                        stats::TOLD_TOO_LATE.inc();
                        if !has(Act::Steal) {
                            self.watch.fail("the receiver was told of nothing");
                        }
                    } else if self.happened() {
                        break;
                    }
                    // Whoever has starved does not for ever.
                    self.callers.iter().for_each(|c| task::kick(&c.task));
                }
                Err(ERESTARTSYS) => {}
                Err(ETIMEDOUT) => {
                    stats::TIMED_OUT.inc();
                    if self.setup.timeout.is_none() {
                        self.watch.fail("a wait without an end has ended");
                    }
                }
                Err(_) => self.watch.fail("an error that nothing is a reason for"),
            }
            // The handler runs.
            if self.receiver.task.take_signal() && self.is_over() {
                break;
            }
            let queued = !self.receiver.inner.lock().queue.is_empty();
            result = wait();
            let begun = self.receiver.frame.lock().unwrap().loaded.is_some();
            if queued && !begun && result == Ok(0) && !overtaken {
                self.watch.fail("a call waits for more than one event");
            }
        }
        become_task_of(None);
    }
}
