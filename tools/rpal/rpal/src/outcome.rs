// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a call comes back with, as one number and as types.
//!
//! A receiver answers with one non-negative number: up to the length of the
//! caller's buffer it is the length of the reply; otherwise its top byte tells
//! what went wrong. No buffer is so long that the two could be confused, since
//! user addresses have 47 bits. A negative number is the kernel's.

use std::ffi::c_long;
use std::fmt;

use rpal_sys::Errno;

/// A handler's own error, for its caller: any number that the two agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AppCode(pub u32);

impl fmt::Display for AppCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "application error {}", self.0)
    }
}

impl std::error::Error for AppCode {}

/// Why a call brought no reply.
///
/// After any of these, the reply buffer of [`Caller::call`](crate::Caller::call)
/// may be partly written; that of
/// [`Caller::call_until`](crate::Caller::call_until) is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The handler refused with this code.
    App(AppCode),
    /// The request is longer than the receiver's request buffer.
    RequestTooLong,
    /// The handler claimed a reply longer than the room it was given.
    ReplyTooLong,
    /// The handler panicked. The receiver goes on serving.
    Panicked,
    /// The receiver could not read the request or write the reply.
    Memory,
    /// A buffer lies outside the caller's slot, where the receiver has no
    /// view of it. Only memory mapped with `MAP_FIXED` can do so.
    OutsideSlot,
    /// The receiver's process or thread died, or the receiver was dropped and its
    /// thread has no caller either. If that was during the call, the handler may
    /// have run, wholly or partly, or not.
    PeerDied,
    /// The deadline has passed. The handler may have run, be running, or not; if
    /// the call had not begun, it will not.
    TimedOut,
    /// So many calls of this caller are late that it makes no more with a deadline
    /// before the receiver shows a sign of life, and there was none in time. See
    /// [`Caller::call_until`](crate::Caller::call_until).
    TooManyLate,
    /// The two services are not attached to each other any more. The kernel
    /// also detaches a service that is not who it was when it attached.
    NotAttached,
    /// The calling thread has other credentials or restrictions than when its
    /// service attached the peer. The call was not made.
    NotPermitted,
    /// There is no such receiver: at that address there has never been one, or there is
    /// another one by now. The call was not made.
    NoReceiver,
    /// The receiver had its context back before the caller came out of it, which
    /// takes somebody who has scribbled on its control block. The handler may have
    /// run, wholly or partly, or not.
    Stale,
    /// The kernel had no memory to make the call. It may have some later.
    NoMemory,
    /// The receiver answered with a number that means nothing.
    Garbled,
    /// Any other error of the kernel. `EFAULT`: the context that the caller ran is
    /// lost, and its receiver crashes.
    Os(Errno),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::App(code) => return code.fmt(f),
            Self::Os(errno) => return errno.fmt(f),
            Self::RequestTooLong => "the request is too long for the receiver",
            Self::ReplyTooLong => "the reply is too long for the buffer",
            Self::Panicked => "the handler panicked",
            Self::Memory => "the receiver could not access the caller's buffers",
            Self::OutsideSlot => "a buffer lies outside the slot",
            Self::PeerDied => "the receiver died",
            Self::TimedOut => "the deadline has passed",
            Self::TooManyLate => "too many calls are late",
            Self::NotAttached => "not attached",
            Self::NotPermitted => "not permitted: credentials or restrictions have changed",
            Self::NoReceiver => "no such receiver",
            Self::NoMemory => "no memory for the call",
            Self::Stale => "the receiver took its context back",
            Self::Garbled => "the receiver's answer makes no sense",
        })
    }
}

impl std::error::Error for CallError {}

/// Why a receiver has no reply: its side of [`CallError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    App(AppCode),
    RequestTooLong,
    ReplyTooLong,
    Panicked,
    Memory,
    NoReceiver,
}

const KIND_SHIFT: u32 = 56;
const APP: c_long = 1;
const REQUEST_TOO_LONG: c_long = 2;
const REPLY_TOO_LONG: c_long = 3;
const PANICKED: c_long = 4;
const MEMORY: c_long = 5;
const NO_RECEIVER: c_long = 6;

impl Refusal {
    /// The number that tells the caller.
    pub(crate) fn encode(self) -> c_long {
        let (kind, code) = match self {
            Self::App(code) => (APP, code.0),
            Self::RequestTooLong => (REQUEST_TOO_LONG, 0),
            Self::ReplyTooLong => (REPLY_TOO_LONG, 0),
            Self::Panicked => (PANICKED, 0),
            Self::Memory => (MEMORY, 0),
            Self::NoReceiver => (NO_RECEIVER, 0),
        };
        (kind << KIND_SHIFT) | c_long::from(code)
    }
}

/// What a result that is not a reply length means.
#[cold]
pub(crate) fn decode(result: c_long) -> CallError {
    if result < 0 {
        let Ok(raw @ 1..=Errno::MAX) = i32::try_from(result.wrapping_neg()) else {
            return CallError::Garbled;
        };
        return match Errno::new(raw) {
            Errno::PIPE => CallError::PeerDied,
            Errno::NOTCONN => CallError::NotAttached,
            Errno::SRCH => CallError::NoReceiver,
            Errno::STALE => CallError::Stale,
            Errno::KEYREVOKED => CallError::NotPermitted,
            Errno::NOBUFS => CallError::NoMemory,
            Errno::TIMEDOUT => CallError::TimedOut,
            // A negative number where the receiver's own task gave the answer.
            Errno::PROTO => CallError::Garbled,
            other => CallError::Os(other),
        };
    }
    let low = result & ((1 << KIND_SHIFT) - 1);
    match (result >> KIND_SHIFT, u32::try_from(low)) {
        (APP, Ok(code)) => CallError::App(AppCode(code)),
        (REQUEST_TOO_LONG, Ok(0)) => CallError::RequestTooLong,
        (REPLY_TOO_LONG, Ok(0)) => CallError::ReplyTooLong,
        (PANICKED, Ok(0)) => CallError::Panicked,
        (MEMORY, Ok(0)) => CallError::Memory,
        (NO_RECEIVER, Ok(0)) => CallError::NoReceiver,
        _ => CallError::Garbled,
    }
}

/// Whether the receiver has left the call that came back with `result`, or will
/// never begin it. Otherwise it may use what it was given for any time.
///
/// Apart from a deadline, that takes a kernel without memory, 64 calls one inside the
/// other, a receiver that answers with an error number, or a system call filter that
/// answers in the kernel's place. What filters answer, EPERM first of all, is no
/// error of a call's.
pub(crate) fn is_over(result: c_long) -> bool {
    result >= 0
        || match decode(result) {
            CallError::PeerDied
            | CallError::NotAttached
            | CallError::NoReceiver
            | CallError::Stale
            | CallError::NotPermitted
            | CallError::NoMemory
            | CallError::Garbled => true,
            // Not registered: nothing was begun. A context that is lost: nobody runs it.
            CallError::Os(errno) => matches!(errno, Errno::NXIO | Errno::FAULT),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_arrive_as_what_they_were() {
        let pairs = [
            (Refusal::App(AppCode(0)), CallError::App(AppCode(0))),
            (
                Refusal::App(AppCode(u32::MAX)),
                CallError::App(AppCode(u32::MAX)),
            ),
            (Refusal::RequestTooLong, CallError::RequestTooLong),
            (Refusal::ReplyTooLong, CallError::ReplyTooLong),
            (Refusal::Panicked, CallError::Panicked),
            (Refusal::Memory, CallError::Memory),
            (Refusal::NoReceiver, CallError::NoReceiver),
        ];
        for (refusal, error) in pairs {
            let code = refusal.encode();
            assert!(code >= 1 << 47, "could be a length: {code:#x}");
            assert_eq!(decode(code), error);
        }
    }

    #[test]
    fn kernel_errors_have_their_documented_meaning() {
        assert_eq!(decode(-c_long::from(libc::EPIPE)), CallError::PeerDied);
        assert_eq!(
            decode(-c_long::from(libc::ENOTCONN)),
            CallError::NotAttached
        );
        assert_eq!(decode(-c_long::from(libc::ESRCH)), CallError::NoReceiver);
        assert_eq!(decode(-c_long::from(libc::ESTALE)), CallError::Stale);
        assert_eq!(
            decode(-c_long::from(libc::EKEYREVOKED)),
            CallError::NotPermitted
        );
        assert_eq!(decode(-c_long::from(libc::ENOBUFS)), CallError::NoMemory);
        assert_eq!(decode(-c_long::from(libc::ETIMEDOUT)), CallError::TimedOut);
        assert_eq!(decode(-c_long::from(libc::EPROTO)), CallError::Garbled);
        assert_eq!(
            decode(-c_long::from(libc::ENOMEM)),
            CallError::Os(Errno::NOMEM)
        );
    }

    #[test]
    fn a_receiver_may_be_at_work_after_some_errors_only() {
        for errno in [
            libc::EPIPE,
            libc::ENOTCONN,
            libc::ESRCH,
            libc::ESTALE,
            libc::EKEYREVOKED,
            libc::EPROTO,
            libc::ENXIO,
            libc::EFAULT,
            libc::ENOBUFS,
        ] {
            assert!(is_over(-c_long::from(errno)), "{errno}");
        }
        for errno in [
            libc::ETIMEDOUT,
            libc::ENOMEM,
            libc::EINVAL,
            libc::EINTR,
            libc::EPERM,
            libc::ENOSYS,
        ] {
            assert!(!is_over(-c_long::from(errno)), "{errno}");
        }
        assert!(is_over(0) && is_over(Refusal::Panicked.encode()));
    }

    #[test]
    fn numbers_without_a_meaning_are_garbled() {
        for result in [
            -4096,
            c_long::MIN,
            c_long::MAX,
            1 << 47,
            7 << KIND_SHIFT,
            (1 << KIND_SHIFT) | (1 << 32),
            (2 << KIND_SHIFT) | 1,
        ] {
            assert_eq!(decode(result), CallError::Garbled, "{result:#x}");
        }
    }
}
