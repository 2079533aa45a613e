// SPDX-License-Identifier: GPL-2.0

//! The kernel's counters. loom runs all tasks of a world on the test's own thread, so that each
//! test has its own.

use std::cell::Cell;

/// How often something has happened, over all interleavings.
pub(crate) struct Counter(usize);

macro_rules! counters {
    ($($name:ident),* $(,)?) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum Index { $($name),* }
        $(pub(crate) static $name: Counter = Counter(Index::$name as usize);)*
        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

counters!(
    CALL_QUEUED,
    CALL_SLOW,
    EVENT_LATE,
    EVENT_LENT,
    EVENT_NATIVE,
    EVENT_READY,
    GRANT_CALL,
    GRANT_QUEUED,
    PARK,
    REPLY,
    RESUME,
    TIMEOUT,
    WANTED,
    WANT_READY,
    WITHHELD,
    // Not the kernel's.
    CALL_AGAIN,
    AWAIT_AGAIN,
    BROKEN_PIPE,
    FAST,
    GRANT,
    RELEASE_NATIVE,
    RUNS,
    TIMED_OUT,
    TIME_OVER,
    TOLD,
    TOLD_TOO_LATE,
);

thread_local! {
    static COUNTS: Cell<[usize; NAMES.len()]> = const { Cell::new([0; NAMES.len()]) };
}

impl Counter {
    pub(crate) fn inc(&self) {
        let mut counts = COUNTS.get();
        counts[self.0] += 1;
        COUNTS.set(counts);
    }
    pub(crate) fn get(&self) -> usize {
        COUNTS.get()[self.0]
    }
    pub(crate) fn name(&self) -> &'static str {
        NAMES[self.0]
    }
}

pub(crate) fn reset() {
    COUNTS.set([0; NAMES.len()]);
}

/// Those that are not 0.
pub(crate) fn text() -> String {
    let counts = COUNTS.get();
    let some = NAMES.iter().zip(counts).filter(|(_, n)| *n != 0);
    let words: Vec<_> = some.map(|(name, n)| format!("{name} {n}")).collect();
    words.join(", ")
}
