// SPDX-License-Identifier: MIT OR Apache-2.0

//! A deadline in the thread's control block.
//!
//! The kernel looks at it every few milliseconds while its *watch* is on, and
//! in every wait for an answer. The watch stops when there is no deadline; so
//! whoever sets one looks whether the watch is on, and the system call that
//! starts it is made once in a while and not for each call.
//!
//! # Unsafe code
//!
//! The control block, which the kernel reads and writes meanwhile.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use rpal_sys::abi::rpal_ctl;
use rpal_sys::call;

use crate::CallError;

/// A deadline that stands, until this is dropped.
pub(crate) struct Standing<'a>(&'a AtomicU64);

impl Standing<'_> {
    /// Sets the deadline of the thread whose control block is `own`.
    ///
    /// An error means that no deadline stands: `TimedOut`, it is over already, or
    /// what the kernel said.
    ///
    /// # Safety
    ///
    /// `own` is the control block of the calling thread, which is registered and
    /// stays so until the value is dropped.
    pub(crate) unsafe fn set(own: *mut rpal_ctl, deadline: Instant) -> Result<Self, CallError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(CallError::TimedOut);
        }
        // An `Instant` does not tell its number. Read after the difference was
        // taken, the clock makes the deadline a little later, and never earlier.
        let left = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
        let end = monotonic().saturating_add(left);
        // SAFETY: both fields are aligned, lie in a live control block, and are
        // accessed atomically by everybody, the kernel included.
        let (field, watch) = unsafe {
            (
                AtomicU64::from_ptr(&raw mut (*own).deadline),
                AtomicU32::from_ptr(&raw mut (*own).watch),
            )
        };
        // An exchange, for it is ordered before the load. The kernel clears
        // `watch` likewise and looks for a deadline then: one of the two sees
        // the other.
        field.swap(end, Ordering::SeqCst);
        let standing = Self(field);
        if watch.load(Ordering::SeqCst) == 0 {
            call::watch().map_err(CallError::Os)?;
        }
        Ok(standing)
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// The clock that deadlines are of, in nanoseconds.
fn monotonic() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the C library fills in the structure. It can't fail for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    (now.tv_sec as u64)
        .saturating_mul(1_000_000_000)
        .saturating_add(now.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn watched() -> rpal_ctl {
        rpal_ctl {
            watch: 1,
            ..rpal_ctl::default()
        }
    }

    #[test]
    fn a_deadline_stands_by_the_kernels_clock_until_it_is_dropped() {
        let mut ctl = watched();
        let own = &raw mut ctl;
        let before = monotonic();
        // SAFETY: a block of this test's.
        let standing = unsafe { Standing::set(own, Instant::now() + Duration::from_secs(3600)) };
        let after = monotonic();
        let standing = standing.ok().unwrap();
        let value = standing.0.load(Ordering::Relaxed);
        let hour = 3_600_000_000_000;
        assert!(value <= after + hour);
        // The little that passed between the test's clock reading and the other.
        assert!(value > before);
        drop(standing);
        assert_eq!(ctl.deadline, 0);
    }

    #[test]
    fn a_deadline_beyond_all_time_is_none_that_has_passed() {
        let mut ctl = watched();
        let mut far = Instant::now();
        // As late as the type has it.
        for shift in (0..63).rev() {
            far = far
                .checked_add(Duration::from_secs(1 << shift))
                .unwrap_or(far);
        }
        // SAFETY: a block of this test's.
        let standing = unsafe { Standing::set(&raw mut ctl, far) }.ok().unwrap();
        assert_eq!(standing.0.load(Ordering::Relaxed), u64::MAX);
    }

    #[test]
    fn what_is_over_is_not_set() {
        let mut ctl = watched();
        // SAFETY: a block of this test's.
        let standing = unsafe { Standing::set(&raw mut ctl, Instant::now()) };
        assert_eq!(standing.err(), Some(CallError::TimedOut));
        assert_eq!(ctl.deadline, 0);
    }

    #[test]
    fn a_watch_that_is_off_is_asked_for() {
        let mut ctl = rpal_ctl::default();
        let later = Instant::now() + Duration::from_secs(3600);
        // SAFETY: a block of this test's. The kernel refuses, since the thread
        // is not registered.
        let standing = unsafe { Standing::set(&raw mut ctl, later) };
        assert!(matches!(standing.err(), Some(CallError::Os(_))));
        assert_eq!(ctl.deadline, 0);
    }
}
