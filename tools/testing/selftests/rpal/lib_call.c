// SPDX-License-Identifier: GPL-2.0
/* Calls: receiver threads, and what callers use. */
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>

#include "rpal_lib.h"

typedef long (*gate_call_fn)(struct rpal_ctl *peer, struct rpal_ctl *self,
			     unsigned long a0, unsigned long a1,
			     unsigned long a2, unsigned long a3);
typedef long (*gate_wait_fn)(struct rpal_ctl *self, rpal_entry entry,
			     void *cookie, unsigned long timeout_ns, int fd);
typedef long (*gate_copy_fn)(void *dst, const void *src, unsigned long len);

#define RECEIVERS	16
#define COOKIE		((void *)0x5ca1ab1e)

static struct receiver {
	struct rpal_ctl *ctl;
	pid_t tid;
} receivers[RECEIVERS];
static int nr_receivers;

long rpal_dispatch(void *cookie, unsigned long a0, unsigned long a1,
		   unsigned long a2, unsigned long a3)
{
	CHECK(cookie == COOKIE);
	return ((rpal_fn)a0)(a1, a2, a3, 0);
}

long rpal_wait_fd(unsigned long timeout_ns, int fd)
{
	gate_wait_fn gate_wait = (gate_wait_fn)rpal_me.gate_wait;

	return gate_wait(rpal_self, rpal_dispatch, COOKIE, timeout_ns, fd);
}

long rpal_wait(unsigned long timeout_ns)
{
	return rpal_wait_fd(timeout_ns, RPAL_WAIT_NO_FD);
}

long rpal_gate(struct rpal_ctl *peer, unsigned long a0, unsigned long a1,
	       unsigned long a2, unsigned long a3)
{
	gate_call_fn gate_call = (gate_call_fn)rpal_me.gate_call;

	return gate_call(peer, rpal_self, a0, a1, a2, a3);
}

long rpal_call(struct rpal_proc *p, rpal_fn fn, unsigned long a1,
	       unsigned long a2, unsigned long a3)
{
	return rpal_gate(p->ctl, rpal_there(p, fn), a1, a2, a3);
}

long rpal_gate_copy(void *dst, const void *src, unsigned long len)
{
	return ((gate_copy_fn)rpal_me.gate_copy)(dst, src, len);
}

void rpal_wait_ready(const struct rpal_ctl *ctl)
{
	/* READY and nothing else: this is what a caller's claim expects. */
	while ((unsigned int)READ_ONCE(ctl->word) != RPAL_WORD_READY)
		sched_yield();
}

bool rpal_withheld(const struct rpal_ctl *ctl)
{
	unsigned int low;

	do {
		low = READ_ONCE(ctl->word);
	} while (!(low & RPAL_WORD_READY));
	return low & RPAL_WORD_EVENT;
}

static void *receiver_main(void *arg)
{
	struct receiver *r = arg;
	long ret;

	rpal_register();
	r->tid = syscall(__NR_gettid);
	WRITE_ONCE(r->ctl, rpal_self);
	do {
		ret = rpal_wait(RPAL_WAIT_FOREVER);
	} while (ret == -EINTR);
	/* Unless a test has unregistered it. */
	if (ret != -ENXIO)
		FAIL("gate_wait() gave %ld", ret);
	return NULL;
}

struct rpal_ctl *rpal_serve_here(pid_t *tid)
{
	struct receiver *r = &receivers[nr_receivers++];
	pthread_t thread;

	CHECK(nr_receivers <= RECEIVERS);
	CHECK(!pthread_create(&thread, NULL, receiver_main, r));
	CHECK(!pthread_detach(thread));
	while (!READ_ONCE(r->ctl))
		sched_yield();
	rpal_wait_ready(r->ctl);
	if (tid)
		*tid = r->tid;
	return r->ctl;
}

static long do_serve(unsigned long a0, unsigned long a1, unsigned long a2,
		     unsigned long a3)
{
	return (long)rpal_serve_here(NULL);
}

static long do_last_tid(unsigned long a0, unsigned long a1, unsigned long a2,
			unsigned long a3)
{
	return receivers[nr_receivers - 1].tid;
}

void rpal_serve(struct rpal_proc *p)
{
	p->ctl = (struct rpal_ctl *)rpal_run(p, do_serve, 0, 0, 0, 0);
	p->tid = rpal_run(p, do_last_tid, 0, 0, 0, 0);
}

void rpal_partner(struct rpal_proc *p)
{
	rpal_spawn(p);
	rpal_connect(p);
	rpal_serve(p);
	rpal_register();
}

long do_call(unsigned long ctl, unsigned long fn, unsigned long a1,
	     unsigned long a2)
{
	if (!rpal_self)
		rpal_register();
	return rpal_gate((struct rpal_ctl *)ctl, fn, a1, a2, 0);
}

long rpal_call_from(struct rpal_proc *p, struct rpal_proc *q, rpal_fn fn,
		    unsigned long a1, unsigned long a2)
{
	return rpal_run(p, do_call, (unsigned long)q->ctl, rpal_there(q, fn),
			a1, a2);
}

long do_add(unsigned long a1, unsigned long a2, unsigned long a3,
	    unsigned long a4)
{
	return a1 + a2 + a3 + a4;
}

long do_getpid(unsigned long a1, unsigned long a2, unsigned long a3,
	       unsigned long a4)
{
	return getpid();
}

long do_clock(unsigned long out, unsigned long a2, unsigned long a3,
	      unsigned long a4)
{
	struct timespec ts;

	CHECK(!clock_gettime(CLOCK_MONOTONIC, &ts));
	*(long *)out = ts.tv_sec * 1000000000 + ts.tv_nsec;
	return 0;
}

long do_int80(unsigned long nr, unsigned long bx, unsigned long a3,
	      unsigned long a4)
{
	long ret;

	asm volatile("int $0x80"
		     : "=a" (ret)
		     : "a" (nr), "b" (bx), "c" (0), "d" (0)
		     : "r8", "r9", "r10", "r11", "memory");
	return ret;
}

bool rpal_has_int80(void)
{
	struct rpal_fault f;

	return rpal_try(&f, do_int80, INT80_GETPID, 0, 0, 0) == getpid() && !f.sig;
}
