// SPDX-License-Identifier: MIT OR Apache-2.0

//! The calling side's connection to a service.
//!
//! # Unsafe code
//!
//! The promise that an address may be shared between threads.

#![allow(unsafe_code)]

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rpal_sys::abi::rpal_ctl;
use rpal_sys::Errno;

use crate::handshake::{Hello, HelloError};
use crate::tag::Tag;
use crate::window::Window;
use crate::{socket, AttachError, Caller, RegisterError, Service, ServiceError};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why no connection came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// This process is not a service.
    Service(ServiceError),
    /// Nobody listens at that path, or it cannot be reached; `EMFILE` if this process
    /// has too many open files, perhaps for the server's service descriptor only.
    Socket(Errno),
    /// The server did not answer within 10 seconds of the connection, which itself
    /// waits for as long as the server's queue is full.
    TimedOut,
    /// The server closed the socket without an answer: it has no receiver, or
    /// is about to end.
    Closed,
    /// What listens there does not speak this protocol.
    Protocol,
    /// The server could not attach this service.
    Refused(AttachError),
    /// This service could not attach the server.
    Attach(AttachError),
}

impl From<ServiceError> for ConnectError {
    fn from(error: ServiceError) -> Self {
        Self::Service(error)
    }
}

impl From<HelloError> for ConnectError {
    fn from(error: HelloError) -> Self {
        match error {
            HelloError::Ended => Self::Closed,
            HelloError::Malformed => Self::Protocol,
            HelloError::Socket(Errno::AGAIN) => Self::TimedOut,
            HelloError::Socket(errno) => Self::Socket(errno),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(error) => error.fmt(f),
            Self::Socket(errno) => errno.fmt(f),
            Self::TimedOut => f.write_str("the server does not answer"),
            Self::Closed => f.write_str("the server closed the connection"),
            Self::Protocol => f.write_str("what listens there is not an RPAL server"),
            Self::Refused(error) => write!(f, "the server could not attach: {error}"),
            Self::Attach(error) => write!(f, "could not attach the server: {error}"),
        }
    }
}

impl std::error::Error for ConnectError {}

/// A connection to one receiver of a service. May be shared between threads;
/// each takes its own [`Caller`].
///
/// As a descriptor it becomes readable when the server has gone, and all children
/// that it has forked and that have executed nothing.
pub struct Connection {
    shared: Arc<Shared>,
}

/// What a connection and its callers hold on to.
///
/// # Invariants
///
/// `receiver` is the address of a control block of the service that `window`
/// shows.
pub(crate) struct Shared {
    // Dropped first: the server detaches when the socket is closed, and there
    // is nothing to call from then on.
    #[expect(dead_code, reason = "held for its drop")]
    window: Arc<Window>,
    socket: UnixStream,
    receiver: *mut rpal_ctl,
    tag: Tag,
}

// SAFETY: `receiver` is an address that this process hands to the gate and
// never reads or writes through; the gate works from any thread.
unsafe impl Send for Shared {}
// SAFETY: as for `Send`; nothing in here changes after construction.
unsafe impl Sync for Shared {}

impl Shared {
    /// The receiver's control block.
    pub(crate) fn receiver(&self) -> *mut rpal_ctl {
        self.receiver
    }

    /// The receiver's tag.
    pub(crate) fn tag(&self) -> Tag {
        self.tag
    }
}

impl Connection {
    /// Connects to the service that listens at `path`. From here on the two
    /// services are attached to each other.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, ConnectError> {
        let own = Service::current()?;
        let path = path.as_ref();
        let socket = loop {
            match UnixStream::connect(path).map_err(Errno::from) {
                Err(Errno::INTR) => {}
                other => break other.map_err(ConnectError::Socket)?,
            }
        };
        socket
            .set_read_timeout(Some(PATIENCE))
            .map_err(|error| ConnectError::Socket(Errno::from(error)))?;

        let hello = Hello {
            slot: own.slot(),
            ..Hello::default()
        };
        hello
            .send(&socket, Some(own.descriptor()?.as_fd()))
            .map_err(ConnectError::Socket)?;
        let (answer, service) = Hello::receive(&socket)?;
        if answer.error != 0 {
            let errno = i32::try_from(answer.error).map_or(Errno::INVAL, Errno::new);
            return Err(ConnectError::Refused(errno.into()));
        }
        let service = service.ok_or(ConnectError::Protocol)?;
        let window = Window::attach(service, answer.slot).map_err(ConnectError::Attach)?;
        let (receiver, tag) = Tag::split(answer.receiver);
        let receiver = window.ctl(receiver).ok_or(ConnectError::Protocol)?;
        // INVARIANT: `Window::ctl` vouches for the address.
        Ok(Self {
            shared: Arc::new(Shared {
                window,
                socket,
                receiver,
                tag,
            }),
        })
    }

    /// A caller for the calling thread, which gets registered with the kernel
    /// if it is not yet.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    ///
    /// # Panics
    ///
    /// In destructors of the thread's thread-local variables, when it is too late to
    /// register it.
    pub fn caller(&self) -> Result<Caller, RegisterError> {
        Caller::new(Arc::clone(&self.shared))
    }

    /// Process number of the server, zero if it is not visible from here.
    ///
    /// # Errors
    ///
    /// The error of the socket.
    pub fn peer_pid(&self) -> Result<u32, Errno> {
        socket::peer_pid(&self.shared.socket)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_a_service_nothing_is_connected() {
        assert!(matches!(
            Connection::connect("/nonexistent"),
            Err(ConnectError::Service(_))
        ));
    }

    #[test]
    fn what_goes_wrong_in_the_handshake_is_told_apart() {
        assert_eq!(ConnectError::from(HelloError::Ended), ConnectError::Closed);
        assert_eq!(
            ConnectError::from(HelloError::Malformed),
            ConnectError::Protocol
        );
        assert_eq!(
            ConnectError::from(HelloError::Socket(Errno::AGAIN)),
            ConnectError::TimedOut
        );
    }

    #[test]
    fn a_connection_is_for_all_threads() {
        fn shareable<T: Send + Sync>() {}
        shareable::<Connection>();
    }
}
