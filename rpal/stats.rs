// SPDX-License-Identifier: GPL-2.0

//! Counters of what leaves the fast path; they are never on it.

use kernel::{
    fmt,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    }, //
};

/// A number of events since boot.
pub(crate) struct Counter(&'static str, Atomic<u64>);

impl Counter {
    const fn new(name: &'static str) -> Self {
        Self(name, Atomic::new(0))
    }

    /// One more.
    pub(crate) fn inc(&self) {
        self.1.fetch_add(1, Relaxed);
    }
}

macro_rules! counters {
    ($($id:ident: $name:literal, $doc:literal;)*) => {
        $(#[doc = $doc] pub(crate) static $id: Counter = Counter::new($name);)*
        static ALL: &[&Counter] = &[$(&$id),*];
    };
}

counters! {
    HANDOVER_SYSCALL: "handover_syscall", "A borrowed context made a system call.";
    HANDOVER_FAULT: "handover_fault", "A borrowed context met a fault.";
    HANDOVER_WORK: "handover_work", "Work on the way out found a borrowed context.";
    ABORT_A: "abort_a", "Region A: a claim was not tried.";
    ABORT_G0: "abort_g0", "Region G0: a claim was given back.";
    START_G1: "start_g1", "Region G1: the receiver's task started the call.";
    RETURN_G2: "return_g2", "Region G2: the receiver's task returned.";
    FORWARD_G3: "forward_g3", "Region G3: the caller was rolled forward.";
    CALL_SLOW: "call_slow", "Calls by system call.";
    CALL_QUEUED: "call_queued", "Calls that waited for the receiver.";
    WANTED: "wanted", "A receiver wanted its lent context back.";
    EVICT: "evict", "A receiver died while its context could be lent.";
    EVICTED: "evicted", "A caller lost a context whose receiver had gone.";
    STALE: "stale", "A claim was dropped that a caller had left behind.";
    COPY_FAULT: "copy_fault", "The gate's copy met a fault.";
}

/// Writes all counters, one a line.
pub(crate) fn show(_: &(), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for c in ALL {
        writeln!(f, "{} {}", c.0, c.1.load(Relaxed))?;
    }
    Ok(())
}
