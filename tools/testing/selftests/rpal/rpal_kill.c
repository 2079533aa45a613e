// SPDX-License-Identifier: GPL-2.0
/*
 * SIGKILL to one side at a random moment of 100,000 calls, 200 times. The
 * other side lives: a caller gets -EPIPE, then and from then on; a receiver
 * serves the next caller.
 *
 * To see these fail: do not fail the tickets of a dying receiver (it hangs);
 * do not evict borrowers (a caller goes on with a dead receiver's code: use
 * the debug kernel); forget the lease of a dying caller (the next one hangs).
 *
 * The seed is printed, and taken from RPAL_SEED if that is set. It decides
 * who is killed, after how many calls, and of what kind these are.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#define RPAL_TEST_TIMEOUT	3600
#include "rpal_test.h"

#define CALLS		100000

static int nr_rounds = 200;

/* Shared by the harness's process and the callers, not by RPAL. */
struct progress {
	long calls;
};

static struct progress *progress;

static long map_progress(unsigned long fd, unsigned long a1, unsigned long a2,
			 unsigned long a3)
{
	progress = mmap(NULL, RPAL_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
			fd, 0);
	CHECK(progress != MAP_FAILED);
	return 0;
}

/* What the receiver does: mostly nothing, sometimes something slow. */
static long work(unsigned long nr, unsigned long slow, unsigned long memory,
		 unsigned long a4)
{
	if (slow)
		getpid();
	/* The caller may be dead by now: this does not fault then. */
	if (rpal_gate_copy((void *)memory, &nr, sizeof(nr)))
		return 0;
	return nr + 1;
}

/*
 * Up to @nr calls, every @slow'th with a system call in the receiver (0:
 * none). The result: 0, or the first error, which must stay.
 */
static long many_calls(unsigned long ctl, unsigned long fn, unsigned long nr,
		       unsigned long slow)
{
	unsigned long i, memory = 0;
	long ret;

	if (!rpal_self)
		rpal_register();
	for (i = 1; i <= nr; i++) {
		ret = rpal_gate((void *)ctl, fn, i, slow && i % slow == 0,
				(unsigned long)&memory);
		if (ret < 0)
			break;
		CHECK_EQ(i + 1, ret);
		CHECK_EQ(i, memory);
		WRITE_ONCE(progress->calls, i);
	}
	if (i > nr)
		return 0;
	/* The error stays; nothing else has changed for this process. */
	CHECK_EQ(ret, rpal_gate((void *)ctl, fn, 1, 0,
				(unsigned long)&memory));
	free(malloc(100000));
	CHECK(getpid() == rpal_syscall(__NR_getpid, 0, 0, 0, 0, 0, 0));
	return ret;
}

static void start_caller(struct rpal_proc *c, int fd)
{
	rpal_spawn(c);
	rpal_run(c, map_progress, rpal_give(c, fd), 0, 0, 0);
}

static void wait_progress(long calls)
{
	while (READ_ONCE(progress->calls) < calls)
		sched_yield();
}

static long call_times(struct rpal_proc *c, struct rpal_proc *r, long nr,
		       long slow)
{
	return rpal_run(c, many_calls, (unsigned long)r->ctl,
			rpal_there(r, work), nr, slow);
}

/* For all workers; each goes on from here by itself. */
static unsigned int seed;
/* Shared by them. */
static struct { int callers, receivers, late; } *killed;

static void add_one(int *count)
{
	__atomic_add_fetch(count, 1, __ATOMIC_RELAXED);
}

static void kill_at_random(int round, int stride)
{
	static const long kinds[] = { 0, 0, 3, 100 };
	int fd = memfd_create("progress", 0);
	unsigned int own = seed + round;
	struct rpal_proc c, r;
	long ret;
	int i;

	CHECK_EQ(0, ftruncate(fd, RPAL_PAGE));
	map_progress(fd, 0, 0, 0);
	rpal_spawn(&r);
	rpal_serve(&r);
	start_caller(&c, fd);
	rpal_link(&c, &r);
	for (; round < nr_rounds; round += stride) {
		long slow = kinds[rand_r(&own) % ARRAY_SIZE(kinds)];
		bool caller = rand_r(&own) % 2;
		long calls = CALLS;
		long when;

		if (round % 10 < stride)
			fprintf(stderr, "# round %d of %d\n", round, nr_rounds);
		/* The slow ones cost a hundred times as much. */
		if (slow == 3)
			calls /= 50;
		when = rand_r(&own) % (calls * 9 / 10);
		progress->calls = 0;
		rpal_post(&c, many_calls, (unsigned long)r.ctl,
			  rpal_there(&r, work), calls, slow);
		wait_progress(when);
		/* Not always at the end of a time slice. */
		for (i = rand_r(&own) % 5000; i; i--)
			asm volatile("");
		if (caller) {
			rpal_kill(&c);
			add_one(&killed->callers);
			if (progress->calls == calls)
				add_one(&killed->late);
			start_caller(&c, fd);
			rpal_link(&c, &r);
		} else {
			rpal_kill(&r);
			add_one(&killed->receivers);
			if (!rpal_result(&c, &ret))
				FAIL("round %d: the caller died", round);
			/* It may have been through with all of them. */
			if (ret == 0 && progress->calls == calls)
				add_one(&killed->late);
			else if (ret != -EPIPE)
				FAIL("round %d: %ld", round, ret);
			rpal_spawn(&r);
			rpal_serve(&r);
			rpal_link(&c, &r);
		}
		ret = call_times(&c, &r, 20, 7);
		if (ret)
			FAIL("round %d: %ld afterwards", round, ret);
	}
	rpal_end(&c);
	rpal_end(&r);
}

RPAL_PLAIN_TEST(at_random_moments)
{
	const char *given = getenv("RPAL_SEED");

	seed = given ? strtoul(given, NULL, 0) : time(NULL);
	nr_rounds = rpal_part_of(nr_rounds);
	fprintf(stderr, "# RPAL_SEED=%u\n", seed);
	killed = mmap(NULL, RPAL_PAGE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)killed);
	rpal_divide(kill_at_random);
	fprintf(stderr, "# killed %d callers and %d receivers, %d too late\n",
		killed->callers, killed->receivers, killed->late);
	EXPECT_EQ(nr_rounds, killed->callers + killed->receivers);
	EXPECT_GT(nr_rounds / 4, killed->late);
}

/* A second caller of the same receiver does not notice the first one's end. */
RPAL_PLAIN_TEST(others_are_served)
{
	int fd = memfd_create("progress", 0);
	int other_fd = memfd_create("progress", 0);
	struct rpal_proc c, other, r;
	int round, rounds = rpal_part_of(20), i;
	long ret;

	seed = time(NULL);
	fprintf(stderr, "# seed %u\n", seed);
	ASSERT_EQ(0, ftruncate(fd, RPAL_PAGE));
	ASSERT_EQ(0, ftruncate(other_fd, RPAL_PAGE));
	map_progress(fd, 0, 0, 0);
	rpal_spawn(&r);
	rpal_serve(&r);
	start_caller(&other, other_fd);
	rpal_link(&other, &r);
	for (round = 0; round < rounds; round++) {
		start_caller(&c, fd);
		rpal_link(&c, &r);
		progress->calls = 0;
		rpal_post(&other, many_calls, (unsigned long)r.ctl,
			  rpal_there(&r, work), 2000, 50);
		rpal_post(&c, many_calls, (unsigned long)r.ctl,
			  rpal_there(&r, work), CALLS, 50);
		wait_progress(rand_r(&seed) % 1000);
		for (i = rand_r(&seed) % 5000; i; i--)
			asm volatile("");
		rpal_kill(&c);
		ASSERT_TRUE(rpal_result(&other, &ret));
		if (ret == -EPIPE)
			FAIL("the receiver died: status %#x", rpal_reap(&r));
		ASSERT_EQ(0, ret);
	}
	rpal_end(&other);
	rpal_end(&r);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
