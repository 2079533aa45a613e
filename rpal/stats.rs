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
    BODY: "body", "Work or a fault found the receiver's own code borrowed.";
    COPY: "copy", "Work or a fault found the gate's copy borrowed.";
    ABORT_A: "abort_a", "Region A: a claim was not tried.";
    ABORT_G0: "abort_g0", "Region G0: a claim was given back.";
    START_G1: "start_g1", "Region G1: the receiver's task started the call.";
    RETURN_G2: "return_g2", "Region G2: the receiver's task returned.";
    FORWARD_G3: "forward_g3", "Region G3: the caller was rolled forward.";
    PARK: "park", "T1: a receiver offered its context.";
    GRANT: "grant", "T5: a borrowed context came back through the kernel.";
    GRANT_CALL: "grant_call", "A call by system call found its receiver ready.";
    GRANT_QUEUED: "grant_queued", "A receiver took a call that had waited.";
    CALL_SLOW: "call_slow", "Calls by system call.";
    CALL_QUEUED: "call_queued", "Calls that waited for the receiver.";
    TIMEOUT: "timeout", "A call missed its deadline.";
    WITHHELD: "withheld", "A receiver parked and may be called in its own task only.";
    WANT_READY: "want_ready", "T7: a receiver took back a context that was not lent.";
    WANTED: "wanted", "T7: a receiver wanted its lent context back.";
    EVENT_READY: "event_ready", "T8: a receiver had an event, and its context was not lent.";
    EVENT_LENT: "event_lent", "T8: a receiver had an event while its context was lent.";
    EVENT_LATE: "event_late", "T8: the context did not come back, and T7 followed.";
    EVENT_NATIVE: "event_native", "T8: a receiver had an event when it was to park again.";
    KILL_ALONE: "kill_alone", "T9: a receiver went whose context nobody could have.";
    EVICT: "evict", "T9: a receiver died while its context could be lent.";
    EVICTED: "evicted", "A caller lost a context whose receiver had gone.";
    RESUME: "resume", "T10: a receiver's task took a context over.";
    REPLY: "reply", "T11: a receiver's task answered.";
    CANCEL: "cancel", "T12: a caller went before it was answered.";
    DETACH: "detach", "T13: a window was closed by its holder.";
    RELEASE_NATIVE: "release_native", "T6: a claim was given up to a receiver that waited for it.";
    STALE: "stale", "T6: a claim was dropped that a caller had left behind.";
    LOST: "lost", "A context was lost, for an FS base that was not its own.";
    TRAP: "trap", "A borrowed context met a trap.";
    CLOSED: "closed", "A window was closed on a caller that was somebody else by then.";
    COPY_FAULT: "copy_fault", "The gate's copy met a fault.";
}

/// Writes all counters, one a line.
pub(crate) fn show(_: &(), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for c in ALL {
        writeln!(f, "{} {}", c.0, c.1.load(Relaxed))?;
    }
    Ok(())
}
