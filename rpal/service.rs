// SPDX-License-Identifier: GPL-2.0

//! A service: a process that lives in a slot.

use crate::{
    ctl::{
        Area,
        AreaAddr, //
    },
    keys::Key,
    slots::Slot,
    thread::Thread,
    window::{
        self,
        Window, //
    }, //
};
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    mm::{
        mmu_notifier::MmuNotifier,
        Mm, //
    },
    new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            ordering::{
                Acquire,
                Relaxed,
                Release, //
            },
            Atomic, //
        },
        Arc,
        ArcBorrow,
        SpinLock, //
    },
    task::Task, //
};

/// A process that lives in a slot, from the `execve` that put it there on. Outlives the process
/// as long as a peer or a descriptor refers to it.
#[pin_data]
pub(crate) struct Service {
    /// The slot. Not named so: `pin_init!` has a variable of that name.
    pub(crate) place: Slot,
    pub(crate) key: Key,
    pub(crate) pkru: u32,
    pub(crate) unprotected: bool,
    pub(crate) uid: u32,
    /// The address space; nobody but its users keeps it alive.
    pub(crate) mm: ARef<Mm>,
    /// The task that called `execve`: whose credentials the service has.
    pub(crate) task: ARef<Task>,
    pub(crate) area: Area,
    pub(crate) area_addr: AreaAddr,
    /// Set under the registry's lock when the address space goes; no attach after that.
    dead: Atomic<u32>,
    /// Peers that this service sees, by their slot. Changed under the registry's lock.
    #[pin]
    windows: SpinLock<KVec<Option<Arc<Window>>>>,
    /// Which slots have a window, for who can't take a lock. Set before the window is linked.
    seen: [Atomic<u64>; 4],
    /// Windows of others onto this service. Changed under the registry's lock.
    #[pin]
    holders: SpinLock<KVec<Arc<Window>>>,
    #[pin]
    threads: SpinLock<KVec<Option<Arc<Thread>>>>,
}

/// Windows onto one service. Each flush of the service is repeated for all of them, by whoever
/// flushes: `kswapd` does it for everybody.
const MAX_HOLDERS: usize = 64;

fn table<T>() -> Result<KVec<Option<T>>> {
    let mut v = KVec::with_capacity(256, GFP_KERNEL_ACCOUNT)?;
    for _ in 0..256 {
        v.push(None, GFP_KERNEL)?;
    }
    Ok(v)
}

impl Service {
    /// A service for the address space that `execve` is about to switch to. May sleep.
    pub(crate) fn new(
        home: Slot,
        key: Key,
        pkru: u32,
        unprotected: bool,
        uid: u32,
        mm: ARef<Mm>,
        task: ARef<Task>,
    ) -> Result<Arc<Self>> {
        let area = Area::new()?;
        let windows = table()?;
        let threads = table()?;
        Arc::pin_init(
            pin_init!(Self {
                place: home,
                key,
                pkru,
                unprotected,
                uid,
                mm,
                task,
                area,
                area_addr: crate::ctl::area_addr(home),
                dead: Atomic::new(0),
                seen: [const { Atomic::new(0) }; 4],
                windows <- new_spinlock!(windows, "rpal_windows"),
                holders <- new_spinlock!(KVec::new(), "rpal_holders"),
                threads <- new_spinlock!(threads, "rpal_threads"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    fn current_raw() -> *mut Service {
        // SAFETY: `current->mm` does not change under the current task.
        unsafe {
            let mm = (*Task::current_raw()).mm;
            if mm.is_null() {
                return core::ptr::null_mut();
            }
            (*mm).__bindgen_anon_1.context.rpal.service.cast()
        }
    }

    /// Does the current task live in a service?
    pub(crate) fn is_current() -> bool {
        !Self::current_raw().is_null()
    }

    /// The service that the current task lives in.
    ///
    /// `ENXIO`: it lives in none.
    pub(crate) fn current() -> Result<Arc<Service>> {
        let ptr = Self::current_raw();
        if ptr.is_null() {
            return Err(ENXIO);
        }
        // SAFETY: while the current address space has a user, it owns an `Arc`.
        Ok(unsafe { ArcBorrow::from_raw(ptr) }.into())
    }

    /// Has the address space gone?
    pub(crate) fn is_dead(&self) -> bool {
        // Pairs with the release in `die`.
        self.dead.load(Acquire) != 0
    }

    /// No attach after this. Under the registry's lock.
    pub(crate) fn die(&self) {
        self.dead.store(1, Release);
    }

    /// The window onto the service in `slot`, whatever state it is in.
    pub(crate) fn window(&self, slot: u8) -> Option<Arc<Window>> {
        self.windows.lock().get(usize::from(slot))?.clone()
    }

    /// Replaces the window for `slot`.
    pub(crate) fn set_window(&self, slot: Slot, window: Option<Arc<Window>>) {
        let mut window = window;
        let (word, bit) = (slot.number() / 64, 1_u64 << (slot.number() % 64));
        let mut windows = self.windows.lock();
        if let Some(seen) = self.seen.get(usize::from(word)) {
            // Changed under the lock only. The barrier of the link orders it for readers.
            let old = seen.load(Relaxed);
            seen.store(
                if window.is_some() {
                    old | bit
                } else {
                    old & !bit
                },
                Relaxed,
            );
        }
        if let Some(entry) = windows.get_mut(usize::from(slot.number())) {
            core::mem::swap(entry, &mut window);
        }
        drop(windows);
        // The old one goes here, after the lock.
        drop(window);
    }

    /// Is there a window for `slot`, in whatever state?
    pub(crate) fn sees(&self, slot: u8) -> bool {
        self.seen
            .get(usize::from(slot / 64))
            .is_some_and(|word| word.load(Relaxed) >> (slot % 64) & 1 != 0)
    }

    /// Makes room for all windows onto this service that there can be. May sleep.
    pub(crate) fn reserve_holders(&self) -> Result {
        if self.holders.lock().capacity() >= MAX_HOLDERS {
            return Ok(());
        }
        let mut room = KVec::with_capacity(MAX_HOLDERS, GFP_KERNEL_ACCOUNT)?;
        let mut holders = self.holders.lock();
        if holders.capacity() < MAX_HOLDERS {
            for w in holders.drain_all() {
                // There is room for more than there were.
                let _ = room.push_within_capacity(w);
            }
            core::mem::swap(&mut *holders, &mut room);
        }
        drop(holders);
        Ok(())
    }

    /// Enters a window onto this service, for which there is room. Under the registry's lock.
    ///
    /// `EUSERS`: there are too many.
    pub(crate) fn add_holder(&self, window: Arc<Window>) -> Result {
        let mut window = Some(window);
        let mut holders = self.holders.lock();
        if holders.len() < MAX_HOLDERS {
            if let Some(w) = window.take() {
                window = holders.push_within_capacity(w).err().map(|e| e.0);
            }
        }
        drop(holders);
        window.map_or(Ok(()), |_| Err(EUSERS))
    }

    /// Removes a window onto this service. Under the registry's lock.
    pub(crate) fn remove_holder(&self, window: &Arc<Window>) {
        let mut holders = self.holders.lock();
        let mut found = None;
        if let Some(i) = holders.iter().position(|w| Arc::ptr_eq(w, window)) {
            found = holders.remove(i).ok();
        }
        drop(holders);
        drop(found);
    }

    /// The `i`-th window onto this service.
    pub(crate) fn holder(&self, i: usize) -> Option<Arc<Window>> {
        self.holders.lock().get(i).cloned()
    }

    /// Calls `f` for each window onto this service, without a lock. From the last to the first:
    /// a removal in between only moves what has been visited, and a window that is added finds
    /// no receiver ready that `f` is about.
    pub(crate) fn visit_holders(&self, f: impl Fn(&Window)) {
        let mut i = self.holders.lock().len();
        while i > 0 {
            i -= 1;
            if let Some(w) = self.holder(i) {
                f(&w);
            }
        }
    }

    /// Calls `f` for each registered thread, without a lock.
    pub(crate) fn for_each_thread(&self, f: impl Fn(&Thread)) {
        for index in 0..=u8::MAX {
            if let Some(thread) = self.thread(index) {
                f(&thread);
            }
        }
    }

    /// Calls `f` for each window onto this service, which may not sleep.
    pub(crate) fn for_each_holder(&self, mut f: impl FnMut(&Window)) {
        for w in self.holders.lock().iter() {
            f(w);
        }
    }

    /// The thread registered at `index`.
    pub(crate) fn thread(&self, index: u8) -> Option<Arc<Thread>> {
        self.threads.lock().get(usize::from(index))?.clone()
    }

    /// Registers the thread that `make` makes for a free index.
    ///
    /// `ENOSPC`: there is none; `EBUSY`: `clash` is true of a registered thread.
    pub(crate) fn add_thread(
        &self,
        clash: impl Fn(&Thread) -> bool,
        make: impl Fn(u8) -> Result<Arc<Thread>>,
    ) -> Result<Arc<Thread>> {
        let free = |t: &KVec<Option<Arc<Thread>>>| -> Result<u8> {
            if t.iter().flatten().any(|t| clash(t)) {
                return Err(EBUSY);
            }
            let i = t.iter().position(Option::is_none).ok_or(ENOSPC)?;
            u8::try_from(i).map_err(|_| ENOSPC)
        };
        loop {
            let index = free(&self.threads.lock())?;
            // Allocates, so outside the lock; if somebody was faster, again.
            let thread = make(index)?;
            let mut threads = self.threads.lock();
            if free(&threads)? == index {
                if let Some(entry) = threads.get_mut(usize::from(index)) {
                    *entry = Some(thread.clone());
                    return Ok(thread);
                }
            }
        }
    }

    /// Takes a thread out of the list.
    pub(crate) fn remove_thread(&self, index: u8) {
        let taken = self
            .threads
            .lock()
            .get_mut(usize::from(index))
            .and_then(Option::take);
        drop(taken);
    }

    /// Kicks every registered thread, and waits until no CPU runs user code of the service that
    /// has not passed the exit loop since. May sleep.
    pub(crate) fn kick_all(&self) {
        self.for_each_thread(|t| crate::task::kick(&t.task));
        crate::task::sync_cpus(&self.mm);
    }

    /// The registered thread of a peer whose control block is at `addr`, and the window that shows
    /// it.
    ///
    /// `ENOTCONN`: no such peer is attached; `EPIPE`: it is dead, or the thread has gone; `ESRCH`:
    /// no thread has ever been there.
    pub(crate) fn peer_thread(&self, addr: usize) -> Result<(Arc<Window>, Arc<Thread>)> {
        let slot = Slot::of_addr(addr).ok_or(ENOTCONN)?;
        let window = self.window(slot.number()).ok_or(ENOTCONN)?;
        // In this order: who dies is dead first and loses its windows afterwards, and a caller must
        // not take that for a window that was closed. Pairs with the release in `unlink`.
        let linked = window.is_linked();
        if window.peer.is_dead() {
            return Err(EPIPE);
        }
        if !linked {
            return Err(ENOTCONN);
        }
        let index = window.peer.area_addr.index(addr).ok_or(ESRCH)?;
        if let Some(thread) = window.peer.thread(index) {
            return Ok((window, thread));
        }
        // Threads go one by one before their service does.
        if window.peer.area.ctl(index).was_used() {
            Err(EPIPE)
        } else {
            Err(ESRCH)
        }
    }

    /// As [`Self::peer_thread`], even if the window was closed.
    pub(crate) fn former_peer_thread(&self, addr: usize) -> Option<Arc<Thread>> {
        let window = self.window(Slot::of_addr(addr)?.number())?;
        window.peer.thread(window.peer.area_addr.index(addr)?)
    }

    /// As [`Self::former_peer_thread`], for who may have been inside when the window was closed:
    /// a thread that was seen outside at `seen`, a value of [`window::closings`].
    pub(crate) fn peer_thread_left_by(
        &self,
        addr: usize,
        seen: u64,
    ) -> Option<(Arc<Window>, Arc<Thread>)> {
        let window = self.window(Slot::of_addr(addr)?.number())?;
        if !window.was_open_after(seen) {
            return None;
        }
        let thread = window.peer.thread(window.peer.area_addr.index(addr)?)?;
        Some((window, thread))
    }

    /// How many threads and windows there are, for the listings.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let threads = self.threads.lock().iter().flatten().count();
        let windows = self.windows.lock().iter().flatten().count();
        let holders = self.holders.lock().len();
        (threads, windows, holders)
    }

    /// Takes the reference that the address space has.
    ///
    /// # Safety
    ///
    /// Only once, when the address space has no user any more.
    unsafe fn take_from_mm(&self) -> Option<Arc<Service>> {
        // SAFETY: without users nobody reads the field.
        unsafe {
            let context = &mut (*self.mm.as_raw()).__bindgen_anon_1.context;
            let ptr = core::mem::replace(&mut context.rpal.service, core::ptr::null_mut());
            if ptr.is_null() {
                return None;
            }
            Some(Arc::from_raw(ptr.cast::<Service>()))
        }
    }
}

/// On its own address space, from before `execve`'s point of no return until that goes.
impl MmuNotifier for Service {
    unsafe fn release(&self, mm: &Mm) {
        debug_assert!(core::ptr::eq(mm, &*self.mm));
        window::address_space_gone(self);
        // SAFETY: by the contract, of the address space that `execve` has registered this for.
        drop(unsafe { self.take_from_mm() });
    }

    /// Everybody who has a window sees the same page tables.
    fn invalidate_secondary_tlbs(&self, start: usize, end: usize) {
        window::flush_holders(self, start, end);
    }
}
