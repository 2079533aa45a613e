// SPDX-License-Identifier: GPL-2.0
/*
 * A receiver that is stopped or frozen: nobody runs its code meanwhile, by
 * whatever way a call comes, and no call is lost.
 *
 * To see these fail: leave the word of a receiver READY that leaves its wait for
 * a signal (stopped, group_frozen: a caller runs its code); let it sleep as
 * tasks do that are frozen where they are (frozen: the same); do not let it
 * wait for a borrower when it is to stop (all: that one goes on).
 */
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "rpal_freezer.h"
#include "rpal_test.h"

#define ROUNDS		10

static struct rpal_proc peer;

/* A call by a thread of its own, and what the receiver's code writes here. */
static struct {
	rpal_fn fn;
	pid_t tid;
	long runs, end, result;
} one;

static void *make_call(void *arg)
{
	rpal_register();
	WRITE_ONCE(one.tid, syscall(__NR_gettid));
	one.result = rpal_call(&peer, one.fn, (long)&one.runs, (long)&one.end,
			       0);
	rpal_unregister();
	return NULL;
}

static pthread_t start_call(rpal_fn fn)
{
	pthread_t thread;

	one.fn = fn;
	one.tid = 0;
	one.end = 0;
	CHECK(!pthread_create(&thread, NULL, make_call, NULL));
	return thread;
}

/* Without a system call, as all that is called here. */
static long run_once(unsigned long runs, unsigned long a2, unsigned long a3,
		     unsigned long a4)
{
	return __atomic_add_fetch((long *)runs, 1, __ATOMIC_SEQ_CST);
}

static long run_until(unsigned long runs, unsigned long end, unsigned long a3,
		      unsigned long a4)
{
	while (!READ_ONCE(*(long *)end))
		run_once(runs, 0, 0, 0);
	return 100;
}

static long runs_now(void)
{
	return __atomic_load_n(&one.runs, __ATOMIC_SEQ_CST);
}

/* Until the call waits in the kernel for the receiver, or that one has run. */
static void wait_for_call(long runs)
{
	char path[40];
	long nr;
	FILE *f;

	do {
		sched_yield();
		nr = -1;
		snprintf(path, sizeof(path), "/proc/self/task/%d/syscall",
			 READ_ONCE(one.tid));
		f = fopen(path, "r");
		if (f) {
			/* "running" is no number. */
			if (fscanf(f, "%ld", &nr) != 1)
				nr = -1;
			fclose(f);
		}
	} while (runs_now() == runs && nr != __NR_rpal_call &&
		 nr != __NR_rpal_await);
}

/*
 * What is seen is looked at when the receiver goes on: one kind of frozen tasks
 * can't be killed, and would be left behind by a test that fails.
 */
static void call_halted(void (*halt)(void), void (*go_on)(void))
{
	pthread_t thread;
	long i, runs;

	for (i = 0; i < ROUNDS; i++) {
		one.runs = 0;
		rpal_wait_ready(peer.ctl);
		halt();
		thread = start_call(run_once);
		wait_for_call(0);
		runs = runs_now();
		go_on();
		CHECK_EQ(0, runs);
		CHECK(!pthread_join(thread, NULL));
		CHECK_EQ(1, one.result);
		CHECK_EQ(1, one.runs);
		CHECK_EQ(6, rpal_call(&peer, do_add, 1, 2, 3));
		CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
	}
}

static void halt_called(void (*halt)(void), void (*go_on)(void))
{
	long i, before, after;
	pthread_t thread;

	for (i = 0; i < ROUNDS; i++) {
		one.runs = 0;
		thread = start_call(run_until);
		while (!runs_now())
			sched_yield();
		halt();
		before = runs_now();
		wait_for_call(before);
		after = runs_now();
		go_on();
		CHECK_EQ(before, after);
		while (runs_now() == after)
			sched_yield();
		WRITE_ONCE(one.end, 1);
		CHECK(!pthread_join(thread, NULL));
		CHECK_EQ(100, one.result);
	}
}

static void stop(void)
{
	int status;

	CHECK(!kill(peer.pid, SIGSTOP));
	/* All threads of it, or there would be nothing to wait for. */
	CHECK(waitpid(peer.pid, &status, WUNTRACED) == peer.pid);
	CHECK(WIFSTOPPED(status));
}

static void go_on(void)
{
	CHECK(!kill(peer.pid, SIGCONT));
}

RPAL_TEST(stopped)
{
	rpal_partner(&peer);
	call_halted(stop, go_on);
	halt_called(stop, go_on);
	rpal_end(&peer);
}

static void freeze(const struct freezer *kind)
{
	rpal_partner(&peer);
	freezer_start(kind, peer.pid);
	call_halted(freezer_freeze, freezer_thaw);
	halt_called(freezer_freeze, freezer_thaw);
	rpal_kill(&peer);
	freezer_end();
}

RPAL_TEST(frozen)
{
	freeze(&freezer_first);
}

RPAL_TEST(group_frozen)
{
	freeze(&freezer_second);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
