// SPDX-License-Identifier: GPL-2.0
/*
 * Births and deaths, a thousand times: nothing may be left of them.
 *
 * To see these fail: leave out the release of a slot or of a key, an
 * mmdrop(), the freeing of the control area or of a window's structure.
 */
#include <signal.h>
#include <sys/wait.h>

#define RPAL_TEST_TIMEOUT	3600
#include "rpal_test.h"
#include "rpal_counts.h"

#define WARM_UP		60
static int nr_rounds = 1000;

/* One pair of services, with all that services have, and its end. */
static void round_of(int nr)
{
	struct rpal_proc p, q;

	rpal_spawn(&p);
	rpal_spawn(&q);
	rpal_link(&p, &q);
	rpal_serve(&p);
	rpal_serve(&q);
	CHECK_EQ(nr + 1, rpal_call_from(&p, &q, do_add, nr, 1));
	CHECK_EQ(p.pid, rpal_call_from(&q, &p, do_getpid, 0, 0));
	switch (nr % 6) {
	case 0:
		rpal_end(&p);
		rpal_end(&q);
		break;
	case 1:
		rpal_end(&q);
		rpal_end(&p);
		break;
	case 2:
		rpal_kill(&p);
		rpal_end(&q);
		break;
	case 3:
		rpal_kill(&q);
		CHECK_EQ(-EPIPE, rpal_call_from(&p, &q, do_add, 1, 1));
		rpal_kill(&p);
		break;
	case 4:
		kill(q.pid, SIGKILL);
		kill(p.pid, SIGKILL);
		rpal_reap(&p);
		rpal_reap(&q);
		break;
	case 5:
		CHECK_EQ(0, rpal_run(&p, do_detach, rpal_give(&p, q.fd), 0, 0,
				     0));
		rpal_end(&p);
		rpal_kill(&q);
		break;
	}
}

/* Of every kind in turn, in each worker. */
static void do_rounds(int first, int end, int stride)
{
	int nr = 0;

	for (; first < end; first += stride) {
		if (nr % 50 == 0)
			fprintf(stderr, "# round %d of %d\n", first, end);
		round_of(nr++);
	}
}

static void warm_up(int first, int stride)
{
	do_rounds(first, WARM_UP, stride);
}

static void rounds(int first, int stride)
{
	do_rounds(first, nr_rounds, stride);
}

RPAL_PLAIN_TEST(leave_nothing)
{
	static struct rpal_counts before;

	nr_rounds = rpal_part_of(nr_rounds);
	rpal_divide(warm_up);
	sleep(1);
	rpal_count(&before);
	EXPECT_LE(0, before.count[0].value) {
		TH_LOG("the lists in debugfs are not there");
	}
	rpal_divide(rounds);
	/* A slot or key that is kept makes the rounds fail instead. */
	EXPECT_TRUE(rpal_counts_settle(&before, 2 * nr_rounds));
}

/*
 * More restarts of a peer than there are slots, under one service that never
 * detaches: slots come round again and meet the windows of the dead.
 */
RPAL_TEST(restarts)
{
	int i, rounds = rpal_part_of(RPAL_SLOT_LAST + 20);
	struct rpal_proc p;

	rpal_register();
	for (i = 0; i < rounds; i++) {
		rpal_spawn(&p);
		rpal_connect(&p);
		rpal_serve(&p);
		CHECK_EQ(i + 1, rpal_call(&p, do_add, i, 1, 0));
		rpal_kill(&p);
	}
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
