// SPDX-License-Identifier: GPL-2.0
/*
 * Many lives of services in one boot: each starts, attaches a worker, calls
 * it, is attached and called by it, and ends in one of a dozen ways, some with
 * a context lent. Afterwards the kernel has no more of anything than before.
 *
 * rpal_lives [--lives N] [--workers N] [--seed N]
 *
 * Life n of a seed is the same each time; at which instruction a timer ends it
 * is up to the machine. A worker has one life at a time, and is the only one
 * that it attaches.
 *
 * To see this fail: leave out the release of a slot or of a key, an mmdrop(),
 * the freeing of the control area, of a window's structure or of a ticket; let
 * a borrower's death not give back what it had borrowed (a worker's receiver
 * is not there any more, and nothing goes on).
 */
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define RPAL_TEST_TIMEOUT	36000
#include "rpal_test.h"
#include "rpal_counts.h"
#include "rpal_lives.h"

#define MAX_WORKERS	16
#define WARM_UP		100	/* lives, and more, before anything is counted */
#define NEWS_SECONDS	10
#define STAGE		10000	/* lives, then the kernel is looked at */

static unsigned long seed, lives, workers = 2;
static bool seeded;

static struct lives_progress *progress;

static long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static void news(long begin)
{
	fprintf(stderr, "# lives %lu of %lu, %ld s\n", progress->done, lives,
		now() - begin);
}

/* Lives @first to @end, divided among the workers. */
static void live_all(int memory, unsigned long first, unsigned long end)
{
	static struct rpal_proc worker[MAX_WORKERS];
	long ret, begin = now(), told_at = begin;
	struct pollfd p[MAX_WORKERS];
	unsigned long i, left;

	for (i = 0; i < workers; i++) {
		/* Keys are fewer: half of the workers need none. */
		rpal_spawn_as(&worker[i], i % 2 ? RPAL_UNPROTECTED : 0);
		rpal_run(&worker[i], do_lives_prepare, seed,
			 i == workers - 1 ? LIVES_MOVE : 0, 0, 0);
		rpal_post(&worker[i], do_lives_work,
			  rpal_give(&worker[i], memory), first + i, workers,
			  end);
		p[i].fd = worker[i].sock;
		p[i].events = POLLIN;
	}
	for (left = workers; left; ) {
		if (poll(p, workers, 1000) > 0) {
			for (i = 0; i < workers; i++) {
				if (!p[i].revents)
					continue;
				if (!rpal_result(&worker[i], &ret))
					FAIL("worker %lu: status %#x", i,
					     rpal_reap(&worker[i]));
				CHECK_EQ(0, ret);
				p[i].fd = -1;
				left--;
			}
		} else if (now() - told_at >= NEWS_SECONDS) {
			told_at = now();
			news(begin);
		}
	}
	for (i = 0; i < workers; i++)
		rpal_end(&worker[i]);
	news(begin);
}

static void print_counts(void)
{
	int i;

	fprintf(stderr, "# count lives %lu\n", progress->done);
	fprintf(stderr, "# count calls_of_worker %lu\n", progress->calls_out);
	fprintf(stderr, "# count calls_of_life %lu\n", progress->calls_in);
	fprintf(stderr, "# count same_key %lu\n", progress->same_key);
	for (i = 0; i < NR_ENDS; i++)
		fprintf(stderr, "# count %s %lu\n", life_ends[i],
			progress->ended[i]);
}

RPAL_PLAIN_TEST(leave_nothing)
{
	int i, memory = memfd_create("progress", MFD_CLOEXEC);
	static struct rpal_counts before;
	unsigned long done, end;

	if (!seeded)
		seed = time(NULL);
	fprintf(stderr, "# --seed %lu --lives %lu --workers %lu\n", seed, lives,
		workers);
	ASSERT_EQ(0, ftruncate(memory, RPAL_PAGE));
	progress = mmap(NULL, RPAL_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
			memory, 0);
	ASSERT_NE(MAP_FAILED, (void *)progress);
	live_all(memory, lives, lives + WARM_UP + lives / 50);
	memset(progress, 0, RPAL_PAGE);
	sleep(1);
	rpal_count(&before);
	EXPECT_LE(0, before.count[0].value) {
		TH_LOG("the lists in debugfs are not there");
	}
	for (done = 0; done < lives; done = end) {
		end = done + STAGE < lives ? done + STAGE : lives;
		live_all(memory, done, end);
		EXPECT_EQ(end, progress->done);
		EXPECT_TRUE(rpal_counts_settle(&before, end)) {
			TH_LOG("something is left of %lu lives", end);
		}
	}
	print_counts();
	/* None is told apart by accident. */
	for (i = 0; i < NR_ENDS && lives >= 100 * NR_ENDS; i++)
		EXPECT_LT(0, progress->ended[i]) {
			TH_LOG("no life ended by %s", life_ends[i]);
		}
}

static int lives_main(int argc, char **argv)
{
	int i, kept = 1;

	lives = rpal_part_of(1000);
	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--seed") && argv[i + 1]) {
			seed = strtoul(argv[++i], NULL, 0);
			seeded = true;
		} else if (!strcmp(argv[i], "--lives") && argv[i + 1]) {
			lives = strtoul(argv[++i], NULL, 0);
		} else if (!strcmp(argv[i], "--workers") && argv[i + 1]) {
			workers = strtoul(argv[++i], NULL, 0);
		} else {
			argv[kept++] = argv[i];
		}
	}
	argv[kept] = NULL;
	if (!workers || workers > MAX_WORKERS) {
		fprintf(stderr, "--workers: 1 to %d\n", MAX_WORKERS);
		return 2;
	}
	return test_harness_run(kept, argv);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, lives_main);
}
