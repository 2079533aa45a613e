// SPDX-License-Identifier: GPL-2.0
/*
 * Receivers and callers that become somebody else after the attach, and tasks
 * that are under something which borrowed code would escape. All of them are
 * still served; what is gone is the way without the kernel, or the window.
 *
 * To see these fail: lend whatever parks (receiver_*, membarrier: no park is
 * withheld); let unregistered threads do what they want (other_*); do not look
 * at a caller's credentials (caller_*: calls go on); let the child of vfork()
 * pass (vfork_child).
 */
#include <asm/ldt.h>
#include <grp.h>
#include <linux/landlock.h>
#include <linux/membarrier.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "rpal_test.h"

static struct rpal_proc peer;

static long make_ldt(void)
{
	struct user_desc desc = {
		.limit = 1, .limit_in_pages = 1, .seg_32bit = 1,
	};

	return rpal_err(syscall(__NR_modify_ldt, 1, &desc, sizeof(desc)));
}

/* @flags: of landlock_restrict_self(); all threads or this one. */
static long enter_domain(unsigned long flags)
{
	const struct landlock_ruleset_attr attr = {
		.handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_BLOCK,
	};
	int fd = syscall(__NR_landlock_create_ruleset, &attr, sizeof(attr), 0);
	long ret;

	if (fd < 0)
		return -errno;
	ret = rpal_err(syscall(__NR_landlock_restrict_self, fd, flags));
	close(fd);
	return ret;
}

static void need_domains(void)
{
	if (syscall(__NR_landlock_create_ruleset, NULL, 0,
		    LANDLOCK_CREATE_RULESET_VERSION) < 0)
		rpal_skip("no Landlock in this kernel");
}

static long change(unsigned long how, unsigned long a2, unsigned long a3,
		   unsigned long a4)
{
	gid_t group = 4711;

	switch (how) {
	case 0:
		/* The system call and not the C library: this thread alone. */
		return syscall(__NR_setgroups, 1, &group);
	case 1:
		return syscall(__NR_setresgid, 65534, 65534, 65534);
	case 2:
		return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	case 3:
		return prctl(PR_SET_DUMPABLE, 0);
	case 4:
		return prctl(PR_SET_TSC, PR_TSC_SIGSEGV);
	case 5:
		return syscall(__NR_membarrier,
			       MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
	case 6:
		return rpal_filter(__NR_acct, EACCES);
	case 8:
		return enter_domain(0);
	case 9:
		return enter_domain(LANDLOCK_RESTRICT_SELF_TSYNC);
	case 10:
		return syscall(__NR_membarrier,
			       MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0);
	default:
		return make_ldt();
	}
}

static void receiver_becomes(unsigned long how)
{
	int i;

	rpal_partner(&peer);
	CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
	CHECK(!rpal_withheld(peer.ctl));
	CHECK_EQ(0, rpal_call(&peer, change, how, 0, 0));
	CHECK(rpal_withheld(peer.ctl));
	/* Its own task does all of it. */
	for (i = 0; i < 100; i++)
		CHECK_EQ(i + 2, rpal_call(&peer, do_add, i, 2, 0));
	CHECK(rpal_withheld(peer.ctl));
	CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
}

RPAL_TEST(receiver_of_other_groups)
{
	receiver_becomes(0);
}

RPAL_TEST(receiver_of_another_group)
{
	receiver_becomes(1);
}

RPAL_TEST(receiver_without_new_privs)
{
	receiver_becomes(2);
}

RPAL_TEST(receiver_not_dumpable)
{
	receiver_becomes(3);
}

RPAL_TEST(receiver_without_tsc)
{
	receiver_becomes(4);
}

/* Of which nothing shows but who may debug it. */
RPAL_TEST(receiver_in_a_domain)
{
	need_domains();
	receiver_becomes(8);
}

RPAL_TEST(membarrier)
{
	receiver_becomes(5);
}

/* By another thread than the receiver, which is parked, and registered itself. */
static long main_registers_for_membarrier(unsigned long a0, unsigned long a1,
					  unsigned long a2, unsigned long a3)
{
	rpal_register();
	return change(5, 0, 0, 0);
}

RPAL_TEST(membarrier_elsewhere)
{
	rpal_partner(&peer);
	CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
	CHECK(!rpal_withheld(peer.ctl));
	CHECK_EQ(0, rpal_run(&peer, main_registers_for_membarrier, 0, 0, 0, 0));
	CHECK(rpal_withheld(peer.ctl));
	CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
	CHECK(rpal_withheld(peer.ctl));
}

/*
 * By a thread that is not registered, and of which a registration shows
 * nothing. The receiver is parked and makes no system call of its own: nothing
 * but the change can have withheld it.
 */
static void other_becomes(rpal_fn how, unsigned long a0)
{
	long before;

	rpal_partner(&peer);
	CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
	CHECK(!rpal_withheld(peer.ctl));
	/* A call that changes nothing changes nothing. */
	before = rpal_run(&peer, do_getpid, 0, 0, 0, 0);
	CHECK_EQ(peer.pid, before);
	CHECK(!rpal_withheld(peer.ctl));
	CHECK_EQ(0, rpal_run(&peer, how, a0, 0, 0, 0));
	CHECK(rpal_withheld(peer.ctl));
	CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
	CHECK(rpal_withheld(peer.ctl));
	CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
}

/* It is not dumpable any more either, and that all threads have in common. */
RPAL_TEST(other_of_another_group)
{
	other_becomes(change, 1);
}

RPAL_TEST(other_not_dumpable)
{
	other_becomes(change, 3);
}

RPAL_TEST(other_registers_for_membarrier)
{
	other_becomes(change, 5);
}

RPAL_TEST(other_registers_for_global_membarrier)
{
	other_becomes(change, 10);
}

RPAL_TEST(other_puts_all_in_a_domain)
{
	need_domains();
	other_becomes(change, 9);
}

RPAL_TEST(other_filters_all)
{
	rpal_need_filters();
	other_becomes(change, 6);
}

RPAL_TEST(other_makes_ldt)
{
	/* Reads it; there is none. */
	if (syscall(__NR_modify_ldt, 0, NULL, 0))
		rpal_skip("no modify_ldt() in this kernel");
	other_becomes(change, 7);
}

/* By one that is no thread of the service, and has its memory. */
static long child_changes(unsigned long how, unsigned long a1, unsigned long a2,
			  unsigned long a3)
{
	static long result;
	int status;
	pid_t pid;

	pid = vfork();
	if (!pid) {
		WRITE_ONCE(result, change(how, 0, 0, 0));
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && !status);
	return READ_ONCE(result);
}

RPAL_TEST(other_process_registers)
{
	other_becomes(child_changes, 5);
}

/* A caller is found out when a context comes back, and can't call on. */
static void caller_becomes(unsigned long how)
{
	rpal_partner(&peer);
	CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
	CHECK_EQ(0, change(how, 0, 0, 0));
	/* This one is under way when it is noticed. */
	CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
	CHECK_EQ(-ENOTCONN, rpal_call(&peer, do_getpid, 0, 0, 0));
	CHECK_EQ(-ENOTCONN, rpal_call(&peer, do_add, 1, 2, 0));
	/* And can't attach anew: the peer is not what it is now. */
	CHECK_EQ(-EPERM, do_attach(peer.fd, 0, 0, 0));
}

RPAL_TEST(caller_of_other_groups)
{
	caller_becomes(0);
}

RPAL_TEST(caller_of_another_group)
{
	caller_becomes(1);
}

RPAL_TEST(caller_without_new_privs)
{
	caller_becomes(2);
}

/* Of a receiver that lends nothing, so that each call goes through the kernel. */
RPAL_TEST(caller_of_withheld)
{
	rpal_partner(&peer);
	CHECK_EQ(0, rpal_call(&peer, change, 5, 0, 0));
	CHECK(rpal_withheld(peer.ctl));
	CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
	CHECK_EQ(0, change(0, 0, 0, 0));
	CHECK_EQ(-EKEYREVOKED, rpal_call(&peer, do_add, 1, 2, 0));
	CHECK_EQ(-EKEYREVOKED, rpal_call(&peer, do_add, 1, 2, 0));
}

RPAL_TEST(caller_in_a_domain)
{
	need_domains();
	caller_becomes(8);
}

/* Neither from within nor into it; and within it as anywhere. */
RPAL_TEST(domains_apart)
{
	struct rpal_proc inner;

	need_domains();
	rpal_spawn(&peer);
	rpal_spawn(&inner);
	CHECK_EQ(0, rpal_run(&inner, change, 8, 0, 0, 0));
	CHECK_EQ(-EPERM, rpal_attach(inner.fd, NULL));
	CHECK_EQ(-EPERM, rpal_run(&inner, do_attach, rpal_give(&inner, peer.fd),
				  0, 0, 0));
	CHECK_EQ(0, rpal_attach(peer.fd, NULL));
	CHECK_EQ(0, enter_domain(0));
	rpal_kill(&peer);
	/* A domain is inherited. */
	rpal_spawn(&peer);
	rpal_connect(&peer);
	rpal_serve(&peer);
	rpal_register();
	CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
	CHECK(!rpal_withheld(peer.ctl));
}

/* One thread is somebody else; the one that executed the image is not. */
RPAL_TEST(thread_of_peer)
{
	rpal_spawn(&peer);
	rpal_serve(&peer);
	CHECK_EQ(0, rpal_run(&peer, do_on_thread,
			     rpal_there(&peer, change), 0, 0, 0));
	CHECK_EQ(-EPERM, do_attach(peer.fd, 0, 0, 0));
	CHECK_EQ(-EPERM, do_attach(peer.fd, 0, 0, 0));
}

RPAL_TEST(thread_of_peer_in_a_domain)
{
	need_domains();
	rpal_spawn(&peer);
	rpal_serve(&peer);
	CHECK_EQ(0, rpal_run(&peer, do_on_thread,
			     rpal_there(&peer, change), 8, 0, 0));
	CHECK_EQ(-EPERM, do_attach(peer.fd, 0, 0, 0));
}

/*
 * It has its parent's memory, FS base and control block, but is no thread of
 * the service.
 */
RPAL_TEST(vfork_child)
{
	static long from_child;
	int status;
	pid_t pid;

	rpal_partner(&peer);
	CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
	pid = vfork();
	CHECK(pid >= 0);
	if (!pid) {
		WRITE_ONCE(from_child, rpal_call(&peer, do_add, 1, 2, 0));
		_exit(0);
	}
	CHECK_EQ(-ENXIO, READ_ONCE(from_child));
	/* The parent goes on as before, at once. */
	CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
	CHECK_EQ(0, rpal_self->word);
	CHECK(waitpid(pid, &status, 0) == pid && !status);
	CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
