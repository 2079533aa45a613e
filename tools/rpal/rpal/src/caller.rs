// SPDX-License-Identifier: MIT OR Apache-2.0

//! Calls, from the calling side.
//!
//! # Unsafe code
//!
//! The jump through the gate.

#![allow(unsafe_code)]

use std::ffi::c_long;
use std::rc::Rc;
use std::sync::Arc;

use rpal_sys::abi::{rpal_ctl, RPAL_SLOT_SHIFT};
use rpal_sys::gate::GateCall;

use crate::connection::Shared;
use crate::outcome::decode;
use crate::registration::Registration;
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
    #[expect(dead_code, reason = "keeps the thread registered")]
    registration: Rc<Registration>,
    #[expect(dead_code, reason = "keeps the service attached")]
    shared: Option<Arc<Shared>>,
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
            registration,
            shared: Some(shared),
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
        let base = self.slot_start;
        let place = |start: usize, len: usize| {
            let (start, len) = (start as u64, len as u64);
            if len == 0 {
                return Ok(base);
            }
            let stray = (start ^ base) | (start.wrapping_add(len) ^ base);
            if stray >> RPAL_SLOT_SHIFT == 0 {
                Ok(start)
            } else {
                Err(CallError::OutsideSlot)
            }
        };
        let from = place(request.as_ptr().expose_provenance(), request.len())?;
        let to = place(reply.as_mut_ptr().expose_provenance(), reply.len())?;
        let result = self.enter(from, request.len(), to, reply.len());
        outcome(result, reply.len())
    }

    /// Goes through the gate with buffers that lie in the slot.
    #[inline(always)]
    fn enter(&mut self, from: u64, from_len: usize, to: u64, to_len: usize) -> c_long {
        // SAFETY: by the type's invariants the entry is the gate's, `own` is
        // this thread's registered control block (a `Caller` never leaves its
        // thread), and `peer` is one of an attached service. A receiver of
        // this library reads `from_len` bytes at `from` and writes at most
        // `to_len` bytes at `to`, before the gate returns and not after; both
        // are borrowed by our caller until then, and exposed.
        unsafe {
            (self.call)(
                self.peer,
                self.own,
                from,
                from_len as u64,
                to,
                to_len as u64,
            )
        }
    }

    /// A caller of a gate that is not the kernel's.
    #[cfg(test)]
    pub(crate) fn mock(call: GateCall, peer: *mut rpal_ctl, slot_start: u64) -> Self {
        let registration = Registration::mock(std::ptr::null_mut());
        Self {
            call,
            peer,
            own: registration.ctl(),
            slot_start,
            registration,
            shared: None,
        }
    }
}

/// What the gate's `result` means where `room` bytes were free for the reply.
#[inline]
fn outcome(result: c_long, room: usize) -> Result<usize, CallError> {
    // A negative result is larger than any length.
    if result as u64 <= room as u64 {
        Ok(result as usize)
    } else {
        Err(decode(result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AppCode;

    /// A gate whose receiver answers with the number at `peer`.
    unsafe extern "C" fn answer(
        peer: *mut rpal_ctl,
        _own: *mut rpal_ctl,
        _from: u64,
        _from_len: u64,
        _to: u64,
        _to_len: u64,
    ) -> c_long {
        // SAFETY: the tests below pass a live number.
        unsafe { *peer.cast::<c_long>() }
    }

    fn call_with(result: c_long, slot_start: u64, reply: &mut [u8]) -> Result<usize, CallError> {
        let mut result = result;
        Caller::mock(answer, (&raw mut result).cast(), slot_start).call(b"request", reply)
    }

    /// The slot, of a process that is in none, that memory of the program
    /// and of its stack would be in.
    fn slot_of(bytes: &[u8]) -> u64 {
        (bytes.as_ptr() as u64) >> RPAL_SLOT_SHIFT << RPAL_SLOT_SHIFT
    }

    #[test]
    fn a_result_is_a_length_only_if_the_reply_is_that_long() {
        let mut both = [0_u8; 16];
        let slot_start = slot_of(&both);
        let (request, reply) = both.split_at_mut(8);
        let mut call = |mut result: c_long| {
            Caller::mock(answer, (&raw mut result).cast(), slot_start).call(request, reply)
        };
        assert_eq!(call(0), Ok(0));
        assert_eq!(call(8), Ok(8));
        assert_eq!(call(9), Err(CallError::Garbled));
        assert_eq!(call(-c_long::from(libc::EPIPE)), Err(CallError::PeerDied));
        assert_eq!(
            call(crate::outcome::Refusal::App(AppCode(3)).encode()),
            Err(CallError::App(AppCode(3)))
        );
    }

    #[test]
    fn buffers_outside_the_slot_are_refused_unless_empty() {
        let elsewhere = 0x7f00_0000_0000 ^ slot_of(b"request");
        assert_eq!(
            call_with(0, elsewhere, &mut [0; 4]),
            Err(CallError::OutsideSlot)
        );
        let mut result: c_long = 0;
        let mut caller = Caller::mock(answer, (&raw mut result).cast(), elsewhere);
        assert_eq!(caller.call(&[], &mut []), Ok(0));
        assert_eq!(caller.call(&[], &mut [0]), Err(CallError::OutsideSlot));
    }
}
