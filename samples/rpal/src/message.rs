// SPDX-License-Identifier: MIT OR Apache-2.0

//! The messages: 32 bytes each way, of which both sides check every one.
//!
//! | bytes | request | reply |
//! | --- | --- | --- |
//! | 0..8 | sequence number | the same |
//! | 8..16 | what is asked for | the answer |
//! | 16..24 | pattern A of the sequence number | its complement |
//! | 24..32 | pattern B of the sequence number | its complement |

use crate::clock;

/// Length of a request and of a reply in bytes.
pub const LEN: usize = 32;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Ask {
    /// A reply, and no more.
    Echo = 0,
    /// The clock as soon as the receiver has the request.
    Clock = 1,
    /// The receiver's process number: one system call.
    ProcessId = 2,
}

/// The message is not what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMessage;

impl std::fmt::Display for BadMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a message is damaged")
    }
}

impl std::error::Error for BadMessage {}

#[inline]
fn pattern_a(sequence: u64) -> u64 {
    sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[inline]
fn pattern_b(sequence: u64) -> u64 {
    sequence ^ 0x5250_414c_6563_686f
}

#[inline]
fn pack(words: [u64; 4]) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    for (bytes, word) in bytes.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

#[inline]
fn unpack(bytes: &[u8; LEN]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        let mut le = [0; 8];
        le.copy_from_slice(bytes);
        *word = u64::from_le_bytes(le);
    }
    words
}

/// The request with number `sequence`.
#[inline]
#[must_use]
pub fn request(sequence: u64, ask: Ask) -> [u8; LEN] {
    pack([
        sequence,
        ask as u64,
        pattern_a(sequence),
        pattern_b(sequence),
    ])
}

/// The receiver's work: checks `request`, writes the reply to the front of
/// `reply` and returns its length.
///
/// # Errors
///
/// [`BadMessage`] if the request is not as it was sent, or there is no room.
#[inline]
pub fn answer(request: &[u8], reply: &mut [u8]) -> Result<usize, BadMessage> {
    let request: &[u8; LEN] = request.try_into().map_err(|_| BadMessage)?;
    let reply = reply.first_chunk_mut::<LEN>().ok_or(BadMessage)?;
    let [_, ask, _, _] = unpack(request);
    if ask == Ask::Echo as u64 {
        write_reply(request, 0, reply)
    } else {
        answer_unusual(request, reply)
    }
}

/// Answers whatever is not a plain echo.
#[cold]
#[inline(never)]
fn answer_unusual(request: &[u8; LEN], reply: &mut [u8; LEN]) -> Result<usize, BadMessage> {
    let arrived = clock::now();
    let [_, ask, _, _] = unpack(request);
    let value = if ask == Ask::Clock as u64 {
        arrived
    } else if ask == Ask::ProcessId as u64 {
        u64::from(std::process::id())
    } else {
        return Err(BadMessage);
    };
    write_reply(request, value, reply)
}

/// Checks the patterns of `request` and replies with `value`.
#[inline]
fn write_reply(
    request: &[u8; LEN],
    value: u64,
    reply: &mut [u8; LEN],
) -> Result<usize, BadMessage> {
    let [sequence, _, a, b] = unpack(request);
    if a != pattern_a(sequence) || b != pattern_b(sequence) {
        return Err(BadMessage);
    }
    *reply = pack([sequence, value, !a, !b]);
    Ok(LEN)
}

/// Checks the reply to the request with number `sequence`, and returns the
/// answer in it.
///
/// # Errors
///
/// [`BadMessage`] if it is not that reply.
#[inline]
pub fn check_reply(reply: &[u8; LEN], sequence: u64) -> Result<u64, BadMessage> {
    let [number, value, a, b] = unpack(reply);
    if number == sequence && a == !pattern_a(sequence) && b == !pattern_b(sequence) {
        Ok(value)
    } else {
        Err(BadMessage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(sequence: u64, ask: Ask) -> Result<u64, BadMessage> {
        let mut reply = [0; LEN];
        assert_eq!(answer(&request(sequence, ask), &mut reply), Ok(LEN));
        check_reply(&reply, sequence)
    }

    #[test]
    fn every_question_has_its_answer() {
        for sequence in [0, 1, 999_999, u64::MAX] {
            assert_eq!(exchange(sequence, Ask::Echo), Ok(0));
            assert_eq!(
                exchange(sequence, Ask::ProcessId),
                Ok(u64::from(std::process::id()))
            );
            assert!(exchange(sequence, Ask::Clock).unwrap() > 0);
        }
    }

    #[test]
    fn every_changed_bit_is_noticed_on_both_sides() {
        let good = request(12345, Ask::Echo);
        let mut good_reply = [0; LEN];
        answer(&good, &mut good_reply).unwrap();
        for bit in 0..LEN * 8 {
            let flip = |bytes: [u8; LEN]| {
                let mut bytes = bytes;
                bytes[bit / 8] ^= 1 << (bit % 8);
                bytes
            };
            // The bits of the question choose another one, or none.
            let is_question = (64..128).contains(&bit);
            if !is_question {
                assert_eq!(answer(&flip(good), &mut [0; LEN]), Err(BadMessage), "{bit}");
                assert_eq!(
                    check_reply(&flip(good_reply), 12345),
                    Err(BadMessage),
                    "{bit}"
                );
            } else if bit > 65 {
                assert_eq!(answer(&flip(good), &mut [0; LEN]), Err(BadMessage), "{bit}");
            }
        }
    }

    #[test]
    fn lengths_other_than_the_messages_own_are_refused() {
        let good = request(1, Ask::Echo);
        assert_eq!(answer(&good[..31], &mut [0; LEN]), Err(BadMessage));
        assert_eq!(answer(&good, &mut [0; 31]), Err(BadMessage));
        assert_eq!(answer(&good, &mut [0; 64]), Ok(LEN));
    }

    #[test]
    fn a_reply_answers_one_request_only() {
        let mut reply = [0; LEN];
        answer(&request(1, Ask::Echo), &mut reply).unwrap();
        assert_eq!(check_reply(&reply, 2), Err(BadMessage));
        assert_eq!(check_reply(&request(1, Ask::Echo), 1), Err(BadMessage));
    }
}
