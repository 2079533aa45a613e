// SPDX-License-Identifier: GPL-2.0

//! The sleep of a parked receiver: until it has its context, and a reason to leave with it.
//!
//! A signal and the end of the time can't wait: a context that is lent is taken back (T7), and the
//! call goes on in the receiver's own task. An event of the descriptor can wait until the call is
//! over (T8), which costs nobody anything but one system call at the release. But it must not wait
//! for a borrower that gets no CPU, or none of its own for long: after [`REKICK_MS`] it can't wait
//! either.
//!
//! Calls and events take turns, so that neither keeps the other waiting for ever: a receiver that
//! has an event parks no more before its program has been told, and one that parks first begins
//! the call that has waited longest, whatever its descriptor says.

use crate::{
    arch::{
        self,
        Regs,
        AX, //
    },
    lease::{
        Event,
        Resume,
        State,
        Want, //
    },
    stats,
    task::{
        self,
        Alarm,
        Sleep, //
    },
    thread::{
        Park,
        Thread, //
    },
    wait::{
        give,
        publish,
        Answer, //
    }, //
};
use kernel::{
    bindings,
    fs::{
        poll::FilePoll,
        LocalFile, //
    },
    prelude::*,
    sync::aref::ARef,
    time::Delta, //
};

/// How often a caller is kicked that does not give the context back: another user of
/// TIF_NOTIFY_RESUME may have consumed the first kick before the context was borrowed. Also how
/// long an event waits for a release before it is a reason to kick.
const REKICK_MS: u32 = 10;

/// How many kicks a borrower gets before it is taken for none: somebody has scribbled on the word,
/// and nothing will come back. Nobody can claim it, and the freezer need not wait.
const PATIENT_KICKS: u32 = 50;

/// Why the sleep is over.
enum End {
    /// The context came back by a hand-over: the task goes on with it.
    Take,
    /// The descriptor is ready.
    Event,
    /// Anything else that is told to the program.
    Failed(Error),
    /// The context is lost.
    Lost,
    /// A fatal signal is pending.
    Killed,
}

/// Parks the current thread, answers, and sleeps. The result goes to the user context that the
/// task has then.
pub(crate) fn park_thread(
    thread: &Thread,
    mut regs: Regs,
    park: Park,
    mut answer: Answer,
) -> Result<i64> {
    if park.fsbase != thread.fsbase {
        return Err(EINVAL);
    }
    thread.set_pkru(thread.base_pkru);
    // Whoever hands a context over writes this task's FPU state, so that it must not be in
    // registers, where it would be saved over the new one.
    arch::fpu_sync();
    let end = match file(park.fd) {
        Ok(None) => sleep(thread, &park, &mut answer, None),
        Ok(Some(file)) => FilePoll::with(file, bindings::POLLIN, |poll| {
            sleep(thread, &park, &mut answer, Some(poll))
        })
        .unwrap_or_else(End::Failed),
        Err(e) => End::Failed(e),
    };
    // From here on the descriptor wakes nobody. An answer is left if there was no park.
    give(&mut answer);
    match end {
        End::Take => {
            // Native: nobody else writes to these.
            let mut inner = thread.inner.lock();
            let (c, trap) = (inner.context, inner.trap.take());
            drop(inner);
            regs.load(&c);
            arch::forget_pasid();
            arch::set_pkru(c.pkru);
            thread.set_pkru(c.pkru);
            if let Some(t) = trap {
                arch::raise(t.signo, t.code, t.addr, t.nr, t.error);
            }
            Ok(c.r[AX] as i64)
        }
        End::Event => Ok(0),
        End::Failed(e) => Err(e),
        End::Lost => {
            // Its frames are lost, with whatever they held: this is a crash.
            task::force_segv();
            Err(EINTR)
        }
        End::Killed => {
            thread.die();
            Err(EINTR)
        }
    }
}

/// The file that the current process's descriptor `fd` stands for; none if it is
/// [`bindings::RPAL_WAIT_NO_FD`].
///
/// `EBADF`: there is no such descriptor.
fn file(fd: i32) -> Result<Option<ARef<LocalFile>>> {
    if fd == bindings::RPAL_WAIT_NO_FD {
        return Ok(None);
    }
    LocalFile::fget(u32::try_from(fd).map_err(|_| EBADF)?)
        .map(Some)
        .map_err(Error::from)
}

/// How long the receiver waits for calls.
fn limit(park: &Park) -> Alarm {
    if park.timeout == u64::MAX {
        return Alarm::NEVER;
    }
    // CAST: limited to what fits.
    let time = Delta::from_nanos(park.timeout.min(i64::MAX as u64) as i64);
    Alarm::after(u32::try_from(time.as_millis()).unwrap_or(u32::MAX))
}

/// What a look at the lease says.
enum Look {
    Take,
    Native,
    Lost,
    Dead,
    /// The event, if there is one, is noted.
    Sleep,
    Kick,
}

fn sleep(
    thread: &Thread,
    park: &Park,
    answer: &mut Answer,
    mut poll: Option<Pin<&mut FilePoll>>,
) -> End {
    let limit = limit(park);
    // Until when an event waits for a release.
    let mut patience = Alarm::NEVER;
    let mut kicks = 0_u32;
    let mut parked = false;
    // The program has just been told of what there is; now it is the callers' turn.
    let mut told = answer.is_none();
    loop {
        // May sleep, and so comes before any announcement of a sleep. It fails the first time, if
        // ever, before anything has happened.
        let event = match poll.as_mut().map_or(Ok(false), |p| p.as_mut().is_ready()) {
            Ok(event) => event,
            Err(e) => return End::Failed(e),
        };
        if !parked {
            if event && !told {
                stats::EVENT_NATIVE.inc();
                return End::Event;
            }
            publish(thread, park, answer);
            (parked, told) = (true, false);
        }
        let me = kernel::current!();
        if task::fatal_signal_pending(me) {
            return End::Killed;
        }
        if !event {
            patience = Alarm::NEVER;
        }
        let (signal, over, late) = (me.signal_pending(), limit.is_over(), patience.is_over());
        match look(thread, signal || over || late, event) {
            Look::Take => return End::Take,
            Look::Dead => return End::Failed(EINTR),
            Look::Lost => return End::Lost,
            Look::Native if event => return End::Event,
            Look::Native if over => return End::Failed(ETIMEDOUT),
            Look::Native if signal => return End::Failed(ERESTARTSYS),
            Look::Native => {
                kicks = 0;
                parked = false;
            }
            Look::Kick => {
                if kicks == 0 {
                    stats::WANTED.inc();
                    if late {
                        stats::EVENT_LATE.inc();
                    }
                }
                kick_borrowers(thread);
                if kicks < PATIENT_KICKS {
                    sleep_rekick(thread);
                } else {
                    task::as_frozen(|| sleep_rekick(thread));
                }
                kicks = kicks.saturating_add(1);
            }
            Look::Sleep => {
                if event && !patience.is_set() {
                    stats::EVENT_LENT.inc();
                    patience = Alarm::after(REKICK_MS);
                }
                if poll.as_ref().is_some_and(|p| p.has_changed()) {
                    task::stay_awake();
                } else {
                    task::schedule(limit.earlier(patience).left());
                }
            }
        }
    }
}

/// Looks at the lease; in case of [`Look::Sleep`] the sleep is announced already.
fn look(thread: &Thread, leave: bool, event: bool) -> Look {
    let mut inner = thread.inner.lock();
    match inner.lease.resume() {
        Resume::Take => {
            stats::RESUME.inc();
            return Look::Take;
        }
        Resume::Native if core::mem::take(&mut inner.lost) => return Look::Lost,
        Resume::Native => return Look::Native,
        Resume::Dead => return Look::Dead,
        Resume::Sleep => {}
    }
    if leave {
        return match inner.lease.want(thread.ctl()) {
            Want::Native => {
                stats::WANT_READY.inc();
                Look::Native
            }
            Want::Dead => Look::Dead,
            // Granted: the next look takes it.
            Want::Granted | Want::Kick(_) | Want::KickAll => Look::Kick,
        };
    }
    if event {
        match inner.lease.event(thread.ctl()) {
            Event::Native => {
                stats::EVENT_READY.inc();
                return Look::Native;
            }
            Event::Dead => return Look::Dead,
            // Nothing is announced, so that this is no sleep: the next look takes it.
            Event::Granted => return Look::Sleep,
            Event::Noted => {}
        }
    }
    task::prepare(Sleep::Interruptible);
    Look::Sleep
}

/// Tells everybody who may have the context that it is wanted. Who has it, the word would say,
/// but that is not to be believed.
fn kick_borrowers(thread: &Thread) {
    thread
        .service
        .visit_holders(|w| w.holder.for_each_thread(|t| task::kick(&t.task)));
}

/// Sleeps until the lease changes or it is time for another kick. A signal may be pending, so only
/// a killable sleep is one. The descriptor's changes end no sleep: whoever makes these would have
/// all borrowers kicked as often.
fn sleep_rekick(thread: &Thread) {
    let again = Alarm::after(REKICK_MS);
    loop {
        let inner = thread.inner.lock();
        let waits = matches!(inner.lease.state(), State::Parked | State::Wanted);
        if waits {
            task::prepare(Sleep::Killable);
        }
        drop(inner);
        if !waits {
            return;
        }
        task::schedule(again.left());
        if again.is_over() || task::fatal_signal_pending(kernel::current!()) {
            return;
        }
    }
}
