// SPDX-License-Identifier: GPL-2.0
/*
 * What rpal_stress's receivers wait for beside calls: a bell, most of them,
 * which others of their service ring while they are idle, lent, or at work.
 *
 * An event that was lost is told with the next one, or when the receiver wakes
 * for another reason. So the last ones come one by one, when nobody makes
 * calls or sends signals any more.
 */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#include "rpal_stress.h"

/* Rings of each bell at the end, one by one. */
#define LAST_RINGS	10
/* A limit against hangs only. */
#define HEARD_SECONDS	120

static struct stress_thread *receivers;

/* Of three receivers one has no bell, and one waits by way of epoll. */
void stress_bells(struct stress_thread *threads)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct stress_thread *t;
	unsigned int how;
	int i;

	receivers = threads;
	for (i = 0; i < NR_LEVELS; i++) {
		t = &threads[i];
		how = pick(&t->rng, 3);
		t->bell = -1;
		t->awaits = RPAL_WAIT_NO_FD;
		if (!how)
			continue;
		t->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		CHECK(t->bell >= 0);
		t->awaits = t->bell;
		if (how == 1)
			continue;
		t->awaits = epoll_create1(EPOLL_CLOEXEC);
		CHECK(t->awaits >= 0);
		CHECK(!epoll_ctl(t->awaits, EPOLL_CTL_ADD, t->bell, &event));
	}
}

void stress_ring(unsigned int receiver, uint64_t n)
{
	struct stress_thread *t = &receivers[receiver];
	long ret;

	if (t->bell < 0)
		return;
	__atomic_fetch_add(&t->rung, n, __ATOMIC_RELEASE);
	ret = rpal_syscall(__NR_write, t->bell, (unsigned long)&n, sizeof(n),
			   0, 0, 0);
	if (ret != sizeof(n))
		stress_bad(P_EVENT, "bell %u could not be rung: %ld", receiver,
			   ret);
	count(C_rings);
}

void stress_ring_maybe(uint64_t *rng)
{
	unsigned int nr = pick(rng, NR_LEVELS), n = 1 + pick(rng, 3);
	unsigned int i, chance = pick(rng, 24);

	for (i = 0; i < NR_LEVELS; i++)
		if (chance < 16 && READ_ONCE(receivers[i].lingers))
			stress_ring(i, n);
	if (!chance)
		stress_ring(nr, n);
}

/* The receiver was told that its descriptor is ready; nobody else reads it. */
void stress_hear(void)
{
	struct epoll_event event;
	uint64_t n, heard;
	long ret;

	if (me->awaits != me->bell && epoll_wait(me->awaits, &event, 1, 0) != 1)
		stress_bad(P_EVENT, "an event, and epoll has none");
	ret = rpal_syscall(__NR_read, me->bell, (unsigned long)&n, sizeof(n), 0,
			   0, 0);
	if (ret != sizeof(n)) {
		stress_bad(P_EVENT, "an event of a bell that gives %ld", ret);
		return;
	}
	heard = __atomic_add_fetch(&me->heard, n, __ATOMIC_RELEASE);
	if (heard > __atomic_load_n(&me->rung, __ATOMIC_ACQUIRE))
		stress_bad(P_EVENT, "%lu rings were heard and not so many made",
			   heard);
	count(C_heard);
}

static uint64_t unheard(const struct stress_thread *t)
{
	return __atomic_load_n(&t->rung, __ATOMIC_ACQUIRE) -
	       __atomic_load_n(&t->heard, __ATOMIC_ACQUIRE);
}

static long seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static bool is_heard(unsigned int receiver)
{
	long end = seconds() + HEARD_SECONDS;

	while (unheard(&receivers[receiver])) {
		if (seconds() < end) {
			usleep(1000);
			continue;
		}
		stress_bad(P_EVENT, "service %d, receiver %u: of %lu rings %lu are not heard",
			   my_service, receiver, receivers[receiver].rung,
			   unheard(&receivers[receiver]));
		return false;
	}
	return true;
}

void stress_last_rings(void)
{
	unsigned int i, k;

	for (i = 0; i < NR_LEVELS; i++)
		for (k = 0; is_heard(i) && k < LAST_RINGS; k++)
			stress_ring(i, 1);
}
