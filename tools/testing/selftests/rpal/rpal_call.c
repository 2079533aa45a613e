// SPDX-License-Identifier: GPL-2.0
/*
 * Calls: what goes in, what comes out, and what if nobody is there.
 *
 * To see these fail: swap two argument registers in the gate (arguments); do
 * not switch FS base (identity); take the slow path always (no_switch); give
 * a running call the receiver's PKRU alone (memory); forward faults of the
 * gate itself as signals (dead).
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "rpal_test.h"

static struct rpal_proc peer;

static void setup(void)
{
	rpal_partner(&peer);
}

static long sum(unsigned long a1, unsigned long a2, unsigned long a3,
		unsigned long a4)
{
	return a1 + 10 * a2 + 100 * a3;
}

RPAL_TEST(arguments)
{
	setup();
	CHECK_EQ(321, rpal_call(&peer, sum, 1, 2, 3));
	CHECK_EQ(0, rpal_call(&peer, sum, 0, 0, 0));
	CHECK_EQ(0x7000000000000000L, rpal_call(&peer, sum, 0x7000000000000000,
						0, 0));
}

RPAL_TEST(many)
{
	long i;

	setup();
	for (i = 0; i < 1000; i++)
		CHECK_EQ(i + 30, rpal_call(&peer, sum, i, 3, 0));
	for (i = 0; i < 100000; i++)
		CHECK_EQ(i + 500, rpal_call(&peer, sum, i, 0, 5));
}

static __thread long per_thread;
static long counter;

/* No system call: these facts come from memory and registers. */
static long whoami(unsigned long a1, unsigned long a2, unsigned long a3,
		   unsigned long a4)
{
	long *out = (long *)a1;
	long here;

	out[0] = (long)rpal_self;
	out[1] = rpal_me.slot;
	out[2] = ++per_thread;
	out[3] = ++counter;
	out[4] = (long)&here;
	return 0;
}

RPAL_TEST(identity)
{
	long out[5];
	int i;

	setup();
	for (i = 1; i < 100; i++) {
		CHECK_EQ(0, rpal_call(&peer, whoami, (long)out, 0, 0));
		CHECK_EQ(peer.ctl, (struct rpal_ctl *)out[0]);
		CHECK_EQ(peer.service.slot, out[1]);
		CHECK_EQ(i, out[2]);
		CHECK_EQ(i, out[3]);
		CHECK_EQ(peer.service.slot, out[4] >> RPAL_SLOT_SHIFT);
		CHECK_EQ(0, per_thread);
		CHECK_EQ(0, counter);
	}
}

/* The fast path takes no part in the kernel: neither side switches. */
static long switches(void)
{
	char line[200], path[60];
	long vol, sum = 0;
	int i;
	FILE *f;

	for (i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/proc/%d/task/%d/status",
			 i ? peer.pid : getpid(), i ? peer.tid : getpid());
		f = fopen(path, "r");
		CHECK(f);
		do {
			CHECK(fgets(line, sizeof(line), f));
		} while (sscanf(line, "voluntary_ctxt_switches: %ld", &vol) !=
			 1);
		fclose(f);
		sum += vol;
	}
	return sum;
}

RPAL_TEST(no_switch)
{
	long before, i;

	setup();
	for (i = 0; i < 10; i++)
		CHECK_EQ(1, rpal_call(&peer, do_add, 1, 0, 0));
	before = switches();
	for (i = 0; i < 1000; i++)
		CHECK_EQ(i, rpal_call(&peer, do_add, i, 0, 0));
	/* A few for reading the numbers; not one or two for each call. */
	CHECK(switches() - before < 100);
}

/* Reads the caller's memory and the own, writes both. */
static long both(unsigned long mine, unsigned long yours, unsigned long a3,
		 unsigned long a4)
{
	long seen = do_peek(yours, 0, 0, 0) * 1000 + do_peek(mine, 0, 0, 0);

	do_poke(yours, 8, 0, 0);
	do_poke(mine, 9, 0, 0);
	return seen;
}

RPAL_TEST(memory)
{
	unsigned long there;
	struct rpal_fault f;
	long here = 5;

	setup();
	there = rpal_mmap(&peer, RPAL_PAGE, PROT_READ | PROT_WRITE);
	rpal_run(&peer, do_poke, there, 6, 0, 0);
	CHECK_EQ(5006, rpal_call(&peer, both, there, (long)&here, 0));
	CHECK_EQ(8, here);
	CHECK_EQ(9, rpal_run(&peer, do_peek, there, 0, 0, 0));
	/* Closed again. */
	rpal_try(&f, do_peek, there, 0, 0, 0);
	CHECK_EQ(SEGV_PKUERR, f.code);
	/* A page of the receiver that is not there yet. */
	there = rpal_mmap(&peer, RPAL_PAGE, PROT_READ | PROT_WRITE);
	CHECK_EQ(8000, rpal_call(&peer, both, there, (long)&here, 0));
	CHECK_EQ(9, rpal_run(&peer, do_peek, there, 0, 0, 0));
}

/* ---- nobody there ---- */

RPAL_TEST(dead)
{
	int i;

	setup();
	CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
	rpal_kill(&peer);
	for (i = 0; i < 10; i++)
		CHECK_EQ(-EPIPE, rpal_call(&peer, do_getpid, 0, 0, 0));
}

RPAL_TEST(detached)
{
	setup();
	CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
	CHECK_EQ(0, rpal_detach(peer.fd));
	CHECK_EQ(-ENOTCONN, rpal_call(&peer, do_getpid, 0, 0, 0));
	CHECK_EQ(0, rpal_attach(peer.fd, NULL));
	CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
}

RPAL_TEST(never_attached)
{
	rpal_spawn(&peer);
	rpal_serve(&peer);
	rpal_register();
	CHECK_EQ(-ENOTCONN, rpal_call(&peer, do_getpid, 0, 0, 0));
}

RPAL_TEST(not_registered)
{
	struct rpal_ctl *ctl;

	setup();
	/* The block that the next thread to register would get. */
	ctl = peer.ctl + 7;
	CHECK_EQ(-ESRCH, rpal_gate(ctl, rpal_there(&peer, sum), 0, 0, 0));
	CHECK_EQ(321, rpal_call(&peer, sum, 1, 2, 3));
}

/* Addresses that are no control block, however near to one. */
RPAL_TEST(no_control_block)
{
	char *ctl;
	long ret;

	setup();
	ctl = (char *)peer.ctl;
	ret = rpal_gate((void *)(ctl + 8), 0, 0, 0, 0);
	CHECK(ret == -ESRCH || ret == -EINVAL);
	ret = rpal_gate((void *)(peer.service.ctl_start +
				 RPAL_CTL_PAGES * RPAL_PAGE), 0, 0, 0, 0);
	CHECK(ret == -ESRCH || ret == -EINVAL || ret == -ENOTCONN ||
	      ret == -EPIPE);
	CHECK_EQ(321, rpal_call(&peer, sum, 1, 2, 3));
}

static long do_unregister(unsigned long a1, unsigned long a2, unsigned long a3,
			  unsigned long a4)
{
	return rpal_thread(RPAL_THREAD_UNREGISTER, NULL);
}

/* A receiver that unregisters in the middle of a call can't answer it. */
RPAL_TEST(unregistered_inside)
{
	setup();
	CHECK_EQ(-EPIPE, rpal_call(&peer, do_unregister, 0, 0, 0));
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
