// SPDX-License-Identifier: MIT OR Apache-2.0

//! The serving side's meeting point: a Unix socket that introduces callers to
//! receivers.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rpal_sys::Errno;

use crate::handshake::{Hello, HelloError};
use crate::window::Window;
use crate::{socket, AttachError, ReceiverAddress, Service, ServiceError};

/// How long a client may take for its hello once it has begun.
const PATIENCE: Duration = Duration::from_secs(5);

/// Most clients that may be connected and not have said hello. Beyond that the
/// one that waited longest is dropped.
const MAX_SILENT: usize = 64;

/// Why no socket was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindError {
    /// This process is not a service.
    Service(ServiceError),
    /// The socket could not be made at that path; `EADDRINUSE` if there is a
    /// file already.
    Socket(Errno),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(error) => error.fmt(f),
            Self::Socket(errno) => errno.fmt(f),
        }
    }
}

impl std::error::Error for BindError {}

/// Why a client was not introduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptError {
    /// The listening socket failed.
    Listen(Errno),
    /// The client's socket failed, or it did not say hello in time; `EMFILE` if this
    /// process has too many open files for the client's service descriptor.
    Socket(Errno),
    /// The client does not speak this protocol, or has gone.
    Protocol,
    /// The client could not be attached.
    Attach(AttachError),
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(errno) | Self::Socket(errno) => errno.fmt(f),
            Self::Protocol => f.write_str("the client does not speak this protocol"),
            Self::Attach(error) => write!(f, "could not attach the client: {error}"),
        }
    }
}

impl std::error::Error for AcceptError {}

/// Why a listener cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenError {
    /// There is no receiver to introduce anybody to.
    NoReceiver,
    /// The listening socket failed; `EMFILE` if the process has too many open
    /// files. Calling [`Listener::run`] again goes on.
    Socket(Errno),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoReceiver => f.write_str("there is no receiver"),
            Self::Socket(errno) => errno.fmt(f),
        }
    }
}

impl std::error::Error for ListenError {}

/// A client that may call: its memory is attached. Dropping this detaches it.
///
/// As a descriptor it becomes readable when the client has gone.
pub struct Session {
    // Dropped first, so that the client sees the end of the stream only when
    // nothing of it is used here any more.
    #[expect(dead_code, reason = "held for its drop")]
    window: Arc<Window>,
    socket: UnixStream,
}

impl Session {
    /// Process number of the client, zero if it is not visible from here.
    ///
    /// # Errors
    ///
    /// The error of the socket.
    pub fn peer_pid(&self) -> Result<u32, Errno> {
        socket::peer_pid(&self.socket)
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A Unix socket where callers find this service.
///
/// It takes no part in calls. The thread that runs it sleeps while nobody
/// comes or goes.
pub struct Listener {
    socket: UnixListener,
    service: OwnedFd,
    slot: u32,
    sessions: Vec<Session>,
    silent: Vec<UnixStream>,
    next: usize,
}

impl Listener {
    /// Listens at `path`, where there must be no file yet. The file's
    /// permissions decide who may connect; the kernel's rules for attaching
    /// apply as well. It is not removed when the listener is dropped.
    ///
    /// # Errors
    ///
    /// See [`BindError`].
    pub fn bind(path: impl AsRef<Path>) -> Result<Self, BindError> {
        let own = Service::current().map_err(BindError::Service)?;
        let service = own.descriptor().map_err(BindError::Service)?;
        let socket =
            UnixListener::bind(path).map_err(|error| BindError::Socket(Errno::from(error)))?;
        Ok(Self {
            socket,
            service,
            slot: own.slot(),
            sessions: Vec::new(),
            silent: Vec::new(),
            next: 0,
        })
    }

    /// Sleeps until a client connects, and introduces it to `receiver`.
    ///
    /// For programs that look after their clients themselves; others let
    /// [`run`](Self::run) do it.
    ///
    /// # Errors
    ///
    /// See [`AcceptError`]; all but [`AcceptError::Listen`] concern that one
    /// client only.
    pub fn accept(&self, receiver: ReceiverAddress) -> Result<Session, AcceptError> {
        let socket = self.accept_socket().map_err(AcceptError::Listen)?;
        self.introduce(socket, receiver)
    }

    /// Introduces every client that comes to one of `receivers`, in turn, and
    /// detaches it when it has gone. Returns only with an error.
    ///
    /// A client that cannot be attached is told so, and is no error here. One that
    /// says nothing keeps its connection until 64 others say nothing either.
    ///
    /// # Errors
    ///
    /// See [`ListenError`].
    pub fn run(
        &mut self,
        receivers: &[ReceiverAddress],
    ) -> Result<std::convert::Infallible, ListenError> {
        if receivers.is_empty() {
            return Err(ListenError::NoReceiver);
        }
        let mut ready = Vec::new();
        loop {
            let mut fds = vec![self.socket.as_fd()];
            fds.extend(self.sessions.iter().map(AsFd::as_fd));
            fds.extend(self.silent.iter().map(AsFd::as_fd));
            socket::wait_readable(&fds, &mut ready).map_err(ListenError::Socket)?;

            let mut ready = ready.iter().copied();
            let newcomer = ready.next() == Some(true);
            // A client says nothing after its hello: this is the end of it.
            self.sessions.retain(|_| ready.next() != Some(true));
            let (speaking, silent) = std::mem::take(&mut self.silent)
                .into_iter()
                .partition(|_| ready.next() == Some(true));
            self.silent = silent;
            for socket in speaking {
                self.admit(socket, receivers);
            }
            if newcomer {
                self.silent
                    .push(self.accept_socket().map_err(ListenError::Socket)?);
                if self.silent.len() > MAX_SILENT {
                    self.silent.remove(0);
                }
            }
        }
    }

    /// Introduces a client that has begun to speak to the next receiver.
    fn admit(&mut self, socket: UnixStream, receivers: &[ReceiverAddress]) {
        let receiver = receivers[self.next % receivers.len()];
        if let Ok(session) = self.introduce(socket, receiver) {
            self.sessions.push(session);
            self.next = self.next.wrapping_add(1);
        }
    }

    /// The next connection. One that was given up meanwhile is passed over.
    fn accept_socket(&self) -> Result<UnixStream, Errno> {
        loop {
            match self.socket.accept().map_err(Errno::from) {
                Ok((socket, _)) => return Ok(socket),
                Err(errno) if errno == Errno::INTR || errno.raw() == libc::ECONNABORTED => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// The server's part of the handshake.
    fn introduce(
        &self,
        socket: UnixStream,
        receiver: ReceiverAddress,
    ) -> Result<Session, AcceptError> {
        socket
            .set_read_timeout(Some(PATIENCE))
            .map_err(|error| AcceptError::Socket(Errno::from(error)))?;
        let mut answer = Hello {
            slot: self.slot,
            ..Hello::default()
        };
        let (hello, client) = Hello::receive(&socket).map_err(|error| match error {
            HelloError::Socket(errno) => {
                if errno == Errno::MFILE {
                    // The client has said all; it learns what it can.
                    answer.error = errno.raw().unsigned_abs();
                    let _ = answer.send(&socket, None);
                }
                AcceptError::Socket(errno)
            }
            HelloError::Ended | HelloError::Malformed => AcceptError::Protocol,
        })?;
        let attached = client
            .ok_or(AttachError::NotAService)
            .and_then(|client| Window::attach(client, hello.slot));
        match attached {
            Ok(window) => {
                answer.receiver = receiver.0;
                answer
                    .send(&socket, Some(self.service.as_fd()))
                    .map_err(AcceptError::Socket)?;
                Ok(Session { window, socket })
            }
            Err(error) => {
                answer.error = error.errno().raw().unsigned_abs();
                // The client learns what it can; the error here is the same.
                let _ = answer.send(&socket, None);
                Err(AcceptError::Attach(error))
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_a_service_nothing_is_bound() {
        let path = std::env::temp_dir().join("rpal-listener-test");
        assert!(matches!(Listener::bind(&path), Err(BindError::Service(_))));
        assert!(!path.exists());
    }
}
