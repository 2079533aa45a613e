// SPDX-License-Identifier: MIT OR Apache-2.0

//! Windows: a peer's slot in this process's address space.
//!
//! The kernel has one window per pair of services. Several connections to the
//! same peer share it, so windows are counted here.
//!
//! # Unsafe code
//!
//! Removing a window that nothing refers to any more.

#![allow(unsafe_code)]

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rpal_sys::abi::{rpal_attach, rpal_ctl, RPAL_CTL_SIZE, RPAL_MAX_THREADS};
use rpal_sys::{call, Errno};

use crate::ServiceError;

/// Why a peer could not be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// This process is not a service.
    Service(ServiceError),
    /// What the peer sent is not a service descriptor.
    NotAService,
    /// The peer is this very service.
    Oneself,
    /// The two differ in credentials, namespaces, or restrictions: the processes,
    /// or a registered thread of the peer's. Or one of them is not dumpable.
    NotPermitted,
    /// The two have the same protection key, and not both are unprotected.
    SameKey,
    /// The peer died meanwhile.
    PeerDied,
    /// Something is mapped where the peer's slot would appear.
    SlotInUse,
    /// Too many other services have attached the peer.
    TooManyWindows,
    /// The peer is attached by other means than this library, or told another
    /// slot than it has, if that was noticed: of a service that is attached
    /// already, the kernel does not say where it is.
    Confused,
    /// Any other error.
    Os(Errno),
}

impl From<Errno> for AttachError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOSYS => Self::Service(ServiceError::NoRpal),
            Errno::NXIO => Self::Service(ServiceError::NotAService),
            Errno::BADF => Self::NotAService,
            Errno::INVAL => Self::Oneself,
            Errno::PERM => Self::NotPermitted,
            Errno::KEYREJECTED => Self::SameKey,
            Errno::OWNERDEAD => Self::PeerDied,
            Errno::BUSY => Self::SlotInUse,
            Errno::EXIST => Self::Confused,
            Errno::USERS => Self::TooManyWindows,
            other => Self::Os(other),
        }
    }
}

impl AttachError {
    /// The error number that tells a peer why it was refused.
    pub(crate) fn errno(self) -> Errno {
        match self {
            Self::Service(_) => Errno::NXIO,
            Self::NotAService => Errno::BADF,
            Self::Oneself => Errno::INVAL,
            Self::NotPermitted => Errno::PERM,
            Self::SameKey => Errno::KEYREJECTED,
            Self::PeerDied => Errno::OWNERDEAD,
            Self::SlotInUse => Errno::BUSY,
            Self::TooManyWindows => Errno::USERS,
            Self::Confused => Errno::EXIST,
            Self::Os(errno) => errno,
        }
    }
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Service(error) => return error.fmt(f),
            Self::Os(errno) => return errno.fmt(f),
            Self::NotAService => "the peer sent something else than a service descriptor",
            Self::Oneself => "a service cannot attach itself",
            Self::NotPermitted => "not permitted: credentials or restrictions differ",
            Self::SameKey => "both services have the same protection key; start one of them again",
            Self::PeerDied => "the peer died",
            Self::SlotInUse => "something is mapped at the peer's slot",
            Self::TooManyWindows => "too many services have attached the peer",
            Self::Confused => "the peer is attached by other means",
        })
    }
}

impl std::error::Error for AttachError {}

/// A window. Removed when the last reference is dropped.
///
/// # Invariants
///
/// While a value exists, the window it stands for is attached, or the kernel has
/// closed it: its peer is dead, or one of the two is not who it was.
pub(crate) struct Window {
    id: u64,
    fd: OwnedFd,
    facts: rpal_attach,
}

/// What this process has attached: id, facts, and whether it is still in use.
type Table = Vec<(u64, rpal_attach, Weak<Window>)>;

static TABLE: Mutex<Table> = Mutex::new(Vec::new());
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// The table. No code can panic between two halves of a change to it, so a
/// poisoned lock guards a sound table.
fn table() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The window onto `slot`, if it is in use.
fn find(table: &Table, slot: u32) -> Option<Arc<Window>> {
    table
        .iter()
        .find(|(_, facts, _)| facts.slot == slot)
        .and_then(|(_, _, window)| window.upgrade())
}

/// Removes the window of `fd`, of which there is no `Window` any more.
fn detach(fd: &OwnedFd) {
    // SAFETY: whatever uses a peer's memory holds a reference to a `Window`. A
    // handler that still works for the peer only copies by the gate, which
    // reports a closed window. (If it is at work for so long that the slot is
    // another service's, with the same key and attached, it copies there.) An error
    // means that the peer ended and the kernel was quicker.
    let _ = unsafe { call::detach(fd.as_fd()) };
}

impl Window {
    /// Attaches the service of descriptor `fd`, which is said to be in `slot`,
    /// or shares the window there is already.
    pub(crate) fn attach(fd: OwnedFd, slot: u32) -> Result<Arc<Self>, AttachError> {
        let mut table = table();
        let facts = match call::attach(fd.as_fd()) {
            Err(Errno::EXIST) => {
                if let Some(window) = find(&table, slot) {
                    return Ok(window);
                }
                // Its last reference is gone and the thread that drops it has
                // not got here yet: do its work, then attach anew.
                let before = table.len();
                table.retain(|(_, facts, _)| facts.slot != slot);
                if table.len() == before {
                    return Err(AttachError::Confused);
                }
                detach(&fd);
                call::attach(fd.as_fd())?
            }
            other => other?,
        };
        if facts.slot != slot {
            detach(&fd);
            return Err(AttachError::Confused);
        }
        // Whoever had the slot before, or this peer's window before the kernel closed it, may
        // still be held on to. Nobody must find it.
        table.retain(|(_, facts, _)| facts.slot != slot);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        // INVARIANT: the kernel attached it just now.
        let window = Arc::new(Self { id, fd, facts });
        table.push((id, facts, Arc::downgrade(&window)));
        Ok(window)
    }

    /// The control block at `address`, if it is one of this peer's.
    pub(crate) fn ctl(&self, address: u64) -> Option<*mut rpal_ctl> {
        ctl_in(self.facts.ctl_start, address)
    }
}

/// The control block at `address`, if it is one of those from `start` on.
fn ctl_in(start: u64, address: u64) -> Option<*mut rpal_ctl> {
    let size = RPAL_CTL_SIZE as u64;
    let offset = address.checked_sub(start)?;
    (offset % size == 0 && offset / size < u64::from(RPAL_MAX_THREADS))
        .then(|| std::ptr::with_exposed_provenance_mut(address as usize))
}

impl Drop for Window {
    fn drop(&mut self) {
        let mut table = table();
        let before = table.len();
        table.retain(|(id, _, _)| *id != self.id);
        let removed_by_attach = table.len() == before;
        if !removed_by_attach {
            detach(&self.fd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn only_the_peers_control_blocks_are_control_blocks() {
        let start = 0x80_0000_0000;
        assert!(ctl_in(start, start).is_some());
        assert!(ctl_in(start, start + 255 * 256).is_some());
        assert!(ctl_in(start, start + 256 * 256).is_none());
        assert!(ctl_in(start, start + 8).is_none());
        assert!(ctl_in(start, start - 256).is_none());
        assert!(ctl_in(start, 0).is_none());
    }

    #[test]
    fn any_other_descriptor_is_refused() {
        let fd = OwnedFd::from(File::open("/dev/null").unwrap());
        assert!(matches!(
            Window::attach(fd, 1).err(),
            Some(AttachError::Service(_) | AttachError::NotAService)
        ));
    }

    #[test]
    fn refusals_travel_as_error_numbers_and_back() {
        for error in [
            AttachError::NotAService,
            AttachError::Oneself,
            AttachError::NotPermitted,
            AttachError::SameKey,
            AttachError::PeerDied,
            AttachError::SlotInUse,
            AttachError::TooManyWindows,
            AttachError::Confused,
            AttachError::Os(Errno::NOMEM),
        ] {
            assert_eq!(AttachError::from(error.errno()), error);
        }
    }
}
