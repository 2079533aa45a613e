// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the gate runs for each call: from the caller's four numbers to a
//! handler's slices and back.
//!
//! Every instruction in here is part of what a call costs, and a system call
//! would cost a hand-over.
//!
//! # Unsafe code
//!
//! The function that the gate calls, and its copies from and to another process.

#![allow(unsafe_code)]

use std::ffi::{c_long, c_void};
use std::hint::black_box;
use std::panic::{catch_unwind, AssertUnwindSafe};

use rpal_sys::gate::GateCopy;

use crate::outcome::Refusal;
use crate::tag::Tag;
use crate::AppCode;

/// What [`State::request_len`] is while no call is between its request and its
/// handler's end.
const IDLE: usize = usize::MAX;

/// What a call works on.
///
/// The last three are the call's own. They stay here and not in variables, for
/// a variable that outlives the copy of the request needs a register saved and
/// restored, which is half as much again.
///
/// # Invariants
///
/// While a handler runs, `request_len` is at most the length of `request`, and
/// `room` at most that of `reply` and what the caller said is free at `to`. While
/// none does, `request_len` is [`IDLE`], but for the copy of a request.
pub(crate) struct State<F> {
    copy: GateCopy,
    request: Box<[u8]>,
    reply: Box<[u8]>,
    handler: F,
    tag: Tag,
    request_len: usize,
    to: u64,
    room: usize,
}

impl<F> State<F> {
    /// Buffers of `request` and `reply` bytes, and `handler`, for calls of `tag`.
    pub(crate) fn new(copy: GateCopy, tag: Tag, request: usize, reply: usize, handler: F) -> Self {
        // INVARIANT: no handler runs.
        Self {
            copy,
            request: vec![0; request].into_boxed_slice(),
            reply: vec![0; reply].into_boxed_slice(),
            handler,
            tag,
            request_len: IDLE,
            to: 0,
            room: 0,
        }
    }

    /// Whether a call has begun whose handler has not returned.
    pub(crate) fn is_at_work(&self) -> bool {
        self.request_len != IDLE
    }
}

/// What the gate runs for each call.
///
/// It must not make a system call unless the handler does, for each one costs a
/// hand-over; and it must not unwind, for the frame above it is the caller's.
///
/// # Safety
///
/// `cookie` is a `State<F>` that nothing else uses until this function returns.
pub(crate) unsafe extern "C" fn entry<F>(
    cookie: *mut c_void,
    from: u64,
    from_len: u64,
    to: u64,
    to_len: u64,
) -> c_long
where
    F: FnMut(&[u8], &mut [u8]) -> Result<usize, AppCode>,
{
    // SAFETY: by the contract above.
    let state = unsafe { &mut *cookie.cast::<State<F>>() };

    // Of another tag, it is longer than any buffer.
    let from_len = state.tag.without(from_len) as usize;
    if from_len > state.request.len() {
        return request_unfit(from_len as u64);
    }
    // INVARIANT: the first was tested just now, the second is a minimum.
    state.request_len = from_len;
    state.room = state.reply.len().min(to_len as usize);
    state.to = to;
    let from = std::ptr::with_exposed_provenance::<c_void>(from as usize);
    // SAFETY: the destination has room for `from_len` bytes and nothing else
    // refers to it. The source is the caller's word, in another process: nothing
    // of this one is borrowed there, and the gate's copy survives any address.
    if unsafe { (state.copy)(state.request.as_mut_ptr().cast(), from, from_len as u64) } != 0 {
        state.request_len = IDLE;
        return memory_fault();
    }

    let room = state.room;
    // SAFETY: by the type's invariant.
    let (request, reply) = unsafe {
        (
            state.request.get_unchecked(..state.request_len),
            state.reply.get_unchecked_mut(..room),
        )
    };
    let handler = &mut state.handler;
    let answer = catch_unwind(AssertUnwindSafe(|| handler(request, reply)));
    state.request_len = IDLE;
    let len = match answer {
        Ok(Ok(len)) if len <= room => len,
        Ok(Ok(_)) => return reply_too_long(),
        Ok(Err(code)) => return refused(code),
        Err(panic) => return panicked(panic),
    };

    let to = std::ptr::with_exposed_provenance_mut::<c_void>(state.to as usize);
    // SAFETY: the source is the front of a buffer of at least `room` bytes.
    // The destination is the caller's buffer, in another process, of which the
    // caller said that `room` bytes are free to be written. (If the caller died in
    // the meantime, and its slot is another service's by now, with the same key and
    // attached here, it is that one's memory: see "Trust" in the crate's page.)
    if unsafe { (state.copy)(to, state.reply.as_ptr().cast(), len as u64) } != 0 {
        return memory_fault();
    }
    len as c_long
}

// What tells the caller why there is no reply. Out of line, one function for
// each, and opaque to the optimiser: calls that have a reply would otherwise
// execute preparations for each case in which they have none.

#[cold]
#[inline(never)]
fn request_unfit(from_len: u64) -> c_long {
    black_box(if Tag::is_of_another(from_len) {
        Refusal::NoReceiver.encode()
    } else {
        Refusal::RequestTooLong.encode()
    })
}

#[cold]
#[inline(never)]
fn reply_too_long() -> c_long {
    black_box(Refusal::ReplyTooLong.encode())
}

#[cold]
#[inline(never)]
fn memory_fault() -> c_long {
    black_box(Refusal::Memory.encode())
}

#[cold]
#[inline(never)]
fn refused(code: AppCode) -> c_long {
    black_box(Refusal::App(code).encode())
}

/// Disposes of a panic's payload.
#[cold]
#[inline(never)]
fn panicked(payload: Box<dyn std::any::Any + Send>) -> c_long {
    // The payload's own destructor may panic; its second payload is leaked,
    // lest that go on.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
    Refusal::Panicked.encode()
}
