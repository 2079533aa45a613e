// SPDX-License-Identifier: GPL-2.0

//! Mappings that the kernel makes in a service and user space can't change.

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    mm::{
        virt::flags,
        Mm, //
    },
    prelude::*,
    sync::Arc, //
};

/// What stands behind a special mapping; owned by its VMA.
#[repr(C)]
pub(crate) struct Special<T> {
    spec: bindings::vm_special_mapping,
    owner: Arc<T>,
}

/// No page is ever missing.
///
/// # Safety
///
/// None; the type is that of the operation.
unsafe extern "C" fn sigbus(
    _: *const bindings::vm_special_mapping,
    _: *mut bindings::vm_area_struct,
    _: *mut bindings::vm_fault,
) -> bindings::vm_fault_t {
    bindings::vm_fault_reason_VM_FAULT_SIGBUS
}

/// The mapping goes.
///
/// # Safety
///
/// `spec` was made by [`WriteGuard::install`] with this type, and this is called once.
unsafe extern "C" fn close<T>(
    spec: *const bindings::vm_special_mapping,
    _: *mut bindings::vm_area_struct,
) {
    // SAFETY: `install` made it from a box and left it to the VMA, which ends here.
    drop(unsafe { KBox::from_raw(spec.cast_mut().cast::<Special<T>>()) });
}

/// The owner behind the VMA of a special mapping.
///
/// # Safety
///
/// `vma` was made by [`install`] with this type, and its lock is held.
pub(crate) unsafe fn owner<T>(vma: *mut bindings::vm_area_struct) -> Arc<T> {
    // SAFETY: by the contract.
    unsafe { (*(*vma).vm_private_data.cast::<Special<T>>()).owner.clone() }
}

/// An address space whose `mmap_lock` is held for writing.
pub(crate) struct WriteGuard<'a>(&'a Mm);

impl<'a> WriteGuard<'a> {
    /// Takes the lock. `EINTR`: a fatal signal is pending. May sleep.
    ///
    /// # Safety
    ///
    /// `mm` has a user while the guard lives.
    pub(crate) unsafe fn new(mm: &'a Mm) -> Result<Self> {
        // SAFETY: `mm` is valid.
        to_result(unsafe { bindings::mmap_write_lock_killable(mm.as_raw()) })?;
        Ok(Self(mm))
    }

    /// Is anything mapped there?
    pub(crate) fn is_mapped(&self, start: usize, end: usize) -> bool {
        // SAFETY: the lock is held.
        unsafe { !bindings::find_vma_intersection(self.0.as_raw(), start, end).is_null() }
    }

    /// Installs a mapping with protection key `key`, without a name, a split or a copy in a
    /// forked child.
    ///
    /// `ENOMEM`; `EEXIST` or `ENOMEM`: something is there.
    pub(crate) fn install<T>(
        &self,
        start: usize,
        len: usize,
        vm_flags: flags_t,
        key: u8,
        owner: Arc<T>,
    ) -> Result<Vma<'_>> {
        let mut special = KBox::new(
            Special {
                spec: pin_init::zeroed(),
                owner,
            },
            GFP_KERNEL,
        )?;
        special.spec.fault = Some(sigbus);
        special.spec.close = Some(close::<T>);
        let special = KBox::into_raw(special);
        // SAFETY: the lock is held, and `special` lives until the VMA's end.
        let vma = from_err_ptr(unsafe {
            bindings::_install_special_mapping(
                self.0.as_raw(),
                start,
                len,
                vm_flags | flags::DONTCOPY | flags::DONTEXPAND | flags::DONTDUMP | SEALED,
                special.cast(),
            )
        })
        .inspect_err(|_| {
            // SAFETY: no VMA took it.
            drop(unsafe { KBox::from_raw(special) });
        })?;
        // SAFETY: the lock is held. `mm->def_flags` gave the mapping the service's own key.
        unsafe { bindings::rpal_vma_set_pkey(vma, key.into()) };
        Ok(Vma(NonNull::new(vma).ok_or(ENOMEM)?, PhantomData))
    }

    /// Removes a sealed mapping of ours.
    pub(crate) fn remove(&self, start: usize, len: usize) {
        // SAFETY: the lock is held.
        unsafe {
            let vma = bindings::find_vma_intersection(self.0.as_raw(), start, start + len);
            // Only what `install` made as a window: user space may have put something of its own
            // there after an attach that failed.
            if vma.is_null()
                || (*vma).__bindgen_anon_2.vm_flags & FOREIGN_PT == 0
                || (*vma).__bindgen_anon_1.__bindgen_anon_1.vm_start != start
            {
                return;
            }
            bindings::rpal_vma_unseal(vma);
            bindings::do_munmap(self.0.as_raw(), start, len, core::ptr::null_mut());
        }
    }
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: taken by `new`.
        unsafe { bindings::mmap_write_unlock(self.0.as_raw()) }
    }
}

/// A mapping that was just made, under the lock.
pub(crate) struct Vma<'a>(
    NonNull<bindings::vm_area_struct>,
    PhantomData<&'a WriteGuard<'a>>,
);

impl Vma<'_> {
    /// Maps `len` bytes from page frame `pfn` on at `start`, at once.
    pub(crate) fn insert(&self, start: usize, len: usize, pfn: usize) -> Result {
        for page in 0..len / kernel::page::PAGE_SIZE {
            // SAFETY: the lock is held, and the VMA is a VM_PFNMAP one.
            let ret = unsafe {
                bindings::vmf_insert_pfn(
                    self.0.as_ptr(),
                    start + page * kernel::page::PAGE_SIZE,
                    pfn + page,
                )
            };
            if ret != bindings::vm_fault_reason_VM_FAULT_NOPAGE {
                return Err(ENOMEM);
            }
        }
        Ok(())
    }
}

/// The type of VMA flags.
#[allow(non_camel_case_types)]
pub(crate) type flags_t = kernel::mm::virt::vm_flags_t;

/// The mapping can't be unmapped, moved or given other rights.
pub(crate) const SEALED: flags_t = bindings::VM_SEALED as flags_t;
/// The page tables below the mapping belong to another address space.
pub(crate) const FOREIGN_PT: flags_t = bindings::VM_FOREIGN_PT as flags_t;
