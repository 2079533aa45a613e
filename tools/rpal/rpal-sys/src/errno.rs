// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel's error numbers.

use core::fmt;

/// An error number of the kernel, 1 to 4095.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(u16);

impl Errno {
    /// Largest error number that the kernel returns.
    pub const MAX: i32 = 4095;

    /// `EPERM`: not allowed.
    pub const PERM: Self = Self(libc::EPERM as u16);
    /// `ESRCH`: no such thread.
    pub const SRCH: Self = Self(libc::ESRCH as u16);
    /// `ENOENT`: no such entry.
    pub const NOENT: Self = Self(libc::ENOENT as u16);
    /// `EINTR`: interrupted by a signal.
    pub const INTR: Self = Self(libc::EINTR as u16);
    /// `ENXIO`: the caller is not in a service, or not registered.
    pub const NXIO: Self = Self(libc::ENXIO as u16);
    /// `EBADF`: not a suitable descriptor.
    pub const BADF: Self = Self(libc::EBADF as u16);
    /// `EAGAIN`: a limit is reached for now.
    pub const AGAIN: Self = Self(libc::EAGAIN as u16);
    /// `ENOMEM`: out of memory.
    pub const NOMEM: Self = Self(libc::ENOMEM as u16);
    /// `EFAULT`: bad address.
    pub const FAULT: Self = Self(libc::EFAULT as u16);
    /// `EBUSY`: in use.
    pub const BUSY: Self = Self(libc::EBUSY as u16);
    /// `EEXIST`: exists already.
    pub const EXIST: Self = Self(libc::EEXIST as u16);
    /// `EINVAL`: invalid argument.
    pub const INVAL: Self = Self(libc::EINVAL as u16);
    /// `EMFILE`: the process has too many open files.
    pub const MFILE: Self = Self(libc::EMFILE as u16);
    /// `ENFILE`: the system has too many open files.
    pub const NFILE: Self = Self(libc::ENFILE as u16);
    /// `ENOSPC`: all slots or control blocks are taken.
    pub const NOSPC: Self = Self(libc::ENOSPC as u16);
    /// `EPIPE`: the peer died.
    pub const PIPE: Self = Self(libc::EPIPE as u16);
    /// `ENOSYS`: the kernel does not have RPAL.
    pub const NOSYS: Self = Self(libc::ENOSYS as u16);
    /// `EPROTO`: the peer does not speak this protocol.
    pub const PROTO: Self = Self(libc::EPROTO as u16);
    /// `EOPNOTSUPP`: not possible on this CPU, with this program or this thread.
    pub const OPNOTSUPP: Self = Self(libc::EOPNOTSUPP as u16);
    /// `ENOBUFS`: no memory for a call, which was not made.
    pub const NOBUFS: Self = Self(libc::ENOBUFS as u16);
    /// `EUSERS`: too many services have a window onto the peer.
    pub const USERS: Self = Self(libc::EUSERS as u16);
    /// `ENOTCONN`: not attached.
    pub const NOTCONN: Self = Self(libc::ENOTCONN as u16);
    /// `ETIMEDOUT`: the time is up.
    pub const TIMEDOUT: Self = Self(libc::ETIMEDOUT as u16);
    /// `ESTALE`: the peer's context is not the one that was called.
    pub const STALE: Self = Self(libc::ESTALE as u16);
    /// `EKEYREJECTED`: both services have the same protection key.
    pub const KEYREJECTED: Self = Self(libc::EKEYREJECTED as u16);
    /// `EKEYREVOKED`: the thread is not who it was when its service attached.
    pub const KEYREVOKED: Self = Self(libc::EKEYREVOKED as u16);
    /// `EOWNERDEAD`: the peer is dead.
    pub const OWNERDEAD: Self = Self(libc::EOWNERDEAD as u16);

    /// The error with number `raw`; anything outside 1 to 4095, which the
    /// kernel never returns, becomes [`Errno::INVAL`].
    #[must_use]
    pub const fn new(raw: i32) -> Self {
        if raw >= 1 && raw <= Self::MAX {
            Self(raw as u16)
        } else {
            Self::INVAL
        }
    }

    /// The calling thread's `errno`.
    #[must_use]
    pub fn last() -> Self {
        Self::from(&std::io::Error::last_os_error())
    }

    /// The error number, 1 to 4095.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0 as i32
    }
}

impl From<&std::io::Error> for Errno {
    fn from(error: &std::io::Error) -> Self {
        Self::new(error.raw_os_error().unwrap_or(libc::EINVAL))
    }
}

impl From<std::io::Error> for Errno {
    fn from(error: std::io::Error) -> Self {
        Self::from(&error)
    }
}

impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.raw())
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({})", self.0)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&std::io::Error::from(*self), f)
    }
}

impl std::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_the_range_become_einval() {
        assert_eq!(Errno::new(0), Errno::INVAL);
        assert_eq!(Errno::new(-1), Errno::INVAL);
        assert_eq!(Errno::new(4096), Errno::INVAL);
        assert_eq!(Errno::new(4095).raw(), 4095);
    }

    #[test]
    fn io_errors_convert_both_ways() {
        let io = std::io::Error::from(Errno::PIPE);
        assert_eq!(Errno::from(&io), Errno::PIPE);
        let custom = std::io::Error::from(std::io::ErrorKind::Other);
        assert_eq!(Errno::from(custom), Errno::INVAL);
    }
}
