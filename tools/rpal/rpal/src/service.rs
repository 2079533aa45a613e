// SPDX-License-Identifier: MIT OR Apache-2.0

//! The service that this process is.
//!
//! # Unsafe code
//!
//! The gate's addresses become function pointers here.

#![allow(unsafe_code)]

use std::fmt;
use std::os::fd::OwnedFd;

use rpal_sys::abi::{rpal_service, RPAL_MODE_UNPROTECTED};
use rpal_sys::gate::Gate;
use rpal_sys::{call, Errno};

use crate::Protection;

/// The calling process as a service: what the kernel tells about it.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    facts: rpal_service,
    gate: Gate,
}

/// Why the calling process is not a service, or cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceError {
    /// The kernel does not have RPAL.
    NoRpal,
    /// The process was not executed by an armed thread.
    NotAService,
    /// The process, or the system, has too many open files.
    TooManyFiles,
    /// Any other error.
    Os(Errno),
}

impl From<Errno> for ServiceError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOSYS => Self::NoRpal,
            Errno::NXIO => Self::NotAService,
            Errno::MFILE | Errno::NFILE => Self::TooManyFiles,
            other => Self::Os(other),
        }
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRpal => f.write_str("the kernel does not have RPAL"),
            Self::NotAService => {
                f.write_str("not a service (start the program with `rpal run --`)")
            }
            Self::TooManyFiles => f.write_str("too many open files"),
            Self::Os(errno) => errno.fmt(f),
        }
    }
}

impl std::error::Error for ServiceError {}

impl Service {
    /// The service that the calling process is.
    ///
    /// # Errors
    ///
    /// [`ServiceError::NotAService`] in a process that was started as any
    /// other, or forked by a service.
    pub fn current() -> Result<Self, ServiceError> {
        let facts = call::service()?;
        // SAFETY: `facts` was filled in by the call just above, in this image.
        let gate = unsafe { Gate::new(&facts) }.ok_or(ServiceError::NoRpal)?;
        Ok(Self { facts, gate })
    }

    /// Number of the slot, 1 to 254.
    #[must_use]
    pub fn slot(&self) -> u32 {
        self.facts.slot
    }

    /// First address of the slot. All of the service's memory that a peer can
    /// see lies within 512 GiB from here.
    #[must_use]
    pub fn slot_start(&self) -> u64 {
        self.facts.slot_start
    }

    /// Protection key of the service's memory, 0 without protection.
    #[must_use]
    pub fn pkey(&self) -> u32 {
        self.facts.pkey
    }

    /// How the service's memory is protected.
    #[must_use]
    pub fn protection(&self) -> Protection {
        if self.facts.mode & RPAL_MODE_UNPROTECTED == 0 {
            Protection::Keys
        } else {
            Protection::None
        }
    }

    /// A new descriptor of this service. Whoever holds it may attach the
    /// service, within the kernel's rules: pass it to nobody else.
    ///
    /// # Errors
    ///
    /// [`ServiceError::TooManyFiles`]; [`ServiceError::NotAService`] in a
    /// process forked since.
    pub fn descriptor(&self) -> Result<OwnedFd, ServiceError> {
        Ok(call::service_fd()?)
    }

    /// The gate's entry points.
    pub(crate) fn gate(&self) -> Gate {
        self.gate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_process_is_not_a_service() {
        assert!(matches!(
            Service::current(),
            Err(ServiceError::NoRpal | ServiceError::NotAService)
        ));
    }
}
