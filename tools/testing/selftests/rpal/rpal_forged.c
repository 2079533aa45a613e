// SPDX-License-Identifier: GPL-2.0
/*
 * What a peer, or one that was a peer, writes and pretends to get what it has
 * no right to.
 *
 * To see these fail: let whoever was attached once hand over what it says is a
 * borrowed context (former_peer: its code runs as the peer), or whoever has
 * tried to attach (refused_peer); do not let the freezer have a receiver that
 * waits for what will not come back (frozen_while_wanted: it waits for ever).
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "rpal_test.h"

static struct rpal_proc peer;

/* In the peer: what nobody has any business to make it execute. */
static long reached;

static __attribute__((naked)) void reach(void)
{
	asm("lock incq %0\n"
	    "1:\n\t"
	    "pause\n\t"
	    "jmp 1b"
	    : "+m" (reached));
}

/*
 * As the gate leaves a caller behind that runs a receiver's context at @ip:
 * long pretend(saved_sp, claim, peer's block, its FS base, ip). Comes back as
 * gate_call() does.
 */
static __attribute__((naked)) long pretend(unsigned long *saved_sp,
					   unsigned long *claim,
					   unsigned long ctl,
					   unsigned long fsbase,
					   unsigned long ip)
{
	asm("push %rbp\n\t"
	    "push %rbx\n\t"
	    "push %r12\n\t"
	    "push %r13\n\t"
	    "push %r14\n\t"
	    "push %r15\n\t"
	    "sub $8, %rsp\n\t"
	    "stmxcsr (%rsp)\n\t"
	    "fnstcw 4(%rsp)\n\t"
	    "mov %rsp, (%rdi)\n\t"
	    "mov %rdx, (%rsi)\n\t"
	    "wrfsbase %rcx\n\t"
	    "jmp *%r8");
}

static long forge(unsigned long ctl, unsigned long base, unsigned long ip,
		  unsigned long times)
{
	unsigned long i;

	if (!rpal_self)
		rpal_register();
	for (i = 0; i < times; i++)
		CHECK_EQ(-EFAULT, pretend((unsigned long *)&rpal_self->saved_sp,
					  (unsigned long *)&rpal_self->claim,
					  ctl, base, ip));
	return 0;
}

/* Whatever @other says, the peer never executes what it is told. */
static void forge_in(struct rpal_proc *other)
{
	unsigned long count = rpal_there(&peer, &reached), base;
	struct pollfd answer = { .fd = other->sock, .events = POLLIN };
	long ret;

	base = rpal_run(&peer, do_peek, (unsigned long)&peer.ctl->fsbase, 0, 0,
			0);
	rpal_post(other, forge, (unsigned long)peer.ctl, base,
		  rpal_there(&peer, reach), 100);
	do {
		CHECK_EQ(0, rpal_run(&peer, do_peek, count, 0, 0, 0));
	} while (!poll(&answer, 1, 1));
	CHECK(rpal_result(other, &ret));
	CHECK_EQ(0, ret);
	CHECK_EQ(0, rpal_run(&peer, do_peek, count, 0, 0, 0));
}

/* Who has detached has no way back, but by another attach. */
RPAL_TEST(former_peer)
{
	struct rpal_proc other;
	int fd, i;

	rpal_spawn(&peer);
	rpal_serve(&peer);
	rpal_spawn(&other);
	fd = rpal_give(&other, peer.fd);
	for (i = 0; i < 5; i++) {
		CHECK_EQ(0, rpal_run(&other, do_attach, fd, 0, 0, 0));
		CHECK_EQ(3, rpal_call_from(&other, &peer, do_add, 1, 2));
		CHECK_EQ(peer.pid, rpal_call_from(&other, &peer, do_getpid, 0,
						  0));
		CHECK_EQ(0, rpal_run(&other, do_detach, fd, 0, 0, 0));
		forge_in(&other);
	}
}

static void *somebody_else(void *ready)
{
	gid_t group = 4711;

	rpal_register();
	/* The system call and not the C library: this thread alone. */
	CHECK(!syscall(__NR_setgroups, 1, &group));
	WRITE_ONCE(*(long *)ready, 1);
	for (;;)
		pause();
	return NULL;
}

static long with_somebody_else(unsigned long a0, unsigned long a1,
			       unsigned long a2, unsigned long a3)
{
	static long ready;
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, somebody_else, &ready));
	while (!READ_ONCE(ready))
		sched_yield();
	return 0;
}

/* Nor has who was refused, for a window that has its place and was never open. */
RPAL_TEST(refused_peer)
{
	struct rpal_proc other;
	int fd;

	rpal_spawn(&peer);
	rpal_serve(&peer);
	CHECK_EQ(0, rpal_run(&peer, with_somebody_else, 0, 0, 0, 0));
	rpal_spawn(&other);
	fd = rpal_give(&other, peer.fd);
	CHECK_EQ(-EPERM, rpal_run(&other, do_attach, fd, 0, 0, 0));
	forge_in(&other);
}

static char freezer[24];

static int open_state(const char *group, const char *name, int how)
{
	char path[100];
	int fd;

	snprintf(path, sizeof(path), "%s%s/%s", freezer, group, name);
	fd = open(path, how | O_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

static void put(const char *group, const char *name, const char *text)
{
	int fd = open_state(group, name, O_WRONLY);

	CHECK_EQ(strlen(text), write(fd, text, strlen(text)));
	close(fd);
}

static void wait_for_state(const char *want)
{
	char text[40];
	ssize_t n;
	int fd;

	do {
		usleep(1000);
		fd = open_state("/rpal", "freezer.state", O_RDONLY);
		n = read(fd, text, sizeof(text) - 1);
		CHECK(n > 0);
		close(fd);
		text[n] = 0;
	} while (strncmp(text, want, strlen(want)));
}

/*
 * The first kind of freezer, and that of a system that goes to sleep, wait for
 * sleeping tasks only if they may be frozen where they are. A word that says
 * nothing must not stop that.
 */
RPAL_TEST(frozen_while_wanted)
{
	char path[100], pid[20];

	rpal_partner(&peer);
	strcpy(freezer, "/tmp/rpal-XXXXXX");
	CHECK(mkdtemp(freezer));
	if (mount("none", freezer, "cgroup", 0, "freezer")) {
		rmdir(freezer);
		rpal_skip("no freezer of the first kind here");
	}
	snprintf(path, sizeof(path), "%s/rpal", freezer);
	CHECK(!mkdir(path, 0755));
	snprintf(pid, sizeof(pid), "%d", peer.pid);
	put("/rpal", "cgroup.procs", pid);

	WRITE_ONCE(peer.ctl->word, 0);
	put("/rpal", "freezer.state", "FROZEN");
	wait_for_state("FROZEN");
	put("/rpal", "freezer.state", "THAWED");
	wait_for_state("THAWED");

	/* It is as lost as before, and can be killed. */
	rpal_kill(&peer);
	while (rmdir(path))
		CHECK_EQ(EBUSY, errno);
	CHECK(!umount(freezer));
	CHECK(!rmdir(freezer));
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
