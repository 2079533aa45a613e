/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * RPAL: the part of an address space that asm/mmu_context.h and asm/pkeys.h
 * look after. Apart from rpal.h because those headers come before sched.h.
 */
#ifndef _LINUX_RPAL_MM_H
#define _LINUX_RPAL_MM_H

#include <linux/mm_types.h>
#include <linux/rpal_types.h>

#ifdef CONFIG_RPAL

static inline void rpal_mm_init(struct mm_struct *mm)
{
	mm->context.rpal = (struct rpal_mm){};
}

/* A child is no service, but its memory keeps the parent's keys. */
static inline void rpal_mm_dup(struct mm_struct *oldmm, struct mm_struct *mm)
{
	mm->context.rpal.init_pkru = oldmm->context.rpal.init_pkru;
	mm->context.rpal.pkey_reserved = oldmm->context.rpal.pkey_reserved;
}

/* Keys that user space can neither allocate, free nor put on its mappings. */
static inline u16 rpal_pkey_reserved(struct mm_struct *mm)
{
	return mm->context.rpal.pkey_reserved;
}

#else /* !CONFIG_RPAL */

static inline void rpal_mm_init(struct mm_struct *mm) { }
static inline void rpal_mm_dup(struct mm_struct *oldmm, struct mm_struct *mm) { }
static inline u16 rpal_pkey_reserved(struct mm_struct *mm) { return 0; }

#endif /* CONFIG_RPAL */
#endif /* _LINUX_RPAL_MM_H */
