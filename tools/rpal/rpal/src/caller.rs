// SPDX-License-Identifier: MIT OR Apache-2.0

//! Calls, from the calling side.
//!
//! # Unsafe code
//!
//! The jump through the gate, and what may be done with buffers afterwards.

#![allow(unsafe_code)]

use std::ffi::c_long;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use rpal_sys::abi::{rpal_ctl, RPAL_SLOT_SHIFT};
use rpal_sys::gate::GateCall;

use crate::connection::Shared;
use crate::deadline::Standing;
use crate::late::Buffers;
use crate::outcome::{decode, is_over};
use crate::registration::Registration;
use crate::tag::Tag;
use crate::{CallError, RegisterError, Service};

/// One thread's way to call a receiver.
///
/// A caller belongs to the thread that made it: the kernel and the receiver
/// know it by that thread's control block.
///
/// ```compile_fail
/// fn sent_to_another_thread(caller: rpal::Caller) {
///     std::thread::spawn(move || drop(caller));
/// }
/// ```
///
/// # Invariants
///
/// `call` is the gate's call entry; `own` is the control block of this thread,
/// which `registration` keeps registered; `peer` is a control block of a
/// service that `shared` keeps attached; `slot_start` is the first address of
/// this process's slot.
pub struct Caller {
    call: GateCall,
    peer: *mut rpal_ctl,
    own: *mut rpal_ctl,
    slot_start: u64,
    tag: Tag,
    #[expect(dead_code, reason = "keeps the thread registered")]
    registration: Rc<Registration>,
    #[expect(dead_code, reason = "keeps the service attached")]
    shared: Option<Arc<Shared>>,
    /// For calls that have a deadline.
    buffers: Buffers,
}

impl Caller {
    /// A caller of the receiver of `shared`, for the calling thread.
    pub(crate) fn new(shared: Arc<Shared>) -> Result<Self, RegisterError> {
        let service = Service::current()?;
        let registration = Registration::current()?;
        // INVARIANT: the kernel told the gate and the slot just now, the
        // registration is this thread's, and the last one is that of `Shared`.
        Ok(Self {
            call: service.gate().call,
            peer: shared.receiver(),
            own: registration.ctl(),
            slot_start: service.slot_start(),
            tag: shared.tag(),
            registration,
            shared: Some(shared),
            buffers: Buffers::new(),
        })
    }

    /// Sends `request` to the receiver, lets it work, and returns the length
    /// of what it wrote to the front of `reply`. Never longer than `reply`.
    ///
    /// Makes no system call if the receiver is parked and its handler makes
    /// none. If the receiver is at work for somebody else, it sleeps until its
    /// turn comes. Signals are handled meanwhile; they do not end the call.
    ///
    /// # Errors
    ///
    /// See [`CallError`]; `reply` may be partly written then.
    ///
    /// # Aborts
    ///
    /// If the call ends and nobody can promise that the receiver has left it: the
    /// receiver might write to `reply` after the borrow has ended. That takes a
    /// kernel that has run out of memory twice in a row, 64 unfinished calls of one
    /// thread (of signal handlers inside each other), a system call filter that
    /// does not allow what the library needs (one that answers 0 in its place is
    /// taken for an empty reply: no filter may do so), or a receiver that answers with a
    /// negative number, or somebody who writes to the caller's control block,
    /// which this library does not.
    #[inline]
    pub fn call(&mut self, request: &[u8], reply: &mut [u8]) -> Result<usize, CallError> {
        let (from, to) = (request.as_ptr_range(), reply.as_mut_ptr_range());
        let from = (
            from.start.expose_provenance() as u64,
            from.end.expose_provenance() as u64,
        );
        let to = (
            to.start.expose_provenance() as u64,
            to.end.expose_provenance() as u64,
        );
        let base = self.slot_start;
        // The receiver has a view of the slot and of nothing else: an address
        // outside would mean something else to it. Both ends of both buffers
        // are tested at once. An empty slice may have any address.
        let stray = (from.0 ^ base) | (from.1 ^ base) | (to.0 ^ base) | (to.1 ^ base);
        if stray >> RPAL_SLOT_SHIFT != 0 {
            return self.call_unusual(request, reply);
        }
        let result = self.enter(from.0, request.len(), to.0, reply.len());
        outcome(result, reply.len())
    }

    /// A call with a buffer that is empty, or is not in the slot.
    #[cold]
    #[inline(never)]
    fn call_unusual(&mut self, request: &[u8], reply: &mut [u8]) -> Result<usize, CallError> {
        let from = self.place(request.as_ptr().expose_provenance(), request.len())?;
        let to = self.place(reply.as_mut_ptr().expose_provenance(), reply.len())?;
        let result = self.enter(from, request.len(), to, reply.len());
        outcome(result, reply.len())
    }

    /// The address of a buffer, if the receiver can see it.
    fn place(&self, start: usize, len: usize) -> Result<u64, CallError> {
        let base = self.slot_start;
        let (start, len) = (start as u64, len as u64);
        #[cfg(test)]
        if base == ANYWHERE {
            return Ok(start);
        }
        if len == 0 {
            return Ok(base);
        }
        let stray = (start ^ base) | (start.wrapping_add(len) ^ base);
        if stray >> RPAL_SLOT_SHIFT == 0 {
            Ok(start)
        } else {
            Err(CallError::OutsideSlot)
        }
    }

    /// As [`call`](Self::call), but comes back with [`CallError::TimedOut`] when
    /// `deadline` has passed, a few milliseconds late. Unlike there, `reply` is not
    /// touched if there is an error.
    ///
    /// The receiver is not told that nobody waits for it any more: it finishes the
    /// call, and until then calls to it wait. If the call had not begun, it never
    /// does.
    ///
    /// # What it costs
    ///
    /// A receiver that goes on reads the request and writes the reply when the
    /// slices that were borrowed for the call may long be something else. So it
    /// is given buffers on the caller's heap, and each message is copied once
    /// more. Buffers of late calls are kept until the receiver has answered a
    /// later call of this kind, since a receiver runs one call at a time, or has
    /// died; those of a caller that is dropped before are leaked. With 16 of them, a
    /// call with a deadline first asks the receiver for any sign of life, and
    /// [`CallError::TooManyLate`] is the answer if there was none in time.
    ///
    /// While a thread makes such calls, the kernel interrupts it every 4 ms. A
    /// system call is made when that begins.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn call_until(
        &mut self,
        request: &[u8],
        reply: &mut [u8],
        deadline: Instant,
    ) -> Result<usize, CallError> {
        if self.buffers.are_late() {
            self.ask(deadline)?;
        }
        let (from, to) = self.buffers.prepare(request, reply.len())?;
        let from = self.place(from.expose_provenance(), request.len())?;
        let to = self.place(to.expose_provenance(), reply.len())?;
        // SAFETY: by the type's invariants.
        let standing = unsafe { Standing::set(self.own, deadline) }?;
        let result = self.enter(from, request.len(), to, reply.len());
        drop(standing);
        if !is_over(result) {
            self.buffers.give_up();
            return Err(decode(result));
        }
        self.settle_if_answered(result);
        let len = outcome(result, reply.len())?;
        self.buffers.copy_reply(&mut reply[..len]);
        Ok(len)
    }

    /// Finds out whether the receiver has left all late calls, by one whose request is too
    /// long for any receiver: it is refused, and nothing is read or written.
    #[cold]
    fn ask(&mut self, deadline: Instant) -> Result<(), CallError> {
        // SAFETY: by the type's invariants.
        let standing = unsafe { Standing::set(self.own, deadline) }?;
        let result = self.enter(self.slot_start, Tag::TOO_LONG, self.slot_start, 0);
        drop(standing);
        self.settle_if_answered(result);
        if result < 0 && is_over(result) {
            return Err(decode(result));
        }
        if self.buffers.are_late() {
            return Err(CallError::TooManyLate);
        }
        Ok(())
    }

    /// Frees what late calls were made with, if the gate's `result` says that they are over.
    fn settle_if_answered(&mut self, result: c_long) {
        if result >= 0 || decode(result) == CallError::PeerDied {
            // SAFETY: the receiver has answered, and it runs one call at a time:
            // it has left those that it was given before. Calls that had not
            // begun when they came back will not begin. Nor does who is dead
            // work on any.
            unsafe { self.buffers.settle() };
        }
    }

    /// Goes through the gate with buffers that lie in the slot.
    #[inline(always)]
    fn enter(&mut self, from: u64, from_len: usize, to: u64, to_len: usize) -> c_long {
        // SAFETY: by the type's invariants the entry is the gate's, `own` is
        // this thread's registered control block (a `Caller` never leaves its
        // thread), and `peer` is one of an attached service. A receiver of
        // this library reads `from_len` bytes at `from` and writes at most
        // `to_len` bytes at `to`, both of them exposed. Unless `is_over` says
        // otherwise it does so before the gate returns and not after: buffers of
        // `call` are borrowed until then, and what happens otherwise is
        // `failure`; those of `call_until` belong to `Buffers`.
        unsafe {
            (self.call)(
                self.peer,
                self.own,
                from,
                self.tag.with(from_len as u64),
                to,
                to_len as u64,
            )
        }
    }

    /// A caller of a gate that is not the kernel's.
    #[cfg(test)]
    pub(crate) fn mock(call: GateCall, peer: *mut rpal_ctl, slot_start: u64) -> Self {
        Self::mock_of(call, peer, std::ptr::null_mut(), slot_start)
    }

    /// The same caller, of the receiver with that tag.
    #[cfg(test)]
    pub(crate) fn tagged(self, tag: Tag) -> Self {
        Self { tag, ..self }
    }

    /// The same, of the thread with control block `own`.
    #[cfg(test)]
    fn mock_of(call: GateCall, peer: *mut rpal_ctl, own: *mut rpal_ctl, slot_start: u64) -> Self {
        let registration = Registration::mock(own);
        Self {
            call,
            peer,
            own: registration.ctl(),
            slot_start,
            tag: Tag::default(),
            registration,
            shared: None,
            buffers: Buffers::new(),
        }
    }
}

/// A slot for tests in which any memory lies.
#[cfg(test)]
const ANYWHERE: u64 = u64::MAX;

/// What the gate's `result` means where `room` bytes were free for the reply.
#[inline]
fn outcome(result: c_long, room: usize) -> Result<usize, CallError> {
    // A negative result is larger than any length.
    if result as u64 <= room as u64 {
        Ok(result as usize)
    } else {
        Err(failure(result))
    }
}

/// What a call with borrowed buffers comes back with if there is no reply.
#[cold]
fn failure(result: c_long) -> CallError {
    let error = decode(result);
    if !is_over(result) {
        // Not by a macro that might panic: nothing may be unwound.
        let _ = writeln!(
            std::io::stderr(),
            "rpal: a call failed ({error}), and its receiver may still use the buffers"
        );
        std::process::abort();
    }
    error
}

#[cfg(test)]
#[path = "caller_tests.rs"]
mod tests;
