// SPDX-License-Identifier: GPL-2.0

//! A registered thread: caller, receiver, or both.

use crate::{
    arch::{
        self,
        Context, //
    },
    ctl::Ctl,
    deadline,
    fault::{
        Trap,
        TrapNote, //
    },
    lease::{
        Kill,
        Lease, //
    },
    lease_word::Owner,
    service::Service,
    slots::SLOT_SHIFT,
    task,
    ticket::{
        State,
        Ticket, //
    },
    uapi,
    window, //
};
use kernel::{
    bindings,
    new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc,
        SpinLock, //
    },
    task::Task,
    time::hrtimer::HrTimer, //
};

/// Unanswered calls of one thread: signal handlers that call may nest this deep. Older tickets
/// are forgotten, as those of handlers that jumped out of the wait should be.
const MAX_TICKETS: usize = 64;

/// What a parked receiver's calls start with, and what it waits for; the kernel's own copy.
#[derive(Clone, Copy, Default)]
pub(crate) struct Park {
    pub(crate) fsbase: u64,
    pub(crate) sp: u64,
    pub(crate) ip: u64,
    pub(crate) cookie: u64,
    /// As given to `rpal_wait`, in nanoseconds.
    pub(crate) timeout: u64,
    /// As given to `rpal_wait`. A number and no file: the next park looks it up again.
    pub(crate) fd: i32,
}

/// What the receiver's lock guards.
pub(crate) struct Inner {
    pub(crate) lease: Lease,
    pub(crate) park: Park,
    /// When it has parked last: a value of [`window::closings`], or later than all if nobody could
    /// borrow it since.
    pub(crate) parked: u64,
    /// The context that was handed over, while the lease is granted. The FPU state that belongs
    /// to it is in the task.
    pub(crate) context: Context,
    /// What the context has just met.
    pub(crate) trap: Option<Trap>,
    /// The context is lost: it was run, and did not come back.
    pub(crate) lost: bool,
    /// Whom the receiver's own task will answer.
    pub(crate) ticket: Option<Arc<Ticket>>,
    /// Calls that wait for the receiver to park.
    pub(crate) queue: KVec<Arc<Ticket>>,
}

/// A thread that has registered. It does so for itself, and only for itself: `rpal.thread` of its
/// task owns one reference, the service's list the other.
#[pin_data]
pub(crate) struct Thread {
    pub(crate) service: Arc<Service>,
    pub(crate) owner: Owner,
    pub(crate) task: ARef<Task>,
    /// FS base at registration; `arch_prctl` can't change it any more.
    pub(crate) fsbase: u64,
    /// PKRU at registration.
    pub(crate) base_pkru: u32,
    /// PKRU to come back to from a call: while the thread's own task runs a call that it has
    /// received, this allows that caller's memory too.
    pkru: Atomic<u32>,
    next_ticket: Atomic<u64>,
    /// A trap that a borrowed context met, until it is handed over.
    pub(crate) trap: TrapNote,
    /// The receiver's lock; see `rpal/registry.rs` for the order.
    #[pin]
    pub(crate) inner: SpinLock<Inner>,
    /// Calls of this thread that are not answered.
    #[pin]
    tickets: SpinLock<KVec<Arc<Ticket>>>,
    /// A granted ticket for a hand-over that finds no memory: without one the caller would come
    /// back while the receiver still works on what it was given.
    #[pin]
    spare: SpinLock<Option<Arc<Ticket>>>,
    /// The thread's clock, ahead of the system's; see [`deadline`].
    pub(crate) clock_offset: i64,
    #[pin]
    pub(crate) timer: HrTimer<Self>,
    /// The thread waits for an answer, or is about to look whether it has to.
    pub(crate) waits: Atomic<u32>,
    #[pin]
    watch: SpinLock<Option<deadline::Watch>>,
    /// When the kernel has last seen the thread with a context of its own.
    seen: Atomic<u64>,
    /// The thread is in the exit loop, between our hook and the end of the work that it leaves.
    leaving: Atomic<u32>,
}

impl Thread {
    /// The current task's registration.
    ///
    /// `ENXIO`: it has none.
    pub(crate) fn current() -> Result<Arc<Thread>> {
        let ptr = Self::current_raw();
        if ptr.is_null() {
            return Err(ENXIO);
        }
        // SAFETY: the field is the current task's own, and owns a reference.
        Ok(unsafe { kernel::sync::ArcBorrow::from_raw(ptr) }.into())
    }

    fn current_raw() -> *const Thread {
        // SAFETY: the field is the current task's own.
        unsafe { (*Task::current_raw()).rpal.thread.cast_const().cast() }
    }

    /// Gives `f` the current task's registration, without a reference of its own.
    pub(crate) fn with_current<T>(f: impl FnOnce(&Thread) -> T) -> Option<T> {
        let ptr = Self::current_raw();
        if ptr.is_null() {
            return None;
        }
        // SAFETY: the field owns a reference, and only the current task gives it up.
        Some(f(unsafe { &*ptr }))
    }

    /// The control block.
    pub(crate) fn ctl(&self) -> &Ctl {
        self.service.area.ctl(self.owner.index())
    }

    /// PKRU to come back to from a call.
    pub(crate) fn pkru(&self) -> u32 {
        self.pkru.load(Relaxed)
    }

    /// Changes what [`Self::pkru`] says, for the gate too. Only the thread itself does.
    pub(crate) fn set_pkru(&self, value: u32) {
        self.pkru.store(value, Relaxed);
        self.ctl().set_pkru(value);
    }

    /// Notes that the current task, whose registration this is, has a context of its own.
    pub(crate) fn note_seen(&self) {
        self.seen.store(window::closings(), Relaxed);
    }

    /// When it had one last: a value of [`window::closings`].
    pub(crate) fn seen(&self) -> u64 {
        self.seen.load(Relaxed)
    }

    /// Is the current task, whose registration this is, where signals are delivered?
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed) != 0
    }

    /// Notes what [`Self::is_leaving`] says. Only the thread itself does.
    pub(crate) fn set_leaving(&self, leaving: bool) {
        self.leaving.store(leaving.into(), Relaxed);
    }

    /// Replaces what stops the timer.
    pub(crate) fn swap_watch(&self, watch: Option<deadline::Watch>) -> Option<deadline::Watch> {
        core::mem::replace(&mut *self.watch.lock(), watch)
    }

    fn make_ticket(&self, args: [u64; 4], pkru: u32, state: State) -> Result<Arc<Ticket>> {
        let id = self.next_ticket.load(Relaxed).wrapping_add(1);
        self.next_ticket.store(id, Relaxed);
        Ticket::new(id, args, pkru, state)
    }

    /// Notes a ticket, in place of the oldest if there are too many.
    fn note_ticket(&self, ticket: Arc<Ticket>) -> Result {
        let mut oldest = None;
        let mut tickets = self.tickets.lock();
        if tickets.len() >= MAX_TICKETS {
            oldest = tickets.remove(0).ok();
        }
        // There is room: it was made at the registration.
        let noted = tickets.push_within_capacity(ticket).map_err(|_| ENOMEM);
        drop(tickets);
        drop(oldest);
        noted
    }

    /// Makes a ticket for a call that has not begun, and notes it. May sleep.
    pub(crate) fn new_ticket(&self, args: [u64; 4], pkru: u32) -> Result<Arc<Ticket>> {
        let ticket = self.make_ticket(args, pkru, State::Queued)?;
        self.note_ticket(ticket.clone())?;
        Ok(ticket)
    }

    /// Gives and notes a ticket for a call that is under way, and lays by another one. May sleep.
    ///
    /// `ENOMEM`: there was no memory this time, nor since the last time.
    pub(crate) fn granted_ticket(&self) -> Result<Arc<Ticket>> {
        // The one that was laid by is used, and another one takes its place if it can.
        let next = self.make_ticket([0; 4], 0, State::Granted).ok();
        let laid_by = core::mem::replace(&mut *self.spare.lock(), next);
        let ticket = match laid_by {
            Some(ticket) => ticket,
            None => {
                // There was no memory last time.
                let ticket = self.spare.lock().take().ok_or(ENOMEM)?;
                let next = self.make_ticket([0; 4], 0, State::Granted).ok();
                *self.spare.lock() = next;
                ticket
            }
        };
        self.note_ticket(ticket.clone())?;
        Ok(ticket)
    }

    /// The ticket with this number.
    pub(crate) fn ticket(&self, id: u64) -> Option<Arc<Ticket>> {
        self.tickets.lock().iter().find(|t| t.id == id).cloned()
    }

    /// Forgets a ticket.
    pub(crate) fn drop_ticket(&self, id: u64) {
        let mut found = None;
        let mut tickets = self.tickets.lock();
        if let Some(i) = tickets.iter().position(|t| t.id == id) {
            found = tickets.remove(i).ok();
        }
        drop(tickets);
        drop(found);
    }

    /// The receiver goes: nobody may run its context after this, and nobody waits for it in
    /// vain. Sleeps.
    pub(crate) fn die(&self) {
        let mut inner = self.inner.lock();
        let kill = inner.lease.kill(self.ctl());
        let ticket = inner.ticket.take();
        let mut queue = KVec::new();
        core::mem::swap(&mut queue, &mut inner.queue);
        drop(inner);
        match kill {
            Kill::Evict => self.evict(),
            Kill::Alone => crate::stats::KILL_ALONE.inc(),
            Kill::AlreadyDead => {}
        }
        if let Some(t) = ticket {
            t.complete(EPIPE.to_errno().into());
        }
        for t in &queue {
            t.complete(EPIPE.to_errno().into());
        }
    }

    /// Brings every thread that may run this one's context into the kernel, and waits until none
    /// of them executes user code of it any more.
    fn evict(&self) {
        crate::stats::EVICT.inc();
        self.service.visit_holders(|w| w.holder.kick_all());
    }
}

/// `rpal_thread(2)`.
///
/// `EINVAL`: unknown flags, `reserved` is not zero, the FS base is 0 or outside the slot, or the
/// GS base is not 0; `ENXIO`: no service; `EEXIST`: registered already; `ENOENT`: not registered;
/// `ENOSPC`: too many threads; `EBUSY`: the FS base is a registered thread's, or the thread is
/// traced; `EOPNOTSUPP`: it has a shadow stack, user dispatch or I/O ports, its process has an LDT
/// or may use AMX tiles, or its class is SCHED_IDLE or SCHED_DEADLINE; `EFAULT`, and the errors of
/// [`uapi::read`].
pub(crate) fn control(addr: usize, size: usize) -> Result {
    const UNREGISTER: u64 = bindings::RPAL_THREAD_UNREGISTER as u64;
    const WATCH: u64 = bindings::RPAL_THREAD_WATCH as u64;

    let mut arg: uapi::ThreadInfo = uapi::read(addr, size)?;
    if !matches!(arg.flags, 0 | UNREGISTER | WATCH) || arg.reserved != 0 {
        return Err(EINVAL);
    }
    let service = Service::current()?;
    if arg.flags & WATCH != 0 {
        deadline::watch(&Thread::current().map_err(|_| ENOENT)?);
        return Ok(());
    }
    if arg.flags & UNREGISTER != 0 {
        Thread::current().map_err(|_| ENOENT)?;
        leave();
        return Ok(());
    }
    if Thread::current().is_ok() {
        return Err(EEXIST);
    }
    let thread = register(&service)?;
    arg.index = thread.owner.index().into();
    arg.ctl = service.area_addr.ctl(thread.owner.index()) as u64;
    uapi::write(addr, size, &arg).inspect_err(|_| leave())
}

fn register(service: &Arc<Service>) -> Result<Arc<Thread>> {
    let fsbase = arch::fsbase();
    if fsbase >> SLOT_SHIFT != u64::from(service.place.number()) || arch::gsbase() != 0 {
        return Err(EINVAL);
    }
    // SAFETY: the field is only compared.
    if unsafe { (*Task::current_raw()).ptrace } != 0 {
        return Err(EBUSY);
    }
    if arch::has_unswitched_state() || task::is_unfit_class() {
        return Err(EOPNOTSUPP);
    }
    arch::leave_rseq()?;
    let pkru = arch::pkru();
    let clock_offset = deadline::clock_offset();
    let thread = service.add_thread(
        |t| t.fsbase == fsbase,
        |index| {
            let owner = Owner::new(service.place.number(), index).ok_or(EINVAL)?;
            let tickets = KVec::with_capacity(MAX_TICKETS, GFP_KERNEL)?;
            let spare = Ticket::new(1, [0; 4], 0, State::Granted)?;
            Arc::pin_init(
                pin_init!(Thread {
                    service: service.clone(),
                    owner,
                    task: ARef::from(&**kernel::current!()),
                    fsbase,
                    base_pkru: pkru,
                    pkru: Atomic::new(pkru),
                    next_ticket: Atomic::new(1),
                    trap: TrapNote::new(),
                    inner <- new_spinlock!(
                        Inner {
                            lease: Lease::new(),
                            park: Park::default(),
                            parked: 0,
                            context: Context::default(),
                            trap: None,
                            lost: false,
                            ticket: None,
                            queue: KVec::new(),
                        },
                        "rpal_receiver"
                    ),
                    tickets <- new_spinlock!(tickets, "rpal_tickets"),
                    spare <- new_spinlock!(Some(spare), "rpal_spare"),
                    clock_offset,
                    timer <- HrTimer::new(),
                    waits: Atomic::new(0),
                    watch <- new_spinlock!(None, "rpal_watch"),
                    seen: Atomic::new(window::closings()),
                    leaving: Atomic::new(0),
                }),
                kernel::alloc::flags::GFP_KERNEL_ACCOUNT,
            )
        },
    )?;
    // Whatever was closed before it was on the list has not kicked it.
    thread.note_seen();
    thread.ctl().init(thread.owner, fsbase, pkru);
    // SAFETY: the field is the current task's own, and NULL.
    unsafe { (*Task::current_raw()).rpal.thread = Arc::into_raw(thread.clone()).cast_mut().cast() };
    Ok(thread)
}

/// The current task is no registered thread any more. Nothing if it was none. Sleeps.
pub(crate) fn leave() {
    let Ok(thread) = Thread::current() else {
        return;
    };
    crate::handover::drop_claim(&thread);
    thread.die();
    let mut tickets = KVec::new();
    core::mem::swap(&mut tickets, &mut thread.tickets.lock());
    for t in &tickets {
        crate::stats::CANCEL.inc();
        t.cancel();
    }
    // A child of `vfork` may be left with the block, and its thread with its address.
    thread.ctl().set_away(true);
    // The timer's reference to the thread goes with it.
    drop(thread.swap_watch(None));
    thread.service.remove_thread(thread.owner.index());
    // SAFETY: the field is the current task's own; the reference was made by `register`.
    unsafe {
        let rpal = &mut (*Task::current_raw()).rpal;
        rpal.latched = 0;
        let ptr = core::mem::replace(&mut rpal.thread, core::ptr::null_mut());
        drop(Arc::from_raw(ptr.cast_const().cast::<Thread>()));
    }
}

/// `do_exit()` of a registered thread.
#[no_mangle]
extern "C" fn __rpal_thread_gone() {
    Thread::with_current(crate::handover::dies_borrowed);
    leave();
}

/// `copy_thread()`: what a new thread gets of its maker's PKRU. Not a caller's key, which the maker
/// has open while it runs a call.
#[no_mangle]
extern "C" fn rpal_child_pkru(pkru: u32) -> u32 {
    Thread::with_current(|t| pkru | t.base_pkru & !t.pkru()).unwrap_or(pkru)
}
