// SPDX-License-Identifier: GPL-2.0

//! The gate page, and what the kernel may conclude from an instruction address in it.
//!
//! The instructions are in `rpal/gate_page.S`, which says what each region's registers hold. Every
//! service has the page at the same address, chosen once per boot in the last 512 GiB of the
//! address space, which are no slot.

use crate::{
    arch,
    slots::{
        SLOT_LAST,
        SLOT_SHIFT, //
    }, //
};
use core::ptr::addr_of;
use kernel::{
    bindings,
    page::PAGE_SIZE,
    prelude::*,
    sync::SetOnce, //
};

/// What a user context is in the middle of, by its instruction address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Region {
    /// The caller has named a receiver, and may try to claim it.
    A,
    /// The receiver is claimed; the FS base is still the caller's.
    G0,
    /// The FS base is the receiver's; its function has not started.
    G1,
    /// The receiver's function has returned; the FS base is still the receiver's.
    G2,
    /// The FS base is the caller's again; the receiver is not released.
    G3,
    /// The copy whose faults are errors.
    Copy,
    /// Anything else: complete contexts.
    Other,
}

macro_rules! symbols {
    ($($name:ident),* $(,)?) => {
        extern "C" {
            static rpal_gate_page: u8;
            $(static $name: u8;)*
        }
    };
}

symbols! {
    rpal_gate_call, rpal_gate_a_start, rpal_gate_g0_start, rpal_gate_g1_start,
    rpal_gate_wrpkru_in, rpal_gate_finish, rpal_gate_ret, rpal_gate_g3_start,
    rpal_gate_wrpkru_out, rpal_gate_done, rpal_gate_slow, rpal_gate_call_end, rpal_gate_await,
    rpal_gate_await_end, rpal_gate_wait, rpal_gate_wait_end, rpal_gate_reply_end,
    rpal_gate_copy, rpal_gate_copy_start, rpal_gate_copy_end, rpal_gate_copy_fault,
}

/// Where in the page a label is.
fn in_page(label: *const u8) -> usize {
    // Addresses; nothing is read.
    (label as usize).wrapping_sub(addr_of!(rpal_gate_page) as usize)
}

macro_rules! offset {
    ($name:ident) => {
        in_page(addr_of!($name))
    };
}

/// The gate, as it is mapped in every service.
pub(crate) struct Gate {
    /// User address of the page.
    pub(crate) base: usize,
    pub(crate) pfn: usize,
}

static GATE: SetOnce<Gate> = SetOnce::new();

/// The gate. `ENXIO`: RPAL could not be initialised.
pub(crate) fn page() -> Result<&'static Gate> {
    GATE.as_ref().ok_or(ENXIO)
}

/// Copies the gate to a page of its own and chooses its address.
pub(crate) fn init() -> Result {
    // SAFETY: no preconditions.
    let page = unsafe { bindings::rpal_alloc_pages(0) };
    if page.is_null() {
        return Err(ENOMEM);
    }
    // SAFETY: the page was just allocated and nobody else knows it; the source is a page, and the
    // offsets lie in it. The page stays for ever.
    let pfn = unsafe {
        let to = bindings::rpal_page_address(page).cast::<u8>();
        core::ptr::copy_nonoverlapping(addr_of!(rpal_gate_page), to, PAGE_SIZE);
        if !arch::has_pku() {
            // Where PKRU does not exist, WRPKRU does not either: a NOP of its length.
            for offset in [offset!(rpal_gate_wrpkru_in), offset!(rpal_gate_wrpkru_out)] {
                core::ptr::copy_nonoverlapping([0x0f_u8, 0x1f, 0x00].as_ptr(), to.add(offset), 3);
            }
        }
        bindings::page_to_pfn(page)
    };
    let pages = (1 << SLOT_SHIFT) / PAGE_SIZE;
    // The first and the last page stay free: the last one is not user space's.
    // SAFETY: always safe to call.
    let random = 1 + unsafe { bindings::get_random_u64() } as usize % (pages - 2);
    let base = ((usize::from(SLOT_LAST) + 1) << SLOT_SHIFT) + random * PAGE_SIZE;
    GATE.populate(Gate { base, pfn });
    Ok(())
}

impl Gate {
    pub(crate) fn call(&self) -> usize {
        self.base + offset!(rpal_gate_call)
    }
    pub(crate) fn wait(&self) -> usize {
        self.base + offset!(rpal_gate_wait)
    }
    pub(crate) fn copy(&self) -> usize {
        self.base + offset!(rpal_gate_copy)
    }
    pub(crate) fn copy_fault(&self) -> u64 {
        (self.base + offset!(rpal_gate_copy_fault)) as u64
    }
    /// Where a call that was disturbed before it began goes on.
    pub(crate) fn slow(&self) -> u64 {
        (self.base + offset!(rpal_gate_slow)) as u64
    }
    /// Where a caller finishes, with the result in R8.
    pub(crate) fn done(&self) -> u64 {
        (self.base + offset!(rpal_gate_done)) as u64
    }
    /// Where a receiver starts a call that was disturbed after the switch.
    pub(crate) fn finish(&self) -> u64 {
        (self.base + offset!(rpal_gate_finish)) as u64
    }
    /// Where a receiver's function returns to.
    pub(crate) fn ret(&self) -> u64 {
        (self.base + offset!(rpal_gate_ret)) as u64
    }
    /// Where a caller waits for a reply, and the address behind its system call.
    pub(crate) fn await_(&self) -> (u64, u64) {
        (
            (self.base + offset!(rpal_gate_await)) as u64,
            (self.base + offset!(rpal_gate_await_end)) as u64,
        )
    }
    /// Is `ip` behind the system call `rpal_call`?
    pub(crate) fn is_call(&self, ip: u64) -> bool {
        ip == (self.base + offset!(rpal_gate_call_end)) as u64
    }
    /// Is `ip` behind the system call `rpal_reply`?
    pub(crate) fn is_reply(&self, ip: u64) -> bool {
        ip == (self.base + offset!(rpal_gate_reply_end)) as u64
    }
    /// Is `ip` behind a system call that parks?
    pub(crate) fn is_wait(&self, ip: u64) -> bool {
        ip == (self.base + offset!(rpal_gate_wait_end)) as u64 || self.is_reply(ip)
    }

    /// The region of an instruction address.
    pub(crate) fn region(&self, ip: u64) -> Region {
        let Ok(offset) = usize::try_from(ip.wrapping_sub(self.base as u64)) else {
            return Region::Other;
        };
        region_of(offset)
    }
}

fn region_of(offset: usize) -> Region {
    if offset >= PAGE_SIZE {
        return Region::Other;
    }
    let between = |from: usize, to: usize| (from..to).contains(&offset);
    if between(offset!(rpal_gate_a_start), offset!(rpal_gate_g0_start)) {
        Region::A
    } else if between(offset!(rpal_gate_g0_start), offset!(rpal_gate_g1_start)) {
        Region::G0
    } else if between(offset!(rpal_gate_g1_start), offset!(rpal_gate_finish)) {
        Region::G1
    } else if between(offset!(rpal_gate_ret), offset!(rpal_gate_g3_start)) {
        Region::G2
    } else if between(offset!(rpal_gate_g3_start), offset!(rpal_gate_done)) {
        Region::G3
    } else if between(offset!(rpal_gate_copy_start), offset!(rpal_gate_copy_end)) {
        Region::Copy
    } else {
        Region::Other
    }
}

#[cfg(CONFIG_RPAL_KUNIT_TEST)]
#[kunit_tests(rpal_gate)]
mod tests {
    use super::*;

    #[test]
    fn regions_follow_each_other() {
        assert_eq!(region_of(offset!(rpal_gate_call)), Region::Other);
        assert_eq!(region_of(offset!(rpal_gate_a_start)), Region::A);
        assert_eq!(region_of(offset!(rpal_gate_g0_start) - 1), Region::A);
        assert_eq!(region_of(offset!(rpal_gate_g0_start)), Region::G0);
        assert_eq!(region_of(offset!(rpal_gate_g1_start)), Region::G1);
        assert_eq!(region_of(offset!(rpal_gate_wrpkru_in)), Region::G1);
        assert_eq!(region_of(offset!(rpal_gate_finish)), Region::Other);
        assert_eq!(region_of(offset!(rpal_gate_ret)), Region::G2);
        assert_eq!(region_of(offset!(rpal_gate_g3_start)), Region::G3);
        assert_eq!(region_of(offset!(rpal_gate_wrpkru_out)), Region::G3);
        assert_eq!(region_of(offset!(rpal_gate_done)), Region::Other);
        assert_eq!(region_of(offset!(rpal_gate_copy_start)), Region::Copy);
        assert_eq!(region_of(offset!(rpal_gate_copy_fault)), Region::Other);
        assert_eq!(region_of(PAGE_SIZE), Region::Other);
    }

    #[test]
    fn wrpkru_is_where_it_is_patched() {
        for offset in [offset!(rpal_gate_wrpkru_in), offset!(rpal_gate_wrpkru_out)] {
            // SAFETY: three bytes of the page.
            let code =
                unsafe { core::slice::from_raw_parts(addr_of!(rpal_gate_page).add(offset), 3) };
            assert_eq!(code, [0x0f, 0x01, 0xef]);
        }
    }

    #[test]
    fn nothing_below_the_page_is_in_it() {
        let gate = Gate {
            base: 0x7f80_0000_1000,
            pfn: 0,
        };
        assert_eq!(gate.region(0), Region::Other);
        assert_eq!(gate.region(gate.base as u64 - 1), Region::Other);
        assert_eq!(gate.region(gate.ret()), Region::G2);
    }
}
