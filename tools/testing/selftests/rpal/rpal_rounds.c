// SPDX-License-Identifier: GPL-2.0
/*
 * Births and deaths, a thousand times: nothing may be left of them.
 *
 * To see these fail: leave out the release of a slot or of a key, an
 * mmdrop(), the freeing of the control area or of a window's structure.
 */
#include <glob.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#define RPAL_TEST_TIMEOUT	3600
#include "rpal_test.h"

#define WARM_UP		60
/* Of anything that a round makes one of, a round's worth is too many by far. */
#define TOLERANCE	(nr_rounds / 10)
/* A control area: pages that nothing counts. A round has two. */
#define AREA_KIB	64L

static int nr_rounds = 1000;

struct counts {
	/* A slot or key that is kept makes the next rounds fail instead. */
	int services, windows, threads;
	long page_tables;	/* KiB */
	long slab;		/* KiB, the part that can't be reclaimed */
	long stacks;		/* KiB */
	long available;		/* KiB, of whatever it is made */
	long mm, task, vma;	/* objects */
};

static long field(const char *path, const char *fmt)
{
	char line[300];
	long value = -1;
	FILE *f;

	f = fopen(path, "r");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, fmt, &value) == 1)
			break;
	fclose(f);
	return value;
}

/* Empty slabs and quarantines would count as what is in use. */
static void shrink_slabs(void)
{
	glob_t g;
	size_t i;
	FILE *f;

	if (glob("/sys/kernel/slab/*/shrink", 0, NULL, &g))
		return;
	for (i = 0; i < g.gl_pathc; i++) {
		f = fopen(g.gl_pathv[i], "w");
		if (f) {
			fputs("1", f);
			fclose(f);
		}
	}
	globfree(&g);
}

static void count(struct counts *c)
{
	shrink_slabs();
	c->services = rpal_listed("services");
	c->windows = rpal_listed("windows");
	c->threads = rpal_listed("threads");
	c->page_tables = field("/proc/meminfo", "PageTables: %ld");
	c->slab = field("/proc/meminfo", "SUnreclaim: %ld");
	c->stacks = field("/proc/meminfo", "KernelStack: %ld");
	c->available = field("/proc/meminfo", "MemAvailable: %ld");
	c->mm = field("/proc/slabinfo", "mm_struct %ld");
	c->task = field("/proc/slabinfo", "task_struct %ld");
	c->vma = field("/proc/slabinfo", "vm_area_struct %ld");
}

static void print_counts(const char *when, const struct counts *c)
{
	fprintf(stderr,
		"# %s: services %d windows %d threads %d, PageTables %ld SUnreclaim %ld KernelStack %ld MemAvailable %ld KiB, mm %ld task %ld vma %ld\n",
		when, c->services, c->windows, c->threads, c->page_tables,
		c->slab, c->stacks, c->available, c->mm, c->task, c->vma);
}

/* The kernel frees some of it later; the lists must become exact. */
static bool back_to(const struct counts *then, const struct counts *now)
{
	return now->services == then->services &&
	       now->windows == then->windows &&
	       now->threads == then->threads &&
	       now->page_tables < then->page_tables + 4 * TOLERANCE &&
	       now->slab < then->slab + 10 * TOLERANCE &&
	       now->stacks < then->stacks + 16 * TOLERANCE &&
	       now->available > then->available - AREA_KIB * nr_rounds &&
	       now->mm < then->mm + TOLERANCE &&
	       now->task < then->task + TOLERANCE &&
	       now->vma < then->vma + 5 * TOLERANCE;
}

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
	struct counts before, after;
	int i;

	nr_rounds = rpal_part_of(nr_rounds);
	rpal_divide(warm_up);
	sleep(1);
	count(&before);
	print_counts("before", &before);
	rpal_divide(rounds);
	for (i = 0; i < 600; i++) {
		count(&after);
		if (back_to(&before, &after))
			break;
		usleep(100000);
	}
	print_counts("after", &after);
	EXPECT_TRUE(back_to(&before, &after));
	EXPECT_LE(0, after.services) {
		TH_LOG("the lists in debugfs are not there");
	}
}

/*
 * More restarts of a peer than there are slots, under one service that never
 * detaches: slots come round again and meet the windows of the dead.
 */
RPAL_TEST(restarts)
{
	struct rpal_proc p;
	int i;

	rpal_register();
	for (i = 0; i < RPAL_SLOT_LAST + 20; i++) {
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
