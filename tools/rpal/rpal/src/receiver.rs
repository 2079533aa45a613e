// SPDX-License-Identifier: MIT OR Apache-2.0

//! Calls, from the receiving side.
//!
//! # Unsafe code
//!
//! Parking in the gate.

#![allow(unsafe_code)]

use std::fmt;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rpal_sys::abi::{RPAL_WAIT_FOREVER, RPAL_WAIT_NO_FD};
use rpal_sys::gate::{Gate, GateWait};
use rpal_sys::Errno;

use crate::entry::{entry, State};
use crate::registration::Registration;
use crate::tag::Tag;
use crate::{AppCode, RegisterError, Service};

/// Size of a receiver's buffers unless told otherwise, in bytes.
const DEFAULT_CAPACITY: usize = 64 * 1024;

/// Where callers find a receiver: what a [`Listener`](crate::Listener) tells
/// them.
///
/// It goes stale when the receiver is dropped. Calls fail then, even if another one
/// has its place by now; but while its thread has a [`Caller`](crate::Caller), or
/// another thread makes one and gets its place, they wait for somebody to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverAddress(pub(crate) u64);

/// Why a receiver stopped serving, though nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// A signal was handled on its thread, by a handler that was installed
    /// without `SA_RESTART`.
    Signal,
    /// The time is up.
    Timeout,
    /// The descriptor is readable or in error: see
    /// [`serve_until_readable`](Receiver::serve_until_readable).
    Readable,
}

/// Why a receiver cannot serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServeError {
    /// The thread serves already: this is a handler that would park its own
    /// thread, in the middle of the call that it works on.
    Nested,
    /// The thread is not registered any more: something else than this library
    /// has unregistered it.
    Unregistered,
    /// The descriptor cannot be waited for: it is one of a file or a directory,
    /// say, and always ready.
    NotPollable,
    /// Any other error.
    Os(Errno),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nested => f.write_str("the thread serves already"),
            Self::Unregistered => f.write_str("the thread is not registered any more"),
            Self::NotPollable => f.write_str("the descriptor cannot be waited for"),
            Self::Os(errno) => errno.fmt(f),
        }
    }
}

impl std::error::Error for ServeError {}

/// Why no thread serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpawnError {
    /// The thread could not be started.
    Thread(Errno),
    /// The thread could not be registered.
    Register(RegisterError),
    /// Making the handler panicked.
    Panicked,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread(errno) => errno.fmt(f),
            Self::Register(error) => error.fmt(f),
            Self::Panicked => f.write_str("making the handler panicked"),
        }
    }
}

impl std::error::Error for SpawnError {}

/// A thread's readiness to be called.
///
/// The handler gets a request and the room for a reply, no longer than the
/// caller's buffer, and returns how much of the room it used. What is in the room
/// before is what earlier calls have left there, other callers' replies perhaps:
/// what is returned as used has to be written first.
///
/// It runs on the thread that made the receiver, with that thread's stack and
/// thread-local variables, although the scheduler sees the caller's thread at
/// work: a handler that makes no system call costs no switch. One that makes a
/// system call is carried on by its own thread from there, which costs two wake-ups.
/// While [`serve`](Self::serve) runs, any number of calls may come, one
/// at a time.
///
/// A handler that panics ends the call with
/// [`CallError::Panicked`](crate::CallError::Panicked), and is called again by
/// the next: what it left half done is its own concern.
///
/// A handler must not use memory that its own process mapped outside the slot
/// (with `MAP_FIXED`): the caller may have something else there. And it must not
/// change the thread's FS base, as some runtimes with fibres do, not even for a
/// while: the kernel could not tell whose context it is, and the process crashes.
///
/// A handler's context can be lost: by that, or by a caller that dies inside the
/// kernel of a bug there. Its thread gets `SIGSEGV` then; and if the process has a
/// handler for that which returns, as Rust's own does, it aborts.
///
/// If the thread, or its process, has other credentials or restrictions than when
/// a caller attached, is traced, or has registered for `membarrier(2)`, every call
/// runs on its own thread, and costs two wake-ups.
///
/// A handler may call other services, by a [`Caller`](crate::Caller) made on
/// the same thread. A thread may have several receivers; calls of one that does not
/// serve fail while another does.
pub struct Receiver<F> {
    // Dropped first: nobody may call once the handler is gone.
    registration: Rc<Registration>,
    wait: GateWait,
    tag: Tag,
    state: Box<State<F>>,
}

impl<F> Receiver<F>
where
    F: FnMut(&[u8], &mut [u8]) -> Result<usize, AppCode>,
{
    /// A receiver on the calling thread, with room for requests and replies
    /// of 64 KiB.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    ///
    /// # Panics
    ///
    /// As [`Connection::caller`](crate::Connection::caller) does.
    pub fn new(handler: F) -> Result<Self, RegisterError> {
        Self::with_capacity(DEFAULT_CAPACITY, DEFAULT_CAPACITY, handler)
    }

    /// A receiver on the calling thread, with room for requests of `request`
    /// bytes and replies of `reply` bytes.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new) does.
    pub fn with_capacity(request: usize, reply: usize, handler: F) -> Result<Self, RegisterError> {
        let service = Service::current()?;
        let registration = Registration::current()?;
        Ok(Self::assemble(
            service.gate(),
            registration,
            Tag::new(),
            request,
            reply,
            handler,
        ))
    }

    fn assemble(
        gate: Gate,
        registration: Rc<Registration>,
        tag: Tag,
        request: usize,
        reply: usize,
        handler: F,
    ) -> Self {
        Self {
            registration,
            wait: gate.wait,
            tag,
            state: Box::new(State::new(gate.copy, tag, request, reply, handler)),
        }
    }

    /// Where callers find this receiver.
    #[must_use]
    pub fn address(&self) -> ReceiverAddress {
        ReceiverAddress(
            self.tag
                .with(self.registration.ctl().expose_provenance() as u64),
        )
    }

    /// Serves calls, until a signal has been handled on this thread (by a
    /// handler that was installed without `SA_RESTART`) or no call has come for
    /// `timeout`, in whole milliseconds; without one, for as long as it takes.
    ///
    /// The kernel does not notice calls that need nothing from it, so a timeout
    /// may pass though some came.
    ///
    /// # Errors
    ///
    /// See [`ServeError`].
    pub fn serve(&mut self, timeout: Option<Duration>) -> Result<Woken, ServeError> {
        self.park(timeout, RPAL_WAIT_NO_FD)
    }

    /// Serves calls as [`serve`](Self::serve) does, until `fd` is readable or in
    /// error as `poll(2)` has it. So a program with an event loop serves calls from
    /// the same thread: `fd` is then its epoll descriptor, and what is ready is asked
    /// for as ever.
    ///
    /// Calls and events take turns. While a call runs, the event waits until it is
    /// over, or, after 10 ms, until the receiver's own thread has finished it; and
    /// each time that the receiver serves again, the call that has waited longest
    /// comes first.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::io::ErrorKind;
    /// use std::os::unix::net::UnixListener;
    ///
    /// let mut receiver = rpal::Receiver::new(|_: &[u8], _: &mut [u8]| Ok(0))?;
    /// let listener = UnixListener::bind("/run/other-work")?;
    /// listener.set_nonblocking(true)?;
    /// loop {
    ///     if receiver.serve_until_readable(&listener, None)? != rpal::Woken::Readable {
    ///         continue;
    ///     }
    ///     match listener.accept() {
    ///         Ok((_stream, _)) => println!("somebody has come"),
    ///         Err(error) if error.kind() == ErrorKind::WouldBlock => {}
    ///         Err(error) => return Err(error.into()),
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`ServeError`].
    pub fn serve_until_readable(
        &mut self,
        fd: impl AsFd,
        timeout: Option<Duration>,
    ) -> Result<Woken, ServeError> {
        self.park(timeout, fd.as_fd().as_raw_fd())
    }

    fn park(&mut self, timeout: Option<Duration>, fd: RawFd) -> Result<Woken, ServeError> {
        let _serving = self
            .registration
            .begin_serving()
            .ok_or(ServeError::Nested)?;
        let timeout = timeout.map_or(RPAL_WAIT_FOREVER, |time| {
            u64::try_from(time.as_nanos())
                .unwrap_or(RPAL_WAIT_FOREVER)
                .min(RPAL_WAIT_FOREVER - 1)
        });
        let state: *mut State<F> = &raw mut *self.state;
        // SAFETY: the entry is the gate's and the control block is this
        // thread's, registered (a `Receiver` never leaves its thread).
        // `entry::<F>` gets the cookie that goes with it, only while the gate
        // has not returned, one call at a time; `self` is borrowed for as long,
        // and not used.
        let result = unsafe {
            (self.wait)(
                self.registration.ctl(),
                entry::<F>,
                state.cast(),
                timeout,
                fd,
            )
        };
        if self.state.is_at_work() {
            lost();
        }
        if result == 0 {
            return Ok(Woken::Readable);
        }
        match i32::try_from(result.wrapping_neg()).map(Errno::new) {
            Ok(Errno::INTR) => Ok(Woken::Signal),
            Ok(Errno::TIMEDOUT) => Ok(Woken::Timeout),
            Ok(Errno::NXIO) => Err(ServeError::Unregistered),
            // That the gate made the call goes without saying. Filters say this, too.
            Ok(Errno::PERM) if fd != RPAL_WAIT_NO_FD => Err(ServeError::NotPollable),
            Ok(errno) => Err(ServeError::Os(errno)),
            Err(_) => Err(ServeError::Os(Errno::INVAL)),
        }
    }

    /// Serves calls for ever. Signals are handled and do not end it.
    pub fn serve_forever(&mut self) -> ServeError {
        loop {
            if let Err(error) = self.serve(None) {
                return error;
            }
        }
    }
}

/// The gate has returned, and a handler has not: its frames, with whatever they
/// had lent to others, are where the next call's will be.
#[cold]
fn lost() -> ! {
    // Not by a macro that might panic: nothing may be unwound.
    let _ = writeln!(
        io::stderr(),
        "rpal: the context of a handler at work is lost"
    );
    std::process::abort();
}

impl Receiver<()> {
    /// Starts a thread that makes a handler and serves for ever.
    ///
    /// The handler is made on that thread, so it may hold what cannot be
    /// sent: a [`Caller`](crate::Caller), an `Rc`.
    ///
    /// # Errors
    ///
    /// See [`SpawnError`].
    pub fn spawn<M, F>(make_handler: M) -> Result<ReceiverThread, SpawnError>
    where
        M: FnOnce() -> F + Send + 'static,
        F: FnMut(&[u8], &mut [u8]) -> Result<usize, AppCode>,
    {
        let (tell, hear) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("rpal-receiver".into())
            .spawn(move || {
                let mut receiver = match Receiver::new(make_handler()) {
                    Ok(receiver) => receiver,
                    Err(error) => {
                        let _ = tell.send(Err(error));
                        return None;
                    }
                };
                let _ = tell.send(Ok(receiver.address()));
                Some(receiver.serve_forever())
            })
            .map_err(|error| SpawnError::Thread(Errno::from(error)))?;
        let address = hear
            .recv()
            .map_err(|_| SpawnError::Panicked)?
            .map_err(SpawnError::Register)?;
        Ok(ReceiverThread { address, thread })
    }
}

/// A thread that serves until the process ends, or its receiver fails.
#[derive(Debug)]
pub struct ReceiverThread {
    address: ReceiverAddress,
    thread: JoinHandle<Option<ServeError>>,
}

impl ReceiverThread {
    /// Where callers find the receiver.
    #[must_use]
    pub fn address(&self) -> ReceiverAddress {
        self.address
    }

    /// Sleeps until the receiver fails, and tells why; `None` if its thread
    /// panicked.
    #[must_use]
    pub fn join(self) -> Option<ServeError> {
        self.thread.join().ok().flatten()
    }
}

#[cfg(test)]
#[path = "receiver_tests.rs"]
mod tests;
