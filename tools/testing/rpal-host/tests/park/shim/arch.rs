// SPDX-License-Identifier: GPL-2.0

//! Registers, as far as somebody looks at them here; the gate and the deadlines of callers, which
//! nobody does.

use crate::{
    sync::Arc,
    thread::{self, Thread},
};
use std::sync::{atomic::Ordering as Plain, Mutex as PlainMutex};

pub(crate) const AX: usize = 0;
pub(crate) const CX: usize = 1;
pub(crate) const DX: usize = 2;
pub(crate) const SI: usize = 6;
pub(crate) const DI: usize = 7;
pub(crate) const R8: usize = 8;

/// The FS base with which the receiver is registered and parks.
pub(crate) const FSBASE: u64 = 1;

#[derive(Clone, Copy, Default)]
pub(crate) struct Context {
    pub(crate) r: [u64; 16],
    pub(crate) ip: u64,
    #[allow(dead_code)]
    pub(crate) sp: u64,
    #[allow(dead_code)]
    pub(crate) flags: u64,
    pub(crate) pkru: u32,
}

/// What became of a task's registers in a system call.
#[derive(Default)]
pub(crate) struct Frame {
    /// The context that the task goes on with, if it is not the one that made the call.
    pub(crate) loaded: Option<Context>,
    /// The system call that is made again if this one is interrupted, and what it is for.
    pub(crate) again: Option<(u64, u64)>,
}

/// The registers of the current task.
pub(crate) struct Regs(Arc<Thread>);

impl Regs {
    pub(crate) fn current() -> Self {
        Self(thread::current())
    }
    fn frame(&mut self) -> &PlainMutex<Frame> {
        &self.0.frame
    }
    pub(crate) fn load(&mut self, c: &Context) {
        self.frame().lock().unwrap().loaded = Some(*c);
    }
    pub(crate) fn set_orig_ax(&mut self, nr: u64) {
        self.frame().lock().unwrap().again = Some((nr, 0));
    }
    pub(crate) fn set_di(&mut self, arg: u64) {
        if let Some((_, di)) = &mut self.frame().lock().unwrap().again {
            *di = arg;
        }
    }
    pub(crate) fn set_si(&mut self, _: u64) {}
    pub(crate) fn set_dx(&mut self, _: u64) {}
    pub(crate) fn set_r10(&mut self, _: u64) {}
    pub(crate) fn ip(&self) -> u64 {
        0
    }
    pub(crate) fn sp(&self) -> u64 {
        0
    }
}

pub(crate) fn fsbase() -> u64 {
    FSBASE
}
pub(crate) fn fpu_sync() {}
pub(crate) fn forget_pasid() {}
pub(crate) fn set_pkru(_: u32) {}
pub(crate) fn raise(_: i32, _: i32, _: u64, _: u8, _: u64) {}
pub(crate) fn is_confined() -> bool {
    thread::current().confined.load(Plain::Relaxed)
}

pub(crate) mod gate {
    use crate::prelude::Result;

    pub(crate) struct Gate;

    impl Gate {
        pub(crate) fn is_wait(&self, _: u64) -> bool {
            true
        }
        pub(crate) fn is_reply(&self, _: u64) -> bool {
            true
        }
        pub(crate) fn is_call(&self, _: u64) -> bool {
            true
        }
    }

    pub(crate) fn page() -> Result<&'static Gate> {
        Ok(&Gate)
    }
}

/// No window is ever closed.
pub(crate) mod window {
    pub(crate) fn closings() -> u64 {
        0
    }
}

pub(crate) mod deadline {
    use crate::{sync::Arc, thread::Thread};

    pub(crate) fn watch_call(_: &Arc<Thread>) {}
    pub(crate) fn is_late(_: &Arc<Thread>) -> bool {
        false
    }
}
