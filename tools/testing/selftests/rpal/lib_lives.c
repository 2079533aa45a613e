// SPDX-License-Identifier: GPL-2.0
/* A worker of rpal_lives: starts lives, meets each, and sees its end. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "rpal_lib.h"
#include "rpal_image.h"
#include "rpal_lives.h"

const char *const life_ends[NR_ENDS] = {
	[END_EXIT] = "exit",
	[END_KILL_ATTACHED] = "kill_attached",
	[END_KILL_CALLING] = "kill_calling",
	[END_KILL_BORROWER] = "kill_borrower",
	[END_SEGV] = "segv",
	[END_DETACHED] = "detached",
	[END_KILL_PARKED] = "kill_parked",
	[END_KILL_LENT] = "kill_lent",
	[END_SEGV_LENT] = "segv_lent",
	[END_EXIT_LENT] = "exit_lent",
	[END_KILL_HANDED] = "kill_handed_over",
	[END_SEGV_TIMED_OUT] = "segv_timed_out",
	[END_EXEC_LENT] = "exec_lent",
};

static struct lives_progress *progress;
static unsigned long seed;
static struct life_orders *orders;
static int image, ready, peer;
static unsigned long manner;	/* LIVES_* */

static struct {
	int fd;
	struct rpal_ctl *ctl;
	unsigned long nonce;
} told;

/* Whom the killer is to kill, and when. */
static struct {
	int event;
	pid_t pid;
	unsigned long after_ns;
} victim;

/* While the worker's main thread executes what its victim has lent. */
static void *killer(void *arg)
{
	struct timespec ts;
	unsigned long n;

	for (;;) {
		CHECK(read(victim.event, &n, sizeof(n)) == sizeof(n));
		ts.tv_sec = 0;
		ts.tv_nsec = victim.after_ns;
		nanosleep(&ts, NULL);
		/* Who is not dead yet is not reaped either. */
		CHECK(!kill(victim.pid, SIGKILL));
	}
	return arg;
}

static long do_sum(unsigned long a, unsigned long b, unsigned long a2,
		   unsigned long a3)
{
	return life_sum(a, b);
}

static long do_spin(unsigned long turns, unsigned long a1, unsigned long a2,
		    unsigned long a3)
{
	while (turns--)
		asm volatile("");
	return 0;
}

static long do_kill(unsigned long pid, unsigned long a1, unsigned long a2,
		    unsigned long a3)
{
	return rpal_syscall(__NR_kill, pid, SIGKILL, 0, 0, 0, 0);
}

static long do_ready(unsigned long fd, unsigned long ctl, unsigned long nonce,
		     unsigned long a3)
{
	unsigned long one = 1;

	told.fd = fd;
	told.ctl = (struct rpal_ctl *)ctl;
	__atomic_store_n(&told.nonce, nonce, __ATOMIC_RELEASE);
	if (rpal_syscall(__NR_write, ready, (unsigned long)&one, sizeof(one),
			 0, 0, 0) != sizeof(one))
		return -1;
	return 0;
}

static void count(unsigned long *what, unsigned long n)
{
	__atomic_fetch_add(what, n, __ATOMIC_RELAXED);
}

/* The orders of life @nr. */
static void order(unsigned long nr)
{
	unsigned int state = seed * 1000003 + nr;

	orders->end = rand_r(&state) % NR_ENDS;
	if (manner & LIVES_LENT && rand_r(&state) % 4)
		orders->end = END_KILL_LENT;
	orders->calls = rand_r(&state) % 4;
	orders->nonce = rand_r(&state);
	orders->timer_ns = 0;
	if (orders->end == END_KILL_BORROWER)
		orders->timer_ns = 1 + rand_r(&state) % 4000000;
	victim.after_ns = rand_r(&state) % 4000000;
}

static pid_t bear(unsigned long nr)
{
	static const char *const argv[] = { "rpal-life", NULL };
	bool unprotected = nr % 8 == 5;
	pid_t pid = vfork();

	CHECK(pid >= 0);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!rpal_arm(unprotected ? RPAL_ARM_UNPROTECTED : 0))
		fexecve(LIFE_IMAGE_FD, (char **)argv, (char **)argv + 1);
	_exit(100);
}

/*
 * True: it is parked, or about to be. False: it has ended. What one that was
 * killed meanwhile had to say may come during the next life, and means nothing.
 */
static bool is_ready(int pidfd)
{
	struct pollfd p[2] = {
		{ .fd = ready, .events = POLLIN },
		{ .fd = pidfd, .events = POLLIN },
	};
	unsigned long word;

	do {
		while (poll(p, 2, -1) < 0)
			CHECK(errno == EINTR);
		if (!(p[0].revents & POLLIN))
			return false;
		CHECK(read(ready, &word, sizeof(word)) == sizeof(word));
	} while (__atomic_load_n(&told.nonce, __ATOMIC_ACQUIRE) !=
		 orders->nonce);
	return true;
}

static long call(enum life_call what, unsigned long a1, unsigned long a2)
{
	count(&progress->calls_in, 1);
	return rpal_gate(told.ctl, what, a1, a2, 0);
}

/* Attached, parked: calls, and an end. Some end by themselves meanwhile. */
static void meet(pid_t pid, int pidfd)
{
	unsigned long i, end = orders->end, nonce = orders->nonce;
	int fd = syscall(__NR_pidfd_getfd, pidfd, told.fd, 0);
	const unsigned long turns = 20 * (nonce % 30000), one = 1;
	bool alone = end == END_SEGV_TIMED_OUT;
	long ret = fd < 0 ? -EOWNERDEAD : rpal_attach(fd, NULL);

	if (ret) {
		CHECK(alone);
		CHECK_EQ(-EOWNERDEAD, ret);
		goto out;
	}
	for (i = 0; i < orders->calls && end != END_SEGV_TIMED_OUT; i++) {
		ret = call(i == 2 ? LIFE_SYSCALL : LIFE_ADD, i, nonce);
		if (ret == -EPIPE && alone)
			goto out;
		CHECK_EQ((long)life_sum(i, nonce), ret);
	}
	switch (end) {
	case END_DETACHED:
		CHECK_EQ(0, rpal_detach(fd));
		CHECK_EQ(-ENOTCONN, call(LIFE_ADD, 0, 0));
		kill(pid, SIGKILL);
		break;
	case END_KILL_PARKED:
		kill(pid, SIGKILL);
		break;
	case END_KILL_LENT:
		victim.pid = pid;
		CHECK(write(victim.event, &one, sizeof(one)) == sizeof(one));
		do {
			ret = call(LIFE_SPIN, turns, 0);
		} while (ret == (long)life_sum(turns, 0));
		CHECK_EQ(-EPIPE, ret);
		break;
	case END_SEGV_LENT:
		CHECK_EQ(-EPIPE, call(LIFE_SEGV, 0, 0));
		break;
	case END_EXIT_LENT:
		CHECK_EQ(-EPIPE, call(LIFE_EXIT, 0, 0));
		break;
	case END_KILL_HANDED:
		CHECK_EQ(-EPIPE, call(LIFE_KILL, 0, 0));
		break;
	}
out:
	if (fd >= 0)
		close(fd);
}

/* The orders are the next life's when the image changes. */
static void exec_into(unsigned long nr)
{
	int fd = syscall(__NR_pidfd_getfd, peer, told.fd, 0);

	CHECK(fd >= 0);
	CHECK_EQ(0, rpal_attach(fd, NULL));
	order(nr);
	CHECK_EQ(-EPIPE, call(LIFE_EXEC, 0, 0));
	close(fd);
}

/* Its end is the one that was ordered. */
static void check_end(unsigned long nr, int status)
{
	unsigned long end = orders->end;
	bool right;

	if (WIFEXITED(status) && WEXITSTATUS(status) == LIFE_SAME_KEY) {
		count(&progress->same_key, 1);
		return;
	}
	switch (end) {
	case END_EXIT:
	case END_EXIT_LENT:
		right = status == 0;
		break;
	case END_SEGV:
	case END_SEGV_LENT:
	case END_SEGV_TIMED_OUT:
		right = WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
		break;
	default:
		right = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
		break;
	}
	if (!right)
		FAIL("life %lu of seed %lu was to end by %s, and has status %#x",
		     nr, seed, life_ends[end], status);
	count(&progress->ended[end], 1);
}

/* One process: a life, and those that it executes. The next life's number. */
static unsigned long live(unsigned long nr, unsigned long stride,
			  unsigned long end)
{
	pid_t pid;
	int status;

	order(nr);
	/* The last one is not to be followed by another. */
	pid = bear(nr);
	peer = syscall(__NR_pidfd_open, pid, 0);
	CHECK(peer >= 0);
	while (is_ready(peer)) {
		count(&progress->calls_out, orders->calls);
		if (orders->end != END_EXEC_LENT) {
			meet(pid, peer);
			break;
		}
		if (nr + stride >= end || READ_ONCE(progress->stop)) {
			kill(pid, SIGKILL);
			break;
		}
		count(&progress->ended[END_EXEC_LENT], 1);
		count(&progress->done, 1);
		nr += stride;
		exec_into(nr);
	}
	close(peer);
	CHECK(waitpid(pid, &status, 0) == pid);
	check_end(nr, status);
	count(&progress->done, 1);
	return nr + stride;
}

long do_lives_work(unsigned long fd, unsigned long first, unsigned long stride,
		   unsigned long end)
{
	const struct rlimit none = { 0, 0 };
	struct rpal_ctl *receiver;
	pthread_t thread;
	unsigned long nr;
	int memory;

	setrlimit(RLIMIT_CORE, &none);
	/* With all that they start: switches cost less than idle CPUs. */
	if (!(manner & LIVES_MOVE))
		rpal_pin(first);
	progress = mmap(NULL, RPAL_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			0);
	CHECK((void *)progress != MAP_FAILED);
	close(fd);
	memory = memfd_create("orders", 0);
	CHECK(!ftruncate(memory, RPAL_PAGE));
	orders = mmap(NULL, RPAL_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
		      memory, 0);
	CHECK((void *)orders != MAP_FAILED);
	image = open(image_path("rpal_life"), O_RDONLY);
	CHECK(image >= 0);
	CHECK(dup2(rpal_me.fd, LIFE_PEER_FD) >= 0);
	CHECK(dup2(memory, LIFE_ORDERS_FD) >= 0);
	CHECK(dup2(image, LIFE_IMAGE_FD) >= 0);
	close(image);
	close(memory);
	ready = eventfd(0, EFD_CLOEXEC);
	CHECK(ready >= 0);
	victim.event = eventfd(0, EFD_CLOEXEC);
	CHECK(victim.event >= 0);
	CHECK(!pthread_create(&thread, NULL, killer, NULL));
	receiver = rpal_serve_here(NULL);
	rpal_register();
	orders->ctl = (unsigned long)receiver;
	orders->add = (unsigned long)do_sum;
	orders->spin = (unsigned long)do_spin;
	orders->kill = (unsigned long)do_kill;
	orders->ready = (unsigned long)do_ready;
	for (nr = first; nr < end && !READ_ONCE(progress->stop); )
		nr = live(nr, stride, end);
	return 0;
}

long do_lives_prepare(unsigned long s, unsigned long how, unsigned long a2,
		      unsigned long a3)
{
	seed = s;
	manner = how;
	return 0;
}
