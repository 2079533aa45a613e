// SPDX-License-Identifier: MIT OR Apache-2.0

//! The measurements, the same for every mechanism.

use crate::clock;
use crate::message::{self, Ask, BadMessage, LEN};

/// A way to have a message answered, one at a time.
pub trait Transport {
    /// What can go wrong with it.
    type Error;

    /// Sends `request` and waits for the reply to it.
    ///
    /// # Errors
    ///
    /// The mechanism's own.
    fn exchange(&mut self, request: &[u8; LEN], reply: &mut [u8; LEN]) -> Result<(), Self::Error>;
}

/// Why a measurement failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BenchError<E> {
    /// The mechanism failed.
    Transport(E),
    /// A reply is not the one that was to come.
    BadReply,
}

impl<E> From<BadMessage> for BenchError<E> {
    fn from(_: BadMessage) -> Self {
        Self::BadReply
    }
}

impl<E: std::fmt::Display> std::fmt::Display for BenchError<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Transport(error) => error.fmt(f),
            Self::BadReply => BadMessage.fmt(f),
        }
    }
}

impl<E: std::fmt::Debug + std::fmt::Display> std::error::Error for BenchError<E> {}

/// Messages that go first, so that what is needed once (page faults, caches)
/// is not measured.
pub const WARM_UP: u64 = 1000;

/// Exchanges `count` messages of kind `ask`, and calls `check` with each
/// answer. Returns the ticks that they took together.
///
/// # Errors
///
/// See [`BenchError`].
#[inline(never)]
pub fn round_trips<T: Transport>(
    transport: &mut T,
    ask: Ask,
    count: u64,
    check: impl Fn(u64) -> bool,
) -> Result<u64, BenchError<T::Error>> {
    let mut reply = [0; LEN];
    let start = clock::now();
    for sequence in 0..count {
        let request = message::request(sequence, ask);
        transport
            .exchange(&request, &mut reply)
            .map_err(BenchError::Transport)?;
        if !check(message::check_reply(&reply, sequence)?) {
            return Err(BenchError::BadReply);
        }
    }
    Ok(clock::now() - start)
}

/// Exchanges `count` messages and adds up the ticks from just before each is
/// sent until the receiver has it: a reading of the clock on each end, so every
/// span has the cost of one reading in it. Both ends must read the same
/// clock, which they do on one CPU.
///
/// # Errors
///
/// See [`BenchError`].
#[inline(never)]
pub fn one_ways<T: Transport>(transport: &mut T, count: u64) -> Result<u64, BenchError<T::Error>> {
    let mut reply = [0; LEN];
    let mut total = 0;
    for sequence in 0..count {
        let request = message::request(sequence, Ask::Clock);
        let sent = clock::now();
        transport
            .exchange(&request, &mut reply)
            .map_err(BenchError::Transport)?;
        let arrived = message::check_reply(&reply, sequence)?;
        total += arrived.saturating_sub(sent);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers by itself; damages the reply to one message.
    struct Local {
        damage: Option<u64>,
        count: u64,
    }

    impl Transport for Local {
        type Error = BadMessage;

        fn exchange(
            &mut self,
            request: &[u8; LEN],
            reply: &mut [u8; LEN],
        ) -> Result<(), BadMessage> {
            message::answer(request, reply)?;
            if self.damage == Some(self.count) {
                reply[31] ^= 1;
            }
            self.count += 1;
            Ok(())
        }
    }

    #[test]
    fn all_messages_are_exchanged() {
        let mut local = Local {
            damage: None,
            count: 0,
        };
        assert!(round_trips(&mut local, Ask::Echo, 10, |answer| answer == 0).is_ok());
        assert!(one_ways(&mut local, 10).is_ok());
        assert_eq!(local.count, 20);
    }

    #[test]
    fn one_damaged_reply_fails_the_measurement() {
        let mut local = Local {
            damage: Some(5),
            count: 0,
        };
        assert_eq!(
            round_trips(&mut local, Ask::Echo, 10, |_| true),
            Err(BenchError::BadReply)
        );
        local.count = 0;
        assert_eq!(one_ways(&mut local, 10), Err(BenchError::BadReply));
    }

    #[test]
    fn an_answer_that_does_not_please_fails_the_measurement() {
        let mut local = Local {
            damage: None,
            count: 0,
        };
        let result = round_trips(&mut local, Ask::ProcessId, 1, |answer| answer == 0);
        assert_eq!(result, Err(BenchError::BadReply));
    }
}
