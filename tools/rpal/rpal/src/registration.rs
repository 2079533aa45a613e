// SPDX-License-Identifier: MIT OR Apache-2.0

//! The calling thread's registration with the kernel.
//!
//! A thread is registered while it holds a caller or a receiver, once however
//! many it holds. The control block that registration gives it is what the gate
//! knows it by.
//!
//! # Unsafe code
//!
//! The end of a registration that nothing rests on any more.

#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};

use rpal_sys::abi::rpal_ctl;
use rpal_sys::{call, Errno};

use crate::ServiceError;

/// Why the calling thread could not be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterError {
    /// The process is not a service.
    Service(ServiceError),
    /// The service has as many registered threads as one may have.
    TooManyThreads,
    /// The thread was registered by other means than this library.
    AlreadyRegistered,
    /// The thread uses the FS or GS base in another way than the C library
    /// does.
    Unsuitable,
    /// The thread is traced, or another thread has the same FS base.
    Busy,
    /// The thread has state that a call does not switch (a shadow stack, AMX
    /// tiles, I/O ports, user dispatch of system calls, its process an LDT), or
    /// its scheduling class is `SCHED_IDLE` or `SCHED_DEADLINE`.
    Unsupported,
    /// Any other error.
    Os(Errno),
}

impl From<Errno> for RegisterError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOSYS => Self::Service(ServiceError::NoRpal),
            Errno::NXIO => Self::Service(ServiceError::NotAService),
            Errno::NOSPC => Self::TooManyThreads,
            Errno::EXIST => Self::AlreadyRegistered,
            Errno::INVAL => Self::Unsuitable,
            Errno::BUSY => Self::Busy,
            Errno::OPNOTSUPP => Self::Unsupported,
            other => Self::Os(other),
        }
    }
}

impl From<ServiceError> for RegisterError {
    fn from(error: ServiceError) -> Self {
        Self::Service(error)
    }
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Service(error) => return error.fmt(f),
            Self::Os(errno) => return errno.fmt(f),
            Self::TooManyThreads => "the service has too many registered threads",
            Self::AlreadyRegistered => "the thread is registered already",
            Self::Unsuitable => "the thread's FS or GS base is not the C library's",
            Self::Busy => "the thread is traced, or shares its FS base",
            Self::Unsupported => {
                "the thread's shadow stack, AMX, user dispatch or scheduling class is not supported"
            }
        })
    }
}

impl std::error::Error for RegisterError {}

/// A registered thread. Unregistered when the last reference is dropped.
///
/// # Invariants
///
/// `ctl` is the control block of the thread that made this value, and that
/// thread is registered. Being behind an `Rc`, the value never leaves it.
pub(crate) struct Registration {
    ctl: *mut rpal_ctl,
    serving: Cell<bool>,
}

thread_local! {
    static CURRENT: RefCell<Weak<Registration>> = const { RefCell::new(Weak::new()) };
}

impl Registration {
    /// The calling thread's registration, made now if there is none yet.
    pub(crate) fn current() -> Result<Rc<Self>, RegisterError> {
        CURRENT.with_borrow_mut(|current| {
            if let Some(registration) = current.upgrade() {
                return Ok(registration);
            }
            let block = call::register()?;
            // INVARIANT: the kernel just registered this thread under `ctl`.
            let registration = Rc::new(Self {
                ctl: std::ptr::with_exposed_provenance_mut(block.ctl as usize),
                serving: Cell::new(false),
            });
            *current = Rc::downgrade(&registration);
            Ok(registration)
        })
    }

    /// Address of the thread's control block.
    pub(crate) fn ctl(&self) -> *mut rpal_ctl {
        self.ctl
    }

    /// Marks the thread as serving, until the guard is dropped; `None` if it
    /// serves already. A handler that parked its own thread again would leave
    /// the call that it runs in without an answer.
    pub(crate) fn begin_serving(&self) -> Option<Serving<'_>> {
        (!self.serving.replace(true)).then_some(Serving(self))
    }

    /// A registration that the kernel knows nothing of, for a gate that is
    /// not the kernel's.
    #[cfg(test)]
    pub(crate) fn mock(ctl: *mut rpal_ctl) -> Rc<Self> {
        Rc::new(Self {
            ctl,
            serving: Cell::new(false),
        })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: each caller and receiver holds a reference, also while it is in the gate; so
        // there is none, and what late calls were given is never something else. It fails only
        // in a forked child, which is not registered.
        let _ = unsafe { call::unregister() };
    }
}

/// A thread that serves.
pub(crate) struct Serving<'a>(&'a Registration);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.serving.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_serves_once_at_a_time() {
        let registration = Registration::mock(std::ptr::null_mut());
        let first = registration.begin_serving();
        assert!(first.is_some());
        assert!(registration.begin_serving().is_none());
        drop(first);
        assert!(registration.begin_serving().is_some());
    }

    #[test]
    fn what_a_thread_is_refused_for_is_told_apart() {
        let pairs = [
            (Errno::NOSPC, RegisterError::TooManyThreads),
            (Errno::EXIST, RegisterError::AlreadyRegistered),
            (Errno::INVAL, RegisterError::Unsuitable),
            (Errno::BUSY, RegisterError::Busy),
            (Errno::OPNOTSUPP, RegisterError::Unsupported),
            (Errno::NOMEM, RegisterError::Os(Errno::NOMEM)),
        ];
        for (errno, error) in pairs {
            assert_eq!(RegisterError::from(errno), error);
        }
    }

    #[test]
    fn outside_a_service_registration_is_refused() {
        assert!(matches!(
            Registration::current().err(),
            Some(RegisterError::Service(_))
        ));
    }
}
