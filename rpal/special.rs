// SPDX-License-Identifier: GPL-2.0

//! Mappings that the kernel makes in a service and user space can't change.

use crate::window::Window;
use kernel::{
    bindings,
    error::to_result,
    mm::{
        special_mapping::{
            MmapWriteGuard,
            SpecialVma, //
        },
        virt::{
            flags,
            vm_flags_t, //
        },
    },
    prelude::*,
    sync::Arc, //
};

/// The page tables below the mapping belong to another address space.
const FOREIGN_PT: vm_flags_t = bindings::VM_FOREIGN_PT as vm_flags_t;

/// Gives a mapping that was just made the protection key `key`, instead of the service's own,
/// which it has from `mm->def_flags`.
pub(crate) fn set_key(vma: &SpecialVma<'_>, key: u8) {
    // SAFETY: the lock is held.
    unsafe { bindings::rpal_vma_set_pkey(vma.as_ptr(), key.into()) };
}

/// Installs a window, open for all rights and with protection key `key`.
///
/// `ENOMEM`; `EEXIST` or `ENOMEM`: something is there.
pub(crate) fn install_window(
    guard: &mut MmapWriteGuard<'_>,
    start: usize,
    len: usize,
    key: u8,
    window: Arc<Window>,
) -> Result {
    let access = flags::READ | flags::WRITE | flags::EXEC;
    let may = flags::MAYREAD | flags::MAYWRITE | flags::MAYEXEC;
    let vm_flags = access | may | flags::PFNMAP | flags::IO | FOREIGN_PT;
    // SAFETY: what is added sends faults to `rpal_window_fault()`, which is for owners of this
    // type.
    let vma = unsafe { guard.install_with(start, len, vm_flags, window) }?;
    set_key(&vma, key);
    Ok(())
}

/// Removes a window, if there is one at `start`: user space may have put something of its own
/// there after an attach that failed.
///
/// `ENOMEM`: there is no memory for that, and the window stays as it was.
pub(crate) fn remove(guard: &mut MmapWriteGuard<'_>, start: usize, len: usize) -> Result {
    let mm = guard.mm().as_raw();
    // SAFETY: the lock is held.
    unsafe {
        let vma = bindings::find_vma_intersection(mm, start, start + len);
        if vma.is_null()
            || (*vma).__bindgen_anon_2.vm_flags & FOREIGN_PT == 0
            || (*vma).__bindgen_anon_1.__bindgen_anon_1.vm_start != start
        {
            return Ok(());
        }
        bindings::rpal_vma_seal(vma, false);
        let ret = bindings::do_munmap(mm, start, len, core::ptr::null_mut());
        if ret != 0 {
            // Nothing is unmapped, and it is one mapping as before, maybe not the same structure.
            let vma = bindings::find_vma_intersection(mm, start, start + len);
            if !vma.is_null() {
                bindings::rpal_vma_seal(vma, true);
            }
        }
        to_result(ret)
    }
}
