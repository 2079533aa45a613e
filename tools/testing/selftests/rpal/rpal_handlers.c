// SPDX-License-Identifier: GPL-2.0
/*
 * Signal handlers that come at a bad time: what they wait for while a call is
 * answered, and frames that can't be written.
 *
 * To see these fail: wake a caller that does not wait for its ticket
 * (handler_waits: its sigtimedwait() ends); take every forced signal in
 * gate_copy() for a fault of the copy's (frame_in_copy: nothing dies).
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "rpal_test.h"

static struct rpal_proc peer;

/* ---- a handler that waits for something else ---- */

static struct {
	pid_t caller;
	long waits, end, got;
} wait_state;

static void wait_for_usr2(int sig)
{
	sigset_t set;
	int got;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	WRITE_ONCE(wait_state.waits, 1);
	got = sigtimedwait(&set, NULL, NULL);
	WRITE_ONCE(wait_state.got, got < 0 ? -errno : got);
}

static long sleep_until(unsigned long word, unsigned long a2, unsigned long a3,
			unsigned long a4)
{
	while (!READ_ONCE(*(long *)word))
		usleep(500);
	return 300;
}

static void *disturb(void *arg)
{
	pid_t pid = getpid();

	usleep(2000);
	CHECK(!syscall(__NR_tgkill, pid, wait_state.caller, SIGUSR1));
	while (!READ_ONCE(wait_state.waits))
		usleep(500);
	/* It sleeps by now, most of the time. */
	usleep(2000);
	WRITE_ONCE(wait_state.end, 1);
	/* The answer is given right after the park. */
	rpal_wait_ready(peer.ctl);
	usleep(2000);
	CHECK(!syscall(__NR_tgkill, pid, wait_state.caller, SIGUSR2));
	return NULL;
}

/* The answer to a call ends no other sleep of the caller's. */
RPAL_TEST(handler_waits)
{
	struct sigaction sa = { .sa_handler = wait_for_usr2 };
	pthread_t thread;
	int i;

	rpal_partner(&peer);
	wait_state.caller = syscall(__NR_gettid);
	sigaddset(&sa.sa_mask, SIGUSR2);
	CHECK(!sigaction(SIGUSR1, &sa, NULL));
	for (i = 0; i < 20; i++) {
		WRITE_ONCE(wait_state.waits, 0);
		WRITE_ONCE(wait_state.end, 0);
		WRITE_ONCE(wait_state.got, 0);
		CHECK(!pthread_create(&thread, NULL, disturb, NULL));
		CHECK_EQ(300, rpal_call(&peer, sleep_until,
					(long)&wait_state.end, 0, 0));
		CHECK(!pthread_join(thread, NULL));
		CHECK_EQ(SIGUSR2, wait_state.got);
	}
}

/* ---- a frame that can't be written ---- */

#define COPY_LEN	(1024 * 1024UL)

static void unreachable(int sig)
{
	_exit(3);
}

static long copy_until_dead(unsigned long a0, unsigned long a1,
			    unsigned long a2, unsigned long a3)
{
	const struct itimerval soon = { .it_value.tv_usec = 3000 };
	struct sigaction sa = {
		.sa_handler = unreachable, .sa_flags = SA_ONSTACK,
	};
	const struct rlimit none = {};
	char *from, *to;
	stack_t stack;

	CHECK(!setrlimit(RLIMIT_CORE, &none));
	from = (char *)do_mmap(0, COPY_LEN, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS);
	to = (char *)do_mmap(0, COPY_LEN, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS);
	stack = (stack_t){ .ss_size = SIGSTKSZ };
	stack.ss_sp = (void *)do_mmap(0, SIGSTKSZ, PROT_NONE,
				      MAP_PRIVATE | MAP_ANONYMOUS);
	rpal_register();
	/* A fault of its own, which is answered, and remembered by the thread. */
	CHECK_EQ(-EFAULT, rpal_gate_copy(to, stack.ss_sp, 8));
	CHECK(!sigaltstack(&stack, NULL));
	CHECK(!sigaction(SIGALRM, &sa, NULL));
	CHECK(!setitimer(ITIMER_REAL, &soon, NULL));
	for (;;)
		CHECK_EQ(0, rpal_gate_copy(to, from, COPY_LEN));
	return 0;
}

/* That the handler can't run is no fault of the copy's: the process dies. */
RPAL_TEST(frame_in_copy)
{
	long ret;
	int i;

	for (i = 0; i < 5; i++) {
		rpal_spawn(&peer);
		rpal_post(&peer, copy_until_dead, 0, 0, 0, 0);
		CHECK(!rpal_result(&peer, &ret));
		CHECK_EQ(SIGSEGV, rpal_reap(&peer));
	}
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
