// SPDX-License-Identifier: GPL-2.0
/*
 * System calls that a receiver's code makes inside a call are its own: its
 * process, its descriptors, its filters. The caller gets its answer all the
 * same.
 *
 * To see these fail: let __rpal_syscall_enter() return true at once (nearly
 * all: the caller's process acts); test SYSCALL_WORK_SYSCALL_RPAL after
 * seccomp (seccomp_of_*); take the line out of vsyscall_64.c
 * (vsyscall_is_the_receivers); leave out that registration ends rseq, or
 * that it writes the reset CPU number (own_cpu).
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#if __has_include("sys/rseq.h")
#include <sys/rseq.h>
#endif
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "rpal_test.h"

#define MIB	(1024 * 1024UL)

static struct rpal_proc peer;

static void setup(void)
{
	rpal_partner(&peer);
}

/* In the middle of everything, what never needs the kernel still works. */
static long call(rpal_fn fn, unsigned long a1, unsigned long a2)
{
	long ret;

	CHECK_EQ(6, rpal_call(&peer, do_add, 1, 2, 3));
	ret = rpal_call(&peer, fn, a1, a2, 0);
	CHECK_EQ(7, rpal_call(&peer, do_add, 1, 2, 4));
	return ret;
}

/* ---- system calls ---- */

static long ids(unsigned long a1, unsigned long a2, unsigned long a3,
		unsigned long a4)
{
	char path[30];
	char link[30] = "";

	/* Asked of the kernel in several ways. */
	snprintf(path, sizeof(path), "%d", getpid());
	CHECK(readlink("/proc/self", link, sizeof(link) - 1) > 0);
	CHECK(!strcmp(path, link));
	CHECK_EQ(0, kill(getpid(), 0));
	return (long)getpid() << 32 | syscall(__NR_gettid);
}

RPAL_TEST(identity)
{
	setup();
	CHECK_EQ((long)peer.pid << 32 | peer.tid, call(ids, 0, 0));
}

static int pipes[2] = { -1, -1 };

static long make_pipe(unsigned long a0, unsigned long a1, unsigned long a2,
		      unsigned long a3)
{
	return rpal_err(pipe(pipes));
}

static long through_pipe(unsigned long value, unsigned long a2,
			 unsigned long a3, unsigned long a4)
{
	unsigned long got = 0;

	if (write(pipes[1], &value, sizeof(value)) != sizeof(value))
		return -errno;
	if (read(pipes[0], &got, sizeof(got)) != sizeof(got))
		return -errno;
	return got;
}

RPAL_TEST(descriptors)
{
	int i;

	setup();
	/* The numbers that the peer's pipe has are not open here. */
	CHECK_EQ(0, rpal_run(&peer, make_pipe, 0, 0, 0, 0));
	for (i = 3; i < 100; i++)
		if (i != rpal_me.fd && i != peer.sock && i != peer.fd)
			close(i);
	for (i = 0; i < 100; i++)
		CHECK_EQ(i, call(through_pipe, i, 0));
}

/* The result of a system call and errno belong to the receiver as well. */
static long failing_call(unsigned long a1, unsigned long a2, unsigned long a3,
			 unsigned long a4)
{
	errno = 0;
	CHECK_EQ(-1, close(-1));
	return errno;
}

RPAL_TEST(errno_is_the_receivers)
{
	setup();
	errno = E2BIG;
	CHECK_EQ(EBADF, rpal_call(&peer, failing_call, 0, 0, 0));
	CHECK_EQ(E2BIG, errno);
}

static long map_and_use(unsigned long len, unsigned long a2, unsigned long a3,
			unsigned long a4)
{
	char *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	memset(p, 1, len);
	CHECK(!mprotect(p, len, PROT_READ));
	CHECK(!munmap(p, len));
	free(malloc(len / 2));
	return (long)p;
}

RPAL_TEST(memory)
{
	int i;

	setup();
	for (i = 0; i < 20; i++)
		CHECK_EQ(peer.service.slot,
			 call(map_and_use, MIB, 0) >> RPAL_SLOT_SHIFT);
}

static void *new_thread(void *arg)
{
	*(pid_t *)arg = getpid();
	return arg;
}

static long make_thread(unsigned long a1, unsigned long a2, unsigned long a3,
			unsigned long a4)
{
	pthread_t thread;
	pid_t pid = 0;
	void *ret;

	CHECK(!pthread_create(&thread, NULL, new_thread, &pid));
	CHECK(!pthread_join(thread, &ret));
	CHECK(ret == &pid);
	return pid;
}

RPAL_TEST(make_threads)
{
	int i;

	setup();
	for (i = 0; i < 20; i++)
		CHECK_EQ(peer.pid, call(make_thread, 0, 0));
}

static long make_child(unsigned long code, unsigned long a2, unsigned long a3,
		       unsigned long a4)
{
	pid_t parent = getpid();
	int status;
	pid_t pid;

	pid = fork();
	CHECK(pid >= 0);
	if (!pid)
		_exit(getppid() == parent ? code : 99);
	CHECK(waitpid(pid, &status, 0) == pid);
	return WEXITSTATUS(status);
}

static long run_shell(unsigned long code, unsigned long a2, unsigned long a3,
		      unsigned long a4)
{
	char cmd[20];

	snprintf(cmd, sizeof(cmd), "exit %ld", (long)code);
	return WEXITSTATUS(system(cmd));
}

RPAL_TEST(make_children)
{
	int i;

	setup();
	for (i = 0; i < 10; i++)
		CHECK_EQ(i, call(make_child, i, 0));
	/* posix_spawn(), with CLONE_VFORK, underneath. */
	for (i = 0; i < 3; i++)
		CHECK_EQ(i, call(run_shell, i, 0));
	/* None of them was a child of this process. */
	CHECK_EQ(0, waitpid(-1, NULL, WNOHANG));
}

static long sleep_and_poll(unsigned long ms, unsigned long a2,
			   unsigned long a3, unsigned long a4)
{
	struct timespec before, after, ts = { .tv_nsec = ms * 1000000 };

	CHECK(!clock_gettime(CLOCK_MONOTONIC, &before));
	CHECK(!clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL));
	CHECK_EQ(0, poll(NULL, 0, ms));
	CHECK(!clock_gettime(CLOCK_MONOTONIC, &after));
	return (after.tv_sec - before.tv_sec) * 1000 +
	       (after.tv_nsec - before.tv_nsec) / 1000000;
}

RPAL_TEST(sleep_inside)
{
	setup();
	CHECK(call(sleep_and_poll, 10, 0) >= 20);
}

/* The vDSO's data page is not one that a window can show. */
RPAL_TEST(vdso_clock)
{
	long before, inside, after;
	int i;

	setup();
	for (i = 0; i < 200; i++) {
		do_clock((long)&before, 0, 0, 0);
		CHECK_EQ(0, rpal_call(&peer, do_clock, (long)&inside, 0, 0));
		do_clock((long)&after, 0, 0, 0);
		CHECK(before <= inside && inside <= after);
	}
}

/* Of the system call that the tests below filter. */
#define FILTERED_ERRNO	123

static long filter(unsigned long nr, unsigned long a1, unsigned long a2,
		   unsigned long a3)
{
	return rpal_filter(nr, FILTERED_ERRNO);
}

static long raw_getppid(unsigned long a1, unsigned long a2, unsigned long a3,
			unsigned long a4)
{
	return rpal_syscall(__NR_getppid, 0, 0, 0, 0, 0, 0) + 1000;
}

/* Attached first: a filter that differs would be a reason not to attach. */
RPAL_TEST(seccomp_of_receiver)
{
	rpal_need_filters();
	setup();
	CHECK_EQ(getpid() + 1000, call(raw_getppid, 0, 0));
	CHECK_EQ(0, rpal_run(&peer, filter, __NR_getppid, 0, 0, 0));
	CHECK_EQ(1000 - FILTERED_ERRNO, call(raw_getppid, 0, 0));
	CHECK(getppid() > 0);
}

RPAL_TEST(seccomp_of_caller)
{
	rpal_need_filters();
	setup();
	CHECK_EQ(0, filter(__NR_getppid, 0, 0, 0));
	CHECK_EQ(-FILTERED_ERRNO, raw_getppid(0, 0, 0, 0) - 1000);
	/* Once: the two do not trust each other any more. */
	CHECK_EQ(getpid() + 1000, rpal_call(&peer, raw_getppid, 0, 0, 0));
	CHECK_EQ(-ENOTCONN, rpal_call(&peer, raw_getppid, 0, 0, 0));
}

/* ---- other ways into the kernel ---- */

RPAL_TEST(int80)
{
	int i;

	if (!rpal_has_int80())
		rpal_skip("no 32-bit system calls in this kernel");
	setup();
	for (i = 0; i < 20; i++)
		CHECK_EQ(peer.pid, call(do_int80, INT80_GETPID, 0));
}

static long vsyscall_time(unsigned long a1, unsigned long a2, unsigned long a3,
			  unsigned long a4)
{
	long (*vtime)(long *t) = (void *)0xffffffffff600400;

	return vtime(NULL);
}

RPAL_TEST(vsyscall)
{
	struct rpal_fault f;
	long before, inside;

	rpal_try(&f, vsyscall_time, 0, 0, 0, 0);
	if (f.sig)
		rpal_skip("no vsyscalls in this kernel");
	setup();
	before = time(NULL);
	inside = call(vsyscall_time, 0, 0);
	CHECK(inside >= before && inside <= time(NULL));
}

/* Emulated as the caller, it would go by the caller's filter. */
RPAL_TEST(vsyscall_is_the_receivers)
{
	struct rpal_fault f;

	rpal_try(&f, vsyscall_time, 0, 0, 0, 0);
	if (f.sig)
		rpal_skip("no vsyscalls in this kernel");
	rpal_need_filters();
	setup();
	CHECK_EQ(0, filter(__NR_time, 0, 0, 0));
	CHECK_EQ(-FILTERED_ERRNO, vsyscall_time(0, 0, 0, 0));
	CHECK(rpal_call(&peer, vsyscall_time, 0, 0, 0) > 0);
}

/* ---- what registration takes away, and gives back ---- */

/* What the C library had the kernel write, and the kernel writes no more. */
static bool rseq_is_reset(void)
{
#ifdef RSEQ_SIG
	const struct rseq *area;

	area = (void *)((char *)__builtin_thread_pointer() + __rseq_offset);
	return !__rseq_size ||
	       (int)READ_ONCE(area->cpu_id) == RSEQ_CPU_ID_UNINITIALIZED;
#else
	return true;
#endif
}

RPAL_TEST(own_cpu)
{
	int i;

	rpal_register();
	CHECK(rseq_is_reset());
	for (i = 0; i < 2 * rpal_cpus(); i++) {
		unsigned int cpu = -1;

		rpal_pin(i);
		CHECK(!syscall(__NR_getcpu, &cpu, NULL, NULL));
		CHECK_EQ(cpu, sched_getcpu());
		CHECK(rseq_is_reset());
	}
	rpal_unregister();
}

RPAL_TEST(kernel_waits_inside)
{
	int i;

	/* Both sides sleep and wake a lot; none may lose the other. */
	setup();
	for (i = 0; i < 500; i++)
		CHECK(call(sleep_and_poll, 0, 0) >= 0);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
