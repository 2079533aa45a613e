// SPDX-License-Identifier: GPL-2.0
/*
 * Two clients of one receiver: one calls all the time, and the other wants a word,
 * too. The first one goes on until the second has had all that it wants, so that
 * a receiver that is kept waits for ever.
 *
 * To see these fail: let the release of a context forget who waits for it
 * (one_calls_on hangs), or the answer of a receiver that runs its calls itself
 * (one_is_handed_over hangs).
 */
#include <sys/syscall.h>

#include "rpal_test.h"

#define CALLS	200

/* ---- the receiver ---- */

/* Of each client, how often it was served; and is it over? */
static long served[2], over;

static long serve(unsigned long who, unsigned long slow, unsigned long last,
		  unsigned long a4)
{
	served[who]++;
	if (slow)
		syscall(__NR_getpid);
	if (last)
		over = 1;
	return over;
}

/* ---- the clients ---- */

static long call_on(unsigned long ctl, unsigned long fn, unsigned long slow,
		    unsigned long a3)
{
	long ret;

	rpal_register();
	do {
		ret = rpal_gate((void *)ctl, fn, 0, slow, 0);
	} while (!ret);
	return ret;
}

static long call_sometimes(unsigned long ctl, unsigned long fn,
			   unsigned long nr, unsigned long a3)
{
	unsigned long i;

	rpal_register();
	for (i = 1; i <= nr; i++)
		CHECK_EQ(i == nr, rpal_gate((void *)ctl, fn, 1, 0, i == nr));
	return 0;
}

static void two_clients(unsigned long slow)
{
	struct rpal_proc on, sometimes, r;
	unsigned long fn, nr = rpal_part_of(CALLS);
	long ret;

	rpal_spawn(&r);
	rpal_serve(&r);
	fn = rpal_there(&r, serve);
	rpal_spawn(&on);
	rpal_link(&on, &r);
	rpal_spawn(&sometimes);
	rpal_link(&sometimes, &r);
	rpal_post(&on, call_on, (unsigned long)r.ctl, fn, slow, 0);
	while (!rpal_run(&r, do_peek, rpal_there(&r, &served[0]), 0, 0, 0))
		sched_yield();
	CHECK_EQ(0, rpal_run(&sometimes, call_sometimes, (unsigned long)r.ctl,
			     fn, nr, 0));
	CHECK(rpal_result(&on, &ret));
	CHECK_EQ(1, ret);
	CHECK_EQ(nr, rpal_run(&r, do_peek, rpal_there(&r, &served[1]), 0, 0,
			      0));
	rpal_end(&on);
	rpal_end(&sometimes);
	rpal_end(&r);
}

RPAL_PLAIN_TEST(one_calls_on)
{
	two_clients(0);
}

RPAL_PLAIN_TEST(one_is_handed_over)
{
	two_clients(1);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
