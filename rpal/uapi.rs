// SPDX-License-Identifier: GPL-2.0

//! The structures of `include/uapi/linux/rpal.h`, and how they cross the user boundary.
//!
//! They are bindgen's own, so that there is one definition; what the gate's assembly assumes of
//! them is asserted here.

use core::{
    mem::{
        offset_of,
        size_of,
        MaybeUninit, //
    },
    ptr, //
};
use kernel::{
    bindings,
    error::to_result,
    ffi::c_void,
    prelude::*, //
};

pub(crate) use bindings::{
    rpal_arm as Arm,
    rpal_attach as Attach,
    rpal_service as ServiceInfo,
    rpal_thread as ThreadInfo, //
};

/// Structures that user space passes with a size.
///
/// # Safety
///
/// Every byte pattern is a valid value, there is no padding, and [`Record::SIZE_MIN`] is not
/// larger than the type.
pub(crate) unsafe trait Record: Sized {
    /// Size of the first published version, in bytes.
    const SIZE_MIN: usize;
}

macro_rules! record {
    ($t:ty, $ver0:ident, $size:literal) => {
        const _: () = assert!(bindings::$ver0 as usize == $size && size_of::<$t>() == $size);
        // SAFETY: integers only, and their sizes add up to the size of the structure.
        unsafe impl Record for $t {
            const SIZE_MIN: usize = bindings::$ver0 as usize;
        }
    };
}

record!(Arm, RPAL_ARM_SIZE_VER0, 16);
record!(ServiceInfo, RPAL_SERVICE_SIZE_VER0, 72);
record!(Attach, RPAL_ATTACH_SIZE_VER0, 32);
record!(ThreadInfo, RPAL_THREAD_SIZE_VER0, 24);

// rpal/gate_page.S has these as numbers.
const _: () = {
    assert!(bindings::RPAL_WORD_READY == 1 && bindings::RPAL_WORD_LENT == 2);
    assert!(bindings::RPAL_WORD_WANTED | bindings::RPAL_WORD_EVENT == 12);
    assert!(bindings::RPAL_WORD_LENT | bindings::RPAL_WORD_AWAY == 18);
    assert!(size_of::<bindings::rpal_ctl>() == bindings::RPAL_CTL_SIZE as usize);
    assert!(offset_of!(bindings::rpal_ctl, word) == 0);
    assert!(offset_of!(bindings::rpal_ctl, claim) == 8);
    assert!(offset_of!(bindings::rpal_ctl, fsbase) == 16);
    assert!(offset_of!(bindings::rpal_ctl, entry_sp) == 24);
    assert!(offset_of!(bindings::rpal_ctl, entry_ip) == 32);
    assert!(offset_of!(bindings::rpal_ctl, cookie) == 40);
    assert!(offset_of!(bindings::rpal_ctl, fpcw) == 48);
    assert!(offset_of!(bindings::rpal_ctl, pkru) == 56);
    assert!(offset_of!(bindings::rpal_ctl, lent) == 60);
    assert!(offset_of!(bindings::rpal_ctl, claim_delta) == 64);
    assert!(offset_of!(bindings::rpal_ctl, release_delta) == 72);
    assert!(offset_of!(bindings::rpal_ctl, saved_sp) == 80);
    assert!(offset_of!(bindings::rpal_ctl, caller) == 88);
    assert!(offset_of!(bindings::rpal_ctl, deadline) == 96);
    assert!(offset_of!(bindings::rpal_ctl, watch) == 104);
};

/// Reads a structure of `size` bytes at the user address `addr`.
///
/// `EINVAL`: smaller than the first version; `E2BIG`: larger than a page, or not zero beyond what
/// this kernel knows; `EFAULT`. May sleep.
pub(crate) fn read<T: Record>(addr: usize, size: usize) -> Result<T> {
    if size < T::SIZE_MIN {
        return Err(EINVAL);
    }
    if size > kernel::page::PAGE_SIZE {
        return Err(E2BIG);
    }
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: `value` has room for `size_of::<T>()` bytes; the user address is checked.
    to_result(unsafe {
        bindings::copy_struct_from_user(
            value.as_mut_ptr().cast(),
            size_of::<T>(),
            addr as *const c_void,
            size,
        )
    })?;
    // SAFETY: it was all zeroes before the copy, and any bytes are valid for a `Record`.
    Ok(unsafe { value.assume_init() })
}

/// Writes `value` to the structure of `size` bytes at the user address `addr`.
///
/// `EFAULT`. May sleep.
pub(crate) fn write<T: Record>(addr: usize, size: usize, value: &T) -> Result {
    // SAFETY: `value` is readable for its size and has no padding; the user address is checked.
    to_result(unsafe {
        bindings::copy_struct_to_user(
            addr as *mut c_void,
            size,
            ptr::from_ref(value).cast(),
            size_of::<T>(),
        )
    })
}
