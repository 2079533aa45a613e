// SPDX-License-Identifier: GPL-2.0
/* This process: system calls, its facts as a service, its CPUs. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "rpal_lib.h"

struct rpal_service rpal_me;
__thread struct rpal_ctl *rpal_self;

void rpal_fail(const char *file, int line, const char *fmt, ...)
{
	char text[400];
	va_list ap;
	int n;

	/* One write, so that lines of two processes do not mix. */
	n = snprintf(text, sizeof(text), "# %s:%d: [%d] ", file, line,
		     getpid());
	va_start(ap, fmt);
	n += vsnprintf(text + n, sizeof(text) - n, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(text) - 2)
		n = sizeof(text) - 2;
	text[n++] = '\n';
	if (write(STDERR_FILENO, text, n) != n)
		_exit(2);
	_exit(1);
}

/*
 * Not syscall(3): that touches errno and so the thread's FS base, which some
 * tests take away.
 */
long rpal_syscall(long nr, unsigned long a0, unsigned long a1,
		  unsigned long a2, unsigned long a3, unsigned long a4,
		  unsigned long a5)
{
	register unsigned long r10 asm("r10") = a3;
	register unsigned long r8 asm("r8") = a4;
	register unsigned long r9 asm("r9") = a5;
	long ret;

	asm volatile("syscall"
		     : "=a" (ret)
		     : "a" (nr), "D" (a0), "S" (a1), "d" (a2), "r" (r10),
		       "r" (r8), "r" (r9)
		     : "rcx", "r11", "memory");
	return ret;
}

long rpal_arm(unsigned long flags)
{
	struct rpal_arm arm = { .flags = flags };

	return rpal_syscall(__NR_rpal_arm, (unsigned long)&arm, sizeof(arm),
			    0, 0, 0, 0);
}

long rpal_attach(int fd, struct rpal_attach *at)
{
	struct rpal_attach mine = {};

	if (!at)
		at = &mine;
	return rpal_syscall(__NR_rpal_attach, fd, (unsigned long)at,
			    sizeof(*at), 0, 0, 0);
}

long rpal_detach(int fd)
{
	return rpal_syscall(__NR_rpal_detach, fd, 0, 0, 0, 0, 0);
}

long rpal_thread(unsigned long flags, struct rpal_thread *th)
{
	struct rpal_thread mine = {};

	if (!th)
		th = &mine;
	th->flags = flags;
	return rpal_syscall(__NR_rpal_thread, (unsigned long)th, sizeof(*th),
			    0, 0, 0, 0);
}

const char *rpal_missing(void)
{
	long ret;

	if (access("/proc/sys/kernel/rpal_disabled", F_OK))
		return "this kernel has no RPAL";
	ret = rpal_arm(0);
	if (ret == -EOPNOTSUPP)
		return "this CPU has no protection keys or no FSGSBASE";
	if (ret == -EPERM)
		return "kernel.rpal_disabled is set";
	CHECK_EQ(0, ret);
	CHECK_EQ(0, rpal_arm(RPAL_ARM_DISARM));
	return NULL;
}

void rpal_register(void)
{
	struct rpal_thread th = {};

	CHECK_EQ(0, rpal_thread(0, &th));
	CHECK_EQ(rpal_me.ctl_start + th.index * RPAL_CTL_SIZE, th.ctl);
	rpal_self = (struct rpal_ctl *)th.ctl;
}

void rpal_unregister(void)
{
	CHECK_EQ(0, rpal_thread(RPAL_THREAD_UNREGISTER, NULL));
	rpal_self = NULL;
}

int rpal_cpus(void)
{
	cpu_set_t set;

	CHECK(!sched_getaffinity(getpid(), sizeof(set), &set));
	return CPU_COUNT(&set);
}

void rpal_pin(int nth)
{
	/*
	 * What the process may use was settled by its main thread, before
	 * that one pinned itself.
	 */
	static cpu_set_t all;
	cpu_set_t one;
	int cpu;

	if (!CPU_COUNT(&all))
		CHECK(!sched_getaffinity(0, sizeof(all), &all));
	nth %= CPU_COUNT(&all);
	for (cpu = 0; ; cpu++)
		if (CPU_ISSET(cpu, &all) && !nth--)
			break;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	CHECK(!sched_setaffinity(0, sizeof(one), &one));
}

void rpal_need_filters(void)
{
	if (access("/proc/sys/kernel/seccomp/actions_avail", F_OK))
		rpal_skip("no seccomp filters in this kernel");
}

long rpal_filter(int nr, int error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {
		.len = ARRAY_SIZE(filter),
		.filter = filter,
	};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return rpal_err(syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER,
				SECCOMP_FILTER_FLAG_TSYNC, &prog));
}

void rpal_debugfs(void)
{
	if (access("/sys/kernel/debug/rpal", F_OK))
		mount("none", "/sys/kernel/debug", "debugfs", 0, NULL);
}

int rpal_listed(const char *name)
{
	char path[80];
	int lines = -1;
	FILE *f;
	int c;

	snprintf(path, sizeof(path), "/sys/kernel/debug/rpal/%s", name);
	rpal_debugfs();
	f = fopen(path, "r");
	if (!f)
		return -1;
	while ((c = getc(f)) != EOF)
		lines += c == '\n';
	fclose(f);
	return lines;
}

static struct {
	rpal_fn fn;
	unsigned long a[3];
	long done;
} other;

static void *be_other(void *arg)
{
	rpal_register();
	CHECK_EQ(0, other.fn(other.a[0], other.a[1], other.a[2], 0));
	WRITE_ONCE(other.done, 1);
	for (;;)
		pause();
	return NULL;
}

long do_on_thread(unsigned long fn, unsigned long a0, unsigned long a1,
		  unsigned long a2)
{
	pthread_t thread;

	other.fn = (rpal_fn)fn;
	other.a[0] = a0;
	other.a[1] = a1;
	other.a[2] = a2;
	other.done = 0;
	CHECK(!pthread_create(&thread, NULL, be_other, NULL));
	while (!READ_ONCE(other.done))
		sched_yield();
	return 0;
}
