// SPDX-License-Identifier: GPL-2.0

//! Mappings that the kernel makes in an address space by itself.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h), `_install_special_mapping()`

use crate::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    mm::{
        virt::{
            flags,
            vm_flags_t, //
        },
        MmWithUser, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc,
    types::NotThreadSafe, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

const SEALED: vm_flags_t = bindings::VM_SEALED as vm_flags_t;

/// A guard for the mmap write lock.
///
/// # Invariants
///
/// Owns the mmap write lock.
pub struct MmapWriteGuard<'a> {
    mm: &'a MmWithUser,
    // It is unlocked by the task that locked it.
    _nts: NotThreadSafe,
}

impl MmWithUser {
    /// Locks the mmap write lock. `EINTR`: a fatal signal is pending. May sleep.
    pub fn mmap_write_lock_killable(&self) -> Result<MmapWriteGuard<'_>> {
        // SAFETY: `self` is valid.
        to_result(unsafe { bindings::mmap_write_lock_killable(self.as_raw()) })?;
        // INVARIANT: just taken.
        Ok(MmapWriteGuard {
            mm: self,
            _nts: NotThreadSafe,
        })
    }
}

impl Drop for MmapWriteGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: by the type invariant.
        unsafe { bindings::mmap_write_unlock(self.mm.as_raw()) }
    }
}

/// What stands behind a special mapping; owned by its VMA.
#[repr(C)]
struct Special<T> {
    /// First, so that the C side's pointer is one to the whole.
    spec: bindings::vm_special_mapping,
    owner: Arc<T>,
}

impl<T> Special<T> {
    /// What has not been inserted is not there.
    ///
    /// # Safety
    ///
    /// None; the type is that of the operation.
    unsafe extern "C" fn fault(
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
    /// `spec` was made by [`MmapWriteGuard::install`] with this type, and this is called once.
    unsafe extern "C" fn close(
        spec: *const bindings::vm_special_mapping,
        _: *mut bindings::vm_area_struct,
    ) {
        // SAFETY: `install` made it from a box and left it to the VMA, which ends here.
        drop(unsafe { KBox::from_raw(spec.cast_mut().cast::<Self>()) });
    }
}

impl<'a> MmapWriteGuard<'a> {
    /// The address space whose lock it is.
    pub fn mm(&self) -> &'a MmWithUser {
        self.mm
    }

    /// Is anything mapped in `start..end`?
    pub fn is_mapped(&self, start: usize, end: usize) -> bool {
        // SAFETY: the lock is held.
        unsafe { !bindings::find_vma_intersection(self.mm.as_raw(), start, end).is_null() }
    }

    /// Installs a mapping without a name that is not copied, dumped or enlarged, and that user
    /// space can't unmap, move or give other rights. `owner` stays until the address space ends,
    /// or somebody unseals the mapping; then it is dropped, mostly under the `mmap_lock`. An access
    /// where no page was inserted is a SIGBUS.
    ///
    /// `EINVAL`: the range is empty, not of whole pages, or not in user space, or there are flags
    /// beside those for rights, `PFNMAP` and `IO`; `ENOMEM`; `EEXIST` or `ENOMEM`: something is
    /// there. The code of `T` must be there as long as any address space: this is not for modules
    /// that can be unloaded.
    pub fn install<T: Send + Sync + 'static>(
        &mut self,
        start: usize,
        len: usize,
        vm_flags: vm_flags_t,
        owner: Arc<T>,
    ) -> Result<SpecialVma<'_>> {
        let rights = flags::READ | flags::WRITE | flags::EXEC;
        let may = flags::MAYREAD | flags::MAYWRITE | flags::MAYEXEC;
        if vm_flags & !(rights | may | flags::PFNMAP | flags::IO) != 0 {
            return Err(EINVAL);
        }
        // SAFETY: these flags need nothing.
        unsafe { self.install_with(start, len, vm_flags, owner) }
    }

    /// As [`Self::install`], with any flags.
    ///
    /// # Safety
    ///
    /// Whatever the kernel does with a mapping of these flags, it bears: that has no file, no pages
    /// but those that are inserted, and an owner of this type.
    pub unsafe fn install_with<T: Send + Sync + 'static>(
        &mut self,
        start: usize,
        len: usize,
        vm_flags: vm_flags_t,
        owner: Arc<T>,
    ) -> Result<SpecialVma<'_>> {
        // A copy of the mapping, as mremap() would make it, would share the owner's reference.
        const { assert!(SEALED != 0) };
        let end = start.checked_add(len).ok_or(EINVAL)?;
        // SAFETY: always safe to call.
        let limit = unsafe { bindings::rpal_task_size_max() };
        if len == 0 || (start | len) % PAGE_SIZE != 0 || end > limit {
            return Err(EINVAL);
        }
        let mut special = KBox::new(
            Special {
                spec: pin_init::zeroed(),
                owner,
            },
            GFP_KERNEL,
        )?;
        special.spec.fault = Some(Special::<T>::fault);
        special.spec.close = Some(Special::<T>::close);
        let special = KBox::into_raw(special);
        // SAFETY: the lock is held, and `special` lives until the VMA's end.
        let vma = from_err_ptr(unsafe {
            bindings::_install_special_mapping(
                self.mm.as_raw(),
                start,
                len,
                vm_flags | SEALED | flags::DONTCOPY | flags::DONTEXPAND | flags::DONTDUMP,
                special.cast(),
            )
        })
        .inspect_err(|_| {
            // SAFETY: no VMA took it.
            drop(unsafe { KBox::from_raw(special) });
        })?;
        // INVARIANT: just made.
        Ok(SpecialVma {
            vma: NonNull::new(vma).ok_or(ENOMEM)?,
            _guard: PhantomData,
        })
    }
}

/// A mapping that was just made.
///
/// # Invariants
///
/// `vma` was made by [`MmapWriteGuard::install`] under the lock that is still held, and nothing
/// else has been done under it since.
pub struct SpecialVma<'a> {
    vma: NonNull<bindings::vm_area_struct>,
    _guard: PhantomData<&'a mut MmapWriteGuard<'a>>,
}

impl SpecialVma<'_> {
    /// The VMA, whose lock is held for writing.
    pub fn as_ptr(&self) -> *mut bindings::vm_area_struct {
        self.vma.as_ptr()
    }

    /// Maps `len` bytes from page frame `pfn` on at `start`, at once.
    ///
    /// A mapping with `WRITE` has `MAYWRITE` afterwards: the kernel itself may raise a fault for
    /// writing there (`fault_in_safe_writeable()`), although the page is there, and warns of one
    /// without the other.
    ///
    /// `ENOMEM`: no memory for page tables, or the range is not one of the mapping's. May sleep.
    ///
    /// # Safety
    ///
    /// The mapping has `PFNMAP`, and not `MAYWRITE`, and nothing has been inserted there. `pfn` and
    /// those that follow are page frames; as long as the mapping lives, they are there, and may be
    /// seen and changed by user space as far as its flags allow.
    pub unsafe fn insert(&self, start: usize, len: usize, pfn: usize) -> Result {
        for page in 0..len / PAGE_SIZE {
            let addr = start.checked_add(page * PAGE_SIZE).ok_or(ENOMEM)?;
            // SAFETY: the lock is held, and the VMA is a VM_PFNMAP one.
            let ret = unsafe { bindings::vmf_insert_pfn(self.as_ptr(), addr, pfn + page) };
            if ret != bindings::vm_fault_reason_VM_FAULT_NOPAGE {
                return Err(ENOMEM);
            }
        }
        // SAFETY: the lock is held.
        unsafe { bindings::rpal_vma_may_write(self.as_ptr()) };
        Ok(())
    }
}

/// The owner behind the VMA of a special mapping.
///
/// # Safety
///
/// `vma` was made by [`MmapWriteGuard::install`] with this type, and its lock is held.
pub unsafe fn owner<T>(vma: *mut bindings::vm_area_struct) -> Arc<T> {
    // SAFETY: by the contract.
    unsafe { (*(*vma).vm_private_data.cast::<Special<T>>()).owner.clone() }
}
