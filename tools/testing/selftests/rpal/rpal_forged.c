// SPDX-License-Identifier: GPL-2.0
/*
 * What a peer, or one that was a peer, writes and pretends to get what it has
 * no right to.
 *
 * To see these fail: let whoever was attached once hand over what it says is a
 * borrowed context (former_peer: its code runs as the peer), or whoever has
 * tried to attach (refused_peer); do not ask whether the peer waits still as it
 * did (peer_in_a_fault: the peer crashes; refused_in_a_used_slot), and whether
 * anybody could borrow from it (withheld: as former_peer); do not let the
 * freezer have a receiver that waits for what will not come back, or do not
 * count it among the frozen (frozen_while_wanted, group_frozen_while_wanted:
 * they wait for ever).
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "rpal_freezer.h"
#include "rpal_test.h"

#define RPAL_SLOTS	254

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

/* The same, and the end of it. */
static __attribute__((naked)) void reach_and_die(void)
{
	asm("lock incq %0\n\t"
	    "ud2"
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
		  unsigned long want)
{
	int i;

	if (!rpal_self)
		rpal_register();
	for (i = 0; i < 100; i++)
		CHECK_EQ((long)want,
			 pretend((unsigned long *)&rpal_self->saved_sp,
				 (unsigned long *)&rpal_self->claim, ctl, base,
				 ip));
	return 0;
}

static long base_of_peer(void)
{
	return rpal_run(&peer, do_peek, (unsigned long)&peer.ctl->fsbase, 0, 0,
			0);
}

/* Whatever @other says, the peer never executes what it is told. */
static void forge_in(struct rpal_proc *other, long want)
{
	unsigned long count = rpal_there(&peer, &reached);
	struct pollfd answer = { .fd = other->sock, .events = POLLIN };
	long ret;

	rpal_post(other, forge, (unsigned long)peer.ctl, base_of_peer(),
		  rpal_there(&peer, reach), want);
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
		forge_in(&other, -EFAULT);
	}
}

static long leave_groups(unsigned long a0, unsigned long a1, unsigned long a2,
			 unsigned long a3)
{
	gid_t group = 4711;

	/* The system call and not the C library: this thread alone. */
	return rpal_syscall(__NR_setgroups, 1, (unsigned long)&group, 0, 0, 0,
			    0);
}

static void *somebody_else(void *ready)
{
	rpal_register();
	CHECK_EQ(0, leave_groups(0, 0, 0, 0));
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
	forge_in(&other, -EFAULT);
}

/* Nor has a peer, when the receiver is somebody else, and lends to nobody. */
RPAL_TEST(withheld)
{
	struct rpal_proc other;

	rpal_spawn(&peer);
	rpal_serve(&peer);
	rpal_spawn(&other);
	CHECK_EQ(0, rpal_run(&other, do_attach, rpal_give(&other, peer.fd), 0,
			     0, 0));
	CHECK_EQ(0, rpal_call_from(&other, &peer, leave_groups, 0, 0));
	forge_in(&other, -ESTALE);
	CHECK_EQ(3, rpal_call_from(&other, &peer, do_add, 1, 2));
}

/* In another service: one thread that waits for something before it pretends. */
struct sleeper {
	unsigned long ctl, base, ip;
	int pipe[2], tid;
	long ret;
	pthread_t thread;
};

static struct sleeper sleeper;

static void *pretend_later(void *arg)
{
	struct sleeper *s = arg;
	char c;

	rpal_register();
	WRITE_ONCE(s->tid, syscall(__NR_gettid));
	/* Where the thread is seen last. */
	CHECK_EQ(1, rpal_syscall(__NR_read, s->pipe[0], (unsigned long)&c, 1, 0,
				 0, 0));
	s->ret = pretend((unsigned long *)&rpal_self->saved_sp,
			 (unsigned long *)&rpal_self->claim,
			 READ_ONCE(s->ctl), READ_ONCE(s->base),
			 READ_ONCE(s->ip));
	return NULL;
}

static long start_sleeper(unsigned long a0, unsigned long a1, unsigned long a2,
			  unsigned long a3)
{
	CHECK(!pipe(sleeper.pipe));
	return rpal_err(-pthread_create(&sleeper.thread, NULL, pretend_later,
					&sleeper));
}

/* Until it is in its system call, and so has been seen. */
static long await_sleep(unsigned long a0, unsigned long a1, unsigned long a2,
			unsigned long a3)
{
	char path[40], text[40];
	ssize_t n;
	int fd;

	do {
		sched_yield();
		snprintf(path, sizeof(path), "/proc/self/task/%d/syscall",
			 READ_ONCE(sleeper.tid));
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
		close(fd);
		text[n > 0 ? n : 0] = 0;
	} while (strncmp(text, "0 0x", 4));
	return 0;
}

static long wake_sleeper(unsigned long ctl, unsigned long base,
			 unsigned long ip, unsigned long a3)
{
	WRITE_ONCE(sleeper.ctl, ctl);
	WRITE_ONCE(sleeper.base, base);
	WRITE_ONCE(sleeper.ip, ip);
	CHECK_EQ(1, write(sleeper.pipe[1], "", 1));
	return 0;
}

static long join_sleeper(unsigned long a0, unsigned long a1, unsigned long a2,
			 unsigned long a3)
{
	CHECK(!pthread_join(sleeper.thread, NULL));
	return sleeper.ret;
}

/* In @other: what it says that it executes for the peer. */
static char *late_page;

static __attribute__((naked)) void touch_late_page(void)
{
	asm("mov %0, %%rax\n\t"
	    "mov (%%rax), %%rax\n"
	    "1:\n\t"
	    "pause\n\t"
	    "jmp 1b"
	    : : "m" (late_page));
}

/*
 * Nor has who pretends before it detaches, and meets a fault that takes as long
 * as it likes: the peer has come back from its wait and has waited again.
 */
RPAL_TEST(peer_in_a_fault)
{
	struct rpal_proc other;
	unsigned long page;
	long uffd, fd;

	rpal_partner(&peer);
	rpal_spawn(&other);
	fd = rpal_give(&other, peer.fd);
	CHECK_EQ(0, rpal_run(&other, do_attach, fd, 0, 0, 0));
	page = rpal_mmap(&other, RPAL_PAGE, PROT_READ | PROT_WRITE);
	uffd = rpal_run(&other, do_make_userfault, page, RPAL_PAGE, 0, 0);
	if (uffd < 0)
		rpal_skip("no userfaultfd: %s", strerror(-uffd));
	CHECK_EQ(0, rpal_run(&other, do_poke, rpal_there(&other, &late_page),
			     page, 0, 0));
	CHECK_EQ(0, rpal_run(&other, start_sleeper, 0, 0, 0, 0));
	CHECK_EQ(0, rpal_run(&other, wake_sleeper, (unsigned long)peer.ctl,
			     base_of_peer(), rpal_there(&other, touch_late_page),
			     0));
	CHECK_EQ(page, rpal_run(&other, do_wait_userfault, uffd, 0, 0, 0));
	CHECK_EQ(0, rpal_run(&other, do_detach, fd, 0, 0, 0));
	/* With a system call, so that it waits anew. */
	CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
	CHECK_EQ(0, rpal_run(&other, do_serve_userfault, uffd, page, 0, 0));
	CHECK_EQ(-ESTALE, rpal_run(&other, join_sleeper, 0, 0, 0, 0));
	CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
	rpal_end(&peer);
}

/*
 * Nor has who was inside another service, which had the slot before, and was
 * refused by the one that has it now.
 */
RPAL_TEST(refused_in_a_used_slot)
{
	struct rpal_proc other, old;
	int slot, i;
	long ret;

	if (rpal_part_of(RPAL_SLOTS) < RPAL_SLOTS)
		rpal_skip("all slots in turn take too long here");
	rpal_spawn(&old);
	rpal_spawn(&other);
	CHECK_EQ(0, rpal_run(&other, do_attach, rpal_give(&other, old.fd), 0, 0,
			     0));
	CHECK_EQ(0, rpal_run(&other, start_sleeper, 0, 0, 0, 0));
	rpal_run(&other, await_sleep, 0, 0, 0, 0);
	slot = old.service.slot;
	rpal_kill(&old);
	/* The next service gets the next slot. */
	for (i = 0; i < 4 * RPAL_SLOTS; i++) {
		rpal_spawn(&peer);
		if (peer.service.slot == slot)
			break;
		rpal_kill(&peer);
	}
	CHECK_EQ(slot, peer.service.slot);
	rpal_serve(&peer);
	CHECK_EQ(0, rpal_run(&peer, with_somebody_else, 0, 0, 0, 0));
	CHECK_EQ(-EPERM, rpal_run(&other, do_attach, rpal_give(&other, peer.fd),
				  0, 0, 0));
	CHECK_EQ(0, rpal_run(&other, wake_sleeper, (unsigned long)peer.ctl,
			     base_of_peer(), rpal_there(&peer, reach_and_die),
			     0));
	/* The other if it was interrupted, and so seen, before it got there. */
	ret = rpal_run(&other, join_sleeper, 0, 0, 0, 0);
	CHECK(ret == -ESTALE || ret == -EFAULT);
	CHECK_EQ(0, rpal_run(&peer, do_peek, rpal_there(&peer, &reached), 0, 0,
			     0));
}

static void freeze_who_waits(const struct freezer *kind)
{
	rpal_partner(&peer);
	freezer_start(kind, peer.pid);
	WRITE_ONCE(peer.ctl->word, 0);
	freezer_freeze();
	freezer_thaw();

	/* It is as lost as before, can be frozen again, and killed. */
	freezer_freeze();
	/* The first kind kills nobody who is frozen. */
	if (kind == &freezer_first)
		freezer_thaw();
	rpal_kill(&peer);
	freezer_end();
}

/*
 * The first kind of freezer, and that of a system that goes to sleep, wait for
 * sleeping tasks only if they may be frozen where they are. A word that says
 * nothing must not stop that.
 */
RPAL_TEST(frozen_while_wanted)
{
	freeze_who_waits(&freezer_first);
}

/* The second kind has tasks come out of their sleep, unless they say that they need not. */
RPAL_TEST(group_frozen_while_wanted)
{
	freeze_who_waits(&freezer_second);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
