// SPDX-License-Identifier: MIT OR Apache-2.0

//! Callers against gates of plain functions.

#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use super::*;
use crate::late::MAX_LATE;
use crate::outcome::Refusal;
use crate::{again, AppCode};

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

thread_local! {
    /// What a receiver that is late was given: the reply's address and room.
    static TAKEN: RefCell<Vec<(u64, u64)>> = const { RefCell::new(Vec::new()) };
    /// What the gate below answers.
    static RESULT: Cell<c_long> = const { Cell::new(0) };
    /// The deadline that stood in the last call.
    static STOOD: Cell<u64> = const { Cell::new(0) };
}

/// A gate whose receiver writes `!` to the reply if it answers, and has not done
/// so yet if not.
unsafe extern "C" fn maybe_late(
    _peer: *mut rpal_ctl,
    own: *mut rpal_ctl,
    from: u64,
    from_len: u64,
    to: u64,
    to_len: u64,
) -> c_long {
    // SAFETY: the tests below pass a control block and live buffers.
    unsafe {
        STOOD.set((*own).deadline);
        if from_len == Tag::TOO_LONG as u64 && RESULT.get() >= 0 {
            return Refusal::RequestTooLong.encode();
        }
        if from_len == Tag::TOO_LONG as u64 {
            return RESULT.get();
        }
        let request = std::slice::from_raw_parts(from as *const u8, from_len as usize);
        assert_eq!(request, b"request");
        let result = RESULT.get();
        if result >= 0 {
            (to as *mut u8).write_bytes(b'!', result as usize);
        } else {
            TAKEN.with_borrow_mut(|taken| taken.push((to, to_len)));
        }
        result
    }
}

/// What receivers that are late do in the end.
fn late_receivers_write() {
    for (to, len) in TAKEN.take() {
        // SAFETY: that the memory is there is what is tested.
        unsafe { (to as *mut u8).write_bytes(b'?', len as usize) };
    }
}

const TIMED_OUT: c_long = -(libc::ETIMEDOUT as c_long);

/// A caller with a control block whose watch is on.
fn with_block(own: &mut rpal_ctl) -> Caller {
    own.watch = 1;
    Caller::mock_of(maybe_late, std::ptr::null_mut(), own, ANYWHERE)
}

fn in_an_hour() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

#[test]
fn a_call_in_time_is_as_any_other() {
    let mut own = rpal_ctl::default();
    let mut caller = with_block(&mut own);
    let mut reply = [0; 4];
    RESULT.set(3);
    assert_eq!(
        caller.call_until(b"request", &mut reply, in_an_hour()),
        Ok(3)
    );
    assert_eq!(&reply, b"!!!\0");
    assert_ne!(STOOD.get(), 0);
    drop(caller);
    assert_eq!(own.deadline, 0);
}

#[test]
fn errors_are_told_apart_with_a_deadline_too() {
    let mut own = rpal_ctl {
        watch: 1,
        ..rpal_ctl::default()
    };
    let refusal = Refusal::App(AppCode(3)).encode();
    for (result, expected) in [
        (0, Ok(0)),
        (5, Err(CallError::Garbled)),
        (refusal, Err(CallError::App(AppCode(3)))),
        (-c_long::from(libc::EPIPE), Err(CallError::PeerDied)),
        (
            -c_long::from(libc::EKEYREVOKED),
            Err(CallError::NotPermitted),
        ),
    ] {
        let mut result = result;
        let peer = (&raw mut result).cast();
        let mut caller = Caller::mock_of(answer, peer, &raw mut own, ANYWHERE);
        let mut reply = [1; 4];
        assert_eq!(
            caller.call_until(b"request", &mut reply, in_an_hour()),
            expected
        );
        assert_eq!(reply, [1; 4]);
        assert_eq!(caller.buffers.late(), 0);
    }
}

#[test]
fn a_late_receiver_does_not_meet_what_was_lent() {
    let mut own = rpal_ctl::default();
    let mut caller = with_block(&mut own);
    let mut reply = [1; 8];
    RESULT.set(TIMED_OUT);
    for late in 1..=MAX_LATE {
        assert_eq!(
            caller.call_until(b"request", &mut reply, in_an_hour()),
            Err(CallError::TimedOut)
        );
        assert_eq!(caller.buffers.late(), late);
    }
    assert_eq!(
        caller.call_until(b"request", &mut reply, in_an_hour()),
        Err(CallError::TooManyLate)
    );
    // Without a deadline there is still a way.
    RESULT.set(2);
    assert_eq!(caller.call(b"request", &mut reply[..2]), Ok(2));
    drop(caller);
    late_receivers_write();
    assert_eq!(&reply, b"!!\x01\x01\x01\x01\x01\x01");
}

#[test]
fn an_answer_shows_that_earlier_calls_are_over() {
    let mut own = rpal_ctl::default();
    let mut caller = with_block(&mut own);
    let mut reply = [1; 8];
    for _ in 0..3 * MAX_LATE {
        RESULT.set(TIMED_OUT);
        assert_eq!(
            caller.call_until(b"request", &mut reply, in_an_hour()),
            Err(CallError::TimedOut)
        );
        assert_eq!(reply, [1; 8]);
        late_receivers_write();
        RESULT.set(8);
        assert_eq!(
            caller.call_until(b"request", &mut reply, in_an_hour()),
            Ok(8)
        );
        assert_eq!(caller.buffers.late(), 0);
        assert_eq!(&reply, b"!!!!!!!!");
        reply = [1; 8];
    }
}

#[test]
fn so_does_the_receivers_death() {
    let mut own = rpal_ctl::default();
    let mut caller = with_block(&mut own);
    let mut reply = [1; 8];
    for (result, late) in [(libc::ETIMEDOUT, 1), (libc::EPERM, 2), (libc::EPIPE, 0)] {
        RESULT.set(-c_long::from(result));
        assert!(caller
            .call_until(b"request", &mut reply, in_an_hour())
            .is_err());
        assert_eq!(caller.buffers.late(), late);
        if late != 0 {
            late_receivers_write();
        }
    }
}

#[test]
fn a_sign_of_life_makes_room_for_calls_with_a_deadline() {
    let mut own = rpal_ctl::default();
    let mut caller = with_block(&mut own);
    let mut reply = [1; 8];
    RESULT.set(TIMED_OUT);
    for _ in 0..MAX_LATE {
        let _ = caller.call_until(b"request", &mut reply, in_an_hour());
    }
    assert_eq!(
        caller.call_until(b"request", &mut reply, Instant::now()),
        Err(CallError::TimedOut)
    );
    assert_eq!(
        caller.call_until(b"request", &mut reply, in_an_hour()),
        Err(CallError::TooManyLate)
    );
    assert_eq!(caller.buffers.late(), MAX_LATE);
    late_receivers_write();
    RESULT.set(8);
    assert_eq!(
        caller.call_until(b"request", &mut reply, in_an_hour()),
        Ok(8)
    );
    assert_eq!((caller.buffers.late(), reply), (0, [b'!'; 8]));
    // What the kernel is sure of is told, and a receiver that is dead leaves no less room.
    RESULT.set(TIMED_OUT);
    for _ in 0..MAX_LATE {
        let _ = caller.call_until(b"request", &mut reply, in_an_hour());
    }
    late_receivers_write();
    RESULT.set(-c_long::from(libc::ENOTCONN));
    assert_eq!(
        caller.call_until(b"request", &mut reply, in_an_hour()),
        Err(CallError::NotAttached)
    );
    assert_eq!(caller.buffers.late(), MAX_LATE);
    RESULT.set(-c_long::from(libc::EPIPE));
    assert_eq!(
        caller.call_until(b"request", &mut reply, in_an_hour()),
        Err(CallError::PeerDied)
    );
    assert_eq!(caller.buffers.late(), 0);
}

#[test]
fn a_call_that_is_too_late_is_not_made() {
    let mut own = rpal_ctl::default();
    let mut caller = with_block(&mut own);
    STOOD.set(77);
    assert_eq!(
        caller.call_until(b"request", &mut [], Instant::now()),
        Err(CallError::TimedOut)
    );
    assert_eq!((STOOD.get(), caller.buffers.late()), (77, 0));
}

/// A deadline that somebody else has set: the slices are only lent.
#[test]
fn without_buffers_of_its_own_a_late_call_ends_the_process() {
    const HERE: &str = "caller::tests::without_buffers_of_its_own_a_late_call_ends_the_process";
    if again::here() {
        let mut reply = [0; 8];
        let slot = slot_of(&reply);
        // A request on the same stack.
        let request = [0; 8];
        let mut result = TIMED_OUT;
        let _ = Caller::mock(answer, (&raw mut result).cast(), slot).call(&request, &mut reply);
        return;
    }
    let child = again::test(HERE);
    assert_eq!(child.status.signal(), Some(libc::SIGABRT));
    assert!(String::from_utf8_lossy(&child.stderr).contains("may still use the buffers"));
}
