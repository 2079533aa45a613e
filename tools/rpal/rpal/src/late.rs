// SPDX-License-Identifier: MIT OR Apache-2.0

//! Buffers of calls that may come back before their receiver is through.
//!
//! When a deadline has passed, the caller goes on, and the receiver does, too: it
//! may still read the request and will write the reply. So such a call is not
//! given what a program has lent for the time of a call, but memory that belongs
//! to nobody else. If the call is late, that memory is put away, and it is not
//! used again before it is known that the receiver has left it.
//!
//! # Unsafe code
//!
//! Memory that a peer writes to, which may not be a Rust reference meanwhile.

#![allow(unsafe_code)]

use std::ptr::{self, NonNull};

use crate::CallError;

/// How many late calls one caller may have.
pub(crate) const MAX_LATE: usize = 16;

/// Memory for one message. Leaked unless it is freed on purpose.
///
/// # Invariants
///
/// It came from a boxed slice, which nothing else refers to.
struct Block(NonNull<[u8]>);

impl Block {
    fn new(len: usize) -> Self {
        // INVARIANT: leaked just now.
        Self(NonNull::from(Box::leak(vec![0_u8; len].into_boxed_slice())))
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn start(&self) -> *mut u8 {
        self.0.as_ptr().cast()
    }

    /// # Safety
    ///
    /// No receiver uses the memory any more.
    unsafe fn free(self) {
        // SAFETY: by the type's invariant and the contract.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// The memory of one call.
struct Pair {
    request: Block,
    reply: Block,
}

impl Pair {
    /// # Safety
    ///
    /// No receiver uses the memory any more.
    unsafe fn free(self) {
        // SAFETY: by the contract.
        unsafe {
            self.request.free();
            self.reply.free();
        }
    }
}

/// The buffers of one caller.
///
/// # Invariants
///
/// A receiver may use `ready` only while a call is made with what
/// [`prepare`](Self::prepare) returned, and `late` at any time.
pub(crate) struct Buffers {
    ready: Option<Pair>,
    late: Vec<Pair>,
}

impl Buffers {
    /// None yet: they are made for the first call that needs them.
    pub(crate) const fn new() -> Self {
        // INVARIANT: there is no memory.
        Self {
            ready: None,
            late: Vec::new(),
        }
    }

    /// Copies `request` to a buffer of its own, makes room for a reply of `room`
    /// bytes, and returns where the two are.
    pub(crate) fn prepare(
        &mut self,
        request: &[u8],
        room: usize,
    ) -> Result<(*const u8, *mut u8), CallError> {
        if self.are_late() {
            return Err(CallError::TooManyLate);
        }
        let (mut request_len, mut reply_len) = (request.len(), room);
        if let Some(old) = self.ready.take() {
            if old.request.len() >= request_len && old.reply.len() >= reply_len {
                self.ready = Some(old);
            } else {
                // Sizes that come by turns do not allocate each time.
                request_len = request_len.max(old.request.len());
                reply_len = reply_len.max(old.reply.len());
                // SAFETY: by the type's invariant; no call is being made.
                unsafe { old.free() };
            }
        }
        let pair = self.ready.get_or_insert_with(|| Pair {
            request: Block::new(request_len),
            reply: Block::new(reply_len),
        });
        // SAFETY: the block is at least as long as the request, and nobody
        // uses it.
        unsafe { ptr::copy_nonoverlapping(request.as_ptr(), pair.request.start(), request.len()) };
        Ok((pair.request.start(), pair.reply.start()))
    }

    /// Whether so many calls are late that there are no buffers for another one.
    pub(crate) fn are_late(&self) -> bool {
        self.late.len() >= MAX_LATE
    }

    /// The call was answered: copies the front of the reply to `reply`.
    pub(crate) fn copy_reply(&self, reply: &mut [u8]) {
        let Some(pair) = &self.ready else {
            return;
        };
        let len = reply.len().min(pair.reply.len());
        // SAFETY: both are at least `len` bytes long, and no receiver uses the
        // block, since no call is being made.
        unsafe { ptr::copy_nonoverlapping(pair.reply.start(), reply.as_mut_ptr(), len) };
    }

    /// The call came back, and the receiver may still be at work on it.
    pub(crate) fn give_up(&mut self) {
        self.late.extend(self.ready.take());
    }

    /// Frees what late calls were made with.
    ///
    /// # Safety
    ///
    /// The receiver has left all of these calls.
    pub(crate) unsafe fn settle(&mut self) {
        for pair in self.late.drain(..) {
            // SAFETY: by the contract.
            unsafe { pair.free() };
        }
    }

    /// How many calls are late.
    #[cfg(test)]
    pub(crate) fn late(&self) -> usize {
        self.late.len()
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        if let Some(pair) = self.ready.take() {
            // SAFETY: by the type's invariant; no call is being made.
            unsafe { pair.free() };
        }
        // What is in `late` is leaked: its receivers may write to it for ever.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_and_grows() {
        let mut buffers = Buffers::new();
        let first = buffers.prepare(b"request", 4).unwrap();
        assert_eq!(buffers.prepare(b"", 0).unwrap(), first);
        assert_eq!(buffers.prepare(b"REQUEST", 4).unwrap(), first);
        // SAFETY: the block is as long as the request that was put there.
        let seen = unsafe { std::slice::from_raw_parts(first.0, 7) };
        assert_eq!(seen, b"REQUEST");
        let (_, to) = buffers.prepare(b"r", 1000).unwrap();
        // SAFETY: 1000 bytes were asked for.
        unsafe { to.write_bytes(7, 1000) };
        let second = buffers.prepare(b"request", 1000).unwrap();
        assert_eq!(second.1, to);
        let mut reply = [0; 5];
        buffers.copy_reply(&mut reply);
        assert_eq!(reply, [7; 5]);
    }

    #[test]
    fn a_late_buffer_is_not_used_again() {
        let mut buffers = Buffers::new();
        let mut seen = Vec::new();
        for _ in 0..MAX_LATE {
            let (from, to) = buffers.prepare(b"request", 8).unwrap();
            assert!(!seen.contains(&(from, to)));
            seen.push((from, to));
            buffers.give_up();
        }
        assert_eq!(buffers.prepare(b"request", 8), Err(CallError::TooManyLate));
        // A receiver that is still there.
        for (_, to) in &seen {
            // SAFETY: 8 bytes were asked for, and the block is not freed.
            unsafe { to.write_bytes(1, 8) };
        }
        // SAFETY: there is no receiver.
        unsafe { buffers.settle() };
        assert_eq!(buffers.late(), 0);
        assert!(buffers.prepare(b"request", 8).is_ok());
    }

    #[test]
    fn what_is_late_outlives_its_caller() {
        let mut buffers = Buffers::new();
        let (_, to) = buffers.prepare(b"request", 8).unwrap();
        buffers.give_up();
        drop(buffers);
        // SAFETY: the block was leaked.
        unsafe { to.write_bytes(1, 8) };
    }
}
