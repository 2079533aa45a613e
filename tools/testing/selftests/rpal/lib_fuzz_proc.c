// SPDX-License-Identifier: GPL-2.0
/* Hostile children and threads, their filters, and their ends. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "rpal_fuzz.h"

/* A filter that has something against one system call, on this thread. */
static long confine(struct fz *f)
{
	static const unsigned int actions[] = {
		SECCOMP_RET_ERRNO | EPERM, SECCOMP_RET_ERRNO, SECCOMP_RET_TRAP,
		SECCOMP_RET_TRACE, SECCOMP_RET_LOG, SECCOMP_RET_KILL_THREAD,
		SECCOMP_RET_KILL_PROCESS,
	};
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
			 fz_one_in(f, 4) ? __NR_getpid :
			 __NR_rpal_arm + fz_below(f, 10), 0, 1),
		BPF_STMT(BPF_RET | BPF_K,
			 actions[fz_below(f, ARRAY_SIZE(actions))]),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(filter), filter };

	if (fz_one_in(f, 16))
		return fz_call2(__NR_prctl, PR_SET_SECCOMP,
				SECCOMP_MODE_STRICT);
	fz_call2(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1);
	return fz_call3(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog);
}

static long become_another(struct fz *f)
{
	static const char *const paths[] = {
		"/proc/self/exe", "/proc/self/exe", "/nonexistent",
		"/dev/null", "/proc/self/maps",
	};
	static const char *const argv[] = { "rpal_fuzz", FZ_AGAIN, NULL };
	struct rpal_arm arm = { .flags = fz_below(f, 2) };
	const char *path = paths[fz_below(f, ARRAY_SIZE(paths))];

	if (!fz_one_in(f, 4))
		fz_call2(__NR_rpal_arm, &arm, sizeof(arm));
	return fz_call3(__NR_execve, path, argv, NULL);
}

static void child_main(void *arg)
{
	const struct itimerval it = { { 0, 50000 }, { 0, 50000 } };
	struct fz *f = arg;
	int nr = fz_below(f, 16);

	f->child = true;
	f->index = -1;
	f->registered = false;
	f->armed = 0;
	fz_call2(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL);
	fz_call3(__NR_setitimer, ITIMER_REAL, &it, NULL);
	if (fz_one_in(f, 4))
		confine(f);
	while (nr--)
		fz_step(f);
	if (fz_one_in(f, 6))
		become_another(f);
	fz_call1(__NR_exit_group, 0);
}

/* Bits of the thread's own that the kernel writes to, or reads, later on. */
static void leave_traces(struct fz *f)
{
	static struct { void *next, *offset, *pending; } head;

	if (fz_one_in(f, 2))
		fz_call1(__NR_set_tid_address, fz_buffer(f));
	if (fz_one_in(f, 2)) {
		head.next = fz_buffer(f);
		head.pending = fz_buffer(f);
		fz_call2(__NR_set_robust_list, &head, sizeof(head));
	}
	if (fz_one_in(f, 4))
		fz_call4(__NR_rseq, (unsigned long)fz_buffer(f) & ~31UL, 32, 0,
			 0x53053053);
	if (fz_one_in(f, 8))
		rpal_syscall(__NR_prctl, PR_SET_SYSCALL_USER_DISPATCH, 1,
			     RPAL_BASE, 1 << 20, (unsigned long)fz_buffer(f),
			     0);
}

static int spare_busy;

/* One more thread, or a process in the same memory, in the spare room. */
static void spare_main(void *arg)
{
	struct fz *old = arg, *f;
	unsigned long seed = old->rng;
	int role = old->role, nr;

	f = fz_init(fz_spare, seed, role, -1);
	f->child = true;
	nr = fz_below(f, 20);
	leave_traces(f);
	if (fz_one_in(f, 3))
		confine(f);
	fz_register(f);
	while (nr--)
		fz_step(f);
	fz_call1(fz_one_in(f, 64) ? __NR_exit_group : __NR_exit, 0);
}

static long fz_spawn(struct fz *f)
{
	unsigned long flags = CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD;
	void *stack = fz_scratch + FZ_SCRATCH - 64 * RPAL_PAGE;
	unsigned long seed;
	long pid;

	while (f->children > 0 &&
	       fz_call4(__NR_wait4, -1, NULL, WNOHANG | __WALL, NULL) > 0)
		f->children--;
	if (fz_one_in(f, 2)) {
		/* Two are enough; the wait ends by a nudge, if need be. */
		if (f->children > 1 &&
		    fz_call4(__NR_wait4, -1, NULL, __WALL, NULL) > 0)
			f->children--;
		seed = fz_rand(f);
		pid = fz_call0(__NR_fork);
		if (!pid) {
			f->rng = seed | 1;
			child_main(f);
		}
		f->children++;
		return pid;
	}
	if (__atomic_exchange_n(&spare_busy, 1, __ATOMIC_ACQ_REL))
		return -EAGAIN;
	switch (fz_below(f, 4)) {
	case 0:
		/* With this thread's FS base, or the spare one. */
		if (fz_one_in(f, 2))
			flags |= CLONE_SETTLS;
		if (fz_one_in(f, 2))
			flags |= CLONE_VFORK;
		f->children++;
		break;
	default:
		flags |= CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
			 CLONE_SYSVSEM | CLONE_SETTLS;
	}
	pid = fz_clone(flags, stack, spare_main, f, (unsigned long)fz_spare +
		       512, &spare_busy);
	if (pid < 0)
		spare_busy = 0;
	return pid;
}

static long fz_end(struct fz *f)
{
	switch (fz_below(f, 40)) {
	case 0:
		return fz_call1(__NR_exit_group, 0);
	case 1:
	case 2:
		return fz_call1(__NR_exit, 0);
	case 3:
		return become_another(f);
	default:
		/* An exec that fails leaves everything as it was. */
		return fz_call3(__NR_execve, "/nonexistent", NULL, NULL);
	}
}

const struct fz_kind fz_proc_kinds[] = {
	{ "spawn", fz_spawn, 3 },
	{ "end", fz_end, 1 },
	{}
};
