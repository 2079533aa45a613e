// SPDX-License-Identifier: GPL-2.0

//! Deadlines: a call that takes too long comes back with `ETIMEDOUT`.
//!
//! A caller that runs a receiver's code in user mode does not sleep, so that no timeout of a wait
//! ends it, and a timer for each call would cost what RPAL is there to save. So a thread writes
//! its deadline to its control block, and a timer, the *watch*, looks at it every now and then.
//! The watch is started by `rpal_thread(2)` and stops by itself as soon as it finds no deadline;
//! the block says whether it is on.
//!
//! A deadline in the block is a hint like everything there: whoever may write to it could as well
//! make the thread crash.

use crate::{
    task,
    thread::Thread, //
};
use kernel::{
    bindings,
    impl_has_hr_timer,
    sync::{
        atomic::ordering::Relaxed,
        Arc,
        ArcBorrow, //
    },
    time::{
        hrtimer::{
            ArcHrTimerHandle,
            HrTimerCallback,
            HrTimerCallbackContext,
            HrTimerPointer,
            HrTimerRestart,
            RelativeMode, //
        },
        Delta,
        Monotonic, //
    }, //
};

/// How often the watch looks: a call ends so much after its deadline, at most, and as long as a
/// thread makes calls with deadlines, there are so many interrupts.
const PERIOD: Delta = Delta::from_millis(4);

/// What stops the watch when it is dropped. It holds the thread, which holds it: [`Thread`] gives
/// it up when the thread leaves.
pub(crate) type Watch = ArcHrTimerHandle<Thread>;

/// The current task's clock, ahead of the one of the whole system by so many nanoseconds.
pub(crate) fn clock_offset() -> i64 {
    // SAFETY: always safe to call in process context.
    unsafe { bindings::rpal_monotonic_offset() }
}

/// Nanoseconds of the system's clock.
fn now() -> i64 {
    // SAFETY: always safe to call.
    unsafe { bindings::ktime_get() }
}

/// Starts the watch of the current thread, if it is not on. May sleep.
pub(crate) fn watch(thread: &Arc<Thread>) {
    if thread.ctl().start_watch() {
        // Waits for the look with which it has stopped.
        drop(thread.swap_watch(None));
        thread.swap_watch(Some(thread.clone().start(PERIOD)));
    }
}

/// As [`watch`], if the thread's call has a deadline.
pub(crate) fn watch_call(thread: &Arc<Thread>) {
    if thread.ctl().deadline() != 0 {
        watch(thread);
    }
}

/// Has the thread's call missed its deadline? May be called in any context.
pub(crate) fn is_late(thread: &Thread) -> bool {
    let deadline = thread.ctl().deadline();
    // A clock that does not fit is late, or never.
    deadline != 0
        && now().saturating_add(thread.clock_offset) >= deadline.min(i64::MAX as u64) as i64
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Thread {
        mode: RelativeMode<Monotonic>, field: self.timer
    }
}

impl HrTimerCallback for Thread {
    type Pointer<'a> = Arc<Self>;

    fn run(this: ArcBorrow<'_, Self>, mut ctx: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        if this.ctl().stop_watch() {
            return HrTimerRestart::NoRestart;
        }
        if is_late(&this) {
            // The exit loop hands a borrowed context over, and the wait for the answer ends.
            task::kick(&this.task);
            if this.waits.load(Relaxed) != 0 {
                task::interrupt_sleep(&this.task);
            }
        }
        ctx.forward_now(PERIOD);
        HrTimerRestart::Restart
    }
}
