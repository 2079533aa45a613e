// SPDX-License-Identifier: GPL-2.0
/*
 * A caller in a group that has used up its share of the CPUs' time is stopped on
 * its way to user mode, for as long as that takes. By then it has given back what
 * it has borrowed: the receiver and everybody who waits for it go on.
 *
 * To see these fail: call rpal_exit_to_user() behind resume_user_mode_work() in
 * kernel/entry/common.c, which does throttle_cfs_rq_work() (all: they wait for
 * minutes, and for ever if the group's share were less).
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "rpal_test.h"

/* Of a second, a thousandth: the least that there is. */
#define SHARE		"1000 1000000"
#define NO_LIMIT	"max 1000000"
/* What keeps a thread in the kernel for some hundred times that. */
#define RANDOM_LEN	(64UL << 20)

static struct rpal_proc peer, borrower;

/* ---- the group ---- */

static char root[40], group[60];
/* Which controllers there were for groups before. */
static char controllers[200];

static int open_file(const char *dir, const char *name, int how)
{
	char path[100];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return open(path, how | O_CLOEXEC);
}

static long put(const char *dir, const char *name, const char *text)
{
	int fd = open_file(dir, name, O_WRONLY);
	long ret;

	if (fd < 0)
		return -errno;
	ret = rpal_err(write(fd, text, strlen(text)));
	close(fd);
	return ret < 0 ? ret : 0;
}

static void get(const char *dir, const char *name, char *text, size_t len)
{
	int fd = open_file(dir, name, O_RDONLY);
	ssize_t n;

	CHECK(fd >= 0);
	n = read(fd, text, len - 1);
	CHECK(n >= 0);
	close(fd);
	text[n] = 0;
}

static void add_to_group(pid_t pid)
{
	char text[20];

	snprintf(text, sizeof(text), "%d", pid);
	CHECK_EQ(0, put(group, "cgroup.procs", text));
}

static void make_group(void)
{
	snprintf(root, sizeof(root), "/tmp/rpal-XXXXXX");
	CHECK(mkdtemp(root));
	if (mount("none", root, "cgroup2", 0, NULL)) {
		rmdir(root);
		rpal_skip("no cgroups here");
	}
	get(root, "cgroup.subtree_control", controllers, sizeof(controllers));
	if (put(root, "cgroup.subtree_control", "+cpu")) {
		umount(root);
		rmdir(root);
		rpal_skip("no groups that share the CPUs' time");
	}
	snprintf(group, sizeof(group), "%s/rpal-%d", root, getpid());
	CHECK(!mkdir(group, 0755));
	if (put(group, "cpu.max", NO_LIMIT)) {
		rmdir(group);
		umount(root);
		rmdir(root);
		rpal_skip("no limits of the CPUs' time");
	}
}

static void remove_group(void)
{
	while (rmdir(group))
		CHECK_EQ(EBUSY, errno);
	if (!strstr(controllers, "cpu ") && !strstr(controllers, "cpu\n"))
		CHECK_EQ(0, put(root, "cgroup.subtree_control", "-cpu"));
	CHECK(!umount(root));
	CHECK(!rmdir(root));
}

/* In how many periods the group had nothing left. */
static long throttled(void)
{
	char text[1000], *found;

	get(group, "cpu.stat", text, sizeof(text));
	found = strstr(text, "nr_throttled ");
	CHECK(found);
	return atol(found + strlen("nr_throttled "));
}

/*
 * Uses up what the group will have for minutes: who is in the kernel is not
 * stopped there, and what it has used too much is held against the group.
 * Comes back when it has begun.
 */
static pid_t start_spender(void)
{
	unsigned long *buf = mmap(NULL, RANDOM_LEN, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	CHECK(buf != MAP_FAILED);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		rpal_pin(0);
		add_to_group(getpid());
		for (;;)
			syscall(__NR_getrandom, buf, RANDOM_LEN, 0);
	}
	while (!READ_ONCE(*buf))
		sched_yield();
	CHECK(!munmap(buf, RANDOM_LEN));
	return pid;
}

/* ---- the call ---- */

/* In the receiver's process: has its code begun, is it to end, its signals. */
static long begun, end, signals;

static void count(int sig)
{
	__atomic_add_fetch(&signals, 1, __ATOMIC_RELEASE);
}

static long catch(unsigned long sig, unsigned long a1, unsigned long a2,
		  unsigned long a3)
{
	struct sigaction sa = { .sa_handler = count, .sa_flags = SA_RESTART };

	return rpal_err(sigaction(sig, &sa, NULL));
}

/* Without a system call. */
static long spin(unsigned long a1, unsigned long a2, unsigned long a3,
		 unsigned long a4)
{
	unsigned long live = a1;

	WRITE_ONCE(begun, 1);
	while (!READ_ONCE(end))
		live = live * 3 + 1;
	return live ? 100 : 101;
}

static long pin(unsigned long nth, unsigned long a1, unsigned long a2,
		unsigned long a3)
{
	rpal_pin(nth);
	return 0;
}

static long there(const long *what)
{
	return rpal_run(&peer, do_peek, rpal_there(&peer, what), 0, 0, 0);
}

static bool is_lent(void)
{
	return READ_ONCE(peer.ctl->word) & RPAL_WORD_LENT;
}

/* From here on the borrower is inside the receiver, and in the group. */
static void begin_call(void)
{
	make_group();
	rpal_partner(&peer);
	rpal_spawn(&borrower);
	rpal_link(&borrower, &peer);
	CHECK_EQ(0, rpal_run(&peer, catch, SIGUSR1, 0, 0, 0));
	CHECK_EQ(0, rpal_run(&borrower, pin, 0, 0, 0, 0));
	CHECK_EQ(3, rpal_call_from(&borrower, &peer, do_add, 1, 2));
	add_to_group(borrower.pid);
	rpal_post(&borrower, do_call, (unsigned long)peer.ctl,
		  rpal_there(&peer, spin), 1, 0);
	while (!there(&begun))
		sched_yield();
	CHECK(is_lent());
}

static void end_call(pid_t spender)
{
	long ret;

	/* It has lost no more than time. */
	CHECK_EQ(0, put(group, "cpu.max", NO_LIMIT));
	CHECK(rpal_result(&borrower, &ret));
	CHECK_EQ(100, ret);
	CHECK_EQ(3, rpal_call_from(&borrower, &peer, do_add, 1, 2));
	CHECK(!kill(spender, SIGKILL));
	CHECK(waitpid(spender, NULL, 0) == spender);
	rpal_end(&borrower);
	rpal_end(&peer);
	remove_group();
}

static pid_t throttle(void)
{
	pid_t spender = start_spender();

	CHECK_EQ(0, put(group, "cpu.max", SHARE));
	return spender;
}

static void signal_receiver(void)
{
	long before = there(&signals);

	CHECK(!syscall(__NR_tgkill, peer.pid, peer.tid, SIGUSR1));
	while (there(&signals) == before)
		sched_yield();
}

/* It goes back by itself, and the receiver does the rest of the call. */
RPAL_TEST(context_goes_back)
{
	pid_t spender;

	begin_call();
	spender = throttle();
	while (is_lent())
		sched_yield();
	signal_receiver();
	CHECK_EQ(0, rpal_run(&peer, do_poke, rpal_there(&peer, &end), 1, 0, 0));
	rpal_wait_ready(peer.ctl);
	/* Others are served. */
	CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
	CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
	while (!throttled())
		sched_yield();
	CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
	end_call(spender);
}

/* A signal that comes at any time meanwhile does not wait for the group's time. */
RPAL_TEST(signal_is_delivered)
{
	pid_t spender;

	begin_call();
	spender = throttle();
	signal_receiver();
	CHECK(!is_lent());
	CHECK_EQ(0, rpal_run(&peer, do_poke, rpal_there(&peer, &end), 1, 0, 0));
	rpal_wait_ready(peer.ctl);
	end_call(spender);
}

/* Nor does a caller that waits in the receiver's queue. */
RPAL_TEST(others_are_served)
{
	struct rpal_proc other;
	struct pollfd answer;
	pid_t spender;
	long ret;

	begin_call();
	rpal_spawn(&other);
	rpal_link(&other, &peer);
	spender = throttle();
	rpal_post(&other, do_call, (unsigned long)peer.ctl,
		  rpal_there(&peer, do_add), 1, 2);
	while (is_lent())
		sched_yield();
	answer = (struct pollfd){ .fd = other.sock, .events = POLLIN };
	CHECK_EQ(0, poll(&answer, 1, 0));
	CHECK_EQ(0, rpal_run(&peer, do_poke, rpal_there(&peer, &end), 1, 0, 0));
	CHECK(rpal_result(&other, &ret));
	CHECK_EQ(3, ret);
	rpal_end(&other);
	end_call(spender);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
