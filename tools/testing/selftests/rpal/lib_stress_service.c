// SPDX-License-Identifier: GPL-2.0
/* The threads of one of rpal_stress's services. */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "rpal_stress.h"

typedef long (*gate_wait_fn)(struct rpal_ctl *self, rpal_entry entry,
			     void *cookie, unsigned long timeout_ns, int fd);

struct stress_shared *sh;
int my_service = -1;
__thread struct stress_thread *me;

static struct stress_thread threads[NR_THREADS];
static int descriptors[MAX_SERVICES];	/* of peers that are attached */

/*
 * A thread that registers again must get the block that it had, or who holds
 * its old address would call another one. The lowest free one is given out:
 * one thread at a time does without.
 */
static pthread_mutex_t without = PTHREAD_MUTEX_INITIALIZER;
static int learn;

void *stress_map(int fd)
{
	void *p = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED,
		       fd, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

void stress_exec(bool arm)
{
	sigset_t all;

	/* The new image has no handler for what was sent to the old one. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	if (arm)
		CHECK_EQ(0, rpal_arm(0));
	execl("/proc/self/exe", "rpal-stress", "--after-exec",
	      arm ? "1" : "0", NULL);
	FAIL("execl: errno %d", errno);
}

/* Until the first service's first caller has learnt the gate, in peace. */
void stress_await_ready(void)
{
	while (!READ_ONCE(sh->ready))
		usleep(10000);
}

static struct stress_thread_dir *dir(void)
{
	return &sh->service[my_service].thread[me->nr];
}

static void enter(void)
{
	rpal_register();
	if (me->ctl)
		CHECK(me->ctl == rpal_self);
	me->ctl = rpal_self;
	dir()->ctl = (uint64_t)rpal_self;
	__atomic_add_fetch(&dir()->life, 1, __ATOMIC_RELEASE);
	me->callable = true;
}

/* With the lock, until enter() has put it back. */
static void leave(void)
{
	me->callable = false;
	__atomic_add_fetch(&dir()->life, 1, __ATOMIC_RELEASE);
	rpal_unregister();
	count(C_unregistered);
}

static void leave_for_a_moment(void)
{
	CHECK(!pthread_mutex_lock(&without));
	leave();
	if (!pick(&me->rng, 4))
		usleep(pick(&me->rng, 1000));
	enter();
	CHECK(!pthread_mutex_unlock(&without));
}

static void start(struct stress_thread *t)
{
	me = t;
	t->tid = rpal_syscall(__NR_gettid, 0, 0, 0, 0, 0, 0);
	t->event = -1;
	CHECK(!pthread_mutex_lock(&without));
	enter();
	CHECK(!pthread_mutex_unlock(&without));
	__atomic_store_n(&dir()->tid, t->tid, __ATOMIC_RELEASE);
	/* What the director asks for comes first, and nothing else. */
	setpriority(PRIO_PROCESS, 0, 0);
}

static void *receiver(void *arg)
{
	gate_wait_fn gate_wait = (gate_wait_fn)rpal_me.gate_wait;
	unsigned long timeout;
	long ret;

	start(arg);
	for (;;) {
		timeout = pick(&me->rng, 3) ? RPAL_WAIT_FOREVER :
			  1000000UL * (1 + pick(&me->rng, 30));
		ret = gate_wait(rpal_self, stress_serve, me, timeout,
				me->awaits);
		if (!ret && me->bell >= 0)
			stress_hear();
		else if (ret == -ETIMEDOUT && timeout != RPAL_WAIT_FOREVER)
			count(C_timeouts);
		else if (ret == -EINTR)
			count(C_interrupted);
		else
			stress_bad(P_CAUSE, "gate_wait() gave %ld", ret);
		if (!pick(&me->rng, 4))
			leave_for_a_moment();
	}
	return NULL;
}

static enum kind pick_kind(void)
{
	/* Most do nothing: the gate is what is to be met. */
	static const enum kind some[] = {
		K_SPIN, K_SPIN, K_RING, K_SYSCALL, K_SYSCALL, K_SYSCALL,
		K_YIELD, K_SLEEP, K_MAP, K_PAGES, K_PAGES, K_TRAP, K_ILL,
		K_NEST, K_NEST, K_NEST, K_FORK,
	};
	enum kind kind;

	/* No other kind is lent for so long that an event ends it. */
	if (!pick(&me->rng, 24))
		return K_LINGER;
	if (pick(&me->rng, 8))
		return K_NOTHING;
	kind = some[pick(&me->rng, ARRAY_SIZE(some))];
	/* A fork costs more than all the rest. */
	return kind == K_FORK && pick(&me->rng, 10) ? K_NOTHING : kind;
}

static unsigned int pick_words(void)
{
	if (pick(&me->rng, 64))
		return pick(&me->rng, 16);
	return pick(&me->rng, MAX_WORDS + 1);
}

/* Buffers of a message: now and then in memory that was never touched. */
static void new_buffers(void)
{
	size_t len = 2 * MSG_SIZE(MAX_WORDS);

	if (me->in)
		CHECK(!munmap(me->in, len));
	me->in = mmap(NULL, len, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK((void *)me->in != MAP_FAILED);
	me->out = (void *)me->in + MSG_SIZE(MAX_WORDS);
}

/* Some calls in a row to one receiver. */
static void batch(void)
{
	unsigned int csr = 0x1f80, calls = 1 + pick(&me->rng, 40);
	struct stress_target to;

	if (!pick(&me->rng, 8))
		csr |= 0x2000 * (1 + pick(&me->rng, 3));
	if (!pick(&me->rng, 32))
		new_buffers();
	if (!pick(&me->rng, 64))
		leave_for_a_moment();
	if (pick(&me->rng, 8))
		stress_event_pick();
	while (calls-- && !READ_ONCE(sh->stop)) {
		if (!stress_target(&to, NR_LEVELS)) {
			/* Everybody is busy being born. */
			usleep(1000);
			break;
		}
		stress_ring_maybe(&me->rng);
		/* The reply's copy meets a fault. */
		if (!pick(&me->rng, 16))
			madvise(me->out, MSG_SIZE(MAX_WORDS), MADV_DONTNEED);
		__builtin_ia32_ldmxcsr(csr);
		stress_call(&to, pick_kind(), pick_words(), me->in, me->out);
		if ((__builtin_ia32_stmxcsr() & ~0x3f) != csr)
			stress_bad(P_CONTEXT, "caller's MXCSR is %#x, not %#x",
				   __builtin_ia32_stmxcsr(), csr);
		__builtin_ia32_ldmxcsr(0x1f80);
	}
	stress_event_off();
}

static void *caller(void *arg)
{
	struct stress_service_dir *own = &sh->service[my_service];
	unsigned int exec;

	start(arg);
	new_buffers();
	stress_event_open();
	if (learn && me->nr == NR_LEVELS) {
		stress_learn_gate();
		WRITE_ONCE(sh->ready, 1);
	}
	stress_await_ready();
	/*
	 * Out of a call that may go on, and use these buffers: they are left
	 * as they are. Its ticket is, too, until the thread unregisters.
	 */
	if (sigsetjmp(me->out_of_call, 1)) {
		stress_event_off();
		me->in = NULL;
		new_buffers();
		if (pick(&me->rng, 2))
			leave_for_a_moment();
	}
	while (!READ_ONCE(sh->stop)) {
		exec = READ_ONCE(own->exec);
		if ((exec & 0xff) == 1U + me->nr)
			stress_exec(exec >> 8);
		batch();
	}
	__atomic_sub_fetch(&own->active, 1, __ATOMIC_RELEASE);
	/* What comes late must still find the thread. */
	for (;;)
		pause();
}

/* ---- for rpal_run() ---- */

long do_stress_map(unsigned long fd, unsigned long service, unsigned long a2,
		   unsigned long a3)
{
	sh = stress_map(fd);
	my_service = service;
	close(fd);
	return 0;
}

long do_stress_start(unsigned long learn_first, unsigned long life,
		     unsigned long a2, unsigned long a3)
{
	struct stress_service_dir *own = &sh->service[my_service];
	struct stress_thread *t;
	pthread_t thread;
	int i;

	learn = learn_first;
	stress_handlers();
	for (i = 0; i < NR_THREADS; i++) {
		t = &threads[i];
		t->nr = i;
		t->rng = sh->seed * 1000003 + life * 1009 +
			 my_service * NR_THREADS + i;
		if (i < NR_LEVELS) {
			t->in = malloc(MSG_SIZE(MAX_WORDS));
			t->pages = mmap(NULL, SCRATCH_PAGES * RPAL_PAGE,
					PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			CHECK(t->in && t->pages != MAP_FAILED);
		}
	}
	stress_bells(threads);
	for (i = 0; i < NR_THREADS; i++) {
		t = &threads[i];
		CHECK(!pthread_create(&thread, NULL,
				      i < NR_LEVELS ? receiver : caller, t));
		while (!__atomic_load_n(&own->thread[i].tid, __ATOMIC_ACQUIRE))
			sched_yield();
	}
	CHECK(!pthread_create(&thread, NULL, stress_pest, threads));
	return 0;
}

/* The descriptor is kept: it is what detaches. */
long do_stress_attach(unsigned long fd, unsigned long service,
		      unsigned long a2, unsigned long a3)
{
	long ret;

	if (descriptors[service])
		close(descriptors[service]);
	descriptors[service] = fd;
	ret = rpal_attach(fd, NULL);
	return ret;
}

long do_stress_detach(unsigned long service, unsigned long a1,
		      unsigned long a2, unsigned long a3)
{
	return rpal_detach(descriptors[service]);
}

static void renew(int i, uint64_t *rng)
{
	uint32_t *link = &sh->service[my_service].link[i];
	long ret;

	__atomic_add_fetch(link, 1, __ATOMIC_SEQ_CST);
	ret = rpal_detach(descriptors[i]);
	if (ret)
		stress_bad(P_CAUSE, "detach of %d from %d gave %ld", my_service,
			   i, ret);
	count(C_detaches);
	if (pick(rng, 2))
		usleep(pick(rng, 2000));
	ret = rpal_attach(descriptors[i], NULL);
	if (ret)
		stress_bad(P_CAUSE, "attach of %d to %d again gave %ld",
			   my_service, i, ret);
	__atomic_add_fetch(link, 1, __ATOMIC_SEQ_CST);
	count(C_attaches);
}

long do_stress_renew(unsigned long seed, unsigned long times, unsigned long a2,
		     unsigned long a3)
{
	uint64_t rng = seed;
	int i;

	while (times--) {
		i = pick(&rng, sh->services);
		if (i != my_service && sh->service[my_service].link[i] & 1)
			renew(i, &rng);
	}
	return 0;
}
