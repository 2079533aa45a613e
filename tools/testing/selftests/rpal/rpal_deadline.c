// SPDX-License-Identifier: GPL-2.0
/*
 * Calls that have a deadline, and receivers that do not keep it.
 *
 * To see these fail: never look at a deadline in the timer (in_user_mode hangs)
 * or in the wait for an answer (in_the_kernel, in_the_queue hang); leave the
 * ticket of a late call in the receiver's queue (in_the_queue: the call is made
 * after all); do not stop the watch (watch).
 */
#include <linux/time_types.h>
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>

#include "rpal_test.h"

#define MSEC		1000000L
#define LONG		(1000L * 60 * 60 * 1000 * MSEC)

static struct rpal_proc peer;

static long now(void)
{
	struct timespec ts;

	CHECK(!clock_gettime(CLOCK_MONOTONIC, &ts));
	return ts.tv_sec * 1000000000L + ts.tv_nsec;
}

/* As a library would do it. */
static long call_until(long deadline, rpal_fn fn, unsigned long a1,
		       unsigned long a2)
{
	struct rpal_thread th = {};
	long ret;

	/* A full barrier: the kernel clears one and then reads the other. */
	__atomic_exchange_n(&rpal_self->deadline, deadline, __ATOMIC_SEQ_CST);
	if (!READ_ONCE(rpal_self->watch))
		CHECK_EQ(0, rpal_thread(RPAL_THREAD_WATCH, &th));
	ret = rpal_call(&peer, fn, a1, a2, 0);
	WRITE_ONCE(rpal_self->deadline, 0);
	return ret;
}

/* In the receiver: what the callers look at and set. */
static struct {
	unsigned long go, calls;
} box;

static unsigned long *there(unsigned long *here)
{
	return (unsigned long *)rpal_there(&peer, here);
}

static void poke(unsigned long *here, unsigned long value)
{
	unsigned int old = pkru_open(peer.service.pkey);

	WRITE_ONCE(*there(here), value);
	wrpkru(old);
}

static unsigned long peek(unsigned long *here)
{
	unsigned int old = pkru_open(peer.service.pkey);
	unsigned long value = READ_ONCE(*there(here));

	wrpkru(old);
	return value;
}

static long spin(unsigned long a1, unsigned long a2, unsigned long a3,
		 unsigned long a4)
{
	__atomic_add_fetch(&box.calls, 1, __ATOMIC_RELAXED);
	while (!READ_ONCE(box.go))
		;
	return a1;
}

static long doze(unsigned long a1, unsigned long a2, unsigned long a3,
		 unsigned long a4)
{
	__atomic_add_fetch(&box.calls, 1, __ATOMIC_RELAXED);
	while (!READ_ONCE(box.go))
		poll(NULL, 0, 1);
	return a1;
}

static long count(unsigned long a1, unsigned long a2, unsigned long a3,
		  unsigned long a4)
{
	__atomic_add_fetch(&box.calls, 1, __ATOMIC_RELAXED);
	return a1;
}

static void again(unsigned long calls)
{
	poke(&box.go, 1);
	CHECK_EQ(7, rpal_call(&peer, do_add, 3, 4, 0));
	CHECK_EQ(calls, peek(&box.calls));
	poke(&box.go, 0);
	poke(&box.calls, 0);
}

RPAL_TEST(in_time)
{
	long i;

	rpal_partner(&peer);
	for (i = 0; i < 1000; i++)
		CHECK_EQ(i, call_until(now() + LONG, do_add, i, 0));
}

RPAL_TEST(in_user_mode)
{
	int i;

	rpal_partner(&peer);
	for (i = 1; i < 6; i++) {
		long end = now() + 20 * MSEC;

		CHECK_EQ(-ETIMEDOUT, call_until(end, spin, 5, 0));
		CHECK(now() >= end);
		again(1);
	}
}

RPAL_TEST(in_the_kernel)
{
	int i;

	rpal_partner(&peer);
	for (i = 1; i < 6; i++) {
		long end = now() + 20 * MSEC;

		CHECK_EQ(-ETIMEDOUT, call_until(end, doze, 5, 0));
		CHECK(now() >= end);
		again(1);
	}
}

/* The receiver works for a call that was given up, and the next one waits. */
RPAL_TEST(in_the_queue)
{
	rpal_partner(&peer);
	CHECK_EQ(-ETIMEDOUT, call_until(now() + 20 * MSEC, doze, 5, 0));
	CHECK_EQ(-ETIMEDOUT, call_until(now() + 20 * MSEC, count, 6, 0));
	/* A deadline that is over before the call gets to the kernel. */
	CHECK_EQ(-ETIMEDOUT, call_until(1, count, 6, 0));
	again(1);
}

/* It is on as long as it is needed, and does not have to be asked for twice. */
RPAL_TEST(watch)
{
	struct rpal_thread th = {};

	CHECK_EQ(-ENOENT, rpal_thread(RPAL_THREAD_WATCH, &th));
	rpal_partner(&peer);
	CHECK_EQ(0, rpal_self->watch);
	CHECK_EQ(0, rpal_thread(RPAL_THREAD_WATCH, &th));
	CHECK_EQ(0, rpal_thread(RPAL_THREAD_WATCH, &th));
	while (READ_ONCE(rpal_self->watch))
		sched_yield();
	WRITE_ONCE(rpal_self->deadline, now() + LONG);
	CHECK_EQ(0, rpal_thread(RPAL_THREAD_WATCH, &th));
	poll(NULL, 0, 100);
	CHECK_EQ(1, READ_ONCE(rpal_self->watch));
	/* What is nobody's deadline any more does no harm. */
	WRITE_ONCE(rpal_self->deadline, 1);
	poll(NULL, 0, 20);
	rpal_unregister();
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
