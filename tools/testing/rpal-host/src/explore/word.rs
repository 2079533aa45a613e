// SPDX-License-Identifier: GPL-2.0

//! The lease word on loom's atomics.

use super::ghost::{plain, Watch};
use super::setup::Mutant;
use crate::lease_word::{self as word, LeaseWord};
use loom::sync::atomic::{AtomicU64, Ordering};

pub(super) struct ModelWord {
    pub(super) value: AtomicU64,
    pub(super) watch: Watch,
    pub(super) mutant: Option<Mutant>,
}

impl ModelWord {
    /// No check here: in user mode the caller's own note follows in the same step, in the kernel
    /// the end of the critical section.
    pub(super) fn wrote(&self, new: u64) {
        plain(&self.watch.ghost).word = new;
    }
}

impl LeaseWord for ModelWord {
    fn load(&self) -> u64 {
        let order = match self.mutant {
            Some(Mutant::RelaxedClaim) => Ordering::Relaxed,
            _ => Ordering::Acquire,
        };
        self.value.load(order)
    }
    fn compare_exchange(&self, old: u64, new: u64) -> Result<u64, u64> {
        let (ok, failed) = match self.mutant {
            Some(Mutant::RelaxedClaim) => (Ordering::Release, Ordering::Relaxed),
            Some(Mutant::RelaxedRelease) => (Ordering::Acquire, Ordering::Acquire),
            _ => (Ordering::AcqRel, Ordering::Acquire),
        };
        let result = self.value.compare_exchange(old, new, ok, failed);
        if result.is_ok() {
            self.wrote(new);
        }
        result
    }
    fn swap(&self, new: u64) -> u64 {
        let found = self.value.swap(new, Ordering::AcqRel);
        self.wrote(new);
        found
    }
    fn fetch_or(&self, bits: u64) -> u64 {
        let bits = match self.mutant {
            Some(Mutant::NoWanted) => bits & !word::WANTED,
            Some(Mutant::NoEvent) => bits & !word::EVENT,
            _ => bits,
        };
        let found = self.value.fetch_or(bits, Ordering::AcqRel);
        self.wrote(found | bits);
        found
    }
    fn store_release(&self, new: u64) {
        let order = match self.mutant {
            Some(Mutant::RelaxedPark) => Ordering::Relaxed,
            _ => Ordering::Release,
        };
        self.value.store(new, order);
        self.wrote(new);
    }
}
