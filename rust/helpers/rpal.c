// SPDX-License-Identifier: GPL-2.0-only
/*
 * Inline functions and macros of x86, tasks and files that RPAL's Rust code calls.
 * Those of memory management are in rpal_mm.c.
 */
#ifdef CONFIG_RPAL

#include <linux/binfmts.h>
#include <linux/cgroup.h>
#include <linux/freezer.h>
#include <linux/mm.h>
#include <linux/nsproxy.h>
#include <linux/poll.h>
#include <linux/resume_user_mode.h>
#include <linux/rpal.h>
#include <linux/rseq.h>
#include <linux/sched/coredump.h>
#include <linux/sched/exec_state.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/security.h>
#include <linux/time_namespace.h>
#include <linux/uaccess.h>
#include <linux/user_namespace.h>
#include <asm/fpu/api.h>
#include <asm/fsgsbase.h>
#include <asm/pkru.h>
#include <asm/sighandling.h>
#include <asm/syscall.h>

/* Registers of the current task */

__rust_helper struct pt_regs *rust_helper_current_pt_regs(void)
{
	return current_pt_regs();
}

__rust_helper unsigned long rust_helper_rpal_rdfsbase(void)
{
	return rdfsbase();
}

/* As arch_prctl(ARCH_SET_FS) for current, selector 0. */
__rust_helper void rust_helper_rpal_wrfsbase(unsigned long fsbase)
{
	preempt_disable();
	loadsegment(fs, 0);
	wrfsbase(fsbase);
	current->thread.fsindex = 0;
	current->thread.fsbase = fsbase;
	preempt_enable();
}

__rust_helper unsigned long rust_helper_rpal_gsbase(void)
{
	unsigned long base;

	preempt_disable();
	base = x86_gsbase_read_cpu_inactive();
	preempt_enable();
	return base;
}

__rust_helper void rust_helper_rpal_reset_gsbase(void)
{
	preempt_disable();
	if (x86_gsbase_read_cpu_inactive()) {
		x86_gsbase_write_cpu_inactive(0);
		current->thread.gsbase = 0;
	}
	preempt_enable();
}

__rust_helper bool rust_helper_rpal_regs_are_flat(struct pt_regs *regs)
{
	return regs->cs == __USER_CS && regs->ss == __USER_DS;
}

__rust_helper void rust_helper_rpal_regs_set_flat(struct pt_regs *regs)
{
	regs->cs = __USER_CS;
	regs->ss = __USER_DS;
}

__rust_helper u32 rust_helper_read_pkru(void)
{
	return read_pkru();
}

__rust_helper void rust_helper_write_pkru(u32 pkru)
{
	write_pkru(pkru);
}

/* Afterwards current's FPU registers are in memory and TIF_NEED_FPU_LOAD is set. */
__rust_helper void rust_helper_rpal_fpu_sync(void)
{
	kernel_fpu_begin();
	kernel_fpu_end();
}

__rust_helper void rust_helper_prevent_single_step_upon_eretu(struct pt_regs *regs)
{
	prevent_single_step_upon_eretu(regs);
}

__rust_helper bool rust_helper_in_ia32_syscall(void)
{
	return in_ia32_syscall();
}

__rust_helper void rust_helper_rpal_clear_compat(void)
{
	current_thread_info()->status &= ~TS_COMPAT;
}

__rust_helper bool rust_helper_rpal_cpu_has_fsgsbase(void)
{
	return boot_cpu_has(X86_FEATURE_FSGSBASE);
}

__rust_helper bool rust_helper_rpal_cpu_has_pku(void)
{
	return cpu_feature_enabled(X86_FEATURE_OSPKE);
}

__rust_helper bool rust_helper_rpal_is_xen_pv(void)
{
	return cpu_feature_enabled(X86_FEATURE_XENPV);
}

/* Leaves rseq; false if the user's area can't be written. */
__rust_helper bool rust_helper_rpal_rseq_leave(void)
{
#ifdef CONFIG_RSEQ
	struct rseq __user *rseq = current->rseq.usrptr;

	if (!rseq)
		return true;
	if (put_user(0U, &rseq->cpu_id_start) ||
	    put_user((u32)RSEQ_CPU_ID_UNINITIALIZED, &rseq->cpu_id))
		return false;
	rseq_reset(current);
#endif
	return true;
}

/* How far current's CLOCK_MONOTONIC is ahead of the system's, in nanoseconds. */
__rust_helper s64 rust_helper_rpal_monotonic_offset(void)
{
#ifdef CONFIG_TIME_NS
	return timespec64_to_ns(&current->nsproxy->time_ns->offsets.monotonic);
#else
	return 0;
#endif
}

__rust_helper unsigned long rust_helper_rpal_task_size_max(void)
{
	return TASK_SIZE_MAX;
}

/* Tasks */

__rust_helper void rust_helper_set_notify_resume(struct task_struct *task)
{
	set_notify_resume(task);
}

__rust_helper void rust_helper_rpal_set_current_state(unsigned int state)
{
	set_current_state(state);
}

__rust_helper void rust_helper_rpal_enter_frozen(void)
{
	try_to_freeze();
	cgroup_enter_frozen();
}

__rust_helper void rust_helper_rpal_leave_frozen(void)
{
	/* If the group is to be frozen, only the way out to user space ends it. */
	cgroup_leave_frozen(false);
}

__rust_helper int rust_helper_fatal_signal_pending(struct task_struct *task)
{
	return fatal_signal_pending(task);
}

__rust_helper void rust_helper_rpal_set_syscall_work(void)
{
	set_task_syscall_work(current, SYSCALL_RPAL);
}

__rust_helper void rust_helper_rpal_clear_syscall_work(void)
{
	clear_task_syscall_work(current, SYSCALL_RPAL);
}

/* Of a system call whose entry nobody has seen, nobody shall see the exit. */
__rust_helper void rust_helper_rpal_skip_syscall_exit(bool skip)
{
#ifdef CONFIG_SYSCALL_USER_DISPATCH
	current->syscall_dispatch.on_dispatch = skip;
#endif
}

__rust_helper void rust_helper_rpal_clear_uprobe(void)
{
	clear_thread_flag(TIF_UPROBE);
}

__rust_helper void rust_helper_rpal_no_restart(void)
{
	current->restart_block.fn = do_no_restart_syscall;
}

/*
 * The user registers are those of an interrupted context, as if current had
 * come by an interrupt: the fixup of the vDSO's robust unlock has to look.
 */
__rust_helper void rust_helper_rpal_note_interrupted(void)
{
#ifdef CONFIG_RSEQ
	current->rseq.event.user_irq = true;
#endif
}

__rust_helper const struct cpumask *rust_helper_mm_cpumask(struct mm_struct *mm)
{
	return mm_cpumask(mm);
}

__rust_helper bool rust_helper_task_no_new_privs(struct task_struct *task)
{
	return task_no_new_privs(task);
}

__rust_helper unsigned long rust_helper_rpal_rlimit(unsigned int limit)
{
	return rlimit(limit);
}

__rust_helper const void *rust_helper_rpal_seccomp_filter(struct task_struct *task)
{
#ifdef CONFIG_SECCOMP_FILTER
	return READ_ONCE(task->seccomp.filter);
#else
	return NULL;
#endif
}

__rust_helper unsigned long rust_helper_rpal_core_cookie(struct task_struct *task)
{
#ifdef CONFIG_SCHED_CORE
	return READ_ONCE(task->core_cookie);
#else
	return 0;
#endif
}

__rust_helper bool rust_helper_rpal_same_groups(const struct cred *a, const struct cred *b)
{
	const struct group_info *ga = a->group_info, *gb = b->group_info;

	return ga == gb || (ga->ngroups == gb->ngroups &&
			    !memcmp(ga->gid, gb->gid, ga->ngroups * sizeof(kgid_t)));
}

/* Clears @label before it sets any of it. */
__rust_helper void rust_helper_rpal_label(struct task_struct *task, struct lsm_prop *label)
{
	security_task_getlsmprop_obj(task, label);
}

/*
 * May current and @task debug each other, as security modules see it? Some have
 * restrictions that no label shows: Landlock's domains. To read is enough here,
 * for current: Yama would ask for kinship otherwise. Does not sleep.
 */
__rust_helper bool rust_helper_rpal_modules_agree(struct task_struct *task, bool quiet)
{
	unsigned int mode = PTRACE_MODE_READ_REALCREDS | (quiet ? PTRACE_MODE_NOAUDIT : 0);

	return !security_ptrace_access_check(task, mode) && !security_ptrace_traceme(task);
}

/* May the process use state that the gate does not switch: AMX tiles? */
static inline bool rpal_may_use_tiles(void)
{
	return READ_ONCE(x86_task_fpu(current->group_leader)->perm.__state_perm) &
	       XFEATURE_MASK_XTILE_DATA;
}

/*
 * Does current run under something that belongs to its task or address space,
 * and that code which another task runs for it would escape or miss: a debugger,
 * stepping, disabled RDTSC or CPUID, speculation controls (the flush of the L1
 * data cache among them), AMX tiles, an LDT, or a promise of membarrier(2),
 * whose interrupts go to CPUs that run this very address space?
 */
__rust_helper bool rust_helper_rpal_is_confined(void)
{
	const unsigned long flags = _TIF_WORK_CTXSW | _TIF_SPEC_IB | _TIF_SPEC_L1D_FLUSH |
				    _TIF_SINGLESTEP;

	if (current->ptrace || read_thread_flags() & flags || rpal_may_use_tiles())
		return true;
#ifdef CONFIG_MODIFY_LDT_SYSCALL
	if (READ_ONCE(current->mm->context.ldt))
		return true;
#endif
#ifdef CONFIG_MEMBARRIER
	return atomic_read(&current->mm->membarrier_state);
#else
	return false;
#endif
}

__rust_helper bool rust_helper_rpal_is_stepped(void)
{
	return test_thread_flag(TIF_SINGLESTEP);
}

/*
 * What the gate does not switch: user dispatch, I/O ports, an LDT, user shadow
 * stacks, AMX tiles.
 */
__rust_helper bool rust_helper_rpal_has_unswitched_state(void)
{
	if (test_task_syscall_work(current, SYSCALL_USER_DISPATCH) ||
	    test_thread_flag(TIF_IO_BITMAP))
		return true;
#ifdef CONFIG_MODIFY_LDT_SYSCALL
	if (READ_ONCE(current->mm->context.ldt))
		return true;
#endif
#ifdef CONFIG_X86_USER_SHADOW_STACK
	if (current->thread.features)
		return true;
#endif
	return rpal_may_use_tiles();
}

/* The PASID of the FPU state that current had is not in the one that it has got. */
__rust_helper void rust_helper_rpal_forget_pasid(void)
{
#ifdef CONFIG_IOMMU_MM_DATA
	current->pasid_activated = 0;
#endif
}

/* Is current of a class whose callers would make a receiver wait, or miss, for theirs? */
__rust_helper bool rust_helper_rpal_is_unfit_class(void)
{
	return current->policy == SCHED_IDLE || current->policy == SCHED_DEADLINE;
}

/* As the trap's handler does it, for the task whose trap it is. */
__rust_helper void rust_helper_rpal_raise(int signo, int code, unsigned long addr,
					  unsigned long nr, unsigned long error)
{
	current->thread.trap_nr = nr;
	current->thread.error_code = error;
	if (code == SI_KERNEL)
		force_sig(signo);
	else
		force_sig_fault(signo, code, (void __user *)addr);
}

__rust_helper const struct cred *rust_helper_get_task_cred(struct task_struct *task)
{
	return get_task_cred(task);
}

__rust_helper bool rust_helper_rpal_task_is_dumpable(struct task_struct *task)
{
	struct task_exec_state *state;

	/* The task may have gone, and its process live on. */
	guard(rcu)();
	state = rcu_dereference(task->exec_state);
	return state && READ_ONCE(state->dumpable) == TASK_DUMPABLE_OWNER;
}

/*
 * Whose services are counted together: the real user, or who has made the
 * outermost user namespace that it lives in, which maps as many as it likes.
 */
__rust_helper kuid_t rust_helper_rpal_charged_uid(void)
{
	struct user_namespace *ns = current_user_ns();
	kuid_t uid = current_uid();

	for (; ns != &init_user_ns; ns = ns->parent)
		uid = ns->owner;
	return uid;
}

/* Memory that user space sees, too */

/* One locked instruction, ordered as such. */
__rust_helper void rust_helper_rpal_lock_or(u64 *word, u64 bits)
{
	arch_atomic64_or(bits, (atomic64_t *)word);
}

__rust_helper int rust_helper_copy_struct_from_user(void *dst, size_t ksize,
						    const void __user *src, size_t usize)
{
	return copy_struct_from_user(dst, ksize, src, usize);
}

__rust_helper int rust_helper_copy_struct_to_user(void __user *dst, size_t usize,
						  const void *src, size_t ksize)
{
	return copy_struct_to_user(dst, usize, src, ksize, NULL);
}

/* Polling */

__rust_helper bool rust_helper_file_can_poll(struct file *file)
{
	return file_can_poll(file);
}

__rust_helper __poll_t rust_helper_vfs_poll(struct file *file, struct poll_table_struct *pt)
{
	return vfs_poll(file, pt);
}

/* execve */

__rust_helper struct elf64_hdr *rust_helper_rpal_elf_header(struct linux_binprm *bprm)
{
	return (struct elf64_hdr *)bprm->buf;
}

#endif /* CONFIG_RPAL */
