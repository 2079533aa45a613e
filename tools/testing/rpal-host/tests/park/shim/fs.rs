// SPDX-License-Identifier: GPL-2.0

//! A file that can be polled, and the wait for it, as `rust/kernel/fs/poll.rs` makes it of
//! `poll(2)`'s parts.

use crate::{
    prelude::*,
    setup::{is, Mutant},
    sync::{aref::ARef, Arc},
    thread::{self, Thread},
};
use loom::sync::{
    atomic::{AtomicBool, Ordering},
    Mutex,
};

pub(crate) mod poll {
    pub(crate) use super::FilePoll;
}

/// What the lock of the file guards.
#[derive(Default)]
struct State {
    ready: bool,
    /// Who is on the queue. Its flag that something has changed is its own, and no lock's.
    queued: Option<(Arc<Thread>, Arc<AtomicBool>)>,
}

/// The file that every descriptor stands for.
#[derive(Default)]
pub(crate) struct LocalFile(Mutex<State>);

/// There is no such descriptor.
pub(crate) struct BadFdError;

impl From<BadFdError> for Error {
    fn from(_: BadFdError) -> Self {
        EBADF
    }
}

impl LocalFile {
    pub(crate) fn fget(_: u32) -> Result<ARef<Self>, BadFdError> {
        Ok(thread::current().file.clone())
    }

    /// Something comes in: first it can be seen, then the queue is woken. Was there something
    /// already, so that the two will be read as one?
    pub(crate) fn write(&self) -> bool {
        let was = core::mem::replace(&mut self.0.lock().unwrap().ready, true);
        let state = self.0.lock().unwrap();
        if let Some((thread, triggered)) = &state.queued {
            if is(Mutant::WakeFirst) {
                thread.task.wake_up();
                triggered.store(true, Ordering::Relaxed);
            } else {
                triggered.store(true, Ordering::Release);
                thread.task.wake_up();
            }
        }
        was
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.0.lock().unwrap().ready
    }

    /// Takes what there is. Was there anything?
    pub(crate) fn read(&self) -> bool {
        core::mem::take(&mut self.0.lock().unwrap().ready)
    }
}

/// The wait of the current task for a file.
pub(crate) struct FilePoll {
    file: ARef<LocalFile>,
    triggered: Arc<AtomicBool>,
    queued: bool,
}

impl FilePoll {
    pub(crate) fn with<R>(
        file: ARef<LocalFile>,
        _: u32,
        f: impl FnOnce(Pin<&mut Self>) -> R,
    ) -> Result<R> {
        Ok(f(core::pin::pin!(Self {
            file,
            triggered: Arc::new(AtomicBool::new(false)),
            queued: false,
        })))
    }

    pub(crate) fn is_ready(mut self: Pin<&mut Self>) -> Result<bool> {
        if !is(Mutant::ClearLate) {
            self.triggered.swap(false, Ordering::AcqRel);
        }
        let mut state = self.file.0.lock().unwrap();
        if !self.queued {
            state.queued = Some((thread::current(), self.triggered.clone()));
        }
        let ready = state.ready;
        drop(state);
        self.queued = true;
        if is(Mutant::ClearLate) {
            self.triggered.swap(false, Ordering::AcqRel);
        }
        Ok(ready)
    }

    pub(crate) fn has_changed(&self) -> bool {
        !is(Mutant::NoRecheck) && self.triggered.load(Ordering::Relaxed)
    }
}

impl Drop for FilePoll {
    fn drop(&mut self) {
        // As loom ends a world that has failed, its objects are not to be used any more.
        if !std::thread::panicking() {
            self.file.0.lock().unwrap().queued = None;
        }
    }
}
