// SPDX-License-Identifier: GPL-2.0

//! All services of the system, and the lock that orders what concerns two of them.
//!
//! # Lock order
//!
//! 1. `mmap_lock` of the attaching service (write). Outside, since it may wait for a fault that
//!    user space serves, and everybody's end waits for the next one
//! 2. [`REGISTRY`] (mutex): attach, detach, the end of either side
//! 3. `Service::windows`, `Service::holders`, `Service::threads` (spinlocks, never two at a time)
//!
//! Apart from these: the receiver's lock `Thread::inner`, inside it `Ticket::inner` and
//! `Service::holders`; `Thread::tickets`, `spare` and `watch`, alone. Inside `Ticket::inner` a task
//! is woken, inside `Service::holders` security modules are asked as ptrace asks them, which is
//! under spinlocks, too. A window fault holds the peer's `mmap_lock` (read) and no other lock.
//! Nothing here is ever taken with interrupts off, since a flush waits for other CPUs with
//! `Service::holders` held.

use crate::{
    keys::{
        Key,
        KeyPool,
        KEYS, //
    },
    placement,
    service::Service,
    slots::{
        Slot,
        SlotError,
        Slots, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// Protection keys 8 to 15. The lower ones are what `pkey_alloc()` hands out first.
pub(crate) const KEY_MASK: u16 = 0xff00;

/// What [`REGISTRY`] guards.
pub(crate) struct Registry {
    slots: Slots,
    keys: KeyPool,
    /// By slot number: the key of whoever has the slot, from before there is a service.
    slot_keys: [Key; 256],
    services: [Option<Arc<Service>>; 256],
}

kernel::sync::global_lock! {
    // SAFETY: initialised by the module's init, before any service can be armed.
    pub(crate) unsafe(uninit) static REGISTRY: Mutex<Registry> = Registry {
        slots: Slots::new(),
        keys: placement::key_pool(),
        slot_keys: [Key::DEFAULT; 256],
        services: [const { None }; 256],
    };
}

impl Registry {
    /// Takes a slot, and a key if `protect`. A `privileged` user may have all that there are.
    ///
    /// `EAGAIN`: the user has too many services; `ENOSPC`: no slot is free.
    pub(crate) fn take(
        &mut self,
        uid: u32,
        protect: bool,
        privileged: bool,
    ) -> Result<(Slot, Key)> {
        let limit = if privileged {
            usize::MAX
        } else {
            self.slots.fair_share(uid)
        };
        let slot = match self.slots.alloc(uid, limit) {
            Ok(slot) => slot,
            Err(SlotError::UidLimit) => return Err(EAGAIN),
            Err(SlotError::Full) => return Err(ENOSPC),
        };
        let mut key = Key::DEFAULT;
        if protect {
            let own = |number| {
                let others = self.slots.of_user(uid).filter(|s| *s != slot);
                let keys = others.filter_map(|s| self.slot_keys.get(usize::from(s.number())));
                keys.filter(|key| key.number() == number).count()
            };
            key = self.keys.alloc(own).unwrap_or(key);
        }
        if let Some(entry) = self.slot_keys.get_mut(usize::from(slot.number())) {
            *entry = key;
        }
        Ok((slot, key))
    }

    /// Gives slot and key back. Every top-level entry that showed the slot is cleared.
    pub(crate) fn give_back(&mut self, slot: Slot, key: Key) -> Option<Arc<Service>> {
        self.slots.free(slot);
        if key != Key::DEFAULT {
            self.keys.free(key);
        }
        self.services
            .get_mut(usize::from(slot.number()))
            .and_then(Option::take)
    }

    /// Enters a service in the list.
    pub(crate) fn insert(&mut self, service: Arc<Service>) {
        if let Some(entry) = self.services.get_mut(usize::from(service.place.number())) {
            *entry = Some(service);
        }
    }

    /// The keys that services get, and how many have each.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (u8, u32)> + '_ {
        (0..KEYS)
            .filter(|number| self.keys.contains(*number))
            .map(|number| (number, self.keys.uses(number)))
    }

    /// All services that live.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.iter().flatten()
    }
}
