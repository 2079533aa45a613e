/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * RPAL state in task_struct and mm_context_t; empty when the option is off,
 * so that the structures that hold it need no conditional.
 */
#ifndef _LINUX_RPAL_TYPES_H
#define _LINUX_RPAL_TYPES_H

#include <linux/types.h>

#ifdef CONFIG_RPAL

/**
 * struct rpal_task - what a task knows of RPAL
 * @thread: the registered thread (an Arc of rpal/thread.rs), or NULL; written
 *	    by the task alone, and by fork before the child can run
 * @arm: RPAL_ARM_ACTIVE and the flags of rpal_arm(2) for the next execve
 * @latched: a forced signal waits for the exit loop to hand the context over
 */
struct rpal_task {
	void	*thread;
	u8	arm;
	u8	latched;
};

#define RPAL_ARM_ACTIVE		0x80

/**
 * struct rpal_mm - what an address space knows of RPAL
 * @service: the service that lives here (an Arc of rpal/service.rs), or NULL;
 *	     set before the mm has a user and cleared when it has lost the
 *	     last one, so that readers need no lock
 * @slot_start: first address of the slot, 0 without a service
 * @init_pkru: PKRU that threads start and take signals with; 0 means the
 *	       system's value. Survives fork, where @service does not.
 * @pkey_reserved: keys that pkey_alloc() and friends must not touch
 */
struct rpal_mm {
	void		*service;
	unsigned long	slot_start;
	u32		init_pkru;
	u16		pkey_reserved;
};

/* rpal/placement.rs: what a service's slot puts in place of the system's values. */
unsigned long rpal_stack_top(unsigned long top);
unsigned long rpal_et_dyn_base(unsigned long base);
unsigned long rpal_mmap_rnd(unsigned long rnd);
u32 rpal_init_pkru(u32 pkru);

/* rpal/thread.rs: what a new thread inherits of its maker's PKRU. */
u32 rpal_child_pkru(u32 pkru);

/* arch/x86/kernel/fpu/core.c */
struct task_struct;
void fpu_hand_over(struct task_struct *to);

#else

struct rpal_task {};
struct rpal_mm {};

#define rpal_stack_top(top)		(top)
#define rpal_et_dyn_base(base)		(base)
#define rpal_mmap_rnd(rnd)		(rnd)
#define rpal_init_pkru(pkru)		(pkru)
#define rpal_child_pkru(pkru)		(pkru)

#endif /* CONFIG_RPAL */
#endif /* _LINUX_RPAL_TYPES_H */
