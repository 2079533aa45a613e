// SPDX-License-Identifier: GPL-2.0
/*
 * Bad arguments, each with its error number. What makes a good argument bad
 * is in rpal_attach.c and rpal_thread.c.
 *
 * To see these fail: take the check out that gives the number.
 *
 * Not seen here: what needs another machine (EOPNOTSUPP of rpal_arm(2)), or a
 * lack of memory.
 */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "rpal_test.h"

#define NOWHERE		8UL	/* an address that nothing is mapped at */

/* rpal_attach() has its structure second, behind a descriptor. */
static long sized(long nr, int fd, unsigned long addr, unsigned long size)
{
	if (nr == __NR_rpal_attach)
		return rpal_syscall(nr, fd, addr, size, 0, 0, 0);
	return rpal_syscall(nr, addr, size, 0, 0, 0, 0);
}

/* A page that can be read, with nothing but zeroes in it. */
static unsigned long read_only(void)
{
	void *p = mmap(NULL, RPAL_PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);

	CHECK(p != MAP_FAILED);
	return (unsigned long)p;
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
	/* Too small is looked for before it is read, too large as well. */
	CHECK_EQ(-EINVAL, sized(nr, fd, NOWHERE, size - 1));
	CHECK_EQ(-E2BIG, sized(nr, fd, NOWHERE, RPAL_PAGE + 1));
	CHECK_EQ(-EFAULT, sized(nr, fd, NOWHERE, size));
	CHECK_EQ(-EFAULT, sized(nr, fd, 0, size));
	for (i = size; i < size + 16; i++) {
		page[i] = 1;
		CHECK_EQ(-E2BIG, sized(nr, fd, addr, size + 16));
		page[i] = 0;
	}
	/* The last byte of the longest one. */
	page[RPAL_PAGE - 1] = 1;
	CHECK_EQ(-E2BIG, sized(nr, fd, addr, RPAL_PAGE));
}

/* A program from the future that uses nothing new. */
static long longest(long nr, int fd)
{
	static char page[RPAL_PAGE];

	memset(page, 0, sizeof(page));
	return sized(nr, fd, (unsigned long)page, sizeof(page));
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
	size_t i;

	sizes(__NR_rpal_arm, -1, RPAL_ARM_SIZE_VER0);
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		struct rpal_arm arm = table[i].arm;
		long ret = rpal_syscall(__NR_rpal_arm, (unsigned long)&arm,
					sizeof(arm), 0, 0, 0, 0);

		if (ret != -table[i].error)
			FAIL("line %zu: %ld, not %d", i, ret, -table[i].error);
	}
	CHECK_EQ(0, longest(__NR_rpal_arm, -1));
	CHECK_EQ(0, rpal_arm(RPAL_ARM_DISARM));
	/* There is nothing to be written. */
	CHECK_EQ(0, sized(__NR_rpal_arm, -1, read_only(), sizeof(table[0].arm)));
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
	int fd;

	sizes(__NR_rpal_service, -1, RPAL_SERVICE_SIZE_VER0);
	CHECK_EQ(-EINVAL, service(&s, sizeof(s)));
	s.flags = -1ULL;
	CHECK_EQ(-EINVAL, service(&s, sizeof(s)));

	s = (struct rpal_service){};
	CHECK_EQ(0, service(&s, sizeof(s)));
	CHECK_EQ(-1, s.fd);
	CHECK_EQ(rpal_me.slot, s.slot);
	CHECK_EQ(0, longest(__NR_rpal_service, -1));
	CHECK_EQ(-EFAULT, service((void *)read_only(), sizeof(s)));

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

/* Everything that only a service, or one of its threads, can do. */
static const struct {
	long nr;
	int error;	/* in a registered thread, but not from the gate */
} gate_calls[] = {
	{ __NR_rpal_wait, EPERM },
	{ __NR_rpal_call, EPERM },
	{ __NR_rpal_await, EINVAL },	/* there is no such ticket */
	{ __NR_rpal_reply, EPERM },
	{ __NR_rpal_release, 0 },	/* nothing is held, nothing dropped */
};

static void no_service_here(int fd)
{
	struct rpal_service s = {};
	size_t i;

	CHECK_EQ(-ENXIO, service(&s, sizeof(s)));
	s.flags = RPAL_SERVICE_FD;
	CHECK_EQ(-ENXIO, service(&s, sizeof(s)));
	CHECK_EQ(-ENXIO, rpal_attach(fd, NULL));
	CHECK_EQ(-ENXIO, rpal_detach(fd));
	CHECK_EQ(-ENXIO, rpal_thread(0, NULL));
	CHECK_EQ(-ENXIO, rpal_thread(RPAL_THREAD_UNREGISTER, NULL));
	/* That is looked for before the descriptor, and after the flags. */
	CHECK_EQ(-ENXIO, rpal_attach(-1, NULL));
	CHECK_EQ(-ENXIO, rpal_detach(-1));
	s.flags = -1ULL;
	CHECK_EQ(-EINVAL, service(&s, sizeof(s)));
	CHECK_EQ(-EINVAL, rpal_thread(-1ULL, NULL));
	for (i = 0; i < ARRAY_SIZE(gate_calls); i++)
		CHECK_EQ(-ENXIO, rpal_syscall(gate_calls[i].nr, 0, 0, 0, 0, 0,
					      0));
}

static void child(void (*fn)(int fd), int fd)
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (!pid) {
		fn(fd);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(0, status);
}

RPAL_PLAIN_TEST(no_service)
{
	struct rpal_proc p;

	rpal_spawn(&p);
	child(no_service_here, p.fd);
	rpal_end(&p);
}

static long jump(unsigned long addr, unsigned long a1, unsigned long a2,
		 unsigned long a3)
{
	return ((long (*)(void))addr)();
}

static void no_gate_here(int fd)
{
	struct rpal_fault f;

	no_service_here(fd);
	rpal_try(&f, jump, rpal_me.gate_call, 0, 0, 0);
	CHECK_EQ(SIGSEGV, f.sig);
	CHECK_EQ(rpal_me.gate_call, f.addr);
}

/* Of a service, and even of a registered thread. */
RPAL_TEST(forked_child)
{
	child(no_gate_here, rpal_me.fd);
	rpal_register();
	child(no_gate_here, rpal_me.fd);
	CHECK_EQ(0, rpal_thread(RPAL_THREAD_UNREGISTER, NULL));
}

RPAL_TEST(attach_args)
{
	struct rpal_proc p;

	rpal_spawn(&p);
	sizes(__NR_rpal_attach, p.fd, RPAL_ATTACH_SIZE_VER0);
	/* What can't be told has not happened. */
	CHECK_EQ(-EFAULT, sized(__NR_rpal_attach, p.fd, read_only(),
				sizeof(struct rpal_attach)));
	CHECK_EQ(-ENOTCONN, rpal_detach(p.fd));
	CHECK_EQ(0, longest(__NR_rpal_attach, p.fd));
	CHECK_EQ(0, rpal_detach(p.fd));
	rpal_end(&p);
}

static long thread_call(struct rpal_thread *th)
{
	return rpal_syscall(__NR_rpal_thread, (unsigned long)th, sizeof(*th),
			    0, 0, 0, 0);
}

RPAL_TEST(thread_args)
{
	static const struct rpal_thread bad[] = {
		{ .flags = 1ULL << 2 },
		{ .flags = 1ULL << 63 },
		{ .flags = RPAL_THREAD_UNREGISTER | RPAL_THREAD_WATCH },
		{ .reserved = 1 },
		{ .flags = RPAL_THREAD_UNREGISTER, .reserved = -1U },
		{ .flags = RPAL_THREAD_WATCH, .reserved = 1 },
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
	CHECK_EQ(-ENOENT, rpal_thread(RPAL_THREAD_WATCH, NULL));
	/* What can't be told has not happened. */
	CHECK_EQ(-EFAULT, thread_call((void *)read_only()));
	CHECK_EQ(-ENOENT, rpal_thread(RPAL_THREAD_UNREGISTER, NULL));
	CHECK_EQ(0, longest(__NR_rpal_thread, -1));
	CHECK_EQ(0, rpal_thread(RPAL_THREAD_UNREGISTER, NULL));
	CHECK_EQ(0, rpal_thread(0, &th));
	CHECK(th.index < RPAL_MAX_THREADS);
	CHECK_EQ(rpal_me.ctl_start + th.index * RPAL_CTL_SIZE, th.ctl);
	CHECK_EQ(-EEXIST, rpal_thread(0, NULL));
	CHECK_EQ(0, rpal_thread(RPAL_THREAD_WATCH, NULL));
	CHECK_EQ(0, rpal_thread(RPAL_THREAD_WATCH, NULL));
	CHECK_EQ(0, rpal_thread(RPAL_THREAD_UNREGISTER, NULL));
	CHECK_EQ(-ENOENT, rpal_thread(RPAL_THREAD_UNREGISTER, NULL));
	CHECK_EQ(0, rpal_thread(0, NULL));
}

/* The gate's own system calls, made by anything but the gate. */
RPAL_TEST(not_from_the_gate)
{
	size_t i;
	long ret;

	for (i = 0; i < ARRAY_SIZE(gate_calls); i++) {
		ret = rpal_syscall(gate_calls[i].nr, 0, 0, 0, 0, 0, 0);
		if (ret != -ENXIO)
			FAIL("%ld, not registered: %ld", gate_calls[i].nr, ret);
	}
	CHECK_EQ(0, rpal_thread(0, NULL));
	for (i = 0; i < ARRAY_SIZE(gate_calls); i++) {
		ret = rpal_syscall(gate_calls[i].nr, 0, 0, 0, 0, 0, 0);
		if (ret != -gate_calls[i].error)
			FAIL("%ld, not from the gate: %ld", gate_calls[i].nr,
			     ret);
	}
}

/* By the gate, but by a thread that has never registered, or not any more. */
RPAL_TEST(not_registered)
{
	struct rpal_proc p;

	rpal_spawn(&p);
	rpal_connect(&p);
	rpal_serve(&p);
	/* Any block will do for the gate. */
	rpal_self = (struct rpal_ctl *)rpal_me.ctl_start;
	CHECK_EQ(-ENXIO, rpal_wait(0));
	/* Never in user mode: what a claim adds to the word is still 0. */
	CHECK_EQ(-ENXIO, rpal_gate(p.ctl + 1, 0, 0, 0, 0));
	rpal_register();
	CHECK_EQ(3, rpal_call(&p, do_add, 1, 1, 1));
	CHECK_EQ(0, rpal_thread(RPAL_THREAD_UNREGISTER, NULL));
	CHECK_EQ(-ENXIO, rpal_wait(0));
	CHECK_EQ(-ENXIO, rpal_gate(p.ctl + 1, 0, 0, 0, 0));
	rpal_end(&p);
}

static long minus_five(unsigned long slow, unsigned long a2, unsigned long a3,
		       unsigned long a4)
{
	if (slow)
		rpal_syscall(__NR_getpid, 0, 0, 0, 0, 0, 0);
	return -5;
}

/* Negative results are the kernel's own, if it has to do with the call. */
RPAL_TEST(negative_results)
{
	struct rpal_proc p;
	int i;

	rpal_partner(&p);
	CHECK_EQ(-EPROTO, rpal_call(&p, minus_five, 1, 0, 0));
	/* Interrupted or not, it is one of the two. */
	for (i = 0; i < 100; i++) {
		long ret = rpal_call(&p, minus_five, 0, 0, 0);

		CHECK(ret == -5 || ret == -EPROTO);
	}
	CHECK_EQ(3, rpal_call(&p, do_add, 1, 1, 1));
	rpal_end(&p);
}

/* A wait with a limit ends by itself. */
RPAL_TEST(wait_timeout)
{
	rpal_register();
	CHECK_EQ(-ETIMEDOUT, rpal_wait(0));
	CHECK_EQ(-ETIMEDOUT, rpal_wait(1000000));
	CHECK(!(READ_ONCE(rpal_self->word) & RPAL_WORD_READY));
}

/* Its descriptor: one that is open, and can be polled. */
RPAL_TEST(wait_fd)
{
	long (*wait)(struct rpal_ctl *self, rpal_entry entry, void *cookie,
		     unsigned long timeout, unsigned long fd) =
		(void *)rpal_me.gate_wait;
	static const struct {
		int fd, error;
	} table[] = {
		{ RPAL_WAIT_NO_FD, ETIMEDOUT },
		{ -2, EBADF },
		{ INT_MIN, EBADF },
		{ INT_MAX, EBADF },
		{ 1000, EBADF },	/* not open */
		{ 1001, EBADF },	/* open for its path only */
		{ 1002, EPERM },	/* a file */
		{ 1003, EPERM },	/* a service */
		{ 1004, ETIMEDOUT },	/* an eventfd */
	};
	size_t i;
	long ret;

	CHECK(dup2(open("/", O_PATH), 1001) == 1001);
	CHECK(dup2(memfd_create("rpal", 0), 1002) == 1002);
	CHECK(dup2(rpal_me.fd, 1003) == 1003);
	CHECK(dup2(eventfd(0, 0), 1004) == 1004);
	/* That the thread is no receiver is looked for first. */
	rpal_self = (struct rpal_ctl *)rpal_me.ctl_start;
	for (i = 0; i < ARRAY_SIZE(table); i++)
		CHECK_EQ(-ENXIO, rpal_wait_fd(0, table[i].fd));
	rpal_register();
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		ret = rpal_wait_fd(0, table[i].fd);
		if (ret != -table[i].error)
			FAIL("descriptor %d: %ld, not %d", table[i].fd, ret,
			     -table[i].error);
		CHECK(!(READ_ONCE(rpal_self->word) & RPAL_WORD_READY));
	}
	/* An int, whatever is in the rest of its register. */
	CHECK_EQ(-ETIMEDOUT, wait(rpal_self, rpal_dispatch, NULL, 0,
				  0xffffffffUL));
	CHECK_EQ(-ETIMEDOUT, wait(rpal_self, rpal_dispatch, NULL, 0,
				  0x5555555500000000UL | 1004));
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
