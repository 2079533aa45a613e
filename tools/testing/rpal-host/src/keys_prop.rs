// SPDX-License-Identifier: GPL-2.0

//! The key pool against a naive model.

use crate::keys::{pkru_for, Key, KeyPool, KEYS};
use proptest::prelude::*;

proptest! {
    #[test]
    fn sequences(
        mask in prop_oneof![Just(0xff00), any::<u16>()],
        // Some(n): give back one of the keys in use; None: take one. For one of three users.
        ops in proptest::collection::vec(
            (proptest::option::weighted(0.4, any::<usize>()), 0..3_u32),
            0..300,
        ),
    ) {
        let mut pool = KeyPool::new(mask);
        let mut taken: Vec<(Key, u32)> = Vec::new();
        let mut last = 0;
        for (op, user) in ops {
            if let Some(n) = op {
                if !taken.is_empty() {
                    let (key, _) = taken.swap_remove(n % taken.len());
                    prop_assert!(pool.free(key));
                }
                continue;
            }
            let uses = |number: u8| taken.iter().filter(|(k, _)| k.number() == number).count();
            let own = |number: u8| {
                taken.iter().filter(|(k, u)| k.number() == number && *u == user).count()
            };
            // In the order in which a tie is decided, hence the first of the least.
            let expected = (last + 1..KEYS)
                .chain(0..=last)
                .filter(|n| *n != 0 && mask & (1 << n) != 0)
                .min_by_key(|n| (own(*n), uses(*n)));
            let got = pool.alloc(own);
            prop_assert_eq!(got.map(Key::number), expected);
            if let Some(key) = got {
                taken.push((key, user));
                last = key.number();
            }
            for number in 0..=u8::MAX {
                let uses = taken.iter().filter(|(k, _)| k.number() == number).count();
                prop_assert_eq!(pool.uses(number) as usize, uses);
                let inside = (1..KEYS).contains(&number) && mask & (1 << number) != 0;
                prop_assert_eq!(pool.contains(number), inside);
            }
        }
    }
}

#[test]
fn pkru() {
    // What the kernel starts every task with.
    assert_eq!(pkru_for(Key::DEFAULT), 0x5555_5554);
    let mut pool = KeyPool::new(0xffff);
    for _ in 1..KEYS {
        let key = pool.alloc(|_| 0).unwrap();
        for number in 0..KEYS {
            let bits = (pkru_for(key) >> (2 * number)) & 0b11;
            let open = number == 0 || number == key.number();
            assert_eq!(bits, if open { 0b00 } else { 0b01 });
        }
    }
}

/// One user leaves its services such that one key is by far the least used.
#[test]
fn what_one_user_does_is_not_what_others_get() {
    let mut pool = KeyPool::new(0xff00);
    let theirs: Vec<Key> = (0..127).map(|_| pool.alloc(|_| 0).unwrap()).collect();
    for key in theirs.iter().filter(|k| k.number() == 8) {
        pool.free(*key);
    }
    let mut own = [0; 16];
    let got: Vec<u8> = (0..8)
        .map(|_| {
            let number = pool.alloc(|n| own[usize::from(n)]).unwrap().number();
            own[usize::from(number)] += 1;
            number
        })
        .collect();
    assert_eq!(got[0], 8);
    assert!((8..16).all(|n| got.contains(&n)), "{got:?}");
}

#[test]
fn nothing_to_give() {
    let mut pool = KeyPool::new(0x0001);
    assert_eq!(pool.alloc(|_| 0), None);
    assert!(!pool.free(Key::DEFAULT));
}
