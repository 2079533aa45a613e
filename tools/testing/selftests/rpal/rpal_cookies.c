// SPDX-License-Identifier: GPL-2.0
/*
 * Core scheduling: threads with different cookies never run on one core at the
 * same time, which a call from one to the other would get past. So cookies are
 * part of who a thread is, at the attach and whenever that is looked at again.
 *
 * To see these fail: take the comparison of cookies out of rpal/trust.rs (all
 * but shared and inherited), or PR_SCHED_CORE out of rpal/meaning.rs
 * (other_makes_one, child_makes_one).
 */
#include <sys/prctl.h>
#include <sys/wait.h>

#include "rpal_test.h"

#ifndef PR_SCHED_CORE
#define PR_SCHED_CORE			62
#define PR_SCHED_CORE_GET		0
#define PR_SCHED_CORE_CREATE		1
#define PR_SCHED_CORE_SHARE_FROM	3
#define PR_SCHED_CORE_SCOPE_THREAD	0
#define PR_SCHED_CORE_SCOPE_THREAD_GROUP	1
#endif

static struct rpal_proc peer;

static void need_cookies(void)
{
	unsigned long cookie;

	if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0,
		  PR_SCHED_CORE_SCOPE_THREAD, &cookie))
		rpal_skip("no core scheduling: %s", errno == ENODEV ?
			  "each core has one thread" : strerror(errno));
}

/* Of that thread (0: this one), or of all threads of that process. */
static long make_cookie(unsigned long tid, unsigned long scope,
			unsigned long a2, unsigned long a3)
{
	return rpal_err(prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, tid, scope,
			      0));
}

static long take_cookie_of(unsigned long tid, unsigned long a1,
			   unsigned long a2, unsigned long a3)
{
	return rpal_err(prctl(PR_SCHED_CORE, PR_SCHED_CORE_SHARE_FROM, tid,
			      PR_SCHED_CORE_SCOPE_THREAD, 0));
}

/* Neither way. */
RPAL_TEST(attach)
{
	need_cookies();
	rpal_spawn(&peer);
	CHECK_EQ(0, rpal_run(&peer, make_cookie, 0, PR_SCHED_CORE_SCOPE_THREAD,
			     0, 0));
	CHECK_EQ(-EPERM, rpal_attach(peer.fd, NULL));
	CHECK_EQ(-EPERM, rpal_run(&peer, do_attach,
				  rpal_give(&peer, rpal_me.fd), 0, 0, 0));
	/* Nor with one each. */
	CHECK_EQ(0, make_cookie(0, PR_SCHED_CORE_SCOPE_THREAD, 0, 0));
	CHECK_EQ(-EPERM, rpal_attach(peer.fd, NULL));
	rpal_end(&peer);
}

static void calls_are_lent(void)
{
	rpal_connect(&peer);
	rpal_serve(&peer);
	rpal_register();
	CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
	CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
	CHECK(!rpal_withheld(peer.ctl));
}

/* With the same one they are as good as with none. */
RPAL_TEST(shared)
{
	need_cookies();
	rpal_spawn(&peer);
	CHECK_EQ(0, make_cookie(0, PR_SCHED_CORE_SCOPE_THREAD, 0, 0));
	CHECK_EQ(0, rpal_run(&peer, take_cookie_of, getpid(), 0, 0, 0));
	calls_are_lent();
}

RPAL_TEST(inherited)
{
	need_cookies();
	CHECK_EQ(0, make_cookie(0, PR_SCHED_CORE_SCOPE_THREAD, 0, 0));
	rpal_spawn(&peer);
	calls_are_lent();
}

/* The one that executed the image has none. */
RPAL_TEST(thread_of_peer)
{
	need_cookies();
	rpal_spawn(&peer);
	rpal_serve(&peer);
	CHECK_EQ(0, rpal_run(&peer, do_on_thread,
			     rpal_there(&peer, make_cookie), 0,
			     PR_SCHED_CORE_SCOPE_THREAD, 0));
	CHECK_EQ(-EPERM, rpal_attach(peer.fd, NULL));
}

static void check_withheld(void)
{
	CHECK(rpal_withheld(peer.ctl));
	/* Its own task does all of it. */
	CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
	CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
	CHECK(rpal_withheld(peer.ctl));
}

static void setup(void)
{
	need_cookies();
	rpal_partner(&peer);
	CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
	CHECK(!rpal_withheld(peer.ctl));
}

RPAL_TEST(receiver_makes_one)
{
	setup();
	CHECK_EQ(0, rpal_call(&peer, make_cookie, 0, PR_SCHED_CORE_SCOPE_THREAD,
			      0));
	check_withheld();
}

/*
 * By a thread that is not registered. The receiver is parked and makes no system
 * call of its own: nothing but the change can have withheld it.
 */
RPAL_TEST(other_makes_one)
{
	setup();
	CHECK_EQ(0, rpal_run(&peer, make_cookie, 0,
			     PR_SCHED_CORE_SCOPE_THREAD_GROUP, 0, 0));
	check_withheld();
}

/* By one that is no thread of the service, and has its memory. */
static long child_makes(unsigned long tid, unsigned long a1, unsigned long a2,
			unsigned long a3)
{
	static long result;
	int status;
	pid_t pid;

	pid = vfork();
	if (!pid) {
		WRITE_ONCE(result, make_cookie(tid, PR_SCHED_CORE_SCOPE_THREAD,
					       0, 0));
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && !status);
	return READ_ONCE(result);
}

RPAL_TEST(child_makes_one)
{
	setup();
	CHECK_EQ(0, rpal_run(&peer, child_makes, peer.tid, 0, 0, 0));
	check_withheld();
}

/* What another process makes is seen at the next park. */
RPAL_TEST(given_to_receiver)
{
	setup();
	CHECK_EQ(0, make_cookie(peer.tid, PR_SCHED_CORE_SCOPE_THREAD, 0, 0));
	CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
	check_withheld();
	/* And when it has none again: this thread's. */
	CHECK_EQ(0, rpal_call(&peer, take_cookie_of, getpid(), 0, 0));
	CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
	CHECK(!rpal_withheld(peer.ctl));
}

/* A caller is found out when a context comes back, and can't call on. */
RPAL_TEST(caller_makes_one)
{
	setup();
	CHECK_EQ(0, make_cookie(0, PR_SCHED_CORE_SCOPE_THREAD, 0, 0));
	/* This one is under way when it is noticed. */
	CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
	CHECK_EQ(-ENOTCONN, rpal_call(&peer, do_add, 1, 2, 0));
	CHECK_EQ(-EPERM, rpal_attach(peer.fd, NULL));
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
