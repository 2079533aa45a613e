// SPDX-License-Identifier: GPL-2.0

//! A state: the lease with its word, and where everybody is.

use super::descriptor::Poll;
use crate::lease::{Lease, Park, Release, State};
use crate::lease_word::{self as word, LeaseWord, Owner};
use std::cell::Cell;

/// What a run is about, beside callers, signals and events.
#[derive(Clone, Copy, Default)]
pub(super) struct Setup {
    pub(super) callers: usize,
    /// The receiver may be killed at any time.
    pub(super) kill: bool,
    /// Callers may be killed, or jump out of the gate, at any time.
    pub(super) unruly: bool,
    /// Callers may take the slow path at any time.
    pub(super) slow: bool,
    /// The receiver may cease to lend its context, at any time and for good.
    pub(super) withhold: bool,
    /// Callers may lose a context that they run.
    pub(super) lose: bool,
    /// The receiver waits for a descriptor, whose events last until its program reads them.
    pub(super) descriptor: bool,
    /// Callers in the context get no CPU until they are kicked, and there are no signals for which
    /// they would be.
    pub(super) starving: bool,
    pub(super) mutant: Option<Mutant>,
}

/// A known mistake to be found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutant {
    /// The release in user mode is a store.
    PlainStore,
    /// WANTED does not reach the word.
    NoWanted,
    /// EVENT does not reach the word.
    NoEvent,
    /// The receiver dies without evicting the borrower.
    NoEviction,
    /// T6 takes the lease from whoever has it.
    AnyOwner,
    /// A context that was lost is given up as by T6.
    LostReleased,
    /// The flag that the file has changed is not looked at once a sleep is announced.
    NoRecheck,
    /// The flag is cleared behind the look at the file.
    ClearLate,
    /// The flag is set behind the wake-up.
    WakeFirst,
    /// An event waits for the release, however long it takes.
    NoPatience,
}

pub(super) struct Word<'a> {
    pub(super) value: &'a Cell<u64>,
    pub(super) mutant: Option<Mutant>,
}

impl LeaseWord for Word<'_> {
    fn load(&self) -> u64 {
        self.value.get()
    }
    fn compare_exchange(&self, old: u64, new: u64) -> Result<u64, u64> {
        let found = self.value.get();
        if found != old {
            return Err(found);
        }
        self.value.set(new);
        Ok(found)
    }
    fn swap(&self, new: u64) -> u64 {
        self.value.replace(new)
    }
    fn fetch_or(&self, bits: u64) -> u64 {
        let lost = match self.mutant {
            Some(Mutant::NoWanted) => word::WANTED,
            Some(Mutant::NoEvent) => word::EVENT,
            _ => 0,
        };
        self.value.replace(self.value.get() | (bits & !lost))
    }
    fn store_release(&self, new: u64) {
        self.value.set(new);
    }
}

/// Where the receiver's task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Task {
    /// In user mode, in its own context.
    User,
    /// It has parked again and is about to complete the ticket of this caller (T11).
    Replying(usize),
    /// In the sleep loop.
    Waiting,
    Exited,
}

/// Where a caller is. The letters are the regions of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum At {
    Idle,
    /// A: the claim is announced.
    Announced,
    /// G0: claimed, before WRFSBASE.
    Claimed,
    /// G1, body, G2: in the receiver's context.
    Body,
    /// G3: WRFSBASE back is done.
    Back,
    /// G3, after the release, with the announcement still standing.
    Released,
    /// The release failed: about to make the system call.
    NeedRelease,
    /// Has handed over, waits for the reply.
    Await,
    /// In the slow path, about to look at the receiver.
    Slow,
    /// In the slow path, asleep.
    SlowAsleep,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kick {
    None,
    /// Will pass the hook some time.
    Kicked,
    /// Has taken the eviction interrupt: passes the hook before its next user instruction.
    Evicted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Caller {
    pub(super) at: At,
    pub(super) kick: Kick,
    /// The announcement in the caller's own control block.
    pub(super) claim: bool,
}

#[derive(Clone)]
pub(super) struct World {
    pub(super) word: u64,
    pub(super) lease: Lease,
    pub(super) task: Task,
    pub(super) signal: bool,
    pub(super) event: bool,
    /// The receiver has been woken and has not looked yet.
    pub(super) woken: bool,
    /// There is a descriptor: the receiver's loop.
    pub(super) descriptor: bool,
    pub(super) poll: Poll,
    /// Who waits for the call that the receiver runs natively.
    pub(super) reply_to: Option<usize>,
    /// Callers may have the context in user mode.
    pub(super) lend: bool,
    /// The context was run, and did not come back: the receiver will be told.
    pub(super) lost: bool,
    /// The same, as nobody inside knows it.
    pub(super) torn: bool,
    pub(super) callers: Vec<Caller>,
}

/// A world without its sequence numbers, which no step depends on.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) word: u32,
    pub(super) lease: u8,
    pub(super) task: Task,
    pub(super) signal: bool,
    pub(super) event: bool,
    pub(super) woken: bool,
    pub(super) poll: Poll,
    pub(super) reply_to: Option<usize>,
    pub(super) lend: bool,
    pub(super) lost: bool,
    pub(super) torn: bool,
    pub(super) callers: Vec<Caller>,
}

pub(super) fn owner(i: usize) -> Owner {
    Owner::new(1 + u8::try_from(i).unwrap(), 0).unwrap()
}

impl World {
    pub(super) fn new(setup: &Setup) -> Self {
        let caller = Caller {
            at: At::Idle,
            kick: Kick::None,
            claim: false,
        };
        Self {
            word: word::OFF,
            lease: Lease::new(),
            task: Task::User,
            signal: false,
            event: false,
            woken: false,
            descriptor: setup.descriptor,
            poll: Poll::default(),
            reply_to: None,
            lend: true,
            lost: false,
            torn: false,
            callers: vec![caller; setup.callers],
        }
    }

    pub(super) fn key(&self) -> Key {
        Key {
            word: self.word as u32,
            lease: self.lease.state() as u8,
            task: self.task,
            signal: self.signal,
            event: self.event,
            // With a descriptor, the loop's phase says it.
            woken: self.woken && !self.descriptor,
            poll: self.poll,
            reply_to: self.reply_to,
            lend: self.lend,
            lost: self.lost,
            torn: self.torn,
            callers: self.callers.clone(),
        }
    }

    /// Runs `f` on the lease and the word.
    pub(super) fn with<R>(
        &mut self,
        setup: &Setup,
        f: impl FnOnce(&mut Lease, &Word<'_>) -> R,
    ) -> R {
        let value = Cell::new(self.word);
        let result = f(
            &mut self.lease,
            &Word {
                value: &value,
                mutant: setup.mutant,
            },
        );
        self.word = value.get();
        result
    }

    pub(super) fn kick(&mut self, i: usize, kick: Kick) {
        let caller = &mut self.callers[i];
        // Callers in the kernel pass the hook on their way out; nothing of theirs is at stake.
        if !matches!(caller.at, At::Gone | At::Await | At::Slow | At::SlowAsleep) {
            caller.kick = kick;
        }
    }

    pub(super) fn wake_slow_callers(&mut self) {
        for caller in &mut self.callers {
            if caller.at == At::SlowAsleep {
                caller.at = At::Slow;
            }
        }
    }

    pub(super) fn park(&mut self, setup: &Setup) {
        let lend = self.lend;
        let outcome = self.with(setup, |lease, w| match lend {
            true => lease.park(w),
            false => lease.park_withheld(w),
        });
        assert_eq!(outcome, Park::Parked);
        self.wake_slow_callers();
    }

    /// T6 for caller `i`.
    pub(super) fn release(&mut self, setup: &Setup, i: usize) {
        let owner = match (setup.mutant, word::borrower(self.word)) {
            (Some(Mutant::AnyOwner), Some(other)) => other,
            _ => owner(i),
        };
        if self.with(setup, |lease, w| lease.release(w, owner)) == Release::Native {
            self.wake();
        }
    }

    pub(super) fn set(&mut self, i: usize, at: At, claim: bool) {
        self.callers[i].at = at;
        self.callers[i].claim = claim;
    }
    pub(super) fn steps(&self, setup: &Setup) -> Vec<(String, World)> {
        let mut out = Vec::new();
        self.receiver_steps(setup, &mut out);
        for i in 0..self.callers.len() {
            self.caller_steps(setup, i, &mut out);
        }
        out
    }

    /// What must hold in every state.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let ready = word::is_ready(self.word);
        let runs = |c: &&Caller| c.at == At::Body && c.kick != Kick::Evicted;
        let inside = self.callers.iter().filter(runs).count();
        if inside > 1 {
            return Err("two callers in one context");
        }
        if inside > 0 && matches!(self.task, Task::User) {
            return Err("receiver native with a caller in its context");
        }
        if inside > 0 && self.task == Task::Exited {
            return Err("caller runs in a dead receiver");
        }
        if ready && !matches!(self.lease.state(), State::Parked | State::Wanted) {
            return Err("READY but not parked");
        }
        if ready && inside > 0 {
            return Err("READY with a caller in the context");
        }
        if self.descriptor {
            self.check_file()?;
        } else {
            self.check_wake_up()?;
        }
        if !self.lend && word::is_claimable(self.word) {
            return Err("claimable though withheld");
        }
        if self.torn && (ready || self.task == Task::User) {
            return Err("a lost context is offered or run");
        }
        let slow = self.callers.iter().any(|c| c.at == At::SlowAsleep);
        if ready && slow {
            return Err("slow caller sleeps though READY");
        }
        Ok(())
    }

    /// Whoever sleeps without a descriptor has no reason to be awake.
    fn check_wake_up(&self) -> Result<(), &'static str> {
        if word::is_ready(self.word) && !self.woken && (self.signal || self.event) {
            return Err("lost wake-up");
        }
        if self.lease.state() == State::Granted && self.task != Task::User && !self.woken {
            return Err("granted, but the receiver sleeps");
        }
        Ok(())
    }
}
