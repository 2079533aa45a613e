// SPDX-License-Identifier: GPL-2.0
/*
 * Labels of security modules: to root they forbid nothing, and two services with
 * different ones are still not to be one. Those here are Smack's, which a thread
 * may choose.
 *
 * To see these fail: take the comparison of labels out of rpal/trust.rs (all but
 * inherited).
 */
#include <fcntl.h>

#include "rpal_test.h"

#define LABEL_FILE	"/proc/thread-self/attr/smack/current"
#define LABEL		"rpal-other"

static struct rpal_proc peer;

static void need_labels(void)
{
	if (access(LABEL_FILE, W_OK))
		rpal_skip("no Smack in this kernel");
	if (geteuid())
		rpal_skip("needs root to change its label");
}

/* Of this thread. */
static long set_label(unsigned long a0, unsigned long a1, unsigned long a2,
		      unsigned long a3)
{
	int fd = open(LABEL_FILE, O_WRONLY | O_CLOEXEC);
	long ret;

	if (fd < 0)
		return -errno;
	ret = rpal_err(write(fd, LABEL, sizeof(LABEL) - 1));
	close(fd);
	return ret < 0 ? ret : 0;
}

/* Neither way. */
RPAL_TEST(attach)
{
	need_labels();
	rpal_spawn(&peer);
	CHECK_EQ(0, rpal_run(&peer, set_label, 0, 0, 0, 0));
	CHECK_EQ(-EPERM, rpal_attach(peer.fd, NULL));
	CHECK_EQ(-EPERM, rpal_run(&peer, do_attach,
				  rpal_give(&peer, rpal_me.fd), 0, 0, 0));
	rpal_end(&peer);
}

/* With the same one they are as good as with none. */
RPAL_TEST(inherited)
{
	need_labels();
	CHECK_EQ(0, set_label(0, 0, 0, 0));
	rpal_partner(&peer);
	CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
	CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
	CHECK(!rpal_withheld(peer.ctl));
}

/* The one that executed the image has another. */
RPAL_TEST(thread_of_peer)
{
	need_labels();
	rpal_spawn(&peer);
	rpal_serve(&peer);
	CHECK_EQ(0, rpal_run(&peer, do_on_thread,
			     rpal_there(&peer, set_label), 0, 0, 0));
	CHECK_EQ(-EPERM, rpal_attach(peer.fd, NULL));
}

RPAL_TEST(receiver)
{
	int i;

	need_labels();
	rpal_partner(&peer);
	CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
	CHECK(!rpal_withheld(peer.ctl));
	CHECK_EQ(0, rpal_call(&peer, set_label, 0, 0, 0));
	CHECK(rpal_withheld(peer.ctl));
	/* Its own task does all of it. */
	for (i = 0; i < 100; i++)
		CHECK_EQ(i + 2, rpal_call(&peer, do_add, i, 2, 0));
	CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
	CHECK(rpal_withheld(peer.ctl));
}

/* Found out when a context comes back, and can't call on. */
RPAL_TEST(caller)
{
	need_labels();
	rpal_partner(&peer);
	CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
	CHECK_EQ(0, set_label(0, 0, 0, 0));
	/* This one is under way when it is noticed. */
	CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
	CHECK_EQ(-ENOTCONN, rpal_call(&peer, do_add, 1, 2, 0));
	CHECK_EQ(-EPERM, rpal_attach(peer.fd, NULL));
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
