// SPDX-License-Identifier: GPL-2.0
/*
 * Several callers, several receivers, and receivers that call.
 *
 * To see these fail: let the release of T6 not compare the owner
 * (two_callers_slow); publish READY after the ticket is completed
 * (back_to_back); do not hand over for a nested call (nested); lose the EVENT
 * bit (busy_receiver: it hangs), or the queue at a park (receiver_not_parked),
 * or at a death (queue_dies).
 */
#include <pthread.h>
#include <sys/syscall.h>

#include "rpal_test.h"

static struct rpal_proc peer;

static void setup(void)
{
	rpal_partner(&peer);
}

static long sum(unsigned long a1, unsigned long a2, unsigned long a3,
		unsigned long a4)
{
	return a1 + 10 * a2 + 100 * a3;
}

static long echo(unsigned long tag, unsigned long slow, unsigned long a3,
		 unsigned long a4)
{
	/* What only one call at a time may do. */
	static long inside;

	CHECK_EQ(1, __atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST));
	if (slow)
		rpal_syscall(__NR_sched_yield, 0, 0, 0, 0, 0, 0);
	CHECK_EQ(0, __atomic_sub_fetch(&inside, 1, __ATOMIC_SEQ_CST));
	return tag;
}

/* In a caller's process: @nr calls, every @slow'th with a system call. */
static long call_echo(unsigned long ctl, unsigned long fn, unsigned long nr,
		      unsigned long slow)
{
	unsigned long i, tag;

	if (!rpal_self)
		rpal_register();
	for (i = 0; i < nr; i++) {
		tag = (unsigned long)getpid() << 32 | i;
		CHECK_EQ(tag, rpal_gate((void *)ctl, fn, tag,
					slow && i % slow == 0, 0));
	}
	return 0;
}

#define CALLS	10000

static void two_callers(unsigned long slow)
{
	struct rpal_proc c[2], r;
	long ret;
	int i;

	rpal_spawn(&r);
	rpal_serve(&r);
	for (i = 0; i < 2; i++) {
		rpal_spawn(&c[i]);
		rpal_link(&c[i], &r);
	}
	for (i = 0; i < 2; i++)
		rpal_post(&c[i], call_echo, (unsigned long)r.ctl,
			  rpal_there(&r, echo), CALLS, slow);
	for (i = 0; i < 2; i++) {
		CHECK(rpal_result(&c[i], &ret));
		CHECK_EQ(0, ret);
		rpal_end(&c[i]);
	}
	rpal_end(&r);
}

RPAL_PLAIN_TEST(two_callers_fast)
{
	two_callers(0);
}

RPAL_PLAIN_TEST(two_callers_slow)
{
	two_callers(16);
}

static void *thread_call_echo(void *arg)
{
	return (void *)call_echo((unsigned long)peer.ctl,
				 rpal_there(&peer, echo), CALLS / 4, 32);
}

RPAL_TEST(caller_threads)
{
	pthread_t thread[4];
	void *ret;
	int i;

	setup();
	for (i = 0; i < 4; i++)
		CHECK(!pthread_create(&thread[i], NULL, thread_call_echo,
				      NULL));
	for (i = 0; i < 4; i++) {
		CHECK(!pthread_join(thread[i], &ret));
		CHECK(!ret);
	}
}

/* Each call is handed over, and the next one comes at once. */
static long pin_last_receiver(unsigned long tid, unsigned long cpu,
			      unsigned long a2, unsigned long a3)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return rpal_err(sched_setaffinity(tid, sizeof(set), &set));
}

RPAL_TEST(back_to_back)
{
	int i;

	setup();
	if (rpal_cpus() > 1) {
		CHECK_EQ(0, rpal_run(&peer, pin_last_receiver, peer.tid, 1, 0,
				     0));
		rpal_pin(0);
	}
	for (i = 0; i < 3000; i++)
		CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
}

/* ---- nested calls ---- */

static struct {
	unsigned long ctl;
	unsigned long fn;
} onward;

static long set_onward(unsigned long ctl, unsigned long fn, unsigned long a2,
		       unsigned long a3)
{
	onward.ctl = ctl;
	onward.fn = fn;
	return 0;
}

static long call_onward(unsigned long a1, unsigned long a2, unsigned long a3,
			unsigned long a4)
{
	long ret = rpal_gate((void *)onward.ctl, onward.fn, a1, a2, a3);

	/* A negative result would be taken for an error of this call. */
	return ret < 0 ? 1000000 - ret : ret + 1;
}

RPAL_TEST(nested)
{
	struct rpal_proc third;
	int i;

	setup();
	rpal_spawn(&third);
	rpal_link(&peer, &third);
	rpal_serve(&third);
	rpal_run(&peer, set_onward, (unsigned long)third.ctl,
		 rpal_there(&third, sum), 0, 0);
	for (i = 0; i < 1000; i++)
		CHECK_EQ(i + 321, rpal_call(&peer, call_onward, i, 2, 3));
	rpal_run(&peer, set_onward, (unsigned long)third.ctl,
		 rpal_there(&third, do_getpid), 0, 0);
	for (i = 0; i < 100; i++)
		CHECK_EQ(third.pid + 1, rpal_call(&peer, call_onward, 0, 0,
						  0));
	rpal_end(&third);
	CHECK_EQ(1000000 + EPIPE, rpal_call(&peer, call_onward, 0, 0, 0));
}

/* Back into the first caller's process, to another thread of it. */
RPAL_TEST(nested_back)
{
	struct rpal_ctl *mine;

	setup();
	mine = rpal_serve_here(NULL);
	rpal_run(&peer, set_onward, (unsigned long)mine,
		 (unsigned long)do_getpid, 0, 0);
	CHECK_EQ(getpid() + 1, rpal_call(&peer, call_onward, 0, 0, 0));
}

/* ---- receivers that are not ready: the slow path ---- */

static long busy, leave;

static long spin(unsigned long a1, unsigned long a2, unsigned long a3,
		 unsigned long a4)
{
	WRITE_ONCE(busy, 1);
	while (!READ_ONCE(leave))
		asm volatile("pause");
	return 50 + a1;
}

static void *call_spin(void *arg)
{
	rpal_register();
	CHECK_EQ(53, rpal_call(&peer, spin, 3, 0, 0));
	return NULL;
}

static void *call_when_busy(void *arg)
{
	rpal_register();
	WRITE_ONCE(*(int *)arg, 1);
	CHECK_EQ(321, rpal_call(&peer, sum, 1, 2, 3));
	WRITE_ONCE(*(int *)arg, 2);
	return NULL;
}

/* The receiver is lent to another caller: wait for it. */
RPAL_TEST(busy_receiver)
{
	int state[3] = {};
	pthread_t first, then[3];
	int i;

	setup();
	CHECK(!pthread_create(&first, NULL, call_spin, NULL));
	while (!rpal_run(&peer, do_peek, rpal_there(&peer, &busy), 0, 0, 0))
		sched_yield();
	for (i = 0; i < 3; i++) {
		CHECK(!pthread_create(&then[i], NULL, call_when_busy,
				      &state[i]));
		while (!READ_ONCE(state[i]))
			sched_yield();
	}
	usleep(20000);
	for (i = 0; i < 3; i++)
		CHECK_EQ(1, READ_ONCE(state[i]));
	rpal_run(&peer, do_fill, rpal_there(&peer, &leave), sizeof(leave), 1,
		 0);
	CHECK(!pthread_join(first, NULL));
	for (i = 0; i < 3; i++)
		CHECK(!pthread_join(then[i], NULL));
}

static void *call_in_vain(void *arg)
{
	rpal_register();
	WRITE_ONCE(*(int *)arg, 1);
	CHECK_EQ(-EPIPE, rpal_call(&peer, spin, 3, 0, 0));
	return NULL;
}

/* It dies: those who wait learn that as well as the one whom it serves. */
RPAL_TEST(queue_dies)
{
	pthread_t thread[4];
	int state[4] = {};
	int i;

	setup();
	for (i = 0; i < 4; i++) {
		CHECK(!pthread_create(&thread[i], NULL, call_in_vain,
				      &state[i]));
		while (!READ_ONCE(state[i]))
			sched_yield();
	}
	while (!rpal_run(&peer, do_peek, rpal_there(&peer, &busy), 0, 0, 0))
		sched_yield();
	/* Time for the others to queue; without it, there is less to see. */
	usleep(20000);
	rpal_kill(&peer);
	for (i = 0; i < 4; i++)
		CHECK(!pthread_join(thread[i], NULL));
}

static void *receiver_parks_late(void *arg)
{
	rpal_register();
	WRITE_ONCE(*(struct rpal_ctl **)arg, rpal_self);
	while (!READ_ONCE(leave))
		usleep(1000);
	for (;;)
		rpal_wait(RPAL_WAIT_FOREVER);
	return NULL;
}

static long serve_late(unsigned long a0, unsigned long a1, unsigned long a2,
		       unsigned long a3)
{
	static struct rpal_ctl *ctl;
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, receiver_parks_late, &ctl));
	while (!READ_ONCE(ctl))
		sched_yield();
	return (long)ctl;
}

/* The receiver is registered and has not parked yet: wait for it. */
RPAL_TEST(receiver_not_parked)
{
	pthread_t thread;
	int state = 0;

	setup();
	peer.ctl = (void *)rpal_run(&peer, serve_late, 0, 0, 0, 0);
	CHECK(!pthread_create(&thread, NULL, call_when_busy, &state));
	while (!READ_ONCE(state))
		sched_yield();
	usleep(20000);
	CHECK_EQ(1, READ_ONCE(state));
	rpal_run(&peer, do_fill, rpal_there(&peer, &leave), sizeof(leave), 1,
		 0);
	CHECK(!pthread_join(thread, NULL));
}

/* ---- windows that close under a call ---- */

static long state;

static long stay(unsigned long natively, unsigned long a2, unsigned long a3,
		 unsigned long a4)
{
	if (natively)
		rpal_syscall(__NR_getpid, 0, 0, 0, 0, 0, 0);
	WRITE_ONCE(state, 1);
	while (READ_ONCE(state) != 2)
		if (natively)
			usleep(1000);
	return 77;
}

static void *call_stay(void *natively)
{
	rpal_register();
	CHECK_EQ(77, rpal_call(&peer, stay, (unsigned long)natively, 0, 0));
	/* But the next one does not get through. */
	CHECK_EQ(-ENOTCONN, rpal_call(&peer, sum, 1, 2, 3));
	return NULL;
}

static void detach_under_call(bool natively)
{
	pthread_t thread;

	setup();
	CHECK(!pthread_create(&thread, NULL, call_stay,
			      (void *)(long)natively));
	while (!rpal_run(&peer, do_peek, rpal_there(&peer, &state), 0, 0, 0))
		sched_yield();
	CHECK_EQ(0, rpal_detach(peer.fd));
	rpal_run(&peer, do_poke, rpal_there(&peer, &state), 2, 0, 0);
	CHECK(!pthread_join(thread, NULL));
	CHECK_EQ(0, rpal_attach(peer.fd, NULL));
	CHECK_EQ(321, rpal_call(&peer, sum, 1, 2, 3));
}

/* The receiver goes on with it, and the answer comes. */
RPAL_TEST(detach_while_waiting)
{
	detach_under_call(true);
}

RPAL_TEST(detach_while_borrowing)
{
	detach_under_call(false);
}

/* Many receivers of one service, each with a caller of its own. */
RPAL_TEST(many_receivers)
{
	struct rpal_ctl *ctl[8];
	int i, round;

	setup();
	for (i = 0; i < 8; i++) {
		rpal_serve(&peer);
		ctl[i] = peer.ctl;
	}
	for (round = 0; round < 100; round++)
		for (i = 0; i < 8; i++)
			CHECK_EQ(round + i, rpal_gate(ctl[i],
						      rpal_there(&peer, sum),
						      round + i, 0, 0));
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
