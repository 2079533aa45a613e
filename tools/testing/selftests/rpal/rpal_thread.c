// SPDX-License-Identifier: GPL-2.0
/*
 * rpal_thread(2): which threads can register, and what they can't do then.
 *
 * To see these fail: take the check out that gives the number, or a system
 * call out of meaning() in rpal/meaning.rs.
 *
 * Not seen here: EFAULT for an rseq area that can't be written, since whoever
 * has one is killed by the first switch to another task; and what needs a CPU
 * with AMX or shadow stacks.
 */
#include <asm/ldt.h>
#include <asm/prctl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "rpal_test.h"

#define XTILE_DATA	18	/* number of a state component */

static struct {
	pthread_barrier_t before, after;
	int registered;
	int refused;
} many;

static void *one_of_many(void *arg)
{
	long ret = rpal_thread(0, NULL);

	if (!ret)
		__atomic_add_fetch(&many.registered, 1, __ATOMIC_RELAXED);
	else if (ret == -ENOSPC)
		__atomic_add_fetch(&many.refused, 1, __ATOMIC_RELAXED);
	else
		FAIL("rpal_thread() gave %ld", ret);
	pthread_barrier_wait(&many.before);
	pthread_barrier_wait(&many.after);
	return NULL;
}

RPAL_TEST(limit)
{
	pthread_t thread[RPAL_MAX_THREADS + 3];
	pthread_attr_t attr;
	size_t i;

	CHECK(!pthread_attr_init(&attr));
	CHECK(!pthread_attr_setstacksize(&attr, 16 * RPAL_PAGE));
	CHECK(!pthread_barrier_init(&many.before, NULL,
				    ARRAY_SIZE(thread) + 1));
	CHECK(!pthread_barrier_init(&many.after, NULL,
				    ARRAY_SIZE(thread) + 1));
	for (i = 0; i < ARRAY_SIZE(thread); i++)
		CHECK(!pthread_create(&thread[i], &attr, one_of_many, NULL));
	pthread_barrier_wait(&many.before);
	CHECK_EQ(RPAL_MAX_THREADS, many.registered);
	CHECK_EQ(3, many.refused);
	pthread_barrier_wait(&many.after);
	for (i = 0; i < ARRAY_SIZE(thread); i++)
		CHECK(!pthread_join(thread[i], NULL));
	/* The places of threads that are gone are free again. */
	CHECK_EQ(0, rpal_thread(0, NULL));
}

/*
 * Registers with another FS or GS base. With the wrong FS base no libc
 * function may be called, not even by the compiler.
 */
static __attribute__((no_stack_protector))
long thread_with(int set, unsigned long base, unsigned long old)
{
	struct rpal_thread th = {};
	long ret;

	ret = rpal_syscall(__NR_arch_prctl, set, base, 0, 0, 0, 0);
	if (!ret)
		ret = rpal_syscall(__NR_rpal_thread, (unsigned long)&th,
				   sizeof(th), 0, 0, 0, 0);
	rpal_syscall(__NR_arch_prctl, set, old, 0, 0, 0, 0);
	return ret;
}

static unsigned long own_fsbase(void)
{
	unsigned long base;

	CHECK_EQ(0, rpal_syscall(__NR_arch_prctl, ARCH_GET_FS,
				 (unsigned long)&base, 0, 0, 0, 0));
	return base;
}

RPAL_TEST(bases)
{
	unsigned long fs = own_fsbase();
	unsigned long outside = 64 * 1024 * 1024;

	CHECK(mmap((void *)outside, RPAL_PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	      (void *)outside);
	CHECK_EQ(-EINVAL, thread_with(ARCH_SET_FS, 0, fs));
	CHECK_EQ(-EINVAL, thread_with(ARCH_SET_FS, outside, fs));
	CHECK_EQ(-EINVAL, thread_with(ARCH_SET_GS, fs, 0));
	CHECK_EQ(0, rpal_thread(0, NULL));
}

static void *register_as(void *arg)
{
	unsigned long fs = own_fsbase();

	CHECK_EQ(-EBUSY, thread_with(ARCH_SET_FS, (unsigned long)arg, fs));
	CHECK_EQ(0, rpal_thread(0, NULL));
	return NULL;
}

RPAL_TEST(same_fsbase)
{
	pthread_t thread;

	CHECK_EQ(0, rpal_thread(0, NULL));
	CHECK(!pthread_create(&thread, NULL, register_as,
			      (void *)own_fsbase()));
	CHECK(!pthread_join(thread, NULL));
}

static long do_register(unsigned long a0, unsigned long a1, unsigned long a2,
			unsigned long a3)
{
	return rpal_thread(0, NULL);
}

RPAL_PLAIN_TEST(traced)
{
	struct rpal_proc p;
	int status;

	rpal_spawn(&p);
	ASSERT_EQ(0, ptrace(PTRACE_SEIZE, p.pid, 0, 0));
	EXPECT_EQ(-EBUSY, rpal_run(&p, do_register, 0, 0, 0, 0));
	ASSERT_EQ(0, ptrace(PTRACE_INTERRUPT, p.pid, 0, 0));
	ASSERT_EQ(p.pid, waitpid(p.pid, &status, 0));
	ASSERT_EQ(0, ptrace(PTRACE_DETACH, p.pid, 0, 0));
	EXPECT_EQ(0, rpal_run(&p, do_register, 0, 0, 0, 0));
	rpal_end(&p);
}

static long dispatch(unsigned long mode, const char *selector)
{
	return rpal_syscall(__NR_prctl, PR_SET_SYSCALL_USER_DISPATCH, mode, 0,
			    0, (unsigned long)selector, 0);
}

/* Threads whose contexts can't be lent, or whose calls would be no calls. */
RPAL_TEST(dispatched)
{
	static const char allow = SYSCALL_DISPATCH_FILTER_ALLOW;
	long ret = dispatch(PR_SYS_DISPATCH_ON, &allow);

	if (ret)
		rpal_skip("no user dispatch: error %ld", -ret);
	CHECK_EQ(-EOPNOTSUPP, rpal_thread(0, NULL));
	CHECK_EQ(0, dispatch(PR_SYS_DISPATCH_OFF, NULL));
	CHECK_EQ(0, rpal_thread(0, NULL));
}

RPAL_TEST(with_ports)
{
	if (ioperm(0x80, 1, 1))
		rpal_skip("no I/O ports to be had: %s", strerror(errno));
	CHECK_EQ(-EOPNOTSUPP, rpal_thread(0, NULL));
	CHECK(!ioperm(0x80, 1, 0));
	CHECK_EQ(0, rpal_thread(0, NULL));
}

/* Classes whose callers would make a receiver wait, or miss what it is for. */
RPAL_TEST(idle_class)
{
	const struct sched_param zero = {};

	CHECK(!sched_setscheduler(0, SCHED_IDLE, &zero));
	CHECK_EQ(-EOPNOTSUPP, rpal_thread(0, NULL));
	CHECK(!sched_setscheduler(0, SCHED_BATCH, &zero));
	CHECK_EQ(0, rpal_thread(0, NULL));
}

RPAL_TEST(deadline_class)
{
	const struct sched_param zero = {};
	const struct {
		unsigned int size, policy;
		unsigned long flags;
		int nice;
		unsigned int priority;
		unsigned long runtime, deadline, period;
	} deadline = {
		.size = sizeof(deadline), .policy = SCHED_DEADLINE,
		.runtime = 1000000, .deadline = 10000000, .period = 10000000,
	};

	if (syscall(__NR_sched_setattr, 0, &deadline, 0))
		rpal_skip("no SCHED_DEADLINE to be had: %s", strerror(errno));
	CHECK_EQ(-EOPNOTSUPP, rpal_thread(0, NULL));
	CHECK(!sched_setscheduler(0, SCHED_OTHER, &zero));
	CHECK_EQ(0, rpal_thread(0, NULL));
}

/* An LDT is the whole process's, and stays. */
RPAL_TEST(with_ldt)
{
	struct user_desc desc = {
		.limit = 1, .limit_in_pages = 1, .seg_32bit = 1,
	};

	if (syscall(__NR_modify_ldt, 1, &desc, sizeof(desc)))
		rpal_skip("no modify_ldt() in this kernel");
	CHECK_EQ(-EOPNOTSUPP, rpal_thread(0, NULL));
}

/* What the registration rests on can't be changed while it lasts. */
RPAL_TEST(settled)
{
	static char area[64];
	unsigned long fs = own_fsbase();
	const struct {
		long nr;
		unsigned long a0, a1, a2, a3;
	} table[] = {
		{ __NR_arch_prctl, ARCH_SET_FS, fs },
		{ __NR_arch_prctl, ARCH_SET_FS, 0 },
		{ __NR_arch_prctl, ARCH_SET_GS, 0 },
		{ __NR_arch_prctl, ARCH_SHSTK_ENABLE, ARCH_SHSTK_SHSTK },
		{ __NR_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILE_DATA },
		{ __NR_rseq, (unsigned long)area, sizeof(area), 0, 1 },
		{ __NR_rseq, 0, 0, 1, 1 },
		{ __NR_modify_ldt, 0, (unsigned long)area, sizeof(area) },
		{ __NR_prctl, PR_SET_SYSCALL_USER_DISPATCH,
		  PR_SYS_DISPATCH_OFF },
		{ __NR_ioperm, 0, 1, 1 },
		{ __NR_iopl, 3 },
	};
	size_t i;
	long ret;

	CHECK_EQ(0, rpal_thread(0, NULL));
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		ret = rpal_syscall(table[i].nr, table[i].a0, table[i].a1,
				   table[i].a2, table[i].a3, 0, 0);
		if (ret != -EBUSY)
			FAIL("line %zu: %ld", i, ret);
	}
	CHECK_EQ(0, rpal_thread(RPAL_THREAD_UNREGISTER, NULL));
	CHECK_EQ(0, rpal_syscall(__NR_arch_prctl, ARCH_SET_FS, fs, 0, 0, 0, 0));
	CHECK_EQ(0, rpal_syscall(__NR_arch_prctl, ARCH_SET_GS, 0, 0, 0, 0, 0));
}

RPAL_TEST(settled_32)
{
	/* By their numbers there. */
	static const struct {
		unsigned long nr, bx;
	} table[] = {
		{ 101, 0 },			/* ioperm */
		{ 110, 3 },			/* iopl */
		{ 123, 0 },			/* modify_ldt */
		{ 172, PR_SET_SYSCALL_USER_DISPATCH },	/* prctl */
		{ 243, 0 },			/* set_thread_area */
		{ 384, ARCH_SET_FS },		/* arch_prctl */
		{ 386, 0 },			/* rseq */
	};
	size_t i;
	long ret;

	if (!rpal_has_int80())
		rpal_skip("no system calls by int $0x80 here");
	CHECK_EQ(0, rpal_thread(0, NULL));
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		ret = do_int80(table[i].nr, table[i].bx, 0, 0);
		if (ret != -EBUSY)
			FAIL("line %zu: %ld", i, ret);
	}
	CHECK_EQ(getpid(), do_int80(INT80_GETPID, 0, 0, 0));
}

static __attribute__((no_stack_protector))
long with_fsbase(unsigned long base, unsigned long nr, unsigned long a2,
		 unsigned long a3)
{
	asm volatile("wrfsbase %0" : : "r" (base) : "memory");
	return rpal_syscall(nr, 0, 0, 0, 0, 0, 0);
}

/* And if it is changed all the same, by the instruction: an accident. */
RPAL_TEST(foreign_fsbase)
{
	unsigned long fs = own_fsbase();
	struct rpal_fault f;

	rpal_register();
	rpal_try(&f, with_fsbase, fs + 64, __NR_getpid, 0, 0);
	CHECK_EQ(SIGSEGV, f.sig);
	CHECK_EQ(fs, own_fsbase());
	rpal_try(&f, with_fsbase, fs + 64, __NR_rpal_release, 0, 0);
	CHECK_EQ(SIGSEGV, f.sig);
	CHECK_EQ(fs, own_fsbase());
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
