// SPDX-License-Identifier: GPL-2.0
/*
 * Signals to either side, before, in and after calls. Each handler runs as
 * the thread that the signal was for, on its stack, with its FS base and its
 * PKRU, whoever's code that thread's task was executing.
 *
 * To see these fail: build the frame without looking for a borrowed context
 * (handler_context: a mixed one); resolve a region of the gate wrongly (storm
 * in its variants); make the kick a TWA_SIGNAL (no_eintr); do not let WANTED
 * reach the borrower (receiver_lent: it hangs); let a handler run before the
 * hand-over (calls_from_handler); keep the claim that a longjmp leaves
 * (longjmp_out).
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "rpal_test.h"

static struct rpal_proc peer;

static void setup(void)
{
	rpal_partner(&peer);
}

/* What the last handler saw of its surroundings, and how many there were. */
static struct {
	long count;
	long tid;
	struct rpal_ctl *self;
	unsigned long stack;
	unsigned long pkru;
} seen;

static void look(int sig)
{
	int here;

	seen.tid = syscall(__NR_gettid);
	seen.self = rpal_self;
	seen.stack = (unsigned long)&here;
	seen.pkru = rdpkru();
	__atomic_add_fetch(&seen.count, 1, __ATOMIC_RELEASE);
}

static long catch(unsigned long sig, unsigned long flags, unsigned long a2,
		  unsigned long a3)
{
	struct sigaction sa = { .sa_handler = look, .sa_flags = flags };

	return rpal_err(sigaction(sig, &sa, NULL));
}

static void check_own_context(void)
{
	CHECK_EQ(syscall(__NR_gettid), seen.tid);
	CHECK(seen.self == rpal_self);
	CHECK_EQ(rpal_me.slot, seen.stack >> RPAL_SLOT_SHIFT);
	CHECK_EQ(rpal_me.pkru, seen.pkru);
}

static long seen_there(size_t offset)
{
	return rpal_run(&peer, do_peek, rpal_there(&peer, &seen) + offset, 0,
			0, 0);
}

static void check_peers_context(void)
{
	CHECK_EQ(peer.tid, seen_there(offsetof(typeof(seen), tid)));
	CHECK_EQ((long)peer.ctl, seen_there(offsetof(typeof(seen), self)));
	CHECK_EQ(peer.service.slot,
		 seen_there(offsetof(typeof(seen), stack)) >> RPAL_SLOT_SHIFT);
	CHECK_EQ(peer.service.pkru, seen_there(offsetof(typeof(seen), pkru)));
}

static int rpal_tgkill(pid_t pid, pid_t tid, int sig)
{
	return syscall(__NR_tgkill, pid, tid, sig);
}

/* ---- to the caller ---- */

/* Without a system call, until told to end through the caller's memory. */
static long spin_until(unsigned long word, unsigned long a2, unsigned long a3,
		       unsigned long a4)
{
	unsigned long live = a2;

	while (!READ_ONCE(*(long *)word))
		live = live * 3 + 1;
	return live ? 100 : 101;
}

static struct {
	pid_t tid;
	int sig;
	long end;
} late;

/* Sends one signal to the thread that is inside, and ends its call then. */
static void *signal_late(void *arg)
{
	long count = READ_ONCE(seen.count);

	usleep(2000);
	CHECK(!rpal_tgkill(getpid(), late.tid, late.sig));
	while (__atomic_load_n(&seen.count, __ATOMIC_ACQUIRE) == count)
		sched_yield();
	WRITE_ONCE(late.end, 1);
	return NULL;
}

/* The caller's handler runs while the receiver's code has not returned. */
RPAL_TEST(handler_context)
{
	pthread_t thread;
	int i;

	setup();
	late.tid = syscall(__NR_gettid);
	late.sig = SIGUSR1;
	for (i = 0; i < 40; i++) {
		/* Interrupted calls go on, whatever the handler's flags. */
		CHECK_EQ(0, catch(SIGUSR1, i % 2 ? SA_RESTART : 0, 0, 0));
		WRITE_ONCE(late.end, 0);
		CHECK(!pthread_create(&thread, NULL, signal_late, NULL));
		CHECK_EQ(100, rpal_call(&peer, spin_until, (long)&late.end, i,
					0));
		CHECK(!pthread_join(thread, NULL));
		CHECK_EQ(i + 1, seen.count);
		check_own_context();
	}
}

static long sleep_until(unsigned long word, unsigned long a2, unsigned long a3,
			unsigned long a4)
{
	while (!READ_ONCE(*(long *)word))
		usleep(500);
	return 200;
}

/* The same while it waits, in the kernel, for a receiver that went there. */
RPAL_TEST(handler_while_waiting)
{
	pthread_t thread;
	int i;

	setup();
	late.tid = syscall(__NR_gettid);
	late.sig = SIGUSR1;
	for (i = 0; i < 40; i++) {
		CHECK_EQ(0, catch(SIGUSR1, i % 2 ? SA_RESTART : 0, 0, 0));
		WRITE_ONCE(late.end, 0);
		CHECK(!pthread_create(&thread, NULL, signal_late, NULL));
		CHECK_EQ(200, rpal_call(&peer, sleep_until, (long)&late.end, 0,
					0));
		CHECK(!pthread_join(thread, NULL));
		check_own_context();
	}
}

/* Some of everything: nothing, a system call, a fault, a long body. */
static long mixed(unsigned long nr, unsigned long caller, unsigned long a3,
		  unsigned long a4)
{
	unsigned long i, live = nr;

	switch (nr % 8) {
	case 0:
		getpid();
		break;
	case 3:
		for (i = 0; i < 20000; i++)
			live = live * 3 + 1;
		asm volatile("" : : "r" (live));
		break;
	case 5: {
		unsigned long page = do_mmap(0, RPAL_PAGE,
					     PROT_READ | PROT_WRITE,
					     MAP_PRIVATE | MAP_ANONYMOUS);

		do_poke(page, nr, 0, 0);
		CHECK_EQ(nr, do_peek(page, 0, 0, 0));
		do_munmap(page, RPAL_PAGE, 0, 0);
		break;
	}
	}
	CHECK_EQ(nr, do_peek(caller, 0, 0, 0));
	do_poke(caller, nr + 1, 0, 0);
	return nr * 2;
}

/*
 * One shot, set again by its own handler: however slow the machine, there is
 * always some time between two of them.
 */
static unsigned int alarm_seed = 1;

static void set_alarm(void)
{
	struct itimerval it = {
		.it_value.tv_usec = 300 + rand_r(&alarm_seed) % 2000,
	};

	CHECK(!setitimer(ITIMER_REAL, &it, NULL));
}

static void on_alarm(int sig)
{
	CHECK_EQ(rpal_me.pkru, rdpkru());
	look(sig);
	set_alarm();
}

static void start_alarms(void)
{
	struct sigaction sa = {
		.sa_handler = on_alarm,
		.sa_flags = SA_RESTART,
	};

	CHECK(!sigaction(SIGALRM, &sa, NULL));
	set_alarm();
}

static void stop_alarms(void)
{
	struct itimerval none = {};

	signal(SIGALRM, SIG_IGN);
	CHECK(!setitimer(ITIMER_REAL, &none, NULL));
}

static void mixed_calls(long calls, long alarms)
{
	long nr, memory;

	for (nr = 0; nr < calls || READ_ONCE(seen.count) < alarms; nr++) {
		memory = nr;
		CHECK_EQ(nr * 2, rpal_call(&peer, mixed, nr, (long)&memory,
					   0));
		CHECK_EQ(nr + 1, memory);
	}
}

RPAL_TEST(storm)
{
	setup();
	start_alarms();
	mixed_calls(rpal_part_of(3000), rpal_part_of(200));
	stop_alarms();
	check_own_context();
}

/* Bare calls, so that most of the signals meet the gate itself. */
RPAL_TEST(storm_in_the_gate)
{
	long calls = rpal_part_of(50000), alarms = rpal_part_of(300), nr;

	setup();
	start_alarms();
	for (nr = 0; nr < calls || READ_ONCE(seen.count) < alarms; nr++)
		CHECK_EQ(nr + 5, rpal_call(&peer, do_add, nr, 2, 3));
	stop_alarms();
	check_own_context();
}

/* ---- handlers that do more ---- */

static struct rpal_proc other;
static long nested_calls;

static void call_other(int sig)
{
	CHECK_EQ(other.pid, rpal_call(&other, do_getpid, 0, 0, 0));
	CHECK_EQ(30, rpal_call(&other, do_add, 10, 20, 0));
	nested_calls++;
	look(sig);
}

/* A call from a handler that interrupted a call. */
RPAL_TEST(calls_from_handler)
{
	struct sigaction sa = { .sa_handler = call_other };
	pthread_t thread;
	int i;

	setup();
	rpal_spawn(&other);
	rpal_connect(&other);
	rpal_serve(&other);
	CHECK(!sigaction(SIGUSR1, &sa, NULL));
	late.tid = syscall(__NR_gettid);
	late.sig = SIGUSR1;
	for (i = 0; i < 40; i++) {
		WRITE_ONCE(late.end, 0);
		CHECK(!pthread_create(&thread, NULL, signal_late, NULL));
		if (i % 2)
			CHECK_EQ(100, rpal_call(&peer, spin_until,
						(long)&late.end, i, 0));
		else
			CHECK_EQ(200, rpal_call(&peer, sleep_until,
						(long)&late.end, 0, 0));
		CHECK(!pthread_join(thread, NULL));
	}
	CHECK_EQ(40, nested_calls);
}

static sigjmp_buf out;

static void jump_out(int sig)
{
	look(sig);
	siglongjmp(out, 1);
}

/* The caller leaves its call for good; the receiver ends it for nobody. */
RPAL_TEST(longjmp_out)
{
	struct sigaction sa = { .sa_handler = jump_out };
	static pthread_t thread;
	long nr;

	setup();
	CHECK(!sigaction(SIGUSR1, &sa, NULL));
	late.tid = syscall(__NR_gettid);
	late.sig = SIGUSR1;
	for (nr = 0; nr < 40; nr++) {
		WRITE_ONCE(late.end, 0);
		if (!sigsetjmp(out, 1)) {
			CHECK(!pthread_create(&thread, NULL, signal_late,
					      NULL));
			rpal_call(&peer, nr % 2 ? spin_until : sleep_until,
				  (long)&late.end, nr, 0);
			FAIL("the handler did not jump");
		}
		CHECK(!pthread_join(thread, NULL));
		CHECK_EQ(nr + 5, rpal_call(&peer, do_add, nr, 2, 3));
		CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
	}
}

static void jump_out_on_alarm(int sig)
{
	look(sig);
	set_alarm();
	siglongjmp(out, 1);
}

/* Out of every place in the gate, and a claim may be left behind. */
RPAL_TEST(longjmp_out_of_the_gate)
{
	static long calls, alarms, nr, done;

	calls = rpal_part_of(50000);
	alarms = rpal_part_of(300);
	setup();
	signal(SIGALRM, jump_out_on_alarm);
	sigsetjmp(out, 1);
	if (!nr)
		set_alarm();
	while (nr < calls || READ_ONCE(seen.count) < alarms) {
		nr++;
		CHECK_EQ(nr + 5, rpal_call(&peer, do_add, nr, 2, 3));
		done++;
	}
	stop_alarms();
	CHECK(done > 0);
	CHECK_EQ(6, rpal_call(&peer, do_add, 1, 2, 3));
}

/* ---- to the receiver ---- */

/* Its handler is what ends the loop, so it must get to run in the call. */
static long spin_for_signals(unsigned long more, unsigned long started,
			     unsigned long a3, unsigned long a4)
{
	long until = READ_ONCE(seen.count) + more;

	do_poke(started, 1, 0, 0);
	while (__atomic_load_n(&seen.count, __ATOMIC_ACQUIRE) < until)
		;
	return 300;
}

static long started;

static void *signal_receiver(void *arg)
{
	while (!READ_ONCE(started))
		sched_yield();
	CHECK(!rpal_tgkill(peer.pid, peer.tid, SIGUSR1));
	return NULL;
}

RPAL_TEST(receiver_lent)
{
	pthread_t thread;
	int i;

	setup();
	for (i = 0; i < 40; i++) {
		CHECK_EQ(0, rpal_run(&peer, catch, SIGUSR1,
				     i % 2 ? SA_RESTART : 0, 0, 0));
		WRITE_ONCE(started, 0);
		CHECK(!pthread_create(&thread, NULL, signal_receiver, NULL));
		CHECK_EQ(300, rpal_call(&peer, spin_for_signals, 1,
					(long)&started, 0));
		CHECK(!pthread_join(thread, NULL));
		check_peers_context();
	}
	CHECK_EQ(40, seen_there(offsetof(typeof(seen), count)));
	CHECK_EQ(0, seen.count);
}

RPAL_TEST(receiver_parked)
{
	int i;

	setup();
	for (i = 0; i < 40; i++) {
		CHECK_EQ(0, rpal_run(&peer, catch, SIGUSR1,
				     i % 2 ? SA_RESTART : 0, 0, 0));
		CHECK(!rpal_tgkill(peer.pid, peer.tid, SIGUSR1));
		/* Perhaps before the handler, perhaps after it. */
		CHECK_EQ(6, rpal_call(&peer, do_add, 1, 2, 3));
		while (seen_there(offsetof(typeof(seen), count)) <= i)
			sched_yield();
		check_peers_context();
		CHECK_EQ(6, rpal_call(&peer, do_add, 1, 2, 3));
		CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
	}
}

static long wait_and_count(unsigned long a0, unsigned long a1,
			   unsigned long a2, unsigned long a3)
{
	rpal_register();
	return rpal_wait(RPAL_WAIT_FOREVER);
}

/* Without SA_RESTART the wait ends, and the thread can do other things. */
RPAL_TEST(wait_is_interrupted)
{
	struct rpal_ctl *ctl;
	long ret;

	setup();
	ctl = peer.ctl + 1;
	CHECK_EQ(0, rpal_run(&peer, catch, SIGUSR1, 0, 0, 0));
	rpal_post(&peer, wait_and_count, 0, 0, 0, 0);
	rpal_wait_ready(ctl);
	CHECK_EQ(6, rpal_gate(ctl, rpal_there(&peer, do_add), 1, 2, 3));
	CHECK(!rpal_tgkill(peer.pid, peer.pid, SIGUSR1));
	CHECK(rpal_result(&peer, &ret));
	CHECK_EQ(-EINTR, ret);
	CHECK(!(READ_ONCE(ctl->word) & RPAL_WORD_READY));
	CHECK_EQ(6, rpal_call(&peer, do_add, 1, 2, 3));
}

static long ended;

static void *storm_at_receiver(void *arg)
{
	while (!READ_ONCE(ended)) {
		CHECK(!rpal_tgkill(peer.pid, peer.tid, SIGUSR1));
		usleep(1000);
	}
	return NULL;
}

static void *hog(void *arg)
{
	while (!READ_ONCE(ended))
		;
	return NULL;
}

/* Both sides at once, and a thread that wants the CPU for itself. */
RPAL_TEST(storm_at_both)
{
	pthread_t at_receiver, busy;
	sigset_t alarms;

	setup();
	CHECK_EQ(0, rpal_run(&peer, catch, SIGUSR1, 0, 0, 0));
	/* The timer's signal is for this thread alone. */
	sigemptyset(&alarms);
	sigaddset(&alarms, SIGALRM);
	CHECK(!pthread_sigmask(SIG_BLOCK, &alarms, NULL));
	CHECK(!pthread_create(&at_receiver, NULL, storm_at_receiver, NULL));
	CHECK(!pthread_create(&busy, NULL, hog, NULL));
	CHECK(!pthread_sigmask(SIG_UNBLOCK, &alarms, NULL));
	start_alarms();
	mixed_calls(rpal_part_of(2000), rpal_part_of(200));
	while (seen_there(offsetof(typeof(seen), count)) < 20)
		mixed_calls(100, 0);
	stop_alarms();
	WRITE_ONCE(ended, 1);
	CHECK(!pthread_join(at_receiver, NULL));
	CHECK(!pthread_join(busy, NULL));
}

/*
 * Another registered thread of the caller's process, which may be asked
 * whether it has the context, must not notice: it has caught no signal.
 */
static long sleeping;

static void *sleep_undisturbed(void *arg)
{
	struct epoll_event event;
	int fd = epoll_create1(EPOLL_CLOEXEC);

	CHECK(fd >= 0);
	rpal_register();
	WRITE_ONCE(sleeping, 1);
	/* Of all ways to sleep, one that the kernel never begins again. */
	while (!READ_ONCE(ended))
		CHECK_EQ(0, epoll_wait(fd, &event, 1, 20));
	close(fd);
	return NULL;
}

RPAL_TEST(no_eintr)
{
	pthread_t sleeper, thread;
	int i;

	setup();
	CHECK(!pthread_create(&sleeper, NULL, sleep_undisturbed, NULL));
	while (!READ_ONCE(sleeping))
		sched_yield();
	CHECK_EQ(0, rpal_run(&peer, catch, SIGUSR1, 0, 0, 0));
	for (i = 0; i < 100; i++) {
		WRITE_ONCE(started, 0);
		CHECK(!pthread_create(&thread, NULL, signal_receiver, NULL));
		CHECK_EQ(300, rpal_call(&peer, spin_for_signals, 1,
					(long)&started, 0));
		CHECK(!pthread_join(thread, NULL));
	}
	WRITE_ONCE(ended, 1);
	CHECK(!pthread_join(sleeper, NULL));
}

/* ---- stops ---- */

static void *stop_and_continue(void *arg)
{
	pid_t pid = *(pid_t *)arg;
	int i;

	for (i = 0; i < 50; i++) {
		CHECK(!kill(pid, SIGSTOP));
		usleep(500);
		CHECK(!kill(pid, SIGCONT));
		usleep(1000);
	}
	WRITE_ONCE(ended, 1);
	return NULL;
}

/* A stopped receiver answers when it goes on; none is lost. */
RPAL_TEST(receiver_stops)
{
	pthread_t thread;
	long nr, memory;

	setup();
	CHECK(!pthread_create(&thread, NULL, stop_and_continue, &peer.pid));
	for (nr = 0; nr < 1000 || !READ_ONCE(ended); nr++) {
		memory = nr;
		CHECK_EQ(nr * 2, rpal_call(&peer, mixed, nr, (long)&memory,
					   0));
		CHECK_EQ(nr + 1, memory);
	}
	CHECK(!pthread_join(thread, NULL));
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
