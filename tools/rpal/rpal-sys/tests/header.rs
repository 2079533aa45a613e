// SPDX-License-Identifier: MIT OR Apache-2.0

//! The bindings against the header that they mirror.

use std::collections::HashMap;
use std::mem::{offset_of, size_of};

use rpal_sys::abi::*;

const HEADER: &str = include_str!("../../../../include/uapi/linux/rpal.h");

/// The header without its comments.
fn code() -> String {
    let mut out = String::new();
    let mut rest = HEADER;
    while let Some((before, after)) = rest.split_once("/*") {
        out.push_str(before);
        rest = after.split_once("*/").expect("comment is closed").1;
    }
    out.push_str(rest);
    out
}

/// Value of a constant expression as the header writes them: a number, a
/// complement or a shift, in parentheses or not.
fn evaluate(text: &str) -> u64 {
    let text = text
        .trim()
        .trim_start_matches('(')
        .trim_end_matches(')')
        .trim();
    if let Some((value, shift)) = text.split_once("<<") {
        return evaluate(value) << evaluate(shift);
    }
    if let Some(inner) = text.strip_prefix('-') {
        return evaluate(inner).wrapping_neg();
    }
    if let Some(inner) = text.strip_prefix('~') {
        return !evaluate(inner);
    }
    match text {
        "RPAL_SLOT_SHIFT" => u64::from(RPAL_SLOT_SHIFT),
        number => number
            .trim_end_matches(['U', 'L'])
            .parse()
            .expect("constant is a decimal number"),
    }
}

fn defines() -> HashMap<String, u64> {
    code()
        .lines()
        .filter_map(|line| {
            line.strip_prefix("#define")?
                .trim()
                .split_once(char::is_whitespace)
        })
        .map(|(name, value)| (name.to_owned(), evaluate(value)))
        .collect()
}

/// Names and offsets of the members of `struct name`, and its size.
fn layout(name: &str) -> (Vec<(String, usize)>, usize) {
    let code = code();
    let start = code
        .find(&format!("struct {name} {{"))
        .expect("struct is there");
    let body = &code[start..];
    let body = &body[body.find('{').unwrap() + 1..body.find('}').unwrap()];
    let mut members = Vec::new();
    let (mut end, mut max_align) = (0, 1);
    for member in body.split(';').map(str::trim).filter(|m| !m.is_empty()) {
        let (kind, name) = member
            .split_once(char::is_whitespace)
            .expect("type and name");
        let align = match kind {
            "__u64" => 8,
            "__u32" | "__s32" => 4,
            other => panic!("type {other} in {member}"),
        };
        let (name, count) = match name.trim().split_once('[') {
            Some((name, count)) => (name, count.trim_end_matches(']').parse().unwrap()),
            None => (name.trim(), 1),
        };
        end = usize::next_multiple_of(end, align);
        members.push((name.to_owned(), end));
        end += align * count;
        max_align = max_align.max(align);
    }
    (members, end.next_multiple_of(max_align))
}

macro_rules! check_constants {
    ($($name:ident),* $(,)?) => {{
        let mut header = defines();
        $(
            assert_eq!(
                header.remove(stringify!($name)),
                Some($name as u64),
                stringify!($name)
            );
        )*
        header
    }};
}

macro_rules! check_layout {
    ($name:ident { $($member:ident),* $(,)? }) => {{
        let here = vec![$((stringify!($member).to_owned(), offset_of!($name, $member))),*];
        assert_eq!(layout(stringify!($name)), (here, size_of::<$name>()));
    }};
}

#[test]
fn constants_are_those_of_the_header_and_none_is_missing() {
    let rest = check_constants!(
        RPAL_SLOT_SHIFT,
        RPAL_SLOT_SIZE,
        RPAL_SLOT_FIRST,
        RPAL_SLOT_LAST,
        RPAL_MAX_THREADS,
        RPAL_ARM_UNPROTECTED,
        RPAL_ARM_DISARM,
        RPAL_ARM_SIZE_VER0,
        RPAL_SERVICE_FD,
        RPAL_SERVICE_SIZE_VER0,
        RPAL_MODE_UNPROTECTED,
        RPAL_ATTACH_SIZE_VER0,
        RPAL_THREAD_UNREGISTER,
        RPAL_THREAD_WATCH,
        RPAL_THREAD_SIZE_VER0,
        RPAL_WORD_READY,
        RPAL_WORD_LENT,
        RPAL_WORD_WANTED,
        RPAL_WORD_EVENT,
        RPAL_WORD_AWAY,
        RPAL_WORD_INDEX_SHIFT,
        RPAL_WORD_SLOT_SHIFT,
        RPAL_WORD_SEQ_SHIFT,
        RPAL_CTL_SIZE,
        RPAL_WAIT_FOREVER,
        RPAL_WAIT_NO_FD,
    );
    assert!(rest.is_empty(), "in the header only: {rest:?}");
}

#[test]
fn structures_are_laid_out_as_in_the_header() {
    check_layout!(rpal_arm { flags, reserved });
    check_layout!(rpal_service {
        flags,
        fd,
        slot,
        pkey,
        pkru,
        mode,
        max_threads,
        slot_start,
        ctl_start,
        gate_call,
        gate_wait,
        gate_copy,
    });
    check_layout!(rpal_attach {
        flags,
        slot,
        pkey,
        slot_start,
        ctl_start,
    });
    check_layout!(rpal_thread {
        flags,
        ctl,
        index,
        reserved,
    });
    check_layout!(rpal_ctl {
        word,
        claim,
        fsbase,
        entry_sp,
        entry_ip,
        cookie,
        fpcw,
        pkru,
        lent,
        claim_delta,
        release_delta,
        saved_sp,
        caller,
        deadline,
        watch,
        reserved0,
        reserved,
    });
}
