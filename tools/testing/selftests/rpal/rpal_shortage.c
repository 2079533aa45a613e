// SPDX-License-Identifier: GPL-2.0
/*
 * Allocations of the kernel's that fail, one after the other: who asked for
 * something does not get it, and nobody loses what was promised.
 *
 * To see these fail: give the caller an error if the next ticket can't be laid by
 * (hand_over); hand nothing over without a ticket (twice: the receiver has lost its
 * context); attach although there was no room to be made (attach); do not seal a
 * window again that could not be unmapped (attach_again); register a thread that has
 * no room for tickets (registration).
 */
#include <fcntl.h>
#include <stdlib.h>

#include "rpal_test.h"

#define DEBUGFS		"/sys/kernel/debug/"
/* More allocations than that are none of ours. */
#define MANY		1000

static struct rpal_proc peer;

static bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done;

	if (fd < 0)
		return false;
	done = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return done;
}

/* ---- which one fails ---- */

static int fail_nth, make_it_fail;

static void need_shortage(void)
{
	rpal_debugfs();
	fail_nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	make_it_fail = open("/proc/thread-self/make-it-fail",
			    O_WRONLY | O_CLOEXEC);
	/* All kinds, and without a word about it. */
	if (fail_nth < 0 || make_it_fail < 0 ||
	    !put(DEBUGFS "failslab/task-filter", "Y") ||
	    !put(DEBUGFS "failslab/probability", "100") ||
	    !put(DEBUGFS "failslab/ignore-gfp-wait", "N") ||
	    !put(DEBUGFS "failslab/verbose", "0") ||
	    !put(DEBUGFS "fail_page_alloc/ignore-gfp-wait", "N") ||
	    !put(DEBUGFS "fail_page_alloc/ignore-gfp-highmem", "N") ||
	    !put(DEBUGFS "fail_page_alloc/min-order", "0") ||
	    !put(DEBUGFS "fail_page_alloc/verbose", "0"))
		rpal_skip("no allocations that fail on demand");
}

/* This thread's nth allocation from here on. */
static void fail(int nth)
{
	char text[20];
	int len = snprintf(text, sizeof(text), "%d", nth);

	CHECK_EQ(len, pwrite(fail_nth, text, len, 0));
}

/* Has it failed by now? From here on none does. */
static bool has_failed(void)
{
	char text[20] = {};

	CHECK(pread(fail_nth, text, sizeof(text) - 1, 0) > 0);
	fail(0);
	return !atoi(text);
}

/* Of this thread's, from that many bytes on so many one after the other. */
static void fail_from(long bytes, int nr)
{
	char text[20];

	snprintf(text, sizeof(text), "%ld", bytes);
	CHECK(put(DEBUGFS "failslab/space", text));
	snprintf(text, sizeof(text), "%d", nr);
	CHECK(put(DEBUGFS "failslab/times", text));
	CHECK_EQ(1, pwrite(make_it_fail, "1", 1, 0));
}

/* How many of these have by now. From here on none does. */
static int have_failed(int nr)
{
	char text[20] = {};
	int fd;

	CHECK_EQ(1, pwrite(make_it_fail, "0", 1, 0));
	fd = open(DEBUGFS "failslab/times", O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	return nr - atoi(text);
}

/* ---- calls ---- */

/* In the receiver's process. */
static long served;

static long serve(unsigned long a1, unsigned long a2, unsigned long a3,
		  unsigned long a4)
{
	long pid = getpid();

	WRITE_ONCE(served, served + 1);
	return pid;
}

static long nr_served(void)
{
	return rpal_run(&peer, do_peek, rpal_there(&peer, &served), 0, 0, 0);
}

/* The ticket is one that was laid by, as long as every other can be made. */
RPAL_TEST(hand_over)
{
	bool failed;
	long ret;
	int n;

	need_shortage();
	rpal_partner(&peer);
	for (n = 1; n < MANY; n++) {
		rpal_wait_ready(peer.ctl);
		fail(n);
		ret = rpal_call(&peer, serve, 0, 0, 0);
		failed = has_failed();
		CHECK_EQ(peer.pid, ret);
		CHECK_EQ(n, nr_served());
		if (!failed)
			break;
	}
	/* There are some. */
	CHECK(n > 1 && n < MANY);
}

/* Without any, the caller loses its answer, and the receiver nothing. */
RPAL_TEST(twice)
{
	long first, second;

	need_shortage();
	rpal_partner(&peer);
	fail_from(0, 2);
	rpal_wait_ready(peer.ctl);
	first = rpal_call(&peer, serve, 0, 0, 0);
	rpal_wait_ready(peer.ctl);
	second = rpal_call(&peer, serve, 0, 0, 0);
	CHECK_EQ(2, have_failed(2));
	CHECK_EQ(peer.pid, first);
	CHECK_EQ(-ENOMEM, second);
	/* It has done the rest of that, too. */
	rpal_wait_ready(peer.ctl);
	CHECK_EQ(2, nr_served());
	CHECK_EQ(peer.pid, rpal_call(&peer, serve, 0, 0, 0));
	CHECK_EQ(peer.pid, rpal_call(&peer, serve, 0, 0, 0));
	CHECK_EQ(4, nr_served());
}

/* ---- windows ---- */

/* A window that is closed is nobody's to unmap, or is not there. */
static void check_closed(void)
{
	unsigned long start = peer.service.slot_start;
	const struct rpal_map *map = rpal_own_map(start);

	CHECK_EQ(-ENOTCONN, rpal_detach(peer.fd));
	if (!map)
		return;
	CHECK(strstr(map->flags, "sl"));
	CHECK_EQ(-EPERM, do_munmap(start, RPAL_SLOT_SIZE, 0, 0));
}

/* Until it does not fail; how often it did. */
static int attach_until_done(void)
{
	bool failed;
	long ret;
	int n;

	for (n = 1; n < MANY; n++) {
		fail(n);
		ret = rpal_attach(peer.fd, NULL);
		failed = has_failed();
		if (!failed) {
			CHECK_EQ(0, ret);
			break;
		}
		if (ret) {
			CHECK_EQ(-ENOMEM, ret);
			check_closed();
			continue;
		}
		/* Somebody has done without it. */
		CHECK_EQ(0, rpal_detach(peer.fd));
		check_closed();
	}
	CHECK(n < MANY);
	return n - 1;
}

RPAL_TEST(attach)
{
	need_shortage();
	rpal_spawn(&peer);
	CHECK(attach_until_done() > 0);
	CHECK_EQ(0, rpal_detach(peer.fd));
}

/*
 * Where a closed window is in the way, which has to be unmapped first. What that
 * needs is tried for once more.
 */
RPAL_TEST(attach_again)
{
	long bytes, ret;
	int failed;

	need_shortage();
	rpal_spawn(&peer);
	for (bytes = 0; bytes < 1 << 20; bytes += 64) {
		CHECK_EQ(0, rpal_attach(peer.fd, NULL));
		CHECK_EQ(0, rpal_detach(peer.fd));
		check_closed();
		fail_from(bytes, 2);
		ret = rpal_attach(peer.fd, NULL);
		failed = have_failed(2);
		if (ret) {
			CHECK(failed);
			CHECK_EQ(-ENOMEM, ret);
			check_closed();
			continue;
		}
		CHECK_EQ(0, rpal_detach(peer.fd));
		check_closed();
		if (!failed)
			break;
	}
	CHECK(bytes && !failed);
	CHECK(attach_until_done() > 0);
	CHECK_EQ(0, rpal_detach(peer.fd));
}

/* Who is registered has all that it will need. */
RPAL_TEST(registration)
{
	struct rpal_thread th;
	bool failed;
	long ret;
	int n;

	need_shortage();
	rpal_spawn(&peer);
	rpal_connect(&peer);
	rpal_serve(&peer);
	for (n = 1; n < MANY; n++) {
		th = (struct rpal_thread){};
		fail(n);
		ret = rpal_thread(0, &th);
		failed = has_failed();
		if (ret) {
			CHECK(failed);
			CHECK_EQ(-ENOMEM, ret);
			continue;
		}
		rpal_self = (struct rpal_ctl *)th.ctl;
		CHECK_EQ(peer.pid, rpal_call(&peer, serve, 0, 0, 0));
		rpal_unregister();
		if (!failed)
			break;
	}
	CHECK(n > 1 && n < MANY);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
