// SPDX-License-Identifier: GPL-2.0

//! What security modules call a task.

use core::mem::{
    size_of,
    MaybeUninit, //
};
use kernel::{
    bindings,
    task::Task, //
};

type Bytes = [u8; size_of::<bindings::lsm_prop>()];

/// A task's label: the numbers and addresses of all modules, to be compared and for nothing else.
/// Bytes, since the addresses are nobody's to follow, and gaps between them count as well, which
/// are 0.
#[derive(PartialEq, Eq)]
pub(crate) struct Label(Bytes);

impl Label {
    /// By task, since not all modules show the labels of credentials. Does not sleep.
    pub(crate) fn of(task: &Task) -> Self {
        let mut label = MaybeUninit::<bindings::lsm_prop>::uninit();
        // SAFETY: `task` is valid, and there is room for the label.
        unsafe { bindings::rpal_label(task.as_ptr(), label.as_mut_ptr()) };
        // SAFETY: `rpal_label` clears all bytes, gaps among them, before it sets any, and the label
        // has not been moved since.
        Self(unsafe { label.as_ptr().cast::<Bytes>().read() })
    }
}
