// SPDX-License-Identifier: GPL-2.0
/*
 * rpal_attach(2) and rpal_detach(2): who may, who may not, and why.
 *
 * To see these fail: take the check out that gives the number, or one of the
 * comparisons out of rpal/trust.rs, or look for EBUSY before EKEYREJECTED; fill
 * the answer in before the window is opened (attach, identity, busy).
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "rpal_test.h"

#define MAX_HOLDERS	64	/* windows onto one service */

/* Why it was refused. Who is refused is told nothing. */
static long refused(int fd)
{
	struct rpal_attach at, before;
	long ret;

	memset(&at, 0x5a, sizeof(at));
	at.flags = 0;
	before = at;
	ret = rpal_attach(fd, &at);
	if (memcmp(&before, &at, sizeof(at)))
		FAIL("told: slot %u, key %u, at %#llx", at.slot, at.pkey,
		     (unsigned long long)at.slot_start);
	return ret;
}

RPAL_TEST(attach)
{
	struct rpal_attach at = { .flags = 1 };
	int pipes[2], path;
	struct rpal_proc p;

	CHECK(!pipe(pipes));
	path = open("/", O_PATH);
	CHECK(path >= 0);
	rpal_spawn(&p);
	CHECK_EQ(-EINVAL, rpal_attach(p.fd, &at));
	at.flags = -1ULL;
	CHECK_EQ(-EINVAL, rpal_attach(p.fd, &at));
	CHECK_EQ(-EBADF, refused(-1));
	CHECK_EQ(-EBADF, refused(1000000));
	CHECK_EQ(-EBADF, refused(pipes[0]));
	CHECK_EQ(-EBADF, refused(path));
	CHECK_EQ(-EINVAL, refused(rpal_me.fd));
	/* None of the failures has attached anything. */
	CHECK_EQ(-ENOTCONN, rpal_detach(p.fd));

	at = (struct rpal_attach){};
	CHECK_EQ(0, rpal_attach(p.fd, &at));
	CHECK_EQ(p.service.slot, at.slot);
	CHECK_EQ(p.service.pkey, at.pkey);
	CHECK_EQ(p.service.slot_start, at.slot_start);
	CHECK_EQ(p.service.ctl_start, at.ctl_start);
	CHECK_EQ(-EEXIST, refused(p.fd));
	CHECK_EQ(0, rpal_detach(p.fd));
	CHECK_EQ(-ENOTCONN, rpal_detach(p.fd));
	/* As often as one likes. */
	CHECK_EQ(0, rpal_attach(p.fd, NULL));
	CHECK_EQ(0, rpal_detach(p.fd));
	rpal_end(&p);
}

RPAL_TEST(dead)
{
	struct rpal_proc p;
	int fd;

	rpal_spawn(&p);
	fd = dup(p.fd);
	rpal_kill(&p);
	CHECK_EQ(-EOWNERDEAD, refused(fd));
	CHECK_EQ(-ENOTCONN, rpal_detach(fd));
	/* Attached or not. */
	rpal_spawn(&p);
	fd = dup(p.fd);
	CHECK_EQ(0, rpal_attach(fd, NULL));
	rpal_kill(&p);
	CHECK_EQ(-EOWNERDEAD, refused(fd));
	CHECK_EQ(-ENOTCONN, rpal_detach(fd));
}

/* A window counts like any mapping, and like any data. */
RPAL_TEST(limit)
{
	static const int which[] = { RLIMIT_AS, RLIMIT_DATA };
	struct rlimit limit, low;
	struct rpal_proc p;
	size_t i;

	rpal_spawn(&p);
	for (i = 0; i < ARRAY_SIZE(which); i++) {
		CHECK(!getrlimit(which[i], &limit));
		low = limit;
		low.rlim_cur = RPAL_SLOT_SIZE / 2;
		CHECK(!setrlimit(which[i], &low));
		CHECK_EQ(-ENOMEM, refused(p.fd));
		CHECK(!setrlimit(which[i], &limit));
		CHECK_EQ(0, rpal_attach(p.fd, NULL));
		CHECK_EQ(0, rpal_detach(p.fd));
	}
	rpal_end(&p);
}

/* A service with the key of this one; the others that came before it go. */
static void spawn_same_key(struct rpal_proc *p)
{
	struct rpal_proc other[2 * (RPAL_KEY_LAST - RPAL_KEY_FIRST + 1)];
	size_t i, nr = 0;

	for (;;) {
		rpal_spawn(p);
		if (p->service.pkey == rpal_me.pkey)
			break;
		CHECK(nr < ARRAY_SIZE(other));
		other[nr++] = *p;
	}
	for (i = 0; i < nr; i++)
		rpal_end(&other[i]);
}

static void *occupy(struct rpal_proc *p)
{
	void *there = (void *)(p->service.slot_start + RPAL_SLOT_SIZE / 2);

	CHECK(mmap(there, RPAL_PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
		   MAP_FIXED, -1, 0) == there);
	return there;
}

RPAL_TEST(busy)
{
	struct rpal_proc p;
	void *there;

	rpal_spawn(&p);
	there = occupy(&p);
	CHECK_EQ(-EBUSY, refused(p.fd));
	CHECK(!munmap(there, RPAL_PAGE));
	CHECK_EQ(0, rpal_attach(p.fd, NULL));
	rpal_end(&p);
}

static long set_ids(unsigned long id, unsigned long a1, unsigned long a2,
		    unsigned long a3)
{
	return rpal_err(setresgid(id, id, id)) ?:
	       rpal_err(setresuid(id, id, id)) ?:
	       rpal_err(prctl(PR_SET_DUMPABLE, 1));
}

static long set_dumpable(unsigned long on, unsigned long a1, unsigned long a2,
			 unsigned long a3)
{
	return rpal_err(prctl(PR_SET_DUMPABLE, on));
}

static long set_no_new_privs(unsigned long a0, unsigned long a1,
			     unsigned long a2, unsigned long a3)
{
	return rpal_err(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

static long set_filter(unsigned long a0, unsigned long a1, unsigned long a2,
		       unsigned long a3)
{
	return rpal_filter(__NR_uselib, ENOTTY);
}

/* Attach is refused both ways once the function has run in the peer. */
static void refused_after(rpal_fn fn, unsigned long arg)
{
	struct rpal_proc p;

	rpal_spawn(&p);
	CHECK_EQ(0, rpal_run(&p, fn, arg, 0, 0, 0));
	CHECK_EQ(-EPERM, refused(p.fd));
	CHECK_EQ(-EPERM, rpal_run(&p, do_attach,
				  rpal_give(&p, rpal_me.fd), 0, 0, 0));
	rpal_end(&p);
}

/* Each takes away that the process may be debugged, which is not the point. */
static long set_group(unsigned long id, unsigned long a1, unsigned long a2,
		      unsigned long a3)
{
	return rpal_err(setresgid(id, -1, -1)) ?:
	       rpal_err(prctl(PR_SET_DUMPABLE, 1));
}

static long set_saved_id(unsigned long id, unsigned long a1, unsigned long a2,
			 unsigned long a3)
{
	return rpal_err(setresuid(-1, -1, id)) ?:
	       rpal_err(prctl(PR_SET_DUMPABLE, 1));
}

static long set_fs_id(unsigned long id, unsigned long a1, unsigned long a2,
		      unsigned long a3)
{
	setfsgid(id);
	return rpal_err(prctl(PR_SET_DUMPABLE, 1));
}

static long drop_capability(unsigned long nr, unsigned long a1,
			    unsigned long a2, unsigned long a3)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	if (syscall(__NR_capget, &header, data))
		return -errno;
	data[nr / 32].effective &= ~(1U << (nr % 32));
	return rpal_err(syscall(__NR_capset, &header, data)) ?:
	       rpal_err(prctl(PR_SET_DUMPABLE, 1));
}

static long drop_from_bound(unsigned long nr, unsigned long a1,
			    unsigned long a2, unsigned long a3)
{
	return rpal_err(prctl(PR_CAPBSET_DROP, nr, 0, 0, 0)) ?:
	       rpal_err(prctl(PR_SET_DUMPABLE, 1));
}

static long set_securebits(unsigned long bits, unsigned long a1,
			   unsigned long a2, unsigned long a3)
{
	return rpal_err(prctl(PR_SET_SECUREBITS, bits, 0, 0, 0)) ?:
	       rpal_err(prctl(PR_SET_DUMPABLE, 1));
}

static long set_groups(unsigned long group, unsigned long a1, unsigned long a2,
		       unsigned long a3)
{
	gid_t gid = group;

	return rpal_err(setgroups(1, &gid)) ?:
	       rpal_err(prctl(PR_SET_DUMPABLE, 1));
}

static long new_user_namespace(unsigned long a0, unsigned long a1,
			       unsigned long a2, unsigned long a3)
{
	return rpal_err(unshare(CLONE_NEWUSER)) ?:
	       rpal_err(prctl(PR_SET_DUMPABLE, 1));
}

RPAL_TEST(identity)
{
	if (geteuid())
		rpal_skip("needs root to change user IDs");
	refused_after(set_ids, 65534);
	refused_after(set_group, 65534);
	refused_after(set_saved_id, 65534);
	refused_after(set_fs_id, 65534);
	refused_after(set_groups, 4711);
	refused_after(drop_capability, CAP_SYS_NICE);
	refused_after(drop_from_bound, CAP_SYS_NICE);
	refused_after(set_securebits, SECBIT_NOROOT);
}

RPAL_TEST(user_namespace)
{
	struct rpal_proc p;
	long ret;

	rpal_spawn(&p);
	ret = rpal_run(&p, new_user_namespace, 0, 0, 0, 0);
	if (ret)
		rpal_skip("no new user namespace: error %ld", -ret);
	CHECK_EQ(-EPERM, refused(p.fd));
	rpal_end(&p);
}

/* Of those that may not debug whom they like. */
RPAL_TEST(dumpable)
{
	struct rpal_proc p;

	if (!geteuid())
		CHECK_EQ(0, set_ids(65534, 0, 0, 0));
	rpal_spawn(&p);
	CHECK_EQ(0, rpal_run(&p, set_dumpable, 0, 0, 0, 0));
	CHECK_EQ(-EPERM, refused(p.fd));
	CHECK_EQ(0, rpal_run(&p, set_dumpable, 1, 0, 0, 0));
	CHECK_EQ(0, rpal_attach(p.fd, NULL));
	rpal_end(&p);
}

RPAL_TEST(no_new_privs)
{
	refused_after(set_no_new_privs, 0);
}

RPAL_TEST(filter)
{
	struct rpal_proc p;

	rpal_need_filters();
	/* Both have this one, so that only the filter differs. */
	CHECK_EQ(0, set_no_new_privs(0, 0, 0, 0));
	refused_after(set_filter, 0);
	/* The same instructions, but each its own. */
	rpal_spawn(&p);
	CHECK_EQ(0, rpal_run(&p, set_filter, 0, 0, 0, 0));
	CHECK_EQ(0, set_filter(0, 0, 0, 0));
	CHECK_EQ(-EPERM, refused(p.fd));
	rpal_end(&p);
	/* From one that had it before. */
	rpal_spawn(&p);
	rpal_connect(&p);
	rpal_end(&p);
}

/* What is looked for first, where two things are wrong. */
RPAL_TEST(order)
{
	struct rpal_attach at = { .flags = 1 };
	struct rlimit limit, low;
	struct rpal_proc p, same;
	void *there;

	CHECK_EQ(-EINVAL, rpal_attach(-1, &at));
	rpal_spawn(&p);
	spawn_same_key(&same);
	CHECK_EQ(-EKEYREJECTED, refused(same.fd));
	there = occupy(&same);
	CHECK_EQ(-EKEYREJECTED, refused(same.fd));
	CHECK(!munmap(there, RPAL_PAGE));

	CHECK(!getrlimit(RLIMIT_AS, &limit));
	low = limit;
	low.rlim_cur = RPAL_SLOT_SIZE / 2;
	there = occupy(&p);
	CHECK(!setrlimit(RLIMIT_AS, &low));
	CHECK_EQ(-EBUSY, refused(p.fd));
	CHECK(!setrlimit(RLIMIT_AS, &limit));
	CHECK(!munmap(there, RPAL_PAGE));

	CHECK_EQ(0, rpal_attach(p.fd, NULL));
	CHECK_EQ(0, set_no_new_privs(0, 0, 0, 0));
	CHECK_EQ(-EEXIST, refused(p.fd));
	CHECK_EQ(-EPERM, refused(same.fd));
	rpal_kill(&same);
	rpal_end(&p);
}

/* So many services can have a window onto one. */
RPAL_TEST_AS(holders, RPAL_UNPROTECTED)
{
	static struct rpal_proc holder[MAX_HOLDERS + 1];
	long ret;
	int i;

	/* Without keys, of which there are not so many. */
	for (i = 0; i <= MAX_HOLDERS; i++) {
		rpal_spawn_as(&holder[i], RPAL_UNPROTECTED);
		ret = rpal_run(&holder[i], do_attach,
			       rpal_give(&holder[i], rpal_me.fd), 0, 0, 0);
		CHECK_EQ(i < MAX_HOLDERS ? 0 : -EUSERS, ret);
	}
	rpal_end(&holder[0]);
	/* Its address space may go a little later. */
	do {
		ret = rpal_run(&holder[i - 1], do_attach,
			       rpal_give(&holder[i - 1], rpal_me.fd), 0, 0, 0);
	} while (ret == -EUSERS);
	CHECK_EQ(0, ret);
	for (i = 1; i <= MAX_HOLDERS; i++)
		rpal_end(&holder[i]);
}

/* A descriptor is good for nothing else, and not needed afterwards. */
RPAL_TEST(descriptor)
{
	char link[32] = {}, path[40], byte = 0;
	struct rpal_proc p;
	int fd;

	rpal_spawn(&p);
	fd = dup(p.fd);
	CHECK(fd >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CHECK(readlink(path, link, sizeof(link) - 1) > 0);
	CHECK(strstr(link, "[rpal]"));
	CHECK(read(fd, &byte, 1) == -1 && errno == EINVAL);
	CHECK(write(fd, &byte, 1) == -1 && errno == EINVAL);
	CHECK(mmap(NULL, RPAL_PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
	CHECK_EQ(ENODEV, errno);
	CHECK_EQ(0, rpal_attach(fd, NULL));
	CHECK(!close(fd));
	CHECK_EQ(-EEXIST, refused(p.fd));
	CHECK_EQ(0, rpal_detach(p.fd));
	rpal_end(&p);
}

RPAL_TEST(detach)
{
	int pipes[2];

	CHECK(!pipe(pipes));
	CHECK_EQ(-EBADF, rpal_detach(-1));
	CHECK_EQ(-EBADF, rpal_detach(pipes[0]));
	CHECK_EQ(-ENOTCONN, rpal_detach(rpal_me.fd));
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
