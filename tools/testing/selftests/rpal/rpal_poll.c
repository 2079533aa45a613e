// SPDX-License-Identifier: GPL-2.0
/*
 * Descriptors that receivers wait for, too: none of their events is lost.
 *
 * To see these fail: do not look at the descriptor before the sleep (ready
 * hangs), or not again after its change (parked hangs); report a wait without
 * an event (all: the descriptor is looked at); forget the descriptor where a
 * wait is restarted (signals); look the number up once and for all
 * (closed_in_a_call).
 */
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "rpal_test.h"
#include "rpal_loop.h"

/* ---- this process alone ---- */

RPAL_TEST(ready)
{
	int event = loop_new_event(1), pair[2], ep, outer;
	eventfd_t n;

	rpal_register();
	CHECK_EQ(0, rpal_wait_fd(RPAL_WAIT_FOREVER, event));
	CHECK(!(READ_ONCE(rpal_self->word) & RPAL_WORD_READY));
	ep = do_epoll(event, 0, 0, 0);
	outer = do_epoll(ep, 0, 0, 0);
	CHECK_EQ(0, rpal_wait_fd(RPAL_WAIT_FOREVER, ep));
	CHECK_EQ(0, rpal_wait_fd(RPAL_WAIT_FOREVER, outer));
	/* It is there, however short the time. */
	CHECK_EQ(0, rpal_wait_fd(0, outer));
	CHECK(!eventfd_read(event, &n));
	CHECK_EQ(-ETIMEDOUT, rpal_wait_fd(0, outer));
	CHECK_EQ(-ETIMEDOUT, rpal_wait_fd(20 * MSEC, ep));
	/* Writable is not what is waited for; the other side's end is. */
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	CHECK_EQ(-ETIMEDOUT, rpal_wait_fd(MSEC, pair[0]));
	CHECK(!close(pair[1]));
	CHECK_EQ(0, rpal_wait_fd(RPAL_WAIT_FOREVER, pair[0]));
	CHECK(!pipe(pair));
	CHECK(!close(pair[0]));
	CHECK_EQ(0, rpal_wait_fd(RPAL_WAIT_FOREVER, pair[1]));
	CHECK(!(READ_ONCE(rpal_self->word) & RPAL_WORD_READY));
}

/* ---- nobody calls ---- */

static void wait_parked(int depth)
{
	int event = loop_setup(depth, RPAL_WAIT_FOREVER), i;

	for (i = 0; i < 200; i++) {
		if (i % 2)
			rpal_wait_ready(loop_peer.ctl);
		loop_signal(event, 1);
		loop_until(&loop.events, i + 1);
	}
	CHECK_EQ(200, loop_seen(&loop.wakes));
	CHECK_EQ(6, rpal_call(&loop_peer, do_add, 1, 2, 3));
}

RPAL_TEST(parked)
{
	wait_parked(0);
}

RPAL_TEST(parked_epoll)
{
	wait_parked(1);
}

RPAL_TEST(parked_epoll_of_epoll)
{
	wait_parked(3);
}

/* ---- signals and time ---- */

/* In the peer: signals, by their handler. */
static long handled;

static void on_signal(int sig)
{
	handled++;
}

static long catch(unsigned long flags, unsigned long a1, unsigned long a2, unsigned long a3)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = flags };

	return rpal_err(sigaction(SIGUSR1, &sa, NULL));
}

static void get_signals(unsigned long flags)
{
	int event = loop_setup(1, RPAL_WAIT_FOREVER), i;

	CHECK_EQ(0, rpal_run(&loop_peer, catch, flags, 0, 0, 0));
	for (i = 0; i < 60; i++) {
		/* A wait that began, or one that followed an answer. */
		if (i % 2)
			CHECK_EQ(loop_peer.pid, rpal_call(&loop_peer, do_getpid, 0, 0, 0));
		rpal_wait_ready(loop_peer.ctl);
		if (i % 3 == 0)
			loop_signal(event, 1);
		CHECK(!syscall(__NR_tgkill, loop_peer.pid, loop_peer.tid, SIGUSR1));
		if (i % 3 == 1)
			loop_signal(event, 1);
		loop_until(&handled, i + 1);
		if (i % 3 == 2)
			loop_signal(event, 1);
		loop_until(&loop.events, i + 1);
	}
	CHECK_EQ(60, loop_seen(&handled));
	/* An event that is there already is told first, and once. */
	CHECK(loop_seen(&loop.wakes) <= 60);
	if (flags & SA_RESTART)
		CHECK_EQ(0, loop_seen(&loop.signals));
	else
		CHECK(loop_seen(&loop.signals) > 0);
	CHECK_EQ(6, rpal_call(&loop_peer, do_add, 1, 2, 3));
}

RPAL_TEST(signals)
{
	get_signals(0);
}

RPAL_TEST(signals_restart)
{
	get_signals(SA_RESTART);
}

RPAL_TEST(timeouts)
{
	int event = loop_setup(1, 2 * MSEC), i;

	for (i = 0; i < 30; i++) {
		loop_signal(event, 1);
		CHECK_EQ(loop_peer.pid, rpal_call(&loop_peer, do_getpid, 0, 0, 0));
		loop_until(&loop.events, i + 1);
		CHECK_EQ(6, rpal_call(&loop_peer, do_add, 1, 2, 3));
	}
	loop_until(&loop.timeouts, 3);
	CHECK(loop_seen(&loop.wakes) <= 30);
}

/* ---- descriptors that go ---- */

static long do_close(unsigned long fd, unsigned long a1, unsigned long a2, unsigned long a3)
{
	return rpal_err(close(fd));
}

/* As poll(2): the wait goes on with what was open when it began. */
RPAL_TEST(closed)
{
	int event = loop_new_event(0), theirs;

	rpal_spawn(&loop_peer);
	rpal_connect(&loop_peer);
	rpal_register();
	theirs = rpal_give(&loop_peer, event);
	/* Two descriptors of one file: one is closed, the other one read. */
	loop_start(theirs, rpal_give(&loop_peer, event), RPAL_WAIT_FOREVER);
	rpal_wait_ready(loop_peer.ctl);
	CHECK_EQ(0, rpal_run(&loop_peer, do_poke, rpal_there(&loop_peer, &loop.event), -1,
			     0, 0));
	CHECK_EQ(0, rpal_run(&loop_peer, do_close, theirs, 0, 0, 0));
	CHECK_EQ(6, rpal_call(&loop_peer, do_add, 1, 2, 3));
	CHECK_EQ(0, loop_seen(&loop.end));
	/* The loop finds POLLNVAL, and the next wait nothing at all. */
	loop_signal(event, 1);
	loop_until(&loop.wakes, 1);
	while (!loop_seen(&loop.end))
		sched_yield();
	CHECK_EQ(-EBADF, loop_seen(&loop.end));
}

static long close_inside(unsigned long fd, unsigned long a2, unsigned long a3, unsigned long a4)
{
	CHECK(!close(fd));
	return 7;
}

/* The answer comes all the same. */
RPAL_TEST(closed_in_a_call)
{
	int event = loop_setup(0, RPAL_WAIT_FOREVER);

	CHECK_EQ(7, rpal_call(&loop_peer, close_inside, loop_seen(&loop.fd), 0, 0));
	while (!loop_seen(&loop.end))
		sched_yield();
	CHECK_EQ(-EBADF, loop_seen(&loop.end));
	loop_signal(event, 1);
}

/* ---- the end ---- */

static void *call_in_vain(void *arg)
{
	rpal_register();
	CHECK_EQ(-EPIPE, rpal_call(&loop_peer, arg, 0, 0, 0));
	return NULL;
}

/* In the peer, too. */
static long inside;

static long spin(unsigned long a1, unsigned long a2, unsigned long a3, unsigned long a4)
{
	WRITE_ONCE(inside, 1);
	for (;;)
		;
}

/* What it waited for outlives it, and knows nothing of it any more. */
RPAL_TEST(killed)
{
	pthread_t thread;
	int event, i;

	rpal_register();
	for (i = 0; i < 20; i++) {
		event = loop_new_event(0);
		rpal_spawn(&loop_peer);
		rpal_connect(&loop_peer);
		loop_start(rpal_give(&loop_peer, event), -1, RPAL_WAIT_FOREVER);
		rpal_wait_ready(loop_peer.ctl);
		if (i % 2) {
			CHECK(!pthread_create(&thread, NULL, call_in_vain, spin));
			loop_until(&inside, 1);
		}
		if (i % 4 > 1)
			loop_signal(event, 1);
		rpal_kill(&loop_peer);
		loop_signal(event, 1);
		if (i % 2)
			CHECK(!pthread_join(thread, NULL));
		CHECK_EQ(-EPIPE, rpal_call(&loop_peer, do_add, 1, 2, 3));
		loop_signal(event, 1);
		CHECK(loop_readable(event));
		CHECK(!close(event));
	}
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
