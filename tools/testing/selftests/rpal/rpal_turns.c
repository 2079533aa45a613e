// SPDX-License-Identifier: GPL-2.0
/*
 * Calls and events at one receiver: they take turns, and neither is lost.
 *
 * To see these fail: do not look at the descriptor again after its change
 * (storm hangs); do not note the event of a lent context (lent hangs); do not
 * take the context back after a while (late hangs); let the answer wait for
 * the event, or a receiver with an event serve nobody (always_ready hangs), or
 * the event for the calls (turns).
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "rpal_test.h"
#include "rpal_loop.h"

/* ---- somebody calls, and nothing happens ---- */

static long switches(void)
{
	char line[200], path[60];
	long n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", loop_peer.pid, loop_peer.tid);
	f = fopen(path, "r");
	CHECK(f);
	do {
		CHECK(fgets(line, sizeof(line), f));
	} while (sscanf(line, "voluntary_ctxt_switches: %ld", &n) != 1);
	fclose(f);
	return n;
}

RPAL_TEST(no_switch)
{
	long before, i;

	loop_setup(1, RPAL_WAIT_FOREVER);
	rpal_wait_ready(loop_peer.ctl);
	before = switches();
	for (i = 0; i < 1000; i++)
		CHECK_EQ(i, rpal_call(&loop_peer, do_add, i, 0, 0));
	CHECK(switches() - before < 100);
	CHECK_EQ(0, loop_seen(&loop.wakes));
}

/* ---- the context is lent ---- */

/* In the peer: how many calls have come so far. */
static long inside;

/* Until its receiver has an event; no system call in here. */
static long spin_for_event(unsigned long a1, unsigned long a2, unsigned long a3,
			   unsigned long a4)
{
	unsigned long word;

	WRITE_ONCE(inside, inside + 1);
	do {
		word = READ_ONCE(rpal_self->word);
	} while (word & RPAL_WORD_LENT && !(word & RPAL_WORD_EVENT));
	return loop.events;
}

/* Until it is not lent any more: only the receiver's own wish ends this. */
static long spin_while_lent(unsigned long a1, unsigned long a2, unsigned long a3,
			    unsigned long a4)
{
	WRITE_ONCE(inside, inside + 1);
	while (READ_ONCE(rpal_self->word) & RPAL_WORD_LENT)
		;
	return loop.events;
}

static struct {
	int event;
	long inside, events;
} later;

static void *write_when_inside(void *arg)
{
	loop_until(&inside, later.inside);
	loop_signal(later.event, later.events);
	return NULL;
}

static void event_when_lent(rpal_fn fn)
{
	long i, rounds = rpal_part_of(100);
	pthread_t thread;

	later.event = loop_setup(1, RPAL_WAIT_FOREVER);
	for (i = 0; i < rounds; i++) {
		later.inside = i + 1;
		later.events = 1;
		CHECK(!pthread_create(&thread, NULL, write_when_inside, NULL));
		/* Not told before the call is over. */
		CHECK_EQ(i, rpal_call(&loop_peer, fn, 0, 0, 0));
		CHECK(!pthread_join(thread, NULL));
		/* A call that begins in the kernel must find a word of READY. */
		loop_until(&loop.events, i + 1);
		CHECK_EQ(6, rpal_call(&loop_peer, do_add, 1, 2, 3));
		rpal_wait_ready(loop_peer.ctl);
	}
	CHECK_EQ(rounds, loop_seen(&loop.wakes));
}

RPAL_TEST(lent)
{
	event_when_lent(spin_for_event);
}

RPAL_TEST(late)
{
	event_when_lent(spin_while_lent);
}

/* ---- both at once ---- */

/* In the peer: how many calls it has counted. */
static long calls;

static long count_call(unsigned long slow, unsigned long a2, unsigned long a3, unsigned long a4)
{
	calls++;
	if (slow)
		rpal_syscall(__NR_getpid, 0, 0, 0, 0, 0, 0);
	return calls;
}

#define STORMS		60
#define STORM_CALLS	150
#define STORM_CALLERS	3

static long storming;

static void *call_in_storm(void *arg)
{
	long i, last = 0, ret;

	rpal_register();
	for (i = 0; i < STORM_CALLS; i++) {
		ret = rpal_call(&loop_peer, count_call, i % 16 == (long)arg, 0, 0);
		/* The receiver counts each of them, one by one. */
		CHECK(ret > last);
		last = ret;
	}
	rpal_unregister();
	return NULL;
}

static void *write_in_storm(void *arg)
{
	unsigned int seed = later.events;
	long i;

	for (i = 0; i < 300 || READ_ONCE(storming); i++) {
		loop_signal(later.event, 1);
		__atomic_add_fetch(&later.events, 1, __ATOMIC_RELAXED);
		if (!(rand_r(&seed) % 4))
			sched_yield();
	}
	return NULL;
}

/*
 * After each storm nobody calls: an event that was lost stays lost, for no
 * release comes to the kernel.
 */
RPAL_TEST(storm)
{
	long i, n, storms = rpal_part_of(STORMS);
	pthread_t caller[STORM_CALLERS], writer;

	later.event = loop_setup(1, RPAL_WAIT_FOREVER);
	for (n = 1; n <= storms; n++) {
		WRITE_ONCE(storming, 1);
		CHECK(!pthread_create(&writer, NULL, write_in_storm, NULL));
		for (i = 0; i < STORM_CALLERS; i++)
			CHECK(!pthread_create(&caller[i], NULL, call_in_storm, (void *)i));
		for (i = 0; i < STORM_CALLERS; i++)
			CHECK(!pthread_join(caller[i], NULL));
		WRITE_ONCE(storming, 0);
		CHECK(!pthread_join(writer, NULL));
		loop_until(&loop.events, later.events);
		CHECK_EQ(later.events, loop_seen(&loop.events));
		CHECK_EQ(n * STORM_CALLERS * STORM_CALLS, loop_seen(&calls));
	}
}

/* Nobody takes the event away: the program is told again and again. */
RPAL_TEST(always_ready)
{
	int event = loop_new_event(1), i;

	rpal_spawn(&loop_peer);
	rpal_connect(&loop_peer);
	rpal_register();
	loop_start(rpal_give(&loop_peer, event), -1, RPAL_WAIT_FOREVER);
	loop_until(&loop.wakes, 100);
	for (i = 1; i <= 300; i++)
		CHECK_EQ(i, rpal_call(&loop_peer, count_call, i % 2, 0, 0));
	loop_until(&loop.wakes, loop_seen(&loop.wakes) + 100);
}

static void *call_without_end(void *slow)
{
	rpal_register();
	while (READ_ONCE(storming))
		CHECK(rpal_call(&loop_peer, count_call, (unsigned long)slow, 0, 0) > 0);
	return NULL;
}

/* Calls that follow each other without a gap: in user mode, or queued. */
static void take_turns(unsigned long slow)
{
	pthread_t caller[STORM_CALLERS];
	int event = loop_setup(1, RPAL_WAIT_FOREVER), i;
	int rounds = rpal_part_of(100);

	WRITE_ONCE(storming, 1);
	for (i = 0; i < STORM_CALLERS; i++)
		CHECK(!pthread_create(&caller[i], NULL, call_without_end, (void *)slow));
	for (i = 0; i < rounds; i++) {
		loop_signal(event, 1);
		loop_until(&loop.events, i + 1);
	}
	WRITE_ONCE(storming, 0);
	for (i = 0; i < STORM_CALLERS; i++)
		CHECK(!pthread_join(caller[i], NULL));
}

RPAL_TEST(turns)
{
	take_turns(0);
}

RPAL_TEST(turns_queued)
{
	take_turns(1);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
