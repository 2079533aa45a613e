// SPDX-License-Identifier: GPL-2.0

//! The slot allocator against a naive model.

use crate::slots::{Slot, SlotError, Slots, SLOT_FIRST, SLOT_LAST, SLOT_SIZE};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Op {
    Alloc { uid: u32, limit: usize },
    Free { number: u8 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (0..4u32, prop_oneof![Just(3), Just(100), Just(300)])
            .prop_map(|(uid, limit)| Op::Alloc { uid, limit }),
        2 => any::<u8>().prop_map(|number| Op::Free { number }),
    ]
}

proptest! {
    #[test]
    fn sequences(ops in proptest::collection::vec(op(), 0..1500)) {
        let mut slots = Slots::new();
        let mut taken: BTreeMap<u8, u32> = BTreeMap::new();
        let mut last = 0u8;
        for op in ops {
            match op {
                Op::Alloc { uid, limit } => {
                    let has = taken.values().filter(|u| **u == uid).count();
                    prop_assert_eq!(slots.count(uid), has);
                    // First those after the last one, then from the beginning.
                    let next = (SLOT_FIRST..=SLOT_LAST)
                        .filter(|n| *n > last)
                        .chain(SLOT_FIRST..=SLOT_LAST)
                        .find(|n| !taken.contains_key(n));
                    let expected = if has >= limit {
                        Err(SlotError::UidLimit)
                    } else {
                        next.ok_or(SlotError::Full)
                    };
                    let got = slots.alloc(uid, limit).map(Slot::number);
                    prop_assert_eq!(got, expected);
                    if let Ok(number) = got {
                        taken.insert(number, uid);
                        last = number;
                    }
                }
                Op::Free { number } => {
                    if let Some(slot) = Slot::new(number) {
                        prop_assert_eq!(slots.free(slot), taken.remove(&number).is_some());
                    } else {
                        prop_assert!(!(SLOT_FIRST..=SLOT_LAST).contains(&number));
                    }
                }
            }
        }
    }

    /// Nobody is left without a slot by users that take all they may.
    #[test]
    fn shares_leave_some(users in 1..7u32) {
        let mut slots = Slots::new();
        for uid in 0..users {
            while slots.alloc(uid, slots.fair_share(uid)).is_ok() {}
            prop_assert!(slots.count(uid) >= 127 >> uid);
        }
        prop_assert!(slots.alloc(users, slots.fair_share(users)).is_ok());
    }

    #[test]
    fn addresses(addr in any::<usize>()) {
        match Slot::of_addr(addr) {
            Some(slot) => {
                prop_assert!(slot.contains(addr));
                prop_assert!(slot.start() <= addr && addr < slot.end());
            }
            None => {
                let outside = !(SLOT_SIZE..255 * SLOT_SIZE).contains(&addr);
                prop_assert!(outside);
            }
        }
    }

    /// As above, but with most addresses in or about the slots.
    #[test]
    fn addresses_near(number in 0..257usize, offset in -2..2isize) {
        let addr = (number * SLOT_SIZE).wrapping_add_signed(offset);
        let expected = addr / SLOT_SIZE;
        let slot = Slot::of_addr(addr);
        prop_assert_eq!(
            slot.map(|s| usize::from(s.number())),
            (1..=254).contains(&expected).then_some(expected)
        );
        for s in (SLOT_FIRST..=SLOT_LAST).filter_map(Slot::new) {
            prop_assert_eq!(s.contains(addr), slot == Some(s));
        }
    }
}

#[test]
fn full_and_again() {
    let mut slots = Slots::new();
    for number in SLOT_FIRST..=SLOT_LAST {
        let slot = slots.alloc(u32::from(number), 1).unwrap();
        assert_eq!(slot.number(), number);
    }
    assert_eq!(slots.alloc(0, 1), Err(SlotError::Full));
    // The limit is told before the lack of slots: it is what the user can do something about.
    assert_eq!(slots.alloc(1, 1), Err(SlotError::UidLimit));
    let slot = Slot::new(77).unwrap();
    assert!(slots.free(slot));
    assert!(!slots.free(slot));
    assert_eq!(slots.alloc(0, 1), Ok(slot));
    assert_eq!(slots.alloc(9, 0), Err(SlotError::UidLimit));
}
