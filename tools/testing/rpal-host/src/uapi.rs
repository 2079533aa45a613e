// SPDX-License-Identifier: GPL-2.0

//! The modules cannot include the C header: compare with its text.

use crate::lease_word as word;
use crate::slots;

const HEADER: &str = include_str!("../../../../include/uapi/linux/rpal.h");

/// The value of `#define name value`, where the value is a number or `(1U << number)`.
fn define(name: &str) -> u64 {
    let value = HEADER
        .lines()
        .find_map(|line| {
            let mut words = line.strip_prefix("#define ")?.splitn(2, [' ', '\t']);
            (words.next() == Some(name)).then(|| words.next().unwrap().trim())
        })
        .unwrap_or_else(|| panic!("no {name} in the header"));
    let value = value.split("/*").next().unwrap().trim();
    match value.strip_prefix("(1U << ") {
        Some(shift) => 1 << shift.trim_end_matches(')').parse::<u32>().unwrap(),
        None => value.parse().unwrap(),
    }
}

#[test]
fn lease_word() {
    assert_eq!(word::READY, define("RPAL_WORD_READY"));
    assert_eq!(word::LENT, define("RPAL_WORD_LENT"));
    assert_eq!(word::WANTED, define("RPAL_WORD_WANTED"));
    assert_eq!(word::EVENT, define("RPAL_WORD_EVENT"));
    assert_eq!(word::AWAY, define("RPAL_WORD_AWAY"));
    let shift = |name| u32::try_from(define(name)).unwrap();
    assert_eq!(word::INDEX_SHIFT, shift("RPAL_WORD_INDEX_SHIFT"));
    assert_eq!(word::SLOT_SHIFT, shift("RPAL_WORD_SLOT_SHIFT"));
    assert_eq!(word::SEQ_SHIFT, shift("RPAL_WORD_SEQ_SHIFT"));
    // An index has to fit into its 8 bits.
    assert!(define("RPAL_MAX_THREADS") <= 1 << (word::SLOT_SHIFT - word::INDEX_SHIFT));
}

#[test]
fn slot_numbers() {
    assert_eq!(u64::from(slots::SLOT_SHIFT), define("RPAL_SLOT_SHIFT"));
    assert_eq!(u64::from(slots::SLOT_FIRST), define("RPAL_SLOT_FIRST"));
    assert_eq!(u64::from(slots::SLOT_LAST), define("RPAL_SLOT_LAST"));
    assert_eq!(slots::SLOT_SIZE, 1 << slots::SLOT_SHIFT);
}
