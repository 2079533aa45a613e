// SPDX-License-Identifier: GPL-2.0
/*
 * Receivers that wait for a descriptor, too: none of its events is lost, and
 * no call.
 *
 * To see these fail: do not look at the descriptor before the sleep (ready
 * hangs), or not again after its change (parked and storm hang); do not note
 * the event of a lent context (lent hangs); do not take the context back after
 * a while (late hangs); report a wait without an event (all: the descriptor is
 * looked at); forget the descriptor where a wait is restarted (signals); let
 * the answer wait for the event, or a receiver with an event serve nobody
 * (always_ready hangs), or the event for the calls (turns); look the number up
 * once and for all (closed_in_a_call).
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "rpal_test.h"

#define MSEC		1000000UL

static struct rpal_proc peer;

/* In the peer: what its event loop knows. */
static struct {
	struct rpal_ctl *ctl;
	long fd;		/* what it waits for */
	long event;		/* the eventfd behind that, or -1: leave it */
	long timeout;
	long events;		/* the sum of what it has read */
	long wakes, signals, timeouts;
	long handled;		/* signals, by their handler */
	long end;		/* what gate_wait() gave in the end */
	long inside, calls;
} box = { .timeout = RPAL_WAIT_FOREVER };

#define there(field)	rpal_there(&peer, &box.field)

static long seen(unsigned long field)
{
	return rpal_run(&peer, do_peek, field, 0, 0, 0);
}

static void until(unsigned long field, long least)
{
	while (seen(field) < least)
		sched_yield();
}

/* Readable, now: nobody else takes anything away. */
static bool is_ready(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void take_event(void)
{
	eventfd_t n;

	CHECK(is_ready(box.fd));
	if (box.event >= 0 && !eventfd_read(box.event, &n))
		box.events += n;
	WRITE_ONCE(box.wakes, box.wakes + 1);
}

static void *event_loop(void *arg)
{
	long ret;

	rpal_register();
	peer.tid = syscall(__NR_gettid);
	WRITE_ONCE(box.ctl, rpal_self);
	for (;;) {
		ret = rpal_wait_fd(box.timeout, box.fd);
		CHECK(!(READ_ONCE(rpal_self->word) & RPAL_WORD_READY));
		if (!ret)
			take_event();
		else if (ret == -EINTR)
			box.signals++;
		else if (ret == -ETIMEDOUT)
			box.timeouts++;
		else
			break;
	}
	WRITE_ONCE(box.end, ret);
	for (;;)
		pause();
	return NULL;
}

/* For rpal_run(). */
static long start_loop(unsigned long fd, unsigned long event, unsigned long timeout,
		       unsigned long a3)
{
	pthread_t thread;

	box.fd = fd;
	box.event = event;
	box.timeout = timeout;
	CHECK(!pthread_create(&thread, NULL, event_loop, NULL));
	while (!READ_ONCE(box.ctl))
		sched_yield();
	return (long)box.ctl;
}

static long last_tid(unsigned long a0, unsigned long a1, unsigned long a2, unsigned long a3)
{
	return peer.tid;
}

/* An epoll descriptor that has that one in it. */
static long do_epoll(unsigned long fd, unsigned long a1, unsigned long a2, unsigned long a3)
{
	struct epoll_event e = { .events = EPOLLIN };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	CHECK(ep >= 0);
	CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
	return ep;
}

static int new_event(unsigned int count)
{
	int fd = eventfd(count, EFD_NONBLOCK | EFD_CLOEXEC);

	CHECK(fd >= 0);
	return fd;
}

/*
 * A peer whose only receiver waits for an eventfd, @depth epolls deep. Returns
 * this process's descriptor of it.
 */
static int setup(int depth, unsigned int count, unsigned long timeout)
{
	int event = new_event(count), theirs, fd;

	rpal_spawn(&peer);
	rpal_connect(&peer);
	rpal_register();
	theirs = rpal_give(&peer, event);
	for (fd = theirs; depth; depth--)
		fd = rpal_run(&peer, do_epoll, fd, 0, 0, 0);
	peer.ctl = (void *)rpal_run(&peer, start_loop, fd, theirs, timeout, 0);
	peer.tid = rpal_run(&peer, last_tid, 0, 0, 0, 0);
	return event;
}

static void signal_event(int event, unsigned int n)
{
	CHECK(!eventfd_write(event, n));
}

/* ---- this process alone ---- */

RPAL_TEST(ready)
{
	int event = new_event(1), pair[2], ep, outer;
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
	int event = setup(depth, 0, RPAL_WAIT_FOREVER), i;

	for (i = 0; i < 200; i++) {
		if (i % 2)
			rpal_wait_ready(peer.ctl);
		signal_event(event, 1);
		until(there(events), i + 1);
	}
	CHECK_EQ(200, seen(there(wakes)));
	CHECK_EQ(6, rpal_call(&peer, do_add, 1, 2, 3));
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

/* ---- somebody calls, and nothing happens ---- */

static long switches(void)
{
	char line[200], path[60];
	long n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", peer.pid, peer.tid);
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

	setup(1, 0, RPAL_WAIT_FOREVER);
	rpal_wait_ready(peer.ctl);
	before = switches();
	for (i = 0; i < 1000; i++)
		CHECK_EQ(i, rpal_call(&peer, do_add, i, 0, 0));
	CHECK(switches() - before < 100);
	CHECK_EQ(0, seen(there(wakes)));
}

/* ---- the context is lent ---- */

/* Until its receiver has an event; no system call in here. */
static long spin_for_event(unsigned long a1, unsigned long a2, unsigned long a3,
			   unsigned long a4)
{
	unsigned long word;

	WRITE_ONCE(box.inside, box.inside + 1);
	do {
		word = READ_ONCE(rpal_self->word);
	} while (word & RPAL_WORD_LENT && !(word & RPAL_WORD_EVENT));
	return box.events;
}

/* Until it is not lent any more: only the receiver's own wish ends this. */
static long spin_while_lent(unsigned long a1, unsigned long a2, unsigned long a3,
			    unsigned long a4)
{
	WRITE_ONCE(box.inside, box.inside + 1);
	while (READ_ONCE(rpal_self->word) & RPAL_WORD_LENT)
		;
	return box.events;
}

static struct {
	int event;
	long inside, events;
} later;

static void *write_when_inside(void *arg)
{
	until(there(inside), later.inside);
	signal_event(later.event, later.events);
	return NULL;
}

static void event_when_lent(rpal_fn fn)
{
	pthread_t thread;
	long i;

	later.event = setup(1, 0, RPAL_WAIT_FOREVER);
	for (i = 0; i < 100; i++) {
		later.inside = i + 1;
		later.events = 1;
		CHECK(!pthread_create(&thread, NULL, write_when_inside, NULL));
		/* Not told before the call is over. */
		CHECK_EQ(i, rpal_call(&peer, fn, 0, 0, 0));
		CHECK(!pthread_join(thread, NULL));
		/* A call that begins in the kernel must find a word of READY. */
		until(there(events), i + 1);
		CHECK_EQ(6, rpal_call(&peer, do_add, 1, 2, 3));
		rpal_wait_ready(peer.ctl);
	}
	CHECK_EQ(100, seen(there(wakes)));
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

static long count_call(unsigned long slow, unsigned long a2, unsigned long a3, unsigned long a4)
{
	box.calls++;
	if (slow)
		rpal_syscall(__NR_getpid, 0, 0, 0, 0, 0, 0);
	return box.calls;
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
		ret = rpal_call(&peer, count_call, i % 16 == (long)arg, 0, 0);
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
		signal_event(later.event, 1);
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
	pthread_t caller[STORM_CALLERS], writer;
	long i, n;

	later.event = setup(1, 0, RPAL_WAIT_FOREVER);
	for (n = 1; n <= STORMS; n++) {
		WRITE_ONCE(storming, 1);
		CHECK(!pthread_create(&writer, NULL, write_in_storm, NULL));
		for (i = 0; i < STORM_CALLERS; i++)
			CHECK(!pthread_create(&caller[i], NULL, call_in_storm, (void *)i));
		for (i = 0; i < STORM_CALLERS; i++)
			CHECK(!pthread_join(caller[i], NULL));
		WRITE_ONCE(storming, 0);
		CHECK(!pthread_join(writer, NULL));
		until(there(events), later.events);
		CHECK_EQ(later.events, seen(there(events)));
		CHECK_EQ(n * STORM_CALLERS * STORM_CALLS, seen(there(calls)));
	}
}

/* Nobody takes the event away: the program is told again and again. */
RPAL_TEST(always_ready)
{
	int event = new_event(1), i;

	rpal_spawn(&peer);
	rpal_connect(&peer);
	rpal_register();
	peer.ctl = (void *)rpal_run(&peer, start_loop, rpal_give(&peer, event), -1,
				    RPAL_WAIT_FOREVER, 0);
	until(there(wakes), 100);
	for (i = 1; i <= 300; i++)
		CHECK_EQ(i, rpal_call(&peer, count_call, i % 2, 0, 0));
	until(there(wakes), seen(there(wakes)) + 100);
}

static void *call_without_end(void *slow)
{
	rpal_register();
	while (READ_ONCE(storming))
		CHECK(rpal_call(&peer, count_call, (unsigned long)slow, 0, 0) > 0);
	return NULL;
}

/* Calls that follow each other without a gap: in user mode, or queued. */
static void take_turns(unsigned long slow)
{
	pthread_t caller[STORM_CALLERS];
	int event = setup(1, 0, RPAL_WAIT_FOREVER), i;

	WRITE_ONCE(storming, 1);
	for (i = 0; i < STORM_CALLERS; i++)
		CHECK(!pthread_create(&caller[i], NULL, call_without_end, (void *)slow));
	for (i = 0; i < 100; i++) {
		signal_event(event, 1);
		until(there(events), i + 1);
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

/* ---- signals and time ---- */

static void on_signal(int sig)
{
	box.handled++;
}

static long catch(unsigned long flags, unsigned long a1, unsigned long a2, unsigned long a3)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = flags };

	return rpal_err(sigaction(SIGUSR1, &sa, NULL));
}

static void get_signals(unsigned long flags)
{
	int event = setup(1, 0, RPAL_WAIT_FOREVER), i;

	CHECK_EQ(0, rpal_run(&peer, catch, flags, 0, 0, 0));
	for (i = 0; i < 60; i++) {
		/* A wait that began, or one that followed an answer. */
		if (i % 2)
			CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
		rpal_wait_ready(peer.ctl);
		if (i % 3 == 0)
			signal_event(event, 1);
		CHECK(!syscall(__NR_tgkill, peer.pid, peer.tid, SIGUSR1));
		if (i % 3 == 1)
			signal_event(event, 1);
		until(there(handled), i + 1);
		if (i % 3 == 2)
			signal_event(event, 1);
		until(there(events), i + 1);
	}
	CHECK_EQ(60, seen(there(handled)));
	/* An event that is there already is told first, and once. */
	CHECK(seen(there(wakes)) <= 60);
	if (flags & SA_RESTART)
		CHECK_EQ(0, seen(there(signals)));
	else
		CHECK(seen(there(signals)) > 0);
	CHECK_EQ(6, rpal_call(&peer, do_add, 1, 2, 3));
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
	int event = setup(1, 0, 2 * MSEC), i;

	for (i = 0; i < 30; i++) {
		signal_event(event, 1);
		CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
		until(there(events), i + 1);
		CHECK_EQ(6, rpal_call(&peer, do_add, 1, 2, 3));
	}
	until(there(timeouts), 3);
	CHECK(seen(there(wakes)) <= 30);
}

/* ---- descriptors that go ---- */

static long do_close(unsigned long fd, unsigned long a1, unsigned long a2, unsigned long a3)
{
	return rpal_err(close(fd));
}

/* As poll(2): the wait goes on with what was open when it began. */
RPAL_TEST(closed)
{
	int event = new_event(0), theirs;

	rpal_spawn(&peer);
	rpal_connect(&peer);
	rpal_register();
	theirs = rpal_give(&peer, event);
	/* Two descriptors of one file: one is closed, the other one read. */
	peer.ctl = (void *)rpal_run(&peer, start_loop, theirs, rpal_give(&peer, event),
				    RPAL_WAIT_FOREVER, 0);
	rpal_wait_ready(peer.ctl);
	CHECK_EQ(0, rpal_run(&peer, do_poke, there(event), -1, 0, 0));
	CHECK_EQ(0, rpal_run(&peer, do_close, theirs, 0, 0, 0));
	CHECK_EQ(6, rpal_call(&peer, do_add, 1, 2, 3));
	CHECK_EQ(0, seen(there(end)));
	/* take_event() finds POLLNVAL, and the next wait nothing at all. */
	signal_event(event, 1);
	until(there(wakes), 1);
	while (!seen(there(end)))
		sched_yield();
	CHECK_EQ(-EBADF, seen(there(end)));
}

static long close_inside(unsigned long fd, unsigned long a2, unsigned long a3, unsigned long a4)
{
	CHECK(!close(fd));
	return 7;
}

/* The answer comes all the same. */
RPAL_TEST(closed_in_a_call)
{
	int event = setup(0, 0, RPAL_WAIT_FOREVER);

	CHECK_EQ(7, rpal_call(&peer, close_inside, seen(there(fd)), 0, 0));
	while (!seen(there(end)))
		sched_yield();
	CHECK_EQ(-EBADF, seen(there(end)));
	signal_event(event, 1);
}

/* ---- the end ---- */

static void *call_in_vain(void *arg)
{
	rpal_register();
	CHECK_EQ(-EPIPE, rpal_call(&peer, arg, 0, 0, 0));
	return NULL;
}

static long spin(unsigned long a1, unsigned long a2, unsigned long a3, unsigned long a4)
{
	WRITE_ONCE(box.inside, 1);
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
		event = new_event(0);
		rpal_spawn(&peer);
		rpal_connect(&peer);
		peer.ctl = (void *)rpal_run(&peer, start_loop, rpal_give(&peer, event),
					    -1, RPAL_WAIT_FOREVER, 0);
		rpal_wait_ready(peer.ctl);
		if (i % 2) {
			CHECK(!pthread_create(&thread, NULL, call_in_vain, spin));
			until(there(inside), 1);
		}
		if (i % 4 > 1)
			signal_event(event, 1);
		rpal_kill(&peer);
		signal_event(event, 1);
		if (i % 2)
			CHECK(!pthread_join(thread, NULL));
		CHECK_EQ(-EPIPE, rpal_call(&peer, do_add, 1, 2, 3));
		signal_event(event, 1);
		CHECK(is_ready(event));
		CHECK(!close(event));
	}
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
