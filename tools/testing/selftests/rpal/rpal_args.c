// SPDX-License-Identifier: GPL-2.0
/*
 * Bad arguments, each with its error number.
 *
 * To see these fail: take the check out that gives the number.
 */
#include <asm/prctl.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "rpal_test.h"

#define NOWHERE		8UL	/* an address that nothing is mapped at */

/* One more than fits, all zero, and the same with something in the rest. */
struct bigger {
	char known[128];
	char rest[128];
};

/* rpal_attach() has its structure second, behind a descriptor. */
static long sized(long nr, int fd, unsigned long addr, unsigned long size)
{
	if (nr == __NR_rpal_attach)
		return rpal_syscall(nr, fd, addr, size, 0, 0, 0);
	return rpal_syscall(nr, addr, size, 0, 0, 0, 0);
}

/*
 * The rules that every structure is read by. @size is that of the first
 * version, which is the least.
 */
static void sizes(long nr, int fd, unsigned long size)
{
	static char page[2 * RPAL_PAGE];
	unsigned long addr = (unsigned long)page;
	size_t i;

	CHECK_EQ(-EINVAL, sized(nr, fd, addr, 0));
	CHECK_EQ(-EINVAL, sized(nr, fd, addr, size - 1));
	CHECK_EQ(-E2BIG, sized(nr, fd, addr, RPAL_PAGE + 1));
	CHECK_EQ(-E2BIG, sized(nr, fd, addr, -1UL));
	CHECK_EQ(-EFAULT, sized(nr, fd, NOWHERE, size));
	CHECK_EQ(-EFAULT, sized(nr, fd, 0, size));
	for (i = size; i < size + 16; i++) {
		page[i] = 1;
		CHECK_EQ(-E2BIG, sized(nr, fd, addr, size + 16));
		page[i] = 0;
	}
}

RPAL_TEST(arm)
{
	static const struct {
		struct rpal_arm arm;
		int error;
	} table[] = {
		{ { .flags = 0 }, 0 },
		{ { .flags = RPAL_ARM_UNPROTECTED }, 0 },
		{ { .flags = RPAL_ARM_DISARM }, 0 },
		{ { .flags = 1ULL << 2 }, EINVAL },
		{ { .flags = 1ULL << 63 }, EINVAL },
		{ { .flags = -1ULL }, EINVAL },
		{ { .flags = RPAL_ARM_DISARM | RPAL_ARM_UNPROTECTED }, EINVAL },
		{ { .flags = RPAL_ARM_DISARM, .reserved = 1 }, EINVAL },
		{ { .reserved = 1 }, EINVAL },
		{ { .reserved = -1ULL }, EINVAL },
	};
	struct bigger big = {};
	size_t i;

	sizes(__NR_rpal_arm, -1, RPAL_ARM_SIZE_VER0);
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		struct rpal_arm arm = table[i].arm;
		long ret = rpal_syscall(__NR_rpal_arm, (unsigned long)&arm,
					sizeof(arm), 0, 0, 0, 0);

		if (ret != -table[i].error)
			FAIL("line %zu: %ld, not %d", i, ret, -table[i].error);
	}
	/* A program from the future that uses nothing new. */
	CHECK_EQ(0, rpal_syscall(__NR_rpal_arm, (unsigned long)&big,
				 sizeof(big), 0, 0, 0, 0));
	CHECK_EQ(0, rpal_arm(RPAL_ARM_DISARM));
}

static long service(struct rpal_service *s, size_t size)
{
	return rpal_syscall(__NR_rpal_service, (unsigned long)s, size,
			    0, 0, 0, 0);
}

RPAL_TEST(service_args)
{
	struct rpal_service s = { .flags = 1ULL << 1 };
	struct rlimit limit, none = {};
	struct bigger big = {};
	int fd;

	sizes(__NR_rpal_service, -1, RPAL_SERVICE_SIZE_VER0);
	CHECK_EQ(-EINVAL, service(&s, sizeof(s)));
	s.flags = -1ULL;
	CHECK_EQ(-EINVAL, service(&s, sizeof(s)));

	s = (struct rpal_service){};
	CHECK_EQ(0, service(&s, sizeof(s)));
	CHECK_EQ(-1, s.fd);
	CHECK_EQ(rpal_me.slot, s.slot);
	CHECK_EQ(0, service((struct rpal_service *)&big, sizeof(big)));

	s.flags = RPAL_SERVICE_FD;
	CHECK_EQ(0, service(&s, sizeof(s)));
	CHECK(s.fd >= 0 && s.fd != rpal_me.fd);
	CHECK_EQ(FD_CLOEXEC, fcntl(s.fd, F_GETFD));
	fd = s.fd;
	CHECK(!close(fd));

	/* Nothing is opened by a call that fails. */
	CHECK(!getrlimit(RLIMIT_NOFILE, &limit));
	none.rlim_max = limit.rlim_max;
	CHECK(!setrlimit(RLIMIT_NOFILE, &none));
	CHECK_EQ(-EMFILE, service(&s, sizeof(s)));
	CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
	CHECK(fcntl(fd, F_GETFD) == -1);

	/* An answer that can't be delivered leaves no descriptor behind. */
	s = (struct rpal_service){ .flags = RPAL_SERVICE_FD };
	{
		void *ro = mmap(NULL, RPAL_PAGE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		CHECK(ro != MAP_FAILED);
		memcpy(ro, &s, sizeof(s));
		CHECK(!mprotect(ro, RPAL_PAGE, PROT_READ));
		CHECK_EQ(-EFAULT, service(ro, sizeof(s)));
		CHECK(fcntl(fd, F_GETFD) == -1);
	}
}

/* Everything that only a service can do. */
RPAL_PLAIN_TEST(no_service)
{
	struct rpal_service s = {};
	struct rpal_thread th = {};
	struct rpal_proc p;

	rpal_spawn(&p);
	EXPECT_EQ(-ENXIO, service(&s, sizeof(s)));
	EXPECT_EQ(-ENXIO, rpal_attach(p.fd, NULL));
	EXPECT_EQ(-ENXIO, rpal_detach(p.fd));
	EXPECT_EQ(-ENXIO, rpal_thread(0, &th));
	EXPECT_EQ(-ENXIO, rpal_syscall(__NR_rpal_wait, 0, 0, 0, 0, 0, 0));
	rpal_end(&p);
}

RPAL_TEST(attach_args)
{
	struct rpal_attach at = { .flags = 1 };
	int pipes[2], path;
	struct rpal_proc p;

	CHECK(!pipe(pipes));
	path = open("/", O_PATH);
	CHECK(path >= 0);
	rpal_spawn(&p);
	sizes(__NR_rpal_attach, p.fd, RPAL_ATTACH_SIZE_VER0);
	CHECK_EQ(-EINVAL, rpal_attach(p.fd, &at));
	at.flags = -1ULL;
	CHECK_EQ(-EINVAL, rpal_attach(p.fd, &at));
	CHECK_EQ(-EBADF, rpal_attach(-1, NULL));
	CHECK_EQ(-EBADF, rpal_attach(1000000, NULL));
	CHECK_EQ(-EBADF, rpal_attach(pipes[0], NULL));
	CHECK_EQ(-EBADF, rpal_attach(path, NULL));
	CHECK_EQ(-EINVAL, rpal_attach(rpal_me.fd, NULL));
	/* None of the failures has attached anything. */
	CHECK_EQ(-ENOTCONN, rpal_detach(p.fd));

	at = (struct rpal_attach){};
	CHECK_EQ(0, rpal_attach(p.fd, &at));
	CHECK_EQ(p.service.slot, at.slot);
	CHECK_EQ(p.service.pkey, at.pkey);
	CHECK_EQ(p.service.slot_start, at.slot_start);
	CHECK_EQ(p.service.ctl_start, at.ctl_start);
	CHECK_EQ(-EEXIST, rpal_attach(p.fd, NULL));
	CHECK_EQ(0, rpal_detach(p.fd));
	CHECK_EQ(-ENOTCONN, rpal_detach(p.fd));
	/* As often as one likes. */
	CHECK_EQ(0, rpal_attach(p.fd, NULL));
	CHECK_EQ(0, rpal_detach(p.fd));
	rpal_end(&p);
}

RPAL_TEST(attach_dead)
{
	struct rpal_proc p;
	int fd;

	rpal_spawn(&p);
	fd = dup(p.fd);
	rpal_kill(&p);
	CHECK_EQ(-EOWNERDEAD, rpal_attach(fd, NULL));
	CHECK_EQ(-ENOTCONN, rpal_detach(fd));
}

RPAL_TEST(attach_busy)
{
	struct rpal_proc p;
	void *there;

	rpal_spawn(&p);
	there = (void *)(p.service.slot_start + RPAL_SLOT_SIZE / 2);
	CHECK(mmap(there, RPAL_PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
		   MAP_FIXED, -1, 0) == there);
	CHECK_EQ(-EBUSY, rpal_attach(p.fd, NULL));
	CHECK(!munmap(there, RPAL_PAGE));
	CHECK_EQ(0, rpal_attach(p.fd, NULL));
	rpal_end(&p);
}

/* A window counts like any mapping. */
RPAL_TEST(attach_limit)
{
	struct rlimit limit, low;
	struct rpal_proc p;

	rpal_spawn(&p);
	CHECK(!getrlimit(RLIMIT_AS, &limit));
	low = limit;
	low.rlim_cur = RPAL_SLOT_SIZE / 2;
	CHECK(!setrlimit(RLIMIT_AS, &low));
	CHECK_EQ(-ENOMEM, rpal_attach(p.fd, NULL));
	CHECK(!setrlimit(RLIMIT_AS, &limit));
	CHECK_EQ(0, rpal_attach(p.fd, NULL));
	rpal_end(&p);
}

static long set_ids(unsigned long id, unsigned long a1, unsigned long a2,
		    unsigned long a3)
{
	return rpal_err(setresgid(id, id, id)) ?:
	       rpal_err(setresuid(id, id, id)) ?:
	       rpal_err(prctl(PR_SET_DUMPABLE, 1));
}

static long set_dumpable(unsigned long on, unsigned long a1, unsigned long a2,
			 unsigned long a3)
{
	return rpal_err(prctl(PR_SET_DUMPABLE, on));
}

static long set_no_new_privs(unsigned long a0, unsigned long a1,
			     unsigned long a2, unsigned long a3)
{
	return rpal_err(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

static long set_filter(unsigned long a0, unsigned long a1, unsigned long a2,
		       unsigned long a3)
{
	return rpal_filter(__NR_uselib, ENOTTY);
}

/* Attach is refused both ways once the function has run in the peer. */
static void refused_after(rpal_fn fn, unsigned long arg)
{
	struct rpal_proc p;

	rpal_spawn(&p);
	CHECK_EQ(0, rpal_run(&p, fn, arg, 0, 0, 0));
	CHECK_EQ(-EPERM, rpal_attach(p.fd, NULL));
	CHECK_EQ(-EPERM, rpal_run(&p, do_attach,
				  rpal_give(&p, rpal_me.fd), 0, 0, 0));
	rpal_end(&p);
}

RPAL_TEST(attach_ids)
{
	if (geteuid())
		rpal_skip("needs root to change user IDs");
	refused_after(set_ids, 65534);
}

/* Of those that may not debug whom they like. */
RPAL_TEST(attach_dumpable)
{
	struct rpal_proc p;

	if (!geteuid())
		CHECK_EQ(0, set_ids(65534, 0, 0, 0));
	rpal_spawn(&p);
	CHECK_EQ(0, rpal_run(&p, set_dumpable, 0, 0, 0, 0));
	CHECK_EQ(-EPERM, rpal_attach(p.fd, NULL));
	CHECK_EQ(0, rpal_run(&p, set_dumpable, 1, 0, 0, 0));
	CHECK_EQ(0, rpal_attach(p.fd, NULL));
	rpal_end(&p);
}

RPAL_TEST(attach_no_new_privs)
{
	refused_after(set_no_new_privs, 0);
}

RPAL_TEST(attach_filter)
{
	rpal_need_filters();
	/* Both have this one, so that only the filter differs. */
	CHECK_EQ(0, set_no_new_privs(0, 0, 0, 0));
	refused_after(set_filter, 0);
}

RPAL_TEST(detach_args)
{
	int pipes[2];

	CHECK(!pipe(pipes));
	CHECK_EQ(-EBADF, rpal_detach(-1));
	CHECK_EQ(-EBADF, rpal_detach(pipes[0]));
	CHECK_EQ(-ENOTCONN, rpal_detach(rpal_me.fd));
}

static long thread_call(struct rpal_thread *th)
{
	return rpal_syscall(__NR_rpal_thread, (unsigned long)th, sizeof(*th),
			    0, 0, 0, 0);
}

RPAL_TEST(thread_args)
{
	static const struct rpal_thread bad[] = {
		{ .flags = 1ULL << 1 },
		{ .flags = 1ULL << 63 },
		{ .reserved = 1 },
		{ .flags = RPAL_THREAD_UNREGISTER, .reserved = -1U },
	};
	struct rpal_thread th = {};
	size_t i;

	sizes(__NR_rpal_thread, -1, RPAL_THREAD_SIZE_VER0);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		th = bad[i];
		CHECK_EQ(-EINVAL, thread_call(&th));
	}
	th = (struct rpal_thread){};
	CHECK_EQ(-ENOENT, rpal_thread(RPAL_THREAD_UNREGISTER, NULL));
	CHECK_EQ(0, rpal_thread(0, &th));
	CHECK(th.index < RPAL_MAX_THREADS);
	CHECK_EQ(rpal_me.ctl_start + th.index * RPAL_CTL_SIZE, th.ctl);
	CHECK_EQ(-EEXIST, rpal_thread(0, NULL));
	CHECK_EQ(0, rpal_thread(RPAL_THREAD_UNREGISTER, NULL));
	CHECK_EQ(-ENOENT, rpal_thread(RPAL_THREAD_UNREGISTER, NULL));
	CHECK_EQ(0, rpal_thread(0, NULL));
}

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

RPAL_TEST(thread_limit)
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

RPAL_TEST(thread_bases)
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

RPAL_TEST(thread_same_fsbase)
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

RPAL_PLAIN_TEST(thread_traced)
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

/* The gate's own system calls, made by anything but the gate. */
RPAL_TEST(not_from_the_gate)
{
	static const struct {
		long nr;
		int error;
	} table[] = {
		{ __NR_rpal_wait, EPERM },
		{ __NR_rpal_call, EPERM },
		{ __NR_rpal_await, EINVAL },	/* there is no such ticket */
		{ __NR_rpal_reply, EPERM },
	};
	size_t i;
	long ret;

	for (i = 0; i < ARRAY_SIZE(table); i++) {
		ret = rpal_syscall(table[i].nr, 0, 0, 0, 0, 0, 0);
		if (ret != -ENXIO)
			FAIL("%ld, not registered: %ld", table[i].nr, ret);
	}
	CHECK_EQ(0, rpal_thread(0, NULL));
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		ret = rpal_syscall(table[i].nr, 0, 0, 0, 0, 0, 0);
		if (ret != -table[i].error)
			FAIL("%ld, not from the gate: %ld", table[i].nr, ret);
	}
	/* Nothing is held, and so nothing is dropped. */
	CHECK_EQ(0, rpal_syscall(__NR_rpal_release, 0, 0, 0, 0, 0, 0));
}

/* A wait with a limit ends by itself. */
RPAL_TEST(wait_timeout)
{
	rpal_register();
	CHECK_EQ(-ETIMEDOUT, rpal_wait(0));
	CHECK_EQ(-ETIMEDOUT, rpal_wait(1000000));
	CHECK(!(READ_ONCE(rpal_self->word) & RPAL_WORD_READY));
}

/* The gate's copy: whole, none, and what it can't read or write. */
RPAL_TEST(gate_copy)
{
	char from[300], to[300];
	size_t len, i;

	for (len = 0; len <= sizeof(from); len++) {
		memset(to, 0, sizeof(to));
		for (i = 0; i < sizeof(from); i++)
			from[i] = i + 1;
		CHECK_EQ(0, rpal_gate_copy(to, from, len));
		CHECK(!memcmp(to, from, len));
		for (i = len; i < sizeof(to); i++)
			CHECK_EQ(0, to[i]);
	}
	rpal_register();
	CHECK_EQ(-EFAULT, rpal_gate_copy(to, (void *)NOWHERE, 8));
	CHECK_EQ(-EFAULT, rpal_gate_copy((void *)NOWHERE, from, 8));
	CHECK_EQ(0, rpal_gate_copy((void *)NOWHERE, from, 0));
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
