// SPDX-License-Identifier: GPL-2.0-only
/*
 * The one function of x86's mm that Rust's bindings do not see: tlbflush.h
 * hides it from modules, and they are made as for a module.
 */
#include <linux/mm.h>
#include <linux/rpal.h>
#include <asm/tlbflush.h>

/**
 * rpal_flush_tlb - flush a range, cached paging structures included
 * @mm: whose translations
 * @start: first address
 * @end: address after the last one
 *
 * Waits for other CPUs: interrupts must be on.
 */
void rpal_flush_tlb(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	flush_tlb_mm_range(mm, start, end, PAGE_SHIFT, true);
}
