// SPDX-License-Identifier: GPL-2.0

//! Where in its slot a service's image lies.
//!
//! From the bottom, with 2 GiB free of code at both ends for what looks for room within a jump of
//! some code:
//!
//! | offset | what |
//! | --- | --- |
//! | 4 GiB, and up to 64 GiB of randomness | position-independent image, heap behind it |
//! | 160 GiB, up | bottom-up mappings |
//! | below the stack's gap, 128 GiB of randomness | top-down mappings |
//! | 510 GiB, down by up to 16 GiB of randomness | stack |
//! | 511 GiB | control area |
//!
//! The default layout does not fit: its randomness alone is larger than a slot.

use crate::{
    ctl::AREA_SIZE,
    keys::KeyPool,
    slots::{
        Slot,
        SLOT_SIZE, //
    }, //
};
use kernel::{
    bindings,
    page::PAGE_SIZE,
    sizes::{
        SZ_128M,
        SZ_1G, //
    },
    task::Task, //
};

/// A flag of `mmap()`.
const MAP_32BIT: usize = 0x40;

const GIB: usize = SZ_1G;

pub(crate) const IMAGE: usize = 4 * GIB;
const IMAGE_RND: usize = 64 * GIB;
const BOTTOM_UP: usize = 160 * GIB;
const STACK_TOP: usize = 510 * GIB;
const STACK_RND: usize = 16 * GIB;
const CONTROL: usize = 511 * GIB;
const MMAP_RND: usize = 128 * GIB;

const _: () = {
    assert!(CONTROL + AREA_SIZE <= SLOT_SIZE);
    assert!(IMAGE + IMAGE_RND < BOTTOM_UP);
    assert!(BOTTOM_UP < STACK_TOP - SLOT_SIZE / 6 - MMAP_RND);
};

/// First address of the control area.
pub(crate) fn area_start(slot: Slot) -> usize {
    slot.start() + CONTROL
}

/// What the kernel's C code knows of the address space of the current task.
fn current_mm() -> Option<&'static bindings::rpal_mm> {
    // SAFETY: `current->mm` does not change under the current task, and the fields are set before
    // the mm has a user. The callers don't keep the reference.
    unsafe {
        let mm = (*Task::current_raw()).mm;
        if mm.is_null() {
            return None;
        }
        Some(&(*mm).__bindgen_anon_1.context.rpal)
    }
}

fn current_slot() -> Option<Slot> {
    let start = current_mm()?.slot_start;
    if start == 0 {
        return None;
    }
    Slot::of_addr(start)
}

/// Prepares the address space of the next image. It has no user yet.
///
/// # Safety
///
/// `mm` is `bprm->mm`, before the point of no return. `service` is a service's pointer, with a
/// reference that the mm now owns.
pub(crate) unsafe fn prepare(
    mm: *mut bindings::mm_struct,
    slot: Slot,
    key: u8,
    pkru: u32,
    service: *mut kernel::ffi::c_void,
) {
    // SAFETY: by the contract nobody else looks at `mm`.
    unsafe {
        let context = &mut (*mm).__bindgen_anon_1.context;
        context.rpal = bindings::rpal_mm {
            service,
            slot_start: slot.start(),
            init_pkru: if key == 0 { 0 } else { pkru },
            pkey_reserved: crate::registry::KEY_MASK,
        };
        context.pkey_allocation_map |= crate::registry::KEY_MASK;
        bindings::rpal_set_def_pkey(mm, key.into());
        // Tagged addresses are a mode of the CPU that would not travel with a borrowed context.
        bindings::rpal_lock_mm_context(mm);
    }
}

#[no_mangle]
extern "C" fn rpal_stack_top(top: usize) -> usize {
    current_slot().map_or(top, |s| s.start() + STACK_TOP)
}

#[no_mangle]
extern "C" fn rpal_et_dyn_base(base: usize) -> usize {
    current_slot().map_or(base, |s| s.start() + IMAGE)
}

#[no_mangle]
extern "C" fn rpal_mmap_rnd(rnd: usize) -> usize {
    current_slot().map_or(rnd, |_| rnd % IMAGE_RND)
}

#[no_mangle]
extern "C" fn rpal_init_pkru(pkru: u32) -> u32 {
    match current_mm().map_or(0, |m| m.init_pkru) {
        0 => pkru,
        own => own,
    }
}

/// `arch_pick_mmap_layout()`: false if `mm` is no service's.
///
/// # Safety
///
/// `mm` is the new image's address space, which is `current->mm`.
#[no_mangle]
unsafe extern "C" fn rpal_pick_mmap_layout(
    mm: *mut bindings::mm_struct,
    stack: *const bindings::rlimit,
) -> bool {
    let Some(slot) = current_slot() else {
        return false;
    };
    // SAFETY: by the contract; the limit is a copy on the caller's stack.
    unsafe {
        let randomize = (*Task::current_raw()).flags & bindings::PF_RANDOMIZE != 0;
        let rnd = if randomize {
            bindings::get_random_u64() as usize % MMAP_RND & !(PAGE_SIZE - 1)
        } else {
            0
        };
        let limit = (*stack).rlim_cur;
        let gap = limit
            .saturating_add(STACK_RND)
            .clamp(STACK_RND + SZ_128M, SLOT_SIZE / 6);
        let m = &mut (*mm).__bindgen_anon_1;
        m.mmap_base = (slot.start() + STACK_TOP - gap - rnd) & !(PAGE_SIZE - 1);
        m.mmap_legacy_base = slot.start() + BOTTOM_UP + rnd / 4;
        bindings::rpal_mmap_topdown(mm);
    }
    true
}

/// Bottom-up range of `mmap()`: false outside services. An empty range refuses the mapping.
///
/// # Safety
///
/// `begin` and `end` may be written.
#[no_mangle]
unsafe extern "C" fn rpal_mmap_range(flags: usize, begin: *mut usize, end: *mut usize) -> bool {
    let Some(slot) = current_slot() else {
        return false;
    };
    // Below 4 GiB is no service's.
    let low = flags & MAP_32BIT != 0
        // SAFETY: always safe to call.
        || unsafe { bindings::in_ia32_syscall() };
    let (b, e) = if low {
        (0, 0)
    } else {
        // SAFETY: `mmap_legacy_base` was set when the image was loaded.
        let base = unsafe {
            (*(*Task::current_raw()).mm)
                .__bindgen_anon_1
                .mmap_legacy_base
        };
        (base, slot.start() + STACK_TOP)
    };
    // SAFETY: by the contract.
    unsafe {
        *begin = b;
        *end = e;
    }
    true
}

/// The keys that services use; the rest stays for `pkey_alloc()`.
pub(crate) const fn key_pool() -> KeyPool {
    KeyPool::new(crate::registry::KEY_MASK)
}
