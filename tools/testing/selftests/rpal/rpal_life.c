// SPDX-License-Identifier: GPL-2.0
/*
 * One life of a service: it starts, attaches its peer, calls it, may be called
 * by it, and ends as it was told. Without a C library, since what rpal_lives
 * counts is how many of these a kernel can bear.
 */
#include <linux/fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>

#include "rpal_lives.h"

#ifndef __NR_rpal_arm
#define __NR_rpal_arm		473
#define __NR_rpal_service	474
#define __NR_rpal_attach	475
#define __NR_rpal_thread	477
#endif

#define EKEYREJECTED	129
#define WAIT_NS		1000000UL

typedef long (*call_fn)(unsigned long peer, unsigned long self,
			unsigned long a0, unsigned long a1, unsigned long a2,
			unsigned long a3);
typedef long (*entry_fn)(void *cookie, unsigned long a0, unsigned long a1,
			 unsigned long a2, unsigned long a3);
typedef long (*wait_fn)(unsigned long self, entry_fn entry, void *cookie,
			unsigned long timeout_ns, int fd);

static long sys(long nr, unsigned long a0, unsigned long a1, unsigned long a2,
		unsigned long a3, unsigned long a4)
{
	register unsigned long r10 asm("r10") = a3;
	register unsigned long r8 asm("r8") = a4;
	long ret;

	asm volatile("syscall"
		     : "=a" (ret)
		     : "a" (nr), "D" (a0), "S" (a1), "d" (a2), "r" (r10),
		       "r" (r8)
		     : "rcx", "r11", "memory");
	return ret;
}

static void leave(int status)
{
	for (;;)
		sys(__NR_exit_group, status, 0, 0, 0, 0);
}

static void kill_me(void)
{
	sys(__NR_kill, sys(__NR_getpid, 0, 0, 0, 0, 0), SIGKILL, 0, 0, 0);
}

static void segv(void)
{
	asm volatile("movl $0, (%0)" : : "r" (8UL) : "memory");
}

/* The process goes on, as another service. */
static void begin_again(void)
{
	struct rpal_arm arm = { 0 };
	char name[] = "rpal-life";
	char *argv[2];

	argv[0] = name;
	argv[1] = NULL;
	if (sys(__NR_rpal_arm, (unsigned long)&arm, sizeof(arm), 0, 0, 0))
		leave(LIFE_WRONG);
	sys(__NR_execveat, LIFE_IMAGE_FD, (unsigned long)"",
	    (unsigned long)argv, (unsigned long)&argv[1], AT_EMPTY_PATH);
	leave(LIFE_WRONG + 1);
}

static long serve(void *cookie, unsigned long what, unsigned long a1,
		  unsigned long a2, unsigned long a3)
{
	unsigned long i;

	switch (what) {
	case LIFE_SYSCALL:
		if (sys(__NR_getppid, 0, 0, 0, 0, 0) <= 0)
			return -1;
		break;
	case LIFE_SPIN:
		for (i = a1; i; i--)
			asm volatile("");
		break;
	case LIFE_SEGV:
		segv();
		break;
	case LIFE_EXIT:
		leave(0);
		break;
	case LIFE_KILL:
		kill_me();
		break;
	case LIFE_EXEC:
		begin_again();
		break;
	}
	return life_sum(a1, a2);
}

static void start_timer(unsigned long ns)
{
	struct sigevent event = {
		.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL,
	};
	struct itimerspec when = {
		.it_value = { ns / 1000000000, ns % 1000000000 },
	};
	int timer;

	if (sys(__NR_timer_create, CLOCK_MONOTONIC, (unsigned long)&event,
		(unsigned long)&timer, 0, 0) ||
	    sys(__NR_timer_settime, timer, 0, (unsigned long)&when, 0, 0))
		leave(LIFE_WRONG + 2);
}

static void call_peer(const struct life_orders *o, call_fn call,
		      unsigned long self)
{
	unsigned long i;

	for (i = 0; i < o->calls; i++)
		if (call(o->ctl, self, o->add, i, o->nonce, 0) !=
		    (long)life_sum(i, o->nonce))
			leave(LIFE_WRONG + 3);
	if (o->end == END_KILL_CALLING)
		call(o->ctl, self, o->kill, sys(__NR_getpid, 0, 0, 0, 0, 0), 0,
		     0);
	while (o->end == END_KILL_BORROWER)
		if (call(o->ctl, self, o->spin, o->nonce % 30000, 0, 0))
			leave(LIFE_WRONG + 4);
}

/* What rpal_life_start.S calls. */
void life(void);

void life(void)
{
	struct rpal_service me = { .flags = RPAL_SERVICE_FD };
	struct rpal_attach attach = { 0 };
	struct rpal_thread thread = { 0 };
	struct life_orders o;
	long ret;

	if (sys(__NR_pread64, LIFE_ORDERS_FD, (unsigned long)&o, sizeof(o), 0,
		0) != sizeof(o))
		leave(LIFE_WRONG + 5);
	if (sys(__NR_rpal_service, (unsigned long)&me, sizeof(me), 0, 0, 0))
		leave(LIFE_WRONG + 6);
	if (o.end == END_EXIT)
		leave(0);
	ret = sys(__NR_rpal_attach, LIFE_PEER_FD, (unsigned long)&attach,
		  sizeof(attach), 0, 0);
	if (ret == -EKEYREJECTED)
		leave(LIFE_SAME_KEY);
	if (ret)
		leave(LIFE_WRONG + 7);
	if (o.end == END_KILL_ATTACHED)
		kill_me();
	/* A thread that calls or is called has its FS base in its slot. */
	asm volatile("wrfsbase %0" : : "r" ((unsigned long)&o));
	if (sys(__NR_rpal_thread, (unsigned long)&thread, sizeof(thread), 0, 0,
		0))
		leave(LIFE_WRONG + 8);
	if (o.timer_ns)
		start_timer(o.timer_ns);
	call_peer(&o, (call_fn)me.gate_call, thread.ctl);
	if (o.end == END_SEGV)
		segv();
	if (((call_fn)me.gate_call)(o.ctl, thread.ctl, o.ready, me.fd,
				    thread.ctl, o.nonce))
		leave(LIFE_WRONG + 9);
	ret = ((wait_fn)me.gate_wait)(thread.ctl, serve, NULL,
				      o.end == END_SEGV_TIMED_OUT ? WAIT_NS :
				      RPAL_WAIT_FOREVER, RPAL_WAIT_NO_FD);
	if (o.end == END_SEGV_TIMED_OUT)
		segv();
	leave(LIFE_WRONG + 10);
}
