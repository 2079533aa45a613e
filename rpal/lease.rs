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
//! | T8 | receiver, `event` | Parked | READY: Native, OFF; LENT: EVENT noted |
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

/// The layout of the lease word, as in `include/uapi/linux/rpal.h`.
///
/// Low half: state, bits and borrower. High half: a sequence number.
pub(crate) mod word {
    use super::Owner;

    /// Parked, nobody may claim it, or not parked at all.
    pub(crate) const OFF: u64 = 0;
    /// Parked, may be claimed.
    pub(crate) const READY: u64 = 1 << 0;
    /// Claimed by the borrower.
    pub(crate) const LENT: u64 = 1 << 1;
    /// The receiver wants its context back.
    pub(crate) const WANTED: u64 = 1 << 2;
    /// The receiver, or a caller in the slow path, waits for the release. On a word that is
    /// READY: claims have to come to the kernel.
    pub(crate) const EVENT: u64 = 1 << 3;
    /// Not parked, and not to call in user mode: the thread's block may have a second user.
    pub(crate) const AWAY: u64 = 1 << 4;
    /// Borrower: thread index, 8 bits.
    pub(crate) const INDEX_SHIFT: u32 = 8;
    /// Borrower: slot number, 8 bits.
    pub(crate) const SLOT_SHIFT: u32 = 16;
    /// The sequence number.
    pub(crate) const SEQ_SHIFT: u32 = 32;

    /// The low half of a word.
    const LOW: u64 = (1 << SEQ_SHIFT) - 1;
    /// The low half without the bits that the kernel sets while the context is lent.
    const HOLDER: u64 = LOW & !(WANTED | EVENT);

    /// The sequence number in `word`.
    pub(crate) const fn seq(word: u64) -> u32 {
        (word >> SEQ_SHIFT) as u32
    }

    /// READY(`seq`).
    pub(crate) const fn ready(seq: u32) -> u64 {
        ((seq as u64) << SEQ_SHIFT) | READY
    }

    /// LENT(`owner`, `seq`).
    pub(crate) const fn lent(owner: Owner, seq: u32) -> u64 {
        ((seq as u64) << SEQ_SHIFT) | LENT | owner.bits()
    }

    /// What a claim adds to READY(s) for LENT(`owner`, s).
    pub(crate) const fn claim_delta(owner: Owner) -> u64 {
        lent(owner, 0).wrapping_sub(ready(0))
    }

    /// What a release adds to LENT(`owner`, s) for READY(s + 1).
    ///
    /// The sequence number is the high half, so a carry out of it is lost and it just wraps.
    pub(crate) const fn release_delta(owner: Owner) -> u64 {
        ready(1).wrapping_sub(lent(owner, 0))
    }

    /// Whether nobody has claimed the parked context.
    ///
    /// The other bits do not matter: no claim succeeds while one is set, and the kernel sets
    /// none on a READY word except on its way to OFF, and EVENT for a context that it withholds.
    pub(crate) const fn is_ready(word: u64) -> bool {
        word & (READY | LENT) == READY
    }

    /// Whether the word is LENT(`owner`, any), with or without WANTED and EVENT.
    pub(crate) const fn is_lent_to(word: u64, owner: Owner) -> bool {
        word & HOLDER == LENT | owner.bits()
    }

    /// The borrower that `word` names, if it is lent and names one that can exist.
    pub(crate) const fn borrower(word: u64) -> Option<Owner> {
        if word & (READY | LENT) != LENT {
            return None;
        }
        // The casts take the 8 bits of each field.
        Owner::new((word >> SLOT_SHIFT) as u8, (word >> INDEX_SHIFT) as u8)
    }

    /// Whether a claim may start from `word`: READY and no bit beside it.
    #[cfg(any(test, rpal_host))]
    pub(crate) const fn is_claimable(word: u64) -> bool {
        word & LOW == READY
    }

    /// Whether a release in user mode may start from `word`: LENT(`owner`) and no bit beside it.
    #[cfg(any(test, rpal_host))]
    pub(crate) const fn is_releasable(word: u64, owner: Owner) -> bool {
        word & LOW == LENT | owner.bits()
    }
}

/// A registered thread as the lease word names it.
///
/// # Invariants
///
/// `slot` is 1 to 254.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    slot: u8,
    index: u8,
}

impl Owner {
    /// Thread `index` of the service in slot `slot`; `None` if there can be no such slot.
    pub(crate) const fn new(slot: u8, index: u8) -> Option<Self> {
        if slot == 0 || slot == u8::MAX {
            return None;
        }
        // INVARIANT: 0 and 255 were just refused.
        Some(Self { slot, index })
    }

    /// The slot number, 1 to 254.
    #[cfg(any(test, rpal_host))]
    pub(crate) const fn slot(self) -> u8 {
        self.slot
    }

    /// The thread's index in its service.
    pub(crate) const fn index(self) -> u8 {
        self.index
    }

    /// The owner in its place in the lease word.
    pub(crate) const fn bits(self) -> u64 {
        ((self.slot as u64) << word::SLOT_SHIFT) | ((self.index as u64) << word::INDEX_SHIFT)
    }
}

/// Access to one lease word, which user space may change at any time.
///
/// The orderings are the least that the protocol needs; the module's documentation names the
/// partners. A stronger one (x86 locked instructions, the kernel's fully ordered atomics) will do.
pub(crate) trait LeaseWord {
    /// Acquire load.
    fn load(&self) -> u64;
    /// Changes `old` to `new`. Acquire and release on success, acquire on failure, which is never
    /// spurious. Returns the value found.
    fn compare_exchange(&self, old: u64, new: u64) -> Result<u64, u64>;
    /// Acquire and release. Returns the value found.
    fn swap(&self, new: u64) -> u64;
    /// Acquire and release. Returns the value found.
    fn fetch_or(&self, bits: u64) -> u64;
    /// Release store.
    fn store_release(&self, new: u64);
}

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

/// Outcome of [`Lease::park`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Park {
    /// Callers may claim the context from now on. Wake those that wait in the slow path, then
    /// sleep.
    Parked,
    /// Nothing changed: the state is not Native. Do not sleep.
    Refused,
}

/// Outcome of [`Lease::grant`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// Store the context for the receiver and wake it.
    Granted,
    /// The context in hand is not the receiver's any more: drop it, evict the caller (-ESTALE).
    Stale,
    /// The receiver is dead: drop the context, evict the caller (-EPIPE).
    Dead,
}

/// Outcome of [`Lease::grant_call`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GrantCall {
    /// Make the call's context for the receiver and wake it.
    Granted,
    /// Sleep until the receiver parks, then try again. If it was lent, the release will come to
    /// the kernel: [`Release::Native`] wakes the receiver, which parks again.
    Busy,
    /// The receiver is dead (-EPIPE).
    Dead,
}

/// Outcome of [`Lease::release`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// The context can be claimed again; nobody waits for it.
    Ready,
    /// Wake the receiver: it has its context back.
    Native,
    /// The caller does not hold this lease. Nothing changed.
    NotHeld,
    /// The receiver is dead. Nothing changed.
    Dead,
}

/// Outcome of [`Lease::want`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// The receiver has its context: go on as an interrupted wait.
    Native,
    /// The context has been handed over: [`Lease::resume`].
    Granted,
    /// Kick this borrower, wait (killable), and come again if nothing happens.
    Kick(Owner),
    /// The word names no borrower that can exist: kick all that are attached, wait (killable),
    /// and come again if nothing happens.
    KickAll,
    /// The receiver is dead.
    Dead,
}

/// Outcome of [`Lease::event`].
#[cfg(any(test, rpal_host))]
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The receiver has its context: deliver the event.
    Native,
    /// The context has been handed over: [`Lease::resume`].
    Granted,
    /// Sleep on: the release, or the hand-over, will wake the receiver.
    Noted,
    /// The receiver is dead.
    Dead,
}

/// Outcome of [`Lease::kill`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    /// Evict all possible borrowers and wait until no user instruction of theirs can run in the
    /// context, then fail the tickets and go. No lock may be held over that wait.
    Evict,
    /// Nobody can be in the context. Fail the tickets and go.
    Alone,
    /// It was dead before. Nothing changed.
    AlreadyDead,
}

/// Outcome of [`Lease::resume`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    /// Take the stored context: it is the receiver's own again.
    Take,
    /// The receiver's own registers are its context: nobody left anything behind. Look for
    /// signals and events, and park again if there are none.
    Native,
    /// Still parked or wanted: sleep on.
    Sleep,
    /// The receiver is dead.
    Dead,
}

/// The kernel's side of a lease. Protected by the receiver's lock.
///
/// # Invariants
///
/// As long as user space changes the word only as the gate does:
///
/// - the word is not OFF only if `state` is [`State::Parked`] or [`State::Wanted`];
/// - the word has the WANTED bit if `state` is [`State::Wanted`], so that neither a claim nor a
///   release in user mode can succeed;
/// - `seq` never passes the word's sequence number while the word is not OFF, and no sequence
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
    /// A receiver that has never parked. The word must be [`word::OFF`].
    pub(crate) const fn new() -> Self {
        // INVARIANT: the word is OFF.
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

    /// The claim of `owner` is given up as by [`Self::release`], but the context is lost: it was run,
    /// and there is no telling where it is. Nobody else may have it. Returns whether the receiver
    /// has to be woken, which will find it out.
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
    /// Not in the kernel before a receiver can wait for anything but calls and signals; the
    /// slow path uses the same bit.
    #[cfg(any(test, rpal_host))]
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

/// The gate's attempt was disturbed: it takes the slow path.
#[cfg(any(test, rpal_host))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Disturbed;

/// T2 as the gate does it in user mode. Returns the sequence number of the lease.
#[cfg(any(test, rpal_host))]
pub(crate) fn claim<W: LeaseWord + ?Sized>(word: &W, owner: Owner) -> Result<u32, Disturbed> {
    let found = word.load();
    if !word::is_claimable(found) {
        return Err(Disturbed);
    }
    // The acquire pairs with the release store of `Lease::park`, and with the release of T4.
    match word.compare_exchange(found, found.wrapping_add(word::claim_delta(owner))) {
        Ok(_) => Ok(word::seq(found)),
        Err(_) => Err(Disturbed),
    }
}

/// T4 as the gate does it in user mode. On failure the caller must come to the kernel for T6.
#[cfg(any(test, rpal_host))]
pub(crate) fn release_fast<W: LeaseWord + ?Sized>(word: &W, owner: Owner) -> Result<(), Disturbed> {
    let found = word.load();
    if !word::is_releasable(found, owner) {
        return Err(Disturbed);
    }
    // The release pairs with the acquire of the next claim (T2).
    match word.compare_exchange(found, found.wrapping_add(word::release_delta(owner))) {
        Ok(_) => Ok(()),
        Err(_) => Err(Disturbed),
    }
}
