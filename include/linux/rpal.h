/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * RPAL: the hooks. One bit test or one call at each site; what stands behind
 * them is in rpal/. Everything is an empty stub when the option is off.
 */
#ifndef _LINUX_RPAL_H
#define _LINUX_RPAL_H

#include <linux/mm_types.h>
#include <linux/ptrace.h>
#include <linux/rpal_mm.h>
#include <linux/sched.h>
#include <uapi/linux/rpal.h>

struct kernel_siginfo;
struct linux_binprm;
struct rlimit;

#ifdef CONFIG_RPAL

/* rpal/; each one's contract is documented there. */
bool __rpal_syscall_enter(struct pt_regs *regs);
unsigned long __rpal_exit_to_user(struct pt_regs *regs, unsigned long ti_work);
void __rpal_exit_worked(void);
bool __rpal_forced_signal(struct kernel_siginfo *info);
bool __rpal_borrowed(void);
int __rpal_exec(struct linux_binprm *bprm);
void __rpal_thread_gone(void);
int __rpal_map_service(struct mm_struct *mm);
vm_fault_t rpal_window_fault(struct vm_area_struct *vma, unsigned long address,
			     unsigned int flags, struct pt_regs *regs);
bool __rpal_gup_fast_permitted(struct mm_struct *mm, unsigned long start,
			       unsigned long end);

/* rpal/tlb.c */
void rpal_flush_tlb(struct mm_struct *mm, unsigned long start, unsigned long end);

/* rpal/placement.rs */
bool rpal_pick_mmap_layout(struct mm_struct *mm, const struct rlimit *stack);
bool rpal_mmap_range(unsigned long flags, unsigned long *begin,
		     unsigned long *end);

/* System call entry, before anything that acts for the task: false skips the call. */
static __always_inline bool rpal_syscall_enter(struct pt_regs *regs)
{
	return __rpal_syscall_enter(regs);
}

/* Exit loop, after schedule(): returns the work that is still to be done. */
static __always_inline unsigned long
rpal_exit_to_user(struct pt_regs *regs, unsigned long ti_work)
{
	if (unlikely(current->rpal.thread))
		ti_work = __rpal_exit_to_user(regs, ti_work);
	return ti_work;
}

/* Exit loop, behind what rpal_exit_to_user() has left to be done. */
static __always_inline void rpal_exit_worked(void)
{
	if (unlikely(current->rpal.thread))
		__rpal_exit_worked();
}

/*
 * A forced signal for @t: true if the receiver is to meet the fault itself, or
 * the gate answers it.
 */
static inline bool rpal_forced_signal(struct kernel_siginfo *info,
				      struct task_struct *t)
{
	return unlikely(current->rpal.thread) && t == current &&
	       __rpal_forced_signal(info);
}

/* Is the current task executing another task's user context? */
static inline bool rpal_borrowed(void)
{
	return unlikely(current->rpal.thread) && __rpal_borrowed();
}

/*
 * A copied task is not registered, whatever its parent is. The syscall-work bit
 * stays: if the two share the address space, the hook has to see the child's
 * calls as well, and if they do not, it takes the bit away.
 */
static inline void rpal_task_dup(struct task_struct *tsk)
{
	tsk->rpal = (struct rpal_task){};
}

/* The point of no return of execve is next; an error still leaves the caller whole. */
static inline int rpal_exec(struct linux_binprm *bprm)
{
	if (unlikely(current->rpal.arm || current->rpal.thread))
		return __rpal_exec(bprm);
	return 0;
}

static inline void rpal_task_exit(void)
{
	if (unlikely(current->rpal.thread))
		__rpal_thread_gone();
}

/* The image is mapped: add the gate page and the control area. */
static inline int rpal_map_service(void)
{
	if (unlikely(current->mm->context.rpal.service))
		return __rpal_map_service(current->mm);
	return 0;
}

/* First address of the current slot, 0 outside services. */
static inline unsigned long rpal_slot_start(void)
{
	return current->mm->context.rpal.slot_start;
}

/* A hint that is not wholly in the slot is no error: it is not followed. */
static inline bool rpal_mmap_hint_valid(unsigned long addr, unsigned long len)
{
	return likely(!rpal_slot_start()) ||
	       (addr - rpal_slot_start() < RPAL_SLOT_SIZE &&
		len <= RPAL_SLOT_SIZE - (addr - rpal_slot_start()));
}

/* Do others execute in @mm, on CPUs that its mask does not tell? */
static inline bool rpal_is_service(const struct mm_struct *mm)
{
	return mm->context.rpal.service;
}

/* A lockless page-table walk must not enter a window: its tables are not this mm's. */
static inline bool rpal_gup_fast_permitted(unsigned long start, unsigned long end)
{
	return likely(!current->mm->context.rpal.service) ||
	       __rpal_gup_fast_permitted(current->mm, start, end);
}

#else /* !CONFIG_RPAL */

static __always_inline bool rpal_syscall_enter(struct pt_regs *regs)
{
	return true;
}

static __always_inline unsigned long
rpal_exit_to_user(struct pt_regs *regs, unsigned long ti_work)
{
	return ti_work;
}

static __always_inline void rpal_exit_worked(void) { }

static inline bool rpal_forced_signal(struct kernel_siginfo *info,
				      struct task_struct *t)
{
	return false;
}

static inline vm_fault_t rpal_window_fault(struct vm_area_struct *vma,
					   unsigned long address,
					   unsigned int flags,
					   struct pt_regs *regs)
{
	return VM_FAULT_SIGBUS;
}

static inline bool rpal_pick_mmap_layout(struct mm_struct *mm,
					 const struct rlimit *stack)
{
	return false;
}

static inline bool rpal_mmap_range(unsigned long flags, unsigned long *begin,
				   unsigned long *end)
{
	return false;
}

static inline bool rpal_gup_fast_permitted(unsigned long start, unsigned long end)
{
	return true;
}

static inline bool rpal_is_service(const struct mm_struct *mm) { return false; }
static inline unsigned long rpal_slot_start(void) { return 0; }
static inline bool rpal_mmap_hint_valid(unsigned long addr, unsigned long len) { return true; }
static inline bool rpal_borrowed(void) { return false; }
static inline void rpal_task_dup(struct task_struct *tsk) { }
static inline int rpal_exec(struct linux_binprm *bprm) { return 0; }
static inline void rpal_task_exit(void) { }
static inline int rpal_map_service(void) { return 0; }

#endif /* CONFIG_RPAL */
#endif /* _LINUX_RPAL_H */
