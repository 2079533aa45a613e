// SPDX-License-Identifier: GPL-2.0

//! Registered threads, the service on their other side, and the lease word in loom's memory.

use crate::{
    arch::{Context, Frame, FSBASE},
    fs::LocalFile,
    lease::{Kill, Lease},
    lease_word::{self as word, LeaseWord, Owner},
    prelude::*,
    setup::{is, Mutant},
    sync::{atomic::ordering, Arc, SpinLock},
    task::{self, Task},
    ticket::{State, Ticket},
    world::Watch,
};
use loom::sync::atomic::{AtomicU64, Ordering};
use std::{
    cell::RefCell,
    sync::{atomic::AtomicBool, Mutex as PlainMutex},
};

#[derive(Clone, Copy, Default)]
pub(crate) struct Park {
    pub(crate) fsbase: u64,
    pub(crate) sp: u64,
    pub(crate) ip: u64,
    pub(crate) cookie: u64,
    pub(crate) timeout: u64,
    pub(crate) fd: i32,
}

/// A trap. There are none.
pub(crate) struct Trap {
    pub(crate) signo: i32,
    pub(crate) code: i32,
    pub(crate) addr: u64,
    pub(crate) nr: u8,
    pub(crate) error: u64,
}

pub(crate) struct Inner {
    pub(crate) lease: Lease,
    pub(crate) park: Park,
    pub(crate) parked: u64,
    pub(crate) context: Context,
    pub(crate) trap: Option<Trap>,
    pub(crate) lost: bool,
    pub(crate) ticket: Option<Arc<Ticket>>,
    pub(crate) queue: KVec<Arc<Ticket>>,
}

/// The word, and what is published with it.
pub(crate) struct Ctl {
    word: AtomicU64,
    watch: Watch,
}

impl Ctl {
    /// What a borrower reads.
    pub(crate) fn publish(&self, _: u64, _: u64, _: u64, _: u64) {
        self.watch.leaves();
    }
}

impl LeaseWord for Ctl {
    fn load(&self) -> u64 {
        self.word.load(Ordering::Acquire)
    }
    fn compare_exchange(&self, old: u64, new: u64) -> core::result::Result<u64, u64> {
        self.word
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
    }
    fn swap(&self, new: u64) -> u64 {
        self.word.swap(new, Ordering::AcqRel)
    }
    fn fetch_or(&self, bits: u64) -> u64 {
        let lost = if is(Mutant::NoEvent) { word::EVENT } else { 0 };
        // In two steps, as in the kernel.
        self.word.fetch_or(bits & !lost, Ordering::AcqRel);
        self.word.load(Ordering::Acquire)
    }
    fn store_release(&self, new: u64) {
        self.word.store(new, Ordering::Release);
    }
}

/// A counter that nobody looks at.
pub(crate) struct Waits;

impl Waits {
    pub(crate) fn store(&self, _: u32, _: ordering::Relaxed) {}
}

pub(crate) struct Thread {
    pub(crate) service: Service,
    pub(crate) owner: Owner,
    pub(crate) task: Task,
    pub(crate) fsbase: u64,
    pub(crate) base_pkru: u32,
    pub(crate) inner: SpinLock<Inner>,
    pub(crate) waits: Waits,
    pub(crate) file: Arc<LocalFile>,
    pub(crate) frame: PlainMutex<Frame>,
    /// Its context is not to be lent. Guarded by the receiver's lock.
    pub(crate) confined: AtomicBool,
    ctl: Ctl,
    /// Only the thread itself uses them.
    tickets: PlainMutex<Vec<Arc<Ticket>>>,
}

loom::thread_local! {
    static CURRENT: RefCell<Option<Arc<Thread>>> = RefCell::new(None);
}

pub(crate) fn current() -> Arc<Thread> {
    CURRENT.with(|c| c.borrow().clone()).unwrap()
}

/// The loom thread that calls this is `thread`'s task from now on.
pub(crate) fn become_task_of(thread: Option<Arc<Thread>>) {
    CURRENT.with(|c| *c.borrow_mut() = thread);
}

impl Thread {
    pub(crate) fn new(slot: u8, watch: Watch) -> Arc<Self> {
        Arc::new(Self {
            service: Service {
                peers: PlainMutex::default(),
            },
            owner: Owner::new(slot, 0).unwrap(),
            task: Task::new(),
            fsbase: FSBASE,
            base_pkru: 0,
            inner: SpinLock::new(Inner {
                lease: Lease::new(),
                park: Park::default(),
                parked: 0,
                context: Context::default(),
                trap: None,
                lost: false,
                ticket: None,
                queue: KVec::new(),
            }),
            waits: Waits,
            file: Arc::default(),
            frame: PlainMutex::default(),
            confined: AtomicBool::new(false),
            ctl: Ctl {
                word: AtomicU64::new(word::OFF),
                watch,
            },
            tickets: PlainMutex::default(),
        })
    }

    pub(crate) fn current() -> Result<Arc<Self>> {
        Ok(current())
    }

    pub(crate) fn ctl(&self) -> &Ctl {
        &self.ctl
    }

    pub(crate) fn pkru(&self) -> u32 {
        0
    }

    pub(crate) fn set_pkru(&self, _: u32) {}

    fn note_ticket(self: &Arc<Self>, args: [u64; 4], state: State) -> Arc<Ticket> {
        let mut tickets = self.tickets.lock().unwrap();
        let id = tickets.last().map_or(1, |t| t.id + 1);
        let ticket = Ticket::new(self.clone(), id, args, state);
        tickets.push(ticket.clone());
        ticket
    }

    pub(crate) fn new_ticket(self: &Arc<Self>, args: [u64; 4], _: u32) -> Result<Arc<Ticket>> {
        Ok(self.note_ticket(args, State::Queued))
    }

    pub(crate) fn granted_ticket(self: &Arc<Self>) -> Arc<Ticket> {
        self.note_ticket([0; 4], State::Granted)
    }

    pub(crate) fn ticket(&self, id: u64) -> Option<Arc<Ticket>> {
        let tickets = self.tickets.lock().unwrap();
        tickets.iter().find(|t| t.id == id).cloned()
    }

    pub(crate) fn drop_ticket(&self, id: u64) {
        self.tickets.lock().unwrap().retain(|t| t.id != id);
    }

    /// As the kernel's, in the same order.
    pub(crate) fn die(&self) {
        let mut inner = self.inner.lock();
        let kill = inner.lease.kill(self.ctl());
        let ticket = inner.ticket.take();
        let mut queue = KVec::new();
        core::mem::swap(&mut queue, &mut inner.queue);
        drop(inner);
        if kill == Kill::Evict {
            self.service
                .visit_holders(|w| w.holder.for_each_thread(|t| task::kick(&t.task)));
        }
        self.ctl.watch.dies();
        for t in ticket.iter().chain(&*queue) {
            t.complete(EPIPE.to_errno().into());
        }
    }
}

/// What a thread sees of the other side.
pub(crate) struct Service {
    pub(crate) peers: PlainMutex<Vec<Arc<Thread>>>,
}

pub(crate) struct Window {
    pub(crate) holder: Holder,
}

impl Window {
    pub(crate) fn trusts_holder(&self) -> bool {
        true
    }

    pub(crate) fn trusts_peer(&self) -> bool {
        true
    }
}

pub(crate) struct Holder(Vec<Arc<Thread>>);

impl Holder {
    pub(crate) fn for_each_thread(&self, f: impl Fn(&Thread)) {
        self.0.iter().for_each(|t| f(t));
    }
}

impl Service {
    fn window(&self) -> Window {
        Window {
            holder: Holder(self.peers.lock().unwrap().clone()),
        }
    }
    pub(crate) fn visit_holders(&self, f: impl FnOnce(&Window)) {
        f(&self.window());
    }
    pub(crate) fn for_each_holder(&self, f: impl FnOnce(&Window)) {
        self.visit_holders(f);
    }
    pub(crate) fn peer_thread(&self, _: usize) -> Result<(Window, Arc<Thread>)> {
        let thread = self.peers.lock().unwrap()[0].clone();
        Ok((self.window(), thread))
    }
}
