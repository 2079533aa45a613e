// SPDX-License-Identifier: MIT OR Apache-2.0

//! How two services come to attach each other.
//!
//! Over a Unix stream socket, each side sends one message of 32 bytes:
//!
//! 1. The client sends its hello, with its service descriptor.
//! 2. The server attaches the client and answers, with its own service
//!    descriptor and the control block of a receiver; or with an error number.
//! 3. The client attaches the server. From then on it may call.
//!
//! Then nothing more is sent. Each side closes its end when it is done, and
//! learns from the end of the stream that the other has gone.
//!
//! All numbers are little-endian:
//!
//! | bytes | field |
//! | --- | --- |
//! | 0..8 | magic, `RPALconn` |
//! | 8..12 | version, 2 |
//! | 12..16 | error number of a refusal, or 0 |
//! | 16..20 | sender's slot number |
//! | 20..24 | zero |
//! | 24..32 | answer: address of the receiver's control block, and its tag in the upper 16 bits; else zero |

use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rpal_sys::Errno;

use crate::socket;

const MAGIC: [u8; 8] = *b"RPALconn";
const VERSION: u32 = 2;

/// Length of a message in bytes.
pub(crate) const LEN: usize = 32;

/// One message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    /// Error number of a refusal, or zero.
    pub(crate) error: u32,
    /// The sender's slot.
    pub(crate) slot: u32,
    /// Control block of a receiver, with its tag, in an answer.
    pub(crate) receiver: u64,
}

/// Why no valid message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HelloError {
    /// The stream ended.
    Ended,
    /// What came is not a message of this version, or lacks its descriptor.
    Malformed,
    /// The socket failed.
    Socket(Errno),
}

impl Hello {
    fn encode(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.error.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.slot.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.receiver.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; LEN]) -> Option<Self> {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        if bytes[0..8] != MAGIC || word(8) != VERSION || word(20) != 0 {
            return None;
        }
        Some(Self {
            error: word(12),
            slot: word(16),
            receiver: (u64::from(word(28)) << 32) | u64::from(word(24)),
        })
    }

    /// Sends this message. A refusal carries no descriptor.
    pub(crate) fn send(
        self,
        socket: &UnixStream,
        service: Option<BorrowedFd<'_>>,
    ) -> Result<(), Errno> {
        socket::send(socket, &self.encode(), service)
    }

    /// Receives a message and the descriptor that came with it.
    pub(crate) fn receive(socket: &UnixStream) -> Result<(Self, Option<OwnedFd>), HelloError> {
        let mut bytes = [0; LEN];
        let (len, fd) = socket::receive(socket, &mut bytes).map_err(HelloError::Socket)?;
        match len {
            0 => Err(HelloError::Ended),
            // A stream may split what was sent in one piece, but a kernel does
            // not do so with a message as short as this.
            LEN => Ok((Self::decode(&bytes).ok_or(HelloError::Malformed)?, fd)),
            _ => Err(HelloError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;

    const HELLO: Hello = Hello {
        error: 0,
        slot: 7,
        receiver: 0x0123_4567_89ab_cdef,
    };

    #[test]
    fn a_message_arrives_as_it_was_sent() {
        let (left, right) = UnixStream::pair().unwrap();
        HELLO.send(&left, Some(left.as_fd())).unwrap();
        let (hello, fd) = Hello::receive(&right).unwrap();
        assert_eq!(hello, HELLO);
        assert!(fd.is_some());
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let bytes = HELLO.encode();
        assert_eq!(&bytes[..8], b"RPALconn");
        assert_eq!(
            bytes[8..24],
            [2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(
            bytes[24..],
            [0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01]
        );
    }

    #[test]
    fn anything_else_is_refused() {
        let cases: [fn(&mut Vec<u8>); 4] = [
            |bytes| bytes[0] = b'r',
            |bytes| bytes[8] = 1,
            |bytes| bytes[20] = 1,
            |bytes| bytes.truncate(LEN - 1),
        ];
        for spoil in cases {
            let (mut left, right) = UnixStream::pair().unwrap();
            let mut bytes = HELLO.encode().to_vec();
            spoil(&mut bytes);
            left.write_all(&bytes).unwrap();
            assert_eq!(Hello::receive(&right).unwrap_err(), HelloError::Malformed);
        }
    }

    #[test]
    fn the_end_of_the_stream_is_told_apart() {
        let (left, right) = UnixStream::pair().unwrap();
        drop(left);
        assert_eq!(Hello::receive(&right).unwrap_err(), HelloError::Ended);
    }
}
