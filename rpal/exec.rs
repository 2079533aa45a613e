// SPDX-License-Identifier: GPL-2.0

//! `execve` of an armed task: the new image becomes a service.

use crate::{
    arch,
    ctl::AREA_SIZE,
    gate,
    keys,
    placement,
    registry::REGISTRY,
    service::Service,
    special,
    task,
    thread,
    uapi, //
};
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    bindings,
    mm::{
        mmu_notifier,
        virt::flags,
        Mm,
        MmWithUser, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    task::Task, //
};

const ACTIVE: u8 = bindings::RPAL_ARM_ACTIVE as u8;
const UNPROTECTED: u64 = bindings::RPAL_ARM_UNPROTECTED as u64;
const DISARM: u64 = bindings::RPAL_ARM_DISARM as u64;

/// `rpal_arm(2)`.
///
/// `EINVAL`: unknown flags, or `reserved` is not zero; `EPERM`: `kernel.rpal_disabled` is set;
/// `EOPNOTSUPP`: the CPU lacks FSGSBASE, or protection keys and the caller insists on them, or
/// this is a Xen PV guest, or there was no memory for the gate at boot; and the errors of
/// [`uapi::read`].
pub(crate) fn arm(addr: usize, size: usize) -> Result {
    let arg: uapi::Arm = uapi::read(addr, size)?;
    if arg.flags & !(UNPROTECTED | DISARM) != 0 || arg.reserved != 0 {
        return Err(EINVAL);
    }
    if arg.flags & DISARM != 0 {
        if arg.flags != DISARM {
            return Err(EINVAL);
        }
        set_armed(0);
        return Ok(());
    }
    if crate::disabled() {
        return Err(EPERM);
    }
    let unprotected = arg.flags & UNPROTECTED != 0;
    let able = arch::has_fsgsbase() && !arch::is_xen_pv() && gate::page().is_ok();
    if !able || !(arch::has_pku() || unprotected) {
        return Err(EOPNOTSUPP);
    }
    // CAST: one known flag, in the low bits.
    set_armed(ACTIVE | arg.flags as u8);
    Ok(())
}

fn armed() -> u8 {
    // SAFETY: the field is the current task's own.
    unsafe { (*Task::current_raw()).rpal.arm }
}

fn set_armed(value: u8) {
    // SAFETY: the field is the current task's own.
    unsafe { (*Task::current_raw()).rpal.arm = value }
}

/// Does the loader leave the image where [`placement`] tells it to begin? It rounds that down to
/// what a segment wants for an alignment.
///
/// `EOPNOTSUPP`: no. May sleep.
///
/// # Safety
///
/// `file` is open, and `elf` its header.
unsafe fn check_alignment(file: *mut bindings::file, elf: &bindings::elf64_hdr) -> Result {
    const SIZE: usize = size_of::<bindings::elf64_phdr>();

    // The loader has read these. A file that changes meanwhile, as only some can, hurts itself.
    let table = i64::try_from(elf.e_phoff).map_err(|_| EOPNOTSUPP)?;
    for number in 0..elf.e_phnum {
        let mut segment: bindings::elf64_phdr = pin_init::zeroed();
        let mut pos = table.saturating_add(i64::from(number) * SIZE as i64);
        // SAFETY: by the contract, and there is room for `SIZE` bytes.
        let len = unsafe { bindings::kernel_read(file, (&raw mut segment).cast(), SIZE, &mut pos) };
        let large =
            segment.p_type == bindings::PT_LOAD && segment.p_align > placement::IMAGE as u64;
        if len != SIZE as isize || large {
            return Err(EOPNOTSUPP);
        }
    }
    Ok(())
}

/// Can the image live in a slot?
///
/// `EOPNOTSUPP`: no position-independent 64-bit ELF image, or one that wants to be aligned to more
/// than 4 GiB; `EPERM`: it runs with more privileges than its caller. May sleep.
///
/// # Safety
///
/// `bprm` is the binary that the current task executes.
unsafe fn check(bprm: *mut bindings::linux_binprm) -> Result {
    // SAFETY: by the contract; the buffer is larger than a header.
    let (elf, secure) = unsafe {
        (
            bindings::rpal_elf_header(bprm).read_unaligned(),
            (*bprm).secureexec() != 0,
        )
    };
    let magic = elf.e_ident.first_chunk::<5>() == Some(&[0x7f, b'E', b'L', b'F', 2]);
    if !magic
        || u32::from(elf.e_machine) != bindings::EM_X86_64
        || u32::from(elf.e_type) != bindings::ET_DYN
    {
        // Not ENOEXEC: a shell would take the file for a script.
        return Err(EOPNOTSUPP);
    }
    if secure {
        return Err(EPERM);
    }
    // SAFETY: by the contract.
    unsafe { check_alignment((*bprm).file, &elf) }
}

/// Takes slot and key, and prepares the address space that `execve` will switch to.
///
/// # Safety
///
/// As for [`check`], before the point of no return.
unsafe fn place(bprm: *mut bindings::linux_binprm) -> Result {
    // SAFETY: by the contract.
    unsafe { check(bprm) }?;
    let unprotected = u64::from(armed()) & UNPROTECTED != 0;
    // SAFETY: `bprm->mm` has a reference, and so has the copy.
    let mm: ARef<Mm> = unsafe { Mm::from_raw((*bprm).mm) }.into();
    let me: ARef<Task> = ARef::from(&**kernel::current!());
    // SAFETY: always safe to call.
    let uid = unsafe { bindings::rpal_charged_uid() }.val;
    let taken = REGISTRY.lock().take(uid, !unprotected, false);
    let (slot, key) = match taken {
        // Asked only now, since it is noted who makes use of it.
        Err(e) if e == EAGAIN && task::may_exceed_limits() => {
            REGISTRY.lock().take(uid, !unprotected, true)
        }
        taken => taken,
    }?;
    let pkru = keys::pkru_for(key);
    let made = Service::new(slot, key, pkru, unprotected, uid, mm, me).and_then(|service| {
        // SAFETY: `bprm` keeps the address space in use.
        let mm = unsafe { MmWithUser::from_raw((*bprm).mm) };
        mmu_notifier::register(mm, service.clone(), GFP_KERNEL_ACCOUNT)?;
        Ok(service)
    });
    let service = match made {
        Ok(service) => service,
        Err(e) => {
            REGISTRY.lock().give_back(slot, key);
            return Err(e);
        }
    };
    REGISTRY.lock().insert(service.clone());
    // From here on the notifier gives everything back when the address space goes, be it that
    // `execve` fails.
    // SAFETY: by the contract, and the reference goes to the mm.
    unsafe {
        placement::prepare(
            (*bprm).mm,
            slot,
            key.number(),
            pkru,
            Arc::into_raw(service).cast_mut().cast(),
        )
    };
    Ok(())
}

/// `begin_new_exec()`, before the point of no return. May sleep.
///
/// # Safety
///
/// `bprm` is the binary that the current task executes.
#[no_mangle]
unsafe extern "C" fn __rpal_exec(bprm: *mut bindings::linux_binprm) -> kernel::ffi::c_int {
    if armed() & ACTIVE != 0 {
        // SAFETY: by the contract.
        if let Err(e) = unsafe { place(bprm) } {
            // The notifier's registration gives up at any signal; the whole call starts again.
            return if e == EINTR {
                ERESTARTNOINTR.to_errno()
            } else {
                e.to_errno()
            };
        }
        set_armed(0);
        // For all that the new image will make, until they execute something else.
        task::hook_syscalls(true);
    }
    // A thread of the old image is no thread of the new one.
    thread::leave();
    0
}

/// `arch_setup_additional_pages()` of a service: maps the control area, which is also what keeps
/// the slot's top-level table from being freed under the peers, and the gate.
///
/// # Safety
///
/// `mm` is the current address space, and a service's.
#[no_mangle]
unsafe extern "C" fn __rpal_map_service(mm: *mut bindings::mm_struct) -> kernel::ffi::c_int {
    let map = || -> Result {
        let service = Service::current()?;
        // SAFETY: by the contract.
        let mut guard = unsafe { MmWithUser::from_raw(mm) }.mmap_write_lock_killable()?;
        let (pfnmap, read) = (flags::PFNMAP | flags::IO, flags::READ | flags::MAYREAD);
        let start = service.area_addr.0;
        let rights = pfnmap | read | flags::WRITE;
        let area = guard.install(start, AREA_SIZE, rights, service.clone())?;
        special::set_key(&area, 0);
        // SAFETY: the mapping's owner is the service, which has the area, and that is there for
        // user space to write to.
        unsafe { area.insert(start, AREA_SIZE, service.area.pfn()) }?;
        let page = gate::page()?;
        let rights = pfnmap | read | flags::EXEC | flags::MAYEXEC;
        let gate = guard.install(page.base, PAGE_SIZE, rights, service.clone())?;
        special::set_key(&gate, 0);
        // SAFETY: the gate's page is there for good, and this shows it without the right to write.
        unsafe { gate.insert(page.base, PAGE_SIZE, page.pfn) }
    };
    map().map_or_else(|e| e.to_errno(), |()| 0)
}
