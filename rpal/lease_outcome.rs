// SPDX-License-Identifier: GPL-2.0

//! What the transitions of a lease answer: what is to be done next.

#[cfg(doc)]
use crate::lease::Lease;
use crate::lease_word::Owner;

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
