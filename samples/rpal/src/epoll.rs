// SPDX-License-Identifier: MIT OR Apache-2.0

//! The few calls of `epoll(7)` that the baseline needs.
//!
//! # Unsafe code
//!
//! The calls into the C library.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// Events taken by one wait at most.
const BATCH: usize = 64;

/// A set of descriptors to wait for, level-triggered.
pub struct Epoll {
    fd: OwnedFd,
    events: Box<[libc::epoll_event; BATCH]>,
}

impl Epoll {
    /// An empty set.
    ///
    /// # Errors
    ///
    /// Those of `epoll_create1(2)`.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            // SAFETY: a new descriptor that nothing else owns.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            events: Box::new([libc::epoll_event { events: 0, u64: 0 }; BATCH]),
        })
    }

    /// Adds `fd`, to be told as `token` whenever it can be read.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl(2)`.
    pub fn add(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: token,
        };
        // SAFETY: the kernel reads one event at the pointer.
        let ret = unsafe {
            libc::epoll_ctl(
                self.fd.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                fd.as_fd().as_raw_fd(),
                &raw mut event,
            )
        };
        if ret == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Sleeps until something can be read, and returns the tokens of what can.
    ///
    /// # Errors
    ///
    /// Those of `epoll_wait(2)`, except interruption by a signal.
    pub fn wait(&mut self) -> io::Result<impl Iterator<Item = u64> + '_> {
        let count = loop {
            // SAFETY: the kernel writes at most `BATCH` events at the pointer.
            let ret = unsafe {
                libc::epoll_wait(
                    self.fd.as_raw_fd(),
                    self.events.as_mut_ptr(),
                    BATCH as libc::c_int,
                    -1,
                )
            };
            match usize::try_from(ret) {
                Ok(count) => break count,
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        };
        Ok(self.events[..count].iter().map(|event| event.u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_can_be_read_is_told_by_its_token() {
        let (mut left, right) = UnixStream::pair().unwrap();
        let (_quiet, other) = UnixStream::pair().unwrap();
        let mut epoll = Epoll::new().unwrap();
        epoll.add(&right, 7).unwrap();
        epoll.add(&other, 8).unwrap();
        left.write_all(b"x").unwrap();
        assert_eq!(epoll.wait().unwrap().collect::<Vec<_>>(), [7]);
    }
}
