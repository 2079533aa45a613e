// SPDX-License-Identifier: MIT OR Apache-2.0

//! Receivers and callers against a gate of plain functions: everything but the
//! switch between two processes.

#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_long, c_void};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, Ordering};

use rpal_sys::abi::{rpal_ctl, RPAL_SLOT_SHIFT};
use rpal_sys::gate::{Entry, Gate};

use super::*;
use crate::{again, CallError, Caller};

thread_local! {
    /// What the "parked" thread parked with.
    static PARKED: Cell<Option<(Entry, *mut c_void)>> = const { Cell::new(None) };
    /// What goes on while it is parked: the callers' side of a test.
    static MEANWHILE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
    /// What the gate answers when it is over.
    static WAIT_RESULT: Cell<c_long> = const { Cell::new(0) };
    /// The descriptor that is waited for, too.
    static WAITED_FOR: Cell<c_int> = const { Cell::new(0) };
    /// How many copies to let pass before one fails.
    static GOOD_COPIES: Cell<u32> = const { Cell::new(u32::MAX) };
}

unsafe extern "C" fn call(
    _peer: *mut rpal_ctl,
    _own: *mut rpal_ctl,
    a0: u64,
    a1: u64,
    a2: u64,
    a3: u64,
) -> c_long {
    let (entry, cookie) = PARKED.get().expect("a receiver is parked");
    // SAFETY: the two were parked together, and `wait` has not returned.
    unsafe { entry(cookie, a0, a1, a2, a3) }
}

unsafe extern "C" fn wait(
    _own: *mut rpal_ctl,
    entry: Entry,
    cookie: *mut c_void,
    _timeout_ns: u64,
    fd: c_int,
) -> c_long {
    WAITED_FOR.set(fd);
    PARKED.set(Some((entry, cookie)));
    if let Some(meanwhile) = MEANWHILE.take() {
        meanwhile();
    }
    PARKED.set(None);
    WAIT_RESULT.get()
}

unsafe extern "C" fn copy(dst: *mut c_void, src: *const c_void, len: u64) -> c_long {
    if GOOD_COPIES.get() == 0 {
        return -c_long::from(libc::EFAULT);
    }
    GOOD_COPIES.set(GOOD_COPIES.get() - 1);
    // SAFETY: caller and receiver are one process here, and pass their own
    // buffers.
    unsafe { std::ptr::copy_nonoverlapping(src.cast::<u8>(), dst.cast::<u8>(), len as usize) };
    0
}

const GATE: Gate = Gate { call, wait, copy };

fn receiver<F>(handler: F) -> Receiver<F>
where
    F: FnMut(&[u8], &mut [u8]) -> Result<usize, AppCode>,
{
    let registration = Registration::mock(std::ptr::null_mut());
    Receiver::assemble(GATE, registration, Tag::default(), 64, 64, handler)
}

fn caller(buffer: &[u8]) -> Caller {
    let slot_start = (buffer.as_ptr() as u64) >> RPAL_SLOT_SHIFT << RPAL_SLOT_SHIFT;
    Caller::mock(call, std::ptr::null_mut(), slot_start)
}

/// Serves `calls` by `handler`.
fn serve<F>(handler: F, calls: impl FnOnce() + 'static) -> Result<Woken, ServeError>
where
    F: FnMut(&[u8], &mut [u8]) -> Result<usize, AppCode>,
{
    WAIT_RESULT.set(-c_long::from(libc::EINTR));
    MEANWHILE.set(Some(Box::new(calls)));
    receiver(handler).serve(None)
}

/// One call with a request of `len` bytes and room for 32.
fn one_call(len: usize) -> Result<Vec<u8>, CallError> {
    one_call_of(Tag::default(), len)
}

/// The same, of the receiver with that tag.
fn one_call_of(tag: Tag, len: usize) -> Result<Vec<u8>, CallError> {
    let mut buffer = vec![b'a'; len + 32];
    let mut caller = caller(&buffer).tagged(tag);
    let (request, reply) = buffer.split_at_mut(len);
    let len = caller.call(request, reply)?;
    Ok(reply[..len].to_vec())
}

#[test]
fn a_request_goes_in_and_a_reply_comes_back() {
    let served = serve(
        |request, reply| {
            reply[..3].copy_from_slice(&request[..3]);
            reply[3] = request.len() as u8;
            Ok(4)
        },
        || assert_eq!(one_call(20).unwrap(), b"aaa\x14"),
    );
    assert_eq!(served, Ok(Woken::Signal));
}

#[test]
fn the_handler_keeps_its_state_from_call_to_call() {
    let mut count = 0;
    let _ = serve(
        move |_, reply| {
            count += 1;
            reply[0] = count;
            Ok(1)
        },
        || {
            assert_eq!(one_call(1).unwrap(), [1]);
            assert_eq!(one_call(1).unwrap(), [2]);
        },
    );
}

#[test]
fn the_room_is_the_callers_or_the_receivers_whichever_is_less() {
    let _ = serve(
        |_, reply| {
            reply[0] = reply.len() as u8;
            Ok(1)
        },
        || {
            assert_eq!(one_call(1).unwrap(), [32]);
            let mut buffer = vec![0; 201];
            let mut caller = caller(&buffer);
            let (request, reply) = buffer.split_at_mut(1);
            assert_eq!(caller.call(request, reply), Ok(1));
            assert_eq!(reply[0], 64);
        },
    );
}

#[test]
fn what_is_too_long_is_refused() {
    let _ = serve(
        |request, _| Ok(request.len()),
        || {
            assert_eq!(one_call(32).unwrap().len(), 32);
            assert_eq!(one_call(33), Err(CallError::ReplyTooLong));
            assert_eq!(one_call(65), Err(CallError::RequestTooLong));
        },
    );
}

#[test]
fn a_handlers_code_reaches_the_caller() {
    let _ = serve(
        |_, _| Err(AppCode(77)),
        || assert_eq!(one_call(1), Err(CallError::App(AppCode(77)))),
    );
}

#[test]
fn a_panic_ends_the_call_and_not_the_receiver() {
    struct PanicsAgain;
    impl Drop for PanicsAgain {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new(()));
        }
    }
    let mut calls = 0;
    let _ = serve(
        move |_, _| {
            calls += 1;
            match calls {
                1 => std::panic::resume_unwind(Box::new(1)),
                2 => std::panic::resume_unwind(Box::new(PanicsAgain)),
                _ => Ok(0),
            }
        },
        || {
            assert_eq!(one_call(1), Err(CallError::Panicked));
            assert_eq!(one_call(1), Err(CallError::Panicked));
            assert_eq!(one_call(1), Ok(Vec::new()));
        },
    );
}

#[test]
fn memory_that_cannot_be_copied_ends_the_call() {
    for good in [0, 1] {
        GOOD_COPIES.set(good);
        let _ = serve(
            |_, _| Ok(1),
            || assert_eq!(one_call(1), Err(CallError::Memory)),
        );
        GOOD_COPIES.set(u32::MAX);
    }
}

#[test]
fn the_gates_answers_are_told_apart() {
    let results = [
        (libc::ETIMEDOUT, Ok(Woken::Timeout)),
        (libc::ENXIO, Err(ServeError::Unregistered)),
        (libc::EPERM, Err(ServeError::Os(Errno::PERM))),
        (libc::EBADF, Err(ServeError::Os(Errno::BADF))),
        (0, Ok(Woken::Readable)),
    ];
    for (errno, expected) in results {
        WAIT_RESULT.set(-c_long::from(errno));
        let served = receiver(|_, _| Ok(0)).serve(Some(Duration::from_secs(1)));
        assert_eq!(served, expected);
    }
    WAIT_RESULT.set(-c_long::from(libc::EPERM));
    assert_eq!(
        receiver(|_, _| Ok(0)).serve_until_readable(io::stdin(), None),
        Err(ServeError::NotPollable)
    );
}

#[test]
fn calls_are_served_until_a_descriptor_is_readable() {
    let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    WAIT_RESULT.set(0);
    MEANWHILE.set(Some(Box::new(|| assert_eq!(one_call(1), Ok(Vec::new())))));
    let mut receiver = receiver(|_, _| Ok(0));
    assert_eq!(
        receiver.serve_until_readable(&one, None),
        Ok(Woken::Readable)
    );
    assert_eq!(WAITED_FOR.get(), one.as_raw_fd());
    WAIT_RESULT.set(-c_long::from(libc::EINTR));
    assert_eq!(receiver.serve(None), Ok(Woken::Signal));
    assert_eq!(WAITED_FOR.get(), -1);
}

#[test]
fn another_receiver_in_the_same_place_is_not_called() {
    let registration = Registration::mock(std::ptr::null_mut());
    let mut receiver = Receiver::assemble(GATE, registration, Tag::new(), 64, 64, |_, _| {
        panic!("a call of another receiver's")
    });
    WAIT_RESULT.set(-c_long::from(libc::EINTR));
    MEANWHILE.set(Some(Box::new(|| {
        assert_eq!(one_call_of(Tag::new(), 1), Err(CallError::NoReceiver));
    })));
    assert_eq!(receiver.serve(None), Ok(Woken::Signal));
}

#[test]
fn a_receiver_is_called_by_its_tag() {
    let registration = Registration::mock(std::ptr::null_mut());
    let tag = Tag::new();
    let mut receiver = Receiver::assemble(GATE, registration, tag, 64, 64, |_, _| Ok(0));
    WAIT_RESULT.set(-c_long::from(libc::EINTR));
    MEANWHILE.set(Some(Box::new(move || {
        assert_eq!(one_call_of(tag, 1), Ok(Vec::new()));
        assert_eq!(one_call_of(tag, 65), Err(CallError::RequestTooLong));
    })));
    assert_eq!(receiver.serve(None), Ok(Woken::Signal));
}

#[test]
fn a_handler_cannot_park_its_own_thread() {
    let registration = Registration::mock(std::ptr::null_mut());
    let inner = Receiver::assemble(
        GATE,
        Rc::clone(&registration),
        Tag::default(),
        1,
        1,
        |_, _| Ok(0),
    );
    let inner = RefCell::new(inner);
    let mut outer = Receiver::assemble(GATE, registration, Tag::default(), 1, 1, move |_, _| {
        assert_eq!(inner.borrow_mut().serve(None), Err(ServeError::Nested));
        Ok(0)
    });
    WAIT_RESULT.set(-c_long::from(libc::EINTR));
    MEANWHILE.set(Some(Box::new(|| {
        assert_eq!(one_call(1), Ok(Vec::new()));
    })));
    assert_eq!(outer.serve(None), Ok(Woken::Signal));
}

unsafe extern "C" fn wait_and_lose(
    _own: *mut rpal_ctl,
    entry: Entry,
    cookie: *mut c_void,
    _timeout_ns: u64,
    _fd: c_int,
) -> c_long {
    let cookie = cookie.expose_provenance();
    thread::spawn(move || {
        let request = [0; 8];
        let from = request.as_ptr().expose_provenance() as u64;
        let cookie = std::ptr::with_exposed_provenance_mut(cookie);
        // SAFETY: the two were parked together, and `wait_and_lose` returns when the
        // handler runs, which ends the process.
        unsafe { entry(cookie, from, 8, from, 0) }
    });
    // Pairs with the store of the handler below.
    while !LOST.load(Ordering::Acquire) {
        thread::yield_now();
    }
    -c_long::from(libc::EINTR)
}

/// A handler of `wait_and_lose` runs.
static LOST: AtomicBool = AtomicBool::new(false);

#[test]
fn a_handler_that_is_lost_ends_the_process() {
    const HERE: &str = "receiver::tests::a_handler_that_is_lost_ends_the_process";
    if again::here() {
        let gate = Gate {
            wait: wait_and_lose,
            ..GATE
        };
        let registration = Registration::mock(std::ptr::null_mut());
        let mut receiver =
            Receiver::assemble(gate, registration, Tag::default(), 64, 64, |_, _| loop {
                // Pairs with the load in `wait_and_lose`.
                LOST.store(true, Ordering::Release);
                thread::park();
            });
        let _ = receiver.serve(None);
        return;
    }
    let child = again::test(HERE);
    assert_eq!(child.status.signal(), Some(libc::SIGABRT));
    assert!(String::from_utf8_lossy(&child.stderr).contains("is lost"));
}
