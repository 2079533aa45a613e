// SPDX-License-Identifier: GPL-2.0

//! The lease protocol: who runs a receiver's user context.
//!
//! A receiver that waits for calls *parks*: its user context (stack, FS base, registers) may then
//! be *claimed* by one caller at a time, which runs it in user mode without the kernel's
//! knowledge. Two things describe the lease:
//!
//! - the *lease word*, in a control page that the receiver, its peers and the kernel share. The
//!   gate changes it by compare-and-swap only. It is a hint: any peer may scribble on it at any
//!   time, so every method here is total, and makes at most two accesses to it, for every value
//!   that the word can have and for every change of it in between;
//! - the [`Lease`], which only the kernel sees. It decides.
//!
//! The methods of [`Lease`] are called with the receiver's lock held. They are the transitions
//! T1 and T5 to T10 below; T2 to T4 are user mode, T11 is a [`Lease::park`] that comes *before*
//! the caller's ticket is completed (the caller's next claim must find READY).
//!
//! | | who | from | to |
//! | --- | --- | --- | --- |
//! | T1 | receiver, [`park`](Lease::park) | Native, OFF | Parked, READY(s + 1) |
//! | T2 | caller, user mode, claim | READY(s) exactly | LENT(c, s) |
//! | T3 | caller, user mode | LENT(c, s) | unchanged: runs the receiver's context |
//! | T4 | caller, user mode, release | LENT(c, s) exactly | READY(s + 1) |
//! | T5 | borrower, [`grant`](Lease::grant) | Parked or Wanted, any word | Granted, OFF |
//! | slow | caller, [`grant_call`](Lease::grant_call) | Parked, READY | Granted, OFF |
//! | T6 | caller, [`release`](Lease::release) | LENT(c, any) | READY, or Native and OFF |
//! | T7 | receiver, [`want`](Lease::want) | Parked | READY: Native, OFF; LENT: Wanted |
//! | T8 | receiver, [`event`](Lease::event) | Parked | READY: Native, OFF; LENT: EVENT noted |
//! | T9 | receiver, [`kill`](Lease::kill) | any | Dead, OFF |
//! | T10 | receiver, [`resume`](Lease::resume) | Granted | Native, OFF |
//!
//! Why no wake-up is lost: a claim expects READY and nothing else, a release expects LENT(c, s)
//! and nothing else. Whoever needs to hear of the release sets WANTED or EVENT with an atomic OR,
//! and learns from the old value whether the context was still there. If it was lent, the bit
//! makes the release in user mode fail, and the borrower comes to the kernel for T6.
//!
//! Pairing of the accesses to the word:
//!
//! - the release store in [`Lease::park`] pairs with the acquire of the claim (T2): the borrower
//!   sees what the receiver and its kernel side wrote about the parked context;
//! - the release of T4 pairs with the acquire of the next claim (T2), and with that of the
//!   kernel's next read-modify-write: who gets the context next sees what the borrower left;
//! - the kernel's own read-modify-writes are ordered against each other by the receiver's lock.

pub(crate) use crate::lease_outcome::{
    Event,
    Grant,
    GrantCall,
    Kill,
    Park,
    Release,
    Resume,
    Want, //
};
use crate::lease_word::{
    self as word,
    LeaseWord,
    Owner, //
};

/// What the kernel knows about a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The receiver's own task runs its context, or will without further ado.
    Native,
    /// The context may be claimed or is lent; the receiver sleeps.
    Parked,
    /// The context is lent and the receiver waits to get it back.
    Wanted,
    /// The kernel holds the context; the receiver is about to take it.
    Granted,
    /// The receiver is dying or dead. Final.
    Dead,
}

/// The kernel's side of a lease. Protected by the receiver's lock.
///
/// # Invariants
///
/// As long as user space changes the word only as the gate does:
///
/// - the word is neither OFF nor AWAY only if `state` is [`State::Parked`] or [`State::Wanted`];
/// - the word has the WANTED bit if `state` is [`State::Wanted`], so that neither a claim nor a
///   release in user mode can succeed;
/// - `seq` never passes the word's sequence number while the word has one, and no sequence
///   number is used for two leases (until it wraps).
///
/// Whatever user space does: [`State::Dead`] is final, and a context is accepted
/// ([`Grant::Granted`]) at most once per park.
#[derive(Debug)]
#[cfg_attr(any(test, rpal_host), derive(Clone))]
pub(crate) struct Lease {
    state: State,
    seq: u32,
}

impl Lease {
    /// A receiver that has never parked. The word must be [`word::OFF`] or AWAY.
    pub(crate) const fn new() -> Self {
        // INVARIANT: the word is OFF or AWAY.
        Self {
            state: State::Native,
            seq: 0,
        }
    }

    /// The state.
    pub(crate) const fn state(&self) -> State {
        self.state
    }

    /// Moves `seq` on to that of a word found. The word is a hint: a sequence number that seems to
    /// lie behind is not believed, so that `seq` never goes back.
    fn learn(&mut self, found: u64) {
        let seq = word::seq(found);
        // The distance modulo 2^32, read as a signed number: positive means ahead.
        if (seq.wrapping_sub(self.seq) as i32) > 0 {
            self.seq = seq;
        }
    }

    /// Takes the context out of user space's reach and enters `state`.
    fn withdraw<W: LeaseWord + ?Sized>(&mut self, word: &W, state: State) {
        // The state first or the word first does not matter: claims look at the word only,
        // everybody else holds the lock.
        self.state = state;
        let found = word.swap(word::OFF);
        self.learn(found);
    }

    /// T1: the receiver offers its context.
    ///
    /// Everything that a borrower reads about the context has been written before. For T11 (the
    /// reply to a call that was handed over) this comes first and completing the caller's ticket
    /// second: the caller may call again at once.
    pub(crate) fn park<W: LeaseWord + ?Sized>(&mut self, word: &W) -> Park {
        self.publish(word, word::READY)
    }

    /// As [`Self::park`], for a context that nobody but the receiver's own task may run: claims in
    /// user mode fail, and [`Self::grant_call`] finds it ready.
    pub(crate) fn park_withheld<W: LeaseWord + ?Sized>(&mut self, word: &W) -> Park {
        self.publish(word, word::READY | word::EVENT)
    }

    fn publish<W: LeaseWord + ?Sized>(&mut self, word: &W, low: u64) -> Park {
        if self.state != State::Native {
            return Park::Refused;
        }
        self.seq = self.seq.wrapping_add(1);
        // INVARIANT: the state comes before the word, since a borrower may be in the kernel
        // with the context as soon as the word can be seen; it then waits for the lock.
        self.state = State::Parked;
        // Pairs with the acquire of the claim (T2) in the gate.
        word.store_release(word::ready(self.seq) | low);
        Park::Parked
    }

    /// T5: a borrower hands the receiver's context over.
    ///
    /// The caller has checked that it is attached and that the live FS base is the receiver's.
    /// The word is not asked: it is a hint.
    pub(crate) fn grant<W: LeaseWord + ?Sized>(&mut self, word: &W) -> Grant {
        match self.state {
            State::Parked | State::Wanted => {
                self.withdraw(word, State::Granted);
                Grant::Granted
            }
            State::Native | State::Granted => Grant::Stale,
            State::Dead => Grant::Dead,
        }
    }

    /// The slow path: a caller in the kernel claims the parked context for the receiver itself.
    ///
    /// If the context is lent, EVENT is set, or the caller would sleep through a release in user
    /// mode.
    pub(crate) fn grant_call<W: LeaseWord + ?Sized>(&mut self, word: &W) -> GrantCall {
        match self.state {
            State::Parked => {
                // One OR instead of a loop of compare-and-swaps, which a peer could keep going.
                // If the old value is READY, no claim can succeed any more.
                if word::is_ready(word.fetch_or(word::EVENT)) {
                    self.withdraw(word, State::Granted);
                    GrantCall::Granted
                } else {
                    GrantCall::Busy
                }
            }
            State::Native | State::Wanted | State::Granted => GrantCall::Busy,
            State::Dead => GrantCall::Dead,
        }
    }

    /// T6: the caller `owner`, in the kernel, gives up its claim without having run the context,
    /// or after having left it.
    ///
    /// The owner is compared in the word: if the caller was interrupted just after its release in
    /// user mode, the lease may be another caller's by now.
    pub(crate) fn release<W: LeaseWord + ?Sized>(&mut self, word: &W, owner: Owner) -> Release {
        let back = match self.state {
            State::Parked => false,
            State::Wanted => true,
            State::Native | State::Granted => return Release::NotHeld,
            State::Dead => return Release::Dead,
        };
        let found = word.load();
        if !word::is_lent_to(found, owner) {
            return Release::NotHeld;
        }
        let native = back || found & word::EVENT != 0;
        let new = if native {
            word::OFF
        } else {
            word::ready(word::seq(found).wrapping_add(1))
        };
        // The caller is here and WANTED and EVENT are set under the lock, so only scribbling can
        // make this fail. Then there is nothing to be said about who holds the lease.
        //
        // The release pairs with the acquire of the next claim (T2), in case of OFF with that of
        // the receiver's lock.
        if word.compare_exchange(found, new).is_err() {
            return Release::NotHeld;
        }
        self.learn(found);
        if native {
            self.state = State::Native;
            Release::Native
        } else {
            Release::Ready
        }
    }

    /// The claim of `owner` is given up as by [`Self::release`], but the context is lost: it was
    /// run, and there is no telling where it is. Nobody else may have it. Returns whether the
    /// receiver has to be woken, which will find it out.
    pub(crate) fn lose<W: LeaseWord + ?Sized>(&mut self, word: &W, owner: Owner) -> bool {
        match self.state {
            State::Parked | State::Wanted if word::is_lent_to(word.load(), owner) => {
                self.withdraw(word, State::Native);
                true
            }
            _ => false,
        }
    }

    /// Keeps a parked context from being claimed in user mode, from now on or from its release
    /// on: that comes to the kernel, and the receiver parks again. Nothing otherwise.
    pub(crate) fn withhold<W: LeaseWord + ?Sized>(&mut self, word: &W) {
        if self.state == State::Parked {
            let _found = word.fetch_or(word::EVENT);
        }
    }

    /// T7: the receiver is awake and must have its context: signal, timeout, freezer, stop.
    ///
    /// To be called again while it waits: the borrower is looked up each time.
    pub(crate) fn want<W: LeaseWord + ?Sized>(&mut self, word: &W) -> Want {
        match self.state {
            State::Parked | State::Wanted => {}
            State::Native => return Want::Native,
            State::Granted => return Want::Granted,
            State::Dead => return Want::Dead,
        }
        let found = word.fetch_or(word::WANTED);
        if word::is_ready(found) {
            self.withdraw(word, State::Native);
            return Want::Native;
        }
        // INVARIANT: the bit has just been set.
        self.state = State::Wanted;
        match word::borrower(found) {
            Some(owner) => Want::Kick(owner),
            None => Want::KickAll,
        }
    }

    /// T8: the receiver is awake and has an event that can wait until the end of a call.
    ///
    /// To be called again whenever it is awake: the slow path uses the same bit.
    pub(crate) fn event<W: LeaseWord + ?Sized>(&mut self, word: &W) -> Event {
        match self.state {
            State::Parked => {
                if word::is_ready(word.fetch_or(word::EVENT)) {
                    self.withdraw(word, State::Native);
                    Event::Native
                } else {
                    Event::Noted
                }
            }
            // Every way out of Wanted wakes the receiver.
            State::Wanted => Event::Noted,
            State::Native => Event::Native,
            State::Granted => Event::Granted,
            State::Dead => Event::Dead,
        }
    }

    /// T9: the receiver dies. It never waits for a borrower's consent.
    pub(crate) fn kill<W: LeaseWord + ?Sized>(&mut self, word: &W) -> Kill {
        let outcome = match self.state {
            State::Parked | State::Wanted | State::Granted => Kill::Evict,
            State::Native => Kill::Alone,
            State::Dead => return Kill::AlreadyDead,
        };
        self.withdraw(word, State::Dead);
        outcome
    }

    /// T10: the receiver is awake and looks for its context.
    pub(crate) fn resume(&mut self) -> Resume {
        match self.state {
            State::Granted => {
                self.state = State::Native;
                Resume::Take
            }
            State::Native => Resume::Native,
            State::Parked | State::Wanted => Resume::Sleep,
            State::Dead => Resume::Dead,
        }
    }
}
