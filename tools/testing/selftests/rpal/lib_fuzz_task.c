// SPDX-License-Identifier: GPL-2.0
/* Hostile operations on tasks: signals, tracing, and what tasks can be told. */
#include <cpuid.h>
#include <elf.h>
#include <fcntl.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "rpal_fuzz.h"

/*
 * QEMU's own processor: no watchpoints on data then. When an instruction that
 * is stepped meets one, QEMU 10.0 raises a second #DB in the handler of the
 * first and over its frame, and any kernel hangs. A processor raises one.
 */
static bool emulated(void)
{
	unsigned int a, id[3];

	__cpuid(0x40000000, a, id[0], id[1], id[2]);
	return !memcmp(id, "TCGTCGTCGTCG", sizeof(id));
}

static long fz_kill(struct fz *f)
{
	static const unsigned char sigs[] = {
		SIGUSR2, SIGUSR2, SIGALRM, SIGALRM, SIGPROF, SIGPROF, SIGUSR1,
		SIGCONT, SIGCONT, SIGSEGV, SIGBUS, SIGTRAP, SIGWINCH, SIGCHLD,
	};
	int sig = sigs[fz_below(f, ARRAY_SIZE(sigs))];
	pid_t tgid, tid = fz_victim(f, &tgid);

	if (fz_one_in(f, 32))
		sig = fz_one_in(f, 4) ? SIGKILL : SIGSTOP;
	if (tgid <= 0)
		return -ESRCH;
	if (fz_one_in(f, 8))
		return fz_call2(__NR_kill, tgid, sig);
	return fz_call3(__NR_tgkill, tgid, tid, sig);
}

/* Interrupts at any instruction, with and without a restart. */
static long fz_timer(struct fz *f)
{
	struct itimerval it = {};

	if (!fz_one_in(f, 3))
		it.it_value.tv_usec = 200 + fz_below(f, 8000);
	if (fz_one_in(f, 2))
		it.it_interval = it.it_value;
	return fz_call3(__NR_setitimer, fz_one_in(f, 2) ? ITIMER_REAL :
			ITIMER_PROF, &it, NULL);
}

static long trace(long request, pid_t tid, unsigned long addr,
		  unsigned long data)
{
	return fz_call4(__NR_ptrace, request, tid, addr, data);
}

static long poke_user(struct fz *f, pid_t tid, unsigned long at)
{
	unsigned long value = fz_value(f);

	if (at == offsetof(struct user, u_debugreg[7]) && emulated())
		value &= 0xffff;	/* all for execution */
	return trace(PTRACE_POKEUSER, tid, at, value);
}

static long trace_step(struct fz *f, pid_t tid)
{
	struct user_regs_struct regs;
	struct iovec iov = { fz_buffer(f), fz_below(f, 3000) };
	unsigned long peeked;

	switch (fz_below(f, 12)) {
	case 0:
	case 1:
		if (trace(PTRACE_GETREGS, tid, 0, (unsigned long)&regs))
			return -1;
		if (fz_one_in(f, 2))
			((unsigned long *)&regs)[fz_below(f, 27)] = fz_value(f);
		return trace(PTRACE_SETREGS, tid, 0, (unsigned long)&regs);
	case 2:
		return poke_user(f, tid, 8 * fz_below(f, 116));
	case 3:
		return trace(PTRACE_PEEKDATA, tid, fz_value(f),
			     (unsigned long)&peeked);
	case 4:
		return trace(PTRACE_POKEDATA, tid, fz_value(f), fz_value(f));
	case 5:
		return trace(fz_one_in(f, 2) ? PTRACE_GETREGSET :
			     PTRACE_SETREGSET, tid, fz_one_in(f, 2) ?
			     NT_X86_XSTATE : NT_PRSTATUS, (unsigned long)&iov);
	case 6:
	case 7:
		return trace(PTRACE_SINGLESTEP, tid, 0, 0);
	case 8:
		return trace(PTRACE_SYSCALL, tid, 0, 0);
	case 9:
		return trace(PTRACE_GET_SYSCALL_INFO, tid, iov.iov_len,
			     (unsigned long)iov.iov_base);
	case 10:
		return trace(PTRACE_SETOPTIONS, tid, 0, fz_below(f, 256));
	default:
		return trace(PTRACE_CONT, tid, 0, fz_one_in(f, 4) ? SIGUSR2 :
			     0);
	}
}

static long fz_ptrace(struct fz *f)
{
	pid_t tgid, tid = fz_victim(f, &tgid);
	int nr = fz_below(f, 12), status, i;
	long ret;

	if (tid <= 0)
		return -ESRCH;
	ret = trace(fz_one_in(f, 4) ? PTRACE_ATTACH : PTRACE_SEIZE, tid, 0, 0);
	if (ret && ret != -EPERM)
		return ret;
	trace(PTRACE_INTERRUPT, tid, 0, 0);
	while (nr--) {
		for (i = 0; i < 20; i++) {
			if (fz_call4(__NR_wait4, tid, &status,
				     WNOHANG | __WALL, NULL))
				break;
			fz_call0(__NR_sched_yield);
		}
		ret = trace_step(f, tid);
	}
	/* If it runs, this fails; it is let go with its tracer at the latest. */
	trace(PTRACE_INTERRUPT, tid, 0, 0);
	for (i = 0; i < 50; i++) {
		fz_call4(__NR_wait4, tid, &status, WNOHANG | __WALL, NULL);
		if (!trace(PTRACE_DETACH, tid, 0, 0))
			break;
		fz_call0(__NR_sched_yield);
	}
	return ret;
}

static long read_proc(struct fz *f)
{
	static const char *const paths[] = {
		"/proc/self/maps", "/proc/self/smaps", "/proc/self/numa_maps",
		"/proc/self/smaps_rollup", "/proc/self/pagemap",
		"/proc/thread-self/syscall", "/proc/self/status",
	};
	long fd, ret;

	if (fz_one_in(f, 3)) {
		fd = fz_call2(__NR_open, "/proc/self/clear_refs", O_WRONLY);
		if (fd < 0)
			return fd;
		ret = fz_call3(__NR_write, fd, fz_one_in(f, 2) ? "1" : "4", 1);
	} else {
		fd = fz_call2(__NR_open, paths[fz_below(f, ARRAY_SIZE(paths))],
			      O_RDONLY);
		if (fd < 0)
			return fd;
		ret = fz_call4(__NR_pread64, fd, fz_scratch, 8000,
			       fz_one_in(f, 2) ? 0 : fz_value(f) >> 9 & ~7UL);
	}
	fz_call1(__NR_close, fd);
	return ret;
}

static long breakpoint(struct fz *f)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT, .size = sizeof(attr),
		.sample_period = 1, .sigtrap = fz_one_in(f, 2),
		.remove_on_exec = 1, .exclude_kernel = 1, .exclude_hv = 1,
		.bp_type = fz_one_in(f, 2) || emulated() ? HW_BREAKPOINT_X :
			   HW_BREAKPOINT_RW,
		.bp_addr = fz_value(f), .bp_len = 8,
	};

	if (attr.bp_type == HW_BREAKPOINT_X)
		attr.bp_addr = fz_gate() + fz_below(f, 700);
	else
		attr.bp_addr &= ~7UL;
	return rpal_syscall(__NR_perf_event_open, (unsigned long)&attr, 0, -1,
			    -1, 0, 0);
}

static long fz_various(struct fz *f)
{
	static const unsigned int arch[] = {
		0x1001, 0x1002, 0x1003, 0x1004, 0x1011, 0x1012, 0x1023, 0x4001,
		0x4002, 0x4004, 0x5001, 0x5002, 0x5003, 0x5005,
	};
	static const int classes[] = { SCHED_OTHER, SCHED_BATCH, SCHED_IDLE };
	static const int zero;
	struct rlimit limit = { fz_value(f), RLIM_INFINITY };
	stack_t ss = { .ss_sp = fz_buffer(f), .ss_size = 20000 };
	unsigned long mask = fz_rand(f) | 1;

	switch (fz_below(f, 18)) {
	case 0:
		return fz_call2(__NR_arch_prctl, arch[fz_below(f,
				ARRAY_SIZE(arch))], fz_value(f));
	case 1:
		return fz_call3(__NR_membarrier, 1UL << fz_below(f, 10), 0, 0);
	case 2:
		return fz_call3(__NR_sched_setaffinity, 0, 8, &mask);
	case 3:
	case 4:
		return read_proc(f);
	case 5:
		return breakpoint(f);
	case 6:
		return fz_call1(__NR_close, 3 + fz_below(f, 60));
	case 7:
		return fz_call2(__NR_prctl, PR_SET_DUMPABLE, fz_below(f, 2));
	case 8:
		if (!fz_one_in(f, 8))
			return -EAGAIN;
		return fz_call2(__NR_setrlimit, fz_one_in(f, 2) ? RLIMIT_AS :
				fz_one_in(f, 2) ? RLIMIT_DATA : RLIMIT_NOFILE,
				&limit);
	case 9:
		/* Where its end will write, if it is a thread's. */
		return fz_call1(__NR_set_tid_address, fz_buffer(f));
	case 10:
		if (!fz_one_in(f, 16))
			return -EAGAIN;
		return fz_call2(__NR_sigaltstack, &ss, NULL);
	case 11:
		return fz_call4(__NR_rseq, (unsigned long)fz_buffer(f) & ~31UL,
				32, fz_below(f, 2), 0x53053053);
	case 12:
		return fz_call3(__NR_modify_ldt, 1 + 16 * fz_below(f, 2),
				fz_buffer(f), 16);
	case 13:
		return fz_call2(__NR_prctl, PR_SET_TSC, 1 + fz_below(f, 2));
	case 14:
		return fz_call1(__NR_unshare, fz_one_in(f, 2) ? CLONE_FILES :
				CLONE_FS);
	case 15:
		/* Real-time classes would starve others. */
		return fz_call3(__NR_sched_setscheduler, 0,
				classes[fz_below(f, ARRAY_SIZE(classes))],
				&zero);
	case 16:
		/* Is nobody any more that may be attached. */
		if (!fz_one_in(f, 16))
			return -EAGAIN;
		return fz_call2(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1);
	default:
		return fz_call2(__NR_set_robust_list, fz_buffer(f), 24);
	}
}

const struct fz_kind fz_task_kinds[] = {
	{ "kill", fz_kill, 6 },
	{ "timer", fz_timer, 4 },
	{ "ptrace", fz_ptrace, 3 },
	{ "various", fz_various, 11 },
	{}
};
